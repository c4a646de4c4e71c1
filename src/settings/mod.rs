//! The configuration: `/etc/kubecertd/kubecertd.toml` and the drop-ins beside it, and the profile
//! of the node.
//!
//! Three stages: each file is a fragment in which everything is optional; fragments are merged in
//! order onto the defaults; what was merged is checked as a whole and is then a [`Settings`], which
//! is valid ever after. The files are read by the caller: everything here is a pure function of
//! their texts.

mod entries;
mod error;
mod fragment;
mod merge;
mod metrics;
mod moments;
mod origin;
mod profile;
mod section;
mod show;
mod sinks;
mod source;
mod tables;
mod values;

pub use entries::{OwnAuthority, OwnCopy, OwnCredential, OwnService};
pub use error::{Entry, EntryProblem, SettingsError, Stated};
pub use merge::{Settings, drop_ins};
pub use metrics::{InvalidListen, InvalidTextfile, Listen, Textfile};
pub use moments::{Cron, InvalidCron, Pause, UnknownZone, Zone};
pub use origin::Origin;
pub use profile::{
    AuthorityFlags, CredentialFlags, FileFlag, FlagNames, KeyFlags, NameFlags, Profile,
    ProfileAuthority, ProfileCredential, ProfileService, ProfileServing, ProfileTemplate,
    ProfileTrust, ProfileUse, ProtectedFile, ServedAt, ServingFlags, Trial, VersionedSubject,
};
pub use section::Setting;
pub use sinks::AlarmCommand;
pub use tables::{
    Alarms, Backups, FaultManagement, Metrics, Paths, Renewal, RootCaSettings, Schedule,
};
pub use values::{BackupCount, InvalidPeriod, InvalidProfileName, Period, ProfileName, Validity};

#[cfg(test)]
mod tests;
