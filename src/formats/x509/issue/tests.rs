use super::super::fixtures::*;
use super::super::{KeyAlgorithm, verify_renewed};
use super::*;
use crate::model::days;

fn p256() -> PrivateKey {
    PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
}

fn reissued(old: &Certificate, issuer: &Issuer, key: &PrivateKey) -> Certificate {
    Certificate::from_der(&reissue(old, &issuer.certificate, &issuer.key, key, &terms()).unwrap())
        .unwrap()
}

/// Re-issues, and verifies the result with webpki and the comparison.
fn renewed(old: &Certificate, issuer: &Issuer) -> Certificate {
    let key = p256();
    let new = reissued(old, issuer, &key);
    verify_renewed(&new, old, &issuer.certificate, now()).unwrap();
    assert!(key.fits(&new) && new.is_signed_by(&issuer.certificate));
    new
}

#[test]
fn every_leaf_is_renewed_as_kubeadm_renews_it() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let issuers = issuers(tree);
        let leaves = leaves(tree);
        assert_eq!(leaves.len(), if tree == RSA_TREE { 11 } else { 12 });
        for leaf in leaves {
            let issuer = issuers
                .iter()
                .find(|issuer| leaf.certificate.is_signed_by(&issuer.certificate))
                .unwrap();
            let key = PrivateKey::generate(leaf.key.algorithm()).unwrap();
            let ours = reissued(&leaf.certificate, issuer, &key);
            verify_renewed(&ours, &leaf.certificate, &issuer.certificate, now()).unwrap();
            let kubeadms = &leaf.renewed;
            assert_eq!(ours.subject, kubeadms.subject, "{}", leaf.name);
            assert_eq!(ours.issuer, kubeadms.issuer, "{}", leaf.name);
            assert_eq!(ours.key_algorithm, kubeadms.key_algorithm, "{}", leaf.name);
            assert_eq!(ours.key_usage, kubeadms.key_usage, "{}", leaf.name);
            assert_eq!(ours.extended_key_usage, kubeadms.extended_key_usage, "{}", leaf.name);
            assert_eq!(ours.dns_names, kubeadms.dns_names, "{}", leaf.name);
            assert_eq!(ours.ip_addresses, kubeadms.ip_addresses, "{}", leaf.name);
            assert_eq!(ours.is_authority, kubeadms.is_authority, "{}", leaf.name);
            assert_eq!(
                ours.authority_key_identifier, kubeadms.authority_key_identifier,
                "{}",
                leaf.name
            );
            assert_eq!(ours.extensions, kubeadms.extensions, "{}: Go's bytes", leaf.name);
        }
    }
}

#[test]
fn renewal_by_kubeadm_passes_the_same_verification() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let issuers = issuers(tree);
        // kubeadm leaves kubelet.conf alone.
        for leaf in leaves(tree).into_iter().filter(|leaf| leaf.name != "kubelet") {
            let issuer = issuers
                .iter()
                .find(|issuer| leaf.certificate.is_signed_by(&issuer.certificate))
                .unwrap();
            verify_renewed(&leaf.renewed, &leaf.certificate, &issuer.certificate, now()).unwrap();
        }
    }
}

#[test]
fn lifetime_is_kept_to_the_second() {
    let ca = issuers(ECDSA_TREE).remove(0);
    let old = certificate(ECDSA_TREE, "apiserver.crt");
    let terms = terms();
    let new =
        Certificate::from_der(&reissue(&old, &ca.certificate, &ca.key, &p256(), &terms).unwrap())
            .unwrap();
    assert_eq!((new.not_before, new.not_after), (terms.not_before, terms.not_after));
    assert_eq!(new.serial.bytes(), terms.serial);
}

#[test]
fn serial_with_leading_zeros_is_encoded_minimally() {
    let ca = issuers(ECDSA_TREE).remove(0);
    let old = certificate(ECDSA_TREE, "apiserver.crt");
    let terms = Terms { serial: [0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], ..terms() };
    let new =
        Certificate::from_der(&reissue(&old, &ca.certificate, &ca.key, &p256(), &terms).unwrap())
            .unwrap();
    assert_eq!(new.serial.bytes(), &terms.serial[2..]);
    assert!(
        new.der().windows(4).any(|window| window == [2, 15, 0, 0x80]),
        "positive, with the shortest length"
    );
}

#[test]
fn times_after_2049_are_generalized() {
    let ca = Draft::authority(name(&[&[(CN, UTF8, b"x")]]), &[]).self_signed();
    let old =
        Draft::leaf(name(&[&[(CN, UTF8, b"x")]]), &ca.certificate, &[]).signed(&p256(), &ca.key);
    let der_until = |seconds| {
        let terms = Terms { not_after: Timestamp::from_seconds(seconds), ..terms() };
        reissue(&old, &ca.certificate, &ca.key, &p256(), &terms).unwrap()
    };
    let holds = |der: &[u8], bytes: &[u8]| der.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(&der_until(2_524_607_999), b"\x17\x0d491231235959Z"));
    assert!(holds(&der_until(2_524_608_000), b"\x18\x0f20500101000000Z"));
    assert!(holds(&der_until(Timestamp::MAX.seconds()), b"\x18\x0f99991231235959Z"));
}

#[test]
fn names_and_extensions_of_any_kind_stay_byte_for_byte() {
    let authority = name(&[
        &[(DC, IA5, b"com")],
        &[(DC, IA5, b"example")],
        &[(O, UTF8, "Bücher".as_bytes())],
        &[(CN, UTF8, b"CA")],
    ]);
    let issuer = Draft::authority(authority, &[identifier(b"a custom identifier")]).self_signed();
    let names = [
        name(&[
            &[(DC, IA5, b"com")],
            &[(DC, IA5, b"example")],
            &[(O, UTF8, b"one")],
            &[(O, UTF8, b"two")],
            &[(CN, UTF8, b"n")],
        ]),
        name(&[&[(CN, UTF8, b"n"), (OU, UTF8, b"u")], &[(O, PRINTABLE, b"system:masters")]]),
        name(&[
            &[(O, UTF8, "東京".as_bytes())],
            &[(CN, TELETEX, b"caf\xe9")],
            &[(CN, BMP, &[0, b'x', 0, b'y'])],
        ]),
        name(&[&[(&[0x2a, 3, 4], UTF8, b"an attribute of our own")]]),
        name(&[]),
    ];
    let others = [
        extension(
            "2.5.29.17",
            true,
            &tlv(
                0x30,
                &[tlv(0x82, b"*.example"), tlv(0x86, b"spiffe://c/x"), tlv(0x87, &[0; 16])]
                    .concat(),
            ),
        ),
        extension("1.2.3.4.5", false, b"not even DER"),
        extension("2.5.29.19", true, &[0x30, 0]),
    ];
    for subject in names {
        let old =
            Draft::leaf(subject.clone(), &issuer.certificate, &others).signed(&p256(), &issuer.key);
        let new = renewed(&old, &issuer);
        assert_eq!(new.subject.der(), subject);
        assert_eq!(new.issuer.der(), issuer.certificate.subject.der());
        assert_eq!(
            new.extensions[..5],
            old.extensions[..],
            "in their order, the new identifier after them"
        );
        assert_eq!(new.authority_key_identifier.unwrap(), b"a custom identifier");
    }
}

#[test]
fn key_identifiers_are_replaced_in_position() {
    let issuer =
        Draft::authority(name(&[&[(CN, UTF8, b"CA")]]), &[identifier(b"the CA's")]).self_signed();
    let identifiers = [
        extension("2.5.29.35", false, &tlv(0x30, &tlv(0x80, b"of an older CA"))),
        identifier(b"of the old key"),
    ];
    let after = [extension("2.5.29.19", true, &[0x30, 0])];
    let old =
        Draft::leaf(name(&[]), &issuer.certificate, &[identifiers.as_slice(), &after].concat())
            .signed(&p256(), &issuer.key);
    let key = p256();
    let new = reissued(&old, &issuer, &key);
    verify_renewed(&new, &old, &issuer.certificate, now()).unwrap();
    let oids = |certificate: &Certificate| {
        certificate.extensions.iter().map(|one| one.oid.to_id_string()).collect::<Vec<_>>()
    };
    assert_eq!(oids(&new), oids(&old));
    assert_eq!(new.authority_key_identifier.as_deref(), Some(b"the CA's".as_slice()));
    let bits = Key::parse(key.public_key_der()).unwrap().bits;
    assert_eq!(
        new.subject_key_identifier.as_deref(),
        Some(digest(&SHA1_FOR_LEGACY_USE_ONLY, bits).as_ref())
    );
}

#[test]
fn issuer_without_identifier_leaves_none() {
    let issuer = Draft::authority(name(&[&[(CN, UTF8, b"CA")]]), &[]).self_signed();
    let stale = extension("2.5.29.35", false, &tlv(0x30, &tlv(0x80, b"of an older CA")));
    let old = Draft::leaf(name(&[]), &issuer.certificate, &[stale]).signed(&p256(), &issuer.key);
    let new = renewed(&old, &issuer);
    assert_eq!(new.authority_key_identifier, None);
    assert_eq!(new.extensions.len(), old.extensions.len() - 1);
}

#[test]
fn signature_algorithm_follows_the_authority_key() {
    let algorithms = [
        (KeyAlgorithm::Rsa3072, "1.2.840.113549.1.1.11"),
        (KeyAlgorithm::EcdsaP256, "1.2.840.10045.4.3.2"),
        (KeyAlgorithm::EcdsaP384, "1.2.840.10045.4.3.3"),
    ];
    for (algorithm, oid) in algorithms {
        let key = PrivateKey::generate(&algorithm).unwrap();
        let certificate = Draft::authority(name(&[&[(CN, UTF8, b"CA")]]), &[]).signed(&key, &key);
        let issuer = Issuer { certificate, key };
        let old = Draft::leaf(name(&[]), &issuer.certificate, &[]).signed(&p256(), &issuer.key);
        let new = renewed(&old, &issuer);
        let oid = der::Encode::to_der(&ObjectIdentifier::new(oid).unwrap()).unwrap();
        assert_eq!(
            new.der().windows(oid.len()).filter(|window| *window == oid).count(),
            2,
            "{algorithm}"
        );
    }
}

#[test]
fn key_of_another_authority_is_refused() {
    let [ca, other, _] = issuers(ECDSA_TREE).try_into().ok().unwrap();
    let old = certificate(ECDSA_TREE, "apiserver.crt");
    assert_eq!(
        reissue(&old, &ca.certificate, &other.key, &p256(), &terms()),
        Err(IssueError::KeyDoesNotFit)
    );
}

#[test]
fn leaf_is_refused_as_issuer() {
    let leaf = leaves(ECDSA_TREE).remove(0);
    assert_eq!(
        reissue(&leaf.certificate, &leaf.certificate, &leaf.key, &p256(), &terms()),
        Err(IssueError::NotAnAuthority)
    );
}

#[test]
fn impossible_lifetimes_are_refused() {
    let ca = issuers(ECDSA_TREE).remove(0);
    let old = certificate(ECDSA_TREE, "apiserver.crt");
    for (not_before, not_after) in [
        (now(), now().minus(days(1))),
        (Timestamp::from_seconds(-1), now()),
        (Timestamp::MIN, Timestamp::MIN),
    ] {
        let terms = Terms { not_before, not_after, ..terms() };
        let result = reissue(&old, &ca.certificate, &ca.key, &p256(), &terms);
        assert_eq!(result, Err(IssueError::Lifetime(not_before, not_after)));
    }
}

#[test]
fn certificate_that_cannot_be_reencoded_is_refused() {
    let issuer = Draft::authority(name(&[&[(CN, UTF8, b"CA")]]), &[]).self_signed();
    // A set in the wrong order, which DER forbids and Go's reader lets pass.
    let sorted = name(&[&[(CN, UTF8, b"a"), (CN, UTF8, b"b")]]);
    let unsorted = name(&[&[(CN, UTF8, b"b"), (CN, UTF8, b"a")]]);
    let old = Draft::leaf(sorted.clone(), &issuer.certificate, &[]).signed(&p256(), &issuer.key);
    let odd = Certificate::from_der(&patched(&old, &sorted, &unsorted)).unwrap();
    let error = reissue(&odd, &issuer.certificate, &issuer.key, &p256(), &terms()).unwrap_err();
    assert!(
        matches!(&error, IssueError::NotReproducible(what) if what.starts_with("the subject")),
        "{error}"
    );
    // An extension with a number longer than the library holds.
    let old = Draft::leaf(sorted, &issuer.certificate, &[extension("1.2.3.4", false, &[0; 60])])
        .signed(&p256(), &issuer.key);
    let long = [tlv(6, &[0x2a; 49]), tlv(4, &[0; 14])].concat();
    let odd = Certificate::from_der(&patched(
        &old,
        &[tlv(6, &[0x2a, 3, 4]), tlv(4, &[0; 60])].concat(),
        &long,
    ))
    .unwrap();
    let error = reissue(&odd, &issuer.certificate, &issuer.key, &p256(), &terms()).unwrap_err();
    assert!(
        matches!(&error, IssueError::NotReproducible(what) if what.starts_with("the extension")),
        "{error}"
    );
}

#[test]
fn extensions_with_oddly_written_numbers_are_kept() {
    let issuer = Draft::authority(name(&[&[(CN, UTF8, b"CA")]]), &[]).self_signed();
    let old =
        Draft::leaf(name(&[]), &issuer.certificate, &[extension("1.2.3.4294967295", false, b"")])
            .signed(&p256(), &issuer.key);
    // More than 32 bits, and a leading zero digit.
    for odd in [[0x2a, 3, 0x9f, 0xff], [0x2a, 3, 0x80, 0xff]] {
        let odd = Certificate::from_der(&patched(&old, &[0x2a, 3, 0x8f, 0xff], &odd)).unwrap();
        assert_eq!(renewed(&odd, &issuer).extensions, odd.extensions);
    }
}

#[test]
fn serials_are_positive_and_never_the_same() {
    let serials: std::collections::HashSet<[u8; 16]> =
        (0..1000).map(|_| random_serial().unwrap()).collect();
    assert_eq!(serials.len(), 1000);
    assert!(serials.iter().all(|serial| serial[0] < 0x80));
}
