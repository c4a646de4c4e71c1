//! Opening the node that the arguments name.

use super::arguments::Arguments;
use super::failure::Failure;
use crate::credentials::ObservedFiles;
use crate::daemon::last_good;
use crate::observe::{Config, Node};
use crate::sys::Root;

pub(super) fn open(arguments: &Arguments) -> Result<Node, Failure> {
    open_observed(arguments).map(|(node, _)| node)
}

/// Opens the node, and returns the observation that it has begun.
pub(super) fn open_observed(arguments: &Arguments) -> Result<(Node, ObservedFiles), Failure> {
    let root = Root::open(&arguments.root).map_err(Failure::Root)?;
    let config = arguments.config.clone().map_or(Config::Usual, Config::Given);
    Ok(Node::open_observed(root, &config)?)
}

/// Opens the node; where the configuration is wrong, with the last good one, and returns the error.
pub(super) fn open_or_last_good(arguments: &Arguments) -> Result<(Node, Option<String>), Failure> {
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
