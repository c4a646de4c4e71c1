use proptest::prelude::*;

use super::super::fixtures::*;
use super::*;

#[test]
fn apiserver_certificate_facts_are_read() {
    let apiserver = certificate(RSA_TREE, "apiserver.crt");
    assert_eq!(apiserver.subject.to_string(), "CN=kube-apiserver");
    assert_eq!(apiserver.issuer.to_string(), "CN=kubernetes");
    assert_eq!(apiserver.serial.to_string(), "1467C3D4BA38A33F");
    assert_eq!(apiserver.not_before.to_string(), "2026-11-21T17:14:40Z");
    assert_eq!(apiserver.not_after.to_string(), "2027-11-21T17:14:40Z");
    assert_eq!(apiserver.key_algorithm, KeyAlgorithm::Rsa2048);
    assert_eq!(
        apiserver.dns_names,
        [
            "cp1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local"
        ]
    );
    assert_eq!(
        apiserver.ip_addresses,
        [IpAddr::from([10, 96, 0, 1]), IpAddr::from([10, 200, 0, 1])]
    );
    assert_eq!(apiserver.other_names, Vec::<String>::new());
    let usage = apiserver.extended_key_usage.as_ref().unwrap();
    assert_eq!((usage.server_auth, usage.client_auth, usage.any), (true, false, false));
    assert!(
        apiserver
            .key_usage
            .as_ref()
            .is_some_and(|usage| usage.digital_signature() && usage.key_encipherment())
    );
    assert!(!apiserver.is_authority && !apiserver.may_sign);
    assert_eq!(apiserver.extensions.len(), 4);
    assert!(
        apiserver.extensions[0].critical
            && apiserver.extensions[0].oid.to_id_string() == "2.5.29.15"
    );
}

#[test]
fn authority_is_recognised_and_signs_itself_and_its_leaves() {
    for tree in [RSA_TREE, ECDSA_TREE] {
        let [ca, front_proxy, _etcd] = issuers(tree).try_into().ok().unwrap();
        assert!(
            ca.certificate.is_authority
                && ca.certificate.may_sign
                && ca.certificate.is_self_signed()
        );
        let apiserver = certificate(tree, "apiserver.crt");
        assert!(apiserver.is_signed_by(&ca.certificate) && !apiserver.is_self_signed());
        assert!(!apiserver.is_signed_by(&front_proxy.certificate));
        assert_eq!(apiserver.authority_key_identifier, ca.certificate.subject_key_identifier);
        assert!(
            apiserver.subject_key_identifier.is_none()
                && ca.certificate.subject_key_identifier.is_some()
        );
    }
}

#[test]
fn authority_of_the_same_name_is_not_the_signer() {
    let subject = name(&[&[(CN, UTF8, b"kubernetes")]]);
    let (real, namesake) = (
        Draft::authority(subject.clone(), &[]).self_signed(),
        Draft::authority(subject.clone(), &[]).self_signed(),
    );
    let leaf = Draft::leaf(name(&[&[(CN, UTF8, b"x")]]), &real.certificate, &[])
        .signed(&real.key, &real.key);
    assert!(leaf.is_signed_by(&real.certificate));
    assert!(!leaf.is_signed_by(&namesake.certificate));
    // The same key under another name is another issuer.
    let renamed =
        Draft::authority(name(&[&[(CN, UTF8, b"other")]]), &[]).signed(&real.key, &real.key);
    assert!(!leaf.is_signed_by(&renamed));
}

#[test]
fn signature_fails_after_a_changed_byte() {
    let ca = certificate(ECDSA_TREE, "ca.crt");
    let apiserver = certificate(ECDSA_TREE, "apiserver.crt");
    let forged =
        Certificate::from_der(&patched(&apiserver, b"kube-apiserver", b"kube-apiservex")).unwrap();
    assert!(apiserver.is_signed_by(&ca) && !forged.is_signed_by(&ca));
    assert_ne!(forged.fingerprint, apiserver.fingerprint);
}

#[test]
fn names_are_displayed_with_all_parts() {
    let subject = name(&[
        &[(DC, IA5, b"com")],
        &[(DC, IA5, b"example")],
        &[(O, UTF8, "Zürich, 東京".as_bytes())],
        &[(O, PRINTABLE, b"system:masters")],
        &[(CN, UTF8, b"a"), (OU, UTF8, b"b")],
    ]);
    let issuer = Draft::authority(subject, &[]).self_signed();
    assert_eq!(
        issuer.certificate.subject.to_string(),
        "CN=a+OU=b,O=system:masters,O=Zürich\\, 東京,DC=example,DC=com"
    );
}

#[test]
fn control_characters_in_name_are_escaped() {
    let issuer =
        Draft::authority(name(&[&[(CN, UTF8, b"a\x1b[31m\nb\xc2\x9b")]]), &[]).self_signed();
    assert!(
        issuer.certificate.subject.to_string().chars().all(|character| !character.is_control())
    );
}

#[test]
fn years_after_2049_and_the_end_of_9999_are_read() {
    let mut draft = Draft::authority(name(&[&[(CN, UTF8, b"long")]]), &[]);
    draft.terms.not_after = Timestamp::MAX;
    assert_eq!(draft.self_signed().certificate.not_after, Timestamp::MAX);
}

#[test]
fn all_kinds_of_alternative_names_are_listed() {
    let entries = [
        tlv(0x82, b"node.example"),
        tlv(0x82, b"*.example"),
        tlv(0x87, &[10, 0, 0, 1]),
        tlv(0x87, &[0; 16]),
        tlv(0x87, &[1, 2, 3]),
        tlv(0x86, b"spiffe://cluster/x"),
        tlv(0x81, b"root@example"),
    ];
    let san = extension("2.5.29.17", false, &tlv(0x30, &entries.concat()));
    let issuer = Draft::authority(name(&[&[(CN, UTF8, b"x")]]), &[san]).self_signed();
    assert_eq!(issuer.certificate.dns_names, ["node.example", "*.example"]);
    assert_eq!(
        issuer.certificate.ip_addresses,
        [IpAddr::from([10, 0, 0, 1]), IpAddr::from([0; 16])]
    );
    assert_eq!(issuer.certificate.other_names.len(), 3);
    assert_eq!(issuer.certificate.other_names[1], "URI(spiffe://cluster/x)");
}

#[test]
fn malformed_extension_does_not_hide_the_certificate() {
    let broken = [
        extension("2.5.29.17", false, b"junk"),
        extension("2.5.29.37", false, b"\x04\x00"),
        extension("2.5.29.14", false, b""),
    ];
    let issuer = Draft::authority(name(&[&[(CN, UTF8, b"x")]]), &broken).self_signed();
    assert!(
        issuer.certificate.dns_names.is_empty() && issuer.certificate.extended_key_usage.is_none()
    );
    assert_eq!(issuer.certificate.extensions.len(), 5);
}

#[test]
fn bundle_is_read_in_order_with_text_between() {
    let (ca, etcd) = (certificate(RSA_TREE, "ca.crt"), certificate(RSA_TREE, "etcd/ca.crt"));
    let key = String::from_utf8(read(RSA_TREE, "etc/kubernetes/pki/apiserver.key")).unwrap();
    let bundle = format!(
        "# a comment\r\n{}\n{key}\nsubject=etcd\n{}  \n",
        etcd.to_pem().replace('\n', "\r\n"),
        ca.to_pem()
    );
    let subjects: Vec<String> = certificates(bundle.as_bytes())
        .unwrap()
        .iter()
        .map(|one| one.subject.to_string())
        .collect();
    assert_eq!(subjects, ["CN=etcd-ca", "CN=kubernetes"]);
}

#[test]
fn file_without_certificate_lists_its_labels() {
    let key = read(RSA_TREE, "etc/kubernetes/pki/apiserver.key");
    assert_eq!(
        certificates(&key),
        Err(ReadError::NoCertificate { found: "RSA PRIVATE KEY".to_owned() })
    );
    let trusted =
        certificate(RSA_TREE, "ca.crt").to_pem().replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    assert!(matches!(certificates(trusted.as_bytes()), Err(ReadError::Trusted)));
    assert_eq!(certificates(b""), Err(ReadError::Pem(PemError::Empty)));
}

#[test]
fn malformed_certificate_is_reported_by_number() {
    let ca = certificate(RSA_TREE, "ca.crt");
    let broken = pem::encode("CERTIFICATE", &ca.der()[..ca.der().len() - 1]);
    let file = format!("{}{broken}", ca.to_pem());
    assert!(matches!(certificates(file.as_bytes()), Err(ReadError::Malformed { number: 2, .. })));
    let longer = [ca.der(), b"xyz"].concat();
    assert!(Certificate::from_der(&longer).unwrap_err().to_string().contains("3 more bytes"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    })]

    #[test]
    fn arbitrary_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let _ = certificates(&bytes);
        let _ = certificates(pem::encode("CERTIFICATE", &bytes).as_bytes());
    }

    #[test]
    fn certificate_with_changed_tag_is_not_signed(
        tag: u8,
        tree in prop::sample::select(vec![RSA_TREE, ECDSA_TREE]),
    ) {
        // The signature does not cover the outer tag and that of its algorithm.
        let good = certificate(tree, "apiserver.crt");
        let second = 4 + 4 + usize::from(u16::from_be_bytes([good.der()[6], good.der()[7]]));
        for at in [0, second] {
            let mut der = good.der().to_vec();
            prop_assert_eq!(der[at], 0x30);
            der[at] = tag;
            if let Ok(damaged) = Certificate::from_der(&der) {
                prop_assert_eq!(damaged.is_signed_by(&certificate(tree, "ca.crt")), tag == 0x30);
            }
        }
    }

    #[test]
    fn damaged_certificate_is_read_or_refused(
        at in 0usize..800,
        byte: u8,
        tree in prop::sample::select(vec![RSA_TREE, ECDSA_TREE]),
    ) {
        let good = certificate(tree, "apiserver.crt");
        let mut der = good.der().to_vec();
        let at = at % der.len();
        der[at] = byte;
        if let Ok(damaged) = Certificate::from_der(&der) {
            let _ = format!("{damaged:?}");
            prop_assert_eq!(damaged.is_signed_by(&certificate(tree, "ca.crt")), der == good.der());
        }
    }
}
