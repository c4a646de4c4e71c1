use std::sync::LazyLock;

use super::super::fixtures::*;
use super::super::{KeyAlgorithm, PrivateKey, reissue};
use super::*;
use crate::model::days;

/// A server and client certificate with names, as etcd has it.
struct Case {
    issuer: Issuer,
    old: Certificate,
    new: Certificate,
    new_key: PrivateKey,
}

static ETCD: LazyLock<Case> = LazyLock::new(|| {
    Case::new(issuers(ECDSA_TREE).remove(2), certificate(ECDSA_TREE, "etcd/server.crt"))
});

impl Case {
    fn new(issuer: Issuer, old: Certificate) -> Self {
        let new_key = p256();
        let new = reissue(&old, &issuer.certificate, &issuer.key, &new_key, &terms()).unwrap();
        Self { new: Certificate::from_der(&new).unwrap(), issuer, old, new_key }
    }

    /// Returns a leaf of an authority made for it.
    fn of(authority: &[x509_cert::ext::Extension], leaf: &[x509_cert::ext::Extension]) -> Self {
        let issuer = Draft::authority(subject(b"CA"), authority).self_signed();
        let old =
            Draft::leaf(subject(b"leaf"), &issuer.certificate, leaf).signed(&p256(), &issuer.key);
        Self::new(issuer, old)
    }

    fn verdict(&self) -> Result<(), VerifyError> {
        self.judge(&self.new)
    }

    fn judge(&self, new: &Certificate) -> Result<(), VerifyError> {
        verify_renewed(new, &self.old, &self.issuer.certificate, now())
    }

    /// Returns the error for the new certificate after a change, properly signed.
    fn changed(&self, change: impl FnOnce(&mut Draft)) -> VerifyError {
        let mut draft = Draft::like(&self.new);
        change(&mut draft);
        self.judge(&draft.signed(&self.new_key, &self.issuer.key)).unwrap_err()
    }
}

fn p256() -> PrivateKey {
    PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
}

fn subject(cn: &[u8]) -> Vec<u8> {
    name(&[&[(CN, UTF8, cn)]])
}

fn position(draft: &Draft, oid: &str) -> usize {
    draft.extensions.iter().position(|extension| extension.extn_id.to_string() == oid).unwrap()
}

fn set(draft: &mut Draft, oid: &str, critical: bool, value: &[u8]) {
    let at = position(draft, oid);
    draft.extensions[at] = extension(oid, critical, value);
}

const SAN: &str = "2.5.29.17";
const EKU: &str = "2.5.29.37";
const AKI: &str = "2.5.29.35";

#[test]
fn renewed_certificate_and_its_signed_copy_pass() {
    ETCD.verdict().unwrap();
    // The changes below start from such a copy, so it has to pass itself.
    ETCD.judge(&Draft::like(&ETCD.new).signed(&ETCD.new_key, &ETCD.issuer.key)).unwrap();
}

#[test]
fn another_issuer_is_refused() {
    let other = &issuers(ECDSA_TREE)[0].certificate;
    assert!(matches!(
        verify_renewed(&ETCD.new, &ETCD.old, other, now()),
        Err(VerifyError::Issuer { .. })
    ));
    assert!(matches!(
        ETCD.changed(|draft| draft.issuer = subject(b"etcd-cb")),
        VerifyError::Issuer { .. }
    ));
}

#[test]
fn signature_by_another_key_is_refused() {
    let forged = Draft::like(&ETCD.new).signed(&ETCD.new_key, &p256());
    assert_eq!(ETCD.judge(&forged), Err(VerifyError::Signature));
    let rsa = Draft::like(&ETCD.new).signed(&ETCD.new_key, &key(RSA_TREE, "etcd/ca.key"));
    assert_eq!(ETCD.judge(&rsa), Err(VerifyError::Signature));
}

#[test]
fn changed_byte_is_refused() {
    let forged = Certificate::from_der(&patched(&ETCD.new, b"localhost", b"localhoax")).unwrap();
    assert_eq!(ETCD.judge(&forged), Err(VerifyError::Signature));
}

#[test]
fn issuer_that_is_no_authority_is_refused() {
    let leaf_as_issuer =
        Draft::leaf(ETCD.issuer.certificate.subject.der().to_vec(), &ETCD.issuer.certificate, &[]);
    let leaf_as_issuer = leaf_as_issuer.signed(&ETCD.issuer.key, &ETCD.issuer.key);
    assert_eq!(
        verify_renewed(&ETCD.new, &ETCD.old, &leaf_as_issuer, now()),
        Err(VerifyError::NotAnAuthority)
    );
    let mut no_signer = Draft::like(&ETCD.issuer.certificate);
    set(&mut no_signer, "2.5.29.15", true, &[3, 2, 5, 0xa0]);
    let no_signer = no_signer.signed(&ETCD.issuer.key, &ETCD.issuer.key);
    assert_eq!(
        verify_renewed(&ETCD.new, &ETCD.old, &no_signer, now()),
        Err(VerifyError::NotAnAuthority)
    );
}

#[test]
fn lifetimes_are_verified_at_the_given_time() {
    let at = |time| verify_renewed(&ETCD.new, &ETCD.old, &ETCD.issuer.certificate, time);
    let not_now = Err(VerifyError::NotValidNow(ETCD.new.not_before, ETCD.new.not_after));
    assert_eq!(at(ETCD.new.not_before.minus(Duration::from_secs(1))), not_now);
    assert_eq!(at(ETCD.new.not_before), Ok(()));
    assert_eq!(at(ETCD.new.not_after), Ok(()));
    assert_eq!(at(ETCD.new.not_after.plus(Duration::from_secs(1))), not_now);
    let before_the_authority = ETCD.issuer.certificate.not_before.minus(Duration::from_secs(1));
    assert_eq!(
        at(before_the_authority),
        Err(VerifyError::AuthorityNotYetValid(ETCD.issuer.certificate.not_before))
    );
    assert_eq!(
        at(Timestamp::MIN),
        Err(VerifyError::AuthorityNotYetValid(ETCD.issuer.certificate.not_before))
    );
}

#[test]
fn expiry_after_the_authority_is_refused() {
    let end = ETCD.issuer.certificate.not_after;
    let error = ETCD.changed(|draft| draft.terms.not_after = end.plus(Duration::from_secs(1)));
    assert_eq!(
        error,
        VerifyError::OutlivesAuthority { new: end.plus(Duration::from_secs(1)), authority: end }
    );
    let mut draft = Draft::like(&ETCD.new);
    draft.terms.not_after = end;
    ETCD.judge(&draft.signed(&ETCD.new_key, &ETCD.issuer.key)).unwrap();
}

#[test]
fn reused_key_or_serial_is_refused() {
    let old_key = key(ECDSA_TREE, "etcd/server.key");
    assert_eq!(
        ETCD.judge(&Draft::like(&ETCD.new).signed(&old_key, &ETCD.issuer.key)),
        Err(VerifyError::SameKey)
    );
    let same_serial =
        verify_renewed(&ETCD.new, &Draft::like_with_serial(&ETCD), &ETCD.issuer.certificate, now());
    assert_eq!(same_serial, Err(VerifyError::SameSerial));
}

impl Draft {
    /// Returns the old certificate of a case with the serial number of the new one.
    fn like_with_serial(case: &Case) -> Certificate {
        let mut draft = Self::like(&case.old);
        draft.terms.serial = case.new.serial.bytes().try_into().unwrap();
        draft.signed(&key(ECDSA_TREE, "etcd/server.key"), &case.issuer.key)
    }
}

#[test]
fn unsupported_leaf_key_is_refused() {
    // A key of X25519, which signs nothing.
    let algorithm = tlv(0x30, &tlv(6, &[0x2b, 0x65, 0x6e]));
    let x25519 = tlv(0x30, &[algorithm, tlv(3, &[0; 33])].concat());
    let verdict = ETCD.judge(&Draft::like(&ETCD.new).signed_for(&x25519, &ETCD.issuer.key));
    assert_eq!(verdict, Err(VerifyError::KeyAlgorithm("1.3.101.110".to_owned())));
}

#[test]
fn subject_with_other_bytes_and_equal_text_is_refused() {
    assert!(matches!(
        ETCD.changed(|draft| draft.subject = subject(b"cp2")),
        VerifyError::Subject { .. }
    ));
    let error = ETCD.changed(|draft| draft.subject = name(&[&[(CN, UTF8, b"cp1")]]));
    let VerifyError::Subject { new, old } = error else { panic!("{error}") };
    assert_eq!(new.to_string(), old.to_string(), "Go writes a PrintableString");
}

#[test]
fn lost_name_is_refused() {
    let entries = |names: &[Vec<u8>]| tlv(0x30, &names.concat());
    let all = [tlv(0x82, b"cp1"), tlv(0x82, b"*.wild"), tlv(0x87, &[10, 0, 0, 1])];
    let case = Case::of(&[], &[extension(SAN, false, &entries(&all))]);
    case.verdict().unwrap();
    let error = |names: &[Vec<u8>]| case.changed(|draft| set(draft, SAN, false, &entries(names)));
    assert_eq!(error(&[all[1].clone(), all[2].clone()]), VerifyError::NameLost("cp1".to_owned()));
    assert_eq!(
        error(&[all[0].clone(), all[1].clone()]),
        VerifyError::NameLost("10.0.0.1".to_owned())
    );
    assert_eq!(
        error(&[all[0].clone(), all[2].clone()]),
        VerifyError::ExtensionChanged(SAN.to_owned()),
        "webpki can't judge a wildcard"
    );
}

#[test]
fn lost_usage_is_refused() {
    let client_only = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
    assert_eq!(
        ETCD.changed(|draft| set(draft, EKU, false, &client_only)),
        VerifyError::Usage("server")
    );
    let server_only = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
    assert_eq!(
        ETCD.changed(|draft| set(draft, EKU, false, &server_only)),
        VerifyError::Usage("client")
    );
}

#[test]
fn certificate_without_tls_usage_can_be_renewed() {
    let code_signing = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3];
    let issuer = Draft::authority(subject(b"CA"), &[]).self_signed();
    let mut draft = Draft::leaf(subject(b"leaf"), &issuer.certificate, &[]);
    set(&mut draft, EKU, false, &code_signing);
    let old = draft.signed(&p256(), &issuer.key);
    Case::new(issuer, old).verdict().unwrap();
    // And a certificate without basic constraints.
    let issuer = Draft::authority(subject(b"CA"), &[]).self_signed();
    let mut draft = Draft::leaf(subject(b"leaf"), &issuer.certificate, &[]);
    draft.extensions.remove(1);
    let old = draft.signed(&p256(), &issuer.key);
    let case = Case::new(issuer, old);
    case.verdict().unwrap();
    let error = case.changed(|draft| draft.extensions.push(extension(EKU, false, &code_signing)));
    assert_eq!(error, VerifyError::ExtensionAdded(EKU.to_owned()));
}

#[test]
fn missing_added_changed_and_moved_extensions_are_refused() {
    let unknown = extension("1.2.3.4", false, b"1");
    let more = extension("1.2.3.5", false, b"");
    let case = Case::of(&[], std::slice::from_ref(&unknown));
    case.verdict().unwrap();
    let missing = case.changed(|draft| {
        draft.extensions.remove(position(draft, "1.2.3.4"));
    });
    assert_eq!(missing, VerifyError::ExtensionMissing("1.2.3.4".to_owned()));
    assert_eq!(
        case.changed(|draft| draft.extensions.push(more)),
        VerifyError::ExtensionAdded("1.2.3.5".to_owned())
    );
    let changed = VerifyError::ExtensionChanged("1.2.3.4".to_owned());
    assert_eq!(case.changed(|draft| set(draft, "1.2.3.4", false, b"2")), changed);
    let critical = VerifyError::ExtensionChanged("2.5.29.15".to_owned());
    assert_eq!(
        case.changed(|draft| set(draft, "2.5.29.15", false, &[3, 2, 5, 0xa0])),
        critical,
        "no longer critical"
    );
    assert_eq!(case.changed(|draft| draft.extensions.swap(0, 2)), VerifyError::ExtensionsReordered);
    assert_eq!(
        case.changed(|draft| draft.extensions.push(unknown)),
        VerifyError::ExtensionsReordered,
        "twice"
    );
}

#[test]
fn wrong_key_identifiers_are_refused() {
    let stale = tlv(0x30, &tlv(0x80, b"of an older CA"));
    assert_eq!(
        ETCD.changed(|draft| set(draft, AKI, false, &stale)),
        VerifyError::AuthorityKeyIdentifier
    );
    let dropped = ETCD.changed(|draft| {
        draft.extensions.remove(position(draft, AKI));
    });
    assert_eq!(dropped, VerifyError::AuthorityKeyIdentifier);
    assert_eq!(
        ETCD.changed(|draft| draft.extensions.push(identifier(b"new"))),
        VerifyError::SubjectKeyIdentifier
    );
    let case = Case::of(&[], &[identifier(b"old")]);
    case.verdict().unwrap();
    let kept = case.changed(|draft| set(draft, "2.5.29.14", false, &tlv(4, b"old")));
    assert_eq!(kept, VerifyError::SubjectKeyIdentifier);
}

#[test]
fn refusals_of_tls_verifiers_have_a_reason() {
    let critical = Case::of(&[], &[extension("1.2.3.4", true, b"1")]);
    assert_eq!(critical.verdict(), Err(VerifyError::CriticalExtension));
    let authority = Case::of(&[], &[extension("2.5.29.19", true, &[0x30, 3, 1, 1, 0xff])]);
    assert_eq!(authority.verdict(), Err(VerifyError::IsAuthority));
    // permittedSubtrees: DNS names below example.org.
    let only = extension(
        "2.5.29.30",
        true,
        &tlv(0x30, &tlv(0xa0, &tlv(0x30, &tlv(0x82, b"example.org")))),
    );
    let names = extension(SAN, false, &tlv(0x30, &tlv(0x82, b"cp1.example.com")));
    assert_eq!(Case::of(&[only], &[names]).verdict(), Err(VerifyError::NameConstraints));
}

#[test]
fn intermediate_authority_is_trusted_as_anchor() {
    let root = Draft::authority(subject(b"root"), &[]).self_signed();
    let key = p256();
    let mut draft = Draft::authority(subject(b"CA"), &[identifier(b"id")]);
    draft.issuer = root.certificate.subject.der().to_vec();
    let issuer = Issuer { certificate: draft.signed(&key, &root.key), key };
    let old = Draft::leaf(subject(b"leaf"), &issuer.certificate, &[]).signed(&p256(), &issuer.key);
    Case::new(issuer, old).verdict().unwrap();
}

#[test]
fn validity_beyond_the_authority_expiry_is_refused() {
    let mut draft = Draft::authority(subject(b"CA"), &[]);
    draft.terms.not_after = now().plus(days(100));
    let issuer = draft.self_signed();
    let old = Draft::leaf(subject(b"leaf"), &issuer.certificate, &[]).signed(&p256(), &issuer.key);
    assert!(matches!(Case::new(issuer, old).verdict(), Err(VerifyError::OutlivesAuthority { .. })));
}
