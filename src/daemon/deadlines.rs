//! Waits for the next deadline: the time at which a certificate becomes urgent or expires.

use std::time::Duration;

use crate::model::Timestamp;
use crate::observe::Node;
use crate::pass::{self, Survey};
use crate::plan::{Deadline, Life, next_deadline};
use crate::sys::Clock;

/// The longest time between two looks at the wall clock, which may be set, and goes on while the
/// machine is suspended.
const CLOCK_INTERVAL: Duration = Duration::from_secs(30);

/// The deadlines after the last look at the certificates.
#[derive(Debug)]
pub(super) struct Deadlines {
    lives: Vec<Life>,
    next: Option<Deadline>,
}

impl Deadlines {
    /// The deadlines after this look at the node.
    pub(super) fn new(node: &Node, survey: &Survey) -> Self {
        let lives = survey.lives();
        let next = next_deadline(&lives, &pass::policy(node), survey.now);
        Self { lives, next }
    }

    /// Takes the times of another configuration.
    pub(super) fn replace_policy(&mut self, node: &Node, now: Timestamp) {
        self.next = next_deadline(&self.lives, &pass::policy(node), now);
    }

    /// The time of the next one.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next.as_ref().map(|next| next.at)
    }

    /// Waits for the next deadline, and returns what happens then. It comes once; the pass that it
    /// causes finds those after it. The wait may be dropped at any point and begun again.
    pub(super) async fn reach_next(&mut self, clock: &dyn Clock) -> String {
        loop {
            let Some(next) = &self.next else { return std::future::pending().await };
            let left = next.at.seconds_since(clock.now());
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            if left == Duration::ZERO {
                return self.next.take().map(|next| next.text).unwrap_or_default();
            }
            tokio::time::sleep(left.min(CLOCK_INTERVAL)).await;
        }
    }
}
