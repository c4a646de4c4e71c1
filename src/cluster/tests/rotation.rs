//! The object of a rotation, and the Role for it.

use super::*;
use crate::formats::rotation_intent::SignedIntent;

const OBJECT: &str = "/api/v1/namespaces/kube-system/configmaps/kubecertd-root-ca";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system";
const SHOWN: &str = "ConfigMap kube-system/kubecertd-root-ca";

fn signed(document: &str) -> SignedIntent {
    let signatures = vec!["AAAA".to_owned(), "BBB=".to_owned()];
    SignedIntent { document: document.to_owned(), signatures }
}

fn data(document: &str, signatures: &str) -> Value {
    json!({"data": {"intent.json": document, "signatures": signatures}})
}

#[tokio::test(flavor = "current_thread")]
async fn intent_is_created_replaced_and_deleted() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        assert_eq!(api.rotation().await, Ok(None));
        let first = api.create_rotation(&signed("{}")).await.unwrap();
        assert_eq!(first.signed, signed("{}"));
        assert_eq!(api.rotation().await, Ok(Some(first.clone())));
        let written = cluster.objects.at(OBJECT).unwrap();
        assert_eq!(written["data"], data("{}", "AAAA\nBBB=")["data"]);
        let second = api.replace_rotation(&signed("{2}"), &first.version).await.unwrap();
        assert_ne!(second.version, first.version);
        let changed = Err(ObjectError::Changed(SHOWN.to_owned()));
        assert_eq!(api.delete_rotation(&first.version).await, changed);
        api.delete_rotation(&second.version).await.unwrap();
        api.delete_rotation(&second.version).await.unwrap();
        assert_eq!(api.rotation().await, Ok(None));
        let missing = ObjectError::Missing(SHOWN.to_owned());
        assert_eq!(api.replace_rotation(&signed("{3}"), "1").await, Err(missing));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn second_operator_is_noticed() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let first = api.create_rotation(&signed("{1}")).await.unwrap();
        let exists = ObjectError::Exists(SHOWN.to_owned());
        assert_eq!(api.create_rotation(&signed("{2}")).await, Err(exists));
        cluster.objects.before_write(|objects| {
            objects.put_at(OBJECT, data("{other}", "AAAA"));
        });
        let changed = ObjectError::Changed(SHOWN.to_owned());
        assert_eq!(api.replace_rotation(&signed("{2}"), &first.version).await, Err(changed));
        assert_eq!(api.rotation().await.unwrap().unwrap().signed.document, "{other}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn write_whose_answer_was_lost_is_no_conflict() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let write = |objects: &Objects| objects.put_at(OBJECT, data("{1}", "AAAA\nBBB="));
        cluster.objects.before_write(write);
        let found = api.create_rotation(&signed("{1}")).await.unwrap();
        cluster.objects.before_write(write);
        let again = api.replace_rotation(&signed("{1}"), &found.version).await.unwrap();
        assert_eq!(again.signed, found.signed);
        assert_ne!(again.version, found.version);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn object_of_another_form_is_an_error() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let large = "x".repeat(64 * 1024 + 1);
        for (object, reason) in [
            (json!({}), "it has no key intent.json"),
            (json!({"data": {"intent.json": "{}"}}), "it has no key signatures"),
            (data(&large, "AAAA"), "intent.json has 65537 bytes, and an intent has at most 65536"),
            (data("{}", " \n\n"), "signatures holds none"),
            (data("{}", "A\nB\nC\nD\nE"), "signatures holds more than 4"),
            (data("{}", "\u{1b}[2J"), "signatures holds something else"),
            (data("{}", &"A".repeat(2737)), "signatures holds something else"),
        ] {
            cluster.objects.put_at(OBJECT, object);
            let error = api.rotation().await.unwrap_err();
            assert!(matches!(error, ObjectError::Malformed { .. }), "{error}");
            assert_eq!(error.to_string(), format!("{SHOWN} can't be used: {reason}"));
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn refusals_name_the_object() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        cluster.objects.refuses.set(Some(403));
        for error in [
            api.rotation().await.map(drop).unwrap_err(),
            api.create_rotation(&signed("{}")).await.map(drop).unwrap_err(),
            api.replace_rotation(&signed("{}"), "1").await.map(drop).unwrap_err(),
            api.delete_rotation("1").await.unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.starts_with(&format!("{SHOWN}: the API server at ")), "{text}");
            assert!(text.ends_with("answers with status 403: it says Forbidden"), "{text}");
        }
        let error = api.publish_role().await.unwrap_err().to_string();
        assert!(error.starts_with("Role kube-system/kubecertd-root-ca: "), "{error}");
        let error = api.remove_role().await.unwrap_err().to_string();
        assert!(error.starts_with("RoleBinding kube-system/kubecertd-root-ca: "), "{error}");
        let error = api.cluster_uid().await.unwrap_err().to_string();
        assert!(error.starts_with("Namespace kube-system: "), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn role_is_published_once_and_removed() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let (role, binding) = (
            format!("{RBAC}/roles/kubecertd-root-ca"),
            format!("{RBAC}/rolebindings/kubecertd-root-ca"),
        );
        api.publish_role().await.unwrap();
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": ["kubecertd-root-ca"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["namespaces"],
            "resourceNames": ["kube-system"], "verbs": ["get"]}]);
        assert_eq!(cluster.objects.at(&role).unwrap()["rules"], rules);
        let found = cluster.objects.at(&binding).unwrap();
        let group = "rbac.authorization.k8s.io";
        let subjects = json!([{"apiGroup": group, "kind": "Group", "name": "system:nodes"}]);
        assert_eq!(found["subjects"], subjects);
        let role_ref = json!({"apiGroup": group, "kind": "Role", "name": "kubecertd-root-ca"});
        assert_eq!(found["roleRef"], role_ref);
        let writes = cluster.objects.writes();
        api.publish_role().await.unwrap();
        assert_eq!(cluster.objects.writes(), writes, "nothing is written twice");
        api.remove_role().await.unwrap();
        api.remove_role().await.unwrap();
        assert_eq!(cluster.objects.at(&role), None);
        assert_eq!(cluster.objects.at(&binding), None);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn changed_role_is_brought_up_to_date() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        api.publish_role().await.unwrap();
        let (role, binding) = (
            format!("{RBAC}/roles/kubecertd-root-ca"),
            format!("{RBAC}/rolebindings/kubecertd-root-ca"),
        );
        let is_whole = || {
            let rules = cluster.objects.at(&role).unwrap()["rules"].clone();
            let binding = cluster.objects.at(&binding).unwrap();
            rules[0]["resourceNames"] == json!(["kubecertd-root-ca"])
                && binding["subjects"][0]["name"] == "system:nodes"
                && binding["roleRef"]["kind"] == "Role"
        };
        for (path, pointer, value) in [
            (&role, "/rules", json!([{"verbs": ["*"]}])),
            (&binding, "/subjects", json!([])),
            (&binding, "/roleRef/kind", json!("ClusterRole")),
        ] {
            let mut changed = cluster.objects.at(path).unwrap();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed["metadata"]["labels"] = json!({"a": "b"});
            cluster.objects.put_at(path, changed);
            assert!(!is_whole());
            api.publish_role().await.unwrap();
            assert!(is_whole(), "{pointer}");
        }
        assert_eq!(cluster.objects.at(&role).unwrap()["metadata"]["labels"], json!({"a": "b"}));
        let mut changed = cluster.objects.at(&role).unwrap();
        changed["rules"] = json!([]);
        cluster.objects.put_at(&role, changed.clone());
        let path = role.clone();
        cluster.objects.before_write(move |objects| objects.put_at(&path, changed));
        let error = api.publish_role().await.unwrap_err();
        let shown = "Role kube-system/kubecertd-root-ca".to_owned();
        assert_eq!(error, ObjectError::Changed(shown));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn cluster_is_identified_by_uid_of_kube_system() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let namespace = |metadata: Value| {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            cluster.objects.put_at("/api/v1/namespaces/kube-system", object);
        };
        namespace(json!({"uid": "1e5b"}));
        assert_eq!(api.cluster_uid().await.as_deref(), Ok("1e5b"));
        namespace(json!({}));
        let error = api.cluster_uid().await.unwrap_err().to_string();
        assert_eq!(error, "Namespace kube-system can't be used: it has no UID");
    })
    .await;
}
