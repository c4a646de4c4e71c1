//! The daemon is asked over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::common::{ECDSA, Node, STATE};
use super::harness::*;
use super::programs::{ask, ask_socket, free_port};

fn configured(node: Node, metrics: &str) -> Node {
    let node = known(node, NEVER);
    node.write(CONFIG, format!("{}[metrics]\n{metrics}\n", schedule(NEVER)));
    node
}

fn value<'t>(text: &'t str, sample: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
}

#[test]
fn what_a_pass_did_is_told_and_certificates_are_known_before_the_first() {
    let port = free_port();
    let node = configured(Node::due(), &format!("listen = \"127.0.0.1:{port}\""));
    let daemon = Daemon::start(&node);
    let get = || ask(port, "GET /metrics HTTP/1.1").map(|answer| answer.body);
    // Remembered as made until now, so no pass is made at the start.
    let before = until("certificates are known", || {
        get().filter(|text| text.contains("x509_cert_not_after{"))
    });
    assert_eq!(value(&before, "kubecertd_passes_total{result=\"ok\"}"), Some("0"));
    assert_eq!(value(&before, "kubecertd_credential_due{name=\"apiserver\"}"), Some("1"));
    assert!(value(&before, "kubecertd_last_pass_timestamp_seconds").is_some(), "it is remembered");

    let renewed = daemon.pass().renewed.len();
    let after = until("the pass is counted", || {
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
    assert_eq!(value(&after, "kubecertd_clock_believed"), Some("1"));
    let certificate = node.certificate("apiserver");
    let apiserver = after
        .lines()
        .find(|line| {
            line.starts_with("x509_cert_not_after{") && line.contains("name=\"apiserver\"")
        })
        .unwrap();
    let labels = "kind=\"credential\",name=\"apiserver\",renewed_by=\"kubecertd\",filename=\"apiserver.crt\",\
                  filepath=\"/etc/kubernetes/pki/apiserver.crt\",serial_number=\"";
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
    assert!(admin.contains("filepath=\"/etc/kubernetes/admin.conf\",embedded_kind=\"user\",embedded_key=\"kubernetes-admin\","), "{admin}");
    assert!(
        admin.contains(",subject_O=\"kubeadm:cluster-admins\",subject_CN=\"kubernetes-admin\"}"),
        "{admin}"
    );

    // Without a backup there is nothing to repair it from.
    std::fs::remove_dir_all(node.path(STATE).join("backups")).unwrap();
    node.write("etc/kubernetes/scheduler.conf", "damaged");
    daemon.pass();
    let bad = until("the alarm is told", || {
        get().filter(|text| {
            text.contains("kubecertd_alarm{id=\"renewal-failed\",severity=\"major\"")
        })
    });
    assert_eq!(value(&bad, "x509_read_errors"), Some("1"));
}

#[test]
fn there_is_one_page_for_reading_in_two_formats() {
    let port = free_port();
    let node = configured(Node::fresh(ECDSA), &format!("listen = \"127.0.0.1:{port}\""));
    let daemon = Daemon::start(&node);
    daemon.settled();
    let classic = until("it is served", || ask(port, "GET /metrics HTTP/1.1"));
    assert_eq!(classic.status, 200);
    assert!(classic.head.contains("content-type: text/plain; version=0.0.4"), "{}", classic.head);
    assert!(
        classic.body.contains("# TYPE kubecertd_passes_total counter\n")
            && !classic.body.contains("# EOF")
    );
    let open =
        ask(port, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0")
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
    let head = ask(port, "HEAD /metrics HTTP/1.1").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(ask(port, "POST /metrics HTTP/1.1").unwrap().status, 405);
    assert_eq!(ask(port, "GET / HTTP/1.1").unwrap().status, 404);
}

/// Whoever connects and says nothing is sent away in time, and the others are answered then.
#[test]
fn those_who_say_nothing_hold_up_nobody_for_long() {
    let port = free_port();
    let node = configured(Node::fresh(ECDSA), &format!("listen = \"127.0.0.1:{port}\""));
    let mut daemon = Daemon::start(&node);
    until("it is served", || ask(port, "GET /metrics HTTP/1.1"));
    let mut silent: Vec<_> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    silent[0].write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
    daemon.pass();
    assert_eq!(ask(port, "GET /metrics HTTP/1.1").unwrap().status, 200);
    let mut rest = Vec::new();
    let _ = silent[0].read_to_end(&mut rest);
    assert!(daemon.runs());
}

#[test]
fn a_socket_is_its_groups_replaces_a_dead_one_and_nothing_else() {
    let node = configured(Node::fresh(ECDSA), "listen = \"unix:/run/kubecertd/metrics.sock\"");
    let socket = node.path("run/kubecertd/metrics.sock");
    let mut daemon = Daemon::start(&node);
    let answer = until("it is served", || ask_socket(&socket, "GET /metrics HTTP/1.1"));
    assert_eq!(answer.status, 200);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    daemon.kill();
    assert!(socket.exists(), "it is left behind");
    let mut daemon = Daemon::start(&node);
    until("it is served again", || ask_socket(&socket, "GET /metrics HTTP/1.1"));
    daemon.stop();
    assert!(!socket.exists());

    node.write("run/kubecertd/metrics.sock", "somebody's");
    let daemon = Daemon::start(&node);
    until("it is said", || {
        daemon
            .log()
            .contains("metrics.sock can't be listened at: something else than a socket is there")
            .then_some(())
    });
    daemon.pass();
    assert_eq!(node.text("run/kubecertd/metrics.sock"), "somebody's");
    node.remove("run/kubecertd/metrics.sock");
    daemon.signal("HUP");
    until("it is tried again", || ask_socket(&socket, "GET /metrics HTTP/1.1"));
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());
}

#[test]
fn a_reload_changes_where_they_are_and_the_rest_goes_on() {
    let (port, taken) = (free_port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let elsewhere = taken.local_addr().unwrap();
    let node = configured(
        Node::fresh(ECDSA),
        &format!("listen = \"{elsewhere}\"\ntextfile = \"/no/folder/kubecertd.prom\""),
    );
    let daemon = Daemon::start(&node);
    let said = |text: &str| until(text, || daemon.log().contains(text).then_some(()));
    said(&format!("{elsewhere} can't be listened at: "));
    said("/no/folder: does not exist; the metrics there are out of date");
    daemon.pass();
    std::fs::create_dir(node.path("numbers")).unwrap();
    node.write(
        CONFIG,
        format!(
            "{}[metrics]\nlisten = \"127.0.0.1:{port}\"\ntextfile = \"/numbers/kubecertd.prom\"\n",
            schedule(NEVER)
        ),
    );
    daemon.signal("HUP");
    until("it is served", || ask(port, "GET /metrics HTTP/1.1"));
    let file = node.path("numbers/kubecertd.prom");
    until("it is written", || {
        std::fs::read_to_string(&file).ok().filter(|text| text.contains("x509_cert_not_after{"))
    });
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    node.write(CONFIG, schedule(NEVER));
    daemon.signal("HUP");
    until("it is served no more", || ask(port, "GET /metrics HTTP/1.1").is_none().then_some(()));
    until("the file is gone", || (!file.exists()).then_some(()));
    node.write(CONFIG, format!("{}[metrics]\nlisten = \"0.0.0.0:{port}\"\n", schedule(NEVER)));
    daemon.signal("HUP");
    said("0.0.0.0:");
    assert!(ask(port, "GET /metrics HTTP/1.1").is_none());
    assert!(
        daemon.log().contains(
            "can be reached from other machines: only 127.0.0.0/8, [::1] and unix sockets"
        ),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_single_pass_writes_the_file() {
    let node = configured(Node::due(), "textfile = \"/kubecertd.prom\"");
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    let text = node.text("kubecertd.prom");
    assert_eq!(value(&text, "kubecertd_passes_total{result=\"ok\"}"), Some("1"));
    assert_eq!(
        value(&text, "kubecertd_renewals_total{name=\"apiserver\",result=\"ok\"}"),
        Some("1")
    );
}
