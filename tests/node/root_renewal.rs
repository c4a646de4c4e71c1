//! The root CA is renewed with its own key while it is valid, and CA certificates change under a
//! node that works.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kubecertd::formats::x509::{
    Certificate, DistinguishedName, NamePart, RootLifetime, certificates, new_root,
};
use kubecertd::model::days;

use super::availability::Meter;
use super::common::{CA_CRT, now};
use super::harness::Node;
use super::recovery::is_ready_since_boot;
use super::root_replacement::{root_of_rotation, wait_for_rotation, wait_until_over};
use super::services::{changed_processes, print_figure, processes};

/// What reads CA certificates only when it starts.
const RESTARTED: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "kubelet"];

/// kubecertd begins by itself, as its configuration says. No request fails, whichever of the two
/// certificates a client knows. What reads CA certificates only when it starts is restarted, once,
/// and nothing else.
pub fn before_expiry(node: &mut Node) {
    node.expire_root(20);
    // What runs has read the one that is renewed now.
    node.power_cut(|_| ());
    node.wait_for("it is Ready again", |node| is_ready_since_boot(node).then_some(()));
    node.install_past_first_pass();
    let old = root_of(node);
    let before = processes(node);
    let knows_old = Meter::that_trusts(node, std::slice::from_ref(&old));
    let planned = node.exec("kubecertd ca rotate plan --renew");
    assert!(planned.contains("cluster-info: gets the renewed root CA"), "{planned}");
    node.write("etc/kubecertd/kubecertd.d/root-ca.toml", "[root_ca]\nrenew_before = \"30d\"\n");
    let began = Instant::now();
    node.exec(
        "systemctl reload kubecertd && systemctl kill --kill-who main --signal USR1 kubecertd",
    );
    wait_for_rotation(node, "by kubecertd@");
    let new = root_of_rotation(node);
    let knows_new = Meter::that_trusts(node, std::slice::from_ref(&new));
    let knows_both = Meter::that_trusts(node, &[old, new.clone()]);

    wait_until_over(node);
    print_figure(&format!(
        "on the node and in all objects after {:.0} s",
        began.elapsed().as_secs_f64()
    ));
    let restarted = processes(node);
    assert_eq!(changed_processes(&before, &restarted), RESTARTED);
    assert_eq!(node.text(CA_CRT), new.to_pem());
    assert!(!node.exec("kubecertd check --output wide || true").contains("stale"));
    wait_until_published(node);
    let info = node.kubectl("-n kube-public get configmap cluster-info -o yaml");
    assert!(info.contains(&BASE64_STANDARD.encode(new.to_pem())), "{info}");
    let again = node.try_exec("kubecertd ca rotate start --renew");
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(text.contains("not worth another certificate"), "{text}");
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    assert_eq!(processes(node), restarted, "they are restarted once");
    // kubelet of 1.20 reports that it is not Ready until it has asked its container runtime.
    node.wait_for("it is Ready again", |node| node.is_ready().then_some(()));
    for (what, meter) in [("old", knows_old), ("renewed", knows_new), ("both", knows_both)] {
        let figures = meter.stop();
        print_figure(&format!("a client that knows the {what}: {figures}"));
        assert_eq!(figures.failed, 0, "{what}: {figures}");
    }
    node.assert_accepted();
}

/// An operator makes a bundle of ca.crt by hand, and controller-manager.conf is due. With two
/// certificates to sign with, kube-controller-manager would not work after a restart.
pub fn bundle_by_hand(node: &mut Node) {
    node.install_past_first_pass();
    let (original, own) = (node.text(CA_CRT), root_of(node));
    let lifetime =
        RootLifetime { now: now(), tolerated_skew: Duration::ZERO, validity: days(3650) };
    let other = DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes-2")]).unwrap();
    let other = new_root(&other, &own.key_algorithm, &lifetime).unwrap().certificate;
    node.write(CA_CRT, format!("{original}{}", other.to_pem()));
    node.age("controller-manager.conf", 10);
    let before = processes(node);
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && !pass.renewed.is_empty(), "{pass:?}");
    assert_eq!(changed_processes(&before, &processes(node)), Vec::<String>::new());
    let alarm = node.wait_for_alarm("services-not-updated (250.003)");
    assert!(
        alarm
            .contains("needs exactly one certificate in /etc/kubernetes/pki/ca.crt, which holds 2"),
        "{alarm}"
    );

    node.write(CA_CRT, original);
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    assert_eq!(changed_processes(&before, &processes(node)), ["kube-controller-manager"]);
    assert!(!node.exec("kubecertd check --output wide || true").contains("stale"));
}

/// Waits until pods get the CA certificates that are in ca.crt.
pub fn wait_until_published(node: &Node) {
    node.wait_for("the renewed root is published", |node| {
        let published = node.kubectl(
            "-n kube-system get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}'",
        );
        (published == node.text(CA_CRT)).then_some(())
    });
}

fn root_of(node: &Node) -> Certificate {
    certificates(&node.read(CA_CRT)).unwrap().remove(0)
}
