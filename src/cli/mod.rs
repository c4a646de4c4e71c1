//! The command line: one file for each verb. The lower layers decide; this one parses and prints.

mod alarms;
mod arguments;
mod ca;
mod check;
mod config;
mod confinement;
mod demo;
mod exit;
mod hold;
mod json;
mod log;
mod out;
mod renew;
mod request;
mod restore;
mod run;
mod services;
mod status;
mod words;

pub use arguments::Arguments;
pub use exit::Exit;

use arguments::{Command, ConfigCommand};

use crate::daemon::last_good;
use crate::observe::{Config, Node, NodeError};
use crate::sys::{FileError, Root, SystemClock};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The root directory can't be used.
    #[error("--root {0}")]
    Root(FileError),
    /// The node can't be opened.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] crate::pass::PassError),
    /// A name is not in the catalog.
    #[error("there is no credential {name:?}; there are {known}")]
    UnknownName {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// The daemon could not start.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::DaemonError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A hold that would have no effect.
    #[error("{0}")]
    Hold(String),
    /// The authority is not on this node.
    #[error("there is no authority {name:?}; there are {known}")]
    UnknownAuthority {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// An authority, or the target of the comparison, can't be read.
    #[error("{0}")]
    Authority(String),
    /// Nothing to restore was named, or it does not exist.
    #[error("{0}")]
    Restore(String),
    /// Nothing to request was named, or the signed certificate can't be read.
    #[error("{0}")]
    Request(String),
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
}

/// Runs the command of the arguments.
#[must_use]
pub fn run(arguments: &Arguments) -> Exit {
    let result = match &arguments.command {
        Command::Check(options) => {
            open(arguments).and_then(|node| check::run(&node, options, &SystemClock))
        }
        Command::Renew(options) => {
            open(arguments).and_then(|node| renew::run(&node, options, &SystemClock))
        }
        Command::Restore(options) => {
            open(arguments).and_then(|node| restore::run(&node, options, &SystemClock))
        }
        Command::Run(options) => run::run(arguments, options),
        Command::Status(options) => status::run(arguments, options, &SystemClock),
        Command::Alarms(options) => alarms::run(arguments, options, &SystemClock),
        Command::Hold(options) => {
            open(arguments).and_then(|node| hold::run(&node, options, &SystemClock))
        }
        Command::Ca { command } => {
            open(arguments).and_then(|node| ca::run(&node, command, &SystemClock))
        }
        Command::Csr(options) => open(arguments).and_then(|node| request::csr(&node, options)),
        Command::Install(options) => {
            open(arguments).and_then(|node| request::put(&node, options, &SystemClock))
        }
        Command::Config { command: ConfigCommand::Check } => {
            open(arguments).map(|node| config::check(&node))
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

fn open(arguments: &Arguments) -> Result<Node, Failure> {
    let root = Root::open(&arguments.root).map_err(Failure::Root)?;
    let config = arguments.config.clone().map_or(Config::Usual, Config::Given);
    Ok(Node::open(root, &config)?)
}

/// Opens the node; where the configuration is wrong, with the last good one, and returns the error.
fn open_or_last_good(arguments: &Arguments) -> Result<(Node, Option<String>), Failure> {
    match open(arguments) {
        Err(Failure::Node(trouble)) => {
            match last_good(Root::open(&arguments.root).map_err(Failure::Root)?)? {
                Some((_, node)) => Ok((node, Some(trouble.to_string()))),
                None => Err(Failure::Node(trouble)),
            }
        }
        opened => Ok((opened?, None)),
    }
}
