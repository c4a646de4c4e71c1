//! The command line: one file for each verb. The lower layers decide; this one parses and prints.

mod alarms;
mod arguments;
mod ca;
mod ca_certificate;
mod ca_renewal;
mod check;
mod cluster_status;
mod config;
mod confinement;
mod demo;
mod exit;
mod failure;
mod hold;
mod input;
mod json;
mod log;
mod new_root;
mod open;
mod out;
mod renew;
mod request;
mod restore;
mod rotate;
mod run;
mod services;
mod sign;
mod status;
mod words;

pub use arguments::Arguments;
pub use exit::Exit;

use arguments::{Command, ConfigCommand};
use failure::Failure;
use open::{open, open_observed, open_or_last_good};

use crate::sys::SystemClock;

/// Runs the command of the arguments.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    let result = match &arguments.command {
        Command::Check(options) => open_observed(arguments)
            .and_then(|(node, files)| check::run(&node, &files, options, &SystemClock)),
        Command::Renew(options) => {
            open(arguments).and_then(|node| renew::run(&node, options, &SystemClock))
        }
        Command::Restore(options) => {
            open(arguments).and_then(|node| restore::run(&node, options, &SystemClock))
        }
        Command::Run(options) => run::run(arguments, options),
        Command::Status(options) if options.cluster => cluster_status::run(options, &SystemClock),
        Command::Status(options) => status::run(arguments, options, &SystemClock),
        Command::Alarms(options) => alarms::run(arguments, options, &SystemClock),
        Command::Hold(options) => {
            open(arguments).and_then(|node| hold::run(&node, options, &SystemClock))
        }
        Command::Ca { command } => {
            open(arguments).and_then(|node| ca::run(&node, command, &SystemClock))
        }
        Command::Csr(options) => {
            open(arguments).and_then(|node| request::csr(&node, options, &SystemClock))
        }
        Command::Install(options) => {
            open(arguments).and_then(|node| request::install(&node, options, &SystemClock))
        }
        Command::Sign(options) => {
            open(arguments).and_then(|node| sign::run(&node, options, &SystemClock))
        }
        Command::Config { command: ConfigCommand::Check } => {
            open(arguments).and_then(|node| config::check(&node))
        }
        Command::Config { command: ConfigCommand::Show } => {
            open(arguments).map(|node| config::show(&node))
        }
        Command::Demo(options) => demo::run(options),
    };
    result.unwrap_or_else(|failure| {
        out::print_error(&failure.to_string());
        Exit::from(&failure)
    })
}
