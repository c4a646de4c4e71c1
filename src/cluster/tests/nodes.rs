//! Node objects, and the reports in them.

use super::*;
use crate::model::{FoundReport, NodeReport, NodeRole, ReportedNode, Timestamp};

const NODES: &str = "/api/v1/nodes";

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

impl Objects {
    /// Puts a Node with these labels and this annotation.
    pub(crate) fn put_node(&self, name: &str, labels: &[&str], report: Option<&str>) {
        let labels: BTreeMap<_, _> = labels.iter().map(|label| (*label, "")).collect();
        let annotations: BTreeMap<_, _> =
            report.iter().map(|report| (REPORT_ANNOTATION, report)).collect();
        let metadata = json!({"name": name, "labels": labels, "annotations": annotations});
        self.put(format!("{NODES}/{name}"), json!({"kind": "Node", "metadata": metadata}));
    }

    /// The annotation of a Node, and how often any object was written.
    pub(crate) fn report_of(&self, name: &str) -> (Option<String>, u64) {
        let objects = self.by_path.borrow();
        let node = &objects[&format!("{NODES}/{name}")];
        let annotation = node["metadata"]["annotations"][REPORT_ANNOTATION].as_str();
        (annotation.map(str::to_owned), self.version.get())
    }
}

fn report() -> NodeReport {
    let fine = NodeReport::fine(Timestamp::from_seconds(1_800_000_000));
    NodeReport { role: NodeRole::Worker, clock: None, ..fine }
}

#[tokio::test(flavor = "current_thread")]
async fn report_is_written_beside_other_annotations_and_read() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        cluster.objects.put_node("w1", &["a/b"], None);
        cluster.objects.date.set(Some("Fri, 15 Jan 2027 08:00:00 GMT"));
        let api = cluster.api().await.unwrap();
        let found = api.node("w1").await.unwrap();
        assert_eq!(found.date, Some(Timestamp::from_seconds(1_800_000_000)));
        assert_eq!(found.answer.unwrap().report, FoundReport::Absent);
        api.write_report("w1", &report()).await.unwrap();
        let node = api.node("w1").await.unwrap().answer.unwrap();
        let report = FoundReport::Read(Box::new(report()));
        assert_eq!(node, ReportedNode { name: "w1".to_owned(), role: NodeRole::Worker, report });
        assert_eq!(api.node("w2").await.unwrap().answer, None);
        let missing = api.write_report("w2", &self::report()).await.unwrap_err();
        assert_eq!(missing.code(), Some(404));
        cluster.objects.refuses.set(Some(403));
        assert_eq!(api.node("w1").await.unwrap_err().code(), Some(403));
        let refused = api.write_report("w1", &self::report()).await.unwrap_err();
        assert!(refused.to_string().ends_with("answers with status 403: it says Forbidden"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn nodes_are_listed_page_by_page_with_their_roles() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let text = crate::formats::node_report::write(&report());
        for name in ["cp1", "cp2", "cp3"] {
            cluster.objects.put_node(name, &[CONTROL_PLANE], Some(&text));
        }
        // A report says nothing of the role.
        let claims = text.replace("worker", "control-plane");
        cluster.objects.put_node("w1", &["kubernetes.io/os"], Some(&claims));
        cluster.objects.put_node("w2", &[], Some("\u{1b}[2J"));
        cluster.objects.put_node("w3", &["node-role.kubernetes.io/master"], None);
        let api = cluster.api().await.unwrap();
        let nodes = api.nodes().await.unwrap().answer;
        let shown: Vec<_> = nodes
            .iter()
            .map(|node| (node.name.as_str(), node.role == NodeRole::ControlPlane))
            .collect();
        let expected = [
            ("cp1", true),
            ("cp2", true),
            ("cp3", true),
            ("w1", false),
            ("w2", false),
            ("w3", true),
        ];
        assert_eq!(shown, expected);
        let unreadable = FoundReport::Unreadable("it is no report of kubecertd".to_owned());
        assert_eq!(nodes[4].report, unreadable);
        let control_plane = api.control_plane_nodes().await.unwrap().answer;
        assert_eq!(control_plane, nodes[..3]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn kubeconfig_logs_in_by_certificate_or_token_and_never_by_plugin() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        cluster.objects.put_node("w1", &[], None);
        let dir = tempfile::tempdir().unwrap();
        let (root, _) = cluster.credential(dir.path(), &cluster.authority);
        let file = AbsolutePath::constant("/admin.conf");
        let api = ClusterApi::of_kubeconfig(&root, &file, None).await.unwrap();
        assert_eq!(api.nodes().await.unwrap().answer.len(), 1);
        assert_eq!(*cluster.objects.authorization.borrow(), None);
        let text = std::fs::read_to_string(dir.path().join("admin.conf")).unwrap();
        let (head, _) = text.split_once("    client-certificate-data").unwrap();
        let with_user = async |user: &str| {
            std::fs::write(dir.path().join("admin.conf"), format!("{head}{user}\n")).unwrap();
            ClusterApi::of_kubeconfig(&root, &file, None).await
        };
        let api = with_user("    token: abc").await.unwrap();
        assert_eq!(api.nodes().await.unwrap().answer.len(), 1);
        assert_eq!(cluster.objects.authorization.borrow().as_deref(), Some("Bearer abc"));
        for (user, way) in [
            ("    exec: {command: /bin/sh}", "exec"),
            ("    tokenFile: /etc/token", "tokenFile"),
            ("    auth-provider: {name: oidc}", "auth-provider"),
            ("    username: a", "nothing that is supported"),
        ] {
            let error = with_user(user).await.err().unwrap().to_string();
            assert!(error.starts_with("/admin.conf: the user "), "{error}");
            assert!(error.contains(&format!("logs in with {way}; ")), "{error}");
        }
    })
    .await;
}
