//! The steps of a rotation of the root CA are interrupted. At every moment each certificate has its
//! key, and is accepted by `ca.crt`; and the next pass goes on.

use std::fs;

use kubecertd::credentials::load_authority;
use kubecertd::formats::rotation_intent::{CaPair, RotationIntent};
use kubecertd::formats::x509::{
    Certificate, KeyAlgorithm, NewRoot, PrivateKey, RootLifetime, bridge, certificates, new_root,
};
use kubecertd::model::{AbsolutePath, Agreement, ReplacedCa, RootCa, RotationLevel, days};
use kubecertd::observe::{Node as Observed, issued_by_ca};
use kubecertd::state::{KeptRotation, rotation_key};
use kubecertd::sys::Root;

use crate::common::requirements::{ROOT, require};
use crate::common::{CA_CRT, CA_KEY, ECDSA, Node, STATE, now, terms_with_days_left};
use crate::points::{Point, list_points};
use crate::strace::{Call, inject, record_ending_with, run_on_each_core};
use crate::tree::{TreeCopy, copy_of, empty_tree};

const FRONT_PROXY_CRT: &str = "etc/kubernetes/pki/front-proxy-ca.crt";
const FRONT_PROXY_KEY: &str = "etc/kubernetes/pki/front-proxy-ca.key";
const SIGNING_CRT: &str = "etc/kubernetes/pki/kubecertd-signing.crt";
const SIGNING_KEY: &str = "etc/kubernetes/pki/kubecertd-signing.key";
const MANIFEST: &str = "etc/kubernetes/manifests/kube-controller-manager.yaml";

/// A node that is to have the level `servers`, and has nothing of a rotation yet.
fn rotating() -> (TreeCopy, RotationIntent) {
    let tree = empty_tree();
    let node = &tree.node;
    node.fill(&crate::common::fixture(ECDSA));
    node.backdate_manifests();
    let old = certificates(&node.read(CA_CRT)).unwrap().remove(0);
    let old_key = PrivateKey::from_pem(&node.read(CA_KEY)).unwrap();
    let lifetime = RootLifetime { now: now(), tolerated_skew: days(1), validity: days(3_650) };
    let NewRoot { certificate: new, key } =
        new_root(&old.subject, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
    let terms = terms_with_days_left(900);
    let bridge = bridge(&new, &old, &old_key, &terms, now()).unwrap();
    let front_proxy = certificates(&node.read(FRONT_PROXY_CRT)).unwrap().remove(0);
    let front_proxy_key = PrivateKey::from_pem(&node.read(FRONT_PROXY_KEY)).unwrap();
    let NewRoot { certificate: new_front_proxy, key: new_front_proxy_key } =
        new_root(&front_proxy.subject, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
    let intent = RotationIntent {
        cluster: "1e5b".to_owned(),
        old,
        new,
        bridge: Some(Certificate::from_der(&bridge).unwrap()),
        bridge_back: None,
        others: Vec::new(),
        front_proxy: Some(CaPair { old: front_proxy, new: new_front_proxy }),
        agreement: Agreement {
            generation: 4,
            from: RotationLevel::Clients,
            to: RotationLevel::Servers,
        },
        goal: RotationLevel::Servers,
        is_stepwise: false,
        paused: None,
        without: Vec::new(),
        started: now(),
        operator: "root@cp1".to_owned(),
    };
    let signed = intent.sign(&[&old_key]).unwrap();
    let state = AbsolutePath::new(format!("/{STATE}")).unwrap();
    let root = Root::open(node.root()).unwrap();
    let kept = KeptRotation { generation: 4, intent: Some(signed), ..KeptRotation::default() };
    kept.write(&root, &state).unwrap();
    for (ca, root, key) in [
        (ReplacedCa::Root, RootCa::Old, &old_key),
        (ReplacedCa::Root, RootCa::New, &key),
        (ReplacedCa::FrontProxy, RootCa::Old, &front_proxy_key),
        (ReplacedCa::FrontProxy, RootCa::New, &new_front_proxy_key),
    ] {
        let file = rotation_key(&state, ca, root).to_string();
        node.write(file.trim_start_matches('/'), key.to_pem().unwrap().expose());
    }
    (tree, intent)
}

/// What holds at every moment, the process having been killed.
fn assert_invariants(node: &Node, intent: &RotationIntent, case: &str) {
    let key = PrivateKey::from_pem(&node.read(CA_KEY)).unwrap();
    let anchors = certificates(&node.read(CA_CRT)).unwrap();
    assert!(anchors.iter().any(|one| key.fits(one)), "{case}: ca.key fits nothing in ca.crt");
    assert!(anchors.iter().all(|one| [&intent.old, &intent.new].contains(&one)), "{case}");
    let pair = intent.front_proxy.as_ref().unwrap();
    let anchors = certificates(&node.read(FRONT_PROXY_CRT)).unwrap();
    let key = PrivateKey::from_pem(&node.read(FRONT_PROXY_KEY)).unwrap();
    assert!(anchors.iter().any(|one| key.fits(one)), "{case}: front-proxy-ca.key fits nothing");
    assert!(pair.file(&anchors).is_some(), "{case}: front-proxy-ca.crt");
    // Two certificates to sign with would stop kube-controller-manager.
    if node.text(MANIFEST).contains("kubecertd-signing.crt") {
        let signing = certificates(&node.read(SIGNING_CRT)).unwrap();
        let key = PrivateKey::from_pem(&node.read(SIGNING_KEY)).unwrap();
        assert!(signing.len() == 1 && key.fits(&signing[0]), "{case}: signing files");
    } else {
        assert_eq!(anchors.len(), 1, "{case}: a bundle to sign with");
    }
}

/// What holds once the interrupted transaction is completed.
fn assert_accepted(node: &Node, case: &str) {
    let observed: Observed = node.observe();
    let usable = node.usable_credentials();
    let (root, front_proxy) =
        (observed.catalog.root_authority(), observed.catalog.front_proxy_authority());
    for authority in [root.unwrap(), front_proxy.unwrap()] {
        let loaded = load_authority(&observed.root, authority);
        for credential in issued_by_ca(&observed.catalog, authority) {
            let Some(stored) = usable.get(credential.name.as_str()) else { continue };
            let chain = loaded.chain_to_anchor(&stored.certificate, &stored.further, now());
            assert!(chain.is_some(), "{case}: {} is not accepted", credential.name);
        }
    }
}

#[test]
fn rotation_survives_kill_at_every_rename_and_removal() {
    require!(ROOT, "strace", "taskset");
    let (tree, intent) = rotating();
    // kubelet's certificate is the cluster's to sign, so that a pass ends before it.
    let codes = [0, 1, 3, 4];
    let recorded = copy_of(&tree.node);
    let calls = record_ending_with(recorded.node.root(), &["renew"], &codes);
    let finished = |node: &Node| {
        let anchors = certificates(&node.read(CA_CRT)).unwrap();
        let chain = &node.usable_credentials()["apiserver"];
        anchors == [intent.new.clone(), intent.old.clone()]
            && chain.certificate.verifies_by(&intent.new)
            && chain.further.iter().eq(&intent.bridge)
            && node.usable_credentials()["front-proxy-client"]
                .certificate
                .verifies_by(&intent.front_proxy.as_ref().unwrap().new)
    };
    assert!(finished(&recorded.node));
    let wanted = |call: &Call| ["renameat", "renameat2", "unlinkat"].contains(&call.name.as_str());
    let points = list_points(&calls, &recorded.node, wanted);
    assert!(points.len() > 20, "{}", points.len());
    run_on_each_core(&points, |Point { call, number, .. }, core| {
        let case = format!("rotation, killed at {call} {number}");
        let copy = copy_of(&tree.node);
        let run = inject(copy.node.root(), call, *number, "signal=KILL", core);
        assert_eq!(run.code, None, "{case}: it was not killed: {}", run.text);
        // A transaction of several files is completed by the next start.
        let _ = copy.node.run(&["check"]);
        let run = copy.node.run(&["renew"]);
        assert!(codes.contains(&run.code), "{case}: {}", run.text);
        assert_invariants(&copy.node, &intent, &case);
        assert_accepted(&copy.node, &case);
        assert!(finished(&copy.node), "{case}: {}", run.text);
        assert!(copy.node.dot_files().is_empty(), "{case}: {:?}", copy.node.dot_files());
        let key = fs::metadata(copy.node.path(SIGNING_KEY)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&key) & 0o777, 0o600, "{case}");
    });
    println!("rotation: killed at {} points", points.len());
}
