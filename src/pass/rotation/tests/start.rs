//! The beginning of a rotation: what is refused, and what is written.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::site::{OBJECT, ROLES, Site, agreement, object_of};
use super::*;
use crate::cluster::tests::local;
use crate::credentials::SuppliedRoot;
use crate::formats::kubeconfig::splice_authority;
use crate::formats::x509::{DistinguishedName, NamePart, renew_root};
use crate::observe::ControllerManager;
use crate::pass::rotation::order::OrderError;
use crate::pass::rotation::start::{Replacement, StartOrder, start};

use RotationLevel::{Rest, Servers, Staged};

const RBAC: &str = "/apis/rbac.authorization.k8s.io";

fn order(replacement: Replacement) -> StartOrder {
    let operator = "root@cp1".to_owned();
    StartOrder { replacement, is_stepwise: false, operator, trust_clock: true }
}

pub(super) fn made() -> StartOrder {
    order(Replacement::Made(None))
}

fn supplied(certificate: Certificate, key: Option<PrivateKey>) -> StartOrder {
    order(Replacement::Supplied(Box::new(SuppliedRoot { certificate, key }), false))
}

async fn started_at(
    site: &Site,
    order: StartOrder,
    now: Timestamp,
) -> Result<RotationIntent, OrderError> {
    site.on_node(move |node| start(node, order, now).map(|started| started.intent)).await
}

pub(super) async fn started(site: &Site, order: StartOrder) -> Result<RotationIntent, OrderError> {
    started_at(site, order, NOW).await
}

async fn refusal(site: &Site, order: StartOrder) -> String {
    started(site, order).await.unwrap_err().to_string()
}

fn named(name: &str) -> DistinguishedName {
    DistinguishedName::from_parts(&[(NamePart::CommonName, name)]).unwrap()
}

pub(super) fn root_named(name: &str) -> NewRoot {
    let lifetime = RootLifetime { now: NOW, tolerated_skew: days(1), validity: days(3_650) };
    new_root(&named(name), &KeyAlgorithm::EcdsaP256, &lifetime).unwrap()
}

pub(super) fn etc(site: &Site, file: &str) -> PathBuf {
    site.disk.dir.path().join("etc/kubernetes").join(file)
}

/// Nothing of a rotation is in the cluster or on the node.
fn assert_untouched(site: &Site) {
    assert!(site.cluster.objects.at(OBJECT).is_none());
    assert!(ROLES.iter().all(|path| site.cluster.objects.at(path).is_none()));
    assert_eq!(site.kept(), KeptRotation::default());
    assert!(!site.key_file(RootCa::Old).exists() && !site.key_file(RootCa::New).exists());
}

#[tokio::test(flavor = "current_thread")]
async fn keys_object_role_and_kept_intent_are_written() {
    local(async {
        let site = Site::new().await;
        site.keep(4, None);
        let intent = started(&site, made()).await.unwrap();
        for (root, key) in [(RootCa::Old, &site.disk.old), (RootCa::New, &site.disk.new)] {
            let file = site.key_file(root);
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{}", file.display());
            let found = PrivateKey::from_pem(&std::fs::read(&file).unwrap()).unwrap();
            assert_eq!(found.public_key_der(), intent.root(root).public_key_der());
            assert_eq!(found.public_key_der() == key.public_key_der(), root == RootCa::Old);
        }
        assert!(ROLES.iter().all(|path| site.cluster.objects.at(path).is_some()));
        assert_eq!(site.intent_of_cluster().as_ref(), Some(&intent));
        // A node that was installed again remembers no earlier one.
        let generation = u64::try_from(NOW.seconds()).unwrap();
        let kept = (site.kept().generation, site.kept_intent());
        assert_eq!(kept, (generation, Some(intent.clone())));
        assert_eq!((intent.cluster.as_str(), intent.operator.as_str()), ("1e5b", "root@cp1"));
        assert_eq!((intent.agreement, intent.goal), (agreement(generation, Rest, Rest), Servers));
        assert_eq!((&intent.paused, intent.is_stepwise), (&None, false));
        assert_eq!(intent.new.subject, intent.old.subject);
        assert_eq!(intent.old, site.disk.intent.old);
        assert!(intent.bridge.as_ref().unwrap().is_signed_by(&intent.old));
        assert_eq!(intent.bridge_back, None);
        assert!(matches!(started(&site, made()).await, Err(OrderError::UnderWay)));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn stepwise_start_goes_to_first_level_with_its_subject() {
    local(async {
        let site = Site::new().await;
        let order =
            StartOrder { is_stepwise: true, ..order(Replacement::Made(Some(named("another")))) };
        let intent = started(&site, order).await.unwrap();
        assert_eq!((intent.goal, intent.is_stepwise), (Staged, true));
        assert_eq!(intent.new.subject, named("another"));
        assert_eq!(intent.bridge.unwrap().subject, named("another"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn rotation_under_way_on_the_node_or_in_the_cluster_is_refused() {
    local(async {
        let site = Site::new().await;
        let signed = site.put_intent(&site.intent(agreement(3, Rest, Staged), Servers));
        assert!(matches!(started(&site, made()).await, Err(OrderError::UnderWay)));
        assert_eq!(site.kept(), KeptRotation::default());
        assert!(!site.key_file(RootCa::New).exists());
        let site = Site::new().await;
        site.keep(3, Some(signed));
        assert!(matches!(started(&site, made()).await, Err(OrderError::UnderWay)));
        assert!(site.cluster.objects.at(OBJECT).is_none());
        // What is kept and can't be read may be a rotation.
        let site = Site::new().await;
        let file = rotation_file(&site.node().settings.paths.state);
        std::fs::create_dir_all(site.path(&file).parent().unwrap()).unwrap();
        std::fs::write(site.path(&file), "{").unwrap();
        assert!(matches!(started(&site, made()).await, Err(OrderError::NotReady(_))));
        assert!(site.cluster.objects.at(OBJECT).is_none());
    })
    .await;
}

/// Each failure leaves what comes after it unwritten.
#[tokio::test(flavor = "current_thread")]
async fn failure_leaves_no_kept_intent() {
    local(async {
        // The keys can't be written.
        let site = Site::new().await;
        let dir = site.key_file(RootCa::Old).parent().unwrap().to_owned();
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        std::fs::write(&dir, "").unwrap();
        started(&site, made()).await.unwrap_err();
        assert_untouched(&site);
        // The role is refused.
        let site = Site::new().await;
        site.cluster.objects.refuse(RBAC, 403);
        let error = refusal(&site, made()).await;
        assert!(error.starts_with("Role kube-system/kubecertd-root-ca: "), "{error}");
        assert!(site.key_file(RootCa::New).exists());
        assert_eq!((site.intent_of_cluster(), site.kept()), (None, KeptRotation::default()));
        // The object is refused, and then there is one of another node.
        let site = Site::new().await;
        let node = site.node();
        let api = kept::administrator_api(&node).await.unwrap();
        api.publish_role().await.unwrap();
        site.cluster.objects.before_write(|all| all.refuse_writes.set(Some(403)));
        let error = refusal(&site, made()).await;
        assert!(error.starts_with("ConfigMap kube-system/kubecertd-root-ca: "), "{error}");
        assert_eq!((site.intent_of_cluster(), site.kept()), (None, KeptRotation::default()));
        site.cluster.objects.refuse_writes.set(None);
        let other = site.intent(agreement(1, Rest, Rest), Servers);
        let signed = other.sign(&[&site.disk.old, &site.disk.new]).unwrap();
        site.cluster.objects.before_write(move |all| all.put_at(OBJECT, object_of(&signed)));
        assert!(matches!(started(&site, made()).await, Err(OrderError::UnderWay)));
        assert_eq!((site.intent_of_cluster(), site.kept()), (Some(other), KeptRotation::default()));
        // The key of the root that came too late is none of the other rotation.
        let followed = site
            .in_pass(|pass| {
                let found = block_on(find::of_cluster(pass.node)).ok();
                pass.follow(found).unwrap().unwrap()
            })
            .await;
        assert!(followed.keys.old.is_some() && followed.keys.new.is_none());
        // And one that failed on its way begins once more.
        let site = Site::new().await;
        site.cluster.objects.refuse(RBAC, 403);
        started(&site, made()).await.unwrap_err();
        site.cluster.objects.refuse("/none", 403);
        started(&site, made()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn present_root_that_can_not_be_replaced_is_refused() {
    local(async {
        let site = Site::new().await;
        let (file, key) = (etc(&site, "pki/ca.crt"), etc(&site, "pki/ca.key"));
        let (old, third) = (&site.disk.intent.old, root_named("third"));
        let bundle = old.to_pem() + &third.certificate.to_pem();
        let intermediate = bridge_of(old, &third.certificate, &third.key);
        for (content, expected) in [
            (bundle, "/etc/kubernetes/pki/ca.crt: it holds several CA certificates"),
            (intermediate.to_pem(), "/etc/kubernetes/pki/ca.crt: it is an intermediate CA"),
            ("nothing".to_owned(), "/etc/kubernetes/pki/ca.crt: "),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = refusal(&site, made()).await;
            assert!(error.starts_with(expected), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        let error = refusal(&site, made()).await;
        assert_eq!(error, "/etc/kubernetes/pki/ca.crt: it does not exist");
        std::fs::write(&file, old.to_pem()).unwrap();
        let expired = old.not_after.plus(Duration::from_secs(1));
        let error = started_at(&site, made(), expired).await.unwrap_err().to_string();
        assert!(error.contains("it is not valid now"), "{error}");
        std::fs::write(&key, third.key.to_pem().unwrap().expose()).unwrap();
        let error = refusal(&site, made()).await;
        assert!(error.contains("/etc/kubernetes/pki/ca.key"), "{error}");
        std::fs::remove_file(&key).unwrap();
        let error = refusal(&site, made()).await;
        assert!(
            error.contains("its key /etc/kubernetes/pki/ca.key is not on this node"),
            "{error}"
        );
        assert_untouched(&site);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn node_that_is_not_ready_is_refused() {
    local(async {
        let site = Site::new().await;
        let manifest = etc(&site, "manifests/kube-controller-manager.yaml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let flag = "    - --cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt\n";
        assert!(text.contains(flag));
        let with = |other: &str| text.replace(flag, other);
        let per_usage = "cluster-signing-kube-apiserver-client-cert-file";
        let added = format!("{flag}    - --{per_usage}=/etc/kubernetes/pki/ca.crt\n");
        for (changed, expected) in [
            (with(&added), per_usage),
            (
                with("    - --cluster-signing-cert-file=/etc/kubernetes/pki/other.crt\n"),
                "other.crt",
            ),
        ] {
            std::fs::write(&manifest, changed).unwrap();
            let error = refusal(&site, made()).await;
            assert!(error.contains(expected), "{error}");
        }
        // The container sees other paths than the host, and a file that is mounted by itself.
        let elsewhere = text
            .replace("/etc/kubernetes/pki", "/pki")
            .replace("path: /pki", "path: /etc/kubernetes/pki");
        assert_ne!(elsewhere, text);
        std::fs::write(&manifest, &elsewhere).unwrap();
        site.on_node(move |node| {
            let authority = node.catalog.root_authority().unwrap();
            let values = ControllerManager::read(node, &node.root).unwrap();
            let values = values.signing_values(authority).unwrap();
            let own = ["/pki/kubecertd-signing.crt", "/pki/kubecertd-signing.key"];
            assert_eq!(values.own, own.map(str::to_owned));
        })
        .await;
        let alone = text.replace("mountPath: /etc/kubernetes/pki", "mountPath: /etc/kubernetes/x");
        std::fs::write(&manifest, alone).unwrap();
        let error = refusal(&site, made()).await;
        assert!(error.contains("/etc/kubernetes/"), "{error}");
        std::fs::write(&manifest, &text).unwrap();
        // Its server would not be trusted at the last level.
        let kubeconfig = etc(&site, "scheduler.conf");
        let before = std::fs::read(&kubeconfig).unwrap();
        let other = root_named("kubernetes").certificate.to_pem();
        let changed = splice_authority(&before, other.as_bytes()).unwrap();
        std::fs::write(&kubeconfig, changed.expose()).unwrap();
        let error = refusal(&site, made()).await;
        assert!(error.starts_with("/etc/kubernetes/scheduler.conf: it trusts"), "{error}");
        std::fs::write(&kubeconfig, before).unwrap();
        // One that is only watched would be lost at the last level.
        let configuration = site.disk.dir.path().join("etc/kubecertd/kubecertd.toml");
        std::fs::create_dir_all(configuration.parent().unwrap()).unwrap();
        let pki = "/etc/kubernetes/pki/watched";
        let entry = format!(
            "[[credential]]\nname = \"watched\"\ncertificate = \"{pki}.crt\"\nkey = \"{pki}.key\"\n"
        );
        std::fs::write(&configuration, entry).unwrap();
        for ending in ["crt", "key"] {
            let from = etc(&site, &format!("pki/apiserver.{ending}"));
            std::fs::copy(from, etc(&site, &format!("pki/watched.{ending}"))).unwrap();
        }
        let error = refusal(&site, made()).await;
        assert!(error.contains("watched: issued by the root CA, and not by kubecertd"), "{error}");
        std::fs::remove_file(&configuration).unwrap();
        let leaf = etc(&site, "pki/apiserver.crt");
        let before = std::fs::read(&leaf).unwrap();
        std::fs::write(&leaf, "nothing").unwrap();
        let error = refusal(&site, made()).await;
        assert!(error.starts_with("apiserver: it has to be right before"), "{error}");
        std::fs::write(&leaf, before).unwrap();
        assert_untouched(&site);
        started(&site, made()).await.unwrap();
    })
    .await;
}

/// Another node would never have the first level.
#[tokio::test(flavor = "current_thread")]
async fn cluster_of_several_nodes_is_refused() {
    local(async {
        let site = Site::new().await;
        site.put_node("cp1", None);
        site.put_node("w1", None);
        let error = refusal(&site, made()).await;
        assert!(error.contains("other nodes: w1;"), "{error}");
        assert_untouched(&site);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn custom_root_is_taken_with_a_key_of_its_own_alone() {
    local(async {
        let site = Site::new().await;
        let old = &site.disk.intent.old;
        let terms = Terms {
            serial: random_serial().unwrap(),
            not_before: NOW.minus(days(1)),
            not_after: old.not_after.plus(days(1)),
        };
        let renewed = renew_root(old, &site.disk.old, &terms).unwrap();
        let same_key = Certificate::from_der(&renewed).unwrap();
        let key = PrivateKey::from_pem(site.disk.old.to_pem().unwrap().expose()).unwrap();
        let error = refusal(&site, supplied(same_key, Some(key))).await;
        assert!(error.contains("it has the key of the present root CA"), "{error}");
        let NewRoot { certificate, key } = root_named("ours");
        let error = refusal(&site, supplied(certificate.clone(), None)).await;
        assert!(error.contains("--key FILE"), "{error}");
        let other = root_named("other");
        let error = refusal(&site, supplied(certificate.clone(), Some(other.key))).await;
        assert!(error.starts_with("it can't be the root CA of a cluster: "), "{error}");
        assert_untouched(&site);
        let intent = started(&site, supplied(certificate.clone(), Some(key))).await.unwrap();
        assert_eq!(intent.new, certificate);
        let bridge = intent.bridge.unwrap();
        assert!(bridge.is_signed_by(old) && bridge.not_before >= certificate.not_before);
        assert!(bridge.not_after <= certificate.not_after.min(old.not_after));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn made_root_is_valid_as_kubeadm_says_or_as_the_present_one() {
    local(async {
        let site = Site::new().await;
        let intent = started(&site, made()).await.unwrap();
        let length = |root: &Certificate| root.not_after.seconds_since(root.not_before);
        let about = |found: i64, expected: i64| (found - expected).abs() <= 86_400;
        assert!(about(length(&intent.new), length(&intent.old)));
        let site = Site::new().await;
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                    caCertificateValidityPeriod: 8760h0m0s\n";
        std::fs::write(etc(&site, "kubeadm.yaml"), text).unwrap();
        let intent = started(&site, made()).await.unwrap();
        assert!(about(intent.new.not_after.seconds_since(NOW), 8_760 * 3_600));
    })
    .await;
}
