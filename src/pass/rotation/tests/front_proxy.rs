//! The CA of the front proxy, which is replaced with the root CA.

use std::os::unix::fs::PermissionsExt as _;

use super::site::Site;
use super::start::{etc, made, root_named, started};
use super::*;
use crate::cluster::tests::local;
use crate::pass::rotation::start::start;
use crate::state::rotation_key;

#[tokio::test(flavor = "current_thread")]
async fn front_proxy_ca_is_replaced_too_where_its_key_is_here() {
    local(async {
        let site = Site::new().await;
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
        let intermediate = |site: &Site| {
            let old = &site.disk.intent.front_proxy.as_ref().unwrap().old;
            bridge_of(old, &third.certificate, &third.key).to_pem()
        };
        let bundle = |site: &Site| {
            site.disk.intent.front_proxy.as_ref().unwrap().old.to_pem()
                + &third.certificate.to_pem()
        };
        type Change<'c> = &'c dyn Fn(&Site);
        let file = "pki/front-proxy-ca.crt";
        let changes: [(Change<'_>, Option<&str>); 6] = [
            (&|site| std::fs::write(etc(site, file), bundle(site)).unwrap(), Some("several")),
            (&|site| std::fs::write(etc(site, file), intermediate(site)).unwrap(), Some("")),
            (&|site| std::fs::write(etc(site, file), "nothing").unwrap(), Some("")),
            (
                &|site| std::fs::remove_file(etc(site, "pki/front-proxy-ca.key")).unwrap(),
                Some("its key /etc/kubernetes/pki/front-proxy-ca.key is not on this node"),
            ),
            // Nothing is to be said where there is none, or where it is the root CA.
            (&|site| std::fs::remove_file(etc(site, file)).unwrap(), None),
            (
                &|site| {
                    for ending in ["crt", "key"] {
                        let from = etc(site, &format!("pki/ca.{ending}"));
                        let to = etc(site, &format!("pki/front-proxy-ca.{ending}"));
                        std::fs::copy(from, to).unwrap();
                    }
                },
                None,
            ),
        ];
        for (change, expected) in changes {
            let site = Site::new().await;
            // It is as it is to be for front-proxy-client, or that is not there.
            for ending in ["crt", "key"] {
                let client = etc(&site, &format!("pki/front-proxy-client.{ending}"));
                std::fs::remove_file(client).unwrap();
            }
            change(&site);
            let found = site.on_node(|node| start(node, made(), NOW)).await.unwrap();
            assert_eq!(found.intent.front_proxy, None);
            assert_eq!(found.note.is_some(), expected.is_some(), "{:?}", found.note);
            let note = found.note.unwrap_or_default();
            assert!(note.contains(expected.unwrap_or_default()), "{note}");
            assert!(note.is_empty() || note.starts_with("the CA of the front proxy stays: "));
            let key = rotation_key(
                &site.node().settings.paths.state,
                ReplacedCa::FrontProxy,
                RootCa::New,
            );
            assert!(!site.path(&key).exists());
        }
    })
    .await;
}
