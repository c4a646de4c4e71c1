//! What is remembered of services from one pass to the next. It may be lost at any time: what was
//! renewed by others before is then judged by the files' own times, and what was done once may be
//! done once more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BootId, ContentName, CredentialName, Digest, Membership, ServiceName, Timestamp, Uptime,
};

/// What is remembered of services and of the contents that they should work with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceMemory {
    /// Since when each content is what it is.
    pub appeared: BTreeMap<ContentName, Appeared>,
    /// What was done for the sake of contents that are still in place.
    pub restarted: Vec<Restarted>,
    /// The instance of each service that was stopped last, by its id: it should be gone.
    pub stopped: BTreeMap<ServiceName, String>,
    /// Connections that carry certificates which were replaced.
    pub connections: Vec<NotedConnections>,
    /// The last content for which each service was asked to reload.
    pub told: Vec<Told>,
    /// The certificate of each credential with which the first request was made, by its
    /// fingerprint in hex.
    pub first_requests: BTreeMap<CredentialName, String>,
    /// How many members etcd had when it was last asked.
    pub etcd_members: Option<usize>,
    /// How many of them come before this node's, by their ids.
    pub etcd_rank: usize,
    /// This node's member of etcd among the others, by its own last list of them.
    pub membership: Option<Membership>,
    /// How many API servers other nodes had when they were last listed.
    pub other_api_servers: usize,
    /// Since when the Lease for restarts could not be had while one was needed.
    pub without_lease: Option<Uptime>,
}

impl ServiceMemory {
    /// When the present content of a credential came to be where it is.
    #[must_use]
    pub fn appeared(&self, credential: &CredentialName) -> Option<&Appeared> {
        self.appeared.get(&credential.clone().into())
    }
}

/// When a present content came to be where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appeared {
    /// SHA-256 of its certificate or certificates, in hex.
    pub fingerprint: String,
    /// When, by the boot-time (monotonic) clock.
    pub at: Uptime,
    /// The last valid second, of several certificates the latest.
    pub not_after: Timestamp,
    /// Whether kubecertd put it there.
    pub ours: bool,
    /// When it was last seen there.
    pub seen: Uptime,
    /// The same by the wall clock of that moment, which tells whether that clock was moved since.
    pub seen_at: Timestamp,
    /// What was there before in this run of the machine, the oldest first: what runs since then may
    /// hold it.
    pub earlier: Vec<Earlier>,
}

/// A content that was replaced here, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its name.
    pub content: ContentName,
    /// SHA-256 of the certificate, or certificates, in place now.
    pub fingerprint: Digest,
    /// The last valid second, of several certificates the latest.
    pub not_after: Timestamp,
}

/// What a content was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// SHA-256 of its certificate or certificates, in hex.
    pub fingerprint: String,
    /// The last valid second, of several certificates the latest.
    pub not_after: Timestamp,
    /// Until when it was there.
    pub until: Uptime,
}

impl Appeared {
    /// The expiry of the earlier certificate that a process which started then may hold; of
    /// several, the earliest. `None` where no earlier one is remembered.
    #[must_use]
    pub fn held_until(&self, started: &Uptime) -> Option<Timestamp> {
        let held = self.earlier.iter().filter(|earlier| {
            earlier.until.boot == started.boot && started.is_before(&earlier.until)
        });
        held.map(|earlier| earlier.not_after).min()
    }

    /// The expiry of an earlier certificate, by its fingerprint.
    #[must_use]
    pub fn end_of(&self, fingerprint: &str) -> Option<Timestamp> {
        self.earlier
            .iter()
            .find(|earlier| earlier.fingerprint == fingerprint)
            .map(|earlier| earlier.not_after)
    }
}

/// What was done to a service for the sake of one content. It is remembered only to hold
/// back a second restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    /// The service.
    pub service: ServiceName,
    /// The content that it held an earlier one of.
    pub content: ContentName,
    /// The one that it should have taken, by its fingerprint in hex.
    pub fingerprint: String,
    /// When.
    pub at: Timestamp,
}

/// The last content for which a service was asked to reload, and accepted it. Which one it uses
/// can't be verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The service.
    pub service: ServiceName,
    /// The content.
    pub content: ContentName,
    /// Which one, by its fingerprint in hex.
    pub fingerprint: String,
}

/// Connections that were open when the certificate that they were opened with was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedConnections {
    /// Whose connections they are.
    pub service: ServiceName,
    /// The credential.
    pub credential: CredentialName,
    /// The certificate that was new then, by its fingerprint in hex.
    pub fingerprint: String,
    /// The connections, by the kernel's cookies.
    pub cookies: Vec<u64>,
    /// The run of the machine in which the cookies mean something.
    pub boot: BootId,
    /// The last valid second of the certificate that they carry, where that is known.
    pub end: Option<Timestamp>,
}
