//! What the alarms at the end of a pass depend on, and the assessment of them that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{
    Alarm, AlarmKind, AuthorityFacts, AuthorityJudgement, ClockTrust, CredentialName, Deferral,
    DeferralReason, MembershipFinding, OtherRenewer, Policy, Timestamp, TrustFacts, TrustJudgement,
    UnclearManifest,
};
use crate::plan::Judged;

/// What alarms depend on.
#[derive(Clone, Copy, Debug)]
pub struct AlarmSituation<'s> {
    /// The host's name.
    pub host: &'s str,
    /// The present time.
    pub now: Timestamp,
    /// What was found of the certificates; `None` where they could not be looked at.
    pub seen: Option<AlarmInputs<'s>>,
    /// Whether the clock is trusted.
    pub clock_trust: &'s ClockTrust,
    /// Why no pass could be made, if none could.
    pub trouble: Option<&'s str>,
    /// The state of the configuration on disk.
    pub configuration: ConfigurationCheck<'s>,
    /// Whether the schedule in force makes passes often enough.
    pub schedule: ConfigurationCheck<'s>,
}

impl AlarmSituation<'_> {
    /// An alarm that is new.
    pub(super) fn alarm(
        &self,
        kind: AlarmKind,
        entity: String,
        about: Vec<String>,
        text: String,
        reason: String,
        repair: String,
    ) -> Alarm {
        Alarm { kind, entity, about, text, reason, repair, raised: self.now }
    }

    pub(super) fn on_host(
        &self,
        kind: AlarmKind,
        about: Vec<String>,
        text: &str,
        reason: String,
        repair: &str,
    ) -> Alarm {
        self.alarm(
            kind,
            format!("host={}", self.host),
            about,
            text.to_owned(),
            reason,
            repair.to_owned(),
        )
    }
}

/// What was found at the end of a pass.
#[derive(Clone, Copy, Debug)]
pub struct AlarmInputs<'s> {
    /// The authorities, judged.
    pub authorities: &'s [(AuthorityFacts, AuthorityJudgement)],
    /// The credentials, judged.
    pub credentials: &'s [Judged],
    /// What the pass was asked for; all where that is empty.
    pub only: &'s BTreeSet<CredentialName>,
    /// What was due and is deferred.
    pub deferred: &'s [Deferral],
    /// What etcd's other members say of this node's membership, where that was in question.
    pub membership: Option<&'s MembershipFinding>,
    /// The reasons to defer.
    pub holds: &'s [DeferralReason],
    /// The CA certificates of the kubeconfigs, judged.
    pub trust: &'s [(TrustFacts, TrustJudgement)],
    /// The names and addresses that certificates lack.
    pub lacking: &'s BTreeMap<CredentialName, Vec<String>>,
    /// What else renews certificates here.
    pub renewers: &'s [OtherRenewer],
    /// The manifests that do not say which certificates are used.
    pub unclear: &'s [UnclearManifest],
    /// Copies that could not be brought up to date, and why.
    pub not_copied: &'s BTreeMap<CredentialName, String>,
    /// The files in the state directory that users other than root can have changed, where that was
    /// checked.
    pub not_trusted: Option<&'s [String]>,
    /// How a rotation of the root CA stands.
    pub rotation: RotationInputs<'s>,
    /// When something is due.
    pub policy: &'s Policy,
    /// How long before its expiry the root CA is alarmed.
    pub root_authority_within: Duration,
    /// The same for other CAs, and for certificates that are not renewed on this node.
    pub within: Duration,
}

/// How a rotation of the root CA stands on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationInputs<'s> {
    /// It was not looked at.
    NotSeen,
    /// There is none.
    None,
    /// It is under way.
    UnderWay {
        /// The level that the nodes work to, and other words about it.
        progress: &'s str,
        /// What an operator has to see to; `None` where nothing holds it up.
        held: Option<&'s str>,
    },
}

/// The result of a check of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationCheck<'s> {
    /// It was not checked.
    NotChecked,
    /// It is right.
    Right,
    /// It is wrong: why.
    Wrong(&'s str),
}

impl<'s> ConfigurationCheck<'s> {
    /// The result by its error.
    #[must_use]
    pub fn new(error: Option<&'s str>) -> Self {
        error.map_or(Self::Right, Self::Wrong)
    }
}

/// The alarms that are true, and those about which nothing was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmAssessment {
    /// The true ones.
    pub alarms: Vec<Alarm>,
    /// Kinds, or single alarms of a kind by their entity, that stay as they are unless they are
    /// known to be true.
    pub unseen: Vec<(AlarmKind, Option<String>)>,
}

impl AlarmAssessment {
    pub(super) fn unseen(&mut self, kinds: impl IntoIterator<Item = AlarmKind>) {
        self.unseen.extend(kinds.into_iter().map(|kind| (kind, None)));
    }

    pub(super) fn is_unseen(&self, alarm: &Alarm) -> bool {
        self.unseen.iter().any(|(kind, entity)| {
            *kind == alarm.kind && entity.as_ref().is_none_or(|entity| *entity == alarm.entity)
        })
    }
}
