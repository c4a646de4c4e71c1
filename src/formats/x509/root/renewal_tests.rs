//! Tests of the renewal of a root with its own key.

use proptest::prelude::*;

use super::super::fixtures::*;
use super::super::{Certificate, IssueError, PrivateKey, Terms};
use super::oracle::*;
use super::{LeafLoss, RenewRootError, lost_leaves, renew_root};
use crate::common::requirements::require;
use crate::model::{Timestamp, days};

/// When renewed roots expire.
fn expiry() -> Timestamp {
    now().plus(days(7300))
}

/// Terms of a renewal that are longer than those of the roots here.
fn terms() -> Terms {
    Terms { not_after: expiry(), ..super::super::fixtures::terms() }
}

fn renewed(old: &Certificate, key: &PrivateKey) -> Certificate {
    parsed(&renew_root(old, key, &terms()).unwrap())
}

/// Asserts that only the serial number and the validity differ.
fn assert_copied(new: &Certificate, old: &Certificate) {
    assert_eq!(new.subject.der(), old.subject.der());
    assert_eq!(new.issuer.der(), old.issuer.der());
    assert_eq!(new.public_key_der(), old.public_key_der());
    assert_eq!(new.extensions, old.extensions);
    assert_eq!(new.subject_key_identifier, old.subject_key_identifier);
    assert_ne!(new.serial, old.serial);
    assert_eq!((new.not_before, new.not_after), (terms().not_before, expiry()));
    assert!(new.is_self_signed() && new.is_root());
}

#[test]
fn kubeadms_roots_are_renewed_and_lose_no_leaf() {
    require!("openssl");
    for tree in [RSA_TREE, ECDSA_TREE] {
        let leaves: Vec<_> = leaves(tree).into_iter().map(|leaf| leaf.certificate).collect();
        let mut verified = 0;
        for root in issuers(tree) {
            let new = renewed(&root.certificate, &root.key);
            assert_copied(&new, &root.certificate);
            assert_eq!(lost_leaves(&root.certificate, &new, &leaves), []);
            for leaf in leaves.iter().filter(|leaf| leaf.verifies_by(&new)) {
                assert!(openssl_verifies(leaf, None, &new, &["-x509_strict"]), "{}", leaf.subject);
                verified += 1;
            }
        }
        assert_eq!(verified, leaves.len(), "{tree}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn any_root_is_copied_byte_for_byte(
        subject in any_name(),
        key in 0..2_usize,
        identifier in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..24)),
        names_itself in any::<bool>(),
        unknown in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        is_critical in any::<bool>(),
    ) {
        prop_assume!(is_name(&subject));
        let mut more = Vec::new();
        if let Some(bytes) = &identifier {
            more.push(super::super::fixtures::identifier(bytes));
            if names_itself {
                more.insert(0, authority(Some(bytes), None));
            }
        }
        if let Some(bytes) = &unknown {
            more.push(extension("1.3.6.1.4.1.99999.1", is_critical, bytes));
        }
        let key = &KEYS[key];
        let old = Draft::authority(subject, &more).signed(key, key);
        let new = renewed(&old, key);
        assert_copied(&new, &old);
        let leaf = leaf(&old, key);
        prop_assert!(leaf.verifies_by(&old));
        prop_assert_eq!(lost_leaves(&old, &new, [&leaf]), []);
    }
}

#[test]
fn openssl_verifies_old_leaf_by_renewed_root() {
    require!("openssl");
    let names = [
        common_name(UTF8, "kubernetes"),
        common_name(TELETEX, "kubernetes"),
        name(&[&[(DC, IA5, b"example")], &[(O, UTF8, b"a")], &[(O, UTF8, b"b")]]),
        name(&[&[(CN, PRINTABLE, b"a"), (OU, PRINTABLE, b"b")]]),
    ];
    for key in KEYS.iter() {
        for subject in &names {
            for (more, is_strict) in [
                (vec![], false),
                (vec![identifier(b"one")], true),
                (vec![authority(Some(b"one"), None), identifier(b"one")], true),
            ] {
                let old = Draft::authority(subject.clone(), &more).signed(key, key);
                let (new, leaf) = (renewed(&old, key), leaf(&old, key));
                assert!(openssl_verifies(&leaf, None, &new, &[]), "{}", old.subject);
                let strict = openssl_verifies(&leaf, None, &new, &["-x509_strict"]);
                assert_eq!(strict, is_strict, "{}", old.subject);
            }
        }
    }
}

#[test]
fn sha1_signature_becomes_sha256() {
    require!("openssl");
    for kind in ["rsa:2048", "ec"] {
        let Issuer { certificate: old, key } = openssl_root(kind, &["-sha1"]);
        assert!(old.has_sha1_signature() && old.was_signed_by(&old));
        let new = renewed(&old, &key);
        assert!(!new.has_sha1_signature());
        assert_copied(&new, &old);
        assert_eq!(lost_leaves(&old, &new, [&leaf(&old, &key)]), []);
    }
}

#[test]
fn root_that_cannot_be_copied_is_refused() {
    let refused = |old: &Certificate, key: &PrivateKey| renew_root(old, key, &terms()).unwrap_err();
    let root = issuers(RSA_TREE).remove(0);
    let apiserver = certificate(RSA_TREE, "apiserver.crt");
    assert!(matches!(refused(&apiserver, &root.key), RenewRootError::NotAnAuthority(_)));
    assert_eq!(refused(&root.certificate, &p256()), RenewRootError::KeyDoesNotFit);
    let old = root.certificate.not_after;
    for (new, is_later) in [(old.minus(days(1)), false), (old, true)] {
        let made = renew_root(&root.certificate, &root.key, &Terms { not_after: new, ..terms() });
        let expected = if is_later { None } else { Some(RenewRootError::Shorter { new, old }) };
        assert_eq!(made.err(), expected);
    }

    // Another CA above it, or one of the same name.
    let key = p256();
    let named = Draft::authority(common_name(PRINTABLE, "kubernetes"), &[identifier(b"one")]);
    let below = |issuer: &[u8], more: &[_]| {
        let issuer = common_name(PRINTABLE, std::str::from_utf8(issuer).unwrap());
        let extensions = [named.extensions.as_slice(), more].concat();
        Draft { issuer, extensions, ..named.clone() }.signed(&key, &root.key)
    };
    for intermediate in
        [below(b"company", &[]), below(b"kubernetes", &[authority(Some(b"other"), None)])]
    {
        let error = refused(&intermediate, &key);
        assert!(matches!(error, RenewRootError::Intermediate { .. }), "{error:?}");
        assert!(error.to_string().contains("have that CA sign a new one"), "{error}");
    }

    // The parts of an RDN in another order than DER's.
    let unsorted = name(&[&[(OU, PRINTABLE, b"b"), (CN, PRINTABLE, b"a")]]);
    let sorted = name(&[&[(CN, PRINTABLE, b"a"), (OU, PRINTABLE, b"b")]]);
    let signed = Draft::authority(sorted.clone(), &[]).signed(&key, &key);
    let twice = [sorted.as_slice(), &[]].concat();
    let first = patched(&signed, &twice, &unsorted);
    let both = patched(&parsed(&first), &twice, &unsorted);
    let error = refused(&parsed(&both), &key);
    assert!(matches!(&error, RenewRootError::Issue(IssueError::NotReproducible(_))), "{error:?}");

    // "Not critical" spelled out, which DER leaves out.
    let unusual = Draft::authority(sorted, &[extension("1.3.6.1.4.1.99999.1", true, b"\x05\x00")]);
    let critical = unusual.signed(&key, &key);
    let oid = [0x06, 9, 0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 1, 1, 1];
    let spelled = patched(&critical, &[&oid[..], &[0xff]].concat(), &[&oid[..], &[0]].concat());
    let spelled = parsed(&spelled);
    assert!(spelled.extensions.iter().any(|one| !one.critical && one.value == b"\x05\x00"));
    let error = refused(&spelled, &key);
    assert!(
        matches!(&error, RenewRootError::Issue(IssueError::NotReproducible(what))
            if what.contains("extensions")),
        "{error:?}"
    );
}

/// What openssl wrote for years: the serial number of the root in its own authority key identifier,
/// and in that of each leaf.
#[test]
fn root_named_by_its_serial_number_is_refused() {
    require!("openssl");
    let key = p256();
    let draft = Draft::authority(common_name(PRINTABLE, "kubernetes"), &[identifier(b"one")]);
    let old = draft.clone().signed(&key, &key);
    let serial = draft.terms.serial;
    let by_serial = authority(Some(b"one"), Some(&serial));
    let leaf =
        |more: &[_]| Draft::leaf(common_name(UTF8, "leaf"), &old, more).signed(&p256(), &key);
    let (leaf, other) = (leaf(std::slice::from_ref(&by_serial)), leaf(&[]));
    let new = renewed(&old, &key);
    assert!(leaf.verifies_by(&old) && openssl_verifies(&leaf, None, &old, &[]));
    assert!(!openssl_verifies(&leaf, None, &new, &[]), "openssl looks at the serial number");
    assert_eq!(lost_leaves(&old, &new, [&leaf, &other]), [(&leaf, LeafLoss::Serial)]);

    let mut naming = draft;
    naming.extensions.push(by_serial);
    let naming = naming.signed(&key, &key);
    assert!(openssl_verifies(&other, None, &naming, &[]));
    assert_eq!(renew_root(&naming, &key, &terms()).unwrap_err(), RenewRootError::NamesSerial);
}

/// The key and the serial number that it names are the root's; the issuer is `CN=kubernetes`.
#[test]
fn leaf_that_names_another_issuer_does_not_verify() {
    require!("openssl");
    let key = p256();
    for (name, is_named) in [("kubernetes", true), ("other", false)] {
        let draft = Draft::authority(common_name(UTF8, name), &[identifier(b"one")]);
        let more = [authority(Some(b"one"), Some(&draft.terms.serial))];
        let root = draft.signed(&key, &key);
        let leaf = Draft::leaf(common_name(UTF8, "leaf"), &root, &more).signed(&p256(), &key);
        assert!(leaf.was_signed_by(&root));
        assert_eq!(leaf.verifies_by(&root), is_named);
        assert_eq!(openssl_verifies(&leaf, None, &root, &[]), is_named);
    }
}

#[test]
fn lost_leaves_are_named_with_reasons() {
    let (key, other_key) = (p256(), p256());
    let root = |tag, id: &[u8], key: &PrivateKey| {
        Draft::authority(common_name(tag, "kubernetes"), &[identifier(id)]).signed(key, key)
    };
    let old = root(PRINTABLE, b"one", &key);
    let (known, foreign) =
        (leaf(&old, &key), leaf(&root(PRINTABLE, b"one", &other_key), &other_key));
    for (new, loss) in [
        (root(PRINTABLE, b"one", &other_key), Some(LeafLoss::Key)),
        (root(UTF8, b"one", &key), Some(LeafLoss::Name)),
        (root(PRINTABLE, b"two", &key), Some(LeafLoss::KeyIdentifier)),
        (root(PRINTABLE, b"one", &key), None),
    ] {
        let expected: Vec<_> = loss.map(|loss| (&known, loss)).into_iter().collect();
        assert_eq!(lost_leaves(&old, &new, [&foreign, &known]), expected);
    }
}
