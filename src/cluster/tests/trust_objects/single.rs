//! cluster-info, extension-apiserver-authentication, and what kubeadm keeps.

use super::*;
use crate::model::{ReplacedCa, TrustedRoots};

const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const CLIENT_CA: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const KUBEADM_CONFIG: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";

fn kubeconfig(data: &str) -> String {
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {data}\n    \
         server: https://10.0.0.1:6443\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\n\
         kind: Config\npreferences: {{}}\nusers: null\n"
    )
}

fn put_cluster_info(cluster: &Cluster, kubeconfig: &str) {
    let data = json!({"kubeconfig": kubeconfig, "jws-kubeconfig-abcdef": "e..s"});
    cluster.objects.put_at(CLUSTER_INFO, json!({"data": data}));
}

fn put_token(cluster: &Cluster, id: &str, signs: &str) {
    let data = json!({"usage-bootstrap-signing": BASE64_STANDARD.encode(signs),
        "token-secret": "c2VjcmV0"});
    let object = json!({"type": "bootstrap.kubernetes.io/token", "data": data});
    cluster.objects.put_at(&format!("{SECRETS}/bootstrap-token-{id}"), object);
}

fn state(trusts: TrustedRoots, status: TrustStatus) -> TrustState {
    TrustState { trusts, status, last_writer: None }
}

#[tokio::test(flavor = "current_thread")]
async fn cluster_info_changes_in_one_line_and_once() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        assert_eq!(api.update_cluster_info(&change).await, Ok(None));
        put_cluster_info(&cluster, &kubeconfig(&roots.base64("xo")));
        for (id, signs) in [("abcdef", "true"), ("ghijkl", "true"), ("mnopqr", "false")] {
            put_token(&cluster, id, signs);
        }
        let other = json!({"type": "Opaque"});
        cluster.objects.put_at(&format!("{SECRETS}/bootstrap-token-other"), other);
        let writes = cluster.objects.writes();
        let found = api.observe_cluster_info(&change).await.unwrap().unwrap();
        assert_eq!(found.trust, Ok(state(TrustedRoots::Old, TrustStatus::Outdated)));
        let token = |id: &str, is_signed| TokenSignature { id: id.to_owned(), is_signed };
        assert_eq!(found.tokens, Ok(vec![token("abcdef", true), token("ghijkl", false)]));
        assert_eq!(cluster.objects.writes(), writes, "nothing is written");
        let found = api.update_cluster_info(&change).await.unwrap().unwrap();
        assert_eq!(found.trust, Ok(state(TrustedRoots::Both, TrustStatus::Written)));
        let data = cluster.objects.at(CLUSTER_INFO).unwrap()["data"].clone();
        assert_eq!(data["kubeconfig"], kubeconfig(&roots.base64("xon")));
        assert_eq!(data["jws-kubeconfig-abcdef"], "e..s");
        let found = api.update_cluster_info(&change).await.unwrap().unwrap();
        assert_eq!(found.trust, Ok(state(TrustedRoots::Both, TrustStatus::Current)));
        assert_eq!(cluster.objects.writes(), writes + 1, "nothing is written twice");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn cluster_info_that_can_not_be_changed_says_why() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        let update = async || {
            let found = api.update_cluster_info(&change).await.unwrap().unwrap();
            found.trust.unwrap_err().to_string()
        };
        let object = "ConfigMap kube-public/cluster-info";
        let neither = "it has neither the old nor the new CA certificate";
        for (text, reason) in [
            (kubeconfig(&roots.base64("x")), neither),
            (kubeconfig(&BASE64_STANDARD.encode("-----BEGIN X-----\n")), "has no end"),
            (kubeconfig("~"), "has no embedded certificate-authority-data"),
            ("[".to_owned(), ""),
        ] {
            put_cluster_info(&cluster, &text);
            let error = update().await;
            assert!(error.starts_with(&format!("{object} can't be used: ")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        cluster.objects.put_at(CLUSTER_INFO, json!({}));
        assert_eq!(update().await, format!("{object} can't be used: it has no key kubeconfig"));
        // The tokens can't be listed, and the rest is done.
        put_cluster_info(&cluster, &kubeconfig(&roots.base64("o")));
        cluster.objects.refuse(SECRETS, 403);
        let found = api.update_cluster_info(&change).await.unwrap().unwrap();
        assert!(matches!(found.tokens, Err(ObjectError::Call { .. })), "{:?}", found.tokens);
        assert_eq!(found.trust.unwrap().status, TrustStatus::Written);
        cluster.objects.refuse(CLUSTER_INFO, 403);
        let error = api.update_cluster_info(&change).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{object}: the API server at ")), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn change_of_another_client_is_kept() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        let trust = async || api.update_cluster_info(&change).await.unwrap().unwrap().trust;
        let object = || "ConfigMap kube-public/cluster-info".to_owned();
        let put = |text: String| {
            move |objects: &Objects| {
                objects.put_at(CLUSTER_INFO, json!({"data": {"kubeconfig": text}}));
            }
        };
        put_cluster_info(&cluster, &kubeconfig(&roots.base64("o")));
        let others = kubeconfig(&roots.base64("ox"));
        cluster.objects.before_write(put(others.clone()));
        assert_eq!(trust().await, Err(ObjectError::Changed(object())));
        let found = cluster.objects.at(CLUSTER_INFO).unwrap();
        assert_eq!(found["data"]["kubeconfig"], others);
        // The same change by another client is no conflict.
        cluster.objects.before_write(put(kubeconfig(&roots.base64("onx"))));
        assert_eq!(trust().await.unwrap().status, TrustStatus::Written);
        put_cluster_info(&cluster, &kubeconfig(&roots.base64("o")));
        cluster.objects.before_write(|objects| {
            objects.by_path.borrow_mut().remove(CLUSTER_INFO);
        });
        assert_eq!(trust().await, Err(ObjectError::Missing(object())));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn old_root_is_taken_out_of_client_ca_once_the_new_is_there() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::New));
        assert_eq!(api.update_client_ca(ReplacedCa::Root, &change).await, Ok(None));
        let put = |text: String| {
            let data = json!({"client-ca-file": text, "requestheader-client-ca-file": "x"});
            cluster.objects.put_at(CLIENT_CA, json!({"data": data}));
        };
        put(roots.pem("xo"));
        let writes = cluster.objects.writes();
        let outdated = |trusts| Ok(Some(state(trusts, TrustStatus::Outdated)));
        assert_eq!(
            api.update_client_ca(ReplacedCa::Root, &change).await,
            outdated(TrustedRoots::Old)
        );
        put(roots.pem("nxo"));
        assert_eq!(
            api.observe_client_ca(ReplacedCa::Root, &change).await,
            outdated(TrustedRoots::Both)
        );
        assert_eq!(cluster.objects.writes(), writes + 1, "nothing is written");
        let both = roots.change(CaFile::OldNew);
        let current = |trusts| Ok(Some(state(trusts, TrustStatus::Current)));
        assert_eq!(
            api.update_client_ca(ReplacedCa::Root, &both).await,
            current(TrustedRoots::Both)
        );
        let written = Ok(Some(state(TrustedRoots::New, TrustStatus::Written)));
        assert_eq!(api.update_client_ca(ReplacedCa::Root, &change).await, written);
        let data = cluster.objects.at(CLIENT_CA).unwrap()["data"].clone();
        let expected =
            json!({"client-ca-file": roots.pem("nx"), "requestheader-client-ca-file": "x"});
        assert_eq!(data, expected);
        assert_eq!(
            api.update_client_ca(ReplacedCa::Root, &change).await,
            current(TrustedRoots::New)
        );
        assert_eq!(cluster.objects.writes(), writes + 2, "nothing is written twice");
        let add = roots.pem("onx");
        put(roots.pem("on"));
        cluster.objects.before_write(move |objects| {
            objects.put_at(CLIENT_CA, json!({"data": {"client-ca-file": add}}));
        });
        let object = "ConfigMap kube-system/extension-apiserver-authentication";
        let changed = Err(ObjectError::Changed(object.to_owned()));
        assert_eq!(api.update_client_ca(ReplacedCa::Root, &change).await, changed);
        for text in [roots.pem("x"), "-----BEGIN X-----".to_owned()] {
            put(text);
            let error =
                api.update_client_ca(ReplacedCa::Root, &change).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("{object} can't be used: ")), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn kubeadm_certs_are_found_and_deleted() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        assert_eq!(api.has_kubeadm_certs().await, Ok(false));
        assert_eq!(api.delete_kubeadm_certs().await, Ok(false));
        let object = json!({"apiVersion": "v1", "kind": "Secret"});
        cluster.objects.put_at(&format!("{SECRETS}/kubeadm-certs"), object);
        assert_eq!(api.has_kubeadm_certs().await, Ok(true));
        assert_eq!(api.delete_kubeadm_certs().await, Ok(true));
        assert_eq!(api.has_kubeadm_certs().await, Ok(false));
        cluster.objects.refuse(SECRETS, 403);
        let error = api.delete_kubeadm_certs().await.unwrap_err().to_string();
        assert!(error.starts_with("Secret kube-system/kubeadm-certs: "), "{error}");
        assert!(api.has_kubeadm_certs().await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn cluster_configuration_is_edited_where_it_is_unchanged() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let edit = async |new: Result<Option<&str>, String>| {
            let new = new.map(|new| new.map(str::to_owned));
            api.edit_cluster_configuration(|old| if old == "a: 1\n" { new } else { Ok(None) }).await
        };
        let object = || "ConfigMap kube-system/kubeadm-config".to_owned();
        assert_eq!(api.cluster_configuration().await, Ok(None));
        let missing = EditError::Object(ObjectError::Missing(object()));
        assert_eq!(edit(Ok(None)).await, Err(missing));
        let data = json!({"ClusterConfiguration": "a: 1\n", "other": "x"});
        cluster.objects.put_at(KUBEADM_CONFIG, json!({"data": data}));
        let writes = cluster.objects.writes();
        assert_eq!(edit(Ok(None)).await, Ok(false));
        assert_eq!(edit(Ok(Some("a: 1\n"))).await, Ok(false));
        let error = edit(Err("it is odd".to_owned())).await.unwrap_err().to_string();
        assert_eq!(error, format!("{} can't be edited: it is odd", object()));
        assert_eq!(cluster.objects.writes(), writes);
        cluster.objects.before_write(|objects| {
            objects.put_at(KUBEADM_CONFIG, json!({"data": {"ClusterConfiguration": "a: 3\n"}}));
        });
        let changed = EditError::Object(ObjectError::Changed(object()));
        assert_eq!(edit(Ok(Some("a: 2\n"))).await, Err(changed));
        assert_eq!(api.cluster_configuration().await, Ok(Some("a: 3\n".to_owned())));
        cluster.objects.put_at(KUBEADM_CONFIG, json!({"data": data}));
        assert_eq!(edit(Ok(Some("a: 2\n"))).await, Ok(true));
        let found = cluster.objects.at(KUBEADM_CONFIG).unwrap()["data"].clone();
        assert_eq!(found, json!({"ClusterConfiguration": "a: 2\n", "other": "x"}));
    })
    .await;
}
