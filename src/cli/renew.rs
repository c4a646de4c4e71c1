//! `kubecertd renew`: renews the due certificates, and prints the result for each credential.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use super::arguments::RenewOptions;
use super::check::section;
use super::exit::{self, count_failures};
use super::out::{self, BAD, GOOD, PLAIN, SOON};
use super::words::{self, count, date};
use super::{Exit, Failure};
use crate::act::{Copied, Renewed};
use crate::drivers::timedate;
use crate::model::{
    Action, CredentialName, Deferral, SanChange, Service, ServiceKind, ServiceName, Takes,
    Timestamp,
};
use crate::observe::Node;
use crate::pass::{self, Orders, PassError, Preview, Report};
use crate::plan::{ConfigurationCheck, Judged, Plan, Request, Step, Trigger};
use crate::report::AlarmLedger;
use crate::report::alarms::{PassView, update_after_pass};
use crate::report::nodes::{ReportedPass, exchange};
use crate::sys::Clock;

pub(super) fn run(node: &Node, options: &RenewOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let request = request(node, options)?;
    let synchronised = timedate::synchronised_now(timedate::LIMIT);
    let (stop, progress) = (AtomicBool::new(false), &out::progress);
    let orders = Orders {
        request: &request,
        trigger: Trigger::Asked,
        clock,
        synchronised,
        trust_clock: options.trust_clock,
        reasons: &[],
        remember: None,
        stop: &stop,
        progress,
        emit: &|_| {},
    };
    if options.dry_run {
        out::print(&preview(node, &pass::preview(node, &orders), &request));
        return Ok(Exit::Fine);
    }
    let made = pass::run(node, &orders);
    alarms(node, &orders, &made, clock);
    let report = made?;
    out::print(&show(node, &report, &request));
    report_to_cluster(node, &report, clock);
    Ok(exit::of_renew(&report, &request))
}

fn request(node: &Node, options: &RenewOptions) -> Result<Request, Failure> {
    let change = SanChange { add: options.add_san.clone(), remove: options.remove_san.clone() };
    let only = names(node, &options.names)?;
    if !change.is_empty() && only.len() != 1 {
        return Err(Failure::Request(
            "--add-san and --remove-san are for one credential: kubecertd renew NAME --add-san SAN"
                .to_owned(),
        ));
    }
    Ok(Request {
        only,
        force: options.force || !change.is_empty(),
        allow_shorter: options.allow_shorter,
        include_long_expired: options.include_long_expired,
        names: change,
    })
}

/// Updates the alarm state. The daemon delivers new alarms at its next pass, which the changed
/// files start.
fn alarms(node: &Node, orders: &Orders<'_>, made: &Result<Report, PassError>, clock: &dyn Clock) {
    let settle = |made| {
        update_after_pass(
            &AlarmLedger::default(),
            node,
            made,
            orders.request,
            ConfigurationCheck::NotChecked,
            clock.now(),
        )
    };
    let new_alarms = match made {
        Ok(report) => settle(PassView::Made(report)),
        // This node is not supported, so it has no alarms.
        Err(PassError::Platform) => return,
        Err(error) => settle(PassView::NotMade(error, &pass::preview(node, orders))),
    };
    new_alarms.notes.iter().for_each(|note| out::print_error(note));
}

/// Has the cluster know the result. A failure is no failure of the renewal, and the daemon reports
/// its own.
fn report_to_cluster(node: &Node, report: &Report, clock: &dyn Clock) {
    let (survey, began) = (report.at_end(), report.before.now);
    let pass = ReportedPass::new(survey, Some(report), began, report.failed());
    let exchanged = exchange(node, &pass, &AlarmLedger::default(), clock);
    exchanged.trouble.iter().for_each(|trouble| tracing::debug!("{trouble}"));
}

pub(super) fn names(node: &Node, asked: &[String]) -> Result<BTreeSet<CredentialName>, Failure> {
    asked.iter().map(|name| find(node, name)).collect()
}

/// Accepts kubeadm's names, too.
fn find(node: &Node, name: &str) -> Result<CredentialName, Failure> {
    let all = &node.catalog.credentials;
    let is = |candidate: &CredentialName| candidate.as_str() == name;
    let found = all.iter().find(|one| is(&one.name) || one.kubeadm_name.as_ref().is_some_and(is));
    found.map(|one| one.name.clone()).ok_or_else(|| {
        let known = all.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
        Failure::UnknownName { name: name.to_owned(), known }
    })
}

/// Formats the result of a dry run.
pub(super) fn preview(node: &Node, preview: &Preview, request: &Request) -> String {
    let Preview { survey, plan, deferred, membership, .. } = preview;
    let row = |step: &Step| match (step.action, step.terms) {
        (Action::Copy, _) => line(SOON, "would copy", &step.credential, None, &step.reason),
        (Action::Make, Some(terms)) => {
            line(SOON, "would make", &step.credential, Some(terms.not_after), &step.reason)
        }
        (Action::Repair, Some(terms)) => {
            line(SOON, "would repair", &step.credential, Some(terms.not_after), &step.reason)
        }
        (_, Some(terms)) => {
            line(SOON, "would renew", &step.credential, Some(terms.not_after), &step.reason)
        }
        (_, None) => plain_row(step),
    };
    let mut rows: Vec<_> = plan.steps.iter().map(row).collect();
    rows.extend(deferred.iter().map(deferred_row));
    rows.extend(untouched_rows(&survey.credentials, plan, deferred, request));
    let copies = plan.steps.iter().filter(|step| step.action == Action::Copy).count();
    let end = match (plan.issuing().count(), copies) {
        (0, 0) => "Nothing to renew.\n".to_owned(),
        (count, 0) => format!(
            "\n{} would be renewed; nothing was changed.\n",
            words::count(count, "credential")
        ),
        (count, copies) => format!(
            "\n{} would be renewed, and {} updated; nothing was changed.\n",
            words::count(count, "credential"),
            words::copies(copies)
        ),
    };
    let note = membership.iter().map(|finding| format!("note: {}\n", finding.text));
    table(&rows) + &note.collect::<String>() + &end + &section("Services", &effects(node, plan))
}

/// What the services that use the credentials of a plan would be made to do, a line for each.
fn effects(node: &Node, plan: &Plan) -> Vec<String> {
    let replaces = |step: &&Step| step.terms.is_some() || step.action == Action::Copy;
    let names: BTreeSet<_> =
        plan.steps.iter().filter(replaces).map(|step| &step.credential).collect();
    let uses: Vec<_> = services_that(node, &|name| names.contains(name)).collect();
    let of_service = |uses: &[(&ServiceName, &CredentialName, Takes)]| {
        let (service, ..) = uses.first()?;
        let effect = |wanted: Takes, say: &dyn Fn(&str) -> String| {
            let named = uses.iter().filter(|(_, _, takes)| *takes == wanted);
            let names: Vec<_> = named.map(|(_, name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| say(&names.join(", ")))
        };
        let effects = [
            effect(Takes::Restart, &|names| format!("would be restarted, for {names}")),
            effect(Takes::NewConnections, &|names| {
                format!("connections with the old {names} would be closed before it expires")
            }),
            effect(Takes::Reloads, &|names| format!("reloads {names} by itself")),
            effect(Takes::ByHand, &|names| {
                format!("uses {names}; restart it by hand unless it reloads it")
            }),
        ];
        let effects: Vec<_> = effects.into_iter().flatten().collect();
        Some(format!("{}: {}", out::paint(SOON, service.as_str()), effects.join("; ")))
    };
    // The uses of one service come one after the other.
    uses.chunk_by(|one, next| one.0 == next.0).filter_map(of_service).collect()
}

/// Formats the result of a pass: recovery first, then every step, then the work left for the
/// operator.
pub(super) fn show(node: &Node, report: &Report, request: &Request) -> String {
    let row = |step: &Step| match report.results.iter().find(|(name, _)| *name == step.credential) {
        Some((name, Ok(renewed))) => {
            line(GOOD, "renewed", name, Some(renewed.not_after), &step.reason)
        }
        Some((name, Err(e))) => line(BAD, "failed", name, None, &e.to_string()),
        None if step.action == Action::Copy => copy_row(report, step),
        None => plain_row(step),
    };
    let mut rows = recovery(report);
    rows.extend(report.plan.steps.iter().map(row));
    rows.extend(unplanned_rows(report));
    let is_planned =
        |name: &CredentialName| report.plan.steps.iter().any(|step| step.credential == *name);
    rows.extend(
        report
            .copies
            .iter()
            .filter(|(name, _)| !is_planned(name))
            .map(|one| copied_row(one, "follows its original")),
    );
    rows.extend(report.deferred.iter().map(deferred_row));
    rows.extend(untouched_rows(
        &report.before.credentials,
        &report.plan,
        &report.deferred,
        request,
    ));
    let notes = node
        .remarks()
        .chain(&report.recovered.notes)
        .chain(&report.notes)
        .chain(report.membership.iter().map(|finding| &finding.text))
        .map(|note| format!("note: {note}\n"));
    table(&rows) + &notes.collect::<String>() + &summary(node, report) + &services(report)
}

/// Formats the results of the services, the deferrals, and the notes for the operator.
pub(super) fn services(report: &Report) -> String {
    let outcomes = report.services.outcomes.iter().map(|outcome| match &outcome.result {
        Ok(refreshed) => format!("{}: {refreshed}", out::paint(GOOD, outcome.service.as_str())),
        Err(e) => format!("{}: {e}", out::paint(BAD, outcome.service.as_str())),
    });
    let found = &report.services.found;
    let waiting = found.steps.iter().filter_map(|step| {
        let waits = step.waits.as_ref()?;
        Some(format!(
            "{}: refresh deferred: it {}; {waits}",
            out::paint(SOON, step.service.as_str()),
            step.reason
        ))
    });
    let findings = found.findings.iter().map(ToString::to_string);
    let notes = found.notes.iter().map(|note| format!("note: {note}"));
    section("Services", &outcomes.chain(waiting).chain(findings).chain(notes).collect::<Vec<_>>())
}

type Row = (anstyle::Style, Vec<String>);

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        out::columns(&["RESULT", "CREDENTIAL", "VALID UNTIL", "WHY"], rows)
    }
}

fn line(
    style: anstyle::Style,
    result: &str,
    name: &CredentialName,
    until: Option<Timestamp>,
    why: &str,
) -> Row {
    (
        style,
        vec![
            result.to_owned(),
            name.to_string(),
            until.map(date).unwrap_or_default(),
            why.to_owned(),
        ],
    )
}

/// Formats a step that issues nothing.
fn plain_row(step: &Step) -> Row {
    let (style, result) =
        if step.action == Action::Error { (BAD, "problem") } else { (PLAIN, "left alone") };
    line(style, result, &step.credential, None, &step.reason)
}

/// Formats the result of a copy: none, where its original did not change after all.
fn copy_row(report: &Report, step: &Step) -> Row {
    match report.copies.iter().find(|(name, _)| *name == step.credential) {
        Some(one) => copied_row(one, &step.reason),
        None => line(
            PLAIN,
            "left alone",
            &step.credential,
            None,
            "its original is unchanged, so there is nothing to copy",
        ),
    }
}

fn copied_row((name, result): &Copied, why: &str) -> Row {
    match result {
        Ok(renewed) => line(GOOD, "copied", name, Some(renewed.not_after), why),
        Err(e) => line(BAD, "failed", name, None, &e.to_string()),
    }
}

/// Formats a due renewal that is deferred.
fn deferred_row(deferred: &Deferral) -> Row {
    line(SOON, "deferred", &deferred.credential, None, &deferred.to_string())
}

/// Formats the named credentials that are left as they are.
fn untouched_rows(
    credentials: &[Judged],
    plan: &Plan,
    deferred: &[Deferral],
    request: &Request,
) -> Vec<Row> {
    let planned: BTreeSet<_> = plan
        .steps
        .iter()
        .map(|step| &step.credential)
        .chain(deferred.iter().map(|one| &one.credential))
        .collect();
    let asked =
        credentials.iter().filter(|judged| request.only.contains(&judged.facts.credential.name));
    let left = asked.filter(|judged| !planned.contains(&judged.facts.credential.name));
    let advice = if request.force { "" } else { "; --force renews it anyway" };
    left.map(|judged| {
        line(
            PLAIN,
            "left alone",
            &judged.facts.credential.name,
            None,
            &format!("{}{advice}", judged.judgement.reason),
        )
    })
    .collect()
}

/// Formats failures of certificates that an earlier pass installed.
fn unplanned_rows(report: &Report) -> impl Iterator<Item = Row> {
    let planned =
        |name: &CredentialName| report.plan.steps.iter().any(|step| step.credential == *name);
    let failed = report.results.iter().filter(move |(name, _)| !planned(name));
    failed.filter_map(|(name, result)| {
        Some(line(BAD, "failed", name, None, &result.as_ref().err()?.to_string()))
    })
}

fn recovery(report: &Report) -> Vec<Row> {
    const FINISHED: &str = "its interrupted renewal was completed";
    const DROPPED: &str = "its renewal was interrupted, and another program has changed its files \
        since: they are left as they are";
    let finished =
        report.recovered.finished.iter().map(|name| line(GOOD, "finished", name, None, FINISHED));
    let dropped =
        report.recovered.dropped.iter().map(|name| line(SOON, "left alone", name, None, DROPPED));
    finished.chain(dropped).collect()
}

fn summary(node: &Node, report: &Report) -> String {
    let renewed: Vec<&Renewed> =
        report.results.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
    if report.plan.steps.is_empty()
        && report.deferred.is_empty()
        && report.services.outcomes.is_empty()
    {
        return "Nothing to renew.\n".to_owned();
    }
    let mut text = format!("\n{} renewed", count(renewed.len(), "credential"));
    let copied = report.copies.iter().filter(|(_, result)| result.is_ok()).count();
    if copied > 0 {
        let _ = write!(text, ", {} updated", words::copies(copied));
    }
    if !report.deferred.is_empty() {
        let _ = write!(text, ", {} deferred", report.deferred.len());
    }
    match count_failures(report) {
        0 => text += ".\n",
        failures => text += &format!(", {failures} not.\n"),
    }
    if node.root.is_host() { text } else { text + &pending_refreshes(node, &renewed) }
}

/// On another root directory no service runs that could be refreshed: lists the work for the
/// running node.
fn pending_refreshes(node: &Node, renewed: &[&Renewed]) -> String {
    let line = |(service, credential, takes)| match takes {
        Takes::Reloads => None,
        Takes::NewConnections => Some(format!(
            "{service} uses the new {credential} for new connections only: restart it before the \
             old one expires.\n"
        )),
        Takes::Restart => {
            Some(format!("{service} reads {credential} only when it starts: restart it.\n"))
        }
        Takes::ByHand => Some(by_hand(service, credential)),
    };
    services_that(node, &|name| renewed.iter().any(|renewed| renewed.credential == *name))
        .filter_map(line)
        .collect()
}

/// The line for a static pod that the configuration does not list.
pub(super) fn by_hand(service: &ServiceName, credential: &CredentialName) -> String {
    format!(
        "The static pod {service} uses {credential}, and kubecertd does not restart it: restart \
         it by hand, unless it reloads the file by itself.\n"
    )
}

/// Returns the services that run here and use one of these credentials, and how each is refreshed.
pub(super) fn services_that<'n>(
    node: &'n Node,
    is_one: &dyn Fn(&CredentialName) -> bool,
) -> impl Iterator<Item = (&'n ServiceName, &'n CredentialName, Takes)> {
    let runs =
        |service: &&Service| !matches!(service.kind, ServiceKind::StaticPod { manifest: None, .. });
    let uses = |service: &'n Service| {
        service.uses.iter().map(|one| (&service.name, &one.credential, one.takes))
    };
    let all = node.catalog.services.iter().chain(&node.catalog.by_hand);
    let found = all.filter(runs).flat_map(uses);
    found.filter(|(_, credential, _)| is_one(credential)).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::common::trees::copy;
    use crate::model::{MembershipFinding, MembershipVerdict};
    use crate::observe::Config;
    use crate::sys::{FixedClock, Root};

    #[test]
    fn dry_run_shows_what_the_other_members_say() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc");
        copy(&tree, &dir.path().join("etc"));
        let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
        let request = Request::default();
        let clock = FixedClock(Timestamp::from_seconds(1_861_920_000));
        let stop = AtomicBool::new(false);
        let orders = Orders::asked(&request, &clock, &stop);
        let mut found = pass::preview(&node, &orders);
        assert!(!preview(&node, &found, &request).contains("note: "));
        let text = "2 of the other 2 members of etcd list this node's member".to_owned();
        let verdict = MembershipVerdict::Belongs;
        found.membership = Some(MembershipFinding { verdict, text, may_change: true });
        let shown = preview(&node, &found, &request);
        assert!(
            shown.contains("\nnote: 2 of the other 2 members of etcd list this node's member\n"),
            "{shown}"
        );
    }
}
