//! A moment by the boot-time (monotonic) clock, which counts from the machine's start: no step of
//! the wall clock moves it, and a suspend does not stop it (`CLOCK_BOOTTIME`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One run of the kernel, from its start to its end: `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// A moment since the machine's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Which start.
    pub boot: BootId,
    /// How long after it.
    pub since_boot: Duration,
}

impl Uptime {
    /// Whether this moment came before another one that is of the present boot: what is of another
    /// boot is of an earlier one.
    #[must_use]
    pub fn is_before(&self, present: &Self) -> bool {
        self.boot != present.boot || self.since_boot < present.since_boot
    }
}
