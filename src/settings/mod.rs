//! The configuration: `/etc/kubecertd/kubecertd.toml` and the drop-ins beside it, and the profile
//! of the node.
//!
//! Three stages: each file is a fragment in which everything is optional; fragments are merged in
//! order onto the defaults; what was merged is checked as a whole and is then a [`Settings`], which
//! is valid ever after. The files are read by the caller: everything here is a pure function of
//! their texts.

mod entries;
mod error;
mod metrics;
mod moments;
mod profile;
mod section;
mod show;
mod sinks;
mod source;
mod values;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::model::{AbsolutePath, KeyChoice};
use entries::{AuthorityFragment, CopyFragment, CredentialFragment};
pub use entries::{OwnAuthority, OwnCopy, OwnCredential, OwnService};
pub use error::{Entry, EntryProblem, SettingsError, Stated};
pub use metrics::{InvalidListen, InvalidTextfile, Listen, Textfile};
pub use moments::{Cron, InvalidCron, UnknownZone, Zone};
use profile::service::ServiceFragment;
pub use profile::{
    AuthorityFlags, CredentialFlags, FlagNames, KeyFlags, NameFlags, Profile, ProfileAuthority,
    ProfileCredential, ProfileService, ProfileUse, ServedAt, Trial,
};
pub use section::Setting;
use section::section;
pub use sinks::AlarmCommand;
use sinks::AlarmCommandFragment;
pub use source::Origin;
use source::Source;
pub use values::{BackupCount, InvalidPeriod, InvalidProfileName, Period, ProfileName};

/// The whole configuration, checked. The default is what an empty file means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The profile of the node.
    pub profile: Setting<ProfileName>,
    /// When a certificate is renewed, and into what.
    pub renewal: Renewal,
    /// When passes are made.
    pub schedule: Schedule,
    /// What is worth an alarm.
    pub alarms: Alarms,
    /// Whether and how Fault Management is told of alarms.
    pub fault_management: FaultManagement,
    /// Commands that are told of alarms.
    pub alarm_commands: Vec<AlarmCommand>,
    /// Where numbers for Prometheus can be had.
    pub metrics: Metrics,
    /// Where things are.
    pub paths: Paths,
    /// What is kept of replaced files.
    pub backups: Backups,
    /// Authorities that the operator adds to the profile, or puts in the place of the profile's by
    /// the same name.
    pub authorities: Vec<OwnAuthority>,
    /// Credentials that the operator adds to the profile, or puts in the place of the profile's by
    /// the same name.
    pub credentials: Vec<OwnCredential>,
    /// Copies of credentials that the operator lists.
    pub copies: Vec<OwnCopy>,
    /// Services that the operator adds to the profile, or puts in the place of the profile's by the
    /// same name.
    pub services: Vec<OwnService>,
}

section! {
    /// When a certificate is renewed, and into what.
    Renewal, RenewalFragment, "renewal" {
        /// A certificate is due this long before it expires.
        renew_before: Period = Period::from_days(15),
        /// It is urgent this long before it expires: then nothing that can wait holds its renewal
        /// back.
        urgent_before: Period = Period::from_days(3),
        /// How long a renewed certificate is valid; it never outlives its authority.
        validity: Period = Period::from_days(365),
        /// How far back the validity of a renewed certificate begins.
        backdate: Period = Period::from_minutes(5),
        /// The kind of key a renewed certificate gets.
        key_algorithm: KeyChoice = KeyChoice::Keep,
    }
}

section! {
    /// When passes are made.
    Schedule, ScheduleFragment, "schedule" {
        /// The cron expression.
        cron: Cron = Cron::midnight(),
        /// The time zone that the expression is meant in.
        time_zone: Zone = Zone::Local,
        /// Over how long the passes of several controllers are spread: each adds a delay of its
        /// own, always the same.
        spread: Period = Period::from_minutes(30),
    }
}

section! {
    /// What is worth an alarm.
    Alarms, AlarmsFragment, "alarms" {
        /// An authority ends soon when it expires within this time.
        authority_expires_within: Period = Period::from_days(30),
        /// The same for the root authority of Kubernetes, whose rotation takes longer.
        root_authority_expires_within: Period = Period::from_days(180),
    } below {
        fm: FaultManagementFragment,
        command: Vec<Spanned<AlarmCommandFragment>>,
    }
}

section! {
    /// Alarms for StarlingX's Fault Management.
    FaultManagement, FaultManagementFragment, "alarms.fm" {
        /// Whether it is told of alarms.
        enabled: bool = false,
        /// The program that tells it.
        command: AbsolutePath = AbsolutePath::constant("/usr/local/bin/fmClientCli"),
        /// How long that may take.
        timeout: Period = AlarmCommand::USUAL_TIMEOUT,
    }
}

section! {
    /// Where numbers for Prometheus can be had.
    Metrics, MetricsFragment, "metrics" {
        /// The file that node_exporter's textfile collector reads.
        textfile: Textfile = Textfile::Off,
        /// Where they are served over HTTP.
        listen: Listen = Listen::Off,
    }
}

section! {
    /// Where things are.
    Paths, PathsFragment, "paths" {
        /// The folder of the journal, the state file and the backups.
        state: AbsolutePath = AbsolutePath::constant("/var/lib/kubecertd"),
        /// The folder of the static pod manifests.
        manifests: AbsolutePath = AbsolutePath::constant("/etc/kubernetes/manifests"),
        /// The folder of profiles that take the place of the ones in the program, or add to them.
        profiles: AbsolutePath = AbsolutePath::constant("/etc/kubecertd/profiles"),
    }
}

section! {
    /// What is kept of replaced files.
    Backups, BackupsFragment, "backups" {
        /// How many backups are kept; the oldest go first.
        keep: BackupCount = BackupCount::TEN,
    }
}

/// What one file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fragment {
    profile: Option<Spanned<ProfileName>>,
    renewal: RenewalFragment,
    schedule: ScheduleFragment,
    alarms: AlarmsFragment,
    metrics: MetricsFragment,
    paths: PathsFragment,
    backups: BackupsFragment,
    authority: Vec<Spanned<AuthorityFragment>>,
    credential: Vec<Spanned<CredentialFragment>>,
    copy: Vec<Spanned<CopyFragment>>,
    service: Vec<Spanned<ServiceFragment>>,
}

/// All files together, over the defaults, not yet checked as a whole.
struct Merged(Settings);

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Setting::default_value("profile", ProfileName::kubeadm()),
            renewal: Renewal::default(),
            schedule: Schedule::default(),
            alarms: Alarms::default(),
            fault_management: FaultManagement::default(),
            alarm_commands: Vec::new(),
            metrics: Metrics::default(),
            paths: Paths::default(),
            backups: Backups::default(),
            authorities: Vec::new(),
            credentials: Vec::new(),
            copies: Vec::new(),
            services: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the files in the order given: where two set the same key, the later one wins; entries
    /// of lists add up.
    ///
    /// # Errors [`SettingsError`] for the first thing that is wrong, with file and line.
    pub fn from_files<P: AsRef<Path>, T: AsRef<str>>(
        files: &[(P, T)],
    ) -> Result<Self, SettingsError> {
        let mut merged = Merged(Self::default());
        for (file, text) in files {
            merged.add(Source { file: file.as_ref(), text: text.as_ref() })?;
        }
        merged.check()
    }
}

impl Merged {
    fn add(&mut self, source: Source<'_>) -> Result<(), SettingsError> {
        let mut fragment: Fragment = source.parse()?;
        let Self(settings) = self;
        settings.profile.take(fragment.profile, source);
        settings.renewal.take(fragment.renewal, source);
        settings.schedule.take(fragment.schedule, source);
        settings.fault_management.take(std::mem::take(&mut fragment.alarms.fm), source);
        for command in std::mem::take(&mut fragment.alarms.command) {
            settings.alarm_commands.push(AlarmCommand::new(command, source)?);
        }
        settings.alarms.take(fragment.alarms, source);
        settings.metrics.take(fragment.metrics, source);
        settings.paths.take(fragment.paths, source);
        settings.backups.take(fragment.backups, source);
        for authority in fragment.authority {
            settings.authorities.push(OwnAuthority::new(authority, source)?);
        }
        for credential in fragment.credential {
            settings.credentials.push(OwnCredential::new(credential, source)?);
        }
        for copy in fragment.copy {
            settings.copies.push(OwnCopy::new(copy, source)?);
        }
        for service in fragment.service {
            settings.services.push(OwnService::new(service, source)?);
        }
        Ok(())
    }

    fn check(self) -> Result<Settings, SettingsError> {
        self.0.renewal.check()?;
        sinks::check(&self.0.fault_management)?;
        entries::unique(
            "alarms.command",
            self.0.alarm_commands.iter().map(|entry| (entry.name.as_str(), &entry.origin)),
        )?;
        self.0.paths.check()?;
        entries::unique(
            "authority",
            self.0.authorities.iter().map(|entry| (entry.name.as_str(), &entry.origin)),
        )?;
        entries::unique(
            "credential",
            self.0.credentials.iter().map(|entry| (entry.name.as_str(), &entry.origin)),
        )?;
        entries::unique(
            "copy",
            self.0
                .copies
                .iter()
                .filter_map(|entry| Some((entry.name.as_ref()?.as_str(), &entry.origin))),
        )?;
        entries::unique(
            "service",
            self.0.services.iter().map(|entry| (entry.service.name.as_str(), &entry.origin)),
        )?;
        Ok(self.0)
    }
}

impl Renewal {
    fn check(&self) -> Result<(), SettingsError> {
        let day = Period::from_days(1);
        let due = Box::new(self.renew_before.stated());
        if *self.renew_before == Period::ZERO {
            return Err(SettingsError::NeverDue(self.renew_before.stated()));
        }
        if *self.urgent_before > *self.renew_before {
            return Err(SettingsError::UrgentBeforeDue {
                urgent: Box::new(self.urgent_before.stated()),
                due,
            });
        }
        if *self.validity <= self.renew_before.plus(day) {
            return Err(SettingsError::RenewsForEver {
                validity: Box::new(self.validity.stated()),
                due,
            });
        }
        if *self.backdate > day {
            return Err(SettingsError::BackdateTooLong(self.backdate.stated()));
        }
        Ok(())
    }
}

impl Paths {
    /// A backup among the manifests would run as a pod. kubelet does not look into folders, but who
    /// cleans up there may.
    fn check(&self) -> Result<(), SettingsError> {
        if self.state.as_path().starts_with(self.manifests.as_path()) {
            let (state, manifests) =
                (Box::new(self.state.stated()), Box::new(self.manifests.stated()));
            return Err(SettingsError::StateAmongManifests { state, manifests });
        }
        Ok(())
    }
}

/// The drop-ins among the file names of the drop-in folder, in the order in which they count: by
/// name, `*.toml` only, and without the hidden files that editors leave behind.
#[must_use]
pub fn drop_ins(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names
        .into_iter()
        .filter(|name| name.ends_with(".toml") && !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
