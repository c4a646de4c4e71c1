//! Exit codes for scripts, documented in the help text and in docs/cli.md.

use std::process::ExitCode;

use super::Failure;
use crate::act::Renewed;
use crate::daemon::DaemonError;
use crate::model::{
    Action, AuthorityFacts, AuthorityKey, AuthorityState, Condition, CredentialName, Judgement,
    Renewal, Signer,
};
use crate::pass::ca_renewal::CaRenewalError;
use crate::pass::new_root::InstallRootError;
use crate::pass::rotation::order::OrderError;
use crate::pass::{PassError, Report};
use crate::plan::{Judged, Request};
use crate::store::StoreError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success, and nothing to do.
    Fine = 0,
    /// Nothing of the work could be done.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Something is due or wrong.
    Attention = 3,
    /// Some of the work was done.
    Partly = 4,
    /// Due renewals are deferred, or the clock is not trusted.
    Waiting = 5,
    /// Another process is working.
    Busy = 75,
    /// The configuration is wrong, or does not fit this kind of node.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Root(_)
            | Failure::UnknownName { .. }
            | Failure::UnknownAuthority { .. }
            | Failure::Hold(_)
            | Failure::Restore(_)
            | Failure::Request(_)
            | Failure::Kubeconfig(_) => Self::Usage,
            Failure::Daemon(DaemonError::AlreadyRunning(_)) => Self::Busy,
            Failure::Daemon(DaemonError::Configuration(_)) => Self::Configuration,
            Failure::Node(_)
            | Failure::Schedule(_)
            | Failure::Pass(PassError::Platform)
            | Failure::InstallRoot(InstallRootError::Platform(_))
            | Failure::Rotation(OrderError::Platform(_))
            | Failure::CaRenewal(CaRenewalError::Platform(_)) => Self::Configuration,
            Failure::CaRenewal(CaRenewalError::Clock(_))
            | Failure::Rotation(OrderError::Clock(_)) => Self::Waiting,
            Failure::Pass(PassError::Store(StoreError::Busy { .. }))
            | Failure::InstallRoot(InstallRootError::Store(StoreError::Busy { .. }))
            | Failure::CaRenewal(CaRenewalError::Store(StoreError::Busy { .. }))
            | Failure::Rotation(OrderError::Store(StoreError::Busy { .. })) => Self::Busy,
            Failure::Pass(_)
            | Failure::Demo(_)
            | Failure::DemoStopped(_)
            | Failure::Daemon(_)
            | Failure::File(_)
            | Failure::Authority(_)
            | Failure::SuppliedRoot(_)
            | Failure::InstallRoot(_)
            | Failure::CaRenewal(_)
            | Failure::Rotation(_)
            | Failure::Cluster(_) => Self::Failed,
        }
    }
}

/// The exit code of `renew`. What went wrong counts first, then what is still due or expired, then
/// what is deferred.
pub(super) fn of_renew(report: &Report, request: &Request) -> Exit {
    match of_pass(report) {
        Exit::Fine | Exit::Waiting if is_still_due(report, request) => Exit::Attention,
        exit => exit,
    }
}

/// The exit code of a pass that was asked for nothing in particular.
pub(super) fn of_pass(report: &Report) -> Exit {
    let renewed = report.results.iter().any(|(_, result)| result.is_ok())
        || report.copies.iter().any(|(_, result)| result.is_ok());
    match (count_failures(report), renewed) {
        (0, _) if !report.deferred.is_empty() => Exit::Waiting,
        (0, _) => Exit::Fine,
        (_, true) => Exit::Partly,
        (_, false) => Exit::Failed,
    }
}

/// Whether a certificate that was named, or that is renewed here, is due or expired at the end, and
/// no deferral says why. Those of kubelet and of external CAs count only by their names.
fn is_still_due(report: &Report, request: &Request) -> bool {
    let counts = |judged: &Judged| {
        let name = &judged.facts.credential.name;
        if request.only.is_empty() { is_renewed_here(judged) } else { request.only.contains(name) }
    };
    let is_deferred = |judged: &Judged| {
        report.deferred.iter().any(|one| one.credential == judged.facts.credential.name)
    };
    report
        .at_end()
        .credentials
        .iter()
        .any(|judged| counts(judged) && is_due(judged) && !is_deferred(judged))
}

/// Whether kubecertd renews it, with the key of its CA on this node.
fn is_renewed_here(judged: &Judged) -> bool {
    let has_key = |facts: &AuthorityFacts| match &facts.state {
        AuthorityState::Present { key, .. } => *key != AuthorityKey::Absent,
        _ => false,
    };
    let is_of = |signer| judged.facts.material.leaf().is_some_and(|leaf| leaf.signer == signer);
    judged.facts.credential.renewal == Renewal::Ours
        && judged.authority.as_ref().is_some_and(has_key)
        && !is_of(Signer::Intermediate)
}

/// Whether little or nothing is left of its life, whichever CA signed it.
fn is_due(judged: &Judged) -> bool {
    use Condition as C;
    let Judgement { condition, attention, .. } = judged.judgement;
    match condition {
        C::Due | C::Urgent | C::Expired | C::NotYetValid | C::Sha1 | C::EndsWithAuthority => true,
        C::ForeignIssuer | C::SelfSigned => attention,
        _ => false,
    }
}

/// The number of things that went wrong in a pass.
pub(super) fn count_failures(report: &Report) -> usize {
    let errors = report.plan.steps.iter().filter(|step| step.action == Action::Error).count();
    let failed = report
        .results
        .iter()
        .filter(|(_, result): &&(CredentialName, Result<Renewed, PassError>)| result.is_err())
        .count();
    let services =
        report.services.outcomes.iter().filter(|outcome| outcome.failure().is_some()).count();
    let copies = report.copies.iter().filter(|(_, result)| result.is_err()).count();
    errors + failed + services + copies
}
