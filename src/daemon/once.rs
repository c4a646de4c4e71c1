//! `kubecertd run --once`: one pass like the daemon's, without a resident process.

use tokio::task::spawn_blocking;

use super::configuration::{LoadedConfiguration, Options};
use super::node_reports::LastPass;
use super::pass_runner::{PassCause, PassRunner};
use super::{DaemonError, NotifySocket};
use crate::pass::{Report, ScheduleMemory};
use crate::plan::Trigger;
use crate::report::nodes::ReportedPass;
use crate::report::{PassSummary, log};
use crate::state::PassMemory;

/// Makes one pass.
///
/// # Errors
/// When the configuration is wrong and there is no earlier one. Failures of the pass are in its
/// result.
pub async fn once(options: Options) -> Result<(PassSummary, Option<Report>), DaemonError> {
    let (configuration, node) = LoadedConfiguration::load(&options)?;
    if let Some(trouble) = &configuration.trouble {
        log::log_configuration_refused("the last valid one is in force", trouble);
    }
    NotifySocket::from_environment().send_ready("a pass is running");
    let state = PassMemory::read(&node.root, &node.settings.paths.state).0;
    let mut runner = PassRunner::new(&options, &state);
    let remember = ScheduleMemory { scheduled_until: options.clock.now(), observing_until: None };
    let cause = PassCause::new("run --once", Trigger::Scheduled);
    let task = runner.begin_pass(&node, &configuration, cause, Vec::new(), remember);
    let (finished, alarms) = task.run().await;
    runner.reporter.report_pass(&finished, &alarms, &node);
    if let Some(pass) = ReportedPass::of(&finished) {
        let last = LastPass {
            root: options.root.clone(),
            files: configuration.files,
            clock: options.clock,
            ledger: runner.reporter.ledger().clone(),
            pass: Some(pass),
        };
        // A panic in it costs the report alone.
        let exchanged = spawn_blocking(move || last.exchange()).await.unwrap_or_default();
        runner.reporter.report_exchange(&exchanged);
    }
    runner.reporter.publish_once(&node, finished.node.as_ref()).await;
    Ok((finished.last, finished.result.ok()))
}
