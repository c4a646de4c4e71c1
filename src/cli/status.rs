//! `kubecertd status`: what the daemon did and will do, and what needs attention now. What the daemon said is only half
//! of it: the files are looked at anew, so that it is true also when the daemon is dead.

use std::fmt::Write as _;

use super::arguments::Arguments;
use super::check::{attention, exit, section, summary};
use super::out::{self, BAD, GOOD, SOON, paint};
use super::words::date;
use super::{Exit, Failure, open_or_last_good, services};
use crate::daemon::{LastPass, Status};
use crate::observe::{Node, conditions};
use crate::pass::services::look;
use crate::pass::survey;
use crate::plan::{holds, remaining};
use crate::sys::Clock;

/// Where the configuration is wrong, the node is shown by the last good one, as the daemon goes by it.
pub(super) fn run(arguments: &Arguments, clock: &dyn Clock) -> Result<Exit, Failure> {
    let (node, trouble) = open_or_last_good(arguments)?;
    Ok(show(&node, trouble, clock))
}

/// `trouble` is what is wrong with the configuration on disk.
fn show(node: &Node, trouble: Option<String>, clock: &dyn Clock) -> Exit {
    let now = clock.now();
    let survey = survey(node, now);
    let (status, runs, note) = Status::look(&node.root);
    let mut text = match (&status, runs) {
        (Some(status), true) => {
            format!("{} since {} (process {}): {}\n", paint(GOOD, "kubecertd runs"), date(status.started), status.pid, status.line)
        }
        (None, true) => format!("{}, and has said nothing yet.\n", paint(GOOD, "kubecertd runs")),
        (Some(status), false) => format!("{}; it last said something at {}.\n", paint(BAD, "kubecertd does not run"), date(status.updated)),
        (None, false) => format!("{}, and has not run since the node was booted.\n", paint(BAD, "kubecertd does not run")),
    };
    if let Some(status) = &status {
        text += &passes(status, runs);
    }
    let trouble = trouble.or_else(|| status.as_ref().filter(|_| runs)?.configuration.clone());
    if let Some(trouble) = &trouble {
        let _ = writeln!(text, "{}: {trouble}", paint(BAD, "The configuration is refused, and an earlier one is in force"));
    }
    let found = conditions(&node.root, &node.settings);
    let held: Vec<_> = holds(&found.holds, now).iter().map(ToString::to_string).collect();
    text += &section("Held, unless it is urgent", &held);
    let services = look(node, clock, &survey);
    let shown = services::table(&services);
    if !services.list.is_empty() {
        text += &format!("\n{shown}");
    }
    let both = attention(&survey).into_iter().chain(services::attention(&services));
    text += &section("Needs attention", &both.collect::<Vec<_>>());
    let notes: Vec<_> = note.into_iter().chain(found.notes).chain(node.notes.iter().cloned()).collect();
    text += &section("Notes", &notes);
    let soonest =
        survey.credentials.iter().filter_map(|judged| Some((judged.facts.material.leaf()?.not_after, &judged.facts.credential.name))).min();
    if let Some((end, name)) = soonest {
        let _ = writeln!(text, "\nThe next to end is {name}, {}.", remaining(now, end));
    }
    let _ = writeln!(text, "{}", summary(&survey));
    out::say(&text);
    let well = runs && trouble.is_none() && status.is_none_or(|status| status.last_pass.is_none_or(|last| !last.is_bad()));
    if well && services::is_well(&services) { exit(&survey) } else { Exit::Attention }
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

fn details(last: &LastPass) -> String {
    let mut text = String::new();
    for trouble in last.trouble.iter().chain(&last.clock) {
        let _ = writeln!(text, "  {}    {trouble}", paint(BAD, "failed"));
    }
    for name in &last.renewed {
        let _ = writeln!(text, "  {}   {name}", paint(GOOD, "renewed"));
    }
    for (name, how) in &last.refreshed {
        let _ = writeln!(text, "  {} {name}: {how}", paint(GOOD, "refreshed"));
    }
    for (name, reason) in &last.not_refreshed {
        let _ = writeln!(text, "  {}    {name}: {reason}", paint(BAD, "failed"));
    }
    for (name, reason) in &last.services_waiting {
        let _ = writeln!(text, "  {}   {name}: {reason}", paint(SOON, "waiting"));
    }
    for (name, reason) in &last.failed {
        let _ = writeln!(text, "  {}    {name}: {reason}", paint(BAD, "failed"));
    }
    for (name, reason) in &last.waiting {
        let _ = writeln!(text, "  {}   {name}: {reason}", paint(SOON, "waiting"));
    }
    text
}
