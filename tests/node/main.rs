//! kubecertd on a real controller node: systemd, journald, containerd, kubelet and the static pods
//! of `kubeadm init`.
//!
//! `tests/node/run` prepares all of it and runs the cases; plain `cargo test` passes them over.
//! Every case is given its node as kubeadm left it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod meter;
mod probes;

mod comeback;
mod copies;
mod disks;
mod external;
mod journal;
mod locked;
mod manual;
mod own;
mod packages;
mod passes;
mod patience;
mod power;
mod same;
mod services;
mod trouble;

/// A module of tests for a node.
macro_rules! cases {
    ($module:ident, $which:ident: $($name:ident = $case:path;)*) => {
        mod $module {
            $(
                #[test]
                #[ignore = "needs a controller node: tests/node/run"]
                fn $name() {
                    $case(&mut crate::harness::Node::of(crate::harness::Which::$which));
                }
            )*
        }
    };
}

/// What depends on keys is for both kinds of them; the rest is for one node, as much for each as it
/// has time for.
macro_rules! nodes {
    (both { $($both:tt)* } rsa { $($rsa:tt)* } ecdsa { $($ecdsa:tt)* } daily { $($daily:tt)* } troubled { $($troubled:tt)* }) => {
        cases! { rsa, Rsa: $($both)* $($rsa)* }
        cases! { ecdsa, Ecdsa: $($both)* $($ecdsa)* }
        cases! { daily, Daily: $($daily)* }
        cases! { troubled, Troubled: $($troubled)* }
    };
}

nodes! {
    both {
        services_take_all_ten_that_are_due = crate::passes::all_ten_that_are_due_are_renewed_and_in_use;
        an_authority_near_its_end_makes_no_loop = crate::same::an_authority_near_its_end_makes_no_loop;
        kubeadm_says_the_same_of_every_certificate = crate::same::kubeadm_says_the_same_of_every_certificate;
        a_power_cut_while_files_are_staged_leaves_everything_whole = crate::power::cut_while_files_are_staged;
    }
    rsa {
        everything_expired_comes_back = crate::comeback::a_node_on_which_everything_expired_comes_back;
        what_expired_alone_comes_back = crate::comeback::what_expired_alone_comes_back;
        an_expired_authority_signs_nothing = crate::comeback::under_an_authority_that_expired_nothing_is_signed;
        services_live_on_when_the_old_certificates_end = crate::services::live_on_when_the_old_certificates_end;
    }
    ecdsa {
        an_expired_kubelet_comes_back = crate::comeback::a_kubelet_whose_own_certificate_expired_comes_back;
        an_authority_elsewhere_signs = crate::external::an_authority_elsewhere_signs;
        authorities_are_shown_and_verified = crate::external::authorities_are_shown_and_verified;
        names_are_added_and_removed_on_the_wire = crate::external::names_are_added_and_removed_on_the_wire;
        packages_are_installed_upgraded_and_purged = crate::packages::are_installed_upgraded_and_purged;
        packages_restart_nothing_that_is_stale = crate::packages::restart_nothing_that_is_stale;
        packages_have_a_timer_in_place_of_the_daemon = crate::packages::have_a_timer_in_place_of_the_daemon;
        services_are_fresh_after_a_boot = crate::services::are_fresh_after_a_boot;
        services_are_refreshed_after_kubeadm_at_their_time = crate::services::refreshes_what_kubeadm_renewed_at_its_own_time;
    }
    daily {
        a_changed_file_makes_a_pass = crate::passes::a_changed_file_makes_a_pass;
        a_signal_makes_a_pass = crate::passes::a_signal_makes_a_pass;
        where_nothing_is_due_nothing_is_touched = crate::same::where_nothing_is_due_nothing_is_touched;
        a_power_cut_while_files_are_replaced_leaves_everything_whole = crate::power::cut_while_files_are_replaced;
        a_full_disk_is_said_and_loses_nothing = crate::disks::full;
        a_read_only_disk_is_said_and_loses_nothing = crate::disks::read_only;
        the_journal_says_and_explains_a_renewal = crate::journal::says_and_explains_a_renewal_and_has_no_key;
        while_kubeadm_runs_what_has_time_waits = crate::patience::while_kubeadm_runs_what_has_time_waits;
        the_manual_is_followed = crate::manual::is_followed;
        own_entries_are_looked_after = crate::own::a_webhook_and_a_monitoring_client_are_looked_after;
        own_entries_may_use_copies = crate::own::a_bundle_for_haproxy_follows;
    }
    troubled {
        the_unit_is_locked_down = crate::locked::the_unit_is_locked_down;
        a_folder_put_in_the_place_of_another_is_written_to = crate::locked::a_folder_put_in_the_place_of_another_is_written_to;
        copies_follow_their_originals_whoever_owns_them = crate::copies::follow_their_originals_whoever_owns_them;
        files_elsewhere_need_the_drop_in = crate::locked::files_elsewhere_need_the_drop_in;
        a_refused_certificate_is_not_used = crate::trouble::a_refused_certificate_is_not_used;
        an_api_server_that_hangs_holds_nothing_up = crate::trouble::an_api_server_that_hangs_holds_nothing_up;
        a_proxy_on_the_port_proves_nothing = crate::trouble::a_proxy_on_the_port_proves_nothing;
        without_dbus_it_goes_on = crate::trouble::without_dbus_it_goes_on;
        what_a_restored_disk_makes_stale_is_found = crate::trouble::what_a_restored_disk_makes_stale_is_found;
        services_wait_for_a_container_runtime_that_is_down = crate::services::wait_for_a_container_runtime_that_is_down;
        services_are_refreshed_though_the_daemon_was_killed = crate::services::are_refreshed_though_the_daemon_was_killed_in_between;
        services_that_never_become_healthy_are_restarted_once = crate::trouble::a_service_that_never_becomes_healthy_is_restarted_once;
    }
}
