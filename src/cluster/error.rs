//! Why the cluster's API, the Lease, or an object can't be used.

use std::error::Error as StdError;

use crate::formats::plain_text::plain_text;

/// The most of a server's text that is shown.
const SHOWN_CHARS: usize = 200;

/// Why a call to the cluster's API failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The administrator's kubeconfig is not on this node. kubelet's may not write Leases.
    #[error(
        "admin.conf is not on this node, and kubelet's own rights are not enough: \
         `kubeadm init phase kubeconfig admin` makes it"
    )]
    NoAdminConf,
    /// It can't be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// No API server answers.
    #[error("no API server answers: {0}")]
    Away(String),
    /// An API server answers with an error.
    #[error("the API server at {server} answers with status {code}: {message}")]
    Refused {
        /// The server's URL.
        server: String,
        /// The HTTP status.
        code: u16,
        /// What it says.
        message: String,
    },
    /// The list of the nodes does not come to an end.
    #[error("the API server lists more than {0} nodes, which is more than Kubernetes supports")]
    TooMany(usize),
}

impl ClusterError {
    /// The error of one call to one server.
    pub(super) fn of_call(server: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused {
                server: server.to_owned(),
                code: status.code,
                message: shown(&status.message),
            },
            other => Self::Away(format!("{server}: {}", shown(&with_sources(&other)))),
        }
    }

    /// The HTTP status of the answer, where there was one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::NoAdminConf | Self::Kubeconfig(_) | Self::Away(_) | Self::TooMany(_) => None,
        }
    }

    /// Whether another server may give another answer: one that answers with an error of its own,
    /// or does not answer.
    pub fn is_of_server(&self) -> bool {
        matches!(self, Self::Away(_)) || self.code().is_some_and(|code| code >= 500 || code == 429)
    }
}

/// Why the Lease is not held any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The API can't be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Another node has taken it since.
    #[error("this node lost the Lease {0} before it stopped the service")]
    Lost(String),
}

/// Why an object of the API, or the objects of a kind, can't be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The call failed.
    #[error("{object}: {error}")]
    Call {
        /// The object or the kind.
        object: String,
        /// Why.
        error: ClusterError,
    },
    /// It was to be created.
    #[error("{0} exists already")]
    Exists(String),
    /// Another client has written it in the meantime.
    #[error("{0} has changed since it was read")]
    Changed(String),
    /// It was to be changed.
    #[error("{0} does not exist")]
    Missing(String),
    /// It has another form than it is to have.
    #[error("{object} can't be used: {reason}")]
    Malformed {
        /// The object or the kind.
        object: String,
        /// Why.
        reason: String,
    },
}

impl ObjectError {
    pub(super) fn of_call(object: impl Into<String>, error: ClusterError) -> Self {
        Self::Call { object: object.into(), error }
    }

    pub(super) fn malformed(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { object: object.into(), reason: reason.into() }
    }
}

/// The error and its causes, in one line.
fn with_sources(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

pub(super) fn shown(text: &str) -> String {
    plain_text(text, SHOWN_CHARS)
}
