//! `kubecertd run --once`: one pass like the daemon's, without a resident process.

use super::configuration::{LoadedConfiguration, Options};
use super::pass_runner::{PassCause, PassRunner};
use super::{DaemonError, NotifySocket};
use crate::pass::{Report, ScheduleMemory};
use crate::plan::Trigger;
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
    runner.reporter.publish_once(&node, finished.node.as_ref()).await;
    Ok((finished.last, finished.result.ok()))
}
