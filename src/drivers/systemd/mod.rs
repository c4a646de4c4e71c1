//! systemd's units, over the system bus: reads their state, and reloads and restarts them.
//!
//! A stopped unit is never started from here; a program that is run once gets a unit of its own.

mod error;
#[cfg(test)]
mod tests;
mod transient;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use zbus::connection::Builder;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::{
    Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Type as Signed,
};

pub use error::{JobResult, SystemdError};
pub use transient::{OneShot, UnitResult};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A connection to systemd. It is not reopened when it breaks: connect again.
#[derive(Debug)]
pub struct Systemd {
    bus: Connection,
    limit: Duration,
}

/// The state of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether its definition could be read, as systemd names it: `loaded`, `masked`,
    /// `bad-setting`, `error`.
    pub load: String,
    /// Whether it runs.
    pub active: Active,
    /// The detailed state as systemd names it, such as `running` or `auto-restart`.
    pub sub: String,
    /// Whether it can reload.
    pub can_reload: bool,
    /// When it last became active; a reload does not change it.
    pub activated: Option<Moment>,
    /// Its main process, for a service that has one now.
    pub process: Option<Process>,
}

/// The active state of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Active {
    /// Running, or the meaning of active for its kind.
    Active,
    /// Running and reloading.
    Reloading,
    /// Starting, also when it waits for a restart after a failure.
    Activating,
    /// Not running.
    Inactive,
    /// Not running because it failed.
    Failed,
    /// Stopping.
    Deactivating,
    /// A state that newer versions may have.
    Other(String),
}

/// A unit's main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started.
    pub started: Option<Moment>,
}

/// A point in time by two clocks, to a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock, as it was then.
    pub wall: SystemTime,
    /// Since boot, not counting suspended time; clock steps do not change it.
    pub since_boot: Duration,
}

impl Active {
    /// Whether systemd's "restart if it runs" would restart it.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::Active | Self::Reloading | Self::Activating)
    }

    fn from_word(word: String) -> Self {
        match word.as_str() {
            "active" => Self::Active,
            "reloading" => Self::Reloading,
            "activating" => Self::Activating,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "deactivating" => Self::Deactivating,
            _ => Self::Other(word),
        }
    }
}

impl Systemd {
    /// Connects to the system bus. Each later call has the same limit; a job has one of its own.
    ///
    /// Needs a tokio runtime with timers and I/O enabled; one thread is enough.
    ///
    /// # Errors
    /// [`SystemdError`], when there is no bus, or it does not answer in time.
    pub async fn connect(limit: Duration) -> Result<Self, SystemdError> {
        Self::connect_to(Builder::system(), limit).await
    }

    pub(crate) async fn connect_to(
        bus: Builder<'_>,
        limit: Duration,
    ) -> Result<Self, SystemdError> {
        let bus = tokio::time::timeout(limit, bus.build())
            .await
            .map_err(|_| SystemdError::NoAnswer(limit))?;
        Ok(Self { bus: bus.map_err(|e| SystemdError::NoBus(e.to_string()))?, limit })
    }

    /// Returns the state of a unit, by its full name, such as `kubelet.service`.
    ///
    /// # Errors
    /// [`SystemdError`]; [`SystemdError::NoSuchUnit`] when there is none of this name.
    pub async fn unit(&self, name: &str) -> Result<Unit, SystemdError> {
        tokio::time::timeout(self.limit, self.read_unit(name))
            .await
            .unwrap_or(Err(SystemdError::NoAnswer(self.limit)))
    }

    /// Reloads a unit, and waits until the job is finished.
    ///
    /// # Errors
    /// [`SystemdError`]: it does not run, it can't reload, it failed to, or it took longer than the
    /// limit.
    pub async fn reload(&self, name: &str, limit: Duration) -> Result<(), SystemdError> {
        self.run(Job::Reload, name, limit).await
    }

    /// Restarts a unit, and waits until systemd considers it running: for some kinds of unit that
    /// is as soon as its process was started, also when it exits right after.
    ///
    /// # Errors
    /// [`SystemdError`]: it does not run, it did not start again, or it took longer than the limit.
    pub async fn restart(&self, name: &str, limit: Duration) -> Result<(), SystemdError> {
        self.run(Job::Restart, name, limit).await
    }

    /// Reloads a unit, or restarts it when it can't reload, and waits until the job is finished.
    /// After a failed reload it is not restarted.
    ///
    /// # Errors
    /// [`SystemdError`]: it does not run, it failed, or it took longer than the limit.
    pub async fn reload_or_restart(&self, name: &str, limit: Duration) -> Result<(), SystemdError> {
        self.run(Job::ReloadOrRestart, name, limit).await
    }

    /// Starts a unit again that failed, or waits for a restart after a failure; a running one is
    /// restarted. A stopped one stays stopped: an administrator stopped it.
    ///
    /// # Errors
    /// [`SystemdError`]: it was stopped, it did not start, or it took longer than the limit.
    pub async fn restart_failed(&self, name: &str, limit: Duration) -> Result<(), SystemdError> {
        if self.unit(name).await?.active != Active::Failed {
            return self.restart(name, limit).await;
        }
        let unfinished =
            || SystemdError::Unfinished { job: Job::Start.word(), unit: name.to_owned(), limit };
        let start = async {
            // systemd refuses to start it once more if it failed too often.
            self.call_manager("ResetFailedUnit", &name).await?;
            self.enqueue_and_wait(Job::Start, name).await
        };
        tokio::time::timeout(limit, start).await.unwrap_or_else(|_| Err(unfinished()))
    }

    async fn run(&self, job: Job, name: &str, limit: Duration) -> Result<(), SystemdError> {
        let unit = self.unit(name).await?;
        if !unit.active.runs() {
            return Err(SystemdError::NotActive { unit: name.to_owned(), sub: unit.sub });
        }
        if matches!(job, Job::Reload) && !unit.can_reload {
            return Err(SystemdError::CannotReload(name.to_owned()));
        }
        let unfinished =
            || SystemdError::Unfinished { job: job.word(), unit: name.to_owned(), limit };
        tokio::time::timeout(limit, self.enqueue_and_wait(job, name))
            .await
            .unwrap_or_else(|_| Err(unfinished()))
    }

    async fn enqueue_and_wait(&self, job: Job, name: &str) -> Result<(), SystemdError> {
        self.job(job.method(), &(name, "replace")).await?.judge(job, name)
    }

    /// Enqueues a job, and waits until it is finished.
    ///
    /// Subscribes before the call: a job can be finished before systemd has answered that it began.
    async fn job<A: Serialize + Signed>(
        &self,
        method: &str,
        arguments: &A,
    ) -> Result<JobEnd, SystemdError> {
        let mut ends = JobEnds::listen(&self.bus).await?;
        self.subscribe().await?;
        let mut call = pin!(self.call_manager(method, arguments));
        let mut early = Vec::new();
        // The job signals have to be received meanwhile: where they pile up, the answer is blocked.
        let reply = loop {
            tokio::select! {
                reply = &mut call => break reply?,
                end = ends.next() => early.push(end?),
            }
        };
        let path: OwnedObjectPath = reply.body().deserialize()?;
        let mut early = early.into_iter();
        loop {
            let end = match early.next() {
                Some(end) => end,
                None => ends.next().await?,
            };
            if end.job == path && self.is_systemd(&end.sender).await? {
                return Ok(end);
            }
        }
    }

    /// Any peer on the bus can send the signal that a job is finished: only systemd's counts. The
    /// owner of its name is looked up each time, since systemd gets another unique name when it
    /// re-executes itself.
    async fn is_systemd(&self, sender: &OwnedUniqueName) -> Result<bool, SystemdError> {
        const BUS: &str = "org.freedesktop.DBus";
        let answer = self
            .bus
            .call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "GetNameOwner", &NAME)
            .await?;
        Ok(answer.body().deserialize::<OwnedUniqueName>()? == *sender)
    }

    /// systemd sends job signals only while a client is subscribed.
    async fn subscribe(&self) -> Result<(), SystemdError> {
        match self.call_manager("Subscribe", &()).await.map_err(SystemdError::from) {
            Err(SystemdError::Refused { name, .. })
                if name == "org.freedesktop.systemd1.AlreadySubscribed" =>
            {
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    async fn read_unit(&self, name: &str) -> Result<Unit, SystemdError> {
        // Loading does not start it; a unit that is not loaded is otherwise unknown.
        let path: OwnedObjectPath =
            self.call_manager("LoadUnit", &name).await?.body().deserialize()?;
        let mut unit = self.properties(&path, "org.freedesktop.systemd1.Unit").await?;
        let load: String = unit.take("LoadState")?;
        if load == "not-found" {
            return Err(SystemdError::NoSuchUnit(name.to_owned()));
        }
        Ok(Unit {
            load,
            active: Active::from_word(unit.take("ActiveState")?),
            sub: unit.take("SubState")?,
            can_reload: unit.take("CanReload")?,
            activated: unit.moment("ActiveEnterTimestamp")?,
            process: if name.ends_with(".service") {
                self.main_process(&path).await?
            } else {
                None
            },
        })
    }

    async fn main_process(&self, path: &OwnedObjectPath) -> Result<Option<Process>, SystemdError> {
        let mut service = self.properties(path, "org.freedesktop.systemd1.Service").await?;
        let pid: u32 = service.take("MainPID")?;
        Ok(if pid == 0 {
            None
        } else {
            Some(Process { pid, started: service.moment("ExecMainStartTimestamp")? })
        })
    }

    async fn properties(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
    ) -> Result<Properties, SystemdError> {
        let call = self.bus.call_method(
            Some(NAME),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &interface,
        );
        Ok(Properties(call.await?.body().deserialize()?))
    }

    async fn call_manager<A: Serialize + Signed>(
        &self,
        method: &str,
        arguments: &A,
    ) -> zbus::Result<Message> {
        self.bus.call_method(Some(NAME), PATH, Some(MANAGER), method, arguments).await
    }
}

#[derive(Clone, Copy)]
enum Job {
    Start,
    Reload,
    Restart,
    ReloadOrRestart,
}

impl Job {
    /// The methods with "Try" leave a unit alone that has stopped meanwhile. Reload has none, and
    /// needs none: systemd refuses it for a unit that does not run.
    fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Reload => "ReloadUnit",
            Self::Restart => "TryRestartUnit",
            Self::ReloadOrRestart => "ReloadOrTryRestartUnit",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Start => "the start",
            Self::Reload => "the reload",
            Self::Restart => "the restart",
            Self::ReloadOrRestart => "the reload or restart",
        }
    }
}

/// The signals of finished jobs, of this connection's and of all others.
struct JobEnds(MessageStream);

struct JobEnd {
    sender: OwnedUniqueName,
    job: OwnedObjectPath,
    result: String,
}

impl JobEnds {
    async fn listen(bus: &Connection) -> Result<Self, SystemdError> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NAME)
            .path(PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()?;
        Ok(Self(MessageStream::for_match_rule(rule, bus, None).await?))
    }

    async fn next(&mut self) -> Result<JobEnd, SystemdError> {
        let message = poll_fn(|context| Pin::new(&mut self.0).poll_next(context))
            .await
            .ok_or(SystemdError::Broken)??;
        let (_, job, _, result): (u32, OwnedObjectPath, String, String) =
            message.body().deserialize()?;
        let sender =
            message.header().sender().ok_or(SystemdError::Incomplete("sender"))?.to_owned().into();
        Ok(JobEnd { sender, job, result })
    }
}

impl JobEnd {
    fn judge(self, job: Job, unit: &str) -> Result<(), SystemdError> {
        match self.result.as_str() {
            "done" => Ok(()),
            _ => Err(SystemdError::Job {
                job: job.word(),
                unit: unit.to_owned(),
                result: JobResult::from_word(self.result),
            }),
        }
    }
}

struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &'static str) -> Result<T, SystemdError> {
        self.0
            .remove(name)
            .and_then(|value| value.try_into().ok())
            .ok_or(SystemdError::Incomplete(name))
    }

    /// Reads the properties of both clocks; systemd returns 0 for "never".
    fn moment(&mut self, name: &'static str) -> Result<Option<Moment>, SystemdError> {
        let wall: u64 = self.take(name)?;
        let monotonic =
            self.0.remove(&format!("{name}Monotonic")).and_then(|value| u64::try_from(value).ok());
        let since_boot = Duration::from_micros(monotonic.ok_or(SystemdError::Incomplete(name))?);
        let wall = UNIX_EPOCH.checked_add(Duration::from_micros(wall)).filter(|_| wall > 0);
        Ok(wall.map(|wall| Moment { wall, since_boot }))
    }
}
