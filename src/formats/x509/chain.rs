//! Which CA certificates a certificate verifies by, as the verifiers of Go and OpenSSL see it.
//!
//! Go compares the issuer's name with the subject of the CA certificate byte for byte, and takes
//! key identifiers for a hint. OpenSSL compares the names by their meaning, and refuses a CA
//! certificate whose subject key identifier, issuer or serial number is not the one that the
//! certificate names as its authority's.

use std::cmp::Reverse;

use super::Certificate;
use super::check::is_signed_with;
use crate::model::Timestamp;

/// The number of intermediates that are looked at: what a server or a file shows may be endless.
pub const MAX_INTERMEDIATES: usize = 8;

/// The number of steps in the search for chains: certificates can sign one another in circles.
const MAX_STEPS: usize = 1_000;

impl Certificate {
    /// Whether both verifiers accept it by that CA certificate alone.
    #[must_use]
    pub fn verifies_by(&self, issuer: &Self) -> bool {
        self.was_signed_by(issuer) && !self.names_another_authority_than(issuer)
    }

    /// Whether that certificate's key made the signature, whatever its subject is.
    #[must_use]
    pub fn is_signed_with_key_of(&self, issuer: &Self) -> bool {
        is_signed_with(self.der(), issuer.public_key_der())
    }

    /// Whether its authority key identifier names another certificate than that one: by the
    /// identifier of the key, by the serial number or by the issuer.
    #[must_use]
    pub fn names_another_authority_than(&self, issuer: &Self) -> bool {
        self.names_another_key_than(issuer)
            || self.names_another_serial_than(issuer)
            || self.names_another_issuer_than(issuer)
    }

    /// Whether it names a key as its authority's that is not that certificate's.
    #[must_use]
    pub fn names_another_key_than(&self, issuer: &Self) -> bool {
        self.authority_key_identifier
            .as_ref()
            .zip(issuer.subject_key_identifier.as_ref())
            .is_some_and(|(named, own)| named != own)
    }

    /// Whether it names a serial number as that of its authority's certificate which is not that
    /// certificate's.
    #[must_use]
    pub fn names_another_serial_than(&self, issuer: &Self) -> bool {
        self.authority_serial.as_ref().is_some_and(|named| *named != issuer.serial)
    }

    /// Whether it names an issuer as that of its authority's certificate which is not that
    /// certificate's.
    fn names_another_issuer_than(&self, issuer: &Self) -> bool {
        self.authority_issuer.as_ref().is_some_and(|named| !named.is_equivalent_to(&issuer.issuer))
    }
}

/// A way from a certificate to a trust anchor, by intermediates of which each is signed by the next
/// one, and the last one by the anchor.
#[derive(Clone, Debug)]
pub struct Chain<'c> {
    /// The intermediates, from the issuer of the certificate up.
    pub intermediates: Vec<&'c Certificate>,
    /// The anchor.
    pub anchor: &'c Certificate,
}

impl<'c> Chain<'c> {
    /// Its CA certificates, from the issuer of the certificate up.
    pub fn authorities(&self) -> impl Iterator<Item = &'c Certificate> {
        self.intermediates.iter().copied().chain([self.anchor])
    }

    /// The last second in which all its CA certificates are valid.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        let end = self.anchor.not_after;
        self.intermediates.iter().fold(end, |end, one| end.min(one.not_after))
    }

    /// Its rank among others: one whose CA certificates are valid at a time comes before others, a
    /// shorter one before a longer one, and one that lasts longer before another.
    #[must_use]
    pub fn rank(&self, now: Timestamp) -> impl Ord + use<> {
        let is_valid = self.authorities().all(|one| one.is_valid_at(now));
        (is_valid, Reverse(self.intermediates.len()), self.not_after())
    }

    /// Whether no CA certificate in it forbids as many CA certificates as there are below it.
    fn is_within_path_lengths(&self) -> bool {
        let allows = |(below, one): (u32, &Certificate)| {
            one.path_length.is_none_or(|length| below <= length)
        };
        (0..).zip(self.authorities()).all(allows)
    }
}

/// Returns the chains from a certificate to anchors, directly or by way of the intermediates that
/// are shown with it, as Go builds them: by names and signatures, of CA certificates that may sign,
/// and within their path lengths. Name constraints and extended key usages of CA certificates are
/// not looked at, and dates are for the caller to judge. `is_signed` says which signatures on the
/// certificate itself count; on the others SHA-1 does not.
#[must_use]
pub fn chains<'c>(
    leaf: &Certificate,
    intermediates: &'c [Certificate],
    anchors: impl Iterator<Item = &'c Certificate>,
    is_signed: fn(&Certificate, &Certificate) -> bool,
) -> Vec<Chain<'c>> {
    let shown = intermediates.iter().take(MAX_INTERMEDIATES).filter(|one| one.is_ca());
    let shown: Vec<_> = shown.collect();
    let anchors: Vec<_> = anchors.filter(|one| one.is_ca()).collect();
    // Each signature is checked once, however many chains it is in.
    let above = |one: &Certificate, is_signed: fn(&Certificate, &Certificate) -> bool| Above {
        intermediates: shown.iter().map(|by| is_signed(one, by)).collect(),
        anchors: anchors.iter().copied().filter(|by| is_signed(one, by)).collect(),
    };
    let of_leaf = above(leaf, is_signed);
    let of_shown: Vec<_> = shown.iter().map(|one| above(one, Certificate::is_signed_by)).collect();
    let mut found = Vec::new();
    let mut begun: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..MAX_STEPS {
        let Some(way) = begun.pop() else { break };
        let above = way.last().map_or(Some(&of_leaf), |last| of_shown.get(*last));
        let Some(above) = above else { continue };
        let taken: Vec<_> = way.iter().filter_map(|at| shown.get(*at).copied()).collect();
        let chain = |anchor: &&'c Certificate| Chain { intermediates: taken.clone(), anchor };
        found.extend(above.anchors.iter().map(chain).filter(Chain::is_within_path_lengths));
        let signed = shown.iter().zip(&above.intermediates).enumerate();
        let next = signed.filter(|(_, (one, signs))| {
            // A CA stands once in a chain, whichever of its certificates that is.
            **signs && !taken.iter().any(|taken| taken.is_of_same_ca(one))
        });
        begun.extend(next.map(|(at, _)| [way.as_slice(), &[at]].concat()));
    }
    found
}

/// What signed a certificate.
struct Above<'c> {
    /// Whether each of the intermediates did.
    intermediates: Vec<bool>,
    /// The anchors that did.
    anchors: Vec<&'c Certificate>,
}

/// Returns the CA certificates that a certificate verifies by at a time ([`chains`]), and itself
/// where it is one of them. The dates of the certificate itself and of the anchors are for the
/// caller to judge.
#[must_use]
pub fn anchors_of<'a>(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &'a [Certificate],
    now: Timestamp,
) -> Vec<&'a Certificate> {
    let found = chains(leaf, intermediates, anchors.iter(), Certificate::is_signed_by);
    let valid = |chain: &&Chain<'_>| chain.intermediates.iter().all(|one| one.is_valid_at(now));
    let valid: Vec<_> = found.iter().filter(valid).collect();
    let accepts = |anchor: &&Certificate| {
        let is_end = |chain: &&Chain<'_>| chain.anchor.fingerprint == anchor.fingerprint;
        leaf.fingerprint == anchor.fingerprint || valid.iter().any(is_end)
    };
    anchors.iter().filter(accepts).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Certificate, KeyAlgorithm, PrivateKey};
    use super::{anchors_of, chains};
    use x509_cert::ext::Extension;

    fn p256() -> PrivateKey {
        PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
    }

    fn common_name(tag: u8) -> Vec<u8> {
        name(&[&[(CN, tag, b"kubernetes")]])
    }

    /// An authority key identifier.
    fn authority(bytes: &[u8]) -> Extension {
        extension("2.5.29.35", false, &tlv(0x30, &tlv(0x80, bytes)))
    }

    /// The same CA key in another certificate.
    fn again(key: &PrivateKey, subject: Vec<u8>, more: &[Extension]) -> Certificate {
        Draft::authority(subject, more).signed(key, key)
    }

    #[test]
    fn root_with_other_bytes_verifies_no_leaf() {
        let root = Draft::authority(common_name(PRINTABLE), &[identifier(b"one")]).self_signed();
        let leaf = |more: &[Extension]| {
            Draft::leaf(common_name(UTF8), &root.certificate, more).signed(&p256(), &root.key)
        };
        let (leaf, without) = (leaf(&[authority(b"one")]), leaf(&[]));
        let name = |tag, id: &[u8]| again(&root.key, common_name(tag), &[identifier(id)]);
        let (same, utf8, other_id) =
            (name(PRINTABLE, b"one"), name(UTF8, b"one"), name(PRINTABLE, b"two"));
        let without_id = again(&root.key, common_name(PRINTABLE), &[]);
        for accepted in [&root.certificate, &same, &without_id] {
            assert!(leaf.verifies_by(accepted) && without.verifies_by(accepted));
        }
        assert!(!leaf.is_signed_by(&utf8) && leaf.is_signed_with_key_of(&utf8));
        // Go accepts it, OpenSSL does not.
        assert!(leaf.is_signed_by(&other_id) && !leaf.verifies_by(&other_id));
        assert!(without.verifies_by(&other_id));
        let other = Draft::authority(common_name(PRINTABLE), &[]).self_signed().certificate;
        assert!(!leaf.is_signed_with_key_of(&other) && !leaf.verifies_by(&other));
    }

    /// Each of a circle of CAs signs the next two, and the first one is signed by the root too.
    #[test]
    fn circles_of_intermediates_end() {
        let root = Draft::authority(common_name(UTF8), &[]).self_signed();
        let keys: Vec<_> = (0..6).map(|_| p256()).collect();
        let named = |at: usize| name(&[&[(CN, UTF8, format!("ca {at}").as_bytes())]]);
        let signed = |at: usize, issuer: Vec<u8>, key: &PrivateKey| {
            let draft = Draft { issuer, ..Draft::authority(named(at), &[]) };
            draft.signed(&keys[at], key)
        };
        let mut shown: Vec<_> =
            (0..7).map(|at| signed(at % 6, named((at + 1) % 6), &keys[(at + 1) % 6])).collect();
        let top = signed(5, root.certificate.subject.der().to_vec(), &root.key);
        let leaf =
            Draft::leaf(name(&[&[(CN, UTF8, b"leaf")]]), &shown[0], &[]).signed(&p256(), &keys[0]);
        let lengths = |shown: &[Certificate]| -> Vec<usize> {
            let anchors = [&root.certificate].into_iter();
            let found = chains(&leaf, shown, anchors, Certificate::is_signed_by);
            found.iter().map(|chain| chain.intermediates.len()).collect()
        };
        assert_eq!(lengths(&shown), [0; 0], "the circle leads nowhere");
        shown.push(top);
        assert_eq!(lengths(&shown), [6, 6], "the first CA is there twice");
        shown.insert(0, root.certificate.clone());
        assert_eq!(lengths(&shown), [0; 0], "the last one is not checked");
    }

    #[test]
    fn intermediates_lead_to_the_root() {
        let root = Draft::authority(common_name(UTF8), &[]).self_signed();
        let below = |subject: &[u8], issuer: &Certificate, issuer_key: &PrivateKey| {
            let key = p256();
            let issuer = issuer.subject.der().to_vec();
            let draft = Draft { issuer, ..Draft::authority(name(&[&[(CN, UTF8, subject)]]), &[]) };
            (draft.signed(&key, issuer_key), key)
        };
        let (upper, upper_key) = below(b"upper", &root.certificate, &root.key);
        let (lower, lower_key) = below(b"lower", &upper, &upper_key);
        let leaf =
            Draft::leaf(name(&[&[(CN, UTF8, b"leaf")]]), &lower, &[]).signed(&p256(), &lower_key);
        let roots = [root.certificate.clone()];
        let found = |shown: &[&Certificate], at| {
            let shown: Vec<_> = shown.iter().map(|one| (*one).clone()).collect();
            anchors_of(&leaf, &shown, &roots, at).len()
        };
        assert_eq!(found(&[&lower, &upper], now()), 1);
        assert_eq!(found(&[&upper, &lower], now()), 1, "in any order");
        assert_eq!(found(&[&lower], now()), 0, "one is missing");
        assert_eq!(found(&[], now()), 0);
        assert_eq!(found(&[&lower, &upper], lower.not_after.plus(crate::model::days(1))), 0);
        assert_eq!(
            anchors_of(&leaf, &[], std::slice::from_ref(&lower), now()).len(),
            1,
            "any anchor does"
        );
        assert_eq!(
            anchors_of(&leaf, &[], std::slice::from_ref(&leaf), now()).len(),
            1,
            "as does itself"
        );
        let endless = vec![&upper; 100];
        assert_eq!(found(&endless, now()), 0);
    }
}
