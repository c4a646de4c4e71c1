//! A control-plane node `cp1`, in a cluster whose API server is in this process.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::*;
use crate::cluster::tests::Cluster;
use crate::formats::kubeconfig::{Kubeconfig, PemSource, splice_authority};
use crate::formats::node_report::write;
use crate::formats::rotation_intent::SignedIntent;
use crate::formats::x509::DistinguishedName;
use crate::model::{AbsolutePath, NodeReport};
use crate::state::rotation_key;

pub(super) const OBJECT: &str = "/api/v1/namespaces/kube-system/configmaps/kubecertd-root-ca";
pub(super) const COPY: &str = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
pub(super) const ROLES: [&str; 2] = [
    "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/kubecertd-root-ca",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings/kubecertd-root-ca",
];
const CLUSTER: &str = "/api/v1/namespaces/kube-system";

pub(crate) struct Site {
    pub disk: Disk,
    pub cluster: Cluster,
}

/// Has a kubeconfig trust a root besides the CA of the server in this process.
fn trust_too(file: &Path, root: &Certificate) {
    let text = std::fs::read(file).unwrap();
    let cluster = Kubeconfig::parse(&text).unwrap().cluster.unwrap();
    let PemSource::Embedded(trusted) = cluster.authority else { panic!("{}", file.display()) };
    let both = [trusted.expose(), root.to_pem().as_bytes()].concat();
    std::fs::write(file, splice_authority(&text, &both).unwrap().expose()).unwrap();
}

impl Site {
    /// A node whose kubeconfigs lead to the cluster, without a rotation.
    pub async fn new() -> Self {
        let (disk, cluster) = (Disk::of(TREES[0]), Cluster::start(&[]).await);
        for name in ["admin.conf", "kubelet.conf"] {
            let file = disk.dir.path().join("etc/kubernetes").join(name);
            cluster.adopt(&file);
            trust_too(&file, &disk.intent.old);
        }
        let site = Self { disk, cluster };
        site.put_cluster("1e5b");
        site
    }

    /// The same in a rotation, with the keys of both roots.
    pub async fn at(agreement: Agreement, goal: RotationLevel) -> Self {
        let site = Self::new().await;
        for root in [RootCa::Old, RootCa::New] {
            site.put_key(root, site.disk.key(root));
        }
        let signed = site.put_intent(&site.intent(agreement, goal));
        site.keep(agreement.generation, Some(signed));
        site
    }

    /// A node that takes part in a renewal of the root. An earlier rotation has left a key.
    pub async fn renewing(agreement: Agreement, goal: RotationLevel) -> Self {
        let Self { disk, cluster } = Self::new().await;
        let site = Self { disk: disk.with_renewal(), cluster };
        site.put_key(RootCa::Old, &PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap());
        let signed = site.put_intent(&site.intent(agreement, goal));
        site.keep(agreement.generation, Some(signed));
        site
    }

    /// The same with another new root, of this name.
    pub fn replaced_by(mut self, subject: &DistinguishedName) -> Self {
        let lifetime = RootLifetime { now: NOW, tolerated_skew: days(1), validity: days(7_300) };
        let NewRoot { certificate: new, key } =
            new_root(subject, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
        self.disk.intent.bridge = Some(bridge_of(&new, &self.disk.intent.old, &self.disk.old));
        (self.disk.intent.new, self.disk.new) = (new, key);
        self
    }

    pub fn put_cluster(&self, uid: &str) {
        self.cluster.objects.put_at(CLUSTER, json!({"metadata": {"uid": uid}}));
    }

    pub fn intent(&self, agreement: Agreement, goal: RotationLevel) -> RotationIntent {
        RotationIntent { agreement, goal, ..self.disk.intent.clone() }
    }

    /// Puts an intent that both roots have signed into the cluster.
    pub fn put_intent(&self, intent: &RotationIntent) -> SignedIntent {
        let signed = intent.sign(&[&self.disk.old, &self.disk.new]).unwrap();
        self.put_signed(&signed);
        signed
    }

    pub fn put_signed(&self, signed: &SignedIntent) {
        self.cluster.objects.put_at(OBJECT, object_of(signed));
    }

    pub fn put_key(&self, root: RootCa, key: &PrivateKey) {
        let file =
            self.path(&rotation_key(&self.node().settings.paths.state, ReplacedCa::Root, root));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, key.to_pem().unwrap().expose()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts a Node that reports this, or nothing.
    pub fn put_node(&self, name: &str, progress: Option<(u64, bool)>) {
        let report = progress.map(|(generation, is_done)| {
            let rotation = Some(NodeProgress { generation, is_done });
            write(&NodeReport { rotation, ..NodeReport::fine(NOW) })
        });
        self.cluster.objects.put_node(name, &[], report.as_deref());
    }

    pub fn node(&self) -> Node {
        self.disk.node()
    }

    pub fn path(&self, file: &AbsolutePath) -> PathBuf {
        self.disk.dir.path().join(file.to_string().trim_start_matches('/'))
    }

    pub fn key_file(&self, root: RootCa) -> PathBuf {
        self.path(&rotation_key(&self.node().settings.paths.state, ReplacedCa::Root, root))
    }

    pub fn keep(&self, generation: u64, intent: Option<SignedIntent>) {
        let node = self.node();
        let kept = KeptRotation { generation, intent, ..KeptRotation::default() };
        kept.write(&node.root, &node.settings.paths.state).unwrap();
    }

    /// Has this node have found this in its last pass.
    pub fn keep_standing(&self, standing: KeptStanding) {
        let node = self.node();
        let kept = KeptRotation { standing: Some(standing), ..self.kept() };
        kept.write(&node.root, &node.settings.paths.state).unwrap();
    }

    pub fn kept(&self) -> KeptRotation {
        let node = self.node();
        let (kept, note) = KeptRotation::read(&node.root, &node.settings.paths.state);
        assert_eq!(note, None);
        kept
    }

    /// The intent that this node keeps.
    pub fn kept_intent(&self) -> Option<RotationIntent> {
        let old = std::slice::from_ref(&self.disk.intent.old);
        Some(self.kept().intent?.verify(old).unwrap())
    }

    /// The intent in the cluster, where both roots have signed it.
    pub fn intent_of_cluster(&self) -> Option<RotationIntent> {
        let object = self.cluster.objects.at(OBJECT)?;
        let text = |key: &str| object["data"][key].as_str().unwrap().to_owned();
        let signatures = text("signatures").lines().map(str::to_owned).collect();
        let signed = SignedIntent { document: text("intent.json"), signatures };
        let roots = roots_in(&signed.document);
        let read = |root| signed.verify(std::slice::from_ref(root)).unwrap();
        let [by_old, by_new] = [read(&roots[0]), read(&roots[1])];
        assert_eq!(by_old, by_new);
        Some(by_old)
    }

    /// Does something in a pass on this node.
    pub(in crate::pass) async fn in_pass<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Pass<'_>) -> T + Send + 'static,
    ) -> T {
        let dir = self.disk.dir.path().to_owned();
        spawn_blocking(move || in_pass(&open(&dir), work)).await.unwrap()
    }

    /// Does something with this node.
    pub async fn on_node<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> T {
        let dir = self.disk.dir.path().to_owned();
        spawn_blocking(move || work(&open(&dir))).await.unwrap()
    }
}

fn open(dir: &Path) -> Node {
    Node::open(Root::open(dir).unwrap(), &Config::Usual).unwrap()
}

/// The two roots in the text of an intent.
fn roots_in(document: &str) -> [Certificate; 2] {
    let document: Value = serde_json::from_str(document).unwrap();
    ["old", "new"].map(|name| {
        let pem = document[name].as_str().unwrap();
        crate::formats::x509::certificates(pem.as_bytes()).unwrap().remove(0)
    })
}

pub(super) fn object_of(signed: &SignedIntent) -> Value {
    json!({"data": {"intent.json": signed.document, "signatures": signed.signatures.join("\n")}})
}

pub(crate) fn agreement(generation: u64, from: RotationLevel, to: RotationLevel) -> Agreement {
    Agreement { generation, from, to }
}
