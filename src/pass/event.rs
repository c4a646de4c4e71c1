//! Events: what happens in a pass, emitted when it happens.
//!
//! A pass can take minutes, since it waits for services. Its events are in the journal before it
//! is over, and also when it is killed.

use super::PassError;
use crate::act::refresh::RefreshOutcome;
use crate::act::{CopyError, Renewed};
use crate::model::{
    AuthorityName, CredentialName, Deferral, MembershipFinding, RotationLevel, ServiceName,
};

/// Receives the events of a pass.
pub type Emit<'e> = &'e (dyn Fn(&Event<'_>) + Sync);

/// Something that happened to a credential or a service, or that was found out on the way.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// The interrupted transaction of an earlier process was completed.
    Completed(Subject<'e>),
    /// An interrupted transaction was dropped, since the files were changed after it.
    Dropped(Subject<'e>),
    /// A credential was renewed, and its new certificate was seen on disk.
    Renewed {
        /// The credential.
        subject: Subject<'e>,
        /// Its new certificate.
        renewed: &'e Renewed,
        /// The reason of the plan's step.
        reason: &'e str,
    },
    /// A credential was not renewed, or its renewal was rolled back.
    NotRenewed {
        /// The credential.
        subject: Subject<'e>,
        /// Why.
        error: &'e PassError,
    },
    /// A copy holds what its original holds.
    Copied {
        /// The copy.
        subject: Subject<'e>,
        /// Its new certificate.
        renewed: &'e Renewed,
        /// The reason of the plan's step.
        reason: &'e str,
    },
    /// A copy was not brought up to date.
    NotCopied {
        /// The copy.
        subject: Subject<'e>,
        /// Why.
        error: &'e CopyError,
    },
    /// etcd's other members were asked whether this node belongs to the cluster.
    MembershipFound(&'e MembershipFinding),
    /// A credential is due, and waits.
    Deferred {
        /// The credential.
        subject: Subject<'e>,
        /// What it waits for.
        deferred: &'e Deferral,
    },
    /// A service is restarted when another node has done so: one node of the cluster at a time.
    TurnAwaited {
        /// The service.
        service: &'e ServiceName,
        /// The node that restarts a service now.
        holder: &'e str,
    },
    /// A step of the refresh of services is over.
    Refreshed(&'e RefreshOutcome),
    /// A step of a rotation of the root CA was made on this node.
    RotationStep(&'e str),
    /// The nodes work from the first level to the second one from now on; where they are the same,
    /// it is confirmed.
    RotationAgreed(RotationLevel, RotationLevel),
    /// A rotation is over, with this level.
    RotationOver(RotationLevel),
    /// Something that an operator should know, about no credential or service of its own.
    Note(&'e str),
}

/// The credential that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'e> {
    /// Its name.
    pub credential: &'e CredentialName,
    /// The CA that signs it, where the catalog names one.
    pub authority: Option<&'e AuthorityName>,
}
