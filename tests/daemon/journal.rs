//! The journal: its catalog, and that no private key is in it or in any file that is not a backup.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use kubecertd::credentials::{load, load_authority};
use kubecertd::pass::{self, Orders};
use kubecertd::plan::{Request, Trigger};
use kubecertd::report::Message;
use kubecertd::sys::{Root, SystemClock};

use super::common::keys::Keys;
use super::common::requirements::require;
use super::common::{ECDSA, Node, RSA, read_key};
use super::harness::*;

/// journalctl accepts the catalog and finds every message in it.
#[test]
fn systemd_accepts_catalog() {
    require!("journalctl");
    let journalctl = |arguments: &[&str]| {
        let output = Command::new("journalctl").args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let node = Node::empty();
    node.write(
        "usr/lib/systemd/catalog/kubecertd.catalog",
        include_str!("../../packaging/kubecertd.catalog"),
    );
    std::fs::create_dir_all(node.path("var/lib/systemd/catalog")).unwrap();
    let root = format!("--root={}", node.root().display());
    assert_eq!(journalctl(&[&root, "--update-catalog"]), (true, String::new()));
    for message in Message::ALL {
        let (found, text) = journalctl(&[&root, "--dump-catalog", message.id()]);
        assert!(
            found && text.contains("Subject: ") && text.contains("Defined-By: kubecertd\n"),
            "{message:?}: {text}"
        );
    }
}

/// Asserts that no key is in this output or in a file of the daemon. Backups hold keys on purpose.
fn assert_no_key(node: &Node, keys: &Keys, context: &str, output: &str) {
    assert_eq!(keys.found_in(output.as_bytes()), None, "{context}: the output");
    assert_eq!(keys.found_in_files(node), None, "{context}");
}

const VERBOSE: [(&str, &str); 2] = [("KUBECERTD_LOG", "trace"), ("RUST_BACKTRACE", "full")];

/// Makes renewals, failures with damaged files, alarms, a refused configuration, a crash by a
/// signal and the recovery, and searches the output for keys.
fn assert_run_discloses_no_key(tree: &str) {
    let node = Node::fresh(tree);
    let mut keys = Keys::default();
    keys.collect(&node);
    assert!(keys.count >= 10, "{}", keys.count);
    node.age_all(10);
    let node = with_history(node, NEVER);
    // A truncated key is still a secret.
    let whole = node.text("etc/kubernetes/pki/apiserver.key");
    node.write("etc/kubernetes/pki/apiserver.key", &whole[..whole.len() / 2]);
    let kubeconfig = node.text("etc/kubernetes/scheduler.conf");
    node.write(
        "etc/kubernetes/scheduler.conf",
        kubeconfig.replace("client-key-data: ", "client-key-data: !"),
    );
    // A key instead of a certificate; below, a key instead of the configuration.
    node.write(
        "etc/kubernetes/pki/front-proxy-client.crt",
        node.read("etc/kubernetes/pki/front-proxy-client.key"),
    );

    let mut daemon = Daemon::start_with(&node, super::notify_socket::NotifySocket::new(), &VERBOSE);
    let last = daemon.wait_for_pass(URGENT);
    assert!(last.renewed.len() >= 7 && !last.failed.is_empty(), "{last:?}");
    keys.collect(&node);
    let configuration = node.text(CONFIG);
    node.write(CONFIG, node.read("etc/kubernetes/pki/ca.key"));
    daemon.signal("HUP");
    wait_for("the configuration is refused", || {
        daemon.log().contains("the configuration is refused").then_some(())
    });
    assert_no_key(&node, &keys, "a run", &daemon.log());
    for arguments in [
        &["status"][..],
        &["alarms"],
        &["alarms", "-o", "json"],
        &["check", "-o", "json"],
        &["config", "check"],
    ] {
        assert_eq!(keys.found_in(node.run(arguments).text.as_bytes()), None, "{arguments:?}");
    }
    node.write(CONFIG, configuration);
    node.write("etc/kubernetes/pki/apiserver.key", whole);
    node.write("etc/kubernetes/scheduler.conf", kubeconfig);
    node.age_all(10);
    daemon.signal("USR1");
    wait_for("a pass has started", || read_state(&node).unfinished.then_some(()));
    daemon.signal("ABRT");
    assert_eq!(daemon.wait_for_exit().signal(), Some(6));
    assert_no_key(&node, &keys, "the crash", &daemon.log());

    let daemon = Daemon::start_with(&node, super::notify_socket::NotifySocket::new(), &VERBOSE);
    daemon.request_pass();
    keys.collect(&node);
    assert_no_key(&node, &keys, "the run after the crash", &daemon.log());
}

#[test]
fn run_never_discloses_rsa_key() {
    assert_run_discloses_no_key(RSA);
}

#[test]
fn run_never_discloses_ecdsa_key() {
    assert_run_discloses_no_key(ECDSA);
}

/// The environment variable with the root of the node for the crashing process.
const CRASHING_NODE: &str = "KUBECERTD_TEST_CRASHING_NODE";

/// Runs as a separate process for the next test. It panics in the middle of a pass, when some new
/// keys exist, with a panic message that prints every type that holds a key.
#[test]
#[ignore = "it crashes on purpose"]
fn crash_in_middle_of_pass() {
    let node = Node::at(std::env::var_os(CRASHING_NODE).unwrap());
    let observed = node.observe();
    let (request, stop) = (Request::default(), AtomicBool::new(false));
    let loaded: Vec<_> =
        observed.catalog.credentials.iter().map(|one| load(&observed.root, one)).collect();
    let authorities: Vec<_> = observed
        .catalog
        .authorities
        .iter()
        .map(|one| load_authority(&observed.root, one))
        .collect();
    let keys: Vec<_> = node.usable_credentials().values().filter_map(read_key).collect();
    assert!(keys.len() >= 7 && !authorities.is_empty());
    let root = Root::open(node.root()).unwrap();
    let file = root
        .read(&kubecertd::model::AbsolutePath::constant("/etc/kubernetes/pki/ca.key"), 65_536)
        .unwrap();
    let orders = Orders {
        request: &request,
        trigger: Trigger::Asked,
        clock: &SystemClock,
        synchronised: Some(true),
        trust_clock: false,
        reasons: &[],
        remember: None,
        stop: &stop,
        progress: &|done, _| assert!(done < 3, "{loaded:?} {authorities:?} {keys:?} {file:#?}"),
        emit: &|_| {},
    };
    let report = pass::run(&observed, &orders);
    panic!("the pass was completed: {report:#?}");
}

#[test]
fn crash_output_discloses_no_key() {
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        node.age_all(10);
        let mut keys = Keys::default();
        keys.collect(&node);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "journal::crash_in_middle_of_pass"]);
        let output =
            command.env(CRASHING_NODE, node.root()).env("RUST_BACKTRACE", "full").output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        keys.collect(&node);
        assert!(
            !output.status.success()
                && text.contains("Secret(")
                && text.contains("stack backtrace"),
            "{text}"
        );
        assert_no_key(&node, &keys, "a panic", &text);
    }
}

/// The search for keys in a log finds each form of a key.
#[test]
fn key_search_finds_every_form_in_log() {
    use base64::Engine as _;
    let node = Node::fresh(ECDSA);
    let mut keys = Keys::default();
    keys.collect(&node);
    let pem = node.text("etc/kubernetes/pki/apiserver.key");
    let line = pem.lines().nth(1).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
    // The scalar of a SEC 1 key: after the version, an octet string.
    let scalar = &der[7..39];
    let hex: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
    let kubeconfig = node.text("etc/kubernetes/admin.conf");
    let data = kubeconfig.split("client-key-data: ").nth(1).unwrap();
    let forms = [
        pem.clone().into_bytes(),
        line[5..50].into(),
        der.clone(),
        scalar.to_vec(),
        hex.into_bytes(),
        format!("{scalar:?}").into(),
        format!("{scalar:#?}").into(),
        data[100..150].into(),
    ];
    for (index, form) in forms.iter().enumerate() {
        let log = [b"INFO apiserver: ", form.as_slice(), b" was renewed"].concat();
        assert!(keys.found_in(&log).is_some(), "form {index}");
    }
    for harmless in [
        "etc/kubernetes/pki/apiserver.crt",
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        "etc/kubernetes/pki/sa.pub",
    ] {
        assert_eq!(keys.found_in(&node.read(harmless)), None, "{harmless}");
    }
}
