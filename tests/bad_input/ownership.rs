//! Certificates that another CA signed.

use super::authorities::read_ca;
use super::faults::OTHER_KEY;
use super::*;

#[test]
fn leaf_of_other_ca_is_never_reissued() {
    let node = Node::due();
    let (etcd_ca, key) =
        read_ca(&node, "etc/kubernetes/pki/etcd/ca.crt", "etc/kubernetes/pki/etcd/ca.key");
    node.sign_with("apiserver", &etcd_ca, &key, 10);
    let reported = &["issued by CN=etcd-ca, does not verify by its CA", "it is never re-signed"];
    Expected { code: ATTENTION, left: &["apiserver"], reported }.assert("foreign", &node);
}

#[test]
fn self_signed_leaf_is_never_reissued() {
    let node = Node::due();
    let made = rcgen::generate_simple_self_signed(["kubernetes.default".to_owned()]).unwrap();
    node.write(APISERVER_CRT, made.cert.pem());
    node.write(APISERVER_KEY, made.signing_key.serialize_pem());
    let reported = &["signed by its own key, not by its CA", "it is never re-signed"];
    Expected { code: SUCCESS, left: &["apiserver"], reported }.assert("self-signed", &node);
}

#[test]
fn broken_pair_of_other_ca_is_error() {
    let node = Node::due();
    let (etcd_ca, key) =
        read_ca(&node, "etc/kubernetes/pki/etcd/ca.crt", "etc/kubernetes/pki/etcd/ca.key");
    node.sign_with("apiserver", &etcd_ca, &key, 10);
    node.write(APISERVER_KEY, OTHER_KEY);
    let reported = &[
        "/etc/kubernetes/pki/apiserver.key: the key does not fit",
        "its certificate was not issued by its CA",
    ];
    Expected { code: PARTIAL, left: &["apiserver"], reported }.assert("foreign and broken", &node);
}
