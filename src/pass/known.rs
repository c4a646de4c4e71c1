//! The memory of certificates in a pass: the certificate that each credential has is written down,
//! so that a later pass knows whom the credential is for.

use super::survey::Survey;
use crate::act::Renewed;
use crate::credentials::load;
use crate::formats::x509::Certificate;
use crate::model::{CredentialFacts, Identity, Material, Signer, Timestamp};
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
) -> Option<String> {
    let state = &node.settings.paths.state;
    let known = KnownCertificates::read(&node.root, state).0;
    let mut now = known.clone();
    for judged in &survey.credentials {
        let facts = &judged.facts;
        let name = &facts.credential.name;
        let issued = renewed.iter().any(|one| one.credential == *name).then_some(survey.now);
        if !counts(facts, last_seen.map_or(survey.now, |last| last.max(survey.now))) {
            continue;
        }
        if let Some(certificate) = certificate(node, facts) {
            now.note(name, &certificate, issued);
        }
    }
    let written = if now == known { Ok(()) } else { now.write(&node.root, state) };
    written.err().map(|e| {
        format!(
            "{e}; where others than root can write a credential, a later pass may not know whom it \
             is for"
        )
    })
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
    is_own && leaf.signer == Signer::Authority && facts.credential.copy_of().is_none()
}

/// The certificate, if it is still the one of the survey.
fn certificate(node: &Node, facts: &CredentialFacts) -> Option<Certificate> {
    let judged = facts.material.leaf()?.fingerprint;
    let stored = load(&node.root, &facts.credential).stored()?;
    Some(stored.certificate).filter(|found| found.fingerprint == judged)
}
