//! Tests of new roots, and of the subjects that are stated for them.

use std::time::Duration;

use proptest::prelude::*;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::super::fixtures::*;
use super::super::{Certificate, DistinguishedName, IssueError, KeyAlgorithm};
use super::oracle::*;
use super::{NamePart, NewRootError, RootLifetime, SubjectError, new_root};
use crate::common::requirements::require;
use crate::model::{Timestamp, days};

const SKEW: Duration = Duration::from_secs(300);

fn ten_years() -> RootLifetime {
    RootLifetime { now: now(), tolerated_skew: SKEW, validity: days(3650) }
}

fn named(der: Vec<u8>) -> DistinguishedName {
    DistinguishedName::new(&X509Name::from_der(&der).unwrap().1)
}

fn kubernetes() -> DistinguishedName {
    named(common_name(PRINTABLE, "kubernetes"))
}

/// The extensions, each with its criticality and its value in hex.
fn extensions(certificate: &Certificate) -> Vec<(String, bool, String)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let all = certificate.extensions.iter();
    all.map(|one| (one.oid.to_id_string(), one.critical, hex(&one.value))).collect()
}

#[test]
fn new_root_of_each_kind_verifies_its_leaves() {
    require!("openssl");
    for algorithm in [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::EcdsaP521,
        KeyAlgorithm::Ed25519,
    ] {
        let old = Draft::authority(common_name(PRINTABLE, "kubernetes"), &[identifier(b"one")])
            .self_signed()
            .certificate;
        let new = new_root(&old.subject, &algorithm, &ten_years()).unwrap();
        let root = &new.certificate;
        assert_eq!(root.subject.der(), old.subject.der());
        assert_eq!(root.key_algorithm, algorithm);
        assert!(root.is_self_signed() && root.is_ca() && root.is_root() && new.key.fits(root));
        assert_ne!(root.subject_key_identifier, old.subject_key_identifier);
        assert_eq!(root.not_before, now().minus(SKEW));
        assert_eq!(root.not_after, now().plus(days(3650)));
        let identifier = root.subject_key_identifier.as_ref().unwrap();
        assert_eq!(identifier.len(), 20);
        let identifier = identifier.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            extensions(root),
            [
                ("2.5.29.15".to_owned(), true, "03020186".to_owned()),
                ("2.5.29.14".to_owned(), false, format!("0414{identifier}")),
                ("2.5.29.19".to_owned(), true, "30030101ff".to_owned()),
            ]
        );
        let leaf = leaf(root, &new.key);
        assert!(leaf.verifies_by(root) && !leaf.verifies_by(&old));
        assert!(openssl_verifies(&leaf, None, root, &["-x509_strict"]), "{algorithm}");
        assert!(!openssl_verifies(&leaf, None, &old, &[]), "{algorithm}");
    }
}

#[test]
fn new_root_and_kubeadms_have_one_name() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let old = issuers(tree).remove(0).certificate;
        let new = new_root(&old.subject, &old.key_algorithm, &ten_years()).unwrap().certificate;
        assert_eq!(new.subject.der(), old.subject.der());
        assert_ne!(new.subject_key_identifier, old.subject_key_identifier);
        assert!(!new.is_of_same_ca(&old));
        // A stated name is encoded as kubeadm encodes it.
        let stated =
            DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes")]).unwrap();
        assert_eq!(stated, old.subject);
    }
}

#[test]
fn impossible_lifetime_or_key_is_refused() {
    let refused = |lifetime: RootLifetime| {
        new_root(&kubernetes(), &KeyAlgorithm::EcdsaP256, &lifetime).unwrap_err()
    };
    for lifetime in [
        RootLifetime { validity: Duration::ZERO, tolerated_skew: Duration::ZERO, ..ten_years() },
        RootLifetime { now: Timestamp::from_seconds(100), ..ten_years() },
    ] {
        let error = refused(lifetime);
        assert!(
            matches!(error, NewRootError::Issue(IssueError::Lifetime(..))),
            "{lifetime:?}: {error:?}"
        );
    }
    let other = KeyAlgorithm::Other("RSA-1024".to_owned());
    let error = new_root(&kubernetes(), &other, &ten_years()).unwrap_err();
    assert!(matches!(error, NewRootError::Key(_)), "{error:?}");
}

#[test]
fn validity_past_2049_is_written() {
    let lifetime = RootLifetime { validity: days(50 * 365), ..ten_years() };
    let new = new_root(&kubernetes(), &KeyAlgorithm::EcdsaP256, &lifetime).unwrap();
    assert_eq!(new.certificate.not_after, now().plus(days(50 * 365)));
}

#[test]
fn name_that_rcgen_would_change_is_refused() {
    for der in [
        name(&[&[(O, UTF8, b"a")], &[(O, UTF8, b"b")], &[(CN, UTF8, b"c")]]),
        name(&[&[(DC, IA5, b"example")], &[(DC, IA5, b"com")], &[(CN, UTF8, b"c")]]),
        name(&[&[(CN, PRINTABLE, b"a"), (OU, PRINTABLE, b"b")]]),
        // Not a string type that rcgen has, and a text that its type does not hold.
        name(&[&[(CN, 0x12, b"123")]]),
        name(&[&[(CN, TELETEX, b"caf\xe9")]]),
        // rcgen panics at the first, and x509-cert refuses the second.
        name(&[&[(CN, PRINTABLE, b"who?")]]),
        name(&[&[(CN, PRINTABLE, b"a_b")]]),
        // Object identifiers of too few parts, and of a large second one.
        name(&[&[(&[0x2a], UTF8, b"a")]]),
        name(&[&[(&[0x88, 0x37, 1], UTF8, b"a")]]),
    ] {
        let subject = named(der);
        let error = new_root(&subject, &KeyAlgorithm::EcdsaP256, &ten_years()).unwrap_err();
        assert_eq!(error, NewRootError::Subject(subject));
        assert!(error.to_string().contains("state another subject"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn any_name_is_written_byte_for_byte_or_refused(subject in any_name()) {
        match new_root(&named(subject.clone()), &KeyAlgorithm::EcdsaP256, &ten_years()) {
            Ok(new) => prop_assert_eq!(new.certificate.subject.der(), &subject[..]),
            Err(error) => prop_assert!(matches!(error, NewRootError::Subject(_)), "{:?}", error),
        }
    }

    #[test]
    fn name_of_single_parts_is_written(subject in simple_name()) {
        let new = new_root(&named(subject.clone()), &KeyAlgorithm::EcdsaP256, &ten_years());
        let new = new.unwrap().certificate;
        prop_assert_eq!(new.subject.der(), &subject[..]);
    }

    #[test]
    fn stated_parts_are_a_subject_of_a_new_root(
        organization in "[A-Za-zä]{1,20}",
        common_name in "[ -~]{1,20}",
    ) {
        prop_assume!(!common_name.trim().is_empty());
        let parts = [
            (NamePart::Country, "DE"),
            (NamePart::Organization, organization.as_str()),
            (NamePart::CommonName, common_name.as_str()),
        ];
        let subject = DistinguishedName::from_parts(&parts).unwrap();
        let read: Vec<_> =
            parts.iter().map(|(kind, text)| (kind.short_name(), (*text).to_owned())).collect();
        prop_assert_eq!(subject.parts(), read);
        let new = new_root(&subject, &KeyAlgorithm::EcdsaP256, &ten_years()).unwrap();
        prop_assert_eq!(new.certificate.subject, subject);
    }
}

#[test]
fn parts_that_are_no_subject_are_refused() {
    use NamePart::{CommonName, Country, Organization, State};
    let refused = |parts: &[(NamePart, &str)]| DistinguishedName::from_parts(parts).unwrap_err();
    let cn = (CommonName, "kubernetes");
    assert_eq!(refused(&[]), SubjectError::NoCommonName);
    assert_eq!(refused(&[(Organization, "a")]), SubjectError::NoCommonName);
    assert_eq!(refused(&[cn, cn]), SubjectError::Twice("CN"));
    assert_eq!(refused(&[(Organization, " "), cn]), SubjectError::Text("O"));
    assert_eq!(refused(&[(CommonName, "a\u{1b}[2J")]), SubjectError::Text("CN"));
    for country in ["de", "D", "D1", "Ä"] {
        assert_eq!(refused(&[(Country, country), cn]), SubjectError::Country, "{country}");
    }
    for (kind, longest) in [(State, 128), (Organization, 64)] {
        let text = "ä".repeat(longest);
        DistinguishedName::from_parts(&[(kind, &text), cn]).unwrap();
        let kind_name = kind.short_name();
        assert_eq!(
            refused(&[(kind, &format!("{text}a")), cn]),
            SubjectError::TooLong { kind: kind_name, longest }
        );
    }
}
