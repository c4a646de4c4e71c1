//! The root CA is renewed with its own key while it is valid, and CA certificates change under a
//! node that works.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kubecertd::formats::x509::{Certificate, DistinguishedName, NamePart, RootLifetime, new_root};
use kubecertd::model::days;

use super::availability::Meter;
use super::common::{CA_CRT, OTHER_CAS, now};
use super::harness::Node;
use super::recovery::is_ready_since_boot;
use super::root_by_hand::bash_blocks;
use super::root_replacement::{root_of_rotation, wait_for_rotation, wait_until_over};
use super::services::{changed_processes, print_figure, processes};

/// What reads CA certificates only when it starts.
const RESTARTED: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "kubelet"];

/// The same where etcd's CA is renewed too.
const ALL_RESTARTED: [&str; 5] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"];

/// kubecertd begins by itself, as its configuration says. No request fails, whichever of the two
/// certificates a client knows. What reads CA certificates only when it starts is restarted, once,
/// and nothing else.
pub fn before_expiry(node: &mut Node) {
    node.expire_root(20);
    boot_again(node);
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

/// kubeadm made the other CAs on the same day: they are renewed with the root, and etcd and the API
/// server, which read etcd's CA only when they start, are restarted too.
pub fn all_cas(node: &mut Node) {
    node.expire_cas(20);
    boot_again(node);
    node.install_past_first_pass();
    let before = processes(node);
    let planned = node.exec("kubecertd ca rotate plan --renew");
    assert!(planned.contains("Also renewed: CN=etcd-ca, until 20"), "{planned}");
    assert!(planned.contains("one node after the other: etcd, kube-apiserver,"), "{planned}");
    let began = Instant::now();
    node.exec("kubecertd ca rotate start --renew");
    wait_until_over(node);
    print_figure(&format!("all CAs renewed after {:.0} s", began.elapsed().as_secs_f64()));
    let restarted = processes(node);
    assert_eq!(changed_processes(&before, &restarted), ALL_RESTARTED);
    let [front_proxy, etcd] = OTHER_CAS.map(|stem| {
        let ca = node.ca(stem);
        assert!(ca.not_after > now().plus(days(300)), "{stem}: {}", ca.not_after);
        ca
    });
    let server = node.certificate("etcd/server");
    assert!(server.verifies_by(&etcd), "{server:?}");
    node.wait_for("the front proxy's CA is published", |node| {
        let published = node.kubectl(
            "-n kube-system get configmap extension-apiserver-authentication \
             -o jsonpath='{.data.requestheader-client-ca-file}'",
        );
        published.contains(front_proxy.to_pem().trim()).then_some(())
    });
    let pass = node.request_pass();
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    // kube-controller-manager and kube-scheduler exit by themselves while the API server is away.
    let again = changed_processes(&restarted, &processes(node));
    let is_one = |name: &String| ["etcd", "kube-apiserver", "kubelet"].contains(&name.as_str());
    assert!(!again.iter().any(is_one), "they are restarted once: {again:?}");
    node.wait_for("it is Ready again", |node| node.is_ready().then_some(()));
    node.assert_accepted();
}

/// What docs/root-ca.md says of the renewal without kubecertd.
pub fn by_hand(node: &mut Node) {
    node.expire_cas(20);
    boot_again(node);
    let before = processes(node);
    let [sign, put_in_place, publish] = bash_blocks("By hand").try_into().unwrap();
    node.exec(sign);
    node.exec(put_in_place);
    node.wait_for("the API server works again", |node| {
        node.try_exec("kubectl --request-timeout=20s get --raw /readyz")
            .status
            .success()
            .then_some(())
    });
    node.exec(publish);
    node.wait_for("everything runs again", |node| {
        let found = processes(node);
        let runs = found.values().all(|pid| !pid.is_empty());
        (runs && changed_processes(&before, &found) == ALL_RESTARTED).then_some(())
    });
    // kubecertd finds nothing to do.
    node.install_past_first_pass();
    let checked = node.exec("kubecertd check --output wide");
    assert!(!checked.contains("stale"), "{checked}");
    for ca in ["/etc/kubernetes/pki/ca", "/etc/kubernetes/pki/etcd/ca"] {
        let days = node.exec(&format!("openssl x509 -in {ca}.crt -checkend $((3600 * 24 * 3000))"));
        assert!(days.contains("will not expire"), "{ca}: {days}");
    }
    let info = node.kubectl("-n kube-public get configmap cluster-info -o yaml");
    assert!(info.contains(&BASE64_STANDARD.encode(node.text(CA_CRT))), "{info}");
    node.wait_for("it is Ready again", |node| node.is_ready().then_some(()));
    node.assert_accepted();
}

/// Boots the node, so that what runs has read the CA certificates that are renewed then.
fn boot_again(node: &mut Node) {
    node.power_cut(|_| ());
    node.wait_for("it is Ready again", |node| is_ready_since_boot(node).then_some(()));
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
    node.ca("etc/kubernetes/pki/ca")
}
