//! The services take what was renewed: they are seen with it, and nothing is restarted that need
//! not be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::common;
use super::harness::{AT_WORK, LIMIT, Node, in_seconds};
use super::meter::Meter;

/// What reads its credential only when it starts.
pub const RESTARTED: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// The processes of the control plane and of kubelet: another number, another process.
pub fn processes(node: &Node) -> BTreeMap<String, String> {
    let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let pid = |name: &str| node.exec(&format!("pgrep --full '^{name} ' || true")).trim().to_owned();
    let mut found: BTreeMap<String, String> =
        names.iter().map(|name| ((*name).to_owned(), pid(name))).collect();
    found.insert(
        "kubelet".to_owned(),
        node.exec("systemctl show kubelet --property MainPID --value").trim().to_owned(),
    );
    found
}

/// Which of them are not the same any more.
pub fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    before
        .iter()
        .filter(|(name, pid)| after.get(*name) != Some(pid))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Shown by `tests/node/run` below the name of the case.
pub fn figure(text: &str) {
    println!("figure: {text}");
}

/// Says and sees: every server serves what is on the disk, and every client is accepted.
pub fn assert_in_use(node: &Node) {
    for (service, credential) in
        [("etcd", "etcd/server"), ("etcd's peers", "etcd/peer"), ("kube-apiserver", "apiserver")]
    {
        assert_eq!(node.serving(service), Some(node.serial(credential)), "{service}");
    }
    node.assert_whole();
    node.assert_accepted();
}

pub fn refreshes_what_kubeadm_renewed_at_its_own_time(node: &mut Node) {
    node.calm_kubelet();
    node.install_settled();
    let before = processes(node);
    node.exec("kubeadm certs renew all");
    let shown = node.exec("kubecertd check --output wide || true");
    assert!(shown.contains("stale"), "{shown}");
    node.until_passed("changed");
    assert_eq!(
        changed(&before, &processes(node)),
        Vec::<String>::new(),
        "not in the middle of somebody's work"
    );
    let pass = node.pass();
    assert!(pass.failed.is_empty() && pass.renewed.is_empty(), "{pass:?}");
    assert_eq!(changed(&before, &processes(node)), RESTARTED);
    node.until_serving("kube-apiserver", "apiserver");
    assert_in_use(node);
}

/// The daemon dies when all is renewed and nothing is refreshed yet. systemd starts it again, and
/// it finds out.
pub fn are_refreshed_though_the_daemon_was_killed_in_between(node: &mut Node) {
    node.calm_kubelet();
    node.install_settled();
    let before = processes(node);
    node.age_all(10);
    let old = node.serial("scheduler.conf");
    node.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
    let limit = Instant::now() + LIMIT;
    while node
        .usable_credentials()
        .get("scheduler.conf")
        .is_none_or(|_| node.serial("scheduler.conf") == old)
    {
        assert!(Instant::now() < limit, "nothing was renewed");
    }
    node.exec("systemctl kill --kill-who main --signal KILL kubecertd");
    node.until("the right ones are restarted", |node| {
        (changed(&before, &processes(node)) == RESTARTED).then_some(())
    });
    node.until("the pass ends", |node| (node.status()?.line != AT_WORK).then_some(()));
    node.until_serving("kube-apiserver", "apiserver");
    assert_in_use(node);
}

/// A boot starts everything anew, and what was once seen is known by its content: nothing is stale,
/// whatever the dates of the files say.
pub fn are_fresh_after_a_boot(node: &mut Node) {
    node.install_settled();
    node.exec("kubeadm certs renew all");
    node.power_cut(|_| ());
    node.until("it is Ready", |node| node.is_ready().then_some(()));
    let before = processes(node);
    node.until("the daemon runs", |node| node.status().map(drop));
    node.pass();
    node.exec("find /etc/kubernetes -type f -exec touch {} +");
    node.pass();
    assert_eq!(changed(&before, &processes(node)), Vec::<String>::new());
    let shown = node.exec("kubecertd check --output wide");
    assert!(!shown.contains("stale"), "{shown}");
}

/// With containerd down nothing can be restarted, nor seen; it is said, and made good when it is
/// back.
pub fn wait_for_a_container_runtime_that_is_down(node: &mut Node) {
    node.calm_kubelet();
    node.install_settled();
    node.age("scheduler.conf", 10);
    let before = processes(node);
    node.exec("systemctl stop containerd");
    let pass = node.pass();
    assert_eq!(pass.renewed.len(), 1, "{pass:?}");
    assert!(node.journal("kubecertd").contains("containerd.sock"), "{}", node.journal("kubecertd"));
    assert_eq!(changed(&before, &processes(node)), Vec::<String>::new());
    node.exec("systemctl start containerd");
    node.until("it is Ready", |node| node.is_ready().then_some(()));
    node.pass();
    assert_eq!(changed(&before, &processes(node)), ["kube-scheduler"]);
}

/// How long the old ones live: on a busy machine it takes most of that until all is prepared.
const REST: i64 = 240;

/// The old client certificates end, and nobody notices.
pub fn live_on_when_the_old_certificates_end(node: &mut Node) {
    node.calm_kubelet();
    node.age_all_seconds(REST);
    let end = common::now().plus(Duration::from_secs(REST.unsigned_abs()));
    // What reads its certificate only when it starts has to have read the old one.
    node.exec(
        "for name in kube-apiserver kube-controller-manager kube-scheduler; do pkill \
        --signal KILL --full \"^$name \"; done",
    );
    node.calm_kubelet();
    node.until("all run again", |node| {
        processes(node).values().all(|pid| !pid.is_empty()).then_some(())
    });
    node.until("it is Ready", |node| node.is_ready().then_some(()));
    node.until("the log of the one that started last can be read", |node| {
        let read = node
            .try_exec("kubectl --namespace kube-system logs kube-scheduler-$(hostname) --tail 1");
        read.status.success().then_some(())
    });
    node.calm_kubelet();
    // What an operator has open meanwhile: it goes through the API server's connections to kubelet,
    // by its old certificate.
    node.exec(
        "systemctl reset-failed
         systemd-run --quiet --unit=following kubectl --namespace kube-system logs --follow \
         etcd-$(hostname)
         systemd-run --quiet --unit=inside kubectl --namespace kube-system exec etcd-$(hostname) \
         -- etcd --data-dir /tmp/other \
           --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls \
           http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380",
    );
    node.until("it runs inside", |node| {
        node.try_exec("pgrep --full '[d]ata-dir /tmp/other'").status.success().then_some(())
    });
    node.install(&in_seconds(3));
    let pass = node.until("all is renewed", |node| {
        node.status()?.last_pass.filter(|pass| pass.renewed.len() == 10)
    });
    assert!(pass.failed.is_empty(), "{pass:?}");
    let closed = pass.refreshed.iter().find(|(_, what)| {
        what.contains("connections that carried the old certificate were closed")
    });
    let open =
        |unit: &str| node.try_exec(&format!("systemctl is-active --quiet {unit}")).status.success();
    let ended: Vec<_> = ["following", "inside"].into_iter().filter(|unit| !open(unit)).collect();
    figure(&format!(
        "kubectl logs --follow and exec at that moment: {} of 2 ended; {closed:?}",
        ended.len()
    ));
    let meter = Meter::start(&node.address());
    node.until("the old ones have ended", |_| {
        (common::now() > end.plus(Duration::from_secs(20))).then_some(())
    });
    let figures = meter.stop();
    figure(&format!("past the end of the old ones: {figures}"));
    assert_eq!(figures.failed, 0, "{figures}");
    node.exec(
        "systemctl stop following inside 2>/dev/null; pkill --full '[d]ata-dir /tmp/other'; true",
    );
    node.exec("kubectl --namespace kube-system logs kube-scheduler-$(hostname) --tail 1");
    node.exec("kubectl --namespace kube-system exec etcd-$(hostname) -- etcd --version");
    for name in RESTARTED {
        let renewed =
            format!("get lease --namespace kube-system {name} -o jsonpath='{{.spec.renewTime}}'");
        let first = node.kubectl(&renewed);
        node.until("its lease is renewed", |node| (node.kubectl(&renewed) != first).then_some(()));
    }
    assert_in_use(node);
}
