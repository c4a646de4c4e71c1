//! No private key stays in the memory of the daemon. The tests search the memory of an idle daemon.

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
use super::common::requirements::{ROOT, require};
use super::common::{ECDSA, Node, RSA, read_key};
use super::harness::*;

/// Reads the writable memory of a process, with the name of each mapping. Mappings that the process
/// unmaps meanwhile are left out.
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

/// Returns the places in the memory of a process that hold a key.
fn keys_in_memory(pid: u32, keys: &Keys) -> Vec<String> {
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

/// The threads of a pass end shortly after it, and the daemon reads all files again half a minute
/// after a change: a key may be in the memory for that moment.
fn assert_no_key_stays(daemon: &Daemon<'_>, keys: &Keys, when: &str) {
    wait_for(&format!("no key is in the memory ({when})"), || {
        keys_in_memory(daemon.pid(), keys).is_empty().then_some(())
    });
}

/// One pass reads, replaces, writes, reads back, checks and backs up every key. A second pass has
/// nothing to do.
#[test]
fn daemon_memory_holds_no_key_after_pass() {
    // The files of the daemon in /proc belong to root: it is not dumpable.
    require!(ROOT);
    for tree in [RSA, ECDSA] {
        let node = with_history(Node::fresh(tree), NEVER);
        node.age_all(10);
        let mut keys = Keys::default();
        keys.collect(&node);
        let daemon = Daemon::start(&node);
        daemon.wait_until_idle();
        assert_eq!(names(&daemon.request_pass().renewed), all_credentials(&node));
        keys.collect(&node);
        assert!(keys.count >= 20, "{}", keys.count);
        assert_no_key_stays(&daemon, &keys, &format!("{tree}: after a pass that renewed all"));
        daemon.request_pass();
        assert_no_key_stays(&daemon, &keys, &format!("{tree}: after a pass that only looked"));
    }
}

/// No type that holds a key shows it in its `Debug` output.
#[test]
fn debug_output_discloses_no_key() {
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
fn backups_hold_no_ca_key() {
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
            "the backups hold the other keys"
        );
        assert!(
            secret.count == 3 && backups.iter().all(|content| secret.found_in(content).is_none())
        );
    }
}

/// The search for keys in memory finds each form of a key.
#[test]
fn key_search_finds_every_form_in_memory() {
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
    // The test process itself holds the keys.
    assert!(own.iter().any(|(_, content)| !search.find(content).is_empty()));
}

/// The files in /proc of a process that is not dumpable belong to root, even where another user
/// runs it.
#[test]
fn daemon_memory_is_not_dumped_and_only_root_reads_it() {
    require!(ROOT);
    let node = with_history(Node::due(), NEVER);
    let daemon = Daemon::start(&node);
    daemon.wait_until_idle();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");

    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [ours, other] = [(env!("CARGO_BIN_EXE_kubecertd"), "ours"), ("/bin/sleep", "other")].map(
        |(program, name)| {
            let copy = dir.path().join(name);
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
    command.args(["--root", dir.path().to_str().unwrap(), "status", "--watch"]);
    assert_eq!(owner(command), 0);
}
