//! The report of a node as the text of an annotation: JSON with a format number, at most 2 KiB.
//!
//! The annotation of another node may hold anything: reading one checks its length first, and
//! keeps no character that a terminal does not show.

use serde::{Deserialize, Serialize};

use super::plain_text::plain_text;
use crate::model::NodeReport;

const FORMAT: u32 = 1;

/// The most bytes of a report.
pub const MAX_BYTES: usize = 2048;

/// The most characters of a text in it.
const MAX_TEXT: usize = 160;

/// The most characters of a version.
const MAX_VERSION: usize = 32;

/// A report with its format number.
#[derive(Serialize)]
struct Versioned<'r> {
    format: u32,
    #[serde(flatten)]
    report: &'r NodeReport,
}

/// The format number, which is read before the rest.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Why an annotation is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It is too long.
    #[error("it has {0} bytes, and a report has at most {MAX_BYTES}")]
    TooLong(usize),
    /// A newer kubecertd wrote it.
    #[error("it has format {0}, and this version knows format {FORMAT}")]
    Format(u32),
    /// It is no JSON, or a field is missing or has another type.
    #[error("it is no report of kubecertd")]
    Malformed,
}

/// Writes a report. What makes it too long is left out: first the text of the most severe alarm,
/// then the name of the next credential to expire, then the fingerprints.
#[must_use]
pub fn write(report: &NodeReport) -> String {
    let mut report = report.clone();
    let leave_out: [fn(&mut NodeReport); 4] = [
        |report| report.alarms.worst = report.alarms.worst.take().map(|text| shown(&text)),
        |report| report.alarms.worst = None,
        |report| report.next.iter_mut().for_each(|next| next.name = None),
        |report| report.fingerprints = Default::default(),
    ];
    let mut text = String::new();
    for step in leave_out {
        step(&mut report);
        text = json(&report);
        if text.len() <= MAX_BYTES {
            break;
        }
    }
    text
}

fn json(report: &NodeReport) -> String {
    // No part of a report is a map with keys that JSON lacks, so it never fails.
    serde_json::to_string(&Versioned { format: FORMAT, report }).unwrap_or_default()
}

/// Reads a report that any user can have written.
///
/// # Errors
/// When it is none, without a word of its content.
pub fn read(text: &str) -> Result<NodeReport, ReportError> {
    if text.len() > MAX_BYTES {
        return Err(ReportError::TooLong(text.len()));
    }
    let malformed = |_: serde_json::Error| ReportError::Malformed;
    match serde_json::from_str(text).map_err(malformed)? {
        Version { format: FORMAT } => {}
        Version { format } => return Err(ReportError::Format(format)),
    }
    let mut report: NodeReport = serde_json::from_str(text).map_err(malformed)?;
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".-+~".contains(c);
    if report.version.len() > MAX_VERSION || !report.version.chars().all(is_version) {
        return Err(ReportError::Malformed);
    }
    report.alarms.worst = report.alarms.worst.map(|text| shown(&text));
    Ok(report)
}

/// The beginning of a text, without the characters that are not shown or change how others are.
#[must_use]
pub fn shown(text: &str) -> String {
    plain_text(text, MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        AlarmCounts, CredentialName, Digest, Fingerprint, Fingerprints, NextExpiry, NodeRole,
        Timestamp,
    };

    fn report() -> NodeReport {
        let fingerprint = |text: &str| Some(Fingerprint::from(Digest::of(text.as_bytes())));
        NodeReport {
            at: Timestamp::from_seconds(1_800_000_000),
            version: "0.1.0".to_owned(),
            role: NodeRole::ControlPlane,
            pass: Timestamp::from_seconds(1_799_999_990),
            failed: false,
            next: Some(NextExpiry {
                at: Timestamp::from_seconds(1_900_000_000),
                name: Some(CredentialName::constant("apiserver")),
            }),
            due: 1,
            expired: 0,
            stale: 0,
            alarms: AlarmCounts {
                major: 1,
                worst: Some("It failed.".to_owned()),
                ..AlarmCounts::default()
            },
            clock: Some(-10),
            fingerprints: Fingerprints {
                ca: fingerprint("ca"),
                front_proxy_ca: fingerprint("front-proxy"),
                service_account: fingerprint("sa"),
                kubeconfigs: None,
            },
            rotation: None,
        }
    }

    #[test]
    fn report_is_small_json_with_format_and_round_trips() {
        let text = write(&report());
        assert_eq!(
            text,
            "{\"format\":1,\"at\":\"2027-01-15T08:00:00Z\",\"version\":\"0.1.0\",\
             \"role\":\"control-plane\",\"pass\":\"2027-01-15T07:59:50Z\",\"failed\":false,\
             \"next\":{\"at\":\"2030-03-17T17:46:40Z\",\"name\":\"apiserver\"},\"due\":1,\
             \"expired\":0,\"stale\":0,\"alarms\":{\"critical\":0,\"major\":1,\"minor\":0,\
             \"warning\":0,\"worst\":\"It failed.\"},\"clock\":-10,\"fingerprints\":{\
             \"ca\":\"6959097001d10501ac7d54c0bdb8db61\",\
             \"front-proxy-ca\":\"a3a9a29c57ea4403db2c900b1b9547c6\",\
             \"service-account\":\"4cf6829aa93728e8f3c97df913fb1bfa\"}}"
        );
        assert_eq!(read(&text), Ok(report()));
    }

    #[test]
    fn report_on_the_page_is_one() {
        let page = include_str!("../../docs/cluster.md");
        let text = page.lines().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(read(text).map(|report| write(&report)), Ok(text.to_owned()));
    }

    #[test]
    fn longest_report_leaves_out_text_first() {
        let mut longest = report();
        longest.alarms.worst = Some("\u{1f512}\"".repeat(4_000));
        longest.version = "x".repeat(1_300);
        let name = CredentialName::new("a".repeat(64)).unwrap();
        longest.next = Some(NextExpiry { at: Timestamp::MAX, name: Some(name.clone()) });
        (longest.due, longest.expired, longest.stale) = (u32::MAX, u32::MAX, u32::MAX);
        let text = write(&longest);
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(!text.contains("worst") && text.contains(name.as_str()), "{text}");
        // Without such a version, what is left of the text fits.
        longest.version = "0.1.0".to_owned();
        let read = read(&write(&longest)).unwrap();
        assert_eq!(read.alarms.worst.map(|text| text.chars().count()), Some(MAX_TEXT));
        assert_eq!(read.fingerprints, longest.fingerprints);
    }

    #[test]
    fn hostile_annotations_are_refused_or_made_harmless() {
        let text = write(&report());
        let with = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            read(&text.replacen(from, to, 1))
        };
        assert_eq!(read(&" ".repeat(MAX_BYTES + 1)), Err(ReportError::TooLong(MAX_BYTES + 1)));
        assert_eq!(read(&"[".repeat(MAX_BYTES)), Err(ReportError::Malformed));
        assert_eq!(with("\"format\":1", "\"format\":2"), Err(ReportError::Format(2)));
        for (from, to) in [
            ("\"format\":1,", ""),
            ("\"0.1.0\"", "\"0.1\\u001b[2J\""),
            ("\"0.1.0\"", "\"012345678901234567890123456789012\""),
            ("\"apiserver\"", "\"../etc\""),
            ("\"due\":1", "\"due\":-1"),
            ("\"due\":1", "\"due\":99999999999999999999"),
            ("2027-01-15T08:00:00Z", "soon"),
            ("6959097001", "695909700g"),
            ("control-plane", "master"),
        ] {
            assert_eq!(with(from, to), Err(ReportError::Malformed), "{from} {to}");
        }
        let hostile = "\\u001b[31mred\\u202e\\n\\u200bgreen";
        let read = with("It failed.", hostile).unwrap();
        assert_eq!(read.alarms.worst.as_deref(), Some("[31mredgreen"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            if let Ok(report) = read(&text) {
                prop_assert!(write(&report).len() <= MAX_BYTES);
            }
        }
    }
}
