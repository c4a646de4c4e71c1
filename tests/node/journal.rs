//! The entries in the real journal: messages, fields and catalog texts, and no private key.

use std::collections::BTreeSet;

use serde_json::Value;

use kubecertd::report::Message;

use super::common::keys::Keys;
use super::harness::Node;

/// The drop-in for the most verbose log, libraries included.
const VERBOSE: &str =
    "[Service]\nEnvironment=KUBECERTD_LOG=trace RUST_BACKTRACE=full\nLogRateLimitIntervalSec=0\n";

pub fn renewal(node: &mut Node) {
    let mut keys = Keys::default();
    keys.collect(node);
    node.write("etc/systemd/system/kubecertd.service.d/verbose.conf", VERBOSE);
    node.install_past_first_pass();
    // One credential with a server for a trial, and one without.
    node.exec("systemctl stop kubecertd");
    for name in ["apiserver-etcd-client", "front-proxy-client"] {
        node.age(name, 10);
    }
    node.exec("systemctl start kubecertd");
    let pass = node.request_pass();
    assert_eq!(pass.renewed.len(), 2, "{pass:?}");
    keys.collect(node);

    let journal = String::from_utf8(node.journal_as("json", "kubecertd")).unwrap();
    let lines: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: Message| lines.iter().filter(move |line| line["MESSAGE_ID"] == message.id());
    let starts: BTreeSet<_> =
        lines.iter().filter_map(|line| line["_SYSTEMD_INVOCATION_ID"].as_str()).collect();
    assert!(starts.len() >= 2, "it was stopped while the two were aged");
    assert_eq!(of(Message::Started).count(), starts.len(), "one for each start");
    let renewed: Vec<_> = of(Message::Renewed).collect();
    assert_eq!(renewed.len(), 2, "{renewed:#?}");
    for line in &renewed {
        let name = line["KUBECERTD_CREDENTIAL"].as_str().unwrap();
        let certificate = node.certificate(name);
        assert_eq!(line["KUBECERTD_SERIAL"], node.serial(name).to_uppercase(), "{line:#}");
        assert_eq!(line["KUBECERTD_NOT_AFTER"], certificate.not_after.to_string(), "{line:#}");
        assert_eq!(
            line["KUBECERTD_AUTHORITY"],
            if name == "front-proxy-client" { "front-proxy-ca" } else { "etcd-ca" },
            "{line:#}"
        );
        assert_eq!(line["KUBECERTD_PASS_ID"], renewed[0]["KUBECERTD_PASS_ID"], "{line:#}");
        assert!(
            line["KUBECERTD_REASON"].as_str().is_some_and(|reason| reason.contains("expire")),
            "{line:#}"
        );
        assert_eq!(
            (&line["PRIORITY"], &line["SYSLOG_IDENTIFIER"]),
            (&"6".into(), &"kubecertd".into()),
            "{line:#}"
        );
        let words = line["MESSAGE"].as_str().unwrap();
        assert!(
            words.starts_with(&format!("{name}: renewed until ")) && !words.contains("KUBECERTD_"),
            "{words}"
        );
    }
    let pass_id = renewed[0]["KUBECERTD_PASS_ID"].as_str().unwrap();
    let begun: Vec<_> =
        of(Message::PassBegun).filter(|line| line["KUBECERTD_PASS_ID"] == pass_id).collect();
    assert_eq!(begun.len(), 1, "a pass has an id of its own: {begun:#?}");

    let shown = node.exec(&format!(
        "journalctl --catalog KUBECERTD_PASS_ID={pass_id} KUBECERTD_CREDENTIAL=front-proxy-client"
    ));
    for explained in [
        "Subject: front-proxy-client was renewed",
        "by front-proxy-ca. It is valid until ",
        "Nothing has to be done.",
    ] {
        assert!(shown.contains(explained), "{explained:?} is not in: {shown}");
    }

    assert!(lines.iter().any(|line| line["PRIORITY"] == "7"), "it was verbose");
    for form in ["export", "cat"] {
        assert_eq!(keys.found_in(&node.journal_as(form, "kubecertd")), None, "{form}");
    }
    assert_eq!(keys.found_in_files(node), None);
}
