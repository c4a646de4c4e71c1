//! The judgement of a certificate that is to become the root CA of a cluster.
//!
//! Peers check less. What is refused here makes a part of the clients of a cluster refuse every
//! certificate of it, or makes others than the cluster's own certificates valid in it.

use std::time::Duration;

use crate::model::{
    AbsolutePath, CaConstraints, CaKeyKind, CaKeyUsage, CandidateKey, KeyIdentifier, RootCandidate,
    RootCertificate, RootRelation, RootSignature, SameNameObstacle, Timestamp, days,
};
use crate::plan::words::{remaining, span};

/// A root that is valid for a shorter time has to be replaced soon, on all nodes.
const SHORT_LIFE: Duration = days(5 * 365);

/// What a root has to comply with on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPolicy {
    /// How long the certificates are valid that it signs.
    pub leaf_validity: Duration,
    /// How long before they expire they are renewed.
    pub renew_before: Duration,
    /// Whether a CA that the system trusts may be the root of a cluster.
    pub allow_trusted: bool,
}

/// What is thought of a candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootJudgement {
    /// Why it can't be the root CA; empty where it can.
    pub faults: Vec<RootFault>,
    /// What an operator should know besides.
    pub warnings: Vec<RootWarning>,
}

/// Why a certificate can't be the root CA of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// It is an intermediate.
    #[error(
        "it is an intermediate CA, issued by {0}: kubeadm and kube-controller-manager take no \
         chain, and only Go accepts an intermediate as a trust anchor; use a self-signed root, or \
         have the PKI of {0} sign the certificates of the cluster as an external CA"
    )]
    Intermediate(String),
    /// The signature is wrong.
    #[error(
        "it names itself as its issuer, and its signature was not made by its own key, or by an \
         algorithm older than SHA-1"
    )]
    Signature,
    /// It is signed with SHA-1.
    #[error("it is signed with SHA-1: SHA-256 or better is needed")]
    Sha1,
    /// It is not of version 3.
    #[error("it is a certificate of X.509 version {0}: version 3 is needed")]
    Version(u32),
    /// It has no subject.
    #[error("it has no subject")]
    NoSubject,
    /// Strict parsers can't read it.
    #[error("Kubernetes can't read it: {0}")]
    Malformed(String),
    /// A certificate that it issues is not accepted.
    #[error("a certificate that kubecertd issues with it is not accepted: {0}")]
    Trial(String),
    /// It is no CA certificate.
    #[error("it is no CA certificate (basicConstraints CA:TRUE is missing)")]
    NoCa,
    /// Its constraints are not critical.
    #[error(
        "its basicConstraints are not critical (RFC 5280, 4.2.1.9): clients that verify strictly, \
         such as Python from 3.13 on, refuse it"
    )]
    NotCritical,
    /// It has no key usage.
    #[error(
        "it has no keyUsage (RFC 5280, 4.2.1.3): clients that verify strictly, such as Python from \
         3.13 on, refuse it"
    )]
    NoKeyUsage,
    /// It may not sign.
    #[error("it may not sign certificates (keyUsage lacks keyCertSign)")]
    MayNotSign,
    /// It limits the purposes of certificates.
    #[error(
        "its extendedKeyUsage allows {0} only: certificates below it could not be those of servers \
         and clients"
    )]
    Purposes(String),
    /// It limits the names of certificates.
    #[error(
        "it has name constraints: they apply to every name and address of the cluster's \
         certificates, and are not supported"
    )]
    NameConstraints,
    /// It has critical extensions that no verifier knows.
    #[error(
        "it has critical extensions that Kubernetes does not know ({0}), so nothing accepts it"
    )]
    UnknownCritical(String),
    /// It has no identifier of its key.
    #[error(
        "it has no subjectKeyIdentifier (RFC 5280, 4.2.1.2): nothing tells it from its \
         replacement, and clients that verify strictly refuse it"
    )]
    NoIdentifier,
    /// It names another certificate as that of its issuer.
    #[error(
        "its authorityKeyIdentifier names another certificate, by key, issuer or serial number: \
         OpenSSL does not take it for self-signed"
    )]
    OtherIdentifier,
    /// Its key is of a kind that can't be used.
    #[error(
        "its key is of the kind {0}: kubeadm and kubecertd take RSA with 2048, 3072, 4096 or 8192 \
         bits and ECDSA on P-256, P-384 or P-521"
    )]
    KeyKind(String),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyOfAnother,
    /// It is not valid yet.
    #[error("it is not valid before {0}: is the clock of this machine right?")]
    NotYetValid(Timestamp),
    /// It has expired.
    #[error("it expired {0}")]
    Expired(String),
    /// It expires too soon.
    #[error(
        "it expires {left}: certificates that it signs are valid for {leaf} and renewed {before} \
         before they expire, so it has to be valid for longer than both together"
    )]
    Short {
        /// When it expires.
        left: String,
        /// How long certificates are valid.
        leaf: String,
        /// How long before they expire they are renewed.
        before: String,
    },
    /// The system trusts it.
    #[error(
        "it is in the system's trust store ({0}): then every certificate of that PKI could log in \
         to this cluster, with the groups that it names; use a root for this cluster alone, or \
         give --allow-trusted-root where no other party gets certificates of it"
    )]
    Trusted(AbsolutePath),
    /// It has the key of the present root, and not its name.
    #[error(
        "it has the key of the present root CA ({0}), and not the same bytes as its name: Go would \
         accept no certificate that was signed before"
    )]
    SameKeyOtherName(AbsolutePath),
    /// It has the key of the present root, and not its identifier.
    #[error(
        "it has the key and the name of the present root CA ({0}), and another \
         subjectKeyIdentifier: OpenSSL would accept no certificate that was signed before"
    )]
    SameKeyOtherIdentifier(AbsolutePath),
    /// Verifiers take it for the present root.
    #[error(
        "it has the name of the present root CA ({file}) and another key, and verifiers can't \
         distinguish the two: {reason}; give it another name"
    )]
    SameName {
        /// The file of the present root.
        file: AbsolutePath,
        /// Why not.
        reason: String,
    },
}

/// What an operator should know about a root that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootWarning {
    /// It will have to be replaced before long.
    #[error(
        "it expires {0}: a root CA has to be renewed or replaced on every node and in every client \
         before it expires, so more than 5 years are usual"
    )]
    ShortLife(String),
    /// No other CA may be below it.
    #[error(
        "its path length is 0: when it is replaced one day, it can't sign a bridge to the new \
         root, and all clients have to be restarted in between"
    )]
    PathLength,
    /// Its key is of a kind that some clients don't know.
    #[error("its key is of the kind {0}, which some clients can't use (browsers, for example)")]
    KeyKind(String),
    /// No key was given.
    #[error("the private key was not given, so it was not compared with the certificate")]
    NoKey,
    /// A part of the system's trust store can't be read.
    #[error(
        "the system's trust store could not be read whole, so this CA may be in it ({})",
        some_of(.0)
    )]
    TrustStore(Vec<String>),
    /// It is the present root.
    #[error("it is the present root CA of this node ({0})")]
    Present(AbsolutePath),
}

/// The first of some texts, and the number of the others.
fn some_of(texts: &[String]) -> String {
    let (first, others) = texts.split_at(texts.len().min(3));
    let others = (!others.is_empty()).then(|| format!("{} more", others.len()));
    first.iter().cloned().chain(others).collect::<Vec<_>>().join("; ")
}

impl RootJudgement {
    /// Whether it can be the root CA.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.faults.is_empty()
    }
}

/// What is thought of a certificate that is to become the root CA of a cluster.
#[must_use]
pub fn judge_root(candidate: &RootCandidate, policy: &RootPolicy, now: Timestamp) -> RootJudgement {
    let RootCandidate { certificate, key, trial, trusted_in, unread_trust, present } = candidate;
    let mut faults = root_faults(certificate);
    // What is known already would only be said in other words.
    let trial = trial.clone().filter(|_| faults.is_empty());
    faults.extend(trial.map(RootFault::Trial));
    if *key == CandidateKey::OfAnother {
        faults.push(RootFault::KeyOfAnother);
    }
    faults.extend(life_fault(certificate, policy, now));
    let trusted = trusted_in.clone().filter(|_| !policy.allow_trusted);
    faults.extend(trusted.map(RootFault::Trusted));
    let relation = present.as_ref().map(|present| (&present.file, &present.relation));
    faults.extend(relation.and_then(|(file, relation)| relation_fault(file, relation)));

    let mut warnings = certificate_warnings(certificate);
    let is_short = faults.is_empty() && certificate.not_after < now.plus(SHORT_LIFE);
    warnings
        .extend(is_short.then(|| RootWarning::ShortLife(remaining(now, certificate.not_after))));
    warnings.extend((*key == CandidateKey::NotGiven).then_some(RootWarning::NoKey));
    let is_unknown = !policy.allow_trusted && trusted_in.is_none() && !unread_trust.is_empty();
    warnings.extend(is_unknown.then(|| RootWarning::TrustStore(unread_trust.clone())));
    let same = relation.filter(|(_, relation)| **relation == RootRelation::Same);
    warnings.extend(same.map(|(file, _)| RootWarning::Present(file.clone())));
    RootJudgement { faults, warnings }
}

/// What speaks against a certificate as a root CA, its dates aside.
#[must_use]
pub fn root_faults(certificate: &RootCertificate) -> Vec<RootFault> {
    let is_unsupported = matches!(certificate.key_kind, CaKeyKind::Unsupported(_));
    let signature = match certificate.signature {
        RootSignature::Own => None,
        RootSignature::OtherCa => Some(RootFault::Intermediate(certificate.issuer.clone())),
        RootSignature::Sha1 => Some(RootFault::Sha1),
        // The signature of a key of another kind can't be checked here.
        RootSignature::Wrong => (!is_unsupported).then_some(RootFault::Signature),
    };
    let constraints = match certificate.constraints {
        CaConstraints::NoCa => Some(RootFault::NoCa),
        CaConstraints::Ca { critical, .. } => (!critical).then_some(RootFault::NotCritical),
    };
    let usage = match certificate.key_usage {
        CaKeyUsage::Absent => Some(RootFault::NoKeyUsage),
        CaKeyUsage::Other => Some(RootFault::MayNotSign),
        CaKeyUsage::SignsCertificates => None,
    };
    let identifier = match certificate.identifier {
        KeyIdentifier::Absent => Some(RootFault::NoIdentifier),
        // An intermediate rightly names the key of another CA.
        KeyIdentifier::Contradicted => {
            (certificate.signature != RootSignature::OtherCa).then_some(RootFault::OtherIdentifier)
        }
        KeyIdentifier::Present => None,
    };
    let kind = match &certificate.key_kind {
        CaKeyKind::Unsupported(kind) => Some(RootFault::KeyKind(kind.clone())),
        CaKeyKind::Usual | CaKeyKind::Unusual(_) => None,
    };
    let unknown = &certificate.unknown_critical;
    [
        signature,
        (certificate.version != 3).then_some(RootFault::Version(certificate.version)),
        (!certificate.has_subject).then_some(RootFault::NoSubject),
        certificate.malformed.clone().map(RootFault::Malformed),
        constraints,
        usage,
        certificate.other_purposes.clone().map(RootFault::Purposes),
        certificate.has_name_constraints.then_some(RootFault::NameConstraints),
        (!unknown.is_empty()).then(|| RootFault::UnknownCritical(unknown.join(", "))),
        identifier,
        kind,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn life_fault(
    certificate: &RootCertificate,
    policy: &RootPolicy,
    now: Timestamp,
) -> Option<RootFault> {
    let RootCertificate { not_before, not_after, .. } = *certificate;
    let needed = now.plus(policy.leaf_validity).plus(policy.renew_before);
    if now < not_before {
        Some(RootFault::NotYetValid(not_before))
    } else if not_after < now {
        Some(RootFault::Expired(remaining(now, not_after)))
    } else if not_after < needed {
        Some(RootFault::Short {
            left: remaining(now, not_after),
            leaf: span(policy.leaf_validity),
            before: span(policy.renew_before),
        })
    } else {
        None
    }
}

fn relation_fault(file: &AbsolutePath, relation: &RootRelation) -> Option<RootFault> {
    match relation {
        RootRelation::Same | RootRelation::Renewed | RootRelation::Other => None,
        RootRelation::SameKeyOtherName => Some(RootFault::SameKeyOtherName(file.clone())),
        RootRelation::SameKeyOtherIdentifier => {
            Some(RootFault::SameKeyOtherIdentifier(file.clone()))
        }
        RootRelation::SameName { obstacle } => obstacle.as_ref().map(|obstacle| {
            let reason = match obstacle {
                SameNameObstacle::PresentHasNoIdentifier => {
                    "the present one has no subjectKeyIdentifier".to_owned()
                }
                SameNameObstacle::SameIdentifier => {
                    "both have the same subjectKeyIdentifier".to_owned()
                }
                SameNameObstacle::LeavesNameNone(names) => {
                    format!("{} have no authorityKeyIdentifier", names.join(", "))
                }
            };
            RootFault::SameName { file: file.clone(), reason }
        }),
    }
}

fn certificate_warnings(certificate: &RootCertificate) -> Vec<RootWarning> {
    let has_no_room =
        matches!(certificate.constraints, CaConstraints::Ca { path_length: Some(0), .. });
    let kind = match &certificate.key_kind {
        CaKeyKind::Unusual(kind) => Some(RootWarning::KeyKind(kind.clone())),
        CaKeyKind::Usual | CaKeyKind::Unsupported(_) => None,
    };
    [has_no_room.then_some(RootWarning::PathLength), kind].into_iter().flatten().collect()
}

#[cfg(test)]
#[path = "root_ca_tests.rs"]
mod tests;
