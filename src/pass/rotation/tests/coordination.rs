//! The agreements of the nodes.

use serde_json::json;

use super::site::{COPY, OBJECT, ROLES, Site, agreement, object_of};
use super::*;
use crate::cluster::tests::local;
use crate::observe::signing_files;
use crate::pass::rotation::kept::{administrator_api, root_authority};

use RotationLevel::{Clients, Distrusted, Rest, Servers, Staged, Trusted};

const CERTS: &str = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs";

/// What a pass of the node `cp1`, which is done or not, makes of the agreement.
async fn coordinated(site: &Site, is_done: bool) -> RotationReport {
    site.in_pass(move |pass| {
        let rotation = read_rotation(pass.node).unwrap().unwrap();
        let mut report = RotationReport::new(&rotation);
        report.is_done = is_done;
        pass.coordinate_as("cp1".to_owned(), &rotation, &mut report);
        assert_eq!(pass.report.notes, Vec::<String>::new());
        report
    })
    .await
}

/// Whether nothing was agreed on, and why.
async fn waits(site: &Site, is_done: bool) -> Option<String> {
    let before = (site.intent_of_cluster(), site.kept());
    let report = coordinated(site, is_done).await;
    assert_eq!(before, (site.intent_of_cluster(), site.kept()), "{report:?}");
    assert_eq!((report.is_done, report.is_over), (is_done, false));
    report.first_wait().map(str::to_owned)
}

#[tokio::test(flavor = "current_thread")]
async fn next_agreement_waits_for_every_node() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.put_node("cp1", None);
        site.put_node("cp2", Some((7, true)));
        site.put_node("w1", Some((7, true)));
        assert_eq!(waits(&site, false).await.as_deref(), Some("cp1 is on its way"));
        for (progress, expected) in [
            (None, "w1 does not report: does kubecertd run there?"),
            (Some((6, true)), "w1 has not read the present agreement yet"),
            (Some((8, true)), "w1 has not read the present agreement yet"),
            (Some((7, false)), "w1 is on its way"),
        ] {
            site.put_node("w1", progress);
            assert_eq!(waits(&site, true).await.as_deref(), Some(expected));
        }
        site.cluster.objects.put_node("w1", &[], Some("no report"));
        let absent = Some("w1 does not report: does kubecertd run there?");
        assert_eq!(waits(&site, true).await.as_deref(), absent);
        site.put_node("w1", Some((7, true)));
        let report = coordinated(&site, true).await;
        assert_eq!(report.agreement, agreement(8, Trusted, Trusted));
        assert_eq!((report.is_done, report.waits), (false, None));
        let written = site.intent_of_cluster().unwrap();
        assert_eq!(written, site.intent(agreement(8, Trusted, Trusted), Servers));
        assert_eq!((site.kept().generation, site.kept_intent()), (8, Some(written)));
        // Each of them has to read it.
        let unread = Some("cp2 has not read the present agreement yet");
        assert_eq!(waits(&site, true).await.as_deref(), unread);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn node_that_is_left_out_is_not_waited_for() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.put_node("cp1", None);
        site.put_node("w1", None);
        assert!(waits(&site, true).await.unwrap().starts_with("w1 does not report"));
        let without = vec!["w1".to_owned()];
        let intent =
            RotationIntent { without, ..site.intent(agreement(8, Staged, Trusted), Servers) };
        site.keep(8, Some(site.put_intent(&intent)));
        let report = coordinated(&site, true).await;
        assert_eq!(report.agreement, agreement(9, Trusted, Trusted));
        assert_eq!(site.intent_of_cluster().unwrap().without, ["w1"]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn objects_that_are_not_done_hold_the_agreement() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let (old, new) = (&site.disk.intent.old, &site.disk.intent.new);
        let put = |pem: String| {
            site.cluster.objects.put_at(COPY, json!({"data": {"ca.crt": pem}}));
        };
        put(old.to_pem());
        let reason = waits(&site, true).await.unwrap();
        assert!(reason.starts_with("1 of 1 ConfigMaps kube-root-ca.crt are outdated"), "{reason}");
        put(old.to_pem() + &new.to_pem());
        assert_eq!(coordinated(&site, true).await.agreement, agreement(8, Trusted, Trusted));
        // What an operator has to see to is shown as such.
        let site = Site::at(agreement(7, Rest, Staged), Servers).await;
        let configuration = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
        let odd = json!({"data": {"ClusterConfiguration": "- 1\n"}});
        site.cluster.objects.put_at(configuration, odd);
        let report = coordinated(&site, true).await;
        assert_eq!(report.agreement.generation, 7);
        assert!(report.held.unwrap().contains("kubeadm-config"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn each_level_is_confirmed_before_the_next() {
    local(async {
        let there = [Rest, Staged, Trusted, Clients, Servers];
        let back = [Distrusted, Servers, Clients, Trusted, Staged, Rest];
        for levels in [&there[..], &back[..]] {
            let mut found = agreement(1, levels[0], levels[0]);
            let goal = *levels.last().unwrap();
            let site = Site::at(found, goal).await;
            for level in &levels[1..] {
                let from = found.to;
                for (from, to) in [(from, *level), (*level, *level)] {
                    site.put_node("cp2", Some((found.generation, true)));
                    found = agreement(found.generation + 1, from, to);
                    let report = coordinated(&site, true).await;
                    assert_eq!((report.agreement, report.held), (found, None));
                }
            }
            if goal == Servers {
                site.put_node("cp2", Some((found.generation, true)));
                assert_eq!(waits(&site, true).await, None, "it is settled");
            }
        }
    })
    .await;
}

/// Turning round needs no node.
#[tokio::test(flavor = "current_thread")]
async fn goal_behind_is_agreed_on_at_once() {
    local(async {
        let site = Site::at(agreement(7, Trusted, Clients), Rest).await;
        site.put_node("w1", None);
        let report = coordinated(&site, false).await;
        assert_eq!(report.agreement, agreement(8, Clients, Trusted));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn conflict_loses_nothing() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        let other = RotationIntent {
            paused: Some("a storm".to_owned()),
            ..site.intent(agreement(8, Staged, Trusted), Servers)
        };
        let signed = other.sign(&[&site.disk.old, &site.disk.new]).unwrap();
        let before = site.kept();
        site.cluster.objects.before_write(move |all| all.put_at(OBJECT, object_of(&signed)));
        let report = coordinated(&site, true).await;
        assert_eq!((report.agreement.generation, report.is_done), (7, true));
        assert!(report.waits.unwrap().ends_with("has changed since it was read"));
        assert_eq!((site.intent_of_cluster(), site.kept()), (Some(other), before));
        // The next pass follows that one; until then nothing is written.
        let newer = Some("a newer intent is in the cluster");
        assert_eq!(waits(&site, true).await.as_deref(), newer);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn paused_rotation_and_api_that_is_away_wait() {
    local(async {
        let site = Site::at(agreement(7, Staged, Trusted), Servers).await;
        site.cluster.objects.refuses.set(Some(403));
        assert!(waits(&site, true).await.unwrap().contains("status 403"));
        site.cluster.objects.refuses.set(None);
        let paused = Some("a storm".to_owned());
        let intent =
            RotationIntent { paused, ..site.intent(agreement(8, Staged, Trusted), Servers) };
        site.keep(8, Some(site.put_intent(&intent)));
        assert_eq!(waits(&site, true).await.as_deref(), Some("it is paused: a storm"));
    })
    .await;
}

/// Without the keys it would write what no node reads.
#[tokio::test(flavor = "current_thread")]
async fn node_without_the_keys_leaves_the_agreement_to_others() {
    local(async {
        // Nodes at the second level trust the old root alone.
        let site = Site::at(agreement(7, Staged, Staged), Servers).await;
        for root in [RootCa::Old, RootCa::New] {
            std::fs::remove_file(site.key_file(root)).unwrap();
            let reason = waits(&site, true).await.unwrap();
            assert!(reason.starts_with("the key of a root CA is not on this node"), "{reason}");
        }
        site.put_key(RootCa::New, &site.disk.new);
        assert!(waits(&site, true).await.unwrap().starts_with("the key of a root CA"));
        site.put_key(RootCa::Old, &site.disk.old);
        assert_eq!(coordinated(&site, true).await.agreement, agreement(8, Staged, Trusted));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn end_removes_what_the_rotation_has() {
    local(async {
        for level in [Rest, Distrusted] {
            let site = Site::at(agreement(7, level, level), level).await;
            let node = site.node();
            let api = administrator_api(&node).await.unwrap();
            api.publish_role().await.unwrap();
            site.cluster.objects.put_at(CERTS, json!({"data": {"ca.key": "AAAA"}}));
            let own = signing_files(root_authority(&node).unwrap()).map(|file| site.path(&file));
            own.iter().for_each(|file| std::fs::write(file, "").unwrap());
            site.put_node("w1", Some((7, false)));
            assert_eq!(waits(&site, true).await.as_deref(), Some("w1 is on its way"));
            site.put_node("w1", Some((7, true)));
            let report = coordinated(&site, true).await;
            assert!(report.is_over, "{report:?}");
            let exists = |path: &str| site.cluster.objects.at(path).is_some();
            assert!(!exists(OBJECT) && !ROLES.iter().any(|path| exists(path)));
            // It holds the old key.
            assert_eq!(exists(CERTS), level == Rest);
            let replaced = Some(NOW).filter(|_| level == Distrusted);
            let kept = KeptRotation { generation: 7, replaced, ..KeptRotation::default() };
            assert_eq!(site.kept(), kept);
            assert!(own.iter().all(|file| !file.exists()));
            assert!(!site.key_file(RootCa::New).exists());
            assert_eq!(site.key_file(RootCa::Old).exists(), level == Distrusted);
        }
    })
    .await;
}

/// What could not be removed stays in the cluster with the object, which goes last.
#[tokio::test(flavor = "current_thread")]
async fn interrupted_end_is_made_again() {
    local(async {
        let site = Site::at(agreement(7, Distrusted, Distrusted), Distrusted).await;
        let certs = "/api/v1/namespaces/kube-system/secrets";
        site.cluster.objects.put_at(CERTS, json!({"data": {}}));
        site.cluster.objects.refuse(certs, 403);
        let reason = waits(&site, true).await.unwrap();
        assert!(reason.starts_with("Secret kube-system/kubeadm-certs: "), "{reason}");
        site.cluster.objects.refuse("/none", 403);
        assert!(coordinated(&site, true).await.is_over);
        assert!(site.cluster.objects.at(CERTS).is_none());
    })
    .await;
}
