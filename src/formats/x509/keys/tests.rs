use aws_lc_rs::encoding::AsDer;
use proptest::prelude::*;

use super::super::fixtures::*;
use super::*;
use crate::formats::x509::{check, key_fits};

const P256_SEC1: &str = "etc/kubernetes/pki/apiserver.key";

fn pkcs8(key: &PrivateKey) -> String {
    let der = match key.kind() {
        Kind::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).unwrap().as_ref().to_vec(),
        Kind::Ecdsa(pair, _) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        Kind::Ed25519(pair) => pair.to_pkcs8().unwrap().as_ref().to_vec(),
    };
    pem::encode("PRIVATE KEY", &der)
}

fn p521() -> PrivateKey {
    PrivateKey::new(Kind::Ecdsa(
        EcdsaKeyPair::generate(Curve::P521.signing()).unwrap(),
        Curve::P521,
    ))
    .unwrap()
}

fn text(key: &PrivateKey) -> String {
    String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap()
}

#[test]
fn encoded_keys_equal_kubeadms_byte_for_byte() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        for file in ["ca", "front-proxy-ca", "apiserver", "etcd/ca", "etcd/server", "sa"] {
            let file = read(tree, &format!("etc/kubernetes/pki/{file}.key"));
            assert_eq!(PrivateKey::from_pem(&file).unwrap().to_pem().unwrap().expose(), file);
        }
    }
}

#[test]
fn every_leaf_of_the_trees_has_its_key() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        for leaf in leaves(tree) {
            assert!(leaf.key.fits(&leaf.certificate), "{}", leaf.name);
            assert_eq!(*leaf.key.algorithm(), leaf.certificate.key_algorithm);
            // kubeadm generates a new key, and leaves kubelet.conf alone.
            assert_eq!(leaf.key.fits(&leaf.renewed), leaf.name == "kubelet", "{}", leaf.name);
        }
    }
}

#[test]
fn new_key_of_each_kind_is_read_back_in_both_forms() {
    use KeyAlgorithm as A;
    let ecdsa = [A::EcdsaP256, A::EcdsaP384, A::EcdsaP521];
    for algorithm in [A::Rsa2048, A::Rsa3072, A::Rsa4096, A::Ed25519].into_iter().chain(ecdsa) {
        let name = algorithm.to_string();
        let key = PrivateKey::generate(&algorithm).unwrap();
        assert_eq!(*key.algorithm(), algorithm);
        let label = match name.get(..3) {
            Some("RSA") => "RSA PRIVATE KEY",
            Some("Ed2") => "PRIVATE KEY",
            _ => "EC PRIVATE KEY",
        };
        assert!(text(&key).starts_with(&format!("-----BEGIN {label}-----\n")));
        for form in [text(&key), pkcs8(&key)] {
            let again = PrivateKey::from_pem(form.as_bytes()).unwrap();
            assert_eq!(again.public_key_der(), key.public_key_der());
            assert_eq!(text(&again), text(&key));
        }
    }
}

#[test]
fn two_new_keys_differ() {
    let key = || PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    assert_ne!(key().public_key_der(), key().public_key_der());
}

#[test]
fn authority_keys_of_other_kinds_can_sign() {
    let ed25519 = PrivateKey::new(Kind::Ed25519(Ed25519KeyPair::generate().unwrap())).unwrap();
    for (key, name) in [(p521(), "ECDSA-P521"), (ed25519, "Ed25519")] {
        assert_eq!(key.algorithm().to_string(), name);
        let key = PrivateKey::from_pem(text(&key).as_bytes()).unwrap();
        let certificate = Draft::authority(name_of(name), &[]).signed(&key, &key);
        assert!(certificate.is_self_signed(), "{name}");
        assert!(PrivateKey::from_pem(pkcs8(&key).as_bytes()).unwrap().fits(&certificate), "{name}");
    }
}

fn name_of(text: &str) -> Vec<u8> {
    name(&[&[(CN, UTF8, text.as_bytes())]])
}

#[test]
fn key_of_a_kind_that_is_not_made_is_refused() {
    let other = KeyAlgorithm::Other("RSA-1024".to_owned());
    assert_eq!(PrivateKey::generate(&other).unwrap_err(), KeyError::NotMade("RSA-1024".to_owned()));
}

#[test]
fn key_that_is_not_supported_is_compared_by_its_public_part() {
    let spki = |algorithm: &[u8], bits: &[u8]| {
        let bits = tlv(3, &[&[0], bits].concat());
        tlv(0x30, &[&tlv(0x30, algorithm), bits.as_slice()].concat())
    };
    let der = pem::blocks(RSA_1024.as_bytes()).unwrap()[0].der.expose().to_vec();
    // Behind the version: the modulus of 129 bytes, and the exponent of 3.
    let numbers = &der[7..7 + 132 + 5];
    let rsa = spki(
        &[tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), tlv(5, &[])].concat(),
        &tlv(0x30, numbers),
    );
    let curve = tlv(6, &[0x2b, 0x81, 4, 0, 10]);
    let point = [&[4], [7; 64].as_slice()].concat();
    let sec1 = tlv(
        0x30,
        &[
            tlv(2, &[1]),
            tlv(4, &[9; 32]),
            tlv(0xa0, &curve),
            tlv(0xa1, &tlv(3, &[&[0], point.as_slice()].concat())),
        ]
        .concat(),
    );
    let sec1 = pem::encode("EC PRIVATE KEY", &sec1);
    let secp256k1 = spki(&[tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), curve].concat(), &point);
    let ca = key(ECDSA_TREE, "ca.key");
    let certificate =
        |public_key: &[u8]| Draft::authority(name_of("x"), &[]).signed_for(public_key, &ca);
    let (rsa, secp256k1) = (certificate(&rsa), certificate(&secp256k1));
    assert_eq!(rsa.key_algorithm.to_string(), "RSA-1024");
    assert_eq!(key_fits(RSA_1024.as_bytes(), &rsa), Ok(true));
    assert!(key_fits(RSA_1024.as_bytes(), &secp256k1).is_err());
    assert_eq!(key_fits(sec1.as_bytes(), &secp256k1), Ok(true));
    assert!(key_fits(sec1.as_bytes(), &rsa).is_err());
}

#[test]
fn other_blocks_and_comments_around_a_key_are_skipped() {
    let key = String::from_utf8(read(ECDSA_TREE, P256_SEC1)).unwrap();
    let certificate = certificate(ECDSA_TREE, "apiserver.crt");
    let parameters = pem::encode("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    for file in [
        format!("{parameters}{key}"),
        format!("{}{key}", certificate.to_pem()),
        format!("# hi\r\n{}", key.replace('\n', "\r\n")),
    ] {
        assert!(PrivateKey::from_pem(file.as_bytes()).unwrap().fits(&certificate));
    }
}

#[test]
fn key_without_its_curve_is_read() {
    // ECPrivateKey with the number alone: version 1, and 32 bytes.
    let der = tlv(0x30, &[tlv(2, &[1]), tlv(4, &[7; 32])].concat());
    let key = PrivateKey::from_pem(pem::encode("EC PRIVATE KEY", &der).as_bytes()).unwrap();
    assert_eq!(*key.algorithm(), KeyAlgorithm::EcdsaP256);
}

#[test]
fn key_with_wrong_label_is_read() {
    let sec1 = String::from_utf8(read(ECDSA_TREE, P256_SEC1)).unwrap();
    assert!(PrivateKey::from_pem(sec1.replace("EC PRIVATE", "PRIVATE").as_bytes()).is_ok());
    let pkcs8 = pkcs8(&PrivateKey::from_pem(sec1.as_bytes()).unwrap());
    assert!(
        PrivateKey::from_pem(pkcs8.replace("PRIVATE KEY", "EC PRIVATE KEY").as_bytes()).is_ok()
    );
}

#[test]
fn reasons_for_a_missing_key_are_distinguished() {
    let error = |file: &str| PrivateKey::from_pem(file.as_bytes()).unwrap_err();
    let key = String::from_utf8(read(ECDSA_TREE, P256_SEC1)).unwrap();
    assert_eq!(error(""), KeyError::Pem(PemError::Empty));
    assert_eq!(error(&certificate(ECDSA_TREE, "ca.crt").to_pem()), KeyError::NoKey);
    assert_eq!(error(&format!("{key}{key}")), KeyError::Several(2));
    assert_eq!(error(&pem::encode("ENCRYPTED PRIVATE KEY", &[1])), KeyError::Encrypted);
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
        AES-128-CBC,0\n\nAQID\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(error(legacy), KeyError::Encrypted);
    assert_eq!(
        error(&pem::encode("OPENSSH PRIVATE KEY", &[1])),
        KeyError::Unsupported("OPENSSH".to_owned())
    );
    assert_eq!(error(&pem::encode("EC PRIVATE KEY", b"junk")), KeyError::Damaged);
    // PKCS#8 of X25519, and of ECDSA on secp256k1.
    let envelope = |algorithm: &[u8]| {
        pem::encode(
            "PRIVATE KEY",
            &tlv(0x30, &[&tlv(2, &[0]), algorithm, &tlv(4, &[4, 0])].concat()),
        )
    };
    let x25519 = tlv(0x30, &tlv(6, &[0x2b, 0x65, 0x6e]));
    assert_eq!(error(&envelope(&x25519)), KeyError::Unsupported("1.3.101.110".to_owned()));
    let secp256k1 = tlv(
        0x30,
        &[tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), tlv(6, &[0x2b, 0x81, 4, 0, 10])].concat(),
    );
    assert_eq!(error(&envelope(&secp256k1)), KeyError::Unsupported("1.3.132.0.10".to_owned()));
}

#[test]
fn short_rsa_key_is_not_reported_as_damaged() {
    let error = PrivateKey::from_pem(RSA_1024.as_bytes()).unwrap_err();
    assert_eq!(error, KeyError::Unsupported("RSA with less than 2048 bits".to_owned()));
}

#[test]
fn key_with_mismatched_parts_is_damaged() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let blocks = pem::blocks(&read(tree, P256_SEC1)).unwrap();
        let mut der = blocks[0].der.expose().to_vec();
        // In the middle of the modulus, or of the private number.
        der[20] ^= 1;
        assert_eq!(
            PrivateKey::from_pem(pem::encode(&blocks[0].label, &der).as_bytes()).unwrap_err(),
            KeyError::Damaged,
            "{tree}"
        );
    }
}

#[test]
fn signature_verifies_with_its_own_key_only() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let [ca, other, _] = issuers(tree).try_into().ok().unwrap();
        let certificate = Draft::like(&ca.certificate).signed(&ca.key, &ca.key);
        assert!(check::is_signed_with(certificate.der(), ca.key.public_key_der()));
        assert!(!check::is_signed_with(certificate.der(), other.key.public_key_der()));
    }
}

#[test]
fn debug_shows_only_the_key_kind() {
    assert_eq!(format!("{:?}", key(RSA_TREE, "apiserver.key")), "PrivateKey(RSA-2048)");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn arbitrary_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0usize..121,
        byte: u8,
    ) {
        let _ = PrivateKey::from_pem(&bytes);
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let _ = PrivateKey::from_pem(pem::encode(label, &bytes).as_bytes());
        }
        let mut der = pem::blocks(&read(ECDSA_TREE, P256_SEC1)).unwrap()[0].der.expose().to_vec();
        der[at] = byte;
        let _ = PrivateKey::from_pem(pem::encode("EC PRIVATE KEY", &der).as_bytes());
    }
}

const RSA_1024: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXAIBAAKBgQCzAYI+/nRirMOFl8wVHHpNB77AGQMQXWnqtKQWqHc8TsfnpJ3v\n\
A4rweiNys40+jHOyXn7dc0KcVM70/B6m96zo6vsS81GESuCTP6qrEZgHBnC49oU4\n\
pOmbjPRGPHkCaQF7WS201tBt+V6rkp+if1GpRfCPQD2F+veRMUlK7jABawIDAQAB\n\
AoGBAIh3rv8taDdN9KWla03w7wBI1lCHAQH55WSsoKgxeO1+NgLQSiNMtSDOTLYG\n\
UrkLxKyIQ/m6BF9AfKLijs/F5IhLACHWRilmsuz/FLnW0WAYTzh++RyEAXbsG4jR\n\
4vWgrHP3+wCGCElwP9c5yxvTVDHURswWNElcBp/R4Tsf0yLZAkEA3UAa/0V4iqzt\n\
BJQZ1ra920YPcfevDWrDPnsqf37q3IO6+qBv/1L6xy1q0xAp2cczV04giCsq/ueI\n\
wdpLEORklwJBAM8e3OMqBuD3e3J2X1OciQSOqLpMYC5CDoDJT7omVALsEDn+ZP+d\n\
jFIFG+j8DS7g/Y53zPnuVl8hl80wP5VoQE0CQDJuHDk3QoSJafTzNPiF6ryCOZ8G\n\
j7YFMb+aH1O0QCBHPmVGEIEoDtU7eu/k7UUgbIln225uOHyllbxp31ZYWL0CQEiT\n\
E+s1aruhfEwbVkPB8fD62/yLjpgm5VYTNDCSBZYQiY8IqPM4jVagG6uDxkrK443s\n\
RJK/BNzItJxdb6o2oXECQG7zUWqwtPh4H6ctKgCLPdjvmIe7ahckE4+vBGYj+VbQ\n\
Re+lbtuIay0c8fOkPqYRNQTOWKlZB/XLie6bG4xq9MI=\n\
-----END RSA PRIVATE KEY-----\n\
";
