//! The metrics for Prometheus: certificates, passes, services and alarms as numbers.
//!
//! The families are a pure function of [`Known`]; writing and serving them in the two text formats
//! is in the modules below. Those about certificates have the names and labels of
//! x509-certificate-exporter, so that its dashboards and alerts go on working.

mod certificates;
mod format;
mod publisher;
mod rotation;
pub mod serve;
pub mod textfile;

use std::collections::BTreeMap;
use std::time::Duration;

pub use format::{Family, Format, Kind, Labels, Sample, Value, text};
pub use publisher::MetricsPublisher;

use crate::act::RenewError;
use crate::model::{
    Alarm, ClockTrust, ContentName, CredentialName, Freshness, Policy, Renewal, ServiceName,
    Timestamp, Urgency,
};
use crate::pass::rotation::RotationReport;
use crate::pass::{PassError, Report, ServicesReport, Survey};

/// Whether what a service has of a content is stale.
type Stale = BTreeMap<(ServiceName, ContentName), bool>;

/// The present state, and the counts since the start.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The last survey of the certificates.
    pub survey: Option<Survey>,
    /// Whether the clock is trusted.
    pub clock_trusted: Option<bool>,
    /// The thresholds of the configuration.
    pub policy: Option<Policy>,
    /// The beginning of the last finished pass.
    pub last_pass: Option<Timestamp>,
    /// The beginning of the last pass without a failure.
    pub last_success: Option<Timestamp>,
    /// The duration of the last pass.
    pub took: Option<Duration>,
    /// The time of the next pass, by schedule or because the last one failed or waits.
    pub next_pass: Option<Timestamp>,
    /// The alarms in force.
    pub alarms: Vec<Alarm>,
    /// How far a rotation of the root CA is that is under way.
    rotation: Option<RotationReport>,
    passes: Counts,
    renewals: BTreeMap<CredentialName, Counts>,
    restarts: BTreeMap<ServiceName, u64>,
    stale: Stale,
}

/// Counts of successes and failures.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ok: u64,
    failed: u64,
}

impl Counts {
    fn count(&mut self, ok: bool) {
        let number = if ok { &mut self.ok } else { &mut self.failed };
        *number = number.saturating_add(1);
    }

    fn samples(self, labels: &[(&'static str, String)]) -> [Sample; 2] {
        [("ok", self.ok), ("failed", self.failed)].map(|(result, number)| {
            let labels = [labels, &[("result", result.to_owned())]].concat();
            Sample { labels, value: Value::Count(number) }
        })
    }
}

impl Known {
    /// The state at the start: the beginnings of the last pass, and of the last one without a
    /// failure.
    #[must_use]
    pub fn remembered(last_pass: Option<Timestamp>, last_success: Option<Timestamp>) -> Self {
        Self { last_pass, last_success, ..Self::default() }
    }

    /// Takes over a survey, at the end of a pass or without one.
    pub fn set_survey(&mut self, survey: Survey, clock_trust: Option<&ClockTrust>) {
        for judged in survey
            .credentials
            .iter()
            .filter(|judged| judged.facts.credential.renewal == Renewal::Ours)
        {
            self.renewals.entry(judged.facts.credential.name.clone()).or_default();
        }
        self.survey = Some(survey);
        self.clock_trusted =
            clock_trust.map(|clock_trust| !matches!(clock_trust, ClockTrust::NotTrusted(_)));
    }

    /// Counts a finished pass; it has a report if it could be made.
    pub fn count_pass(&mut self, began: Timestamp, took: Duration, report: Option<&Report>) {
        let ok = report.is_some_and(|report| !report.failed());
        self.passes.count(ok);
        (self.last_pass, self.took) = (Some(began), Some(took));
        if ok {
            self.last_success = Some(began);
        }
        for (name, result) in report.iter().flat_map(|report| &report.results) {
            // A renewal that was left for the next pass is neither.
            if !matches!(result, Err(PassError::Renew(RenewError::Stopped | RenewError::Changed))) {
                self.renewals.entry(name.clone()).or_default().count(result.is_ok());
            }
        }
        if let Some(report) = report {
            self.rotation = report.rotation.clone().filter(|rotation| !rotation.is_over);
            self.count_services(&report.services);
        }
    }

    fn count_services(&mut self, report: &ServicesReport) {
        self.stale.clear();
        for judged in &report.found.list {
            let service = &judged.facts.service.name;
            self.restarts.entry(service.clone()).or_default();
            let updated = report.is_updated(service);
            for (content, freshness) in &judged.freshness {
                // Without an observation it is not known.
                if !matches!(freshness, Freshness::Unknown(_)) {
                    let stale = matches!(freshness, Freshness::Stale(_)) && !updated;
                    self.stale.insert((service.clone(), content.clone()), stale);
                }
            }
        }
        for outcome in report.outcomes.iter().filter(|outcome| outcome.restarted) {
            let number = self.restarts.entry(outcome.service.clone()).or_default();
            *number = number.saturating_add(1);
        }
    }
}

/// All families at one moment.
#[must_use]
pub fn families(known: &Known, now: Timestamp) -> Vec<Family> {
    let certificates = known.survey.iter().flat_map(|survey| certificates::families(survey, now));
    certificates
        .chain(passes(known))
        .chain(services(known))
        .chain(rotation::families(known.rotation.as_ref()))
        .chain([due(known), alarms(known), build()])
        .collect()
}

fn passes(known: &Known) -> Vec<Family> {
    let time = |time: Option<Timestamp>| time.map(|time| Value::Whole(time.seconds()));
    let length = |length: Option<Duration>| {
        length.map(|length| Value::Whole(i64::try_from(length.as_secs()).unwrap_or(i64::MAX)))
    };
    let one = |name, help, value: Option<Value>| {
        Family::gauge(name, help, value.map(Sample::alone).into_iter().collect())
    };
    vec![
        one(
            "kubecertd_last_pass_timestamp_seconds",
            "When the last completed pass began.",
            time(known.last_pass),
        ),
        one(
            "kubecertd_last_pass_success_timestamp_seconds",
            "When the last pass began in which nothing failed.",
            time(known.last_success),
        ),
        one(
            "kubecertd_next_pass_timestamp_seconds",
            "When the next pass is made.",
            time(known.next_pass),
        ),
        one(
            "kubecertd_pass_duration_seconds",
            "How long the last pass took.",
            known.took.map(|took| Value::Fraction(took.as_secs_f64())),
        ),
        Family::counter(
            "kubecertd_passes",
            "Passes since the start of the daemon.",
            known.passes.samples(&[]).into(),
        ),
        one(
            "kubecertd_clock_trusted",
            "Whether the clock was trusted at the last pass. Nothing is signed while it is not \
             trusted.",
            known.clock_trusted.map(Value::flag),
        ),
        one(
            "kubecertd_clock_believed",
            "The earlier name of kubecertd_clock_trusted.",
            known.clock_trusted.map(Value::flag),
        ),
        one(
            "kubecertd_renew_before_seconds",
            "How long before its expiry a credential is due.",
            length(known.policy.map(|policy| policy.renew_before)),
        ),
        one(
            "kubecertd_urgent_before_seconds",
            "How long before its expiry the renewal of a credential is no longer deferred.",
            length(known.policy.map(|policy| policy.urgent_before)),
        ),
    ]
}

fn services(known: &Known) -> Vec<Family> {
    let renewals = known
        .renewals
        .iter()
        .flat_map(|(name, outcomes)| outcomes.samples(&[("name", name.to_string())]));
    let restarts = known.restarts.iter().map(|(service, number)| Sample {
        labels: vec![("service", service.to_string())],
        value: Value::Count(*number),
    });
    let stale = known.stale.iter().map(|((service, content), stale)| {
        let labels = vec![("service", service.to_string()), ("name", content.key())];
        Sample { labels, value: Value::flag(*stale) }
    });
    vec![
        Family::counter(
            "kubecertd_renewals",
            "Renewals since the start of the daemon.",
            renewals.collect(),
        ),
        Family::counter(
            "kubecertd_service_restarts",
            "How often a service was restarted or signalled, since the start of the daemon.",
            restarts.collect(),
        ),
        Family::gauge(
            "kubecertd_service_stale",
            "Whether a service uses an outdated credential, or outdated CA certificates of a file.",
            stale.collect(),
        ),
    ]
}

fn due(known: &Known) -> Family {
    let credentials = known.survey.iter().flat_map(|survey| &survey.credentials);
    let samples = credentials
        .filter(|judged| judged.facts.credential.renewal == Renewal::Ours)
        .map(|judged| {
            let due = judged.judgement.condition.urgency() != Urgency::Comfortable;
            Sample {
                labels: vec![("name", judged.facts.credential.name.to_string())],
                value: Value::flag(due),
            }
        });
    Family::gauge(
        "kubecertd_credential_due",
        "Whether a credential that is renewed here is due or unusable.",
        samples.collect(),
    )
}

fn alarms(known: &Known) -> Family {
    let samples = known.alarms.iter().map(|alarm| {
        let labels = vec![
            ("id", alarm.kind.id().to_owned()),
            ("severity", alarm.kind.severity().as_str().to_owned()),
            ("entity", alarm.entity.clone()),
        ];
        Sample { labels, value: Value::Whole(1) }
    });
    Family::gauge(
        "kubecertd_alarm",
        "An alarm that is in force; see kubecertd alarms.",
        samples.collect(),
    )
}

fn build() -> Family {
    let labels = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    Family::gauge(
        "kubecertd_build_info",
        "The version that runs.",
        vec![Sample { labels, value: Value::Whole(1) }],
    )
}
