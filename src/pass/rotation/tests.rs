//! The steps of a rotation on the files of a node, through all levels and back.

mod coordination;
mod finding;
mod front_proxy;
mod orders;
mod publishing;
mod renewal;
pub(crate) mod site;
mod start;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::act::RotationKeys;
use crate::common::trees::copy;
use crate::credentials::{Loaded, load, load_authority};
use crate::formats::rotation_intent::{CaPair, RotationIntent};
use crate::formats::x509::{
    Certificate, KeyAlgorithm, NewRoot, PrivateKey, RootLifetime, Terms, bridge, kubelet_template,
    new_root, passing_certificate, random_serial, reissue, renew_root,
};
use crate::model::{
    Agreement, BridgeHolder, CaFile, Chain, ReplacedCa, RootCa, RotationLevel, SigningFiles,
    Timestamp, TrustedRoots, days,
};
use crate::observe::{Config, Node};
use crate::pass::{Orders, Start};
use crate::plan::Request;
use crate::sys::{FixedClock, Root};

/// A time at which the certificates of the trees are valid.
const NOW: Timestamp = Timestamp::from_seconds(1_796_000_000);

pub(crate) struct Disk {
    dir: tempfile::TempDir,
    old: PrivateKey,
    intent: RotationIntent,
    new: PrivateKey,
    /// The keys of the CA of the front proxy, before and after.
    front_proxy: [PrivateKey; 2],
}

impl Disk {
    fn of(tree: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(tree);
        copy(&tree, dir.path());
        let read =
            |file: &str| std::fs::read(dir.path().join("etc/kubernetes/pki").join(file)).unwrap();
        let replaced = |name: &str| {
            let certificates = crate::formats::x509::certificates(&read(&format!("{name}.crt")));
            let old = certificates.unwrap().remove(0);
            let old_key = PrivateKey::from_pem(&read(&format!("{name}.key"))).unwrap();
            let lifetime =
                RootLifetime { now: NOW, tolerated_skew: days(1), validity: days(3_650) };
            let NewRoot { certificate: new, key } =
                new_root(&old.subject, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
            (CaPair { old, new }, [old_key, key])
        };
        let (CaPair { old, new }, [old_key, key]) = replaced("ca");
        let (pair, front_proxy) = replaced("front-proxy-ca");
        let forth = bridge_of(&new, &old, &old_key);
        give_kubelet_its_certificate(dir.path(), &old, &old_key);
        let intent = RotationIntent {
            cluster: "1e5b".to_owned(),
            old,
            new,
            bridge: Some(forth),
            bridge_back: None,
            others: Vec::new(),
            front_proxy: Some(pair),
            agreement: Agreement {
                generation: 1,
                from: RotationLevel::Rest,
                to: RotationLevel::Rest,
            },
            goal: RotationLevel::Servers,
            is_stepwise: false,
            paused: None,
            without: Vec::new(),
            started: NOW,
            operator: "root@cp1".to_owned(),
        };
        Self { dir, old: old_key, intent, new: key, front_proxy }
    }

    /// The same with the renewed root as the new one.
    fn with_renewal(self) -> Self {
        let terms = Terms {
            serial: random_serial().unwrap(),
            not_before: NOW,
            not_after: NOW.plus(days(7_300)),
        };
        let renewed = renew_root(&self.intent.old, &self.old, &terms).unwrap();
        let new = Certificate::from_der(&renewed).unwrap();
        let key = PrivateKey::from_pem(self.old.to_pem().unwrap().expose()).unwrap();
        let goal = RotationLevel::Renewed;
        let intent = RotationIntent { new, bridge: None, front_proxy: None, goal, ..self.intent };
        Self { intent, new: key, ..self }
    }

    fn rotation(&self, level: RotationLevel) -> Rotation {
        let mut intent = self.intent.clone();
        intent.agreement.to = level;
        let signed = intent.sign(&[&self.old]).unwrap();
        let again = |key: &PrivateKey| PrivateKey::from_pem(key.to_pem().unwrap().expose()).ok();
        Rotation {
            intent,
            signed,
            keys: RotationKeys {
                ca: ReplacedCa::Root,
                old: again(&self.old),
                new: again(&self.new),
            },
            front_proxy_keys: RotationKeys {
                ca: ReplacedCa::FrontProxy,
                old: again(&self.front_proxy[0]),
                new: again(&self.front_proxy[1]),
            },
        }
    }

    fn key(&self, root: RootCa) -> &PrivateKey {
        match root {
            RootCa::Old => &self.old,
            RootCa::New => &self.new,
        }
    }

    fn node(&self) -> Node {
        Node::open(Root::open(self.dir.path()).unwrap(), &Config::Usual).unwrap()
    }

    /// Makes all steps to a level, and returns them. kubelet's certificate is signed here as the
    /// cluster would.
    fn go_to(&self, level: RotationLevel) -> Vec<RotationStep> {
        let rotation = self.rotation(level);
        in_pass(&self.node(), |pass| self.go_in_pass(pass, &rotation, level))
    }

    fn go_in_pass(
        &self,
        pass: &mut Pass<'_>,
        rotation: &Rotation,
        level: RotationLevel,
    ) -> Vec<RotationStep> {
        let mut made = Vec::new();
        for _ in 0..40 {
            match pass.next(rotation) {
                Next::Done => return made,
                Next::Held(reason) => panic!("{level}: {reason}; made: {made:?}"),
                Next::Step(step) => {
                    let root = match step {
                        RotationStep::IssueKubeletClient(root) => Some(root),
                        RotationStep::AddBridge(BridgeHolder::KubeletClient) => Some(RootCa::Old),
                        _ => None,
                    };
                    match root {
                        Some(root) => self.issue_kubelet_client(pass, rotation, root),
                        None => pass.make_step(rotation, step).unwrap(),
                    }
                    made.push(step);
                    self.check_leaves();
                }
            }
        }
        panic!("{level} is never reached: {made:?}");
    }

    fn issue_kubelet_client(&self, pass: &mut Pass<'_>, rotation: &Rotation, root: RootCa) {
        let (certificate, key) = kubelet_client(rotation.intent.root(root), self.key(root));
        pass.put_kubelet_client(rotation, root, &certificate, &key).unwrap();
    }

    /// Every certificate that one of the two CAs signed is accepted by its file as it is now.
    fn check_leaves(&self) {
        let node = self.node();
        let catalog = &node.catalog;
        for (authority, least) in
            [(catalog.root_authority(), 5), (catalog.front_proxy_authority(), 1)]
        {
            let loaded = load_authority(&node.root, authority.unwrap());
            let mut seen = 0;
            for credential in crate::observe::issued_by_ca(catalog, authority.unwrap()) {
                let Loaded::Whole(stored) = load(&node.root, credential) else { continue };
                let chain = loaded.chain_to_anchor(&stored.certificate, &stored.further, NOW);
                assert!(chain.is_some(), "{} is not accepted", credential.name);
                seen += 1;
            }
            assert!(seen >= least, "{seen}");
        }
    }

    /// What front-proxy-ca.crt holds, whose key is beside it, and who issued front-proxy-client.
    fn front_proxy(&self) -> (CaFile, RootCa, Vec<RootCa>) {
        let found = self.found().control_plane.unwrap().front_proxy.unwrap();
        (found.ca, found.ca_key, found.clients)
    }

    fn found(&self) -> FoundRotation {
        let node = self.node();
        let files = ObservedFiles::of(&node.root);
        find_rotation(&node, &files, &self.intent, None).unwrap()
    }

    fn assert_no_root_key_in_backups(&self) {
        let backups = self.dir.path().join("var/lib/kubecertd/backups");
        let [old, new] = &self.front_proxy;
        let keys = [&self.old, &self.new, old, new].map(|key| key.to_pem().unwrap());
        let mut files = 0;
        for entry in files_below(&backups) {
            let content = std::fs::read(&entry).unwrap();
            let holds = |key: &crate::model::Secret| {
                content.windows(key.expose().len()).any(|part| part == key.expose())
            };
            assert!(!keys.iter().any(holds), "{}", entry.display());
            files += 1;
        }
        assert!(files > 5, "{files}");
    }

    fn etc(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("etc/kubernetes").join(file)).unwrap()
    }
}

/// Does something in a pass on a node.
fn in_pass<T>(node: &Node, work: impl FnOnce(&mut Pass<'_>) -> T) -> T {
    let (clock, stop) = (FixedClock(NOW), AtomicBool::new(false));
    let request = Request::default();
    let orders = Orders::asked(&request, &clock, &stop);
    let start = Start::recover(node, &orders).unwrap();
    let found = start.observe();
    work(&mut start.plan(found))
}

/// All files below a directory.
fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// kubelet's client certificate where kubelet keeps it, and not in kubelet.conf.
fn give_kubelet_its_certificate(disk: &Path, root: &Certificate, root_key: &PrivateKey) {
    let (certificate, key) = kubelet_client(root, root_key);
    let dir = disk.join("var/lib/kubelet/pki");
    std::fs::create_dir_all(&dir).unwrap();
    let name = "kubelet-client-2026-11-21-18-14-43.pem";
    let key = key.to_pem().unwrap();
    let pem = certificate.to_pem() + std::str::from_utf8(key.expose()).unwrap();
    std::fs::write(dir.join(name), pem).unwrap();
    std::os::unix::fs::symlink(name, dir.join("kubelet-client-current.pem")).unwrap();
    let kubeconfig = disk.join("etc/kubernetes/kubelet.conf");
    let text = std::fs::read(&kubeconfig).unwrap();
    let current = Path::new("/var/lib/kubelet/pki/kubelet-client-current.pem");
    let pointed = crate::formats::kubeconfig::point(&text, current).unwrap();
    std::fs::write(&kubeconfig, pointed.expose()).unwrap();
}

fn kubelet_client(root: &Certificate, root_key: &PrivateKey) -> (Certificate, PrivateKey) {
    let template = kubelet_template("cp1").unwrap();
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    let terms =
        Terms { serial: random_serial().unwrap(), not_before: NOW, not_after: NOW.plus(days(300)) };
    let der = reissue(&template, root, root_key, &key, &terms).unwrap();
    (Certificate::from_der(&der).unwrap(), key)
}

fn bridge_of(of: &Certificate, by: &Certificate, key: &PrivateKey) -> Certificate {
    let terms = Terms {
        serial: random_serial().unwrap(),
        not_before: NOW.minus(days(1)),
        not_after: NOW.plus(days(3_000)),
    };
    Certificate::from_der(&bridge(of, by, key, &terms, NOW).unwrap()).unwrap()
}

const TREES: [&str; 2] = ["kubeadm-1.36-ecdsa-p256", "kubeadm-1.20-rsa2048"];

#[test]
fn files_go_through_all_levels() {
    use RotationLevel::{Clients, Distrusted, Servers, Staged, Trusted};
    for tree in TREES {
        let disk = Disk::of(tree);
        assert_eq!(disk.go_to(RotationLevel::Rest), []);
        let (old, new) = (RootCa::Old, RootCa::New);
        disk.go_to(Staged);
        assert_eq!(disk.front_proxy(), (CaFile::Old, old, vec![old]));
        let found = disk.found();
        let own = found.control_plane.clone().unwrap();
        assert_eq!((found.ca, own.signing), (CaFile::Old, SigningFiles::Own(RootCa::Old)));
        let manifest = disk.etc("manifests/kube-controller-manager.yaml");
        assert!(
            manifest
                .contains("cluster-signing-cert-file=/etc/kubernetes/pki/kubecertd-signing.crt")
        );
        disk.go_to(Trusted);
        assert_eq!(disk.front_proxy(), (CaFile::OldNew, old, vec![old]));
        let found = disk.found();
        assert_eq!((found.ca, &found.kubelet_trust), (CaFile::OldNew, &vec![TrustedRoots::Both]));
        assert!(
            found.control_plane.unwrap().kubeconfigs.iter().all(|one| *one == TrustedRoots::Both)
        );
        disk.go_to(Clients);
        assert_eq!(disk.front_proxy(), (CaFile::OldNew, old, vec![old]));
        let by_new = Chain { issuer: RootCa::New, bridge: true };
        let found = disk.found();
        let own = found.control_plane.unwrap();
        assert_eq!((found.kubelet_client, own.ca_key), (by_new, RootCa::Old));
        assert!(own.clients.iter().all(|one| *one == by_new), "{:?}", own.clients);
        assert!(own.servers.iter().all(|one| one.issuer == RootCa::Old));
        disk.go_to(Servers);
        assert_eq!(disk.front_proxy(), (CaFile::NewOld, new, vec![new]));
        let found = disk.found();
        let own = found.control_plane.unwrap();
        assert_eq!((found.ca, own.ca_key), (CaFile::NewOld, RootCa::New));
        assert!(own.servers.iter().all(|one| *one == by_new), "{:?}", own.servers);
        disk.go_to(Distrusted);
        assert_eq!(disk.front_proxy(), (CaFile::New, new, vec![new]));
        let found = disk.found();
        let own = found.control_plane.unwrap();
        assert_eq!((found.ca, own.signing), (CaFile::New, SigningFiles::CaFiles));
        let alone = Chain { issuer: RootCa::New, bridge: false };
        assert!(own.clients.iter().chain(&own.servers).all(|one| *one == alone));
        assert_eq!(found.kubelet_client, alone);
        assert!(own.kubeconfigs.iter().all(|one| *one == TrustedRoots::New));
        let manifest = disk.etc("manifests/kube-controller-manager.yaml");
        assert!(manifest.contains("cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt"));
        disk.assert_no_root_key_in_backups();
    }
}

/// The other key would be lost: no backup holds it.
#[test]
fn ca_key_is_replaced_only_where_the_other_one_is_kept() {
    use RotationLevel::{Clients, Servers, Staged, Trusted};
    let disk = Disk::of(TREES[0]);
    [Staged, Trusted, Clients].into_iter().for_each(|level| drop(disk.go_to(level)));
    let files = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key"];
    let files = files.map(|file| format!("pki/{file}"));
    let before = files.each_ref().map(|file| disk.etc(file));
    let mut rotation = disk.rotation(Servers);
    (rotation.keys.old, rotation.front_proxy_keys.old) = (None, None);
    for (swap, named) in [
        (RotationStep::SwapCa(CaFile::NewOld, RootCa::New), "old root CA"),
        (RotationStep::SwapFrontProxyCa(CaFile::NewOld, RootCa::New), "old CA of the front proxy"),
    ] {
        let refused = in_pass(&disk.node(), |pass| pass.make_step(&rotation, swap).unwrap_err());
        let expected = format!("the key of the {named} is not on this node");
        assert!(refused.contains(&expected), "{refused}");
    }
    assert_eq!(files.each_ref().map(|file| disk.etc(file)), before);
}

#[test]
fn files_go_back_from_each_level_to_what_they_were() {
    use RotationLevel::{Clients, Distrusted, Rest, Servers, Staged, Trusted};
    let levels = [Staged, Trusted, Clients, Servers, Distrusted];
    for last in 0..levels.len() {
        let mut disk = Disk::of(TREES[last % 2]);
        let files = [
            "pki/ca.crt",
            "pki/ca.key",
            "pki/front-proxy-ca.crt",
            "pki/front-proxy-ca.key",
            "manifests/kube-controller-manager.yaml",
        ];
        let before = files.map(|file| disk.etc(file));
        levels.iter().take(last + 1).for_each(|level| drop(disk.go_to(*level)));
        if levels[last] == Distrusted {
            let (old, new) = (&disk.intent.old, &disk.intent.new);
            disk.intent.bridge_back = Some(bridge_of(old, new, &disk.new));
        }
        for level in levels.iter().take(last).rev().chain([&Rest]) {
            disk.go_to(*level);
        }
        assert_eq!(files.map(|file| disk.etc(file)), before);
        assert_eq!(disk.front_proxy().2, [RootCa::Old]);
        let found = disk.found();
        let own = found.control_plane.unwrap();
        assert!(own.clients.iter().chain(&own.servers).all(|one| one.issuer == RootCa::Old));
        assert_eq!(found.kubelet_trust, [TrustedRoots::Old]);
        assert!(own.kubeconfigs.iter().all(|one| *one == TrustedRoots::Old));
    }
}

#[test]
fn another_root_or_issuer_is_interference() {
    let disk = Disk::of(TREES[0]);
    let lifetime = RootLifetime { now: NOW, tolerated_skew: days(1), validity: days(3_650) };
    let third = new_root(&disk.intent.old.subject, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
    let trouble = || {
        let node = disk.node();
        let files = ObservedFiles::of(&node.root);
        find_rotation(&node, &files, &disk.intent, None).unwrap_err().to_string()
    };
    let ca = disk.dir.path().join("etc/kubernetes/pki/ca.crt");
    let before = std::fs::read_to_string(&ca).unwrap();
    std::fs::write(&ca, before.clone() + &third.certificate.to_pem()).unwrap();
    assert!(trouble().starts_with("/etc/kubernetes/pki/ca.crt: "), "{}", trouble());
    std::fs::write(&ca, &before).unwrap();
    let apiserver = disk.dir.path().join("etc/kubernetes/pki/apiserver.crt");
    let old = crate::formats::x509::certificates(&std::fs::read(&apiserver).unwrap()).unwrap();
    let (foreign, _) = passing_certificate(&old[0], &third.certificate, &third.key, NOW).unwrap();
    std::fs::write(&apiserver, foreign.to_pem()).unwrap();
    // Its key does not fit: the renewal of the pass repairs or reports it.
    assert!(disk.found().control_plane.unwrap().servers.is_empty());
    let manifest = disk.dir.path().join("etc/kubernetes/manifests/kube-controller-manager.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let other = text.replace(
        "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
        "--cluster-signing-cert-file=/etc/kubernetes/pki/ca_new.crt",
    );
    assert_ne!(text, other);
    std::fs::write(&manifest, other).unwrap();
    assert!(trouble().contains("ca_new.crt"), "{}", trouble());
    std::fs::write(&manifest, text).unwrap();
    let front_proxy = disk.dir.path().join("etc/kubernetes/pki/front-proxy-ca.crt");
    std::fs::write(&front_proxy, third.certificate.to_pem()).unwrap();
    let expected = "/etc/kubernetes/pki/front-proxy-ca.crt: the certificate of ";
    assert!(trouble().starts_with(expected), "{}", trouble());
}
