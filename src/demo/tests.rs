use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::formats::kubeconfig::{Kubeconfig, PemSource};
use crate::formats::x509::{self, Certificate, Extension, KeyAlgorithm, certificates};
use crate::model::{Action, Judgement, days};
use crate::observe::{self, Config};
use crate::pass::{Survey, survey};
use crate::sys::Root;

const FIXTURE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kubeadm-1.36-ecdsa-p256");

/// 2026-12-01, when everything of the fixture is valid.
fn now() -> Timestamp {
    Timestamp::from_seconds(1_796_083_200)
}

fn built(plan: &NodePlan) -> (TempDir, DemoNode) {
    let dir = tempfile::tempdir().unwrap();
    let node = DemoNode::build(dir.path(), now(), plan).unwrap();
    (dir, node)
}

fn read(root: &Path, file: &str) -> Vec<u8> {
    std::fs::read(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn text(root: &Path, file: &str) -> String {
    String::from_utf8(read(root, file)).unwrap()
}

fn mode(root: &Path, file: &str) -> u32 {
    root.join(file).metadata().unwrap().permissions().mode() & 0o7777
}

/// The certificate and key of an entry, from wherever they live. The fixture's kubelet has its own
/// embedded still.
fn pair_of(root: &Path, entry: &CredentialEntry) -> (Certificate, PrivateKey) {
    let (certificate, key) = match &entry.place {
        CredentialFiles::Pair(files) => {
            (read(root, &format!("{files}.crt")), read(root, &format!("{files}.key")))
        }
        CredentialFiles::Kubeconfig { file, .. } => embedded(root, file),
        CredentialFiles::KubeletBundle if root == Path::new(FIXTURE) => {
            embedded(root, table::KUBELET_CONF)
        }
        CredentialFiles::KubeletBundle => {
            let target = root.join(table::KUBELET_LINK).read_link().unwrap();
            let bundle = read(root, target.to_str().unwrap().trim_start_matches('/'));
            (bundle.clone(), bundle)
        }
    };
    (certificates(&certificate).unwrap().remove(0), PrivateKey::from_pem(&key).unwrap())
}

fn embedded(root: &Path, file: &str) -> (Vec<u8>, Vec<u8>) {
    let client = Kubeconfig::parse(&read(root, file)).unwrap().user.client;
    let (PemSource::Embedded(certificate), PemSource::Embedded(key)) =
        (client.certificate, client.key)
    else {
        panic!("{file}")
    };
    (certificate.expose().to_vec(), key.expose().to_vec())
}

fn authority_of(root: &Path, name: &str) -> Certificate {
    let entry = table::AUTHORITIES.iter().find(|entry| entry.name == name).unwrap();
    certificates(&read(root, &format!("{}.crt", entry.files))).unwrap().remove(0)
}

/// The extensions without regard to their order, and without the values of the two that identify
/// keys.
fn shape(certificate: &Certificate) -> Vec<(String, bool, Vec<u8>)> {
    const KEY_IDENTIFIERS: [&str; 2] = ["2.5.29.14", "2.5.29.35"];
    let one = |extension: &Extension| {
        let oid = extension.oid.to_id_string();
        let value = if KEY_IDENTIFIERS.contains(&oid.as_str()) {
            Vec::new()
        } else {
            extension.value.clone()
        };
        (oid, extension.critical, value)
    };
    let mut shape: Vec<_> = certificate.extensions.iter().map(one).collect();
    shape.sort();
    shape
}

// ---- the node as kubeadm would have made it ----

#[test]
fn leaves_equal_kubeadms() {
    let plan = NodePlan::everything(Life::Days(200));
    let (dir, _) = built(&plan);
    assert_eq!(plan.credentials().count(), 12);
    for entry in plan.credentials() {
        let (ours, key) = pair_of(dir.path(), entry);
        let (theirs, _) = pair_of(Path::new(FIXTURE), entry);
        assert_eq!(ours.subject, theirs.subject, "{}", entry.name);
        assert_eq!(shape(&ours), shape(&theirs), "{}", entry.name);
        assert_eq!(ours.names(), theirs.names(), "{}", entry.name);
        assert_eq!(ours.extended_key_usage, theirs.extended_key_usage, "{}", entry.name);
        let authority = authority_of(dir.path(), entry.authority);
        assert!(ours.is_signed_by(&authority) && key.fits(&ours), "{}", entry.name);
        assert_eq!(
            ours.authority_key_identifier, authority.subject_key_identifier,
            "{}",
            entry.name
        );
        assert_eq!(ours.not_after, now().plus(days(200)), "{}", entry.name);
        assert_eq!(
            ours.not_after.seconds_since(ours.not_before),
            365 * 86_400 + 300,
            "{}",
            entry.name
        );
    }
}

#[test]
fn authorities_equal_kubeadms() {
    let plan = NodePlan::everything(Life::Days(200));
    let (dir, _) = built(&plan);
    for entry in plan.authorities() {
        let ours = authority_of(dir.path(), entry.name);
        let theirs = authority_of(Path::new(FIXTURE), entry.name);
        assert_eq!((&ours.subject, &ours.issuer), (&theirs.subject, &theirs.issuer));
        assert_eq!(shape(&ours), shape(&theirs), "{}", entry.name);
        assert!(ours.is_self_signed() && ours.is_authority && ours.may_sign);
        assert_eq!(ours.not_after.seconds_since(ours.not_before), 3_650 * 86_400 + 300);
        assert!(
            PrivateKey::from_pem(&read(dir.path(), &format!("{}.key", entry.files)))
                .unwrap()
                .fits(&ours)
        );
    }
}

#[test]
fn kubeconfigs_equal_kubeadms_except_for_data() {
    let (dir, _) = built(&NodePlan::everything(Life::Days(200)));
    let lines = |root: &Path, file: &str| {
        let line = |line: &str| {
            line.split_once("-data: ").map_or(line.to_owned(), |(key, _)| key.to_owned())
        };
        text(root, file).lines().map(line).collect::<Vec<_>>()
    };
    for file in ["admin", "super-admin", "controller-manager", "scheduler"]
        .map(|name| format!("etc/kubernetes/{name}.conf"))
    {
        assert_eq!(lines(dir.path(), &file), lines(Path::new(FIXTURE), &file), "{file}");
    }
}

#[test]
fn manifests_equal_kubeadms() {
    let (dir, _) = built(&NodePlan::everything(Life::Days(200)));
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let file = format!("etc/kubernetes/manifests/{name}.yaml");
        let [ours, theirs] = [dir.path(), Path::new(FIXTURE)]
            .map(|root| serde_saphyr::from_str::<serde_json::Value>(&text(root, &file)).unwrap());
        assert_eq!(ours, theirs, "{file}");
    }
}

#[test]
fn file_modes_equal_kubeadms() {
    let (dir, _) = built(&NodePlan::every_state());
    for file in [
        "pki/ca.key",
        "pki/etcd/peer.key",
        "pki/sa.key",
        "pki/sa.pub",
        "scheduler.conf",
        "kubelet.conf",
        "manifests/etcd.yaml",
    ] {
        assert_eq!(mode(dir.path(), &format!("etc/kubernetes/{file}")), 0o600, "{file}");
    }
    for file in ["ca.crt", "apiserver.crt", "etcd/healthcheck-client.crt"] {
        assert_eq!(mode(dir.path(), &format!("etc/kubernetes/pki/{file}")), 0o644, "{file}");
    }
}

#[test]
fn kubelet_has_a_dated_file_and_an_absolute_link_to_it() {
    let (dir, _) = built(&NodePlan::everything(Life::Days(-1)));
    let target = dir.path().join(table::KUBELET_LINK).read_link().unwrap();
    // Made 165 days before 1 December, and five minutes.
    assert_eq!(
        target.to_str().unwrap(),
        "/var/lib/kubelet/pki/kubelet-client-2026-06-18-23-55-00.pem"
    );
    assert_eq!(mode(dir.path(), target.to_str().unwrap().trim_start_matches('/')), 0o600);
    let conf = text(dir.path(), table::KUBELET_CONF);
    assert!(conf.contains("client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n"));
    assert!(conf.contains("client-key: /var/lib/kubelet/pki/kubelet-client-current.pem\n"));
}

#[test]
fn service_account_key_is_a_pair() {
    let (dir, _) = built(&NodePlan::everything(Life::Absent));
    let key = PrivateKey::from_pem(&read(dir.path(), "etc/kubernetes/pki/sa.key")).unwrap();
    let public = pem::blocks(&read(dir.path(), "etc/kubernetes/pki/sa.pub")).unwrap().remove(0);
    assert_eq!((public.label.as_str(), public.der.expose()), ("PUBLIC KEY", key.public_key_der()));
}

#[test]
fn keys_have_the_requested_kind_and_kubeadms_label() {
    let label = |root: &Path| {
        pem::blocks(&read(root, "etc/kubernetes/pki/apiserver.key")).unwrap().remove(0).label
    };
    for (algorithm, expected) in
        [(KeyAlgorithm::EcdsaP384, "EC PRIVATE KEY"), (KeyAlgorithm::Rsa2048, "RSA PRIVATE KEY")]
    {
        let plan = NodePlan::everything(Life::Days(200)).with_key(algorithm.clone());
        let (dir, _) = built(&plan);
        assert_eq!(label(dir.path()), expected);
        for entry in plan.credentials() {
            let (certificate, key) = pair_of(dir.path(), entry);
            assert_eq!(certificate.key_algorithm, algorithm);
            assert!(
                key.fits(&certificate)
                    && certificate.is_signed_by(&authority_of(dir.path(), entry.authority))
            );
        }
    }
}

// ---- the states ----

/// Looks at the node as `check` does, and compares with what it says of itself.
fn assert_found_as_intended(dir: &TempDir, node: &DemoNode) -> Survey {
    let opened = observe::Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    let found = survey(&opened, now());
    for (name, intended) in &node.authorities {
        let (_, judgement) = found
            .authorities
            .iter()
            .find(|(facts, _)| facts.authority.name.as_str() == *name)
            .unwrap();
        assert_eq!((*name, judgement.condition), (*name, *intended), "{}", judgement.reason);
    }
    assert_eq!(found.authorities.len(), node.authorities.len());
    for (name, intended) in &node.credentials {
        let judgement = judgement(&found, name);
        assert_eq!((*name, judgement.condition), (*name, *intended), "{}", judgement.reason);
    }
    // The one more is the certificate that kubelet serves with, which is not on this node.
    assert_eq!(found.credentials.len(), node.credentials.len() + 1);
    found
}

fn judgement<'s>(survey: &'s Survey, name: &str) -> &'s Judgement {
    &survey
        .credentials
        .iter()
        .find(|judged| judged.facts.credential.name.as_str() == name)
        .unwrap()
        .judgement
}

#[test]
fn every_lifetime_is_found_in_its_state() {
    let broken =
        [Life::Absent, Life::KeyMissing, Life::CertificateMissing, Life::Mismatched, Life::Damaged];
    let whole = [Life::ForeignIssuer, Life::SelfSigned, Life::NotYetValid];
    let days = [i64::MIN, -700, -1, 0, 1, 3, 4, 15, 16, 365, 2_999, i64::MAX].map(Life::Days);
    for life in broken.into_iter().chain(whole).chain(days) {
        let plan = NodePlan::everything(life).with("kubelet-client", life);
        let (dir, node) = built(&plan);
        assert_found_as_intended(&dir, &node);
    }
}

#[test]
fn authority_lifetimes_affect_their_credentials() {
    use AuthorityLife::{Days, External, KeyUnusable};
    for authority in [Days(-2), Days(0), Days(10), Days(11), Days(400), External, KeyUnusable] {
        let plan = NodePlan::everything(Life::Days(10))
            .with("admin.conf", Life::Days(-3))
            .with_authority("ca", authority);
        let (dir, node) = built(&plan);
        assert_found_as_intended(&dir, &node);
    }
}

#[test]
fn demonstration_has_every_state() {
    let (dir, node) = built(&NodePlan::every_state());
    let found = assert_found_as_intended(&dir, &node);
    use Condition::{Absent, Damaged, Due, Expired, ForeignIssuer, Fresh, Mismatched, Urgent};
    for wanted in [Absent, Damaged, Due, Expired, ForeignIssuer, Fresh, Mismatched, Urgent] {
        assert!(node.credentials.iter().any(|(_, found)| *found == wanted), "{wanted}");
    }
    assert!(node.authorities.contains(&("webhook-ca", AuthorityCondition::External)));
    let action = |name: &str| judgement(&found, name).action;
    assert_eq!(action("apiserver-etcd-client"), Action::Renew);
    assert_eq!(action("etcd/healthcheck-client"), Action::Make);
    assert_eq!((action("webhook"), action("metrics")), (Action::Report, Action::Report));
}

#[test]
fn configuration_lists_the_operators_entries() {
    let (dir, _) = built(&NodePlan::every_state());
    let found: toml::Table = text(dir.path(), "etc/kubecertd/kubecertd.toml").parse().unwrap();
    let expected = toml::toml! {
        [[ca]]
        name = "webhook-ca"
        certificate = "/etc/webhook/ca.crt"
        key = "/etc/webhook/ca.key"

        [[credential]]
        name = "webhook"
        ca = "webhook-ca"
        certificate = "/etc/webhook/tls.crt"
        key = "/etc/webhook/tls.key"

        [[credential]]
        name = "metrics"
        ca = "ca"
        certificate = "/etc/metrics/tls.crt"
        key = "/etc/metrics/tls.key"
    };
    assert_eq!(found, expected);
}

#[test]
fn plain_kubeadm_node_has_no_operator_entries() {
    let (dir, _) = built(&NodePlan::everything(Life::Days(200)));
    assert!(!dir.path().join("etc/kubecertd").exists() && !dir.path().join("etc/webhook").exists());
}

// ---- requests ----

#[test]
fn request_is_signed_by_external_ca_for_its_key() {
    let (dir, node) = built(&NodePlan::every_state());
    let entry = table::CREDENTIALS.iter().find(|entry| entry.name == "webhook").unwrap();
    let (old, old_key) = pair_of(dir.path(), entry);
    let new_key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    let request = x509::request(&old, &new_key).unwrap();

    let signed = node.sign_request("webhook", request.as_bytes(), now()).unwrap();
    let signed = certificates(signed.as_bytes()).unwrap().remove(0);
    assert!(signed.is_signed_by(&authority_of(dir.path(), "webhook-ca")));
    assert!(new_key.fits(&signed) && !old_key.fits(&signed));
    assert_eq!((&signed.subject, shape(&signed)), (&old.subject, shape(&old)));
    assert_eq!(signed.not_after, now().plus(days(365)));
}

#[test]
fn damaged_request_and_unknown_name_are_refused() {
    let (_dir, node) = built(&NodePlan::every_state());
    let signed = |name: &str, request: &[u8]| node.sign_request(name, request, now());
    assert!(matches!(signed("other", b""), Err(DemoError::UnknownName(_))));
    let no_request = pem::encode("CERTIFICATE REQUEST", b"\x30\x00");
    for damaged in [b"".as_slice(), no_request.as_bytes()] {
        assert!(matches!(signed("webhook", damaged), Err(DemoError::Request(_))));
    }
}

// ---- refusals ----

#[test]
fn directory_that_is_not_empty_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".hidden"), "mine").unwrap();
    let refused = DemoNode::build(dir.path(), now(), &NodePlan::every_state());
    assert!(matches!(refused, Err(DemoError::NotEmpty(_))), "{refused:?}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
}

#[test]
fn missing_directory_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(
        DemoNode::build(&missing, now(), &NodePlan::every_state()),
        Err(DemoError::Directory { .. })
    ));
    assert!(!missing.exists());
}

#[test]
fn unknown_name_is_refused_before_writing() {
    let plan = |name: &str| NodePlan::everything(Life::Days(200)).with(name, Life::Absent);
    let wrong = [
        plan("etcd-peer"),
        plan("webhook"),
        NodePlan::every_state().with_authority("apiserver", AuthorityLife::External),
    ];
    for plan in wrong {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            DemoNode::build(dir.path(), now(), &plan),
            Err(DemoError::UnknownName(_))
        ));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
