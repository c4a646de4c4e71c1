//! The copies that kube-controller-manager writes.

use super::*;

fn put_config_map(cluster: &Cluster, namespace: &str, name: &str, ca: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
    cluster.objects.put_at(&path, json!({"data": {"ca.crt": ca}}));
}

fn put_secret(cluster: &Cluster, namespace: &str, kind: &str, data: Value) {
    let path = format!("/api/v1/namespaces/{namespace}/secrets/token");
    cluster.objects.put_at(&path, json!({"type": kind, "data": data}));
}

#[tokio::test(flavor = "current_thread")]
async fn config_maps_of_all_namespaces_are_compared() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let api = cluster.api().await.unwrap();
        let wanted = roots.pem("on");
        let observe = async || api.observe_root_ca_config_maps(wanted.as_bytes()).await.unwrap();
        assert_eq!(observe().await, PublishedCopies::default());
        for namespace in ["a", "b", "c"] {
            put_config_map(&cluster, namespace, "kube-root-ca.crt", &wanted);
            put_config_map(&cluster, namespace, "other", "other");
        }
        assert_eq!(observe().await, PublishedCopies { total: 3, ..PublishedCopies::default() });
        // The same certificates in another form are other bytes.
        for namespace in ["d", "e", "f", "g", "h", "i"] {
            put_config_map(&cluster, namespace, "kube-root-ca.crt", wanted.trim_end());
        }
        let found = observe().await;
        assert_eq!((found.total, found.outdated), (9, 6));
        let named = ["d", "e", "f", "g", "h"].map(|one| format!("{one}/kube-root-ca.crt"));
        assert_eq!(found.named, named);
        let empty = "/api/v1/namespaces/a/configmaps/kube-root-ca.crt";
        cluster.objects.put_at(empty, json!({}));
        assert_eq!(observe().await.outdated, 7);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn secrets_of_tokens_are_compared() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let api = cluster.api().await.unwrap();
        let token = "kubernetes.io/service-account-token";
        let data = |ca: &str| json!({"ca.crt": ca, "token": "c2VjcmV0"});
        put_secret(&cluster, "a", token, data(&roots.base64("on")));
        put_secret(&cluster, "b", token, data(&roots.base64("o")));
        put_secret(&cluster, "c", token, data("%%%"));
        put_secret(&cluster, "d", token, Value::Null);
        put_secret(&cluster, "e", "Opaque", data("other"));
        let wanted = roots.pem("on");
        let found = api.observe_token_secrets(wanted.as_bytes()).await.unwrap();
        let named = ["b", "c", "d"].map(|one| format!("{one}/token")).to_vec();
        assert_eq!(found, PublishedCopies { total: 4, outdated: 3, named });
        cluster.objects.refuse("/api/v1/secrets", 403);
        let error = api.observe_token_secrets(b"").await.unwrap_err().to_string();
        let kind = "Secrets of service accounts' tokens: the API server at ";
        assert!(error.starts_with(kind), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn list_of_another_form_is_an_error() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        put_secret(&cluster, "a", "kubernetes.io/service-account-token", json!([]));
        let error = api.observe_token_secrets(b"").await.unwrap_err().to_string();
        let expected =
            "Secrets of service accounts' tokens can't be used: their list can't be read";
        assert_eq!(error, expected);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn too_large_page_is_read_in_smaller_ones() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        // Two are on one page of the test's server, whatever the limit above that is, and an answer
        // has at most 1 MiB in tests.
        let half = "x".repeat(600 << 10);
        for namespace in ["a", "b", "c"] {
            put_config_map(&cluster, namespace, "kube-root-ca.crt", &half);
        }
        let found = api.observe_root_ca_config_maps(b"").await.unwrap();
        assert_eq!((found.total, found.outdated), (3, 3));
        put_config_map(&cluster, "d", "kube-root-ca.crt", &"x".repeat(1200 << 10));
        let error = api.observe_root_ca_config_maps(b"").await.unwrap_err().to_string();
        let expected = "ConfigMaps kube-root-ca.crt can't be used: one of them is too large";
        assert_eq!(error, expected);
    })
    .await;
}
