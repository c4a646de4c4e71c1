//! Certificates that their authority did not sign.

use super::authorities::authority;
use super::ways::KEY;
use super::*;

#[test]
fn a_leaf_that_its_authority_did_not_sign_is_never_signed_again() {
    let node = Node::due();
    let (etcd_ca, key) =
        authority(&node, "etc/kubernetes/pki/etcd/ca.crt", "etc/kubernetes/pki/etcd/ca.key");
    node.sign_with("apiserver", &etcd_ca, &key, 10);
    let says = &["issued by CN=etcd-ca, not by its authority", "it is never re-signed"];
    Expected { code: FINE, left: &["apiserver"], says }.of("foreign", &node);
}

#[test]
fn a_self_signed_leaf_is_never_signed_again() {
    let node = Node::due();
    let made = rcgen::generate_simple_self_signed(["kubernetes.default".to_owned()]).unwrap();
    node.write(APISERVER_CRT, made.cert.pem());
    node.write(APISERVER_KEY, made.signing_key.serialize_pem());
    let says = &["signed by its own key, not by its authority", "it is never re-signed"];
    Expected { code: FINE, left: &["apiserver"], says }.of("self-signed", &node);
}

#[test]
fn a_broken_pair_that_its_authority_did_not_sign_is_an_error() {
    let node = Node::due();
    let (etcd_ca, key) =
        authority(&node, "etc/kubernetes/pki/etcd/ca.crt", "etc/kubernetes/pki/etcd/ca.key");
    node.sign_with("apiserver", &etcd_ca, &key, 10);
    node.write(APISERVER_KEY, KEY);
    let says = &[
        "/etc/kubernetes/pki/apiserver.key: the key does not fit",
        "its certificate was not issued by its authority",
    ];
    Expected { code: PARTLY, left: &["apiserver"], says }.of("foreign and broken", &node);
}
