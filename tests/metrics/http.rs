//! The metrics that the daemon serves over HTTP and writes to a textfile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::common::{ECDSA, Node, STATE};
use super::harness::*;
use super::programs::{free_port, request, request_over_socket};

/// Gives the node a history and this `[metrics]` section.
fn with_metrics(node: Node, metrics: &str) -> Node {
    let node = with_history(node, NEVER);
    node.write(CONFIG, format!("{}[metrics]\n{metrics}\n", schedule(NEVER)));
    node
}

/// Returns the value of a sample.
fn value<'t>(text: &'t str, sample: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
}

#[test]
fn metrics_show_certificates_before_and_results_after_pass() {
    let port = free_port();
    let node = with_metrics(Node::due(), &format!("listen = \"127.0.0.1:{port}\""));
    let daemon = Daemon::start(&node);
    let get = || request(port, "GET /metrics HTTP/1.1").map(|response| response.body);
    // The state records a pass that ended now, so no pass is made at the start.
    let before = wait_for("certificates are known", || {
        get().filter(|text| text.contains("x509_cert_not_after{"))
    });
    assert_eq!(value(&before, "kubecertd_passes_total{result=\"ok\"}"), Some("0"));
    assert_eq!(value(&before, "kubecertd_credential_due{name=\"apiserver\"}"), Some("1"));
    assert!(
        value(&before, "kubecertd_last_pass_timestamp_seconds").is_some(),
        "it is read from the state"
    );

    let renewed = daemon.request_pass().renewed.len();
    let after = wait_for("the pass is counted", || {
        get().filter(|text| {
            value(text, "kubecertd_passes_total{result=\"ok\"}") == Some("1")
                && text.contains("next_pass")
        })
    });
    assert_eq!(
        after
            .lines()
            .filter(|line| line.starts_with("kubecertd_renewals_total")
                && line.ends_with("result=\"ok\"} 1"))
            .count(),
        renewed
    );
    assert_eq!(value(&after, "kubecertd_credential_due{name=\"apiserver\"}"), Some("0"));
    for name in ["kubecertd_clock_trusted", "kubecertd_clock_believed"] {
        assert_eq!(value(&after, name), Some("1"), "{name}");
    }
    let certificate = node.certificate("apiserver");
    let apiserver = after
        .lines()
        .find(|line| {
            line.starts_with("x509_cert_not_after{") && line.contains("name=\"apiserver\"")
        })
        .unwrap();
    let labels = "kind=\"credential\",name=\"apiserver\",renewed_by=\"kubecertd\",\
                  filename=\"apiserver.crt\",filepath=\"/etc/kubernetes/pki/apiserver.crt\",\
                  serial_number=\"";
    assert!(
        apiserver.contains(labels)
            && apiserver.contains("\",issuer_CN=\"kubernetes\",subject_CN=\"kube-apiserver\"} "),
        "{apiserver}"
    );
    assert!(apiserver.ends_with(&format!("}} {}", certificate.not_after.seconds())), "{apiserver}");
    let admin = after
        .lines()
        .find(|line| {
            line.starts_with("x509_cert_not_after{") && line.contains("name=\"admin.conf\"")
        })
        .unwrap();
    let location = "filepath=\"/etc/kubernetes/admin.conf\",embedded_kind=\"user\",\
                    embedded_key=\"kubernetes-admin\",";
    assert!(admin.contains(location), "{admin}");
    assert!(
        admin.contains(",subject_O=\"kubeadm:cluster-admins\",subject_CN=\"kubernetes-admin\"}"),
        "{admin}"
    );

    // Without a backup the file can't be repaired.
    std::fs::remove_dir_all(node.path(STATE).join("backups")).unwrap();
    node.write("etc/kubernetes/super-admin.conf", "damaged");
    daemon.request_pass();
    let bad = wait_for("the alarm is shown", || {
        get().filter(|text| {
            text.contains("kubecertd_alarm{id=\"renewal-failed\",severity=\"major\"")
        })
    });
    assert_eq!(value(&bad, "x509_read_errors"), Some("1"));
}

#[test]
fn metrics_are_served_in_two_formats() {
    let port = free_port();
    let node = with_metrics(Node::fresh(ECDSA), &format!("listen = \"127.0.0.1:{port}\""));
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let classic = wait_for("it is served", || request(port, "GET /metrics HTTP/1.1"));
    assert_eq!(classic.status, 200);
    assert!(classic.head.contains("content-type: text/plain; version=0.0.4"), "{}", classic.head);
    assert!(
        classic.body.contains("# TYPE kubecertd_passes_total counter\n")
            && !classic.body.contains("# EOF")
    );
    let open = request(
        port,
        "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0",
    )
    .unwrap();
    assert!(
        open.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        open.head
    );
    assert!(
        open.body.contains("# TYPE kubecertd_passes counter\nkubecertd_passes_total{")
            && open.body.ends_with("# EOF\n")
    );
    let head = request(port, "HEAD /metrics HTTP/1.1").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(request(port, "POST /metrics HTTP/1.1").unwrap().status, 405);
    assert_eq!(request(port, "GET / HTTP/1.1").unwrap().status, 404);
}

/// Connections without a request are closed after a while, and other clients are served then.
#[test]
fn silent_clients_do_not_block_metrics() {
    let port = free_port();
    let node = with_metrics(Node::fresh(ECDSA), &format!("listen = \"127.0.0.1:{port}\""));
    let mut daemon = Daemon::start(&node);
    wait_for("it is served", || request(port, "GET /metrics HTTP/1.1"));
    let mut silent: Vec<_> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    silent[0].write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
    daemon.request_pass();
    assert_eq!(request(port, "GET /metrics HTTP/1.1").unwrap().status, 200);
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest);
    assert!(daemon.is_running());
}

#[test]
fn metrics_socket_replaces_only_stale_socket() {
    let node = with_metrics(Node::fresh(ECDSA), "listen = \"unix:/run/kubecertd/metrics.sock\"");
    let socket = node.path("run/kubecertd/metrics.sock");
    let mut daemon = Daemon::start(&node);
    let response =
        wait_for("it is served", || request_over_socket(&socket, "GET /metrics HTTP/1.1"));
    assert_eq!(response.status, 200);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    daemon.kill();
    assert!(socket.exists(), "a killed daemon leaves the socket");
    let mut daemon = Daemon::start(&node);
    wait_for("it is served again", || request_over_socket(&socket, "GET /metrics HTTP/1.1"));
    daemon.stop();
    assert!(!socket.exists());

    node.write("run/kubecertd/metrics.sock", "unrelated");
    let daemon = Daemon::start(&node);
    wait_for("the error is logged", || {
        daemon.log().contains("metrics.sock is not a socket").then_some(())
    });
    daemon.request_pass();
    assert_eq!(node.text("run/kubecertd/metrics.sock"), "unrelated");
    node.remove("run/kubecertd/metrics.sock");
    daemon.signal("HUP");
    wait_for("the socket is created after a reload", || {
        request_over_socket(&socket, "GET /metrics HTTP/1.1")
    });
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
}

#[test]
fn reload_moves_metrics_endpoint() {
    let (port, taken) = (free_port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let elsewhere = taken.local_addr().unwrap();
    let node = with_metrics(
        Node::fresh(ECDSA),
        &format!("listen = \"{elsewhere}\"\ntextfile = \"/no/directory/kubecertd.prom\""),
    );
    let daemon = Daemon::start(&node);
    let wait_for_log = |text: &str| wait_for(text, || daemon.log().contains(text).then_some(()));
    wait_for_log(&format!("{elsewhere}: "));
    wait_for_log("/no: does not exist; the metrics there are out of date");
    daemon.request_pass();
    std::fs::create_dir(node.path("numbers")).unwrap();
    node.write(
        CONFIG,
        format!(
            "{}[metrics]\nlisten = \"127.0.0.1:{port}\"\ntextfile = \"/numbers/kubecertd.prom\"\n",
            schedule(NEVER)
        ),
    );
    daemon.signal("HUP");
    wait_for("it is served", || request(port, "GET /metrics HTTP/1.1"));
    let file = node.path("numbers/kubecertd.prom");
    wait_for("it is written", || {
        std::fs::read_to_string(&file).ok().filter(|text| text.contains("x509_cert_not_after{"))
    });
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    wait_for("it is no longer served", || {
        request(port, "GET /metrics HTTP/1.1").is_none().then_some(())
    });
    wait_for("the file is gone", || (!file.exists()).then_some(()));
    node.write(CONFIG, format!("{}[metrics]\nlisten = \"0.0.0.0:{port}\"\n", schedule(NEVER)));
    daemon.signal("HUP");
    wait_for_log("0.0.0.0:");
    assert!(request(port, "GET /metrics HTTP/1.1").is_none());
    assert!(
        daemon.log().contains(
            "can be reached from other machines: only 127.0.0.0/8, [::1] and unix sockets"
        ),
        "{}",
        daemon.log()
    );
}

#[test]
fn run_once_writes_textfile() {
    let node = with_metrics(Node::due(), "textfile = \"/kubecertd.prom\"");
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    let text = node.text("kubecertd.prom");
    assert_eq!(value(&text, "kubecertd_passes_total{result=\"ok\"}"), Some("1"));
    assert_eq!(
        value(&text, "kubecertd_renewals_total{name=\"apiserver\",result=\"ok\"}"),
        Some("1")
    );
}
