//! The daemon's status: one line for systemd, and a file for `kubecertd status`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::act::refresh::{RefreshError, RefreshOutcome};
use crate::model::{AbsolutePath, Action, ClockTrust, CredentialName, ServiceName, Timestamp};
use crate::pass::Report;
use crate::state::file::StateFile;
use crate::store::lock::Lock;
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("status.json", "the last status of the daemon is not known");

/// The directory of the status file and of the daemon's lock.
#[must_use]
pub fn runtime_dir() -> AbsolutePath {
    AbsolutePath::constant("/run/kubecertd")
}

/// The status that a daemon last published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// The time of its start.
    pub started: Timestamp,
    /// The time of this status.
    pub updated: Timestamp,
    /// Its activity, in one line.
    pub line: String,
    /// Why the configuration on disk is not the one in force.
    pub configuration: Option<String>,
    /// The last pass.
    pub last_pass: Option<PassSummary>,
    /// The time of the next scheduled pass.
    pub next_pass: Option<Timestamp>,
    /// The time at which a failed or waiting pass is made again.
    pub next_try: Option<Timestamp>,
}

/// A summary of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassSummary {
    /// The time of its beginning.
    pub began: Timestamp,
    /// Its cause.
    pub why: String,
    /// Why it could not be made at all.
    pub trouble: Option<String>,
    /// The renewed credentials.
    pub renewed: Vec<CredentialName>,
    /// The copies that were brought up to date.
    #[serde(default)]
    pub copied: Vec<CredentialName>,
    /// The credentials that were not renewed or copied, and why.
    pub failed: Vec<(CredentialName, String)>,
    /// The services that use the renewed credentials now, and how that was done.
    #[serde(default)]
    pub refreshed: Vec<(ServiceName, String)>,
    /// The services that do not, and why.
    #[serde(default)]
    pub not_refreshed: Vec<(ServiceName, String)>,
    /// The services whose refresh waits, and why.
    #[serde(default)]
    pub services_waiting: Vec<(ServiceName, String)>,
    /// Findings about services, for operators.
    #[serde(default)]
    pub findings: Vec<String>,
    /// The credentials whose renewal waits, and why.
    pub waiting: Vec<(CredentialName, String)>,
    /// The reasons to wait, whether or not anything does.
    pub holds: Vec<String>,
    /// Why the clock is not trusted, if it is not.
    pub clock: Option<String>,
}

impl PassSummary {
    /// Summarizes a pass that was made.
    #[must_use]
    pub fn from_report(began: Timestamp, why: String, report: &Report) -> Self {
        let errors = report.plan.steps.iter().filter(|step| step.action == Action::Error);
        let errors = errors.map(|step| (step.credential.clone(), step.reason.clone()));
        let failed = report
            .results
            .iter()
            .filter_map(|(name, result)| Some((name.clone(), result.as_ref().err()?.to_string())));
        let renewed = report.results.iter().filter(|(_, result)| result.is_ok());
        let copied = report.copies.iter().filter(|(_, result)| result.is_ok());
        let steps = report.services.found.steps.iter();
        let waiting: Vec<_> =
            steps.filter_map(|step| Some((step.service.clone(), step.waits.clone()?))).collect();
        let deferred = report.deferred.iter();
        Self {
            began,
            why,
            trouble: None,
            renewed: renewed.map(|(name, _)| name.clone()).collect(),
            copied: copied.map(|(name, _)| name.clone()).collect(),
            failed: failed.chain(errors).chain(report.not_copied()).collect(),
            refreshed: service_texts(report, |outcome| {
                outcome.result.as_ref().ok().map(ToString::to_string)
            }),
            not_refreshed: service_texts(report, |outcome| {
                outcome.failure().map(ToString::to_string)
            }),
            services_waiting: [waiting, service_texts(report, held_text)].concat(),
            findings: report.services.found.findings.iter().map(ToString::to_string).collect(),
            waiting: deferred.map(|one| (one.credential.clone(), one.reason.clone())).collect(),
            holds: report.constraints.reasons.iter().map(ToString::to_string).collect(),
            clock: match &report.constraints.clock_trust {
                ClockTrust::Trusted | ClockTrust::TrustedUnsynchronised => None,
                ClockTrust::NotTrusted(reason) => Some(reason.clone()),
            },
        }
    }

    /// Summarizes a pass that could not be made.
    #[must_use]
    pub fn not_made(began: Timestamp, why: String, trouble: String) -> Self {
        Self { began, why, trouble: Some(trouble), ..Self::default() }
    }

    /// Whether something failed.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.trouble.is_some() || !self.failed.is_empty() || !self.not_refreshed.is_empty()
    }

    /// The outcome in a few words.
    #[must_use]
    pub fn outcome(&self) -> String {
        if self.trouble.is_some() {
            return "could not be made".to_owned();
        }
        let counts = [
            (self.renewed.len(), "renewed"),
            (self.copied.len(), "copied"),
            (self.refreshed.len(), "refreshed"),
            (self.failed.len() + self.not_refreshed.len(), "failed"),
            (self.waiting.len() + self.services_waiting.len(), "deferred"),
        ];
        let counts: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") }
    }
}

fn service_texts(
    report: &Report,
    text: fn(&RefreshOutcome) -> Option<String>,
) -> Vec<(ServiceName, String)> {
    report
        .services
        .outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.service.clone(), text(outcome)?)))
        .collect()
}

fn held_text(outcome: &RefreshOutcome) -> Option<String> {
    match &outcome.result {
        Err(error @ RefreshError::Held(_)) => Some(error.to_string()),
        _ => None,
    }
}

/// The daemon's activity in one line, for operators. `next` is the time of the next pass.
#[must_use]
pub fn activity(is_in_pass: bool, last: Option<&PassSummary>, next: Option<Timestamp>) -> String {
    if is_in_pass {
        return "a pass is running".to_owned();
    }
    let next = next.map_or_else(|| "no next pass".to_owned(), |next| format!("next pass {next}"));
    match last {
        None => next,
        Some(last) => format!("last pass {}: {}; {next}", last.began, last.outcome()),
    }
}

impl Status {
    /// Reads the status file, and finds out whether the daemon runs. The text says why the file
    /// can't be used, if it can't.
    #[must_use]
    pub fn read(root: &Root) -> (Option<Self>, bool, Option<String>) {
        let dir = runtime_dir();
        let (status, note) = FILE.read(root, &dir);
        let runs = root.open_dir(Path::new(dir.as_path())).is_ok_and(|dir| Lock::is_held(&dir));
        (status, runs, note)
    }

    /// Writes the status file.
    ///
    /// # Errors
    /// When it can't be written; the one before it stays.
    pub fn write(&self, root: &Root) -> Result<(), FileError> {
        FILE.write(root, &runtime_dir(), self)
    }
}
