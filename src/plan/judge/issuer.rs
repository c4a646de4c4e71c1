//! Whether issuing a credential anew would change the CA that it is issued by. Other nodes and
//! clients may not trust the other CA yet, so that this waits as long as it can.

use super::authority::authority_condition;
use crate::model::{
    AuthorityCertificate, AuthorityCondition, AuthorityFacts, AuthorityState, CredentialFacts,
    Signer, Timestamp,
};

/// What would change, in words: the present certificate does not verify by the CA certificate that
/// would sign the new one. `None` where nothing would, or nothing can be signed.
pub(in crate::plan) fn change_of_issuer(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    now: Timestamp,
) -> Option<String> {
    let leaf = facts.material.leaf().filter(|leaf| leaf.signer == Signer::Authority)?;
    let AuthorityFacts { authority, state, .. } = authority?;
    let AuthorityState::Present { anchors, .. } = state else { return None };
    if authority_condition(state, now) != AuthorityCondition::Usable {
        return None;
    }
    let signer = anchors.candidate(now)?;
    if leaf.verifies_by.contains(&signer.fingerprint) {
        return None;
    }
    let issuer = anchors.latest_of(now, |one| leaf.verifies_by.contains(&one.fingerprint));
    // Nothing that an expired CA issued is accepted any more.
    if issuer.is_some_and(|issuer| now > issuer.not_after) {
        return None;
    }
    let (file, key) = (&authority.certificate, &authority.key);
    Some(match issuer {
        Some(issuer) => format!(
            "issued by the CA {}, and {key} signs as another CA in {file}, {}",
            shown(issuer),
            shown(signer)
        ),
        None => format!(
            "issued with a CA certificate that is not in {file}, and {key} signs as {}, which has \
             another key identifier",
            shown(signer)
        ),
    })
}

fn shown(certificate: &AuthorityCertificate) -> String {
    format!("{} (serial {})", certificate.subject, certificate.serial)
}

/// What to do about it, besides waiting until it is urgent.
pub(super) const ADVICE: &str = "\
    it is renewed by another CA only when it is urgent: restore the certificate and key of the \
    first CA, or have all nodes and clients trust the other one, and then issue it again, for \
    example with kubeadm certs renew";

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
