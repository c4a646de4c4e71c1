//! `kubecertd status`: the last and next work of the daemon and the present problems, on one
//! screen. The daemon's own report is one part of it; the files are read anew, so that it is
//! correct also when the daemon does not run.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::arguments::{Arguments, StatusOptions};
use super::check::{attention, exit, section, summary};
use super::out::{self, BAD, GOOD, SOON, paint};
use super::words::{self, date};
use super::{Exit, Failure, alarms, open_or_last_good, services};
use crate::model::{Alarm, Condition, Renewal, Timestamp};
use crate::observe::{Node, conditions, host_name};
use crate::pass::services::look;
use crate::pass::{Survey, policy, survey};
use crate::plan::{Judged, deferral_reasons, remaining};
use crate::report::alarms::read_in_force;
use crate::report::{PassSummary, Status};
use crate::state::pending_requests;
use crate::sys::Clock;

/// The interval between two screens with `--watch`.
const SCREEN_INTERVAL: Duration = Duration::from_secs(2);

/// Moves to the upper left corner and clears the screen.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Where the configuration is wrong, shows the node by the last good one, which the daemon uses.
pub(super) fn run(
    arguments: &Arguments,
    options: &StatusOptions,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let once = || {
        let (node, trouble) = open_or_last_good(arguments)?;
        Ok::<_, Failure>(screen(&node, trouble, clock))
    };
    let (mut text, mut exit) = once()?;
    if !options.watch {
        out::print(&text);
        return Ok(exit);
    }
    // Until it is interrupted, or the reader closes the pipe.
    while out::try_print(&if std::io::stdout().is_terminal() {
        format!("{CLEAR_SCREEN}{text}")
    } else {
        text
    }) {
        std::thread::sleep(SCREEN_INTERVAL);
        (text, exit) = once()?;
    }
    Ok(exit)
}

/// Formats the whole screen: health first, then alarms, expiry dates, services, and notes.
/// `trouble` is the error in the configuration on disk.
fn screen(node: &Node, trouble: Option<String>, clock: &dyn Clock) -> (String, Exit) {
    let now = clock.now();
    let survey = survey(node, now);
    let (status, runs, note) = Status::read(&node.root);
    let trouble = trouble.or_else(|| status.as_ref().filter(|_| runs)?.configuration.clone());
    let (alarms, alarm_note) = read_in_force(node);
    let found = conditions(&node.root, &node.settings);
    let services = look(node, clock, &survey);
    let attention: Vec<_> =
        attention(node, &survey).into_iter().chain(services::attention(&services)).collect();
    let healthy = runs
        && trouble.is_none()
        && alarms.is_empty()
        && status.as_ref().is_none_or(|status| !is_bad(status));
    let exit = if healthy && services::all_current(&services) {
        exit(node, &survey)
    } else {
        Exit::Attention
    };

    let mut text = health(&host_name(&node.root), now, &alarms, exit);
    text += &daemon(status.as_ref(), runs);
    if let Some(status) = &status {
        text += &passes(status, runs);
    }
    if let Some(trouble) = &trouble {
        let _ = writeln!(
            text,
            "{}: {trouble}",
            paint(BAD, "The configuration is refused, and an earlier one is in force")
        );
    }
    text += &alarms::section(&alarms, now);
    text += &section("Needs attention", &attention);
    let held: Vec<_> =
        deferral_reasons(&found.deferral, now).iter().map(ToString::to_string).collect();
    text += &section("Hold (urgent renewals are made)", &held);
    text += &section("Open requests", &pending_request_lines(node, now));
    text += &format!("\n{}", due(node, &survey));
    if !services.list.is_empty() {
        text += &format!("\n{}", services::table(&services));
    }
    let notes: Vec<_> = note
        .into_iter()
        .chain(alarm_note)
        .chain(found.notes)
        .chain(node.notes.iter().cloned())
        .collect();
    text += &section("Notes", &notes);
    let _ = writeln!(text, "\n{}", summary(node, &survey));
    (text, exit)
}

/// Lists the requests that wait for an external CA.
fn pending_request_lines(node: &Node, now: Timestamp) -> Vec<String> {
    let names: Vec<_> =
        node.catalog.credentials.iter().map(|credential| credential.name.clone()).collect();
    match pending_requests(&node.root, &node.settings.paths.state, &names) {
        Ok(found) => found
            .iter()
            .map(|one| {
                format!(
                    "{}: asked for {}: {}",
                    one.credential,
                    remaining(now, one.made),
                    one.file.display()
                )
            })
            .collect(),
        Err(e) => vec![e.to_string()],
    }
}

fn is_bad(status: &Status) -> bool {
    status.last_pass.as_ref().is_some_and(PassSummary::is_bad)
}

/// Formats the overall health in one line.
fn health(host: &str, now: Timestamp, alarms: &[Alarm], exit: Exit) -> String {
    let word = match (alarms.len(), exit) {
        (0, Exit::Fine) => paint(GOOD.bold(), "No problems"),
        (0, _) => paint(SOON.bold(), "Something needs attention"),
        (number, _) => paint(BAD.bold(), &format!("{} in force", words::count(number, "alarm"))),
    };
    format!("{word} on {host}, {}\n\n", date(now))
}

fn daemon(status: Option<&Status>, runs: bool) -> String {
    match (status, runs) {
        (Some(status), true) => {
            format!(
                "{} since {} (process {}): {}\n",
                paint(GOOD, "kubecertd runs"),
                date(status.started),
                status.pid,
                status.line
            )
        }
        (None, true) => format!("{}, and has no status yet.\n", paint(GOOD, "kubecertd runs")),
        (Some(status), false) => format!(
            "{}; its last status is of {}.\n",
            paint(BAD, "kubecertd does not run"),
            date(status.updated)
        ),
        (None, false) => format!(
            "{}, and has not run since the node was booted.\n",
            paint(BAD, "kubecertd does not run")
        ),
    }
}

/// Lists the expiry dates, the next one first, and when the renewal begins.
fn due(node: &Node, survey: &Survey) -> String {
    let mut rows: Vec<_> = survey
        .credentials
        .iter()
        .filter_map(|judged| Some((judged.facts.material.leaf()?.accepted_until(), judged)))
        .collect();
    rows.sort_by_key(|(end, judged)| (*end, judged.facts.credential.name.clone()));
    let policy = policy(node);
    let row = |(end, judged): &(Timestamp, &Judged)| {
        let from = match &judged.facts.credential.renewal {
            Renewal::Ours if judged.judgement.condition == Condition::EndsWithAuthority => {
                "with its CA".to_owned()
            }
            Renewal::Ours if is_never_reissued(judged.judgement.condition) => "-".to_owned(),
            Renewal::Ours => date(end.minus(judged.policy(&policy, survey.now).renew_before)),
            Renewal::Kubelet => "by kubelet".to_owned(),
            Renewal::Elsewhere => "elsewhere".to_owned(),
            Renewal::Operator(_) => "by the operator".to_owned(),
            Renewal::Copy(of) => format!("with {}", of.original),
        };
        let Judged { facts, judgement, .. } = judged;
        let cells = vec![
            facts.credential.name.to_string(),
            date(*end),
            words::left(survey.now, *end),
            from,
        ];
        (words::style(judgement.condition, judgement.attention), cells)
    };
    out::columns(
        &["CREDENTIAL", "EXPIRES", "LEFT", "RENEWED FROM"],
        &rows.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Another CA signed it, or it signed itself.
fn is_never_reissued(condition: Condition) -> bool {
    matches!(condition, Condition::ForeignIssuer | Condition::SelfSigned)
}

fn passes(status: &Status, runs: bool) -> String {
    let mut text = String::new();
    if let Some(last) = &status.last_pass {
        let _ = writeln!(text, "Last pass:  {} ({})", date(last.began), last.why);
        text += &details(last);
    }
    if let Some(next) = status.next_pass.filter(|_| runs) {
        let _ = writeln!(text, "Next pass:  {}", date(next));
    }
    if let Some(next) = status.next_try.filter(|_| runs) {
        let _ = writeln!(text, "Next try:   {}", date(next));
    }
    text
}

fn details(last: &PassSummary) -> String {
    let mut text = String::new();
    for trouble in last.trouble.iter().chain(&last.clock) {
        let _ = writeln!(text, "  {}    {trouble}", paint(BAD, "failed"));
    }
    for name in &last.renewed {
        let _ = writeln!(text, "  {}   {name}", paint(GOOD, "renewed"));
    }
    for name in &last.copied {
        let _ = writeln!(text, "  {}    {name}", paint(GOOD, "copied"));
    }
    for (name, how) in &last.refreshed {
        let _ = writeln!(text, "  {} {name}: {how}", paint(GOOD, "refreshed"));
    }
    for (name, reason) in &last.not_refreshed {
        let _ = writeln!(text, "  {}    {name}: {reason}", paint(BAD, "failed"));
    }
    for (name, reason) in &last.services_waiting {
        let _ = writeln!(text, "  {}  {name}: {reason}", paint(SOON, "deferred"));
    }
    for (name, reason) in &last.failed {
        let _ = writeln!(text, "  {}    {name}: {reason}", paint(BAD, "failed"));
    }
    for (name, reason) in &last.waiting {
        let _ = writeln!(text, "  {}  {name}: {reason}", paint(SOON, "deferred"));
    }
    text
}
