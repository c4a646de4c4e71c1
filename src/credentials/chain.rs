//! The certificates behind a leaf: a chain from its issuer up, for clients and servers that trust
//! only a CA further up. A renewal keeps them while they lead from the leaf.

use crate::formats::x509::Certificate;

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
/// so on. Several certificates of one issuer all count (cross-signed ones).
fn leading(leaf: &Certificate, further: &[Certificate]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    loop {
        let is_next = |at: &usize, candidate: &Certificate| {
            let chain = found.iter().filter_map(|at| further.get(*at)).chain([leaf]);
            !found.contains(at) && chain.into_iter().any(|one| is_issued_by(one, candidate))
        };
        let next = further.iter().enumerate().find(|(at, candidate)| is_next(at, candidate));
        match next.map(|(at, _)| at) {
            Some(at) => found.push(at),
            None => return found,
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
