//! Opening the node that the arguments name.

use super::arguments::Arguments;
use super::failure::Failure;
use crate::daemon::last_good;
use crate::observe::{Config, Node};
use crate::sys::Root;

pub(super) fn open(arguments: &Arguments) -> Result<Node, Failure> {
    let root = Root::open(&arguments.root).map_err(Failure::Root)?;
    let config = arguments.config.clone().map_or(Config::Usual, Config::Given);
    Ok(Node::open(root, &config)?)
}

/// The node, or where the configuration is wrong, the node by the last good one with what is wrong.
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
