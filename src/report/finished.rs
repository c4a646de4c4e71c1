//! A pass that came to its end, and the alarms that follow from it.

use std::path::Path;

use super::alarms::{AlarmChanges, PassView, update_after_fault, update_after_pass};
use super::{AlarmLedger, PassSummary};
use crate::model::{AbsolutePath, ClockTrust, Timestamp};
use crate::observe::Node;
use crate::pass::{PassError, Preview, Report, Survey};
use crate::plan::{ConfigurationCheck, Request};
use crate::sys::Root;

/// A pass that came to its end, whether or not it could be made.
#[derive(Debug)]
pub struct FinishedPass {
    /// Its summary.
    pub last: PassSummary,
    /// The node as it was found; `None` when it could not be read.
    pub node: Option<Node>,
    /// Its report. A pass that could not be made has its error and a look at the node, if the node
    /// could be read.
    pub result: Result<Report, Option<(PassError, Preview)>>,
}

impl FinishedPass {
    /// A pass that was made.
    #[must_use]
    pub fn made(began: Timestamp, why: String, node: Node, report: Report) -> Self {
        let last = PassSummary::from_report(began, why, &report);
        Self { last, node: Some(node), result: Ok(report) }
    }

    /// A pass that could not be made.
    #[must_use]
    pub fn failed(
        began: Timestamp,
        why: String,
        node: Node,
        error: PassError,
        preview: Preview,
    ) -> Self {
        let last = PassSummary::not_made(began, why, error.to_string());
        Self { last, node: Some(node), result: Err(Some((error, preview))) }
    }

    /// A pass without even a look at the node.
    #[must_use]
    pub fn without_node(began: Timestamp, why: String, trouble: String) -> Self {
        Self { last: PassSummary::not_made(began, why, trouble), node: None, result: Err(None) }
    }

    /// The report, if the pass was made.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.result.as_ref().ok()
    }

    /// The last survey of the node, whether or not the pass was made, and the trust in the clock.
    #[must_use]
    pub fn survey(&self) -> Option<(&Survey, &ClockTrust)> {
        match &self.result {
            Ok(report) => Some((report.at_end(), &report.constraints.clock_trust)),
            Err(failed) => failed
                .as_ref()
                .map(|(_, preview)| (&preview.survey, &preview.constraints.clock_trust)),
        }
    }

    /// Raises, changes and clears alarms after the pass. `configuration_trouble` is why the
    /// configuration on disk is not in force; `root` and `state` are for a pass without a node.
    #[must_use]
    pub fn update_alarms(
        &self,
        ledger: &AlarmLedger,
        root: &Path,
        state: &AbsolutePath,
        configuration_trouble: Option<&str>,
        now: Timestamp,
    ) -> AlarmChanges {
        let view = match &self.result {
            Ok(report) => Some(PassView::Made(report)),
            Err(failed) => {
                failed.as_ref().map(|(error, preview)| PassView::NotMade(error, preview))
            }
        };
        if let Some((node, view)) = self.node.as_ref().zip(view) {
            let configuration = ConfigurationCheck::new(configuration_trouble);
            return update_after_pass(ledger, node, view, &Request::default(), configuration, now);
        }
        let trouble = self.last.trouble.as_deref().unwrap_or_default();
        match Root::open(root) {
            Ok(root) => update_after_fault(ledger, &root, state, trouble, now),
            Err(e) => AlarmChanges { notes: vec![e.to_string()], ..AlarmChanges::default() },
        }
    }
}
