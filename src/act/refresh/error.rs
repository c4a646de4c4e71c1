//! The reasons why a service does not use a new credential, and what an operator should do.

use std::fmt;
use std::time::Duration;

use crate::drivers::command::{CommandError, Ending, InvalidArgv, Output};
use crate::drivers::cri::CriError;
use crate::drivers::outside::OutsideError;
use crate::drivers::processes::{PidFileError, ProcessError};
use crate::drivers::sockets::SocketError;
use crate::drivers::systemd::SystemdError;
use crate::model::{ContentName, Evidence, ServiceName};

/// The reason why a service was not seen to use a new credential. The caller adds the name of the
/// service.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It does not run, so there is nothing to refresh.
    #[error("it does not run ({0}); it reads the files on the disk when it starts")]
    NotRunning(String),
    /// It is not known whether it runs.
    #[error("it is not known whether it runs: {0}; it was not restarted")]
    NotKnown(String),
    /// There is no manifest, so kubelet would not start a successor.
    #[error(
        "it has no manifest on this node, so kubelet would not start it again; it was not restarted"
    )]
    NoManifest,
    /// kubelet, which would start the successor, does not run.
    #[error(
        "kubelet, which would start it again, does not run ({0}); it was not restarted: repair \
         kubelet first"
    )]
    KubeletDown(String),
    /// The caller refused the restart, for example because of a hold.
    #[error("it was not restarted: {0}")]
    Held(String),
    /// Another node restarts services, or the peers of the service on other nodes do not carry on
    /// without it.
    #[error("it was not restarted: {0}; kubecertd tries again")]
    NotItsTurn(String),
    /// A request to the container runtime failed.
    #[error(transparent)]
    Runtime(#[from] CriError),
    /// Its container was stopped, and no other one is there.
    #[error(
        "its container was stopped, and kubelet has not started another one within {} s ({found}): \
         after repeated restarts kubelet waits for up to five minutes; else see \
         `journalctl -u kubelet` and restart kubelet",
        within.as_secs()
    )]
    NoSuccessor {
        /// The time limit that passed.
        within: Duration,
        /// The last finding.
        found: String,
    },
    /// It was restarted or signalled, and is not healthy.
    #[error("it is not healthy {} s after it was refreshed: {found}; see its \
        log", within.as_secs())]
    NeverHealthy {
        /// The time limit that passed.
        within: Duration,
        /// The last finding.
        found: String,
    },
    /// It was restarted or signalled, is healthy, and still uses the old credential.
    #[error(
        "it was refreshed and still uses {0}; it is not refreshed again for the same \
         certificate: restart it by hand"
    )]
    StillStale(StaleList),
    /// It is not known whether it took a credential that it should take by itself.
    #[error(
        "it is not known whether it uses the new certificate: {0}; it was not restarted for that"
    )]
    NotSeen(String),
    /// A request to systemd failed.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The unit has no main process.
    #[error("{0} has no main process that a signal could be sent to")]
    NoMainProcess(String),
    /// The unit's main process changed meanwhile.
    #[error("the main process of {0} exited before the signal; no signal was sent")]
    MainProcessChanged(String),
    /// A pid file leads to no process.
    #[error("{0}; no signal was sent")]
    PidFile(#[from] PidFileError),
    /// A process could not be examined or signalled.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The words are not a valid command.
    #[error(transparent)]
    InvalidCommand(#[from] InvalidArgv),
    /// The command could not be run to completion.
    #[error(transparent)]
    Command(#[from] OutsideError),
    /// The command failed.
    #[error("its command {program} failed with {ending}{}", said(output))]
    CommandFailed {
        /// The program.
        program: String,
        /// How it ended.
        ending: Ending,
        /// The output of the command.
        output: Box<Output>,
    },
    /// The kernel's list of connections is not known.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// An essential service that this one needs is not healthy.
    #[error("it was not refreshed, because {because} is not healthy after its refresh")]
    Skipped {
        /// That service.
        because: ServiceName,
    },
    /// The pass was stopped.
    #[error(
        "kubecertd was stopped before it could verify that the service uses the new certificate; \
         the next pass checks again"
    )]
    Stopped,
    /// The step names a service that is not in the catalog, which should not happen.
    #[error("a bug in kubecertd: this service is not in the catalog; please report it")]
    NotInCatalog,
}

impl RefreshError {
    /// Whether the restart, reload or signal may have reached the service although it failed.
    pub(super) fn may_have_reached_it(&self) -> bool {
        match self {
            Self::Stopped | Self::CommandFailed { .. } => true,
            Self::Command(OutsideError::Limit { .. }) => true,
            Self::Command(OutsideError::Child(error)) => {
                matches!(error, CommandError::Limit { .. } | CommandError::Follow { .. })
            }
            Self::Command(OutsideError::Systemd(error)) | Self::Systemd(error) => {
                may_have_done_it(error)
            }
            _ => false,
        }
    }
}

fn may_have_done_it(error: &SystemdError) -> bool {
    matches!(
        error,
        SystemdError::Unfinished { .. }
            | SystemdError::Job { .. }
            | SystemdError::Broken
            | SystemdError::NoAnswer(_)
            | SystemdError::Incomplete(_)
            | SystemdError::Bus(_)
    )
}

/// The contents of which a service uses an earlier one, with the evidence for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleList(pub Vec<(ContentName, Evidence)>);

impl fmt::Display for StaleList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(content, evidence)| format!("{} ({evidence})", content.outdated()))
            .collect();
        f.write_str(&all.join(", "))
    }
}

/// The last words of a command's output, as the end of an error text.
fn said(output: &Output) -> String {
    output.last_words().map_or_else(String::new, |words| format!(": {words}"))
}
