//! The objects of the API that hold the root CA.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::site::{COPY, Site, agreement};
use super::*;
use crate::cluster::tests::local;
use crate::pass::rotation::kept::{administrator_api, root_authority};
use crate::pass::rotation::publish::{Published, publish};

use RotationLevel::{Distrusted, Rest, Servers, Staged, Trusted};

const HOOK: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook.example.org";
const HOOK_FIELD: &str =
    "MutatingWebhookConfiguration hook.example.org: webhooks/0/clientConfig/caBundle";
const SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.org";
const CLIENT_CA: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
const CONFIGURATION: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
const TOKEN: &str = "/api/v1/namespaces/default/secrets/token";

fn pem(roots: &[&Certificate]) -> String {
    roots.iter().map(|root| root.to_pem()).collect()
}

fn hook(roots: &[&Certificate], writer: &str) -> Value {
    let config = json!({"caBundle": BASE64_STANDARD.encode(pem(roots))});
    let time = "2026-01-01T00:00:00Z";
    let record = json!({"manager": writer, "time": time,
        "fieldsV1": {"f:webhooks": {}}});
    json!({"metadata": {"managedFields": [record]},
        "webhooks": [{"name": "h.example.org", "clientConfig": config}]})
}

fn bundle_of(site: &Site) -> String {
    let found = site.cluster.objects.at(HOOK).unwrap();
    let text = found["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap().to_owned();
    String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
}

async fn published(site: &Site, level: RotationLevel, before: &Published) -> Published {
    let node = site.node();
    let api = administrator_api(&node).await.unwrap();
    let intent = site.intent(agreement(1, level, level), level);
    publish(&api, &node, root_authority(&node).unwrap(), &intent, before.written.clone()).await
}

#[tokio::test(flavor = "current_thread")]
async fn each_object_is_written_once_and_a_reverted_one_stops() {
    local(async {
        let site = Site::new().await;
        let (old, new) = (&site.disk.intent.old, &site.disk.intent.new);
        let objects = &site.cluster.objects;
        objects.put_at(HOOK, hook(&[old], "injector"));
        let service = json!({"spec": {"caBundle": BASE64_STANDARD.encode(pem(&[old]))}});
        objects.put_at(SERVICE, service);
        let writes = objects.writes();
        let first = published(&site, Staged, &Published::default()).await;
        assert!(first.waits.is_empty() && first.held.is_empty() && first.written.is_empty());
        assert_eq!(objects.writes(), writes, "they are as they are to be");
        let second = published(&site, Trusted, &first).await;
        assert!(second.waits.is_empty() && second.held.is_empty(), "{second:?}");
        let names: Vec<_> = second.written.iter().map(String::as_str).collect();
        assert_eq!(names, ["APIService v1.example.org: spec/caBundle", HOOK_FIELD]);
        assert_eq!(objects.writes(), writes + 2);
        assert_eq!(bundle_of(&site), pem(&[old, new]));
        let third = published(&site, Trusted, &second).await;
        assert!(third.waits.is_empty() && third.held.is_empty(), "{third:?}");
        assert_eq!((third.written, objects.writes()), (second.written.clone(), writes + 2));
        // The owner writes what it had.
        objects.put_at(HOOK, hook(&[old], "injector"));
        let writes = objects.writes();
        let stopped = published(&site, Trusted, &second).await;
        let expected = format!(
            "{HOOK_FIELD}: injector has written the earlier CA certificates again: have it use \
             those that kubecertd ca export prints"
        );
        assert_eq!((stopped.held, stopped.written), (vec![expected], second.written.clone()));
        assert_eq!((objects.writes(), bundle_of(&site)), (writes, pem(&[old])));
        // It takes both from then on.
        objects.put_at(HOOK, hook(&[old, new], "injector"));
        assert!(published(&site, Trusted, &second).await.held.is_empty());
        let last = published(&site, Distrusted, &Published::default()).await;
        assert!(last.written.contains(HOOK_FIELD), "{last:?}");
        assert_eq!(bundle_of(&site), pem(&[new]));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn kubeadm_configuration_gets_and_loses_the_arguments() {
    local(async {
        let site = Site::new().await;
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                    kubernetesVersion: v1.36.2\n";
        let object = json!({"data": {"ClusterConfiguration": text}});
        site.cluster.objects.put_at(CONFIGURATION, object);
        let configuration = || {
            let found = site.cluster.objects.at(CONFIGURATION).unwrap();
            found["data"]["ClusterConfiguration"].as_str().unwrap().to_owned()
        };
        let none = Published::default();
        for (level, has) in [(Rest, false), (Staged, true), (Trusted, true), (Servers, true)]
            .into_iter()
            .chain([(Distrusted, false), (Servers, true), (Staged, true), (Rest, false)])
        {
            let found = published(&site, level, &none).await;
            assert!(found.held.is_empty() && found.waits.is_empty(), "{level}: {found:?}");
            let text = configuration();
            for flag in ["cluster-signing-cert-file", "cluster-signing-key-file"] {
                assert_eq!(text.contains(flag), has, "{level}: {text}");
            }
            assert_eq!(text.contains("/etc/kubernetes/pki/kubecertd-signing.key"), has, "{text}");
            assert!(text.contains("kubernetesVersion: v1.36.2"), "{text}");
            let writes = site.cluster.objects.writes();
            published(&site, level, &none).await;
            assert_eq!(site.cluster.objects.writes(), writes, "{level}: written once");
        }
        let odd = json!({"data": {"ClusterConfiguration": "- 1\n"}});
        site.cluster.objects.put_at(CONFIGURATION, odd);
        let found = published(&site, Staged, &none).await;
        assert_eq!(found.held.len(), 1, "{found:?}");
        assert!(found.held[0].contains("ConfigMap kube-system/kubeadm-config"), "{found:?}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn copies_that_the_control_plane_writes_are_waited_for() {
    local(async {
        let site = Site::new().await;
        let (old, new) = (&site.disk.intent.old, &site.disk.intent.new);
        let objects = &site.cluster.objects;
        let put = |roots: &[&Certificate]| {
            objects.put_at(COPY, json!({"data": {"ca.crt": pem(roots)}}));
            let data = json!({"ca.crt": BASE64_STANDARD.encode(pem(roots))});
            let secret = json!({"type": "kubernetes.io/service-account-token", "data": data});
            objects.put_at(TOKEN, secret);
        };
        let none = Published::default();
        put(&[old]);
        let writes = objects.writes();
        let found = published(&site, Trusted, &none).await;
        assert_eq!(
            found.waits,
            [
                "1 of 1 ConfigMaps kube-root-ca.crt are outdated: kube-controller-manager writes \
                 them (default/kube-root-ca.crt)",
                "1 of 1 Secrets with tokens of service accounts are outdated: \
                 kube-controller-manager writes them (default/token)",
            ]
        );
        assert_eq!(objects.writes(), writes);
        put(&[old, new]);
        assert!(published(&site, Trusted, &none).await.waits.is_empty());
        // The order of the two counts: it is that of ca.crt.
        assert_eq!(published(&site, Servers, &none).await.waits.len(), 2);
        put(&[new, old]);
        assert!(published(&site, Servers, &none).await.waits.is_empty());
        objects.refuse("/apis/", 403);
        let found = published(&site, Servers, &none).await;
        assert_eq!((found.waits.len(), found.held.len()), (4, 0), "{found:?}");
    })
    .await;
}

/// Each API server adds the certificates of its own files, and takes out none.
#[tokio::test(flavor = "current_thread")]
async fn front_proxy_ca_is_waited_for_and_taken_out_at_the_end() {
    local(async {
        let site = Site::new().await;
        let (old, new) = (&site.disk.intent.old, &site.disk.intent.new);
        let pair = site.disk.intent.front_proxy.as_ref().unwrap();
        let objects = &site.cluster.objects;
        let put = |front_proxies: &[&Certificate]| {
            let data = json!({"client-ca-file": pem(&[old, new]),
                "requestheader-client-ca-file": pem(front_proxies)});
            objects.put_at(CLIENT_CA, json!({"data": data}));
        };
        let none = Published::default();
        put(&[&pair.old]);
        let found = published(&site, Trusted, &none).await;
        let expected = "ConfigMap kube-system/extension-apiserver-authentication \
                        (requestheader-client-ca-file) does not have the CA certificates yet";
        assert_eq!(found.waits, [expected]);
        put(&[&pair.old, &pair.new]);
        for level in [Trusted, Servers] {
            let found = published(&site, level, &none).await;
            assert!(found.waits.is_empty() && found.held.is_empty(), "{level}: {found:?}");
        }
        let found = published(&site, Distrusted, &none).await;
        assert!(found.waits.is_empty() && found.held.is_empty(), "{found:?}");
        let data = objects.at(CLIENT_CA).unwrap()["data"].clone();
        let expected = json!({"client-ca-file": pem(&[new]),
            "requestheader-client-ca-file": pem(&[&pair.new])});
        assert_eq!(data, expected);
        // Without aggregation there is none.
        objects.put_at(CLIENT_CA, json!({"data": {"client-ca-file": pem(&[old, new])}}));
        let found = published(&site, Trusted, &none).await;
        assert!(found.waits.is_empty() && found.held.is_empty(), "{found:?}");
    })
    .await;
}
