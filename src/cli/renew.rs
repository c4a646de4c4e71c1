//! `kubecertd renew`: renews what is due, and says for each credential what became of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::arguments::RenewOptions;
use super::out::{self, BAD, GOOD, PLAIN, SOON, paint};
use super::words::{count, date};
use super::{Exit, Failure};
use crate::act::Renewed;
use crate::model::{Action, CredentialName, ServiceKind, Takes};
use crate::observe::Node;
use crate::pass::{self, PassError, Report};
use crate::plan::{Judged, Plan, Request, Step};
use crate::sys::Clock;

pub(super) fn run(node: &Node, options: &RenewOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let request = Request { only: names(node, &options.names)?, force: options.force };
    if options.dry_run {
        let (survey, plan) = pass::preview(node, &request, clock.now());
        out::say(&preview(&survey.credentials, &plan, &request));
        return Ok(Exit::Fine);
    }
    let report = pass::run(node, &request, clock, &out::progress)?;
    out::say(&show(node, &report, &request));
    Ok(exit(&report))
}

fn names(node: &Node, asked: &[String]) -> Result<BTreeSet<CredentialName>, Failure> {
    asked.iter().map(|name| find(node, name)).collect()
}

/// kubeadm's names are as good as ours.
fn find(node: &Node, name: &str) -> Result<CredentialName, Failure> {
    let all = &node.catalog.credentials;
    let is = |candidate: &CredentialName| candidate.as_str() == name;
    let found = all.iter().find(|one| is(&one.name) || one.kubeadm_name.as_ref().is_some_and(is));
    found.map(|one| one.name.clone()).ok_or_else(|| {
        let known = all.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
        Failure::UnknownName { name: name.to_owned(), known }
    })
}

/// What a dry run says.
pub(super) fn preview(credentials: &[Judged], plan: &Plan, request: &Request) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let _ = match (&step.action, step.terms) {
            (Action::Repair, Some(terms)) => {
                writeln!(text, "{}  {}, until {}: {}", paint(SOON, "would repair"), step.credential, date(terms.not_after), step.reason)
            }
            (_, Some(terms)) => {
                writeln!(text, "{}   {}, until {}: {}", paint(SOON, "would renew"), step.credential, date(terms.not_after), step.reason)
            }
            (_, None) => writeln!(text, "{}     {}", label(step), said(step)),
        };
    }
    text += &untouched(credentials, plan, request);
    if plan.issuing().count() == 0 {
        text += "Nothing to renew.\n";
    }
    text
}

/// What was asked for by name and is left as it is.
fn untouched(credentials: &[Judged], plan: &Plan, request: &Request) -> String {
    let asked = credentials.iter().filter(|judged| request.only.contains(&judged.facts.credential.name));
    let left = asked.filter(|judged| plan.steps.iter().all(|step| step.credential != judged.facts.credential.name));
    let advice = if request.force { "" } else { "; --force renews it all the same" };
    left.map(|judged| format!("{}     {}: {}{advice}\n", paint(PLAIN, "untouched"), judged.facts.credential.name, judged.judgement.reason))
        .collect()
}

/// What a pass says: recovery first, then every step, then what is left for the operator.
pub(super) fn show(node: &Node, report: &Report, request: &Request) -> String {
    let mut text = recovery(report);
    for step in &report.plan.steps {
        let _ = match report.results.iter().find(|(name, _)| *name == step.credential) {
            Some((name, Ok(renewed))) => {
                writeln!(text, "{}     {name} until {}: {}", paint(GOOD, "renewed"), date(renewed.not_after), step.reason)
            }
            Some((name, Err(e))) => writeln!(text, "{}      {name}: {e}", paint(BAD, "failed")),
            None => writeln!(text, "{}     {}", label(step), said(step)),
        };
    }
    text += &untouched(&report.before.credentials, &report.plan, request);
    for note in &report.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text + &summary(node, report)
}

fn label(step: &Step) -> String {
    match step.action {
        Action::Error => paint(BAD, "problem"),
        _ => paint(SOON, "skipped"),
    }
}

fn said(step: &Step) -> String {
    format!("{}: {}", step.credential, step.reason)
}

fn recovery(report: &Report) -> String {
    let recovered = &report.recovered;
    let mut text = String::new();
    for name in &recovered.finished {
        let _ = writeln!(text, "{}    {name}: its renewal was cut short earlier, and is complete now", paint(GOOD, "finished"));
    }
    for name in &recovered.dropped {
        let _ = writeln!(
            text,
            "{}     {name}: its renewal was cut short earlier, and somebody else has changed its files since: left as they are",
            paint(SOON, "skipped")
        );
    }
    for note in &recovered.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text
}

fn summary(node: &Node, report: &Report) -> String {
    let renewed: Vec<&Renewed> = report.results.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
    if report.plan.steps.is_empty() {
        return "Nothing to renew.\n".to_owned();
    }
    let mut text = format!("\n{} renewed", count(renewed.len(), "credential"));
    match troubles(report) {
        0 => text += ".\n",
        troubles => text += &format!(", {troubles} not.\n"),
    }
    text + &restarts(node, &renewed)
}

/// Services that read a renewed credential only when they start.
fn restarts(node: &Node, renewed: &[&Renewed]) -> String {
    let is_renewed = |name: &CredentialName| renewed.iter().any(|renewed| renewed.credential == *name);
    let mut text = String::new();
    for service in &node.catalog.services {
        let runs = !matches!(service.kind, ServiceKind::StaticPod { manifest: None, .. });
        let stale: Vec<_> = service
            .uses
            .iter()
            .filter(|one| one.takes != Takes::Reloads && is_renewed(&one.credential))
            .map(|one| one.credential.to_string())
            .collect();
        if runs && !stale.is_empty() {
            let _ = writeln!(text, "{} has to be restarted to use the new {}.", service.name, stale.join(" and "));
        }
    }
    text
}

fn troubles(report: &Report) -> usize {
    let errors = report.plan.steps.iter().filter(|step| step.action == Action::Error).count();
    let failed = report.results.iter().filter(|(_, result): &&(CredentialName, Result<Renewed, PassError>)| result.is_err()).count();
    errors + failed
}

fn exit(report: &Report) -> Exit {
    let renewed = report.results.iter().any(|(_, result)| result.is_ok());
    match (troubles(report), renewed) {
        (0, _) => Exit::Fine,
        (_, true) => Exit::Partly,
        (_, false) => Exit::Failed,
    }
}
