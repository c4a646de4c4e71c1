//! What a pass is asked to do.

use std::sync::atomic::AtomicBool;

use super::event::Emit;
use crate::act::Progress;
use crate::model::{DeferralReason, Timestamp};
use crate::plan::{Request, Trigger};
use crate::sys::Clock;

/// What a pass is asked to do, and under which circumstances.
#[derive(Clone, Copy)]
pub struct Orders<'o> {
    /// What is to be renewed.
    pub request: &'o Request,
    /// What makes it take place, and with it what it may do to services.
    pub trigger: Trigger,
    /// What time it is.
    pub clock: &'o dyn Clock,
    /// Whether the clock is synchronised; unknown counts as not.
    pub synchronised: Option<bool>,
    /// An operator asserts that the clock is right.
    pub trust_clock: bool,
    /// Reasons to wait besides those that are found on the node.
    pub reasons: &'o [DeferralReason],
    /// What to remember of the schedule, where the pass is the daemon's.
    pub remember: Option<ScheduleMemory>,
    /// Set from outside when the pass is to end early: keys that are not made yet are not made any
    /// more.
    pub stop: &'o AtomicBool,
    /// Called after each key that is made.
    pub progress: Progress<'o>,
    /// Called with each event, at the moment when it happens.
    pub emit: Emit<'o>,
}

#[cfg(test)]
impl<'o> Orders<'o> {
    /// What an operator asks for, at a synchronised time, with nothing that holds it up.
    pub(crate) fn asked(request: &'o Request, clock: &'o dyn Clock, stop: &'o AtomicBool) -> Self {
        Self {
            request,
            trigger: Trigger::Asked,
            clock,
            synchronised: Some(true),
            trust_clock: false,
            reasons: &[],
            remember: None,
            stop,
            progress: &|_, _| {},
            emit: &|_| {},
        }
    }
}

/// What the daemon wants to find again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleMemory {
    /// Up to which moment scheduled passes were made.
    pub scheduled_until: Timestamp,
    /// Until when it only looks.
    pub observing_until: Option<Timestamp>,
}
