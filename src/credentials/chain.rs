//! The certificates behind a leaf: a chain from its issuer up, for clients and servers that trust
//! only a CA further up. A renewal keeps them while they lead from the leaf.

use crate::formats::x509::{Certificate, MAX_INTERMEDIATES};

/// The certificates behind a renewed leaf.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Those that stay.
    pub kept: Vec<Certificate>,
    /// Those that led from the old leaf and don't lead from the new one, whose issuer is another.
    pub dropped: Vec<Certificate>,
}

impl Behind {
    /// Divides the certificates behind an old leaf. One that was no part of its chain stays: what
    /// it is for is not known.
    pub(super) fn of(new: &Certificate, old: &Certificate, further: &[Certificate]) -> Self {
        let (from_new, from_old) = (leading(new, further), leading(old, further));
        let mut behind = Self::default();
        for (at, certificate) in further.iter().enumerate() {
            let is_stale = from_old.contains(&at) && !from_new.contains(&at);
            let part = if is_stale { &mut behind.dropped } else { &mut behind.kept };
            part.push(certificate.clone());
        }
        behind
    }
}

/// The positions of the certificates that lead from a leaf: its issuer's, the issuers of that, and
/// so on. Several certificates of one issuer all count (cross-signed ones), up to
/// [`MAX_INTERMEDIATES`] in all: others may have written the file, and made their search endless.
fn leading(leaf: &Certificate, further: &[Certificate]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    loop {
        let is_next = |at: &usize, candidate: &Certificate| {
            let chain = found.iter().filter_map(|at| further.get(*at)).chain([leaf]);
            !found.contains(at) && chain.into_iter().any(|one| is_issued_by(one, candidate))
        };
        let next = further.iter().enumerate().find(|(at, candidate)| is_next(at, candidate));
        match next.map(|(at, _)| at) {
            Some(at) if found.len() < MAX_INTERMEDIATES => found.push(at),
            Some(_) | None => return found,
        }
    }
}

/// By name, and by key identifier or signature: a chain may have signatures that can't be verified
/// here, such as SHA-1, and several certificates of one key may identify it in different ways.
fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let named = &certificate.authority_key_identifier;
    let is_named = named.is_some() && *named == issuer.subject_key_identifier;
    certificate.issuer == issuer.subject && (is_named || certificate.is_signed_by(issuer))
}

#[cfg(test)]
mod tests {
    use super::Behind;
    use crate::formats::x509::fixtures::{CN, Draft, Issuer, UTF8, identifier, name, now};
    use crate::formats::x509::{KeyAlgorithm, MAX_INTERMEDIATES, PrivateKey};
    use crate::model::days;

    /// Others may have written the file: each certificate that counts makes the search longer.
    #[test]
    fn number_of_certificates_that_lead_from_a_leaf_is_limited() {
        let subject = |text: &[u8]| name(&[&[(CN, UTF8, text)]]);
        let ca = Draft::authority(subject(b"old"), &[identifier(b"one")]).self_signed();
        let other = Draft::authority(subject(b"new"), &[]).self_signed();
        let again = |at: u64| {
            let mut draft = Draft::authority(subject(b"old"), &[identifier(b"one")]);
            draft.terms.not_after = now().plus(days(at));
            draft.signed(&ca.key, &ca.key)
        };
        let further: Vec<_> = (1..30).map(again).collect();
        let leaf = |by: &Issuer| {
            let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
            Draft::leaf(subject(b"leaf"), &by.certificate, &[]).signed(&key, &by.key)
        };
        let behind = Behind::of(&leaf(&other), &leaf(&ca), &further);
        assert_eq!(behind.dropped.len(), MAX_INTERMEDIATES);
        assert_eq!(behind.kept.len(), further.len() - MAX_INTERMEDIATES);
    }
}
