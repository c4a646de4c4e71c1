//! The tables of the configuration: their settings, with defaults, and the rules that hold within
//! a table.

use toml::Spanned;

use super::error::SettingsError;
use super::metrics::{Listen, Textfile};
use super::moments::{Cron, Zone};
use super::section::section;
use super::sinks::{AlarmCommand, AlarmCommandFragment, LONGEST_WORDS, is_sensible};
use super::values::{BackupCount, Period, Validity};
use crate::model::{AbsolutePath, KeyChoice};

section! {
    /// When a certificate is renewed, and into what.
    Renewal, RenewalFragment, "renewal" {
        /// A certificate is due this long before it expires.
        renew_before: Period = Period::from_days(15),
        /// It is urgent this long before it expires: then nothing that can wait holds its renewal
        /// back.
        urgent_before: Period = Period::from_days(3),
        /// How long a renewed certificate is valid; it never outlives its authority.
        validity: Validity = Validity::For(Period::from_days(365)),
        /// How far back the validity of a renewed certificate begins.
        backdate: Period = Period::from_minutes(5),
        /// The kind of key a renewed certificate gets.
        key_algorithm: KeyChoice = KeyChoice::Keep,
        /// Whether a lost admin.conf is made again.
        make_admin_conf: bool = false,
    }
}

section! {
    /// The root CA of the cluster.
    RootCaSettings, RootCaFragment, "root_ca" {
        /// It is renewed with its own key this long before it expires; zero where only an operator
        /// orders that.
        renew_before: Period = Period::ZERO,
    }
}

section! {
    /// When passes are made.
    Schedule, ScheduleFragment, "schedule" {
        /// The cron expression.
        cron: Cron = Cron::midnight(),
        /// The time zone that the expression is meant in.
        time_zone: Zone = Zone::Local,
        /// Over how long the passes of several nodes are spread: each adds a delay of its
        /// own, always the same.
        spread: Period = Period::from_minutes(30),
    }
}

section! {
    /// The conditions of alarms.
    Alarms, AlarmsFragment, "alarms" {
        /// A CA expires soon when it expires within this time.
        ca_expires_within: Period = Period::from_days(30),
        /// The same for the cluster's root CA, whose rotation takes longer.
        root_ca_expires_within: Period = Period::from_days(180),
    } below {
        fm: FaultManagementFragment,
        command: Vec<Spanned<AlarmCommandFragment>>,
    }
}

section! {
    /// Alarms for StarlingX's Fault Management.
    FaultManagement, FaultManagementFragment, "alarms.fm" {
        /// Whether alarms are delivered to it.
        enabled: bool = false,
        /// The program that delivers them.
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
        /// The directory of the journal, the state file and the backups.
        state: AbsolutePath = AbsolutePath::constant("/var/lib/kubecertd"),
        /// The directory of the static pod manifests.
        manifests: AbsolutePath = AbsolutePath::constant("/etc/kubernetes/manifests"),
        /// kubeadm's configuration of this cluster.
        kubeadm: AbsolutePath = AbsolutePath::constant("/etc/kubernetes/kubeadm.yaml"),
        /// The directory of profiles that take the place of the ones in the program, or add to
        /// them.
        profiles: AbsolutePath = AbsolutePath::constant("/etc/kubecertd/profiles"),
    }
}

section! {
    /// The backups of replaced files.
    Backups, BackupsFragment, "backups" {
        /// How many backups are kept; the oldest go first.
        keep: BackupCount = BackupCount::TEN,
    }
}

impl Renewal {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
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
        // Of kubeadm's, a short one is renewed at two thirds of its life.
        let least = self.renew_before.plus(day);
        if matches!(*self.validity, Validity::For(validity) if validity <= least) {
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
    /// A backup among the manifests would run as a pod. kubelet does not look into directories, but
    /// a cleanup of that directory may.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.state.as_path().starts_with(self.manifests.as_path()) {
            let (state, manifests) =
                (Box::new(self.state.stated()), Box::new(self.manifests.stated()));
            return Err(SettingsError::StateAmongManifests { state, manifests });
        }
        Ok(())
    }
}

impl FaultManagement {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let timeout = &self.timeout;
        let wrong =
            || SettingsError::Timeout { stated: Box::new(timeout.stated()), most: LONGEST_WORDS };
        if is_sensible(**timeout) { Ok(()) } else { Err(wrong()) }
    }
}
