//! What systemd is told: ready, what is being done, reloading, stopping, and that the main loop
//! still turns.
//!
//! Without systemd all of this goes nowhere, which is fine: the journal and the status file say the
//! same.

use std::time::Duration;

use sd_notify::NotifyState;

/// The supervisor of this process, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor {
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment says.
    #[must_use]
    pub fn find() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often [`Self::alive`] has to be called: twice within the time that systemd waits.
    #[must_use]
    pub fn pace(self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The daemon is up. Told before the first pass: what waits for it waits for no renewal.
    pub fn ready(self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// One line that an operator understands.
    pub fn status(self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// The configuration is being read again; followed by [`Self::ready`].
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The daemon ends.
    pub fn stopping(self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The main loop still turns.
    pub fn alive(self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // A supervisor that can't be told is no reason to stop looking after certificates.
    if let Err(e) = sd_notify::notify(state) {
        tracing::debug!("systemd could not be told: {e}");
    }
}
