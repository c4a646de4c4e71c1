//! Files that are no files, and files that hold something else than they should.

use std::fs;

use super::ways::*;
use super::*;

#[test]
fn a_leaf_that_cannot_be_read_costs_itself_alone() {
    each(&[UNREADABLE], APISERVER_CRT, &Expected { code: PARTLY, left: &["apiserver"], says: &[] });
}

#[test]
fn a_leaf_that_is_none_costs_itself_alone() {
    const WRONG: &[Way] = &[
        (
            "a key",
            |path| fs::write(path, KEY).unwrap(),
            "the file holds no CERTIFICATE block, but PRIVATE KEY",
        ),
        (
            "garbage in armour",
            |path| fs::write(path, armoured("CERTIFICATE")).unwrap(),
            "certificate 1 of the file can't be read",
        ),
    ];
    let says = &["there is no backup of it", "kubeadm init phase certs"];
    each(&[NOT_PEM, WRONG], APISERVER_CRT, &Expected { code: PARTLY, left: &["apiserver"], says });
}

#[test]
fn a_leafs_key_that_cannot_be_read_costs_its_credential_alone() {
    each(&[UNREADABLE], APISERVER_KEY, &Expected { code: PARTLY, left: &["apiserver"], says: &[] });
}

#[test]
fn a_leafs_key_that_is_none_is_made_anew_and_the_old_file_kept_in_the_backup() {
    each(&[NOT_PEM, WRONG_KEYS], APISERVER_KEY, &Expected { code: FINE, left: &[], says: &[] });
}

#[test]
fn an_authority_that_cannot_be_read_costs_what_it_signs() {
    each(
        &[UNREADABLE],
        CA_CRT,
        &Expected { code: PARTLY, left: OF_CA, says: &["its authority ca"] },
    );
}

#[test]
fn an_authority_that_is_none_costs_what_it_signs() {
    const WRONG: &[Way] = &[(
        "a key",
        |path| fs::write(path, KEY).unwrap(),
        "the file holds no CERTIFICATE block, but PRIVATE KEY",
    )];
    each(
        &[NOT_PEM, WRONG],
        CA_CRT,
        &Expected { code: PARTLY, left: OF_CA, says: &["its authority ca"] },
    );
}

#[test]
fn an_authoritys_key_that_cannot_be_read_costs_what_it_signs() {
    each(
        &[UNREADABLE],
        CA_KEY,
        &Expected { code: PARTLY, left: OF_CA, says: &["its authority ca"] },
    );
}

#[test]
fn an_authoritys_key_that_is_none_or_another_ones_costs_what_it_signs() {
    const WRONG: &[Way] = &[(
        "another authority's",
        |path| fs::write(path, KEY).unwrap(),
        "the key fits no certificate in /etc/kubernetes/pki/ca.crt",
    )];
    // Not the first of them, which is said of a leaf.
    each(
        &[NOT_PEM, WRONG, &WRONG_KEYS[1..]],
        CA_KEY,
        &Expected { code: PARTLY, left: OF_CA, says: &["its authority ca"] },
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_read_costs_itself_alone() {
    each(&[UNREADABLE], ADMIN, &Expected { code: PARTLY, left: &["admin.conf"], says: &[] });
}
