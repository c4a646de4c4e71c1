//! Tests of the bridge. Which clients accept it is tested by the programs themselves, in
//! tests/bridge.

use proptest::prelude::*;
use x509_cert::ext::Extension;

use super::super::fixtures::*;
use super::super::{
    Certificate, DistinguishedName, KeyAlgorithm, PrivateKey, Terms, anchors_of, chains,
};
use super::oracle::*;
use super::{BridgeError, NewRoot, RootLifetime, bridge, new_root};
use crate::common::requirements::require;
use crate::model::days;

fn root(subject: Vec<u8>, more: &[Extension], key: &PrivateKey) -> Certificate {
    Draft::authority(subject, more).signed(key, key)
}

fn replacement(subject: &DistinguishedName, algorithm: &KeyAlgorithm) -> NewRoot {
    let lifetime = RootLifetime {
        now: now(),
        tolerated_skew: std::time::Duration::from_secs(300),
        validity: days(7300),
    };
    new_root(subject, algorithm, &lifetime).unwrap()
}

fn built(
    new: &Certificate,
    old: &Certificate,
    key: &PrivateKey,
) -> Result<Certificate, BridgeError> {
    let terms = Terms { not_after: now().plus(days(36_500)), ..terms() };
    bridge(new, old, key, &terms, now()).map(|der| parsed(&der))
}

fn constraints(path_length: u8) -> Extension {
    extension("2.5.29.19", true, &[0x30, 6, 1, 1, 0xff, 2, 1, path_length])
}

/// A root that limits how many CAs may be below it.
fn limited(subject: Vec<u8>, path_length: u8, key: &PrivateKey) -> Certificate {
    let mut draft = Draft::authority(subject, &[identifier(b"limited")]);
    draft.extensions.retain(|one| one.extn_id.to_string() != "2.5.29.19");
    draft.extensions.push(constraints(path_length));
    draft.signed(key, key)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn bridge_copies_name_and_identifiers_of_both(
        old_name in any_name(),
        new_name in proptest::option::of(any_name()),
        old_key in 0..2_usize,
        new_key in 0..2_usize,
        identifier in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..24)),
        new_identifier in proptest::collection::vec(any::<u8>(), 1..24),
    ) {
        prop_assume!(is_name(&old_name) && new_name.as_deref().is_none_or(is_name));
        prop_assume!(identifier.as_ref() != Some(&new_identifier));
        let new_name = new_name.unwrap_or_else(|| old_name.clone());
        let more: Vec<_> =
            identifier.iter().map(|bytes| super::super::fixtures::identifier(bytes)).collect();
        let (old_key, new_key) = (&KEYS[old_key], &OTHER_KEYS[new_key]);
        let old = root(old_name.clone(), &more, old_key);
        let new = root(
            new_name.clone(),
            &[super::super::fixtures::identifier(&new_identifier)],
            new_key,
        );
        let bridge = built(&new, &old, old_key);
        if old.subject.is_equivalent_to(&new.subject) && identifier.is_none() {
            prop_assert_eq!(bridge, Err(BridgeError::SameName(old.subject)));
            return Ok(());
        }
        let bridge = bridge.unwrap();
        prop_assert_eq!(bridge.issuer.der(), &old_name[..]);
        prop_assert_eq!(bridge.subject.der(), &new_name[..]);
        prop_assert_eq!(bridge.public_key_der(), new.public_key_der());
        prop_assert_eq!(bridge.subject_key_identifier.as_ref(), Some(&new_identifier));
        prop_assert_eq!(&bridge.authority_key_identifier, &identifier);
        prop_assert!(bridge.is_ca() && !bridge.has_sha1_signature());
        let leaf = leaf(&new, new_key);
        let anchors = [old, new];
        let between = [bridge];
        let known = |at: usize| anchors_of(&leaf, &between, &anchors[at..=at], now()).len();
        prop_assert_eq!((known(0), known(1)), (1, 1));
    }
}

/// Keys of new roots.
static OTHER_KEYS: std::sync::LazyLock<[PrivateKey; 2]> = std::sync::LazyLock::new(|| {
    [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256]
        .map(|algorithm| PrivateKey::generate(&algorithm).unwrap())
});

#[test]
fn openssl_verifies_leaf_by_old_root_and_bridge() {
    require!("openssl");
    for key in KEYS.iter() {
        for subject in ["kubernetes", "kubernetes-2"] {
            for (more, is_strict) in [(vec![identifier(b"one")], true), (vec![], false)] {
                let old = root(common_name(PRINTABLE, "kubernetes"), &more, key);
                let named = root(common_name(PRINTABLE, subject), &[], key).subject;
                let NewRoot { certificate: new, key: new_key } =
                    replacement(&named, key.algorithm());
                let bridge = match built(&new, &old, key) {
                    Ok(bridge) => bridge,
                    Err(error) => {
                        assert!(subject == "kubernetes" && !is_strict, "{error}");
                        continue;
                    }
                };
                let leaf = leaf(&new, &new_key);
                let by = |root, between, options: &[&str]| {
                    openssl_verifies(&leaf, between, root, options)
                };
                assert!(by(&old, Some(&bridge), &[]) && by(&new, Some(&bridge), &[]));
                assert_eq!(by(&old, Some(&bridge), &["-x509_strict"]), is_strict);
                assert!(by(&new, Some(&bridge), &["-x509_strict"]));
                assert!(!by(&old, None, &[]), "without the bridge");
            }
        }
    }
}

#[test]
fn bridge_of_roots_that_are_the_same_to_openssl_is_refused() {
    let (key, other) = (p256(), p256());
    let old = |more: &[Extension]| root(common_name(PRINTABLE, "kubernetes"), more, &key);
    let new = |more: &[Extension]| root(common_name(UTF8, "Kubernetes"), more, &other);
    let (one, two) = (identifier(b"one"), identifier(b"two"));
    let (one, two) = (std::slice::from_ref(&one), std::slice::from_ref(&two));
    let made = |old: &Certificate, new: &Certificate| bridge(new, old, &key, &terms(), now());
    let distinct = root(common_name(PRINTABLE, "kubernetes-2"), &[], &other);
    for (old, new) in [(old(&[]), new(one)), (old(one), new(&[])), (old(one), new(one))] {
        let refused = Err(BridgeError::SameName(old.subject.clone()));
        assert_eq!(made(&old, &new), refused);
        made(&old, &distinct).unwrap();
    }
    made(&old(one), &new(two)).unwrap();
}

#[test]
fn bridge_expires_with_the_first_root() {
    let (key, other) = (p256(), p256());
    let root = |name: &str, key: &PrivateKey, left| {
        let mut draft = Draft::authority(common_name(PRINTABLE, name), &[]);
        draft.terms.not_after = now().plus(days(left));
        draft.signed(key, key)
    };
    let short = Terms { not_after: now().plus(days(5)), ..terms() };
    let long = Terms { not_after: now().plus(days(50_000)), ..terms() };
    for (old, new, terms, left) in
        [(20, 3650, long, 20), (3650, 10, long, 10), (3650, 3650, short, 5)]
    {
        let (old, new) = (root("old", &key, old), root("new", &other, new));
        let bridge = parsed(&bridge(&new, &old, &key, &terms, now()).unwrap());
        assert_eq!(bridge.not_after, now().plus(days(left)));
        assert_eq!(bridge.not_before, terms.not_before);
    }
    let (old, new) = (root("old", &key, 1), root("new", &other, 2));
    let at = |later| bridge(&new, &old, &key, &long, now().plus(days(later)));
    let expired =
        |root: &Certificate| Err(BridgeError::Expired(root.subject.clone(), root.not_after));
    assert_eq!(at(1), expired(&old));
    let at = |later| bridge(&old, &new, &other, &long, now().plus(days(later)));
    assert_eq!(at(1), expired(&old), "the new one");
}

#[test]
fn path_lengths_leave_room_for_bridge_and_leaves() {
    require!("openssl");
    let (key, new_key) = (p256(), p256());
    let new = root(common_name(PRINTABLE, "new"), &[identifier(b"new")], &new_key);
    let none = limited(common_name(PRINTABLE, "old"), 0, &key);
    assert_eq!(built(&new, &none, &key), Err(BridgeError::PathLength(none.subject.clone())));
    // The limit of the old root counts the bridge.
    let one = limited(common_name(PRINTABLE, "old"), 1, &key);
    let bridge = built(&new, &one, &key).unwrap();
    assert_eq!(bridge.path_length, None);
    let leaf = leaf(&new, &new_key);
    assert!(openssl_verifies(&leaf, Some(&bridge), &one, &["-x509_strict"]));
    let anchors = [&one].into_iter();
    assert_eq!(chains(&leaf, &[bridge], anchors, Certificate::is_signed_by).len(), 1);
    // That of the new root is kept.
    let limited = limited(common_name(PRINTABLE, "new"), 3, &new_key);
    let old = root(common_name(PRINTABLE, "old"), &[], &key);
    assert_eq!(built(&limited, &old, &key).unwrap().path_length, Some(3));
}

#[test]
fn bridge_is_limited_as_the_new_root_is() {
    let (key, new_key) = (p256(), p256());
    // Client authentication, and names below example.com.
    let usage = extension("2.5.29.37", false, b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02");
    let names = extension("2.5.29.30", true, b"\x30\x11\xa0\x0f\x30\x0d\x82\x0bexample.com");
    let kubeadms = extension("2.5.29.17", false, b"\x30\x0c\x82\x0akubernetes");
    let new = root(
        common_name(PRINTABLE, "new"),
        &[usage.clone(), names.clone(), kubeadms, identifier(b"new")],
        &new_key,
    );
    let old = root(common_name(PRINTABLE, "old"), &[identifier(b"old")], &key);
    let bridge = built(&new, &old, &key).unwrap();
    let found: Vec<_> = bridge.extensions.iter().map(|one| one.oid.to_id_string()).collect();
    let expected = ["2.5.29.15", "2.5.29.19", "2.5.29.37", "2.5.29.30", "2.5.29.14", "2.5.29.35"];
    assert_eq!(found, expected);
    for copied in [usage, names] {
        let value = copied.extn_value.as_bytes();
        assert!(
            bridge
                .extensions
                .iter()
                .any(|one| one.value == value && one.critical == copied.critical)
        );
    }
    let usage = bridge.key_usage.unwrap();
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

/// Verifiers apply what an anchor says to everything below it: openssl refuses by such a root what
/// it accepts by one without the extension.
#[test]
fn bridge_by_root_with_constraints_is_refused() {
    require!("openssl");
    let (key, new_key) = (p256(), p256());
    // Servers alone; and names below O=a, as those of the old root and of its leaves are.
    let usage = extension("2.5.29.37", false, b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01");
    let named = |organization: &[u8], text: &[u8]| {
        name(&[&[(O, PRINTABLE, organization)], &[(CN, PRINTABLE, text)]])
    };
    let subtree = tlv(0x30, &tlv(0xa4, &name(&[&[(O, PRINTABLE, b"a")]])));
    let names = extension("2.5.29.30", true, &tlv(0x30, &tlv(0xa0, &subtree)));
    let new = root(named(b"b", b"new"), &[identifier(b"new")], &new_key);
    for (constraint, is_purpose) in [(Some(usage), true), (Some(names), false), (None, false)] {
        let more: Vec<_> = constraint.iter().cloned().chain([identifier(b"old")]).collect();
        let old = root(named(b"a", b"old"), &more, &key);
        let subject = old.subject.clone();
        let expected = match (&constraint, is_purpose) {
            (None, _) => None,
            (_, true) => Some(BridgeError::Purposes(subject, "servers".to_owned())),
            (_, false) => Some(BridgeError::NameConstraints(subject)),
        };
        assert_eq!(built(&new, &old, &key).err(), expected);

        let mut by_hand = Draft::authority(named(b"b", b"new"), &[identifier(b"new")]);
        by_hand.issuer = old.subject.der().to_vec();
        let by_hand = by_hand.signed(&new_key, &key);
        let leaf = Draft::leaf(named(b"a", b"leaf"), &new, &[]).signed(&p256(), &new_key);
        let verifies = openssl_verifies(&leaf, Some(&by_hand), &old, &["-purpose", "sslclient"]);
        assert_eq!(verifies, constraint.is_none());
    }
}

#[test]
fn bridge_without_right_key_or_ca_is_refused() {
    let (key, new_key) = (p256(), p256());
    let old = root(common_name(PRINTABLE, "old"), &[], &key);
    let new = root(common_name(PRINTABLE, "new"), &[], &new_key);
    let leaf = leaf(&old, &key);
    assert_eq!(built(&new, &old, &new_key), Err(BridgeError::KeyDoesNotFit));
    let same = root(common_name(PRINTABLE, "new"), &[], &key);
    assert_eq!(built(&same, &old, &key), Err(BridgeError::SameKey));
    let refused = Err(BridgeError::NotAnAuthority(leaf.subject.clone()));
    assert_eq!(built(&leaf, &old, &key), refused);
    assert_eq!(built(&new, &leaf, &key), refused);
}
