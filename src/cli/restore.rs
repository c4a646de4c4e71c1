//! `kubecertd restore`: restores the files that a renewal replaced, or lists the backups.

use std::fmt::Write as _;

use super::arguments::RestoreOptions;
use super::check::section;
use super::out::{self, BAD, GOOD, PLAIN, QUIET, SOON};
use super::renew::{by_hand, names, services_that};
use super::words::{count, date};
use super::{Exit, Failure};
use crate::model::{Action, CredentialName, Takes};
use crate::observe::Node;
use crate::pass::restore::{Held, RestoreError, RestoreReport, Restored, Wanted, list, restore};
use crate::pass::survey;
use crate::store::{Backups, Generation};
use crate::sys::Clock;

const USAGE_HINT: &str = "name what to restore: kubecertd restore --list lists the backups, \
    kubecertd restore NAME restores the newest backup of a credential, and kubecertd restore \
    --from BACKUP restores a whole backup";

pub(super) fn run(
    node: &Node,
    options: &RestoreOptions,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let from = options.from.as_deref().map(|name| find(node, name)).transpose()?;
    let wanted = Wanted { only: names(node, &options.names)?, from, force: options.force };
    if options.list {
        let held = list(node, &wanted, clock.now())?;
        out::print(&table(node, &held));
        return Ok(Exit::Fine);
    }
    if wanted.only.is_empty() && wanted.from.is_none() {
        return Err(Failure::Restore(USAGE_HINT.to_owned()));
    }
    let report = restore(node, &wanted, clock.now())?;
    out::print(&show(node, &report, clock));
    Ok(exit(&report))
}

fn find(node: &Node, name: &str) -> Result<Generation, Failure> {
    let backups = Backups::open(&node.root, &node.settings.paths.state)?;
    let found = backups.generations().into_iter().find(|generation| generation.to_string() == name);
    found.ok_or_else(|| {
        Failure::Restore(format!("there is no backup {name:?}; see kubecertd restore --list"))
    })
}

/// Formats each backup once, with its content.
fn table(node: &Node, held: &[Held]) -> String {
    if held.is_empty() {
        return format!("There is no such backup in {}.\n", *node.settings.paths.state);
    }
    let mut above = None;
    let row = |one: &Held| {
        let name = if above.replace(one.generation.clone()).as_ref() == Some(&one.generation) {
            String::new()
        } else {
            one.generation.to_string()
        };
        let (serial, end) = one
            .certificate
            .clone()
            .map_or_else(|| ("-".to_owned(), "-".to_owned()), |(serial, end)| (serial, date(end)));
        let (style, state) = state(one.obstacle.as_ref());
        (style, vec![name, one.credential.to_string(), serial, end, state.to_owned()])
    };
    let rows: Vec<_> = held.iter().map(row).collect();
    let obstacles = held
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.credential, one.obstacle.as_ref()?)))
        .collect::<Vec<_>>();
    out::columns(&["BACKUP", "CREDENTIAL", "SERIAL", "EXPIRES", "STATE"], &rows)
        + &section("Notes", &obstacles)
}

fn state(obstacle: Option<&RestoreError>) -> (anstyle::Style, &'static str) {
    match obstacle {
        None => (PLAIN, "whole"),
        Some(RestoreError::Expired { .. }) => (QUIET, "expired"),
        Some(RestoreError::NotYetValid { .. }) => (SOON, "not yet valid"),
        Some(RestoreError::Foreign { .. }) => (SOON, "foreign issuer"),
        Some(RestoreError::Sha1 { .. }) => (SOON, "signed with SHA-1"),
        Some(_) => (BAD, "not whole"),
    }
}

fn show(node: &Node, report: &RestoreReport, clock: &dyn Clock) -> String {
    let rows: Vec<_> =
        report.results.iter().map(|(name, result)| row(name, result.as_ref())).collect();
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        out::columns(&["RESULT", "CREDENTIAL", "VALID UNTIL", "BACKUP"], &rows)
    };
    for note in report.recovered.notes.iter().chain(&report.notes) {
        let _ = writeln!(text, "note: {note}");
    }
    let restored: Vec<_> = replaced(report).collect();
    if restored.is_empty() {
        return text + "Nothing was replaced.\n";
    }
    let _ = write!(text, "\n{} restored", count(restored.len(), "credential"));
    let _ = match report.backups.as_slice() {
        [] => writeln!(text, "."),
        [backup] => writeln!(text, "; the replaced files are in the backup {backup}."),
        several => writeln!(
            text,
            "; the replaced files are in the backups {}.",
            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        ),
    };
    text + &services(node, &restored) + &predict_next_pass(node, &restored, clock)
}

fn row(
    name: &CredentialName,
    result: Result<&Restored, &RestoreError>,
) -> (anstyle::Style, Vec<String>) {
    match result {
        Ok(Restored { generation, not_after, replaced }) => {
            let (style, word) = if *replaced { (GOOD, "restored") } else { (PLAIN, "the same") };
            (
                style,
                vec![word.to_owned(), name.to_string(), date(*not_after), generation.to_string()],
            )
        }
        Err(e) => (BAD, vec!["failed".to_owned(), name.to_string(), String::new(), e.to_string()]),
    }
}

fn replaced(report: &RestoreReport) -> impl Iterator<Item = &CredentialName> {
    report
        .results
        .iter()
        .filter(|(_, result)| result.as_ref().is_ok_and(|restored| restored.replaced))
        .map(|(name, _)| name)
}

/// Lists the services that have to load the restored files. The next pass finds them stale and
/// refreshes them.
fn services(node: &Node, restored: &[&CredentialName]) -> String {
    let refresh = if node.root.is_host() {
        "the next scheduled pass refreshes it, kubecertd renew does so at once"
    } else {
        "restart it"
    };
    let line = |(service, credential, takes)| match takes {
        Takes::Reloads => None,
        Takes::NewConnections => {
            Some(format!("{service} uses {credential} for new connections only: {refresh}.\n"))
        }
        Takes::Restart => {
            Some(format!("{service} reads {credential} only when it starts: {refresh}.\n"))
        }
        Takes::ByHand => Some(by_hand(service, credential)),
    };
    services_that(node, &|name| restored.contains(&name)).filter_map(line).collect()
}

/// Predicts the work of the next pass.
fn predict_next_pass(node: &Node, restored: &[&CredentialName], clock: &dyn Clock) -> String {
    let survey = survey(node, clock.now());
    let due = survey.credentials.iter().filter(|one| {
        restored.contains(&&one.facts.credential.name) && one.judgement.action == Action::Renew
    });
    due.map(|one| {
        format!(
            "{} {}: the next pass renews it again.\n",
            one.facts.credential.name, one.judgement.reason
        )
    })
    .collect()
}

fn exit(report: &RestoreReport) -> Exit {
    let failed = report.results.iter().filter(|(_, result)| result.is_err()).count();
    match failed {
        0 => Exit::Fine,
        failed if failed < report.results.len() => Exit::Partly,
        _ => Exit::Failed,
    }
}
