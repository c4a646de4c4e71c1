//! Tests of kubecertd on a real control-plane node: systemd, journald, containerd, kubelet and the
//! static pods of `kubeadm init`.
//!
//! `tests/node/run` prepares the nodes and runs the cases; plain `cargo test` skips them. Each case
//! gets its node as kubeadm left it.
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

mod availability;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod harness;
mod leaders;
mod probes;

mod cluster_absence;
mod cluster_api_away;
mod cluster_cases;
mod cluster_days;
mod cluster_faults;
mod cluster_worker;
mod copies;
mod deferrals;
mod disk_errors;
mod extension;
mod external_ca;
mod idempotence;
mod journal;
mod manual;
mod new_root;
mod own_entries;
mod packages;
mod passes;
mod power_cut;
mod recovery;
mod root_by_hand;
mod root_power_cuts;
mod root_renewal;
mod root_replacement;
mod roots;
mod sandbox;
mod service_faults;
mod services;

/// Defines the module of the cases of one node.
macro_rules! cases {
    ($module:ident, $kind:ident: $($name:ident = $case:path;)*) => {
        mod $module {
            $(
                #[test]
                #[ignore = "needs a control-plane node: tests/node/run"]
                fn $name() {
                    $case(&mut crate::harness::Node::prepare(crate::harness::NodeKind::$kind));
                }
            )*
        }
    };
}

/// Defines the module of the cases of the cluster.
macro_rules! cluster_cases {
    ($($name:ident = $case:path;)*) => {
        mod ha {
            $(
                #[test]
                #[ignore = "needs a cluster: tests/node/run"]
                fn $name() {
                    $case(&mut crate::cluster::Cluster::prepare());
                }
            )*
        }
    };
}

/// Assigns the cases to the nodes. A case that depends on the algorithm of keys runs with both; the
/// others run on one node, so that all nodes take about the same time.
macro_rules! nodes {
    (
        both { $($both:tt)* }
        rsa { $($rsa:tt)* }
        ecdsa { $($ecdsa:tt)* }
        daily { $($daily:tt)* }
        faults { $($faults:tt)* }
    ) => {
        cases! { rsa, Rsa: $($both)* $($rsa)* }
        cases! { ecdsa, Ecdsa: $($both)* $($ecdsa)* }
        cases! { daily, Daily: $($daily)* }
        cases! { faults, Faults: $($faults)* }
    };
}

nodes! {
    both {
        services_use_all_renewed_credentials = crate::passes::all_due_credentials;
        ca_near_expiry_makes_no_renewal_loop = crate::idempotence::ca_near_expiry;
        check_output_equals_kubeadm = crate::idempotence::comparison_with_kubeadm;
        power_cut_during_staging_leaves_credentials_whole = crate::power_cut::on_staging;
    }
    rsa {
        fully_expired_node_recovers = crate::recovery::fully_expired_node;
        partly_expired_node_recovers = crate::recovery::partly_expired_node;
        expired_ca_signs_nothing = crate::recovery::expired_ca;
        expired_cas_are_renewed_offline = crate::recovery::expired_cas;
        bridge_connects_roots_of_two_names = crate::roots::other_name;
        root_ca_is_replaced = crate::root_replacement::by_new_key;
        services_keep_working_past_old_expiry = crate::services::past_old_expiry;
    }
    ecdsa {
        expired_kubelet_certificate_recovers = crate::recovery::expired_kubelet_certificate;
        root_ca_is_renewed_with_its_key = crate::root_renewal::before_expiry;
        all_cas_are_renewed_before_expiry = crate::root_renewal::all_cas;
        external_ca_signs_requests = crate::external_ca::signed_requests;
        ca_is_shown_and_verified = crate::external_ca::shown_and_verified;
        apiserver_names_are_added_and_removed = crate::external_ca::added_and_removed_names;
        package_is_installed_upgraded_and_purged = crate::packages::installation_upgrade_and_purge;
        package_installation_restarts_no_stale_service = crate::packages::stale_services;
        package_timer_replaces_daemon = crate::packages::timer_instead_of_daemon;
        services_are_fresh_after_boot = crate::services::after_boot;
        services_are_refreshed_after_kubeadm_renewal = crate::services::after_kubeadm_renewal;
    }
    daily {
        changed_file_makes_pass = crate::passes::changed_file;
        signal_makes_pass = crate::passes::signal;
        fresh_node_is_not_touched = crate::idempotence::fresh_node;
        power_cut_during_replacement_leaves_credentials_whole = crate::power_cut::on_replacement;
        full_disk_is_reported_and_loses_nothing = crate::disk_errors::full_disk;
        read_only_disk_is_reported_and_loses_nothing = crate::disk_errors::read_only_disk;
        journal_explains_renewal_and_holds_no_key = crate::journal::renewal;
        due_renewal_waits_for_kubeadm = crate::deferrals::running_kubeadm;
        operations_manual_works = crate::manual::all_sections;
        own_entries_are_renewed_and_refreshed = crate::own_entries::webhook_and_monitoring_client;
        own_bundle_copy_is_updated = crate::own_entries::bundle_for_haproxy;
        bridge_connects_roots_of_one_name = crate::roots::same_name;
        installed_root_ca_is_used_by_kubeadm = crate::new_root::used_by_kubeadm;
        cas_are_renewed_by_hand = crate::root_renewal::by_hand;
        root_ca_is_replaced_by_hand = crate::root_by_hand::replaced;
        bundle_in_signing_file_restarts_nothing = crate::root_renewal::bundle_by_hand;
        root_ca_rotation_is_undone = crate::root_replacement::undone;
    }
    faults {
        root_ca_rotation_meets_kubeadm = crate::root_replacement::kubeadm_in_the_middle;
        root_ca_rotation_survives_power_cuts = crate::root_power_cuts::after_each_step;
        unit_sandbox_confines_daemon = crate::sandbox::confined_daemon;
        replaced_directory_is_written_to = crate::sandbox::replaced_directory;
        removed_directory_of_kubelet_is_opened_again = crate::sandbox::removed_kubelet_directory;
        copies_of_any_owner_are_updated = crate::copies::copies_of_any_owner;
        files_outside_sandbox_need_drop_in = crate::sandbox::files_outside;
        refused_certificate_is_not_used = crate::service_faults::refused_certificate;
        hanging_apiserver_delays_nothing = crate::service_faults::hanging_apiserver;
        proxy_on_port_proves_nothing = crate::service_faults::proxy_on_port;
        renewal_works_without_dbus = crate::service_faults::stopped_dbus;
        restored_disk_makes_services_stale = crate::service_faults::restored_disk;
        services_wait_for_stopped_container_runtime = crate::services::stopped_container_runtime;
        services_are_refreshed_after_daemon_was_killed = crate::services::killed_daemon;
        stopped_kubelet_delays_first_request = crate::service_faults::stopped_kubelet;
        services_unhealthy_after_restart_are_restarted_once = crate::service_faults::unhealthy;
    }
}

cluster_cases! {
    everything_due_on_three_nodes = crate::cluster_cases::everything_due;
    etcd_restarts_one_member_at_a_time = crate::cluster_cases::etcd_restarts;
    etcd_waits_while_a_member_is_down = crate::cluster_cases::etcd_waits;
    one_node_returns_after_9_and_31_days = crate::cluster_absence::one_node_returns;
    removed_node_stays_out = crate::cluster_absence::removed_node_stays_out;
    all_nodes_return_after_10_days = crate::cluster_absence::all_return_after_10_days;
    all_nodes_return_after_40_days = crate::cluster_absence::all_return_after_40_days;
    operator_revives_two_of_three = crate::cluster_absence::operator_revives_two_of_three;
    load_balancer_away_delays_nothing = crate::cluster_api_away::balancer;
    all_apiservers_away_delay_no_renewal = crate::cluster_api_away::all_apiservers;
    etcd_without_quorum_delays_no_renewal = crate::cluster_api_away::quorum;
    partition_in_a_turn_stops_no_second_member = crate::cluster_faults::partition;
    dead_lease_holder_stops_no_second_member = crate::cluster_faults::dead_holder;
    clock_ahead_takes_no_lease = crate::cluster_faults::clock_ahead;
    logs_reach_all_nodes_through_each_apiserver = crate::cluster_days::logs_of_all_nodes;
    mixed_versions_work_together = crate::cluster_days::mixed_versions;
    worker_gets_certificate_signed = crate::cluster_worker::signed_certificate;
}
