//! What the daemon says of itself: one line for systemd, and a file for `kubecertd status`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{AbsolutePath, CredentialName, ServiceName, Timestamp};
use crate::state::file::StateFile;
use crate::store::lock::Lock;
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("status.json", "what the daemon last said is not known");

/// The folder of the status file and of the daemon's lock.
#[must_use]
pub fn folder() -> AbsolutePath {
    AbsolutePath::constant("/run/kubecertd")
}

/// What the daemon last said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since when it runs.
    pub started: Timestamp,
    /// When it said this.
    pub updated: Timestamp,
    /// What it is doing, in one line.
    pub line: String,
    /// Why the configuration on disk is not the one in force.
    pub configuration: Option<String>,
    /// The last pass.
    pub last_pass: Option<LastPass>,
    /// When the next one is made by schedule.
    pub next_pass: Option<Timestamp>,
    /// When a failed or waiting one is tried again.
    pub next_try: Option<Timestamp>,
}

/// What became of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// When it began.
    pub began: Timestamp,
    /// What it was made for.
    pub why: String,
    /// Why it could not be made at all.
    pub trouble: Option<String>,
    /// What was renewed.
    pub renewed: Vec<CredentialName>,
    /// The copies that were brought up to date.
    #[serde(default)]
    pub copied: Vec<CredentialName>,
    /// What was not, and why.
    pub failed: Vec<(CredentialName, String)>,
    /// Services that were made to work with what was renewed, and how.
    #[serde(default)]
    pub refreshed: Vec<(ServiceName, String)>,
    /// Services that were not, and why.
    #[serde(default)]
    pub not_refreshed: Vec<(ServiceName, String)>,
    /// Services that wait for that, and what for.
    #[serde(default)]
    pub services_waiting: Vec<(ServiceName, String)>,
    /// What somebody should know of services.
    #[serde(default)]
    pub findings: Vec<String>,
    /// What waits, and what for.
    pub waiting: Vec<(CredentialName, String)>,
    /// The reasons to wait, whether or not anything does.
    pub holds: Vec<String>,
    /// What is wrong with the clock.
    pub clock: Option<String>,
}

impl LastPass {
    /// Whether something went wrong.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.trouble.is_some() || !self.failed.is_empty() || !self.not_refreshed.is_empty()
    }
}

impl Status {
    /// Reads what the daemon last said, and whether it still runs. The text says what is wrong with
    /// the file, if something is.
    #[must_use]
    pub fn look(root: &Root) -> (Option<Self>, bool, Option<String>) {
        let folder = folder();
        let (status, note) = FILE.read(root, &folder);
        let runs =
            root.open_dir(Path::new(folder.as_path())).is_ok_and(|folder| Lock::is_held(&folder));
        (status, runs, note)
    }

    pub(super) fn write(&self, root: &Root) -> Result<(), FileError> {
        FILE.write(root, &folder(), self)
    }
}
