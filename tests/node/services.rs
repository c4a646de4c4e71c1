//! The services use renewed credentials, and no service is restarted without need.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::availability::Meter;
use super::common;
use super::harness::{Node, PASS_IN_PROGRESS, WAIT_TIMEOUT, schedule_in};

/// The services that read their credential only at the start.
pub const RESTARTED_SERVICES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// The process ids of the control plane and of kubelet.
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

/// Returns the services whose process changed.
pub fn changed_processes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    before
        .iter()
        .filter(|(name, pid)| after.get(*name) != Some(pid))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Prints a figure, which `tests/node/run` shows below the name of the case.
pub fn print_figure(text: &str) {
    println!("figure: {text}");
}

/// Asserts that every server serves the certificate on the disk and every client is accepted.
pub fn assert_in_use(node: &Node) {
    for (service, credential) in
        [("etcd", "etcd/server"), ("etcd's peers", "etcd/peer"), ("kube-apiserver", "apiserver")]
    {
        assert_eq!(node.serving(service), Some(node.serial(credential)), "{service}");
    }
    node.assert_whole();
    node.assert_accepted();
}

pub fn after_kubeadm_renewal(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    let before = processes(node);
    node.exec("kubeadm certs renew all");
    let shown = node.exec("kubecertd check --output wide || true");
    assert!(shown.contains("stale"), "{shown}");
    node.wait_for_pass("changed");
    assert_eq!(
        changed_processes(&before, &processes(node)),
        Vec::<String>::new(),
        "no restart while kubeadm may be running"
    );
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.renewed.is_empty(), "{pass:?}");
    assert_eq!(changed_processes(&before, &processes(node)), RESTARTED_SERVICES);
    node.wait_until_serving("kube-apiserver", "apiserver");
    assert_in_use(node);
}

/// The daemon is killed after the renewal, before any service is restarted. systemd starts it
/// again, and it finds the stale services.
pub fn killed_daemon(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    let before = processes(node);
    node.age_all(10);
    let old = node.serial("scheduler.conf");
    node.exec("systemctl kill --kill-who main --signal USR1 kubecertd");
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while node
        .usable_credentials()
        .get("scheduler.conf")
        .is_none_or(|_| node.serial("scheduler.conf") == old)
    {
        assert!(Instant::now() < deadline, "nothing was renewed");
    }
    node.exec("systemctl kill --kill-who main --signal KILL kubecertd");
    node.wait_for("the right ones are restarted", |node| {
        (changed_processes(&before, &processes(node)) == RESTARTED_SERVICES).then_some(())
    });
    node.wait_for("the pass is complete", |node| {
        (node.status()?.line != PASS_IN_PROGRESS).then_some(())
    });
    node.wait_until_serving("kube-apiserver", "apiserver");
    assert_in_use(node);
}

/// A boot restarts all services, and later changes of file times do not matter, since files are
/// compared by content: nothing is stale.
pub fn after_boot(node: &mut Node) {
    node.install_past_first_pass();
    node.exec("kubeadm certs renew all");
    node.power_cut(|_| ());
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    let before = processes(node);
    node.wait_for("the daemon runs", |node| node.status().map(drop));
    node.request_pass();
    node.exec("find /etc/kubernetes -type f -exec touch {} +");
    node.request_pass();
    assert_eq!(changed_processes(&before, &processes(node)), Vec::<String>::new());
    let shown = node.exec("kubecertd check --output wide");
    assert!(!shown.contains("stale"), "{shown}");
}

/// Without containerd no service can be restarted or verified. That is reported, and the restart is
/// made when containerd runs again.
pub fn stopped_container_runtime(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.age("scheduler.conf", 10);
    let before = processes(node);
    node.exec("systemctl stop containerd");
    let pass = node.request_pass();
    assert_eq!(pass.renewed.len(), 1, "{pass:?}");
    assert!(node.journal("kubecertd").contains("containerd.sock"), "{}", node.journal("kubecertd"));
    assert_eq!(changed_processes(&before, &processes(node)), Vec::<String>::new());
    node.exec("systemctl start containerd");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    node.request_pass();
    assert_eq!(changed_processes(&before, &processes(node)), ["kube-scheduler"]);
}

/// Sessions of an operator: the unit of each one's kubectl.
const SESSIONS: [&str; 2] = ["following", "inside"];

fn is_active(node: &Node, unit: &str) -> bool {
    node.try_exec(&format!("systemctl is-active --quiet {unit}")).status.success()
}

/// Starts the [`SESSIONS`], and waits until both streams are open: the log was read, and the
/// command runs in the container. They use the API server's connections to kubelet.
fn open_sessions(node: &Node) {
    node.exec(
        "systemctl reset-failed
         run='systemd-run --quiet --setenv=KUBECONFIG=/etc/kubernetes/admin.conf'
         $run --unit=following kubectl --namespace kube-system logs --follow etcd-$(hostname)
         $run --unit=inside kubectl --namespace kube-system exec etcd-$(hostname) -- \
           etcd --data-dir /tmp/other --listen-client-urls http://127.0.0.1:12379 \
           --advertise-client-urls http://127.0.0.1:12379 \
           --listen-peer-urls http://127.0.0.1:12380",
    );
    let is_open = |node: &Node| {
        for unit in SESSIONS {
            let said = || node.journal(unit);
            assert!(is_active(node, unit), "{unit} ended: {}", said());
        }
        node.try_exec(
            "journalctl --unit following --output cat _COMM=kubectl | grep --quiet etcd \
             && pgrep --full '^etcd --data-dir /tmp/other'",
        )
        .status
        .success()
    };
    node.wait_for("both streams are open", |node| is_open(node).then_some(()));
}

/// Seconds until the old certificates expire. On a busy machine the preparation takes most of it.
const SECONDS_TO_EXPIRY: i64 = 240;

/// The old client certificates expire, and no request fails.
pub fn past_old_expiry(node: &mut Node) {
    node.reset_kubelet_backoff();
    Meter::try_machine(node);
    node.age_all_seconds(SECONDS_TO_EXPIRY);
    let expiry = common::now().plus(Duration::from_secs(SECONDS_TO_EXPIRY.unsigned_abs()));
    // Services that read their certificate only at the start must have read the old one.
    node.exec(
        "for name in kube-apiserver kube-controller-manager kube-scheduler; do pkill \
        --signal KILL --full \"^$name \"; done",
    );
    node.reset_kubelet_backoff();
    node.wait_for("all run again", |node| {
        processes(node).values().all(|pid| !pid.is_empty()).then_some(())
    });
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    node.wait_for("the log of the newest pod can be read", |node| {
        let read = node
            .try_exec("kubectl --namespace kube-system logs kube-scheduler-$(hostname) --tail 1");
        read.status.success().then_some(())
    });
    node.reset_kubelet_backoff();
    open_sessions(node);
    node.install(&schedule_in(3));
    let all = node.all_credentials().len();
    let pass = node.wait_for("all is renewed", |node| {
        node.status()?.last_pass.filter(|pass| pass.renewed.len() == all)
    });
    assert!(pass.failed.is_empty(), "{pass:?}");
    let (_, closed) = pass
        .refreshed
        .iter()
        .find(|(_, what)| what.contains("connections that carried the old certificate were closed"))
        .unwrap_or_else(|| panic!("the sessions' connections carry the old one: {pass:?}"));
    // Right after the renewal, also the first ones work.
    let journal = node.journal("kubecertd");
    assert!(!journal.contains("may fail once"), "{journal}");
    node.exec("kubectl --namespace kube-system exec etcd-$(hostname) -- etcd --version");
    node.exec("kubectl --namespace kube-system logs kube-scheduler-$(hostname) --tail 1");
    node.wait_for("the open sessions end", |node| {
        SESSIONS.iter().all(|unit| !is_active(node, unit)).then_some(())
    });
    print_figure(&format!("kubectl logs --follow and exec ended in the pass: {closed}"));
    let meter = Meter::start(node);
    node.wait_for("the old certificates expire", |_| {
        (common::now() > expiry.plus(Duration::from_secs(20))).then_some(())
    });
    let figures = meter.stop();
    print_figure(&format!("past the expiry of the old certificates: {figures}"));
    assert_eq!(figures.failed, 0, "{figures}");
    node.exec("pkill --full '^etcd --data-dir /tmp/other'; true");
    node.exec("kubectl --namespace kube-system logs kube-scheduler-$(hostname) --tail 1");
    node.exec("kubectl --namespace kube-system exec etcd-$(hostname) -- etcd --version");
    for name in RESTARTED_SERVICES {
        let renewed =
            format!("get lease --namespace kube-system {name} -o jsonpath='{{.spec.renewTime}}'");
        let first = node.kubectl(&renewed);
        node.wait_for("its lease is renewed", |node| {
            (node.kubectl(&renewed) != first).then_some(())
        });
    }
    assert_in_use(node);
}
