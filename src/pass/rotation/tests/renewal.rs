//! The renewal of the root with its own key, as a rotation.

use serde_json::json;

use super::site::{COPY, OBJECT, ROLES, Site, agreement};
use super::*;
use crate::cluster::tests::local;
use crate::pass::ca_renewal::renewed_others;
use crate::pass::rotation::kept::issues_certificates;
use crate::pass::rotation::order::{Order, OrderError, next};
use crate::pass::rotation::renewal::is_due;
use crate::pass::rotation::start::{Replacement, StartOrder, start};

use RotationLevel::{Renewed, Rest};

const CONFIGURATION: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";

fn order() -> StartOrder {
    let operator = "root@cp1".to_owned();
    StartOrder {
        replacement: Replacement::Renewed,
        is_stepwise: false,
        operator,
        trust_clock: true,
    }
}

#[test]
fn only_what_trusts_the_root_changes_and_changes_back() {
    for tree in TREES {
        let disk = Disk::of(tree).with_renewal();
        let trusts = ["pki/ca.crt", "admin.conf", "controller-manager.conf", "kubelet.conf"];
        let stays = ["pki/ca.key", "pki/apiserver.crt", "manifests/kube-controller-manager.yaml"];
        let (trusted, others) = (trusts.map(|one| disk.etc(one)), stays.map(|one| disk.etc(one)));
        assert_eq!(disk.go_to(Rest), []);
        let steps = [
            RotationStep::WriteCa(CaFile::New),
            RotationStep::TrustInKubeconfigs(TrustedRoots::New),
            RotationStep::TrustInKubelet(TrustedRoots::New),
        ];
        assert_eq!(disk.go_to(Renewed), steps);
        assert_eq!(disk.etc("pki/ca.crt"), disk.intent.new.to_pem());
        let found = disk.found();
        assert_eq!(found.kubelet_trust, [TrustedRoots::New]);
        let kubeconfigs = found.control_plane.unwrap().kubeconfigs;
        assert!(kubeconfigs.iter().all(|one| *one == TrustedRoots::New));
        assert_eq!(stays.map(|one| disk.etc(one)), others);
        disk.go_to(Rest);
        assert_eq!(trusts.map(|one| disk.etc(one)), trusted);
        assert_eq!(stays.map(|one| disk.etc(one)), others);
    }
}

/// The CAs of the node are found by their names and keys.
#[test]
fn other_cas_are_renewed_with_the_root_and_stay() {
    let mut disk = Disk::of(TREES[0]).with_renewal();
    let later = disk.intent.old.not_after.minus(days(20));
    disk.intent.others =
        renewed_others(&disk.node(), &disk.intent.old, days(4_000), later).unwrap();
    let before = disk.etc("pki/apiserver.crt");
    assert!(disk.go_to(Renewed).contains(&RotationStep::RenewOthers));
    let files = ["pki/front-proxy-ca.crt", "pki/etcd/ca.crt"];
    let renewed: Vec<_> = disk.intent.others.iter().map(Certificate::to_pem).collect();
    assert_eq!(files.map(|file| disk.etc(file)).as_slice(), renewed);
    assert_eq!(disk.etc("pki/apiserver.crt"), before);
    disk.go_to(Rest);
    assert_eq!(files.map(|file| disk.etc(file)).as_slice(), renewed);
    // A worker has none of them.
    std::fs::remove_dir_all(disk.dir.path().join("etc/kubernetes/pki/etcd")).unwrap();
    assert!(!disk.go_to(Renewed).contains(&RotationStep::RenewOthers));
}

#[tokio::test(flavor = "current_thread")]
async fn renewal_starts_with_other_nodes_and_keeps_no_key() {
    local(async {
        let site = Site::new().await;
        site.put_node("cp1", None);
        site.put_node("cp2", None);
        let later = site.disk.intent.old.not_after.minus(days(20));
        let started = site.on_node(move |node| start(node, order(), later)).await.unwrap();
        let intent = started.intent;
        let old = &site.disk.intent.old;
        assert!(intent.is_renewal() && intent.old == *old);
        assert_eq!((&intent.new.subject, intent.goal), (&old.subject, Renewed));
        assert_eq!((intent.bridge, intent.bridge_back), (None, None));
        // kubeadm made the other CAs on the same day.
        let others: Vec<_> = intent.others.iter().map(|ca| ca.subject.to_string()).collect();
        assert_eq!(others, ["CN=front-proxy-ca", "CN=etcd-ca"]);
        assert!(intent.new.not_after > old.not_after.plus(days(3_000)));
        // Clocks of other nodes may be behind.
        assert_eq!(intent.new.not_before, later.minus(days(1)));
        assert!(!site.key_file(RootCa::Old).exists() && !site.key_file(RootCa::New).exists());
        assert!(ROLES.iter().all(|path| site.cluster.objects.at(path).is_some()));
        let kept = site.kept_intent().unwrap();
        assert_eq!(site.intent_of_cluster(), Some(kept.clone()));
        let root = site.in_pass(|pass| read_rotation(pass.node).unwrap().unwrap()).await;
        assert!(root.keys.old.is_some_and(|key| key.fits(&kept.new)));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn renewal_that_gains_nothing_is_refused() {
    local(async {
        let site = Site::new().await;
        let refused = site.on_node(|node| start(node, order(), NOW)).await;
        assert!(matches!(refused, Err(OrderError::Renewal(_))), "{refused:?}");
        assert!(site.cluster.objects.at(OBJECT).is_none());
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn renewal_is_over_when_all_nodes_and_objects_have_it() {
    local(async {
        let site = Site::renewing(agreement(7, Rest, Renewed), Renewed).await;
        let objects = &site.cluster.objects;
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
        objects.put_at(CONFIGURATION, json!({"data": {"ClusterConfiguration": text}}));
        let copy = |root: &Certificate| {
            objects.put_at(COPY, json!({"data": {"ca.crt": root.to_pem()}}));
        };
        copy(&site.disk.intent.old);
        site.put_node("cp1", None);
        site.put_node("cp2", Some((7, false)));
        let coordinated = || {
            site.in_pass(|pass| {
                let rotation = read_rotation(pass.node).unwrap().unwrap();
                let mut report = RotationReport::new(&rotation);
                report.is_done = true;
                pass.coordinate_as("cp1".to_owned(), &rotation, &mut report);
                report
            })
        };
        assert_eq!(coordinated().await.first_wait(), Some("cp2 is on its way"));
        site.put_node("cp2", Some((7, true)));
        let waits = coordinated().await.first_wait().unwrap().to_owned();
        assert!(waits.contains("ConfigMaps kube-root-ca.crt are outdated"), "{waits}");
        copy(&site.disk.intent.new);
        assert_eq!(coordinated().await.agreement, agreement(8, Renewed, Renewed));
        site.put_node("cp2", Some((8, true)));
        assert!(coordinated().await.is_over);
        assert!(objects.at(OBJECT).is_none());
        assert_eq!((site.kept().generation, site.kept().intent), (8, None));
        // What an earlier rotation has left is none of this one.
        assert!(site.key_file(RootCa::Old).exists());
        let configuration = objects.at(CONFIGURATION).unwrap();
        assert_eq!(configuration["data"]["ClusterConfiguration"], text);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn renewal_leaves_certificates_to_the_pass() {
    local(async {
        let site = Site::renewing(agreement(7, Rest, Renewed), Renewed).await;
        assert!(!site.on_node(issues_certificates).await);
        let site = Site::at(agreement(7, Rest, RotationLevel::Staged), Renewed).await;
        assert!(site.on_node(issues_certificates).await, "it can't be read");
        let site = Site::at(agreement(7, Rest, RotationLevel::Staged), Rest).await;
        assert!(site.on_node(issues_certificates).await);
    })
    .await;
}

#[test]
fn orders_about_a_renewal_are_those_that_make_sense() {
    let disk = Disk::of(TREES[0]).with_renewal();
    let ordered = |found: Agreement, goal, order: &Order| {
        let mut rotation = disk.rotation(found.to);
        rotation.intent = RotationIntent { agreement: found, goal, ..rotation.intent };
        next(&rotation, order, NOW).map(|intent| intent.goal)
    };
    let (on_the_way, reached) = (agreement(7, Rest, Renewed), agreement(8, Renewed, Renewed));
    for found in [on_the_way, reached] {
        let pause = Order::Pause("a reason".to_owned());
        assert_eq!(ordered(found, Renewed, &pause).unwrap(), Renewed);
        assert_eq!(ordered(found, Renewed, &Order::Back).unwrap(), Rest);
        let complete = ordered(found, Renewed, &Order::Complete);
        assert!(matches!(complete, Err(OrderError::IsRenewal)));
    }
    let step = ordered(on_the_way, Renewed, &Order::Step);
    assert!(matches!(step, Err(OrderError::OnTheWay(Renewed))), "{step:?}");
    assert!(matches!(ordered(reached, Renewed, &Order::Step), Err(OrderError::Ends)));
    assert_eq!(ordered(agreement(9, Rest, Rest), Rest, &Order::Step).unwrap(), Renewed);
}

#[test]
fn root_is_due_as_the_configuration_says_where_its_key_is() {
    let disk = Disk::of(TREES[0]);
    let end = disk.intent.old.not_after;
    let is_due_at = |days_left| is_due(&disk.node(), end.minus(days(days_left)));
    assert!(!is_due_at(1), "only where the configuration says so");
    let file = disk.dir.path().join("etc/kubecertd/kubecertd.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "[root_ca]\nrenew_before = \"90d\"\n").unwrap();
    assert!(is_due_at(89) && !is_due_at(91));
    std::fs::remove_file(disk.dir.path().join("etc/kubernetes/pki/ca.key")).unwrap();
    assert!(!is_due_at(89), "the node that has the key begins");
}
