//! One pass of the daemon, on a thread of its own: the node as it is now, the pass, and what is to
//! be said of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::task::JoinError;

use super::status::LastPass;
use crate::act::refresh::{RefreshError, RefreshOutcome};
use crate::drivers::timedate;
use crate::model::{AbsolutePath, Action, Belief, Hold, ServiceName, Timestamp};
use crate::observe::{ConfigFile, Node};
use crate::pass::{self, Orders, Outlook, PassError, Remember, Report, Survey};
use crate::plan::{Configuration, Occasion, Request};
use crate::report::alarms::{Made, News, after_fault, after_pass};
use crate::report::{Ledger, line};
use crate::sys::{Clock, Root};

/// What a pass needs to know.
#[derive(Clone)]
pub(super) struct Duty {
    pub(super) root: PathBuf,
    pub(super) configuration: Arc<Vec<ConfigFile>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) why: String,
    pub(super) occasion: Occasion,
    pub(super) holds: Vec<Hold>,
    pub(super) remember: Remember,
    /// The state folder.
    pub(super) state: AbsolutePath,
    /// What is remembered of alarms.
    pub(super) ledger: Ledger,
    /// Why the configuration on disk is not the one in force.
    pub(super) configuration_trouble: Option<String>,
}

/// What came of it.
pub(super) struct Done {
    pub(super) last: LastPass,
    /// The node as it was found; `None` when it could not be.
    pub(super) node: Option<Node>,
    pub(super) report: Option<Report>,
    /// What was found at the end, whether or not the pass could be made.
    pub(super) seen: Option<(Survey, Belief)>,
    /// What is new of alarms.
    pub(super) alarms: News,
}

impl Done {
    /// A pass that ended in a way that it should not.
    pub(super) fn fault(error: &JoinError) -> Self {
        Self {
            last: trouble(Timestamp::default(), String::new(), fault(error)),
            node: None,
            report: None,
            seen: None,
            alarms: News::default(),
        }
    }
}

/// What was made, before alarms are made of it.
struct Attempt {
    last: LastPass,
    node: Option<Node>,
    report: Result<Report, Option<(PassError, Outlook)>>,
}

impl Attempt {
    fn none(last: LastPass, node: Option<Node>) -> Self {
        Self { last, node, report: Err(None) }
    }

    fn seen(&self) -> Option<(Survey, Belief)> {
        match &self.report {
            Ok(report) => Some((report.at_end().clone(), report.brakes.belief.clone())),
            Err(failed) => failed
                .as_ref()
                .map(|(_, outlook)| (outlook.survey.clone(), outlook.brakes.belief.clone())),
        }
    }
}

fn fault(error: &JoinError) -> String {
    format!("a fault in kubecertd ended the pass: {error}; please report it")
}

impl Duty {
    /// Makes the pass, and alarms of what it found. A panic in it is a failed pass and nothing
    /// more; one in what follows costs the news of alarms.
    pub(super) async fn work(self) -> Done {
        let synchronised = timedate::synchronised(timedate::LIMIT).await;
        let (began, why) = (self.clock.now(), self.why.clone());
        let afterwards = self.clone();
        let work = tokio::task::spawn_blocking(move || self.make(synchronised));
        let attempt = Arc::new(
            work.await.unwrap_or_else(|e| Attempt::none(trouble(began, why, fault(&e)), None)),
        );
        let of = Arc::clone(&attempt);
        let alarms =
            tokio::task::spawn_blocking(move || afterwards.alarms(&of)).await.unwrap_or_else(|e| {
                line::fault(format_args!(
                    "a fault in kubecertd kept alarms from being raised or \
                cleared: {e}; please report it"
                ));
                News::default()
            });
        match Arc::into_inner(attempt) {
            Some(attempt) => {
                let seen = attempt.seen();
                Done {
                    last: attempt.last,
                    node: attempt.node,
                    report: attempt.report.ok(),
                    seen,
                    alarms,
                }
            }
            // Nobody else has it any more.
            None => {
                let last =
                    trouble(began, String::new(), "what the pass did is not known".to_owned());
                Done { last, node: None, report: None, seen: None, alarms }
            }
        }
    }

    fn alarms(&self, attempt: &Attempt) -> News {
        let (ledger, now) = (&self.ledger, self.clock.now());
        let made = match &attempt.report {
            Ok(report) => Some(Made::Well(report)),
            Err(failed) => failed.as_ref().map(|(error, outlook)| Made::Not(error, outlook)),
        };
        if let Some((node, made)) = attempt.node.as_ref().zip(made) {
            let configuration = self
                .configuration_trouble
                .as_deref()
                .map_or(Configuration::Right, Configuration::Refused);
            return after_pass(ledger, node, made, &Request::default(), configuration, now);
        }
        let trouble = attempt.last.trouble.as_deref().unwrap_or_default();
        match Root::open(&self.root) {
            Ok(root) => after_fault(ledger, &root, &self.state, trouble, now),
            Err(e) => News { notes: vec![e.to_string()], ..News::default() },
        }
    }

    fn make(self, synchronised: Option<bool>) -> Attempt {
        let began = self.clock.now();
        let node = Root::open(&self.root).map_err(|e| e.to_string());
        let node = match node
            .and_then(|root| Node::with_files(root, &self.configuration).map_err(|e| e.to_string()))
        {
            Ok(node) => node,
            Err(e) => return Attempt::none(trouble(began, self.why, e), None),
        };
        let request = Request::default();
        let orders = Orders {
            request: &request,
            occasion: self.occasion,
            clock: &*self.clock,
            synchronised,
            trust_clock: false,
            holds: &self.holds,
            remember: Some(self.remember),
            stop: &self.stop,
            progress: &|_, _| {},
            emit: &|_| {},
        };
        match pass::run(&node, &orders) {
            Ok(report) => Attempt {
                last: summary(began, self.why, &report),
                node: Some(node),
                report: Ok(report),
            },
            Err(e) => {
                let (last, outlook) =
                    (trouble(began, self.why, e.to_string()), pass::preview(&node, &orders));
                Attempt { last, node: Some(node), report: Err(Some((e, outlook))) }
            }
        }
    }
}

fn trouble(began: Timestamp, why: String, trouble: String) -> LastPass {
    let trouble = Some(trouble);
    LastPass { began, why, trouble, ..LastPass::default() }
}

fn outcomes(
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

fn held(outcome: &RefreshOutcome) -> Option<String> {
    match &outcome.result {
        Err(error @ RefreshError::Held(_)) => Some(error.to_string()),
        _ => None,
    }
}

fn summary(began: Timestamp, why: String, report: &Report) -> LastPass {
    let errors = report.plan.steps.iter().filter(|step| step.action == Action::Error);
    let errors = errors.map(|step| (step.credential.clone(), step.reason.clone()));
    let failed = report
        .results
        .iter()
        .filter_map(|(name, result)| Some((name.clone(), result.as_ref().err()?.to_string())));
    let copied =
        report.copies.iter().filter(|(_, result)| result.is_ok()).map(|(name, _)| name.clone());
    let steps = report.services.found.steps.iter();
    let waiting: Vec<_> =
        steps.filter_map(|step| Some((step.service.clone(), step.waits.clone()?))).collect();
    LastPass {
        began,
        why,
        trouble: None,
        renewed: report
            .results
            .iter()
            .filter(|(_, result)| result.is_ok())
            .map(|(name, _)| name.clone())
            .collect(),
        copied: copied.collect(),
        failed: failed.chain(errors).chain(report.not_copied()).collect(),
        refreshed: outcomes(report, |outcome| {
            outcome.result.as_ref().ok().map(ToString::to_string)
        }),
        not_refreshed: outcomes(report, |outcome| outcome.failure().map(ToString::to_string)),
        services_waiting: [waiting, outcomes(report, held)].concat(),
        findings: report.services.found.findings.iter().map(ToString::to_string).collect(),
        waiting: report
            .deferred
            .iter()
            .map(|one| (one.credential.clone(), one.reason.clone()))
            .collect(),
        holds: report.brakes.holds.iter().map(ToString::to_string).collect(),
        clock: match &report.brakes.belief {
            Belief::Believed | Belief::BelievedUnsynchronised => None,
            Belief::NotBelieved(reason) => Some(reason.clone()),
        },
    }
}
