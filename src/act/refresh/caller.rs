//! The caller of a refresh, and the conditions under which one is made.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::error::RefreshError;
use super::outcome::RefreshOutcome;
use crate::model::{ContentName, Freshness, RefreshStep, Service, ServiceFacts};
use crate::sys::{Clock, Root};

/// The facts about a service at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceObservation {
    /// The state of the service.
    pub facts: ServiceFacts,
    /// For each content that it reads: whether the service uses the present one.
    pub freshness: Vec<(ContentName, Freshness)>,
}

/// A future whose result a [`Caller`] supplies.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Whether a service may be restarted; an `Err` says why not.
pub type Permission = Result<(), RefreshError>;

/// The code that ordered the refresh, and answers questions while the refresh runs.
pub trait Caller {
    /// Observes a service now.
    fn look<'a>(&'a self, service: &'a Service) -> BoxFuture<'a, ServiceObservation>;

    /// Called before the last look at a service that is to be restarted or signalled: waits until
    /// it is this node's turn. An `Err` says why that may not be.
    fn take_turn<'a>(&'a self, step: &'a RefreshStep) -> BoxFuture<'a, Permission>;

    /// Asked right before a service is restarted, or signalled in the way of its kind; an `Err`
    /// says why that may not be. After an `Ok` it is done, so this is the moment to write it down;
    /// where nothing came of it,
    /// [`RefreshOutcome::restarted`](super::RefreshOutcome::restarted) says so in the end.
    fn may_restart<'a>(&'a self, step: &'a RefreshStep) -> BoxFuture<'a, Permission>;

    /// Called when a step is over. `healthy` is false where a service was stopped and is not
    /// healthy, or not known to be.
    fn finished<'a>(&'a self, outcome: &'a RefreshOutcome, healthy: bool) -> BoxFuture<'a, ()>;
}

/// The context of a refresh.
#[derive(Clone, Copy)]
pub struct Refreshing<'a> {
    /// Answers questions about services.
    pub caller: &'a dyn Caller,
    /// The root directory, for pid files and /proc.
    pub root: &'a Root,
    /// The time, for the age of pid files.
    pub clock: &'a dyn Clock,
    /// The container runtime's socket.
    pub runtime: &'a Path,
    /// The service that starts static pods: while it is not at work, none is stopped. `None` where
    /// it can't be looked at.
    pub kubelet: Option<&'a Service>,
    /// The remote port of the connections that may have to be closed.
    pub remote_port: u16,
    /// The time limits.
    pub limits: Limits,
    /// Set from outside when the pass is to end.
    pub stop: &'a AtomicBool,
}

/// The time limits of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one call to the container runtime or systemd.
    pub call: Duration,
    /// For one look at a service.
    pub look: Duration,
    /// Between two looks, at first; four times as much after the first forty.
    pub pause: Duration,
    /// Until a service has taken what it takes by itself.
    pub takes: Duration,
    /// Until kubelet has started a successor.
    pub successor: Duration,
    /// Until a service that runs again is healthy and shows the new credential.
    pub healthy: Duration,
    /// Until one that is healthy shows which credential it uses, where that is not known at
    /// once.
    pub proof: Duration,
    /// For a job of systemd.
    pub job: Duration,
}

impl Limits {
    /// For a real node.
    pub const USUAL: Self = Self {
        call: Duration::from_secs(10),
        // A look asks for health and serves a TLS handshake or two, each of which has a limit of
        // its own.
        look: Duration::from_secs(20),
        pause: Duration::from_millis(250),
        // The API server of 1.20 reads its certificates once a minute, newer ones at once.
        takes: Duration::from_secs(90),
        // At once the first time; 15 to 21 s were measured where it is the second time within
        // minutes, and kubelet doubles that each time.
        successor: Duration::from_secs(120),
        // The API server was ready 5 to 7 s after its start; a node under load takes several times
        // as long.
        healthy: Duration::from_secs(60),
        proof: Duration::from_secs(10),
        // systemd's own limits for stopping and starting are 90 s each; a unit that needs more than
        // one of them is not healthy.
        job: Duration::from_secs(120),
    };
}
