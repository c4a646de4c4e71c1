//! The command line: exit codes, names, options, and the statements of the README about them.
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

mod common;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{ECDSA, Node};
use kubecertd::formats::x509::{PrivateKey, certificates};
use kubecertd::report::Status;
use kubecertd::sys::Root;

#[test]
fn check_exit_code_reports_due_credential() {
    let node = Node::fresh(ECDSA);
    assert_eq!(node.run(&["check"]).code, 0);
    node.age("scheduler.conf", 10);
    let run = node.run(&["check"]);
    assert_eq!(run.code, 3, "{}", run.text);
    let said = run.text.lines().find(|line| line.contains("scheduler.conf: expires in "));
    assert!(said.is_some_and(|line| line.ends_with(" days, within 15 days")), "{}", run.text);
    assert!(
        run.text.contains("12 credentials on this node, 1 to renew: run kubecertd renew."),
        "{}",
        run.text
    );
}

#[test]
fn check_at_judges_given_date() {
    let node = Node::fresh(ECDSA);
    let run = node.run(&["check", "--at", "2027-11-19"]);
    assert_eq!(run.code, 3);
    assert!(run.text.contains("11 to renew"), "{}", run.text);
    assert!(run.text.contains("apiserver: expires in 2 days, within 3 days"), "{}", run.text);
    assert_eq!(node.run(&["check", "--at", "next week"]).code, 2);
}

#[test]
fn renew_with_names_renews_only_due_ones() {
    let node = Node::due();
    let run = node.run(&["renew", "apiserver", "etcd-server"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("2 credentials renewed."), "{}", run.text);
    let left = |name| node.certificate(name).not_after.seconds_since(common::now()) / 86_400;
    assert!(left("apiserver") > 360 && left("etcd/server") > 360 && left("etcd/peer") < 11);
    let again = node.run(&["renew", "apiserver"]);
    assert_eq!(again.code, 0);
    assert!(again.text.contains("--force renews it anyway"), "{}", again.text);
    let before = node.certificate("apiserver");
    assert_eq!(node.run(&["renew", "--force", "apiserver"]).code, 0);
    assert_ne!(node.certificate("apiserver").serial, before.serial);
}

#[test]
fn nodes_of_unreachable_cluster_are_no_crash() {
    let node = Node::fresh(ECDSA);
    let text = node.text("etc/kubernetes/admin.conf");
    let line = |line: &str| match line.trim_start().split_once(": ") {
        Some(("server", _)) => "    server: https://127.0.0.1:1".to_owned(),
        _ => line.to_owned(),
    };
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    node.write("admin.conf", text);
    let file = node.path("admin.conf");
    let status = ["status", "--cluster", "--kubeconfig"];
    let run = common::kubecertd(&[&status[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(run.code, 1, "{}", run.text);
    let said = "kubecertd: the nodes of the cluster can't be listed: no API server answers: \
                https://127.0.0.1:1: ";
    assert!(run.text.starts_with(said), "{}", run.text);
    let missing = common::kubecertd(&[&status[..], &["/nonexistent"]].concat());
    assert_eq!(missing.code, 1, "{}", missing.text);
    assert!(missing.text.contains("/nonexistent does not exist"), "{}", missing.text);
    assert_eq!(node.run(&["status", "--kubeconfig", "x"]).code, 2, "only with --cluster");
}

#[test]
fn unknown_credential_is_usage_error_listing_names() {
    let run = Node::fresh(ECDSA).run(&["renew", "apisever"]);
    assert_eq!(run.code, 2);
    assert!(
        run.text.contains(
            "there is no credential \"apisever\"; the credentials are apiserver, \
             apiserver-kubelet-client"
        ),
        "{}",
        run.text
    );
}

#[test]
fn missing_root_directory_is_usage_error() {
    let run = common::kubecertd(&["--root", "/no/such/directory", "check"]);
    assert_eq!(run.code, 2);
    assert!(run.text.contains("--root /no/such/directory: does not exist"), "{}", run.text);
}

#[test]
fn partial_failure_has_its_own_exit_code() {
    let node = Node::due();
    node.write("etc/kubernetes/admin.conf", "");
    assert_eq!(node.run(&["renew", "admin.conf"]).code, 1);
    assert_eq!(node.run(&["renew"]).code, 4);
}

/// Replaces a certificate by one of another CA with five days left: it is never renewed here.
fn make_foreign(node: &Node, name: &str) {
    let other = "etc/kubernetes/pki/front-proxy-ca";
    let issuer = certificates(&node.read(&format!("{other}.crt"))).unwrap().remove(0);
    let key = PrivateKey::from_pem(&node.read(&format!("{other}.key"))).unwrap();
    node.sign_with(name, &issuer, &key, 5);
}

#[test]
fn renew_says_what_is_still_due() {
    let node = Node::due();
    make_foreign(&node, "scheduler.conf");
    assert_eq!(node.run(&["renew", "--dry-run"]).code, 0, "nothing was to be done");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 3, "the rest was renewed: {}", run.text);
    assert_eq!(node.run(&["renew"]).code, 3);
    assert_eq!(node.run(&["renew", "scheduler.conf"]).code, 3);
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0, "it was not named");
    // A pass by the schedule has an alarm for it.
    assert_eq!(node.run(&["run", "--once"]).code, 0);
    let alarms = node.run(&["alarms"]);
    assert!(alarms.code == 3 && alarms.text.contains("scheduler.conf"), "{}", alarms.text);
    // A certificate that can't outlive its CA is due all the same.
    let node = Node::due();
    node.shorten_authority("etc/kubernetes/pki/front-proxy-ca", 9);
    node.age("front-proxy-client", 9);
    assert_eq!(node.run(&["renew"]).code, 3);
}

#[test]
fn failures_come_before_what_is_due_and_that_before_deferrals() {
    let node = Node::due();
    make_foreign(&node, "scheduler.conf");
    assert_eq!(node.run(&["hold", "--until", "2100-01-01", "--reason", "upgrade"]).code, 0);
    assert_eq!(node.run(&["renew", "apiserver"]).code, 5);
    assert_eq!(node.run(&["renew"]).code, 3);
    node.write("etc/kubernetes/admin.conf", "");
    assert_eq!(node.run(&["renew"]).code, 1);
    assert_eq!(node.run(&["hold", "--end"]).code, 0);
    assert_eq!(node.run(&["renew"]).code, 4);
}

#[test]
fn certificates_of_kubelet_and_external_cas_count_by_name() {
    let node = Node::fresh(ECDSA);
    node.add_kubelet_certificate(5);
    node.link_kubelet_conf();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.run(&["renew", "kubelet-client"]).code, 3);
    assert_eq!(node.run(&["renew", "kubelet-client", "--force"]).code, 0);
}

#[test]
fn external_ca_is_reported_without_failure() {
    let node = Node::due();
    node.remove("etc/kubernetes/pki/front-proxy-ca.key");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(
        run.text.contains(
            "/etc/kubernetes/pki/front-proxy-ca.key is not on this node, so nothing is signed here"
        ),
        "{}",
        run.text
    );
    assert!(run.text.contains("10 credentials renewed."), "{}", run.text);
    let json: serde_json::Value =
        serde_json::from_str(&node.run(&["check", "-o", "json"]).text).unwrap();
    let client = json["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "front-proxy-client")
        .unwrap();
    assert_eq!(client["externallyManaged"], true);
    assert_eq!(node.run(&["renew", "front-proxy-client"]).code, 3);
}

#[test]
fn starlingx_node_allows_only_check() {
    let node = Node::due();
    node.write("etc/platform/platform.conf", "nodetype=controller\n");
    let before = node.snapshot();
    let check = node.run(&["check"]);
    assert_eq!(check.code, 3);
    assert!(check.text.contains("this is a StarlingX host"), "{}", check.text);
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, 78);
    assert!(renew.text.contains("until there is a profile for StarlingX"), "{}", renew.text);
    assert_eq!(node.snapshot(), before);
}

#[test]
fn locked_store_times_out_as_busy() {
    // The wait is a function of the store, whose tests use a shorter timeout.
    let node = Node::due();
    let state = kubecertd::model::AbsolutePath::new("/var/lib/kubecertd").unwrap();
    let root = Root::open(node.root()).unwrap();
    let (store, _) = kubecertd::store::Store::open(&root, &state, Duration::ZERO, &[]).unwrap();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 75, "{}", run.text);
    assert!(run.text.contains("another kubecertd holds the lock"), "{}", run.text);
    drop(store);
    assert_eq!(node.run(&["renew"]).code, 0);
}

#[test]
fn absolute_symlinks_resolve_inside_root() {
    let node = Node::due();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(node.path("srv/keys")).unwrap();
    for file in ["apiserver.crt", "apiserver.key"] {
        std::fs::rename(
            node.path("etc/kubernetes/pki").join(file),
            node.path("srv/keys").join(file),
        )
        .unwrap();
        std::os::unix::fs::symlink(
            format!("/srv/keys/{file}"),
            node.path("etc/kubernetes/pki").join(file),
        )
        .unwrap();
    }
    assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
    assert!(node.path("etc/kubernetes/pki/apiserver.crt").is_symlink());
    let certificate = certificates(&node.read("srv/keys/apiserver.crt")).unwrap().remove(0);
    assert_eq!(certificate.serial, node.certificate("apiserver").serial);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn paths_come_from_manifests() {
    let node = Node::due();
    for file in ["kube-apiserver", "kube-controller-manager", "etcd"] {
        let manifest = format!("etc/kubernetes/manifests/{file}.yaml");
        // The same paths in the container, other ones on the host.
        node.edit(&manifest, "      path: /etc/kubernetes/pki", "      path: /srv/pki");
    }
    std::fs::create_dir_all(node.path("srv")).unwrap();
    std::fs::rename(node.path("etc/kubernetes/pki"), node.path("srv/pki")).unwrap();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("11 credentials renewed."), "{}", run.text);
    assert!(!node.path("etc/kubernetes/pki").exists());
}

#[test]
fn own_entries_are_renewed_like_built_in_ones() {
    let node = Node::due();
    for (file, copy) in [("apiserver.crt", "web.crt"), ("apiserver.key", "web.key")] {
        node.write(&format!("etc/own/{copy}"), node.read(&format!("etc/kubernetes/pki/{file}")));
    }
    let bundle = [
        node.read("etc/kubernetes/pki/etcd/peer.key"),
        node.read("etc/kubernetes/pki/etcd/peer.crt"),
    ]
    .concat();
    node.write("etc/own/bundle.pem", &bundle);
    node.write("etc/own/admin.conf", node.read("etc/kubernetes/admin.conf"));
    node.write(
        "etc/kubecertd/kubecertd.d/own.toml",
        r#"
[[credential]]
name = "web"
ca = "ca"
certificate = "/etc/own/web.crt"
key = "/etc/own/web.key"
[[credential]]
name = "bundle"
ca = "etcd-ca"
bundle = "/etc/own/bundle.pem"
[[credential]]
name = "copy"
ca = "ca"
kubeconfig = "/etc/own/admin.conf"
"#,
    );
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("14 credentials renewed."), "{}", run.text);
    let whole = node.usable_credentials();
    for name in ["web", "bundle", "copy"] {
        assert!(
            whole[name].certificate.not_after.seconds_since(common::now()) > 360 * 86_400,
            "{name}"
        );
    }
    assert!(
        node.text("etc/own/bundle.pem").starts_with("-----BEGIN EC PRIVATE KEY-----"),
        "the order in the bundle stays"
    );
}

#[test]
fn ca_near_expiry_renews_leaf_only_once() {
    let node = Node::fresh(ECDSA);
    node.shorten_authority("etc/kubernetes/pki/front-proxy-ca", 10);
    node.age("front-proxy-client", 5);
    let first = node.run(&["renew"]);
    assert!(first.text.contains("1 credential renewed."), "{}", first.text);
    let after = node.snapshot();
    for _ in 0..3 {
        let again = node.run(&["renew"]);
        assert_eq!(again.code, 3, "{}", again.text);
        assert!(again.text.contains("as its CA does: renew the CA"), "{}", again.text);
    }
    assert_eq!(node.snapshot(), after);
}

#[test]
fn demo_shows_every_state_and_daemon_and_removes_its_files() {
    let run = common::kubecertd(&["demo"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let alarms = |part: &str, change: &str| {
        part.lines().filter(|line| line.contains(" alarm ") && line.contains(change)).count()
    };
    for word in [
        "fresh",
        "due",
        "urgent",
        "expired",
        "absent",
        "key does not fit",
        "damaged",
        "foreign issuer",
        "external",
    ] {
        assert!(run.text.contains(word), "{word}: {}", run.text);
    }
    assert!(run.text.contains("7 credentials renewed."), "{}", run.text);
    assert!(run.text.contains("none to renew; 1 needs an operator."), "{}", run.text);
    let dir = run
        .text
        .split_whitespace()
        .find(|word| word.contains("kubecertd-demo-"))
        .unwrap()
        .trim_end_matches('.');
    assert!(!Path::new(dir).exists());

    let part = |number: usize| {
        let (begin, end) = (format!("\n{number}. "), format!("\n{}. ", number + 1));
        let part = run.text.split(&begin).nth(1).unwrap_or_else(|| panic!("{}", run.text));
        part.split(&end).next().unwrap()
    };
    let date = |number: usize, result: &str| {
        let mut lines = part(number).lines();
        let made = lines.find(|line| line.starts_with(result) && line.contains("healthcheck"));
        made.unwrap().split_whitespace().find(|word| word.starts_with("20")).unwrap().to_owned()
    };
    assert_eq!(date(2, "would make"), date(3, "renewed"), "the dry run shows the end");
    let [started, scheduled, by_ca, changed, status, stopped] = [6, 7, 8, 9, 10, 11].map(part);
    assert!(started.contains("controller-manager.conf: deferred: kubecertd is new"), "{started}");
    assert_eq!(alarms(started, "raised"), 2, "{started}");
    assert!(!started.contains("renewed until"), "{started}");
    assert!(scheduled.contains("controller-manager.conf: renewed until "), "{scheduled}");
    assert!(by_ca.contains("2 alarms in force"), "{by_ca}");
    assert!(by_ca.contains("installed webhook: valid until "), "{by_ca}");
    assert!(changed.contains("apiserver: renewed until "), "{changed}");
    assert_eq!(alarms(changed, "cleared"), 2, "{changed}");
    for said in ["kubecertd runs since", "renewed   apiserver", "none to renew"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    // Without inotify, a scheduled pass finds the changes.
    if notify::recommended_watcher(|_: notify::Result<notify::Event>| {}).is_ok() {
        for file in ["/etc/kubernetes/pki/apiserver.crt", "/etc/webhook/tls.crt"] {
            assert!(status.contains(file), "{file} changed: {status}");
        }
    }
    let foreign = status.lines().find(|line| line.starts_with("metrics ")).unwrap();
    assert!(foreign.ends_with(" days   -"), "another CA signed it: {foreign}");
    assert!(stopped.contains("kubecertd ends"), "{stopped}");
}

#[test]
fn interrupted_demo_leaves_no_daemon_and_no_files() {
    for keep in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let kept = temp.path().join("node");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubecertd"));
        command.arg("demo").env("TMPDIR", temp.path());
        if keep {
            command.arg("--keep").arg(&kept);
        }
        let mut demo = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let node = wait_for(|| Some(temp.path().read_dir().unwrap().next()?.unwrap().path()));
        let status = wait_for(|| {
            let status = Status::read(&Root::open(&node).ok()?).0;
            assert!(demo.try_wait().unwrap().is_none(), "the daemon did not start");
            status
        });
        let daemon = Path::new("/proc").join(status.pid.to_string());
        assert!(daemon.exists());

        let interrupt = Command::new("kill").arg("-INT").arg(demo.id().to_string()).status();
        assert!(interrupt.unwrap().success());
        let mut said = String::new();
        demo.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(demo.wait().unwrap().code(), Some(1), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        assert!(!daemon.exists());
        assert_eq!(temp.path().read_dir().unwrap().count(), usize::from(keep));
        assert_eq!(kept.join("etc/kubernetes/pki/ca.crt").exists(), keep);
    }
}

/// Polls until there is a value, and returns it.
fn wait_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "timed out");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn help_lists_the_exit_codes_of_the_docs() {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = squeezed(&common::kubecertd(&["--help"]).text);
    let rows = include_str!("../docs/cli.md").lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let code = cells.first()?.trim_matches('`').parse::<u8>().ok()?;
        Some(format!("{code} {}", cells[1].replace('`', "")))
    });
    let docs = format!("Exit codes: {}.", rows.collect::<Vec<_>>().join("; "));
    assert!(help.contains(&docs), "{docs}\n{help}");
}

#[test]
fn docs_show_current_status_output() {
    let run = Node::due().run(&["status"]);
    assert_eq!(run.code, 3, "no daemon runs: {}", run.text);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = squeezed(include_str!("../docs/cli.md"));
    let table: Vec<_> = run
        .text
        .lines()
        .skip_while(|line| !line.starts_with("CREDENTIAL "))
        .take_while(|line| !line.is_empty())
        .collect();
    assert!(page.contains(&squeezed(table[0])), "{}", run.text);
    assert_eq!(table.len(), 13, "each credential has a line: {}", run.text);
    assert!(
        run.text.starts_with("Something needs attention on "),
        "the summary is the first line: {}",
        run.text
    );
    for said in ["kubecertd does not run", "12 credentials on this node, 11 to renew"] {
        assert!(run.text.contains(said), "{said:?} is not in:\n{}", run.text);
    }
}

#[test]
fn status_watch_repeats_until_reader_closes() {
    use std::io::{BufRead as _, BufReader};
    let node = Node::due();
    let mut shown = Command::new(env!("CARGO_BIN_EXE_kubecertd"))
        .args(["--root", node.root().to_str().unwrap(), "status", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(shown.stdout.take().unwrap()).lines().map(Result::unwrap);
    let screens =
        lines.by_ref().filter(|line| line.starts_with("Something needs attention on ")).take(2);
    assert_eq!(screens.count(), 2);
    drop(lines);
    assert!(shown.wait().unwrap().code().is_some(), "the command exits");
}

#[test]
fn docs_show_current_typo_error() {
    let node = Node::fresh(ECDSA);
    node.write("etc/kubecertd/kubecertd.toml", "[renewal]\nrenew_befor = \"15d\"\n");
    let run = node.run(&["config", "check"]);
    assert_eq!(run.code, 78);
    assert!(include_str!("../docs/files.md").contains(run.text.trim()), "{}", run.text);
}

/// Names are changed only by this command; everything else stays as it was.
#[test]
fn renew_adds_and_removes_names() {
    let node = Node::fresh(ECDSA);
    let old = node.certificate("apiserver");
    let asked = [
        "renew",
        "apiserver",
        "--add-san",
        "API.example.com",
        "--add-san",
        "192.0.2.7",
        "--remove-san",
        "kubernetes.default",
    ];
    let dry = node.run(&[&asked[..], &["--dry-run"]].concat());
    assert!(
        dry.text
            .contains("asked for with api.example.com, with 192.0.2.7, without kubernetes.default"),
        "{}",
        dry.text
    );
    assert_eq!(node.certificate("apiserver").serial, old.serial);

    let run = node.run(&asked);
    assert_eq!(run.code, 0, "{}", run.text);
    let new = node.certificate("apiserver");
    let has = |name: &str| new.names().iter().any(|one| one == name);
    assert!(
        has("api.example.com")
            && has("192.0.2.7")
            && has("kubernetes.default.svc")
            && !has("kubernetes.default"),
        "{:?}",
        new.names()
    );
    assert_eq!(new.names().len(), old.names().len() + 1);
    assert_eq!(
        (&new.subject, &new.key_algorithm, &new.extended_key_usage),
        (&old.subject, &old.key_algorithm, &old.extended_key_usage)
    );
    assert_eq!(node.run(&["check"]).code, 0);

    // The next renewal keeps the names.
    assert_eq!(node.run(&["renew", "apiserver", "--force"]).code, 0);
    assert_eq!(node.certificate("apiserver").names(), new.names());

    let before = node.snapshot();
    for (arguments, code, words) in [
        (
            &["renew", "apiserver", "--add-san", "api.example.com"][..],
            1,
            "there is nothing to change",
        ),
        (
            &["renew", "apiserver", "--remove-san", "none.example.com"],
            1,
            "none.example.com is not among its names",
        ),
        (&["renew", "--add-san", "a.example.com"], 2, "are for one credential"),
        (
            &["renew", "apiserver", "etcd/server", "--add-san", "a.example.com"],
            2,
            "are for one credential",
        ),
        (
            &["renew", "apiserver", "--add-san", "https://a"],
            2,
            "is neither an IP address nor a DNS name",
        ),
    ] {
        let run = node.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.text);
        assert!(run.text.contains(words), "{arguments:?}: {}", run.text);
    }
    let changed = before.differences(&node.snapshot());
    assert!(changed.iter().all(|line| line.starts_with("var/lib/kubecertd")), "{changed:#?}");
}

/// A change of a node.
type Edit<'e> = &'e dyn Fn(&Node);

/// Names come from the manifest, admin.conf and the name of the node.
#[test]
fn missing_names_are_reported_with_working_command() {
    for tree in [common::RSA, ECDSA] {
        let node = Node::fresh(tree);
        node.add_kubelet_certificate(300);
        node.link_kubelet_conf();
        let run = node.run(&["check"]);
        assert!(
            run.code == 0 && !run.text.contains("--add-san"),
            "as kubeadm made it nothing is lacking: {}",
            run.text
        );
    }

    let drifted = |edit: &dyn Fn(&Node)| {
        let node = Node::fresh(ECDSA);
        node.add_kubelet_certificate(300);
        node.link_kubelet_conf();
        edit(&node);
        node
    };
    let manifest = "etc/kubernetes/manifests/kube-apiserver.yaml";
    let server = |node: &Node, to: &str| {
        node.edit("etc/kubernetes/admin.conf", "server: https://k8s-api.example.com:6443", to)
    };
    let reported: [(Edit<'_>, &str); 5] = [
        (
            &|node| {
                node.edit(
                    manifest,
                    "--advertise-address=10.200.0.1",
                    "--advertise-address=10.200.0.9",
                )
            },
            "10.200.0.9",
        ),
        (
            &|node| {
                node.edit(
                    manifest,
                    "issuer=https://kubernetes.default.svc.cluster.local",
                    "issuer=https://kubernetes.default.svc.corp.test",
                )
            },
            "kubernetes.default.svc.corp.test",
        ),
        (&|node| server(node, "server: https://vip.example.com:6443"), "vip.example.com"),
        (
            &|node| {
                server(
                    node,
                    "tls-server-name: sni.example.com\n    server: \
                     https://k8s-api.example.com:6443",
                )
            },
            "sni.example.com",
        ),
        (
            &|node| {
                let run = node.run(&["renew", "apiserver", "--remove-san", "cp1"]);
                assert_eq!(run.code, 0, "{}", run.text);
            },
            "cp1",
        ),
    ];
    for (edit, name) in reported {
        let node = drifted(edit);
        node.backdate_manifests();
        let run = node.run(&["check"]);
        let line = format!(
            "apiserver: it is not valid for {name}: kubecertd renew apiserver --add-san {name}\n"
        );
        assert!(
            run.code == 3 && run.text.contains(&line) && run.text.contains("1 needs an operator."),
            "{}",
            run.text
        );
        let json: serde_json::Value =
            serde_json::from_str(&node.run(&["check", "-o", "json"]).text).unwrap();
        let entry = json["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "apiserver")
            .unwrap();
        assert_eq!(entry["missingNames"], serde_json::json!([name]));
        // The reported command works.
        let run = node.run(&["renew", "apiserver", "--add-san", name]);
        assert_eq!(run.code, 0, "{}", run.text);
        let run = node.run(&["check"]);
        assert!(run.code == 0 && !run.text.contains("--add-san"), "{}", run.text);
    }

    // Names that the certificate does not need, or that can not be known.
    let other =
        String::from_utf8(Node::fresh(common::RSA).read("etc/kubernetes/admin.conf")).unwrap();
    let authority = |text: &str| {
        text.lines().find(|line| line.contains("certificate-authority-data")).unwrap().to_owned()
    };
    let unreported: [Edit<'_>; 4] = [
        &|node| {
            node.edit(
                manifest,
                "issuer=https://kubernetes.default.svc.cluster.local",
                "issuer=https://issuer.example.com/keys",
            )
        },
        &|node| {
            // The server at that address has a certificate of another CA.
            server(node, "server: https://vip.example.com:6443");
            let text = node.text("etc/kubernetes/admin.conf");
            node.write(
                "etc/kubernetes/admin.conf",
                text.replace(&authority(&text), &authority(&other)),
            );
        },
        &|node| {
            server(node, "server: https://vip.example.com:6443");
            node.edit("etc/kubernetes/admin.conf", "current-context:", "current-contexts:");
        },
        &|node| node.remove("etc/kubernetes/manifests/kube-apiserver.yaml"),
    ];
    for (index, edit) in unreported.into_iter().enumerate() {
        let node = drifted(edit);
        let text = node.run(&["check"]).text;
        assert!(!text.contains("it is not valid for"), "{index}: {text}");
    }
}

#[test]
fn dry_run_names_services_that_would_be_restarted() {
    let dry = Node::due().run(&["renew", "--dry-run"]);
    assert_eq!(dry.code, 0);
    let (_, services) = dry.text.split_once("\nServices\n").expect("a list of services");
    for expected in [
        "kube-scheduler: would be restarted, for scheduler.conf\n",
        "kube-controller-manager: would be restarted, for controller-manager.conf\n",
    ] {
        assert!(services.contains(expected), "{expected}: {services}");
    }
    let of = |service: &str| services.lines().find(|line| line.contains(service)).unwrap();
    let closes = "connections with the old apiserver-kubelet-client";
    assert!(of("kube-apiserver:").contains(closes), "{services}");
    assert!(of("etcd:").contains("reloads etcd/server, etcd/peer by itself"), "{services}");
    let dry = Node::fresh(ECDSA).run(&["renew", "--dry-run"]);
    assert!(!dry.text.contains("Services"), "{}", dry.text);
}
