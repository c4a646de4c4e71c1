//! What the journal is told: the catalog that explains it, and that no key is ever in it, nor in
//! anything else that is not a backup.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use kubecertd::credentials::{load, load_authority};
use kubecertd::pass::{self, Orders};
use kubecertd::plan::{Occasion, Request};
use kubecertd::report::Message;
use kubecertd::sys::{Root, SystemClock};

use super::common::keys::Keys;
use super::common::{ECDSA, Node, RSA, key_of};
use super::harness::*;

/// systemd itself takes the catalog, and finds every message there.
#[test]
fn systemd_takes_the_catalog() {
    let journalctl = |arguments: &[&str]| match Command::new("journalctl").args(arguments).output()
    {
        Ok(output) => Some((
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )),
        Err(_) => None,
    };
    if journalctl(&["--version"]).is_none() {
        eprintln!("passed over: there is no journalctl here");
        return;
    }
    let node = Node::empty();
    node.write(
        "usr/lib/systemd/catalog/kubecertd.catalog",
        include_str!("../../packaging/kubecertd.catalog"),
    );
    std::fs::create_dir_all(node.path("var/lib/systemd/catalog")).unwrap();
    let root = format!("--root={}", node.root().display());
    assert_eq!(journalctl(&[&root, "--update-catalog"]), Some((true, String::new())));
    for message in Message::ALL {
        let (found, text) = journalctl(&[&root, "--dump-catalog", message.id()]).unwrap();
        assert!(
            found && text.contains("Subject: ") && text.contains("Defined-By: kubecertd\n"),
            "{message:?}: {text}"
        );
    }
}

/// No key is in what was said, nor in any file of the daemon but the backups, which hold them on
/// purpose.
fn assert_no_key(node: &Node, keys: &Keys, what: &str, said: &str) {
    assert_eq!(keys.found_in(said.as_bytes()), None, "{what}: what was said");
    assert_eq!(keys.found_in_files(node), None, "{what}");
}

const VERBOSE: [(&str, &str); 2] = [("KUBECERTD_LOG", "trace"), ("RUST_BACKTRACE", "full")];

/// Renewals, failures with damaged files, alarms, a refused configuration, a crash by a signal, and
/// recovery from it.
fn a_whole_run(tree: &str) {
    let node = Node::fresh(tree);
    let mut keys = Keys::default();
    keys.collect(&node);
    assert!(keys.count >= 10, "{}", keys.count);
    node.age_all(10);
    let node = known(node, NEVER);
    // Half of a key is still a secret.
    let whole = node.text("etc/kubernetes/pki/apiserver.key");
    node.write("etc/kubernetes/pki/apiserver.key", &whole[..whole.len() / 2]);
    let kubeconfig = node.text("etc/kubernetes/scheduler.conf");
    node.write(
        "etc/kubernetes/scheduler.conf",
        kubeconfig.replace("client-key-data: ", "client-key-data: !"),
    );
    // A key in the place of a certificate; later one in the place of the configuration.
    node.write(
        "etc/kubernetes/pki/front-proxy-client.crt",
        node.read("etc/kubernetes/pki/front-proxy-client.key"),
    );

    let mut daemon = Daemon::start_with(&node, super::ears::Ears::new(), &VERBOSE);
    let last = daemon.passed("a credential is expired or broken");
    assert!(last.renewed.len() >= 7 && !last.failed.is_empty(), "{last:?}");
    keys.collect(&node);
    let configuration = node.text(CONFIG);
    node.write(CONFIG, node.read("etc/kubernetes/pki/ca.key"));
    daemon.signal("HUP");
    until("it is refused", || daemon.log().contains("the configuration is refused").then_some(()));
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
    until("a pass has begun", || remembered(&node).unfinished.then_some(()));
    daemon.signal("ABRT");
    assert_eq!(daemon.ended().signal(), Some(6));
    assert_no_key(&node, &keys, "the crash", &daemon.log());

    let daemon = Daemon::start_with(&node, super::ears::Ears::new(), &VERBOSE);
    daemon.pass();
    keys.collect(&node);
    assert_no_key(&node, &keys, "the run after it", &daemon.log());
}

#[test]
fn no_rsa_key_is_in_a_whole_run() {
    a_whole_run(RSA);
}

#[test]
fn no_elliptic_key_is_in_a_whole_run() {
    a_whole_run(ECDSA);
}

const CRASHING: &str = "KUBECERTD_TEST_CRASHING_NODE";

/// Started by the next one as a process of its own: panics in the middle of a pass, when some keys
/// are made already, and shows everything that has a key in it, as a panic message may.
#[test]
#[ignore = "it crashes on purpose"]
fn crashes_in_the_middle_of_a_pass() {
    let node = Node::at(std::env::var_os(CRASHING).unwrap());
    let observed = node.observed();
    let (request, stop) = (Request::default(), AtomicBool::new(false));
    let loaded: Vec<_> =
        observed.catalog.credentials.iter().map(|one| load(&observed.root, one)).collect();
    let authorities: Vec<_> = observed
        .catalog
        .authorities
        .iter()
        .map(|one| load_authority(&observed.root, one))
        .collect();
    let keys: Vec<_> = node.whole().values().filter_map(key_of).collect();
    assert!(keys.len() >= 7 && !authorities.is_empty());
    let root = Root::open(node.root()).unwrap();
    let file = root
        .read(&kubecertd::model::AbsolutePath::constant("/etc/kubernetes/pki/ca.key"), 65_536)
        .unwrap();
    let orders = Orders {
        request: &request,
        occasion: Occasion::Asked,
        clock: &SystemClock,
        synchronised: Some(true),
        trust_clock: false,
        holds: &[],
        remember: None,
        stop: &stop,
        progress: &|done, _| assert!(done < 3, "{loaded:?} {authorities:?} {keys:?} {file:#?}"),
    };
    let report = pass::run(&observed, &orders);
    panic!("it went on: {report:#?}");
}

#[test]
fn no_key_is_in_what_a_crash_says() {
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        node.age_all(10);
        let mut keys = Keys::default();
        keys.collect(&node);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--ignored",
            "--exact",
            "--nocapture",
            "journal::crashes_in_the_middle_of_a_pass",
        ]);
        let output =
            command.env(CRASHING, node.root()).env("RUST_BACKTRACE", "full").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        keys.collect(&node);
        assert!(
            !output.status.success()
                && said.contains("Secret(")
                && said.contains("stack backtrace"),
            "{said}"
        );
        assert_no_key(&node, &keys, "a panic", &said);
    }
}

/// The search finds what it is there to find.
#[test]
fn the_search_for_keys_finds_them_in_every_form() {
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
