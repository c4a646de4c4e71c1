//! The whole configuration: the files' fragments, merged in order onto the defaults, and checked as
//! a whole.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::entries::{
    AuthorityFragment, CopyFragment, CredentialFragment, OwnAuthority, OwnCopy, OwnCredential,
    OwnService,
};
use super::error::SettingsError;
use super::fragment::unique;
use super::profile::service::ServiceFragment;
use super::section::Setting;
use super::sinks::AlarmCommand;
use super::source::ConfigSource;
use super::tables::{
    Alarms, AlarmsFragment, Backups, BackupsFragment, FaultManagement, Metrics, MetricsFragment,
    Paths, PathsFragment, Renewal, RenewalFragment, RootCaFragment, RootCaSettings, Schedule,
    ScheduleFragment,
};
use super::values::ProfileName;

/// The whole configuration, checked. The default is what an empty file means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The profile of the node.
    pub profile: Setting<ProfileName>,
    /// When a certificate is renewed, and into what.
    pub renewal: Renewal,
    /// When the root CA is renewed.
    pub root_ca: RootCaSettings,
    /// The times of passes.
    pub schedule: Schedule,
    /// The conditions of alarms.
    pub alarms: Alarms,
    /// Whether and how alarms are delivered to Fault Management.
    pub fault_management: FaultManagement,
    /// Commands that receive alarms.
    pub alarm_commands: Vec<AlarmCommand>,
    /// The metrics for Prometheus.
    pub metrics: Metrics,
    /// The paths of files and directories.
    pub paths: Paths,
    /// The backups of replaced files.
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

/// The keys of one configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fragment {
    profile: Option<Spanned<ProfileName>>,
    renewal: RenewalFragment,
    root_ca: RootCaFragment,
    schedule: ScheduleFragment,
    alarms: AlarmsFragment,
    metrics: MetricsFragment,
    paths: PathsFragment,
    backups: BackupsFragment,
    #[serde(rename = "ca")]
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
            profile: Setting::default_value("profile", ProfileName::auto()),
            renewal: Renewal::default(),
            root_ca: RootCaSettings::default(),
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
            merged.add(ConfigSource { file: file.as_ref(), text: text.as_ref() })?;
        }
        merged.check()
    }

    /// Checks that the schedule makes passes so often that no certificate can expire between two of
    /// them. A configuration with such a schedule is in force all the same: an urgent renewal is
    /// made without it.
    ///
    /// # Errors
    /// [`SettingsError::TooRare`], with a pause that is too long.
    pub fn check_schedule(&self) -> Result<(), SettingsError> {
        let renew_before = &self.renewal.renew_before;
        match self.schedule.cron.find_pause(renew_before.as_duration()) {
            None => Ok(()),
            Some(pause) => Err(SettingsError::TooRare {
                cron: Box::new(self.schedule.cron.stated()),
                due: Box::new(renew_before.stated()),
                pause,
            }),
        }
    }
}

impl Merged {
    fn add(&mut self, source: ConfigSource<'_>) -> Result<(), SettingsError> {
        let mut fragment: Fragment = source.parse()?;
        let Self(settings) = self;
        settings.profile.take(fragment.profile, source);
        settings.renewal.take(fragment.renewal, source);
        settings.root_ca.take(fragment.root_ca, source);
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
        self.0.fault_management.check()?;
        unique(
            "alarms.command",
            self.0.alarm_commands.iter().map(|entry| (entry.name.as_str(), &entry.origin)),
        )?;
        self.0.paths.check()?;
        unique("ca", self.0.authorities.iter().map(|entry| (entry.name.as_str(), &entry.origin)))?;
        unique(
            "credential",
            self.0.credentials.iter().map(|entry| (entry.name.as_str(), &entry.origin)),
        )?;
        unique(
            "copy",
            self.0
                .copies
                .iter()
                .filter_map(|entry| Some((entry.name.as_ref()?.as_str(), &entry.origin))),
        )?;
        unique(
            "service",
            self.0.services.iter().map(|entry| (entry.service.name.as_str(), &entry.origin)),
        )?;
        Ok(self.0)
    }
}

/// The drop-ins among the file names of the drop-in directory, in the order in which they count: by
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
