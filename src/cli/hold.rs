//! `kubecertd hold`: an operator defers renewals for a while.

use super::arguments::HoldOptions;
use super::words::date;
use super::{Exit, Failure, out};
use crate::model::Hold;
use crate::observe::Node;
use crate::state::{remove_hold, write_hold};
use crate::sys::Clock;

pub(super) fn run(node: &Node, options: &HoldOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let state = &node.settings.paths.state;
    let (Some(until), Some(reason)) = (options.until, options.reason.clone()) else {
        remove_hold(&node.root, state)?;
        out::print("The hold is over.\n");
        return Ok(Exit::Fine);
    };
    if until <= clock.now() {
        return Err(Failure::Hold(format!("--until {}: this time has passed", date(until))));
    }
    write_hold(&node.root, state, &Hold { until, reason })?;
    out::print(&format!(
        "Nothing is renewed until {}, unless it is urgent. To end the hold earlier: kubecertd \
         hold --end\n",
        date(until)
    ));
    Ok(Exit::Fine)
}
