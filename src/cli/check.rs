//! `kubecertd check`: every certificate, how long it is valid, and the action that is due.

use std::fmt::Write as _;

use super::arguments::{CheckOptions, Format};
use super::out::{self, BAD, HEADING, PLAIN, SOON, paint};
use super::words::{copies, count, date, left, style};
use super::{Exit, Failure, json, services};
use crate::credentials::ObservedFiles;
use crate::model::{
    Action, AuthorityCondition, AuthorityFacts, AuthorityJudgement, Condition, CredentialFacts,
    TrustCondition, TrustFacts, TrustJudgement,
};
use crate::observe::{Node, Platform};
use crate::pass::services::look;
use crate::pass::{Survey, survey_observed};
use crate::plan::{Judged, with_names};
use crate::sys::Clock;

pub(super) fn run(
    node: &Node,
    files: &ObservedFiles,
    options: &CheckOptions,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let now = options.at.unwrap_or_else(|| clock.now());
    let survey = survey_observed(node, files, now);
    match options.output {
        Format::Table => out::print(&table(node, &survey)),
        Format::Wide => {
            let services = look(node, clock, &survey);
            out::print(&format!("{}\n{}", services::table(&services), table(node, &survey)));
            out::print(&section("Services that need attention", &services::attention(&services)));
            return Ok(if services::all_current(&services) {
                exit(node, &survey)
            } else {
                Exit::Attention
            });
        }
        Format::Json => out::print(&json::render(node, &survey)),
    }
    Ok(exit(node, &survey))
}

/// The exit code: whether a certificate or a manifest needs attention.
pub(super) fn exit(node: &Node, survey: &Survey) -> Exit {
    let credentials = survey.credentials.iter().any(|judged| judged.judgement.attention);
    let authorities = survey.authorities.iter().any(|(_, judgement)| judgement.attention);
    let trust = survey.trust.iter().any(|(_, judgement)| judgement.attention);
    if credentials || authorities || trust || !survey.lacking.is_empty() || !node.unclear.is_empty()
    {
        Exit::Attention
    } else {
        Exit::Fine
    }
}

/// Formats the tables, the items that need attention, and a summary.
pub(super) fn table(node: &Node, survey: &Survey) -> String {
    let mut text = credentials(survey);
    text += "\n";
    text += &authorities(survey);
    if !survey.trust.is_empty() {
        text += "\n";
        text += &trust(survey);
    }
    text += &section("Needs attention", &attention(node, survey));
    text += &section("Notes", &notes(node, survey));
    let _ = writeln!(text, "\n{}", summary(node, survey));
    text
}

fn credentials(survey: &Survey) -> String {
    let row = |judged: &Judged| {
        let Judged { facts, judgement, .. } = judged;
        let end = facts.material.leaf().map(|leaf| leaf.not_after);
        let cells = vec![
            facts.credential.name.to_string(),
            end.map_or_else(|| "-".to_owned(), date),
            end.map_or_else(|| "-".to_owned(), |end| left(survey.now, end)),
            authority(facts),
            judgement.condition.to_string(),
            action(judgement.action).to_owned(),
        ];
        (style(judgement.condition, judgement.attention), cells)
    };
    let rows: Vec<_> = survey.credentials.iter().map(row).collect();
    out::columns(&["CREDENTIAL", "EXPIRES", "LEFT", "CA", "STATE", "TO DO"], &rows)
}

fn authority(facts: &CredentialFacts) -> String {
    match (&facts.credential.authority, facts.credential.copy_of()) {
        (_, Some(of)) => format!("as {}", of.original),
        (Some(authority), None) => authority.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Nothing => "",
        Action::Report => "see below",
        Action::Renew => "renew",
        Action::Copy => "copy",
        Action::Repair => "repair from backup",
        Action::Make => "make by the profile",
        Action::Error => "needs an operator",
    }
}

fn authorities(survey: &Survey) -> String {
    let row = |(facts, judgement): &(AuthorityFacts, AuthorityJudgement)| {
        let end = facts.state.certificate(survey.now).map(|certificate| certificate.not_after);
        let cells = vec![
            facts.authority.name.to_string(),
            end.map_or_else(|| "-".to_owned(), date),
            end.map_or_else(|| "-".to_owned(), |end| left(survey.now, end)),
            judgement.condition.to_string(),
        ];
        (authority_style(judgement), cells)
    };
    let rows: Vec<_> = survey.authorities.iter().map(row).collect();
    out::columns(&["CA", "EXPIRES", "LEFT", "STATE"], &rows)
}

fn authority_style(judgement: &AuthorityJudgement) -> anstyle::Style {
    match judgement.condition {
        _ if judgement.attention => BAD,
        AuthorityCondition::Usable if judgement.reason.is_empty() => out::GOOD,
        AuthorityCondition::Usable => SOON,
        AuthorityCondition::Absent => out::QUIET,
        _ => PLAIN,
    }
}

/// The CA certificates by which kubeconfigs verify their servers.
fn trust(survey: &Survey) -> String {
    let row = |(facts, judgement): &(TrustFacts, TrustJudgement)| {
        let end = judgement.not_after;
        let listed = match &facts.certificates {
            Ok(all) if all.is_empty() => "-",
            Ok(all) if all.iter().all(|one| one.is_listed) => "yes",
            Ok(_) => "no",
            Err(_) => "-",
        };
        let cells = vec![
            facts.kubeconfig.to_string(),
            end.map_or_else(|| "-".to_owned(), date),
            end.map_or_else(|| "-".to_owned(), |end| left(survey.now, end)),
            listed.to_owned(),
            judgement.condition.to_string(),
        ];
        let style = match judgement.condition {
            TrustCondition::ExpiresSoon => SOON,
            _ if judgement.attention => BAD,
            TrustCondition::Trusted => out::GOOD,
            _ => out::QUIET,
        };
        (style, cells)
    };
    let rows: Vec<_> = survey.trust.iter().map(row).collect();
    let compared = survey.trust.first().map(|(facts, _)| format!("IN {}", facts.authority));
    let compared = compared.unwrap_or_default().to_uppercase();
    out::columns(&["TRUSTED CAS OF", "EXPIRES", "LEFT", &compared, "STATE"], &rows)
}

pub(super) fn section(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "\n{}\n{}",
        paint(HEADING, title),
        lines.iter().map(|line| format!("  {line}\n")).collect::<String>()
    )
}

pub(super) fn attention(node: &Node, survey: &Survey) -> Vec<String> {
    let authorities = survey.authorities.iter().filter(|(_, judgement)| judgement.attention);
    let authorities = authorities.map(|(facts, judgement)| {
        format!("{}: {}", paint(BAD, facts.authority.name.as_str()), judgement.reason)
    });
    let credentials = survey.credentials.iter().filter(|judged| judged.judgement.attention);
    let credentials = credentials.map(|Judged { facts, judgement, .. }| {
        format!(
            "{}: {}",
            paint(style(judgement.condition, true), facts.credential.name.as_str()),
            judgement.reason
        )
    });
    let trust = survey.trust.iter().filter(|(_, judgement)| judgement.attention);
    let trust = trust.map(|(facts, judgement)| {
        format!("{}: {}", paint(BAD, &facts.kubeconfig.to_string()), judgement.reason)
    });
    let lacking = survey.lacking.iter().map(|(name, lacking)| {
        format!(
            "{}: it is not valid for {}: {}",
            paint(SOON, name.as_str()),
            lacking.join(", "),
            with_names(name, lacking)
        )
    });
    let unclear = node.unclear.iter().map(|manifest| manifest.reason.clone());
    authorities.chain(credentials).chain(trust).chain(lacking).chain(unclear).collect()
}

/// Notes for the operator that are no problems.
fn notes(node: &Node, survey: &Survey) -> Vec<String> {
    let platform = match node.platform {
        Platform::Plain => None,
        Platform::StarlingX => Some(crate::pass::PassError::Platform.to_string()),
    };
    let authorities = survey
        .authorities
        .iter()
        .filter(|(_, judgement)| !judgement.attention && !judgement.reason.is_empty());
    let authorities =
        authorities.filter(|(_, judgement)| judgement.condition != AuthorityCondition::Absent);
    let authorities = authorities
        .map(|(facts, judgement)| format!("{}: {}", facts.authority.name, judgement.reason));
    let calm = survey
        .credentials
        .iter()
        .filter(|judged| !judged.judgement.attention && judged.judgement.action == Action::Report);
    let calm =
        calm.map(|judged| format!("{}: {}", judged.facts.credential.name, judged.judgement.reason));
    let files = survey.credentials.iter().flat_map(|judged| {
        judged.facts.notes.iter().map(|note| format!("{}: {note}", judged.facts.credential.name))
    });
    platform
        .into_iter()
        .chain(node.notes.iter().cloned())
        .chain(authorities)
        .chain(calm)
        .chain(files)
        .collect()
}

pub(super) fn summary(node: &Node, survey: &Survey) -> String {
    let with = |wanted: fn(&Judged) -> bool| {
        survey.credentials.iter().filter(|judged| wanted(judged)).count()
    };
    let present = with(|judged| judged.judgement.condition != Condition::Absent);
    let renew = with(|judged| judged.judgement.action.issues());
    let copy = with(|judged| judged.judgement.action == Action::Copy);
    // A certificate that is renewed anyway, with its present names, is counted there.
    let lacking = survey.credentials.iter().filter(|judged| !judged.judgement.attention);
    let lacking =
        lacking.filter(|judged| survey.lacking.contains_key(&judged.facts.credential.name)).count();
    let operator =
        node.unclear.len() + lacking + with(|judged| judged.judgement.attention) - renew - copy
            + survey.authorities.iter().filter(|(_, judgement)| judgement.attention).count()
            + survey.trust.iter().filter(|(_, judgement)| judgement.attention).count();
    let mut text = format!("{} on this node", count(present, "credential"));
    text += &match renew {
        0 => ", none to renew".to_owned(),
        renew => format!(", {renew} to renew: run kubecertd renew"),
    };
    text += &match copy {
        0 => String::new(),
        copy => format!(", {} to update", copies(copy)),
    };
    match operator {
        0 => text + ".",
        operator => format!(
            "{text}; {} an operator.",
            if operator == 1 { "1 needs".to_owned() } else { format!("{operator} need") }
        ),
    }
}
