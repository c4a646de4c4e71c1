//! The report of a pass: what it found, decided and did.

use super::error::PassError;
use super::rotation::report::RotationReport;
use super::services::ServicesReport;
use super::survey::Survey;
use crate::act::{Copied, Renewed};
use crate::model::{
    AbsolutePath, Constraints, CredentialName, Deferral, MembershipFinding, MembershipVerdict,
};
use crate::plan::Plan;
use crate::store::Recovered;

/// What became of the renewal of each credential, in the order of the plan.
pub(super) type Results = Vec<(CredentialName, Result<Renewed, PassError>)>;

/// What a pass did.
#[derive(Debug)]
pub struct Report {
    /// What an earlier process had left unfinished.
    pub recovered: Recovered,
    /// What was found before.
    pub before: Survey,
    /// What was found at the end, where anything was renewed.
    pub after: Option<Survey>,
    /// What was decided.
    pub plan: Plan,
    /// What was due and waits.
    pub deferred: Vec<Deferral>,
    /// What was thought of the clock, and the reasons to wait.
    pub constraints: Constraints,
    /// What etcd's other members say of this node's membership, where that was in question.
    pub membership: Option<MembershipFinding>,
    /// What became of the services that use the credentials.
    pub services: ServicesReport,
    /// What became of each step that issues something, in the order of the plan; then of what was
    /// issued by an earlier pass and turned out to be refused.
    pub results: Vec<(CredentialName, Result<Renewed, PassError>)>,
    /// What became of each copy that was to follow its original.
    pub copies: Vec<Copied>,
    /// The files of credentials that were replaced.
    pub written: Vec<AbsolutePath>,
    /// The files in the state directory that other users can have changed, as before the pass.
    pub not_trusted: Vec<String>,
    /// How far this node is with a rotation of the root CA; `None` where there is none.
    pub rotation: Option<RotationReport>,
    /// Why it is not known how far this node is with one that is under way.
    pub rotation_trouble: Option<String>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

impl Report {
    /// What was found at the end.
    #[must_use]
    pub fn at_end(&self) -> &Survey {
        self.after.as_ref().unwrap_or(&self.before)
    }

    /// The copies that could not be brought up to date, and why.
    pub fn not_copied(&self) -> impl Iterator<Item = (CredentialName, String)> {
        self.copies
            .iter()
            .filter_map(|(name, result)| Some((name.clone(), result.as_ref().err()?.to_string())))
    }

    /// Whether too few of etcd's other members said that this node belongs to the cluster, and a
    /// later answer of theirs is waited for.
    #[must_use]
    pub fn waits_for_peers(&self) -> bool {
        let finding = self.membership.as_ref();
        let waits =
            |one: &MembershipFinding| one.may_change && one.verdict != MembershipVerdict::Belongs;
        finding.is_some_and(waits)
    }

    /// Whether something that was to be done went wrong.
    #[must_use]
    pub fn failed(&self) -> bool {
        failed(&self.results, &self.services)
    }
}

pub(super) fn failed(
    results: &[(CredentialName, Result<Renewed, PassError>)],
    services: &ServicesReport,
) -> bool {
    results.iter().any(|(_, result)| result.is_err())
        || services.outcomes.iter().any(|outcome| outcome.failure().is_some())
}
