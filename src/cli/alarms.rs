//! `kubecertd alarms`: the alarms that are in force, as of the last pass.

use std::fmt::Write as _;

use anstyle::Style;
use serde::Serialize;

use super::arguments::{AlarmsOptions, Arguments, ListFormat};
use super::out::{self, BAD, GOOD, SOON, paint};
use super::words::{count, date};
use super::{Exit, Failure, open_or_last_good};
use crate::model::{Alarm, Severity, Timestamp};
use crate::observe::host_name;
use crate::plan::remaining;
use crate::report::AlarmJson;
use crate::report::alarms::read_in_force;
use crate::sys::Clock;

/// Where the configuration is wrong, shows the alarms of the last good one, which the daemon uses.
pub(super) fn run(
    arguments: &Arguments,
    options: &AlarmsOptions,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let (node, _) = open_or_last_good(arguments)?;
    let (alarms, note) = read_in_force(&node);
    match options.output {
        ListFormat::List => out::print(&list(&alarms, clock.now())),
        ListFormat::Json => out::print(&json(&alarms, &host_name(&node.root))),
    }
    note.iter().for_each(|note| out::print_error(note));
    Ok(if alarms.is_empty() && note.is_none() { Exit::Fine } else { Exit::Attention })
}

pub(super) fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical | Severity::Major => BAD,
        Severity::Minor | Severity::Warning => SOON,
    }
}

/// Formats a paragraph for each alarm, the worst first.
fn list(alarms: &[Alarm], now: Timestamp) -> String {
    if alarms.is_empty() {
        return format!("{}\n", paint(GOOD, "No alarms."));
    }
    paragraphs(alarms, now) + &format!("{} in force.\n", count(alarms.len(), "alarm"))
}

/// Formats the same as a section of a larger text.
pub(super) fn section(alarms: &[Alarm], now: Timestamp) -> String {
    if alarms.is_empty() {
        String::new()
    } else {
        format!("\n{}", paragraphs(alarms, now).trim_end().to_owned() + "\n")
    }
}

fn paragraphs(alarms: &[Alarm], now: Timestamp) -> String {
    let mut text = String::new();
    for alarm in alarms {
        let severity = alarm.kind.severity();
        let number = alarm.kind.number().map_or_else(String::new, |number| format!(" ({number})"));
        let _ = writeln!(
            text,
            "{} {}{number} on {}, since {} ({})",
            paint(style(severity).bold(), &severity.as_str().to_uppercase()),
            alarm.kind,
            alarm.entity,
            date(alarm.raised),
            remaining(now, alarm.raised),
        );
        let _ = writeln!(text, "  {}", alarm.text);
        let _ = writeln!(text, "  Why:    {}", alarm.reason);
        let _ = writeln!(text, "  To do:  {}\n", alarm.repair);
    }
    text
}

#[derive(Serialize)]
struct Alarms<'a> {
    format: u32,
    host: &'a str,
    alarms: Vec<AlarmJson<'a>>,
}

fn json(alarms: &[Alarm], host: &str) -> String {
    let shown = alarms.iter().map(|alarm| AlarmJson::new(alarm, None));
    let alarms = Alarms { format: 1, host, alarms: shown.collect() };
    serde_json::to_string_pretty(&alarms)
        .map_or_else(|e| format!("{{\"error\": {:?}}}\n", e.to_string()), |json| json + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlarmKind;

    #[test]
    fn alarm_shows_state_time_reason_and_remedy() {
        let raised = Timestamp::from_seconds(1_800_000_000);
        let alarm = Alarm {
            kind: AlarmKind::ExpiringSoon,
            entity: "system.certificate.ca".to_owned(),
            about: vec!["ca".to_owned()],
            text: "Certificate ca is expiring soon on 2027-03-01, 00:00:00".to_owned(),
            reason: "because".to_owned(),
            repair: "Do it.".to_owned(),
            raised,
        };
        let now = Timestamp::from_seconds(1_800_010_800);
        let text = list(&[alarm], now);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
MAJOR expiring-soon (500.200) on system.certificate.ca, since 2027-01-15 08:00 UTC (3 hours ago)
  Certificate ca is expiring soon on 2027-03-01, 00:00:00
  Why:    because
  To do:  Do it.

1 alarm in force.
"
        );
        assert_eq!(anstream::adapter::strip_str(&list(&[], now)).to_string(), "No alarms.\n");
    }
}
