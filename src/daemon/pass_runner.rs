//! Makes and reports passes, the same for the daemon and for `run --once`.
//!
//! [`PassRunner`] builds a [`PassTask`] and reports its result; the task makes the pass on the
//! blocking pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{JoinError, spawn_blocking};

use super::configuration::{LoadedConfiguration, Options};
use crate::drivers::timedate;
use crate::model::{AbsolutePath, DeferralReason, Timestamp};
use crate::observe::Node;
use crate::pass::{self, Orders, ScheduleMemory};
use crate::plan::{Request, Trigger};
use crate::report::alarms::AlarmChanges;
use crate::report::{AlarmLedger, FinishedPass, PassEvents, Reporter, line};
use crate::state::PassMemory;
use crate::sys::Root;

/// The cause of a pass.
#[derive(Clone, Debug)]
pub(super) struct PassCause {
    /// The cause, for operators.
    pub(super) why: String,
    /// The kind of cause, which decides what the pass may do.
    pub(super) trigger: Trigger,
}

impl PassCause {
    pub(super) fn new(why: impl Into<String>, trigger: Trigger) -> Self {
        Self { why: why.into(), trigger }
    }

    /// The cause of the one pass that serves two requests, of which `later` came second: it may do
    /// what either of them may.
    #[must_use]
    pub(super) fn merge(self, later: Self) -> Self {
        match (self.trigger, later.trigger) {
            // A scheduled pass may do all that a requested one may.
            (Trigger::Scheduled, Trigger::Asked) | (Trigger::Asked, Trigger::Scheduled) => {
                let (first, second) = (self.why, later.why);
                let why =
                    if first.contains(&second) { first } else { format!("{first}; {second}") };
                Self { why, trigger: Trigger::Scheduled }
            }
            // Changed files are looked at by every pass.
            (Trigger::Other, _) => later,
            (_, Trigger::Other)
            | (Trigger::Scheduled, Trigger::Scheduled)
            | (Trigger::Asked, Trigger::Asked) => self,
        }
    }
}

/// Builds the passes of one process and reports them, one after the other.
pub(super) struct PassRunner {
    options: Options,
    stop: Arc<AtomicBool>,
    pub(super) reporter: Reporter,
}

impl PassRunner {
    /// A runner that goes on from the remembered passes in `state`.
    pub(super) fn new(options: &Options, state: &PassMemory) -> Self {
        Self {
            options: options.clone(),
            stop: Arc::new(AtomicBool::new(false)),
            reporter: Reporter::new(options.root.clone(), Arc::clone(&options.clock), state),
        }
    }

    /// Builds a pass, and reports that it begins. `node` is the node by the configuration in force;
    /// the pass reads it again.
    pub(super) fn begin_pass(
        &mut self,
        node: &Node,
        configuration: &LoadedConfiguration,
        cause: PassCause,
        reasons: Vec<DeferralReason>,
        remember: ScheduleMemory,
    ) -> PassTask {
        let events = self.reporter.report_begin(&cause.why);
        PassTask {
            options: self.options.clone(),
            configuration: configuration.clone(),
            stop: Arc::clone(&self.stop),
            cause,
            reasons,
            remember,
            state: (*node.settings.paths.state).clone(),
            ledger: self.reporter.ledger().clone(),
            events,
        }
    }

    /// Asks the present pass to stop early.
    pub(super) fn request_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One pass, ready to be made.
#[derive(Clone)]
pub(super) struct PassTask {
    options: Options,
    configuration: LoadedConfiguration,
    stop: Arc<AtomicBool>,
    cause: PassCause,
    reasons: Vec<DeferralReason>,
    remember: ScheduleMemory,
    /// The state directory.
    state: AbsolutePath,
    ledger: AlarmLedger,
    /// Logs what happens in the pass, when it happens.
    events: Arc<PassEvents>,
}

/// The result of a pass that a fault ended.
pub(super) fn failed_by_fault(error: &JoinError) -> (FinishedPass, AlarmChanges) {
    let (began, why) = (Timestamp::default(), String::new());
    (FinishedPass::without_node(began, why, fault_text(error)), AlarmChanges::default())
}

fn fault_text(error: &JoinError) -> String {
    format!("a bug in kubecertd ended the pass: {error}; please report it")
}

impl PassTask {
    /// Makes the pass and updates the alarms. A panic in the pass is a failed pass; one in the
    /// update of alarms costs their changes.
    pub(super) async fn run(self) -> (FinishedPass, AlarmChanges) {
        let synchronised = timedate::synchronised(timedate::LIMIT).await;
        let (began, why) = (self.options.clock.now(), self.cause.why.clone());
        let afterwards = self.clone();
        let finished = spawn_blocking(move || self.make_pass(synchronised))
            .await
            .unwrap_or_else(|e| FinishedPass::without_node(began, why, fault_text(&e)));
        // Shared, so that a panic does not lose the pass.
        let finished = Arc::new(finished);
        let shared = Arc::clone(&finished);
        let update = spawn_blocking(move || afterwards.update_alarms(&shared));
        let changes = update.await.unwrap_or_else(|e| {
            line::log_fault(format_args!(
                "a bug in kubecertd prevented alarms from being raised or cleared: {e}; please \
                 report \
                 it"
            ));
            AlarmChanges::default()
        });
        let finished = Arc::into_inner(finished).unwrap_or_else(|| {
            let trouble = "the result of the pass is not known".to_owned();
            FinishedPass::without_node(began, String::new(), trouble)
        });
        (finished, changes)
    }

    fn update_alarms(&self, finished: &FinishedPass) -> AlarmChanges {
        finished.update_alarms(
            &self.ledger,
            &self.options.root,
            &self.state,
            self.configuration.trouble.as_deref(),
            self.options.clock.now(),
        )
    }

    fn make_pass(self, synchronised: Option<bool>) -> FinishedPass {
        let (clock, why) = (&*self.options.clock, self.cause.why);
        let began = clock.now();
        let node = Root::open(&self.options.root).map_err(|e| e.to_string()).and_then(|root| {
            Node::with_files(root, &self.configuration.files).map_err(|e| e.to_string())
        });
        let node = match node {
            Ok(node) => node,
            Err(e) => return FinishedPass::without_node(began, why, e),
        };
        let request = Request::default();
        let orders = Orders {
            request: &request,
            trigger: self.cause.trigger,
            clock,
            synchronised,
            trust_clock: false,
            reasons: &self.reasons,
            remember: Some(self.remember),
            stop: &self.stop,
            progress: &|_, _| {},
            emit: &|event| self.events.log(event),
        };
        match pass::run(&node, &orders) {
            Ok(report) => FinishedPass::made(began, why, node, report),
            Err(e) => {
                let preview = pass::preview(&node, &orders);
                FinishedPass::failed(began, why, node, e, preview)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(causes: &[(&str, Trigger)]) -> (String, Trigger) {
        let mut causes = causes.iter().map(|(why, trigger)| PassCause::new(*why, *trigger));
        let first = causes.next().unwrap();
        let cause = causes.fold(first, PassCause::merge);
        (cause.why, cause.trigger)
    }

    #[test]
    fn scheduled_pass_is_never_lost_in_a_queue() {
        let (tick, asked, files) = (
            ("by schedule", Trigger::Scheduled),
            ("asked for by a signal", Trigger::Asked),
            ("a file changed", Trigger::Other),
        );
        let both = "asked for by a signal; by schedule".to_owned();
        assert_eq!(merged(&[asked, tick]), (both, Trigger::Scheduled));
        let both = "by schedule; asked for by a signal".to_owned();
        assert_eq!(merged(&[tick, asked, asked, tick]), (both.clone(), Trigger::Scheduled));
        assert_eq!(merged(&[files, tick, files, asked]), (both, Trigger::Scheduled));
        assert_eq!(merged(&[files, asked]), (asked.0.to_owned(), Trigger::Asked));
        assert_eq!(merged(&[asked, files]), (asked.0.to_owned(), Trigger::Asked));
    }
}
