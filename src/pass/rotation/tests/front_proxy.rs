//! The CA of the front proxy, which is replaced with the root CA.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::site::Site;
use super::start::{etc, made, root_named, started};
use super::*;
use crate::cluster::tests::local;
use crate::formats::x509::fixtures::Draft;
use crate::pass::rotation::front_proxy::replaced_front_proxy;
use crate::pass::rotation::preview::preview;
use crate::pass::rotation::start::start;
use crate::state::rotation_key;

const PUBLISHED: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

/// A node in a cluster whose API server publishes the CA of the front proxy.
async fn site() -> Site {
    let site = Site::new().await;
    publish(&site, &site.disk.intent.front_proxy.as_ref().unwrap().old.to_pem());
    site
}

fn publish(site: &Site, front_proxies: &str) {
    let root = site.disk.intent.old.to_pem();
    let data = json!({"client-ca-file": root, "requestheader-client-ca-file": front_proxies});
    site.cluster.objects.put_at(PUBLISHED, json!({"data": data}));
}

fn has_key(site: &Site, root: RootCa) -> bool {
    let state = site.node().settings.paths.state.clone();
    site.path(&rotation_key(&state, ReplacedCa::FrontProxy, root)).exists()
}

#[tokio::test(flavor = "current_thread")]
async fn front_proxy_ca_is_replaced_too_where_its_key_is_here() {
    local(async {
        let site = site().await;
        let intent = started(&site, made()).await.unwrap();
        let pair = intent.front_proxy.unwrap();
        assert_eq!(pair.old, site.disk.intent.front_proxy.as_ref().unwrap().old);
        assert_eq!(pair.new.subject, pair.old.subject);
        assert!(pair.new.is_self_signed() && pair.new.subject_key_identifier.is_some());
        for root in [RootCa::Old, RootCa::New] {
            let state = site.node().settings.paths.state.clone();
            let file = site.path(&rotation_key(&state, ReplacedCa::FrontProxy, root));
            let key = PrivateKey::from_pem(&std::fs::read(&file).unwrap()).unwrap();
            assert_eq!(pair.owner(&key), Some(root));
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
    })
    .await;
}

/// One that can't be replaced is no reason not to replace the root CA.
#[tokio::test(flavor = "current_thread")]
async fn front_proxy_ca_that_can_not_be_replaced_stays() {
    local(async {
        let third = root_named("third");
        let old = |site: &Site| site.disk.intent.front_proxy.as_ref().unwrap().old.clone();
        let file = "pki/front-proxy-ca.crt";
        let write = |site: &Site, text: String| std::fs::write(etc(site, file), text).unwrap();
        let remove = |site: &Site, file: &str| std::fs::remove_file(etc(site, file)).unwrap();
        let copy = |site: &Site, from: &str, to: &str| {
            for ending in ["crt", "key"] {
                let [from, to] = [from, to].map(|stem| etc(site, &format!("pki/{stem}.{ending}")));
                std::fs::copy(from, to).unwrap();
            }
        };
        type Change<'c> = &'c dyn Fn(&Site);
        let changes: [(Change<'_>, &str); 10] = [
            (&|site| write(site, old(site).to_pem() + &third.certificate.to_pem()), "several"),
            (
                &|site| {
                    write(site, bridge_of(&old(site), &third.certificate, &third.key).to_pem());
                },
                "intermediate",
            ),
            (&|site| write(site, "nothing".to_owned()), file),
            (
                &|site| remove(site, "pki/front-proxy-ca.key"),
                "its key /etc/kubernetes/pki/front-proxy-ca.key is not on this node",
            ),
            (
                &|site| {
                    let [from, to] = ["front-proxy-ca.key", "front-proxy-ca-key.pem"]
                        .map(|name| etc(site, &format!("pki/{name}")));
                    std::fs::rename(from, to).unwrap();
                },
                "front-proxy-ca-key.pem",
            ),
            (&|site| copy(site, "etcd/ca", "front-proxy-ca"), "it is the CA etcd-ca too"),
            (
                &|site| remove(site, "pki/front-proxy-client.key"),
                "front-proxy-client: it has to be right first",
            ),
            (
                &|site| {
                    copy(site, "front-proxy-client", "other");
                    let configuration = site.disk.dir.path().join("etc/kubecertd/kubecertd.toml");
                    std::fs::create_dir_all(configuration.parent().unwrap()).unwrap();
                    let pki = "/etc/kubernetes/pki/other";
                    let entry = format!(
                        "[[credential]]\nname = \"other\"\ncertificate = \"{pki}.crt\"\n\
                         key = \"{pki}.key\"\n"
                    );
                    std::fs::write(configuration, entry).unwrap();
                },
                "other: it issued that, and kubecertd does not renew it",
            ),
            (
                &|site| {
                    let root = site.disk.intent.old.to_pem();
                    let data = json!({"data": {"client-ca-file": root}});
                    site.cluster.objects.put_at(PUBLISHED, data);
                },
                "no API server publishes it",
            ),
            (&|site| publish(site, &third.certificate.to_pem()), "neither the old nor the new"),
        ];
        for (change, expected) in changes {
            let site = site().await;
            change(&site);
            let shown = site.on_node(|node| preview(node, made(), NOW)).await.unwrap();
            let found = site.on_node(|node| start(node, made(), NOW)).await.unwrap();
            assert_eq!((&found.intent.front_proxy, &shown.intent.front_proxy), (&None, &None));
            assert_eq!(found.note, shown.note);
            let note = found.note.unwrap();
            assert!(note.starts_with("the CA of the front proxy stays: "), "{note}");
            assert!(note.contains(expected), "{note}");
            assert!(!has_key(&site, RootCa::New));
        }
        // Nothing is to be said where there is none.
        let site = site().await;
        for name in ["ca.crt", "client.crt", "client.key"] {
            remove(&site, &format!("pki/front-proxy-{name}"));
        }
        let found = site.on_node(|node| start(node, made(), NOW)).await.unwrap();
        assert_eq!((found.intent.front_proxy, found.note), (None, None));
    })
    .await;
}

/// Its requests would be of the old root CA in the end, and nothing would change that.
#[tokio::test(flavor = "current_thread")]
async fn root_ca_that_is_the_front_proxy_ca_too_is_refused() {
    local(async {
        let site = site().await;
        for ending in ["crt", "key"] {
            let names = ["ca", "front-proxy-ca"];
            let [from, to] = names.map(|name| etc(&site, &format!("pki/{name}.{ending}")));
            std::fs::copy(from, to).unwrap();
        }
        let refused = started(&site, made()).await.unwrap_err().to_string();
        let expected = "this node is not ready: /etc/kubernetes/pki/front-proxy-ca.crt holds the \
                        root CA: ";
        assert!(refused.starts_with(expected), "{refused}");
    })
    .await;
}

/// OpenSSL would take the one for the other.
#[test]
fn front_proxy_ca_without_key_identifier_gets_another_name() {
    let disk = Disk::of(TREES[0]);
    let [key, _] = &disk.front_proxy;
    let mut draft = Draft::like(&disk.intent.front_proxy.as_ref().unwrap().old);
    draft.extensions.retain(|one| one.extn_id.to_string() != "2.5.29.14");
    let without = draft.signed(key, key);
    let file = disk.dir.path().join("etc/kubernetes/pki/front-proxy-ca.crt");
    std::fs::write(file, without.to_pem()).unwrap();
    let pair = replaced_front_proxy(&disk.node(), NOW).unwrap().pair.unwrap();
    assert_eq!(pair.old, without);
    assert_eq!(pair.new.subject.to_string(), "CN=front-proxy-ca-2");
}
