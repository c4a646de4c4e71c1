//! The survey: everything that is known of a node's certificates at one moment, and judged.

use std::collections::BTreeMap;

use super::names::names_lacking;
use crate::credentials::ObservedFiles;
use crate::model::{
    Action, AuthorityFacts, AuthorityJudgement, CredentialName, Policy, Timestamp, TrustFacts,
    TrustFileFacts, TrustJudgement, Urgency,
};
use crate::observe::{Node, Observation, kubeconfig_trust, observe, trust_files};
use crate::plan::{Judged, Life, OnDisk, judge, judge_authority, judge_trust, key_note, lives};

/// Everything that is known and thought of a node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The moment.
    pub now: Timestamp,
    /// The authorities, in the order of the catalog.
    pub authorities: Vec<(AuthorityFacts, AuthorityJudgement)>,
    /// The credentials, in the order of the catalog.
    pub credentials: Vec<Judged>,
    /// The CA certificates of the kubeconfigs, in the order of the catalog.
    pub trust: Vec<(TrustFacts, TrustJudgement)>,
    /// The CA certificates that services read only when they start.
    pub trust_files: Vec<TrustFileFacts>,
    /// The names and addresses for which certificates are wanted and not valid.
    pub lacking: BTreeMap<CredentialName, Vec<String>>,
}

/// When something is due, by the node's configuration.
#[must_use]
pub fn policy(node: &Node) -> Policy {
    let renewal = &node.settings.renewal;
    Policy {
        renew_before: renewal.renew_before.as_duration(),
        urgent_before: renewal.urgent_before.as_duration(),
        validity: node.validity,
        backdate: renewal.backdate.as_duration(),
        key: *renewal.key_algorithm,
    }
}

/// Looks at everything and judges it. Changes nothing.
#[must_use]
pub fn survey(node: &Node, now: Timestamp) -> Survey {
    survey_observed(node, &ObservedFiles::of(&node.root), now)
}

/// Does the same in an observation that has begun.
#[must_use]
pub fn survey_observed(node: &Node, files: &ObservedFiles, now: Timestamp) -> Survey {
    let Observation { authorities, credentials, root_anchors } =
        observe(files, &node.catalog, &node.settings.paths.state);
    let policy = policy(node);
    let credentials = credentials.into_iter().map(|mut facts| {
        let named = facts.credential.authority.as_ref();
        let authority =
            authorities.iter().find(|found| named == Some(&found.authority.name)).cloned();
        let judgement = judge(&facts, authority.as_ref(), &policy, now);
        if judgement.action == Action::Nothing {
            facts.notes.extend(key_note(&facts, &policy));
        }
        Judged { facts, authority, judgement }
    });
    let credentials: Vec<Judged> = credentials.collect();
    let alarms = &node.settings.alarms;
    let trust = kubeconfig_trust(files, &node.catalog, &root_anchors, now);
    let trust = trust.into_iter().map(|facts| {
        let authority = authorities.iter().find(|found| found.authority.name == facts.authority);
        let within = alarms.root_ca_expires_within.as_duration();
        let judgement = judge_trust(&facts, authority, within, now);
        (facts, judgement)
    });
    let trust = trust.collect();
    let authorities = authorities.into_iter().map(|facts| {
        let within = if facts.authority.root {
            &alarms.root_ca_expires_within
        } else {
            &alarms.ca_expires_within
        };
        let judgement = judge_authority(&facts, within.as_duration(), now);
        (facts, judgement)
    });
    Survey {
        now,
        trust,
        authorities: authorities.collect(),
        trust_files: trust_files(files, &node.catalog),
        lacking: names_lacking(files, &node.catalog, &credentials),
        credentials,
    }
}

impl Survey {
    /// What services should use.
    #[must_use]
    pub fn on_disk(&self) -> OnDisk<'_> {
        OnDisk { credentials: &self.credentials, trust_files: &self.trust_files }
    }

    /// Whether something can't wait for the next scheduled pass, for example on a machine that was
    /// off: an urgent credential is to be renewed, or something is broken or has expired, which is
    /// alarmed where it can't be renewed.
    #[must_use]
    pub fn needs_immediate_pass(&self) -> bool {
        let is_pressing = |judged: &Judged| match judged.judgement.condition.urgency() {
            Urgency::Expired => true,
            urgency => urgency > Urgency::Due && judged.judgement.action.issues(),
        };
        let has_expired = |(facts, _): &(AuthorityFacts, _)| {
            let present = facts.state.certificate(self.now);
            present.is_some_and(|certificate| certificate.not_after < self.now)
        };
        self.credentials.iter().any(is_pressing) || self.authorities.iter().any(has_expired)
    }

    /// The lives of all certificates.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        let authorities = self.authorities.iter().map(|(facts, _)| facts);
        lives(authorities, &self.credentials, self.now)
    }
}
