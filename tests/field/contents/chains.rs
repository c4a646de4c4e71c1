//! Certificates behind the leaf, in every form in which a credential is stored.

use kubecertd::formats::x509::{Certificate, certificates};

use crate::common::kubelet::CURRENT;
use crate::common::{Node, PKI};
use crate::support::{embed, embedded, openssl_ca};

const ADMIN: &str = "etc/kubernetes/admin.conf";

/// A node whose CA has a certificate by a root above it, which its clients carry behind their own.
struct Chained {
    node: Node,
    /// The CA's certificate by the root.
    intermediate: Certificate,
}

impl Chained {
    fn new() -> Self {
        let node = Node::due();
        let intermediate = openssl_ca::cross_signed(&node, &format!("{PKI}/ca"));
        let chained = Self { node, intermediate };
        chained.append(&format!("{PKI}/apiserver.crt"));
        let leaf = embedded(&chained.node, ADMIN, "client-certificate-data");
        let chain = [leaf, chained.intermediate.to_pem().into_bytes()].concat();
        embed(&chained.node, ADMIN, "client-certificate-data", &chain);
        chained
    }

    fn append(&self, file: &str) {
        let text = self.node.text(file) + &self.intermediate.to_pem();
        self.node.write(file, text);
    }

    fn chain(&self, pem: &[u8]) -> Vec<Certificate> {
        certificates(pem).unwrap()
    }
}

#[test]
fn chain_in_a_kubeconfig_is_kept_as_in_a_pair() {
    let chained = Chained::new();
    let node = &chained.node;
    let old = chained.chain(&embedded(node, ADMIN, "client-certificate-data")).remove(0);
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let in_pair = chained.chain(&node.read(&format!("{PKI}/apiserver.crt")));
    let in_kubeconfig = chained.chain(&embedded(node, ADMIN, "client-certificate-data"));
    for chain in [&in_pair, &in_kubeconfig] {
        assert_eq!(chain.len(), 2, "{}", run.text);
        assert_eq!(chain[1], chained.intermediate);
        assert!(chain[0].is_signed_by(&chain[1]));
    }
    assert_ne!(in_kubeconfig[0].serial, old.serial);
    // A second pass finds nothing to do.
    assert_eq!(node.run(&["check"]).code, 0);
}

#[test]
fn chain_in_the_pem_of_kubelet_is_kept() {
    let chained = Chained::new();
    let node = &chained.node;
    node.add_kubelet_certificate(-1);
    node.link_kubelet_conf();
    let pem = node.kubelet_link().strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    chained.append(&pem);
    node.backdate_kubelet_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let new = node.kubelet_link().strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    assert_ne!(new, pem, "{}", run.text);
    let chain = chained.chain(&node.read(&new));
    assert_eq!(chain.len(), 2, "{}", node.text(CURRENT).matches("BEGIN").count());
    assert_eq!(chain[1], chained.intermediate);
    assert_eq!(node.kubelet_certificate(), chain[0]);
}

#[test]
fn chain_of_another_issuer_is_left_out_and_reported() {
    let chained = Chained::new();
    let node = &chained.node;
    // An unrelated certificate is no part of the chain, and stays.
    let other = certificates(&node.read(&format!("{PKI}/etcd/ca.crt"))).unwrap().remove(0);
    node.write(
        &format!("{PKI}/apiserver.crt"),
        node.text(&format!("{PKI}/apiserver.crt")) + &other.to_pem(),
    );
    // By another CA only what is urgent is renewed.
    ["apiserver", "admin.conf"].into_iter().for_each(|name| node.age(name, 2));
    openssl_ca::replace_keeping_the_old_anchor(node, &format!("{PKI}/ca"));
    let run = node.run(&["renew", "apiserver", "admin.conf"]);
    let in_pair = chained.chain(&node.read(&format!("{PKI}/apiserver.crt")));
    let in_kubeconfig = chained.chain(&embedded(node, ADMIN, "client-certificate-data"));
    assert_eq!(in_pair.len(), 2, "{}", run.text);
    assert_eq!(in_pair[1], other);
    assert_eq!(in_kubeconfig.len(), 1, "{}", run.text);
    let text = "behind the old certificate is left out";
    assert_eq!(run.text.matches(text).count(), 2, "{}", run.text);
}
