//! Faults of a service or of its interfaces: each is reported, no service is restarted twice, and
//! the others keep working.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::harness::Node;
use super::services::{RESTARTED_SERVICES, changed_processes, processes};

/// The address of the test server that replaces the API server.
const TEST_SERVER: &str = "127.0.0.1:7443";

impl Node {
    /// Changes the node while the daemon is stopped.
    fn change_while_stopped(&self, change: impl FnOnce(&Self)) {
        self.exec("systemctl stop kubecertd");
        change(self);
        self.exec("systemctl start kubecertd");
    }

    /// Sets the value of a key in a kubeconfig. The inode stays the same, since containers mount
    /// the file.
    fn set_kubeconfig_value(&self, kubeconfig: &str, key: &str, value: &str) {
        let file = format!("/etc/kubernetes/{kubeconfig}");
        self.exec(&format!(
            "sed 's#{key}: .*#{key}: {value}#' {file} >/run/other && cat /run/other \
            >{file} && rm /run/other"
        ));
    }

    /// Starts a server with a certificate of the cluster's CA that accepts only the administrator's
    /// current client certificate.
    fn start_server_that_accepts_only_current_certificate(&self) {
        self.exec(&format!(
            "cd /run && kubectl config view --raw -o \
             jsonpath='{{.users[0].user.client-certificate-data}}' | base64 -d >known.pem
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stand-in \
             -keyout stand-in.key -out stand-in.csr 2>/dev/null
             echo subjectAltName=IP:127.0.0.1 >stand-in.ext
             openssl x509 -req -in stand-in.csr -CA /etc/kubernetes/pki/ca.crt -CAkey \
             /etc/kubernetes/pki/ca.key -days 1 -extfile stand-in.ext -out stand-in.crt 2>/dev/null
             {}",
            start_test_server_command()
        ));
        self.wait_for("the test server listens", |node| {
            node.try_exec("ss --listening --tcp --numeric | grep -q 127.0.0.1:7443")
                .status
                .success()
                .then_some(())
        });
    }
}

fn start_test_server_command() -> String {
    format!(
        "systemctl reset-failed; systemd-run --quiet --unit=stand-in --working-directory=/run \
         openssl s_server -accept {TEST_SERVER} \\
           -cert stand-in.crt -key stand-in.key -Verify 1 -verify_return_error -partial_chain \
           -CAfile known.pem -www"
    )
}

/// A client certificate that its server refuses is not installed. Where the refusal is found only
/// after the renewal, it is rolled back.
pub fn refused_certificate(node: &mut Node) {
    node.install_past_first_pass();
    node.change_while_stopped(|node| {
        node.age("admin.conf", 10);
        node.start_server_that_accepts_only_current_certificate();
        node.set_kubeconfig_value("admin.conf", "server", &format!("https://{TEST_SERVER}"));
    });
    let old = node.serial("admin.conf");
    let pass = node.request_pass();
    assert_eq!((pass.renewed.len(), pass.failed.len()), (0, 1), "{pass:?}");
    let (name, reason) = &pass.failed[0];
    assert!(
        name.as_str() == "admin.conf"
            && reason.starts_with(&format!("https://{TEST_SERVER} refused the new certificate (")),
        "{reason}"
    );
    assert!(reason.ends_with("and accepts the old one, which stays in place"), "{reason}");
    assert_eq!(node.serial("admin.conf"), old);
    let again = node.request_pass();
    assert!(
        again.renewed.is_empty() && again.failed.is_empty(),
        "no other renewal is tried for a day: {again:?}"
    );
    assert!(
        again
            .waiting
            .iter()
            .any(|(name, reason)| name.as_str() == "admin.conf"
                && reason.contains("is retried after")),
        "{again:?}"
    );

    // Nor is a certificate of an external CA installed.
    node.exec(
        "mv /etc/kubernetes/pki/ca.key /run/elsewhere.key
         kubecertd csr admin.conf >/run/admin.csr
         openssl x509 -req -in /run/admin.csr -CA /etc/kubernetes/pki/ca.crt -CAkey \
         /run/elsewhere.key -days 365 -copy_extensions copyall -out /run/admin.crt",
    );
    let install = "kubecertd install admin.conf /run/admin.crt";
    let tried = node.try_exec(install);
    let text = String::from_utf8(tried.stderr).unwrap();
    assert_eq!(tried.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("https://{TEST_SERVER} refused the new certificate (")),
        "{text}"
    );
    assert_eq!(node.serial("admin.conf"), old);
    node.exec("systemctl stop stand-in");
    let installed = node.exec(install);
    assert!(
        installed.contains("installed admin.conf") && installed.contains("renewed without a trial"),
        "{installed}"
    );
    assert_ne!(node.serial("admin.conf"), old);
    node.exec("mv /run/elsewhere.key /etc/kubernetes/pki/ca.key && kubecertd restore admin.conf");
    assert_eq!(node.serial("admin.conf"), old);

    let renewed = node.exec("kubecertd renew admin.conf --force");
    assert!(renewed.contains("renewed without a trial"), "{renewed}");
    assert_ne!(node.serial("admin.conf"), old);
    node.exec(&start_test_server_command());
    let rolled_back = node.wait_for("the roll-back", |node| {
        let pass = node.request_pass();
        (!pass.failed.is_empty()).then_some(pass)
    });
    assert!(
        rolled_back.failed[0].1.ends_with("and accepts the previous one, which was restored"),
        "{rolled_back:?}"
    );
    assert_eq!(node.serial("admin.conf"), old);
    node.exec("systemctl stop stand-in");
}

/// A service that stays unhealthy after its restart is not restarted again.
pub fn unhealthy(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.change_while_stopped(|node| {
        node.age("scheduler.conf", 10);
        // With an invalid URL it exits immediately.
        node.set_kubeconfig_value("scheduler.conf", "server", "https://%zz");
    });
    let before = processes(node);
    let pass = node.request_pass();
    assert_eq!(
        (pass.renewed.len(), pass.failed.len(), pass.not_refreshed.len()),
        (1, 0, 1),
        "{pass:?}"
    );
    let (service, reason) = &pass.not_refreshed[0];
    assert!(service.as_str() == "kube-scheduler" && reason.starts_with("it"), "{reason}");
    assert!(
        reason.contains("is not healthy") || reason.contains("kubelet has not started another one"),
        "{reason}"
    );
    let restarts = |node: &Node| {
        let memory: serde_json::Value =
            serde_json::from_slice(&node.read("var/lib/kubecertd/services.json")).unwrap();
        // Other services may have been restarted after an earlier case.
        let of_scheduler = |note: &&serde_json::Value| note["service"] == "kube-scheduler";
        memory["restarted"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of_scheduler)
            .cloned()
            .collect::<Vec<_>>()
    };
    let noted = restarts(node);
    assert_eq!(noted.len(), 1, "{noted:?}");
    let again = node.request_pass();
    assert!(again.refreshed.is_empty(), "{again:?}");
    assert_eq!(restarts(node), noted);
    assert!(
        !again.findings.is_empty() || !again.not_refreshed.is_empty(),
        "it is still reported: {again:?}"
    );
    let others: Vec<_> = changed_processes(&before, &processes(node))
        .into_iter()
        .filter(|name| name != "kube-scheduler")
        .collect();
    assert_eq!(others, Vec::<String>::new());
}

/// The API server accepts connections and does not respond. Trials and probes time out, and the API
/// server is not restarted.
pub fn hanging_apiserver(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.change_while_stopped(|node| {
        node.age("apiserver", 10);
        node.age("admin.conf", 10);
    });
    let before = processes(node);
    node.exec("pkill --signal STOP --full '^kube-apiserver '");
    let began = Instant::now();
    let pass = node.request_pass();
    let took = began.elapsed();
    node.exec("pkill --signal CONT --full '^kube-apiserver '");
    assert_eq!((pass.renewed.len(), pass.failed.len()), (2, 0), "{pass:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let problems = pass
        .findings
        .iter()
        .chain(pass.not_refreshed.iter().map(|(_, reason)| reason))
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(problems.contains("kube-apiserver") && problems.contains("time limit"), "{problems}");
    assert!(pass.refreshed.is_empty(), "{pass:?}");
    node.wait_until_serving("kube-apiserver", "apiserver");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
    let after = node.request_pass();
    assert!(after.failed.is_empty() && after.findings.is_empty(), "{after:?}");
    // The two services with a lease exit by themselves when they can't renew it.
    let others: Vec<_> = changed_processes(&before, &processes(node))
        .into_iter()
        .filter(|name| !RESTARTED_SERVICES.contains(&name.as_str()))
        .collect();
    assert_eq!(others, Vec::<String>::new());
}

/// A proxy answers at the address of a service. Its answer proves nothing, which is reported.
///
/// kubelet listens at another address than its configuration says by then.
pub fn proxy_on_port(node: &mut Node) {
    node.install_past_first_pass();
    let address = node.address();
    node.exec(&format!(
        "cp /var/lib/kubelet/config.yaml /run/kubelet.yaml
         sed -i '/^address:/d' /var/lib/kubelet/config.yaml && echo 'address: {address}' \
         >>/var/lib/kubelet/config.yaml
         systemctl restart kubelet
         systemd-run --quiet --unit=in-between --socket-property=ListenStream=127.0.0.1:10250 \
         /lib/systemd/systemd-socket-proxyd {address}:10250"
    ));
    node.wait_for("kubelet answers through the proxy", |node| node.serving("kubelet").map(drop));
    node.exec("cp /run/kubelet.yaml /var/lib/kubelet/config.yaml");
    let shown = node.exec("kubecertd check --output wide || true");
    node.exec("systemctl stop in-between.socket in-between; systemctl restart kubelet");
    let line = shown.lines().find(|line| line.contains("kubelet-serving")).unwrap_or_default();
    assert!(line.contains("the socket is that of systemd"), "{shown}");
    node.wait_for("it is Ready", |node| node.is_ready().then_some(()));
}

/// Without D-Bus the state of kubelet's unit and of the clock is unknown. Renewal and restarts do
/// not need it.
pub fn stopped_dbus(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.change_while_stopped(|node| node.age("scheduler.conf", 10));
    let before = processes(node);
    node.exec("systemctl stop dbus.socket dbus.service");
    let pass = node.request_pass();
    node.exec("systemctl start dbus.socket dbus.service");
    assert_eq!((pass.renewed.len(), pass.failed.len()), (1, 0), "{pass:?}");
    assert!(pass.not_refreshed.is_empty(), "{pass:?}");
    assert!(
        pass.findings.iter().any(|finding| finding.contains("is dbus.service running?")),
        "{pass:?}"
    );
    assert_eq!(changed_processes(&before, &processes(node)), ["kube-scheduler"]);
}

/// Requests passes until exactly the two services that need a restart were restarted.
fn wait_until_restarted(node: &Node, before: &BTreeMap<String, String>) {
    node.wait_for("they are restarted", |node| {
        let pass = node.request_pass();
        assert!(pass.not_refreshed.is_empty(), "{pass:?}");
        (changed_processes(before, &processes(node)) == RESTARTED_SERVICES).then_some(())
    });
}

/// The files are restored to an earlier state. Services that use the later files are found and
/// restarted by the next pass.
pub fn restored_disk(node: &mut Node) {
    node.reset_kubelet_backoff();
    node.install_past_first_pass();
    node.exec("kubeadm certs renew all");
    let first = processes(node);
    wait_until_restarted(node, &first);
    node.wait_until_serving("kube-apiserver", "apiserver");
    node.reset_kubelet_backoff();
    let second = processes(node);
    node.change_while_stopped(|node| {
        drop(node.exec("rsync --archive --acls --checksum /as-made/kubernetes/ /etc/kubernetes/"))
    });
    let shown = node.exec("kubecertd check --output wide || true");
    for name in RESTARTED_SERVICES {
        let is_stale = |line: &str| line.contains(name) && line.contains("stale");
        assert!(shown.lines().any(is_stale), "{name}: {shown}");
    }
    wait_until_restarted(node, &second);
    node.wait_until_serving("kube-apiserver", "apiserver");
}

/// After apiserver-kubelet-client was renewed, a request is made to kubelet through the API server.
/// While kubelet does not run, it is said that a user's request may fail; the next pass makes it.
pub fn stopped_kubelet(node: &mut Node) {
    node.install_past_first_pass();
    node.age("apiserver-kubelet-client", 10);
    node.exec("systemctl stop kubelet");
    let pass = node.request_pass();
    assert_eq!(pass.renewed.len(), 1, "{pass:?}");
    let said = "the next kubectl logs or exec through it may fail once";
    assert!(node.journal("kubecertd").contains(said), "{}", node.journal("kubecertd"));
    let is_made = |node: &Node| {
        let memory = node.text("var/lib/kubecertd/services.json");
        let memory: serde_json::Value = serde_json::from_str(&memory).unwrap();
        let certificate = node.certificate("apiserver-kubelet-client");
        memory["first_requests"]["apiserver-kubelet-client"]
            == serde_json::json!(certificate.fingerprint.to_string())
    };
    assert!(!is_made(node));

    node.exec("systemctl start kubelet");
    node.wait_for("kubelet serves", |node| node.serving("kubelet").map(drop));
    node.request_pass();
    assert!(is_made(node), "{}", node.journal("kubecertd"));
    node.exec("kubectl --namespace kube-system logs etcd-$(hostname) --tail 1");
}
