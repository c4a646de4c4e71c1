//! The screen of `kubecertd ca rotate status`: how many nodes have which level, what is waited for,
//! and what can be ordered now.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;

use super::roots::roots;
use crate::cli::check::section;
use crate::cli::out::{BAD, GOOD, PLAIN, SOON, columns, paint};
use crate::cli::words::date;
use crate::formats::rotation_intent::RotationIntent;
use crate::model::{Agreement, NodeRole, RotationLevel, Timestamp};
use crate::pass::rotation::order::{Order, Standing, offered};
use crate::pass::rotation::{NodeStanding, WaitReason};
use crate::plan::remaining;

#[cfg(test)]
mod tests;

/// The width of a bar.
const BAR: usize = 24;

/// The most nodes that are named in one line, and the width that their names take at most.
const MAX_NAMES: usize = 5;
const MAX_NAMES_WIDTH: usize = 32;

/// The most objects of the API that are shown.
const MAX_OBJECTS: usize = 5;

/// Formats the whole screen.
pub(super) fn screen(standing: &Standing, now: Timestamp) -> String {
    let Standing { intent, nodes, objects } = standing;
    let way = Way::of(standing);
    let mut text = format!("{}, {}\n\n", way.headline(), date(now));
    text += &facts(intent, now);
    let _ = write!(text, "\n{}", way.levels());
    let waited = waited(intent, nodes, now);
    if !waited.is_empty() {
        let heading = ["WAITED FOR", "LAST REPORT", "WHY"];
        let _ = write!(text, "\n{}", columns(&heading, &waited));
    }
    text += &section("Objects of the API that are waited for", &first_objects(objects));
    let orders: Vec<_> = offered(intent).iter().map(|order| (PLAIN, row(order, intent))).collect();
    if !orders.is_empty() {
        let _ = write!(text, "\n{}", columns(&["POSSIBLE NOW", "EFFECT"], &orders));
    }
    text
}

/// What does not change with each pass.
fn facts(intent: &RotationIntent, now: Timestamp) -> String {
    let ago = |time: Timestamp| remaining(now, time.min(now));
    let mut text = roots(intent);
    let RotationIntent { started, operator, goal, .. } = intent;
    let _ = writeln!(text, "Started:      {} by {operator}, {}", date(*started), ago(*started));
    let _ = match (goal, intent.is_stepwise) {
        (RotationLevel::Rest, _) => writeln!(text, "Goal:         every level is undone"),
        (_, true) => writeln!(text, "Goal:         level {goal}; each level is ordered"),
        (_, false) => writeln!(text, "Goal:         level {goal}"),
    };
    if let Some(reason) = &intent.paused {
        let _ = writeln!(text, "{}       {reason}", paint(SOON, "Paused:"));
    }
    if !intent.without.is_empty() {
        let names: Vec<_> = intent.without.iter().map(String::as_str).collect();
        let _ = writeln!(text, "Left out:     {}", first_names(&names));
    }
    text
}

/// How far the nodes are on the way.
struct Way<'w> {
    intent: &'w RotationIntent,
    nodes: &'w [NodeStanding],
    /// How many nodes are done with the present agreement.
    done: usize,
    /// Whether anything is waited for.
    is_waiting: bool,
    /// Whether an operator has to see to something.
    is_blocked: bool,
}

/// How far the nodes are with a level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LevelState {
    /// All nodes have it.
    Reached,
    /// They have it, and are asked once more before the next one.
    Confirmed,
    /// They go to it.
    UnderWay,
    /// They have it, or parts of it, until they are done.
    Undone,
    /// They will go to it.
    Ahead,
    /// An order comes before.
    NotOrdered,
}

impl<'w> Way<'w> {
    fn of(Standing { intent, nodes, objects, .. }: &'w Standing) -> Self {
        let is_block = |one| matches!(one, WaitReason::NoReport | WaitReason::Held(_));
        let reasons = || nodes.iter().filter_map(|node| node.wait_reason(intent));
        Self {
            intent,
            nodes,
            done: nodes.iter().filter(|node| node.is_done(intent)).count(),
            is_waiting: reasons().next().is_some() || !objects.is_empty(),
            is_blocked: reasons().any(is_block),
        }
    }

    fn agreement(&self) -> Agreement {
        self.intent.agreement
    }

    fn all_are_done(&self) -> bool {
        self.done == self.nodes.len() && !self.nodes.is_empty()
    }

    /// Whether the nodes are asked once more. While they are paused they don't answer.
    fn is_being_confirmed(&self) -> bool {
        self.intent.paused.is_none() && !self.all_are_done()
    }

    /// Whether nothing is to be done by any node.
    fn is_at_goal(&self) -> bool {
        let Agreement { from, to, .. } = self.agreement();
        from == to && to == self.intent.goal && self.all_are_done() && !self.is_waiting
    }

    /// How far they are, in one line.
    fn headline(&self) -> String {
        let Agreement { from, to, .. } = self.agreement();
        let (done, all) = (self.done, self.nodes.len());
        let (style, line) = match () {
            () if self.intent.paused.is_some() && from == to => {
                (SOON, format!("Paused at level {to}"))
            }
            () if self.intent.paused.is_some() => {
                (SOON, format!("Paused on the way from level {from} to level {to}"))
            }
            () if self.is_at_goal() && to == RotationLevel::Servers => {
                (GOOD, "All certificates are of the new root CA".to_owned())
            }
            () if self.is_at_goal() && to == RotationLevel::Rest => {
                (GOOD, "All levels are undone".to_owned())
            }
            () if self.is_at_goal() => (GOOD, format!("All nodes have level {to}")),
            () => {
                let line = match (from == to, to < from) {
                    (true, _) => format!("{done} of {all} nodes have confirmed level {to}"),
                    (_, false) => format!("{done} of {all} nodes have level {to}"),
                    (_, true) => format!("{done} of {all} nodes have undone level {from}"),
                };
                (if self.is_blocked { BAD } else { SOON }, line)
            }
        };
        paint(style.bold(), &line)
    }

    /// Lists the levels, each with the nodes that have it.
    fn levels(&self) -> String {
        let roles: Vec<_> = [NodeRole::ControlPlane, NodeRole::Worker]
            .into_iter()
            .filter(|role| self.nodes.iter().any(|node| node.role == *role))
            .collect();
        let mut heading = vec!["LEVEL", "NODES"];
        heading.extend(roles.iter().map(|role| match role {
            NodeRole::ControlPlane => "CONTROL PLANE",
            NodeRole::Worker => "WORKERS",
        }));
        heading.push("STATE");
        let rows: Vec<_> = shown_levels(self.intent)
            .into_iter()
            .map(|level| {
                let state = self.state_of(level);
                let mut cells = vec![level.to_string(), self.bar(level)];
                cells.extend(roles.iter().map(|role| self.count_of(level, *role)));
                cells.push(self.words(level, state));
                (self.style(level), cells)
            })
            .collect();
        columns(&heading, &rows)
    }

    fn state_of(&self, level: RotationLevel) -> LevelState {
        let Agreement { from, to, .. } = self.agreement();
        match () {
            () if level == to && from == to && self.is_being_confirmed() => LevelState::Confirmed,
            () if level <= from.min(to) => LevelState::Reached,
            () if level == to => LevelState::UnderWay,
            () if level == from => LevelState::Undone,
            () if level <= self.intent.goal => LevelState::Ahead,
            () => LevelState::NotOrdered,
        }
    }

    /// Whether a node has a level, or on the way back parts of it; `None` while that is not known:
    /// a node that is paused does not find out.
    fn has(&self, node: &NodeStanding, level: RotationLevel) -> Option<bool> {
        let is_done = node.is_done(self.intent);
        let has = match self.state_of(level) {
            // One that joined meanwhile has to say so first.
            LevelState::Reached | LevelState::Confirmed => node.progress.is_some(),
            LevelState::UnderWay => is_done,
            LevelState::Undone => !is_done,
            LevelState::Ahead | LevelState::NotOrdered => return Some(false),
        };
        let is_on_the_way =
            matches!(self.state_of(level), LevelState::UnderWay | LevelState::Undone);
        (self.intent.paused.is_none() || !is_on_the_way).then_some(has)
    }

    /// The part of the nodes that have a level; empty while that is not known.
    fn bar(&self, level: RotationLevel) -> String {
        let known: Option<Vec<_>> = self.nodes.iter().map(|node| self.has(node, level)).collect();
        let Some(known) = known else { return String::new() };
        let have = known.iter().filter(|has| **has).count();
        let full = BAR.checked_mul(have).and_then(|part| part.checked_div(known.len()));
        let full = full.unwrap_or_default().min(BAR);
        "#".repeat(full) + &"-".repeat(BAR.saturating_sub(full))
    }

    /// `2 of 3`.
    fn count_of(&self, level: RotationLevel, role: NodeRole) -> String {
        let all = self.nodes.iter().filter(|node| node.role == role);
        let known: Option<Vec<_>> = all.map(|node| self.has(node, level)).collect();
        known.map_or_else(
            || "not known".to_owned(),
            |all| format!("{} of {}", all.iter().filter(|has| **has).count(), all.len()),
        )
    }

    fn style(&self, level: RotationLevel) -> Style {
        match self.state_of(level) {
            LevelState::Ahead | LevelState::NotOrdered => PLAIN,
            LevelState::Reached
                if self.nodes.iter().all(|node| self.has(node, level) == Some(true)) =>
            {
                GOOD
            }
            _ => SOON,
        }
    }

    fn words(&self, level: RotationLevel, state: LevelState) -> String {
        let is_back = self.intent.goal < level;
        let words = match state {
            LevelState::UnderWay | LevelState::Undone if self.intent.paused.is_some() => "paused",
            LevelState::Reached if is_back => "to be undone",
            LevelState::Reached => "reached",
            LevelState::Confirmed => "being confirmed",
            LevelState::UnderWay => "under way",
            LevelState::Undone => "being undone",
            LevelState::Ahead if level == self.intent.goal => "goal",
            LevelState::Ahead => "ahead",
            LevelState::NotOrdered if self.intent.goal == RotationLevel::Rest => "-",
            LevelState::NotOrdered if level == RotationLevel::Distrusted => "after `complete`",
            LevelState::NotOrdered => "after `step`",
        };
        words.to_owned()
    }
}

/// The levels that are shown.
fn shown_levels(intent: &RotationIntent) -> Vec<RotationLevel> {
    if intent.is_renewal() {
        return vec![RotationLevel::Renewed];
    }
    RotationLevel::ALL.into_iter().filter(|level| *level != RotationLevel::Rest).collect()
}

/// The nodes that are waited for, those with one reason in one row: first what an operator has to
/// see to, and first the control plane.
fn waited(
    intent: &RotationIntent,
    nodes: &[NodeStanding],
    now: Timestamp,
) -> Vec<(Style, Vec<String>)> {
    let mut groups = BTreeMap::<(WaitReason, NodeRole), Vec<&NodeStanding>>::new();
    let is_paused =
        |reason: &WaitReason| intent.paused.is_some() && *reason == WaitReason::OnItsWay;
    for node in nodes {
        if let Some(reason) = node.wait_reason(intent).filter(|reason| !is_paused(reason)) {
            groups.entry((reason, node.role)).or_default().push(node);
        }
    }
    let row = |((reason, _), nodes): (&(WaitReason, NodeRole), &Vec<&NodeStanding>)| {
        let names: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
        let (style, why) = why(reason);
        (style, vec![first_names(&names), reports(nodes, now), why])
    };
    groups.iter().map(row).collect()
}

fn why(reason: &WaitReason) -> (Style, String) {
    match reason {
        WaitReason::NoReport => (BAD, "no report: does kubecertd run there?".to_owned()),
        WaitReason::Held(reason) => (BAD, reason.clone()),
        WaitReason::Waits(reason) => (SOON, reason.clone()),
        WaitReason::NotRead => (SOON, "the last change is not read yet".to_owned()),
        WaitReason::OnItsWay => (SOON, "on the way".to_owned()),
    }
}

/// When these nodes reported last: `2 minutes ago`, `2 to 9 minutes ago`, or `9 minutes to 3 hours
/// ago`.
fn reports(nodes: &[&NodeStanding], now: Timestamp) -> String {
    let times = || nodes.iter().filter_map(|node| Some(node.reported?.min(now)));
    let (Some(oldest), Some(newest)) = (times().min(), times().max()) else {
        return "-".to_owned();
    };
    let [oldest, newest] = [oldest, newest].map(|time| remaining(now, time));
    if oldest == newest {
        return oldest;
    }
    let newest = newest.trim_end_matches(" ago");
    match (newest.split_once(' '), oldest.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if other.trim_end_matches(" ago") == unit => {
            format!("{number} to {oldest}")
        }
        _ => format!("{newest} to {oldest}"),
    }
}

/// The first of these names, and how many there are beside them.
fn first_names(names: &[&str]) -> String {
    let mut text = String::new();
    let mut named: usize = 0;
    for name in names.iter().take(MAX_NAMES) {
        let separator = if text.is_empty() { "" } else { ", " };
        let width = text.len().saturating_add(separator.len()).saturating_add(name.len());
        if named > 0 && width > MAX_NAMES_WIDTH {
            break;
        }
        text = text + separator + name;
        named = named.saturating_add(1);
    }
    match names.len().saturating_sub(named) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn first_objects(objects: &[String]) -> Vec<String> {
    let more = objects.len().saturating_sub(MAX_OBJECTS);
    let more = (more > 0).then(|| format!("and {more} more"));
    objects.iter().take(MAX_OBJECTS).cloned().chain(more).collect()
}

/// An order, and what comes of it.
fn row(order: &Order, intent: &RotationIntent) -> Vec<String> {
    let (word, effect) = match order {
        Order::Pause(_) => {
            ("pause REASON", "no node changes anything until it is resumed".to_owned())
        }
        Order::Resume => ("resume", "the nodes go on".to_owned()),
        Order::Step => {
            let next = intent.goal.towards(RotationLevel::Servers);
            ("step", format!("the nodes go to level {next}"))
        }
        Order::Back if intent.is_renewal() => {
            ("back", "the old certificate is put in place again".to_owned())
        }
        Order::Back => ("back", "the nodes undo every level".to_owned()),
        Order::Complete => {
            ("complete", "the old root CA is trusted no more, and it ends".to_owned())
        }
    };
    vec![format!("kubecertd ca rotate {word}"), effect]
}
