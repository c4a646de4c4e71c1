//! Objects that are no regular files, and files with unexpected content.

use std::fs;

use super::faults::*;
use super::*;

#[test]
fn unreadable_leaf_affects_only_itself() {
    check_faults(
        &[UNREADABLE],
        APISERVER_CRT,
        &Expected { code: PARTIAL, left: &["apiserver"], reported: &[] },
    );
}

#[test]
fn invalid_leaf_affects_only_itself() {
    const WRONG: &[Fault] = &[
        (
            "a key",
            |path| fs::write(path, OTHER_KEY).unwrap(),
            "the file holds no CERTIFICATE block, but PRIVATE KEY",
        ),
        (
            "garbage in armour",
            |path| fs::write(path, wrap_in_pem("CERTIFICATE")).unwrap(),
            "certificate 1 of the file can't be read",
        ),
    ];
    let reported = &["lost: made by the profile for CN=kube-apiserver, with the names cp1, "];
    check_faults(
        &[NOT_PEM, WRONG],
        APISERVER_CRT,
        &Expected { code: SUCCESS, left: &[], reported },
    );
}

#[test]
fn unreadable_leaf_key_affects_only_its_credential() {
    check_faults(
        &[UNREADABLE],
        APISERVER_KEY,
        &Expected { code: PARTIAL, left: &["apiserver"], reported: &[] },
    );
}

#[test]
fn invalid_leaf_key_is_replaced_and_backed_up() {
    check_faults(
        &[NOT_PEM, WRONG_KEYS],
        APISERVER_KEY,
        &Expected { code: SUCCESS, left: &[], reported: &[] },
    );
}

#[test]
fn unreadable_ca_affects_only_its_leaves() {
    check_faults(
        &[UNREADABLE],
        CA_CRT,
        &Expected { code: PARTIAL, left: SIGNED_BY_CA, reported: &["its CA ca"] },
    );
}

#[test]
fn invalid_ca_affects_only_its_leaves() {
    const WRONG: &[Fault] = &[(
        "a key",
        |path| fs::write(path, OTHER_KEY).unwrap(),
        "the file holds no CERTIFICATE block, but PRIVATE KEY",
    )];
    check_faults(
        &[NOT_PEM, WRONG],
        CA_CRT,
        &Expected { code: PARTIAL, left: SIGNED_BY_CA, reported: &["its CA ca"] },
    );
}

#[test]
fn unreadable_ca_key_affects_only_its_leaves() {
    check_faults(
        &[UNREADABLE],
        CA_KEY,
        &Expected { code: PARTIAL, left: SIGNED_BY_CA, reported: &["its CA ca"] },
    );
}

#[test]
fn invalid_ca_key_affects_only_its_leaves() {
    const WRONG: &[Fault] = &[(
        "another authority's",
        |path| fs::write(path, OTHER_KEY).unwrap(),
        "the key fits no certificate in /etc/kubernetes/pki/ca.crt",
    )];
    // The first entry applies to leaves only.
    check_faults(
        &[NOT_PEM, WRONG, &WRONG_KEYS[1..]],
        CA_KEY,
        &Expected { code: PARTIAL, left: SIGNED_BY_CA, reported: &["its CA ca"] },
    );
}

#[test]
fn unreadable_kubeconfig_affects_only_itself() {
    check_faults(
        &[UNREADABLE],
        ADMIN,
        &Expected { code: PARTIAL, left: &["admin.conf"], reported: &[] },
    );
}
