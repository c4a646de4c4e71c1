//! Which CA certificates a certificate verifies by, as the verifiers of Go and OpenSSL see it.
//!
//! Go compares the issuer's name with the subject of the CA certificate byte for byte, and takes
//! key identifiers for a hint. OpenSSL compares the names by their meaning, and refuses a CA
//! certificate whose subject key identifier is not the one that the certificate names as its
//! authority's.

use super::Certificate;
use super::check::is_signed_with;
use crate::model::Timestamp;

/// The number of intermediates that are looked at: what a server or a file shows may be endless.
const MAX_INTERMEDIATES: usize = 8;

impl Certificate {
    /// Whether both verifiers accept it by that CA certificate alone.
    #[must_use]
    pub fn verifies_by(&self, issuer: &Self) -> bool {
        self.was_signed_by(issuer) && !self.names_another_key_than(issuer)
    }

    /// Whether that certificate's key made the signature, whatever its subject is.
    #[must_use]
    pub fn is_signed_with_key_of(&self, issuer: &Self) -> bool {
        is_signed_with(self.der(), issuer.public_key_der())
    }

    fn names_another_key_than(&self, issuer: &Self) -> bool {
        self.authority_key_identifier
            .as_ref()
            .zip(issuer.subject_key_identifier.as_ref())
            .is_some_and(|(named, own)| named != own)
    }
}

/// Returns the CA certificates that a certificate verifies by at a time, as Go does it, directly or
/// by way of the intermediates that are shown with it. The dates of the certificate itself and of
/// the anchors are for the caller to judge.
#[must_use]
pub fn anchors_of<'a>(
    leaf: &Certificate,
    intermediates: &[Certificate],
    anchors: &'a [Certificate],
    now: Timestamp,
) -> Vec<&'a Certificate> {
    let mut left: Vec<_> = intermediates
        .iter()
        .take(MAX_INTERMEDIATES)
        .filter(|one| one.is_authority && one.may_sign && one.is_valid_at(now))
        .collect();
    let mut chain = vec![leaf];
    // Each round takes at least one intermediate out.
    loop {
        let (issuers, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|one| chain.iter().any(|below| below.is_signed_by(one)));
        if issuers.is_empty() {
            break;
        }
        chain.extend(issuers);
        left = others;
    }
    let accepts = |anchor: &&Certificate| {
        let signs = anchor.is_authority && anchor.may_sign;
        chain
            .iter()
            .any(|one| one.fingerprint == anchor.fingerprint || (signs && one.is_signed_by(anchor)))
    };
    anchors.iter().filter(accepts).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Certificate, KeyAlgorithm, PrivateKey};
    use super::anchors_of;
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
