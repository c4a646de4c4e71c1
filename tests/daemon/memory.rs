//! No private key stays in the memory of the daemon: its memory is searched while it waits for the
//! next pass.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kubecertd::credentials::load_authority;
use kubecertd::drivers::tls::ClientIdentity;
use kubecertd::formats::kubeconfig::Kubeconfig;
use kubecertd::formats::pem;

use super::common::keys::Keys;
use super::common::{ECDSA, Node, RSA, read_key};
use super::harness::*;

/// All memory of a process that it can write to, with the name of each part. What it gives back
/// meanwhile is not there any more.
fn memory(pid: u32) -> Vec<(String, Vec<u8>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut parts = Vec::new();
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if !words[1].starts_with("rw") {
            continue;
        }
        let (from, to) = words[0].split_once('-').unwrap();
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        match memory.read_exact_at(&mut content, from) {
            Ok(()) => parts.push((line.to_owned(), content)),
            Err(error) => assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{line}: {error}"),
        }
    }
    parts
}

fn found(pid: u32, keys: &Keys) -> Vec<String> {
    let (parts, search) = (memory(pid), keys.search());
    assert!(
        parts.iter().any(|(name, _)| name.ends_with("[heap]"))
            && parts.iter().any(|(name, _)| name.ends_with("[stack]"))
    );
    let found = parts.iter().flat_map(|(name, content)| {
        search.find(content).into_iter().map(move |what| format!("{name}: {what}"))
    });
    found.collect()
}

/// Every key is read, replaced by a new one, written, read back, checked and backed up; and once
/// more nothing has to be done.
#[test]
fn after_a_pass_no_key_is_left_in_it() {
    for tree in [RSA, ECDSA] {
        let node = known(Node::fresh(tree), NEVER);
        node.age_all(10);
        let mut keys = Keys::default();
        keys.collect(&node);
        let daemon = Daemon::start(&node);
        daemon.settled();
        assert_eq!(names(&daemon.pass().renewed), all(&node));
        keys.collect(&node);
        assert!(keys.count >= 20, "{}", keys.count);
        // The threads of the pass end a moment after it.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(found(daemon.pid(), &keys), [""; 0], "{tree}: after a pass that renewed all");
        daemon.pass();
        assert_eq!(found(daemon.pid(), &keys), [""; 0], "{tree}: after a pass that only looked");
    }
}

/// No type that holds a key shows it.
#[test]
fn debug_shows_no_key() {
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        let mut keys = Keys::default();
        keys.collect(&node);
        let observed = node.observe();
        let mut shown = String::new();
        for stored in node.usable_credentials().values() {
            let key = read_key(stored).unwrap();
            let composed = stored.compose(&stored.certificate, &key.to_pem().unwrap()).unwrap();
            let identity =
                ClientIdentity::new(std::slice::from_ref(&stored.certificate), &key).unwrap();
            shown += &format!(
                "{stored:?} {stored:#?} {key:?} {:?} {composed:#?} {identity:?}",
                key.to_pem()
            );
        }
        for authority in &observed.catalog.authorities {
            shown += &format!("{:#?}", load_authority(&observed.root, authority));
        }
        let kubeconfig = node.read("etc/kubernetes/admin.conf");
        shown += &format!(
            "{:#?} {:?}",
            Kubeconfig::parse(&kubeconfig).unwrap(),
            pem::blocks(&node.read("etc/kubernetes/pki/ca.key")).unwrap()
        );
        assert!(shown.contains("Secret(") && shown.len() > 10_000);
        assert_eq!(keys.found_in(shown.as_bytes()), None);
    }
}

#[test]
fn no_authoritys_key_is_in_a_backup() {
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        node.age_all(10);
        let authorities = Node::empty();
        for file in [
            "etc/kubernetes/pki/ca.key",
            "etc/kubernetes/pki/front-proxy-ca.key",
            "etc/kubernetes/pki/etcd/ca.key",
        ] {
            authorities.write(file, node.read(file));
        }
        let (mut secret, mut all) = (Keys::default(), Keys::default());
        secret.collect(&authorities);
        all.collect(&node);
        assert_eq!(node.run(&["renew"]).code, 0);
        let backups = node.backups();
        assert!(
            backups.iter().any(|content| all.found_in(content).is_some()),
            "the others' keys are there"
        );
        assert!(
            secret.count == 3 && backups.iter().all(|content| secret.found_in(content).is_none())
        );
    }
}

/// The search finds what is there.
#[test]
fn the_search_finds_a_key_in_every_form() {
    let node = Node::fresh(RSA);
    let mut keys = Keys::default();
    keys.collect(&node);
    let (kept, search) = (keys.samples().to_vec(), keys.search());
    assert!(kept.len() >= 4, "{}", kept.len());
    let own = memory(std::process::id());
    for sample in &kept {
        let among = [b"some bytes before ".as_slice(), sample, b" and behind"].concat();
        assert_ne!(search.find(&among), [""; 0]);
    }
    // This process itself holds them.
    assert!(own.iter().any(|(_, content)| !search.find(content).is_empty()));
}

/// The files in /proc of a process that must not be dumped are root's, whoever runs it.
#[test]
fn its_memory_is_dumped_nowhere_and_nobody_but_root_may_look() {
    let node = known(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.settled();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [ours, other] = [(env!("CARGO_BIN_EXE_kubecertd"), "ours"), ("/bin/sleep", "other")].map(
        |(program, name)| {
            let copy = folder.path().join(name);
            fs::copy(program, &copy).unwrap();
            copy
        },
    );
    let owner = |mut command: Command| {
        let mut child = command
            .uid(1234)
            .gid(1234)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let file = format!("/proc/{}/mem", child.id());
        std::thread::sleep(Duration::from_millis(500));
        let owner = fs::metadata(file).unwrap().uid();
        child.kill().unwrap();
        child.wait().unwrap();
        owner
    };
    let mut command = Command::new(other);
    command.arg("60");
    assert_eq!(owner(command), 1234, "any other program");
    let mut command = Command::new(ours);
    command.args(["--root", folder.path().to_str().unwrap(), "status", "--watch"]);
    assert_eq!(owner(command), 0);
}
