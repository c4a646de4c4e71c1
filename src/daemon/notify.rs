//! Notifications to systemd: readiness, status, reloading, stopping, and the watchdog.
//!
//! Without systemd they go nowhere, which is fine: the journal and the status file say the same.

use std::time::Duration;

use sd_notify::NotifyState;

/// The notification socket of systemd, where there is one.
#[derive(Clone, Copy, Debug)]
pub struct NotifySocket {
    watchdog: Option<Duration>,
}

impl NotifySocket {
    /// Reads the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// The interval of [`Self::send_watchdog`]: half the time that systemd waits for one.
    #[must_use]
    pub fn watchdog_interval(self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Says that the daemon is up. It is sent before the first pass, so that a unit ordered after
    /// the daemon waits for no renewal.
    pub fn send_ready(self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Sends one line for operators.
    pub fn send_status(self, status: &str) {
        send(&[NotifyState::Status(status)]);
    }

    /// Says that the configuration is being read again; followed by [`Self::send_ready`].
    pub fn send_reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    /// Says that the daemon stops.
    pub fn send_stopping(self) {
        send(&[NotifyState::Stopping]);
    }

    /// Says that the main loop still runs.
    pub fn send_watchdog(self) {
        if self.watchdog.is_some() {
            send(&[NotifyState::Watchdog]);
        }
    }
}

fn send(state: &[NotifyState<'_>]) {
    // A notification that fails is no reason to stop looking after certificates.
    if let Err(e) = sd_notify::notify(state) {
        tracing::debug!("systemd could not be notified: {e}");
    }
}
