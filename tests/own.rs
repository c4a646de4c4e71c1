//! Entries of the operator: a CA, pairs, kubeconfigs and bundles that kubeadm does not know are
//! renewed like kubeadm's own.
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

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::Command;

use common::requirements::{ROOT, require};
use common::{ECDSA, Node, now};
use kubecertd::model::days;

const CONFIGURATION: &str = r#"
[[ca]]
name = "site-ca"
certificate = "/etc/site/ca.crt"
key = "/etc/site/ca.key"
[[credential]]
name = "server"
ca = "site-ca"
certificate = "/etc/site/server.crt"
key = "/etc/site/server.key"
[[credential]]
name = "bundle"
ca = "site-ca"
bundle = "/etc/site/bundle.pem"
[[credential]]
name = "reversed"
ca = "site-ca"
bundle = "/etc/site/reversed.pem"
[[credential]]
name = "client"
ca = "ca"
kubeconfig = "/etc/site/client.conf"
[[credential]]
name = "watched"
certificate = "/etc/site/watched.crt"
key = "/etc/site/watched.key"
"#;

/// Another block of a combined PEM.
const DH: &str = "-----BEGIN DH PARAMETERS-----\nMAYCAQICAQU=\n-----END DH PARAMETERS-----";

/// The files of the entries above that are renewed.
const FILES: [&str; 5] = [
    "etc/site/server.crt",
    "etc/site/server.key",
    "etc/site/bundle.pem",
    "etc/site/reversed.pem",
    "etc/site/client.conf",
];
const NAMES: [&str; 4] = ["server", "bundle", "reversed", "client"];

/// Makes a node of kubeadm with these entries, made by openssl, ten days before expiry.
fn node() -> Node {
    let node = Node::fresh(ECDSA);
    fs::create_dir_all(node.path("etc/site")).unwrap();
    let pair = "openssl req -newkey rsa:2048 -nodes -subj /DC=com/DC=example/CN=$name -keyout \
        $name.key -out $name.csr 2>/dev/null
        printf 'subjectAltName=DNS:%s.example.com\nextendedKeyUsage=serverAuth,clientAuth\n\
        1.2.3.4=ASN1:UTF8String:site\n' $name >ext
        openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -set_serial 0x77 -days $days \
        -extfile ext -out $name.crt 2>/dev/null";
    let script = format!(
        "set -e
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 3650 -subj \
         /DC=com/DC=example/CN=site \
           -keyout ca.key -out ca.crt 2>/dev/null
         for name in server bundle reversed watched; do
           days=300; [ $name != watched ] || days=11
           {pair}
         done
         cat bundle.key bundle.crt >bundle.pem
         (echo 'what is said here stays'; cat reversed.crt reversed.key; echo '{DH}') >reversed.pem
         rm bundle.key bundle.crt reversed.key reversed.crt *.csr ext"
    );
    let run = Command::new("sh")
        .args(["-c", &script])
        .current_dir(node.path("etc/site"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let mut client = node.text("etc/kubernetes/admin.conf");
    client.insert_str(0, "# kept by hand\n");
    node.write("etc/site/client.conf", client);
    node.write("etc/kubecertd/kubecertd.d/site.toml", CONFIGURATION);
    for (index, file) in FILES.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(node.path(file), Some(1000 + index), Some(2000 + index)).unwrap();
        }
        fs::set_permissions(
            node.path(file),
            fs::Permissions::from_mode(0o600 + (index % 2) * 0o40),
        )
        .unwrap();
    }
    NAMES.iter().for_each(|name| node.age(name, 10));
    node
}

fn owners_and_modes(node: &Node) -> Vec<(u32, u32, u32)> {
    let of = |file: &&str| {
        fs::metadata(node.path(file)).map(|found| (found.uid(), found.gid(), found.mode())).unwrap()
    };
    FILES.iter().map(of).collect()
}

fn read_contents(node: &Node) -> Vec<Vec<u8>> {
    FILES.iter().map(|file| node.read(file)).collect()
}

/// Returns the kinds of the blocks of a PEM file, in their order.
fn block_kinds(node: &Node, file: &str) -> Vec<&'static str> {
    let text = node.text(file);
    let begins = text.lines().filter(|line| line.starts_with("-----BEGIN "));
    let begins = begins.filter(|line| !line.contains("PARAMETERS"));
    begins.map(|line| if line.contains("PRIVATE KEY") { "key" } else { "certificate" }).collect()
}

#[test]
fn own_entries_keep_metadata_and_extensions() {
    require!(ROOT, "openssl");
    let node = node();
    let (old, old_modes) = (read_contents(&node), owners_and_modes(&node));
    let old_certificates: Vec<_> = NAMES.iter().map(|name| node.certificate(name)).collect();
    let watched = node.read("etc/site/watched.crt");
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("4 credentials renewed."), "{}", run.text);

    assert_eq!(owners_and_modes(&node), old_modes, "owner and mode");
    let reversed = node.text("etc/site/reversed.pem");
    assert!(reversed.starts_with("what is said here stays\n"), "{reversed}");
    assert!(reversed.ends_with(&format!("{DH}\n")), "{reversed}");
    assert_eq!(
        node.read("etc/site/watched.crt"),
        watched,
        "without an authority it is only watched"
    );
    for (name, old) in NAMES.iter().zip(&old_certificates) {
        let new = node.certificate(name);
        assert!(new.not_after > now().plus(days(364)), "{name} ends {}", new.not_after);
        assert_eq!(new.subject.der(), old.subject.der(), "{name}");
        let site = |certificate: &kubecertd::formats::x509::Certificate| {
            certificate
                .extensions
                .iter()
                .find(|one| one.oid.to_id_string() == "1.2.3.4")
                .map(|one| one.value.clone())
        };
        assert_eq!(site(&new), site(old), "{name}: an unknown extension");
    }
    for (file, order) in [
        ("etc/site/bundle.pem", ["key", "certificate"]),
        ("etc/site/reversed.pem", ["certificate", "key"]),
    ] {
        assert_eq!(block_kinds(&node, file), order, "{file}");
    }
    assert!(node.text("etc/site/client.conf").starts_with("# kept by hand\n"));
    let verified = Command::new("openssl")
        .args(["verify", "-CAfile", "ca.crt", "server.crt", "bundle.pem", "reversed.pem"])
        .current_dir(node.path("etc/site"))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");

    // The old files are in a backup, and can be restored byte for byte.
    let backups = node.backups();
    assert!(old.iter().all(|content| backups.contains(content)));
    let new = read_contents(&node);
    let run = node.run(&[&["restore"][..], &NAMES].concat());
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!((read_contents(&node), owners_and_modes(&node)), (old, old_modes.clone()));
    let run = node.run(&["renew", "bundle"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(owners_and_modes(&node), old_modes);
    assert_ne!(read_contents(&node)[2], new[2], "a new one");
    assert!(node.dot_files().is_empty());
}

#[test]
fn own_external_ca_answers_requests() {
    require!("openssl");
    let node = node();
    fs::rename(node.path("etc/site/ca.key"), node.path("outside.key")).unwrap();
    assert!(node.run(&["check"]).text.contains("site-ca"));
    for name in ["server", "bundle"] {
        let run = node.run(&["csr", name]);
        assert_eq!(run.code, 0, "{}", run.text);
        let pem = &run.text[run.text.find("-----BEGIN").unwrap()..];
        node.write(
            "request.csr",
            &pem[..pem.find("-----END CERTIFICATE REQUEST-----").unwrap() + 34],
        );
        let signed = Command::new("openssl")
            .args([
                "x509",
                "-req",
                "-in",
                "request.csr",
                "-CA",
                "etc/site/ca.crt",
                "-CAkey",
                "outside.key",
                "-days",
                "365",
            ])
            .args(["-set_serial", "0x99", "-copy_extensions", "copyall", "-out", "answer.crt"])
            .current_dir(node.root())
            .output()
            .unwrap();
        assert!(signed.status.success(), "{signed:?}");
        let run = node.run(&["install", name, node.path("answer.crt").to_str().unwrap()]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(node.certificate(name).not_after > now().plus(days(364)), "{name}");
    }
    assert_eq!(block_kinds(&node, "etc/site/bundle.pem"), ["key", "certificate"]);
}

#[test]
fn invalid_entry_is_refused_with_file_and_line() {
    require!("openssl");
    let node = node();
    let file = "/etc/kubecertd/kubecertd.d/site.toml";
    let uses = "uses = [{ credential = 'server', takes = 'restart' }]";
    let line = CONFIGURATION.lines().count() + 1;
    for (entry, reported) in [
        (
            "unit = 'site.service'\nuses = [{ credential = 'srever', takes = 'restart' }]"
                .to_owned(),
            "uses names \"srever\", which is no credential",
        ),
        (
            format!("unit = 'site.service'\npod = 'site'\n{uses}"),
            "it is more than one kind of service",
        ),
        (format!("unit = 'site'\n{uses}"), "unit is no service's unit: give its full name"),
        (
            format!("command = ['reload-site']\n{uses}"),
            "command is no command: give the program with its full path",
        ),
        (
            format!("unit = 'kubelet.service'\n{uses}"),
            "is the unit kubelet.service, and so is \"kubelet\"",
        ),
    ] {
        node.write(
            file.trim_start_matches('/'),
            format!("{CONFIGURATION}[[service]]\nname = 'site'\n{entry}\n"),
        );
        let before = node.snapshot();
        for command in [&["config", "check"][..], &["renew"]] {
            let run = node.run(command);
            assert_eq!(run.code, 78, "{}", run.text);
            let place = format!("{file}:{line}: [[service]] \"site\"");
            assert!(
                run.text.contains(&place) && run.text.contains(reported),
                "{place} {reported}\n{}",
                run.text
            );
        }
        assert_eq!(before.differences(&node.snapshot()), Vec::<String>::new());
    }
    let right = "[[service]]\nname = 'site'\nunit = 'site.service'\nsignal = 'USR1'\nhealth = \
        'http://127.0.0.1:1/'\n";
    node.write(file.trim_start_matches('/'), format!("{CONFIGURATION}{right}{uses}\n"));
    let shown = node.run(&["config", "show"]).text;
    let place = format!(
        "[[service]]  # {file}:{line}\nname = \"site\"\nunit = \"site.service\"\nsignal = \
         \"USR1\"\n"
    );
    assert!(shown.contains(&place), "{shown}");
    assert!(
        shown.contains(
            "# service site: systemd unit site.service, sent SIGUSR1, health at http://127.0.0.1:1/"
        ),
        "{shown}"
    );
    assert!(
        node.run(&["config", "check"]).text.contains("18 credentials and 6 services"),
        "{}",
        node.run(&["config", "check"]).text
    );
}

/// The daemon has a private /tmp, and would look for the pid file there.
#[test]
fn drop_in_opens_paths_of_own_services() {
    require!("openssl");
    let node = node();
    let drop_in = || {
        let text = node.run(&["config", "check"]).text;
        text[text.find("[Service]").unwrap()..].to_owned()
    };
    assert_eq!(drop_in(), "[Service]\nReadWritePaths=-/etc/site\n");
    let service = |pid_file: &str| {
        format!(
            "[[service]]\nname = 'x'\npid_file = '{pid_file}'\nsignal = 'HUP'\nuses = [{{ \
             credential = 'client', takes = 'restart' }}]\n"
        )
    };
    node.write("etc/kubecertd/kubecertd.d/x.toml", service("/run/x.pid"));
    assert_eq!(drop_in(), "[Service]\nReadWritePaths=-/etc/site\n");
    node.write("etc/kubecertd/kubecertd.d/x.toml", service("/tmp/x.pid"));
    assert_eq!(drop_in(), "[Service]\nPrivateTmp=no\nReadWritePaths=-/etc/site\n");
}

#[test]
fn bundle_with_two_private_keys_is_left_as_it_is() {
    require!("openssl");
    let node = node();
    let mut bundle = node.read("etc/site/bundle.pem");
    bundle.extend(node.read("etc/site/server.key"));
    node.write("etc/site/bundle.pem", &bundle);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 4, "{}", run.text);
    assert!(run.text.contains("/etc/site/bundle.pem: holds several private keys"), "{}", run.text);
    assert_eq!(node.read("etc/site/bundle.pem"), bundle);
}
