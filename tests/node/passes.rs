//! The triggers of a pass, and a complete pass: every credential is renewed, and every server and
//! client keeps working.

use std::time::{Duration, Instant};

use super::availability::Meter;
use super::harness::{Node, schedule_in};
use super::services::{
    RESTARTED_SERVICES, assert_in_use, changed_processes, print_figure, processes,
};

fn sorted<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    names.sort();
    names
}

/// Returns the credentials that expire in a year, as renewed ones do.
fn renewed(node: &Node) -> Vec<String> {
    let far = super::common::now().plus(kubecertd::model::days(364));
    sorted(
        node.usable_credentials()
            .into_iter()
            .filter(|(_, stored)| stored.certificate.not_after > far)
            .map(|(name, _)| name),
    )
}

/// A scheduled pass renews everything and every service uses it, while a client sends requests to
/// the API server and none fails.
pub fn all_due_credentials(node: &mut Node) {
    node.reset_kubelet_backoff();
    Meter::try_machine(node);
    node.age_all(10);
    let all = node.all_credentials();
    let old: Vec<_> = all.iter().map(|name| node.serial(name)).collect();
    let (ready, before) = (node.ready_since(), processes(node));
    node.install(&schedule_in(20));
    let first = node.wait_for_pass("first start");
    assert!(first.renewed.is_empty(), "the first start only observes: {first:?}");
    assert_eq!(
        changed_processes(&before, &processes(node)),
        Vec::<String>::new(),
        "and restarts nothing"
    );
    let meter = Meter::start(node);
    let began = Instant::now();
    let pass = node.wait_for_pass("by schedule");
    let took = began.elapsed();
    // Failures shortly after the pass count too.
    std::thread::sleep(Duration::from_secs(5));
    let figures = meter.stop();
    print_figure(&format!("all renewed and in use after {:.1} s: {figures}", took.as_secs_f64()));

    assert_eq!(sorted(&pass.renewed), all);
    assert!(
        pass.failed.is_empty() && pass.waiting.is_empty() && pass.not_refreshed.is_empty(),
        "{pass:?}"
    );
    let journal = node.journal("kubecertd");
    for (name, old) in all.iter().zip(&old) {
        assert_ne!(node.serial(name), *old, "{name}");
        assert!(
            journal.contains(&format!("{name}: renewed until ")),
            "{name} is not in the journal: {journal}"
        );
    }
    assert!(
        !journal.contains("without a trial"),
        "each client certificate was tried at its server: {journal}"
    );
    assert_eq!(renewed(node), all);
    assert_in_use(node);
    assert!(node.kubectl("get nodes").contains(" Ready "));
    assert_eq!(node.ready_since(), ready, "it stayed Ready");
    assert_eq!(figures.failed, 0, "{figures}");
    let after = processes(node);
    assert_eq!(
        changed_processes(&before, &after),
        RESTARTED_SERVICES,
        "neither etcd, nor the API server, nor kubelet"
    );

    let shown = node.exec("kubecertd check --output wide");
    assert!(!shown.contains("stale"), "{shown}");
    let again = node.request_pass();
    assert!(
        again.renewed.is_empty() && again.refreshed.is_empty(),
        "a second pass does nothing: {again:?}"
    );
    assert_eq!(changed_processes(&after, &processes(node)), Vec::<String>::new());
}

pub fn changed_file(node: &mut Node) {
    node.install_past_first_pass();
    node.age("apiserver-etcd-client", 10);
    let pass = node.wait_for_pass("changed");
    assert_eq!(sorted(&pass.renewed), ["apiserver-etcd-client"]);
    assert!(pass.why.contains("/etc/kubernetes/pki/apiserver-etcd-client.crt"), "{}", pass.why);
    node.assert_whole();
    node.assert_accepted();
}

pub fn signal(node: &mut Node) {
    node.install_past_first_pass();
    node.age("front-proxy-client", 10);
    node.age("admin.conf", 2);
    let pass = node.request_pass();
    assert_eq!(
        (pass.why.as_str(), sorted(&pass.renewed)),
        ("asked for by a signal", sorted(["admin.conf", "front-proxy-client"]))
    );
    node.assert_accepted();
    assert!(node.request_pass().renewed.is_empty(), "nothing is left to do");
}
