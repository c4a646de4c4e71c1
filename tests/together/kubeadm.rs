//! kubeadm writes the key and then the certificate, each in place, and uses no locks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kubecertd::credentials::{LoadedAuthority, LoadedKey, load_authority};
use kubecertd::formats::x509::{Certificate, PrivateKey, reissue};
use kubecertd::sys::{Clock as _, Root, SystemClock};

use super::common::requirements::skip;
use super::common::{Node, PKI, terms_with_days_left};
use super::harness::*;

const CERTIFICATE: &str = "etc/kubernetes/pki/apiserver.crt";
const KEY: &str = "etc/kubernetes/pki/apiserver.key";

/// A stand-in that renews one pair as kubeadm does: it writes a new key and a certificate for it in
/// place.
struct KubeadmStandIn<'n> {
    node: &'n Node,
    old: Certificate,
    signing: Certificate,
    key: PrivateKey,
}

impl<'n> KubeadmStandIn<'n> {
    fn new(node: &'n Node) -> Self {
        let catalog = node.observe().catalog;
        let authority = catalog.authorities.iter().find(|one| one.name.as_str() == "ca").unwrap();
        let loaded = load_authority(&Root::open(node.root()).unwrap(), authority);
        let LoadedAuthority::Present { anchors, key: LoadedKey::Usable(key), .. } = loaded else {
            panic!("the authority can't sign")
        };
        let signing = anchors.candidate(SystemClock.now()).unwrap().clone();
        Self { node, old: node.certificate("apiserver"), signing, key }
    }

    fn renew(&self, days: i64, pause: Duration) {
        let new = PrivateKey::generate(&self.old.key_algorithm).unwrap();
        let der = reissue(&self.old, &self.signing, &self.key, &new, &terms_with_days_left(days))
            .unwrap();
        write_in_place(&self.node.path(KEY), new.to_pem().unwrap().expose());
        std::thread::sleep(pause);
        write_in_place(
            &self.node.path(CERTIFICATE),
            Certificate::from_der(&der).unwrap().to_pem().as_bytes(),
        );
    }
}

/// Truncates and rewrites the existing file, as Go's WriteFile does.
fn write_in_place(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn is_whole(node: &Node) -> bool {
    node.usable_credentials().contains_key("apiserver")
}

#[test]
fn pair_being_written_is_waited_for_and_kept() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, 0);
    let stand_in = KubeadmStandIn::new(&node);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| stand_in.renew(200, Duration::from_secs(2)));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!is_whole(&node), "the pair is incomplete at this moment");
        node.run(&["renew"])
    });
    assert_eq!(run.code, 0, "{}", run.text);
    assert!(run.text.contains("Nothing to renew"), "{}", run.text);
    assert!(is_whole(&node));
    let left = node.certificate("apiserver").not_after.seconds_since(super::common::now()) / 86_400;
    assert!((198..=200).contains(&left), "kubeadm's pair is kept: {left} days");
}

#[test]
fn pair_that_stays_broken_is_repaired() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, 0);
    write_in_place(&node.path(KEY), &node.read("etc/kubernetes/pki/front-proxy-client.key"));
    let began = Instant::now();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert!((4..25).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(
        run.text.contains("the key does not fit the certificate") && is_whole(&node),
        "{}",
        run.text
    );
}

/// Both write as fast as they can. Meanwhile a pair may be mixed, and every pass is made in time.
/// The next pass after the last write of kubeadm leaves everything whole.
#[test]
fn next_pass_after_concurrent_writes_leaves_no_mixed_pair() {
    let node = Node::due();
    let stand_in = KubeadmStandIn::new(&node);
    for pause in [Duration::ZERO, Duration::from_millis(30)] {
        let (done, passes) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(8) {
                    stand_in.renew(10, pause);
                    std::thread::sleep(Duration::from_millis(20));
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let run = node.run(&["renew"]);
                assert!(began.elapsed() < WAIT_TIMEOUT, "{:?}", began.elapsed());
                assert!([0, 1, 4].contains(&run.code), "{}: {}", run.code, run.text);
                passes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert_eq!(valid_longer_than(&node, 300), all_credentials(&node), "{}", run.text);
        assert_eq!(all_credentials(&node).len(), 11);
        assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
        println!("a pause of {pause:?}: {} passes beside it", passes.load(Ordering::Relaxed));
    }
}

#[test]
fn daemon_survives_concurrent_writes() {
    let node = with_history(Node::due(), EVERY_SECOND);
    let stand_in = KubeadmStandIn::new(&node);
    let mut daemon = Daemon::start(&node);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        stand_in.renew(10, Duration::from_millis(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.wait_for_status("all is renewed", |_| valid_longer_than(&node, 300).len() == 11);
    assert!(daemon.stop().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

/// Returns the path of an installed kubeadm.
fn find_kubeadm() -> Option<PathBuf> {
    let places = [
        std::env::var_os("KUBEADM").map(PathBuf::from),
        Some("/opt/kube/bin/kubeadm".into()),
        Some("/var/cache/kubecertd-node/kubernetes/kubeadm".into()),
    ];
    places.into_iter().flatten().find(|path| path.exists())
}

/// The real kubeadm renews one pair repeatedly while kubecertd does the same.
#[test]
fn real_kubeadm_and_kubecertd_do_not_interfere() {
    let Some(kubeadm) = find_kubeadm() else {
        return skip("needs kubeadm; KUBEADM may name one");
    };
    let node = Node::due();
    let done = AtomicBool::new(false);
    let (rounds, passes) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| {
            let (began, mut rounds) = (Instant::now(), 0);
            while began.elapsed() < Duration::from_secs(8) {
                let dir = node.path(PKI);
                let mut command = Command::new(&kubeadm);
                command.args(["certs", "renew", "apiserver", "--cert-dir"]).arg(&dir);
                let output = command.env("KUBECONFIG", "/nonexistent").output().unwrap();
                // kubeadm may read a pair between the two renames of a replacement. Then it reports
                // an error and stops.
                rounds += usize::from(output.status.success());
            }
            done.store(true, Ordering::Relaxed);
            rounds
        });
        let mut passes = 0;
        while !done.load(Ordering::Relaxed) {
            let run = node.run(&["renew", "--force", "apiserver"]);
            assert!([0, 1].contains(&run.code), "{}", run.text);
            passes += 1;
        }
        (theirs.join().unwrap(), passes)
    });
    println!("{rounds} renewals by {}, {passes} of ours", kubeadm.display());
    assert!(rounds > 0 && passes > 0);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(valid_longer_than(&node, 300), all_credentials(&node));
    assert_eq!(all_credentials(&node).len(), 11);
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}
