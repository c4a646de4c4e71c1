//! The memory of certificates in a pass: the certificate that each credential has is written down,
//! so that a later pass knows whom the credential is for.

use super::survey::Survey;
use crate::act::Renewed;
use crate::credentials::load;
use crate::model::{CredentialFacts, Identity, Leaf, Material, Signer, Timestamp};
use crate::observe::Node;
use crate::state::KnownCertificates;

/// Writes down the certificates of a survey that count, and when those of `renewed` were issued.
/// `last_seen` is the latest time of a trusted clock: by one that is behind, an expired certificate
/// would count.
pub(super) fn remember(
    node: &Node,
    survey: &Survey,
    renewed: &[Renewed],
    last_seen: Option<Timestamp>,
    known: &mut KnownCertificates,
) -> Option<String> {
    let latest = last_seen.map_or(survey.now, |last| last.max(survey.now));
    let mut now = known.clone();
    for facts in survey.credentials.iter().map(|judged| &judged.facts) {
        let name = &facts.credential.name;
        let is_new = renewed.iter().any(|one| one.credential == *name);
        let leaf = facts.material.leaf().filter(|_| counts(facts, latest));
        let is_noted = |leaf: &&Leaf| {
            known.certificate(name).is_some_and(|one| one.fingerprint == leaf.fingerprint)
        };
        let certificate = leaf.filter(|leaf| is_new || !is_noted(leaf)).and_then(|leaf| {
            // If it is still the one of the survey.
            let stored = load(&node.root, &facts.credential).stored()?;
            Some(stored.certificate).filter(|found| found.fingerprint == leaf.fingerprint)
        });
        if let Some(certificate) = certificate {
            now.note(name, &certificate, is_new.then_some(survey.now));
        }
    }
    if now == *known {
        return None;
    }
    match now.write(&node.root, &node.settings.paths.state) {
        Ok(()) => {
            *known = now;
            None
        }
        Err(e) => Some(format!(
            "{e}; where others than root can write a credential, a later pass may not know its \
             subject"
        )),
    }
}

/// Whether the certificate that is there now says whom the credential is for: it has its key, its
/// CA signed it, and only root can have put it there, or nothing speaks against it.
fn counts(facts: &CredentialFacts, now: Timestamp) -> bool {
    let Material::Whole(leaf) = &facts.material else { return false };
    let is_own = match facts.other_writers.as_ref().map(|writers| &writers.identity) {
        None | Some(Identity::Known) => true,
        Some(Identity::Unknown | Identity::OtherNames) => now <= leaf.not_after,
        Some(Identity::OtherSubject(_)) => false,
    };
    let is_signed = matches!(leaf.signer, Signer::Authority | Signer::Intermediate);
    is_own && is_signed && facts.credential.copy_of().is_none()
}
