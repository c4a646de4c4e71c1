//! The intent that a node follows.

use super::site::{Site, agreement};
use super::*;
use crate::cluster::tests::local;
use crate::pass::rotation::find::of_cluster;

use RotationLevel::{Clients, Distrusted, Rest, Servers, Staged, Trusted};

/// What the node follows by the cluster, and what it notes.
async fn followed(site: &Site) -> (Result<Option<RotationIntent>, RotationError>, Vec<String>) {
    site.in_pass(|pass| {
        let found = block_on(of_cluster(pass.node)).ok();
        let followed = pass.follow(found).map(|found| found.map(|rotation| rotation.intent));
        (followed, std::mem::take(&mut pass.report.notes))
    })
    .await
}

async fn refusal(site: &Site) -> RotationError {
    followed(site).await.0.unwrap_err()
}

#[tokio::test(flavor = "current_thread")]
async fn newer_intent_is_kept() {
    local(async {
        let site = Site::new().await;
        assert_eq!(followed(&site).await.0.unwrap(), None);
        for found in [agreement(3, Rest, Staged), agreement(5, Staged, Staged)] {
            let intent = site.intent(found, Servers);
            let signed = site.put_intent(&intent);
            assert_eq!(followed(&site).await.0.unwrap().as_ref(), Some(&intent));
            let kept = site.kept();
            assert_eq!((kept.generation, kept.intent.as_ref()), (found.generation, Some(&signed)));
            // The same is followed once more.
            assert_eq!(followed(&site).await.0.unwrap(), Some(intent));
            assert_eq!(site.kept(), kept);
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn intent_of_the_same_or_an_earlier_generation_is_refused() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let before = site.kept();
        for generation in [6, 7] {
            site.put_intent(&site.intent(agreement(generation, Trusted, Clients), Servers));
            let error = refusal(&site).await;
            assert!(
                matches!(error, RotationError::Replayed { found, known: 7 } if found == generation),
                "{error}"
            );
            assert_eq!(site.kept(), before);
        }
        // It outlives the rotation.
        site.keep(7, None);
        assert!(matches!(refusal(&site).await, RotationError::Replayed { .. }));
        site.put_intent(&site.intent(agreement(8, Rest, Staged), Servers));
        assert!(followed(&site).await.0.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn intent_that_no_root_of_the_node_signed_is_refused() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let before = site.kept();
        let intent = site.intent(agreement(8, Trusted, Trusted), Servers);
        // ca.crt has the old root alone.
        let foreign = intent.sign(&[&site.disk.new]).unwrap();
        let mut changed = intent.sign(&[&site.disk.old]).unwrap();
        changed.document = changed.document.replace("root@cp1", "root@cp2");
        for signed in [foreign, changed] {
            site.put_signed(&signed);
            let error = refusal(&site).await.to_string();
            assert!(error.ends_with("no CA certificate of this node verifies its signature"));
            assert_eq!(site.kept(), before);
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn intent_of_another_cluster_is_refused() {
    local(async {
        let site = Site::new().await;
        site.put_cluster("77aa");
        site.put_intent(&site.intent(agreement(1, Rest, Rest), Servers));
        assert_eq!(
            refusal(&site).await.to_string(),
            "the ConfigMap kube-system/kubecertd-root-ca is about the cluster whose namespace \
             kube-system has UID 1e5b, and here that is 77aa: it is not followed; was it copied?"
        );
        assert_eq!(site.kept(), KeptRotation::default());
        site.put_cluster("1e5b");
        assert!(followed(&site).await.0.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn deleted_object_is_an_error_on_the_way_and_none_at_the_end() {
    local(async {
        for (found, goal) in [
            (agreement(7, Staged, Trusted), Servers),
            (agreement(7, Servers, Servers), Servers),
            (agreement(7, Staged, Rest), Rest),
            (agreement(7, Rest, Rest), Servers),
            (agreement(7, Distrusted, Distrusted), Rest),
        ] {
            let site = Site::at(found, goal).await;
            let (before, object) = (site.kept(), site.intent_of_cluster());
            delete_object(&site).await;
            assert!(matches!(refusal(&site).await, RotationError::Deleted), "{found:?}");
            assert_eq!(site.kept(), before);
            assert!(object.is_some() && site.key_file(RootCa::Old).exists());
        }
        for level in [Rest, Distrusted] {
            let site = Site::at(agreement(7, level, level), level).await;
            delete_object(&site).await;
            let (found, notes) = followed(&site).await;
            assert_eq!((found.unwrap(), notes), (None, Vec::new()));
            let replaced = Some(NOW).filter(|_| level == Distrusted);
            let kept = KeptRotation { generation: 7, replaced, ..KeptRotation::default() };
            assert_eq!(site.kept(), kept);
            assert!(!site.key_file(RootCa::New).exists());
            assert_eq!(site.key_file(RootCa::Old).exists(), level == Distrusted);
        }
    })
    .await;
}

async fn delete_object(site: &Site) {
    let node = site.node();
    let api = kept::administrator_api(&node).await.unwrap();
    let object = api.rotation().await.unwrap().unwrap();
    api.delete_rotation(&object.version).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn node_goes_on_with_the_kept_intent_while_the_api_is_away() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let before = site.kept();
        let newer = site.intent(agreement(8, Trusted, Trusted), Servers);
        site.put_intent(&newer);
        site.cluster.objects.refuses.set(Some(403));
        let (found, notes) = followed(&site).await;
        assert_eq!(found.unwrap().unwrap().agreement, agreement(7, Staged, Trusted));
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("root CA: the intent of the rotation can't be read: "));
        assert_eq!(site.kept(), before);
        site.cluster.objects.refuses.set(None);
        // Without the UID the newer one is not followed yet.
        site.cluster.objects.refuse("/api/v1/namespaces/kube-system", 403);
        assert_eq!(followed(&site).await.0.unwrap().unwrap().agreement.generation, 7);
        site.cluster.objects.refuse("/none", 403);
        assert_eq!(followed(&site).await.0.unwrap(), Some(newer));
        // Without one that is kept it is no trouble.
        site.keep(8, None);
        site.cluster.objects.refuses.set(Some(403));
        let (found, notes) = followed(&site).await;
        assert_eq!((found.unwrap(), notes), (None, Vec::new()));
    })
    .await;
}

/// The identity of kubelet is enough.
#[tokio::test(flavor = "current_thread")]
async fn node_without_the_administrators_kubeconfig_follows_too() {
    local(async {
        let site = Site::new().await;
        std::fs::remove_file(site.disk.dir.path().join("etc/kubernetes/admin.conf")).unwrap();
        let intent = site.intent(agreement(1, Rest, Rest), Servers);
        site.put_intent(&intent);
        assert_eq!(followed(&site).await.0.unwrap(), Some(intent));
    })
    .await;
}
