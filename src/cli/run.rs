//! `kubecertd run`: the daemon.

use std::sync::Arc;

use super::arguments::{Arguments, RunOptions};
use super::{Exit, Failure, exit, log, out};
use crate::daemon::{self, DaemonError};
use crate::observe::Config;
use crate::sys::{SystemClock, block_on};

pub(super) fn run(arguments: &Arguments, options: &RunOptions) -> Result<Exit, Failure> {
    log::start();
    let config = arguments.config.clone().map_or(Config::Usual, Config::Given);
    let daemon =
        daemon::Options { root: arguments.root.clone(), config, clock: Arc::new(SystemClock) };
    // A pass that is not complete in time is not waited for: the next start completes what it
    // leaves.
    let exit = if options.once {
        block_on(once(daemon))
    } else {
        block_on(async { daemon::run(daemon).await.map(|()| Exit::Fine) })
    };
    Ok(exit.map_err(DaemonError::Runtime)??)
}

async fn once(options: daemon::Options) -> Result<Exit, DaemonError> {
    let (last, report) = daemon::once(options).await?;
    let renewed: Vec<_> = last.renewed.iter().map(ToString::to_string).collect();
    let copied: Vec<_> = last.copied.iter().map(ToString::to_string).collect();
    let renewed = if renewed.is_empty() {
        "Nothing renewed.\n".to_owned()
    } else {
        format!("Renewed: {}.\n", renewed.join(", "))
    };
    let copied =
        if copied.is_empty() { String::new() } else { format!("Copied: {}.\n", copied.join(", ")) };
    out::print(&(renewed + &copied));
    Ok(report.as_ref().map_or(Exit::Failed, exit::of_pass))
}
