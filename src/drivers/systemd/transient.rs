//! A program that is run once, by systemd, in a unit of its own: outside of whatever its caller is confined to.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use zbus::{Fd, OwnedObjectPath, Variant};

use super::{Systemd, SystemdError};

/// How long systemd gives a program that is over its limit to end by itself, before it kills it with all its children.
const GRACE: Duration = Duration::from_secs(2);

/// How much longer than the program itself systemd may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that is to be run once.
#[derive(Debug)]
pub struct Once<'o> {
    /// The unit's full name, which nothing else has.
    pub unit: &'o str,
    /// What it is for, as systemctl shows it.
    pub description: &'o str,
    /// The program, with its full path, and its arguments.
    pub words: &'o [String],
    /// What it reads.
    pub stdin: OwnedFd,
    /// Where it writes to, both outputs.
    pub output: OwnedFd,
    /// How long it may take.
    pub limit: Duration,
}

/// How a program ended that systemd ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// systemd's word for it: `success`, `exit-code`, `signal`, `timeout`, and others.
    pub result: String,
    /// The exit code; for one that was ended by a signal, that.
    pub status: i32,
}

impl Systemd {
    /// Runs a program once and waits for its end. The descriptors are closed on this side as soon as systemd has them.
    ///
    /// # Errors
    /// [`SystemdError`], when systemd can't be asked, refuses, or says nothing for longer than the program may take. That the program
    /// ended badly is none.
    pub async fn run_once(&self, once: Once<'_>) -> Result<Ended, SystemdError> {
        let (unit, limit) = (once.unit.to_owned(), once.limit + GRACE + PATIENCE);
        let unfinished = || SystemdError::Unfinished { job: "the start", unit, limit };
        tokio::time::timeout(limit, self.start_and_follow(once)).await.unwrap_or_else(|_| Err(unfinished()))
    }

    async fn start_and_follow(&self, once: Once<'_>) -> Result<Ended, SystemdError> {
        let unit = once.unit.to_owned();
        // Of type oneshot: its start is over when the program is. With the reference it is still known then.
        self.start(once).await?;
        let path: OwnedObjectPath = self.tell_manager("GetUnit", &unit).await?.body().deserialize()?;
        let mut service = self.properties(&path, "org.freedesktop.systemd1.Service").await?;
        Ok(Ended { result: service.take("Result")?, status: service.take("ExecMainStatus")? })
    }

    async fn start(&self, once: Once<'_>) -> Result<(), SystemdError> {
        let program = once.words.first().cloned().unwrap_or_default();
        let microseconds = |length: Duration| Variant::from(u64::try_from(length.as_micros()).unwrap_or(u64::MAX));
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", once.description.into()),
            ("Type", "oneshot".into()),
            ("ExecStart", vec![(program, once.words.to_vec(), false)].into()),
            ("TimeoutStartUSec", microseconds(once.limit)),
            ("TimeoutStopUSec", microseconds(GRACE)),
            ("CollectMode", "inactive-or-failed".into()),
            ("AddRef", true.into()),
            ("StandardInputFileDescriptor", Fd::from(once.stdin.as_fd()).into()),
            ("StandardOutputFileDescriptor", Fd::from(once.output.as_fd()).into()),
            ("StandardErrorFileDescriptor", Fd::from(once.output.as_fd()).into()),
        ];
        type NoOthers<'v> = Vec<(&'v str, Vec<(&'v str, Variant<'v>)>)>;
        // The descriptors have to stay open until it has them; that it is over is told by its answer and by the end of the job.
        self.job("StartTransientUnit", &(once.unit, "fail", properties, Vec::new() as NoOthers<'_>)).await.map(drop)
    }
}
