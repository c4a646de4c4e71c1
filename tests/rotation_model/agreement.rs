//! The protocol by which the nodes agree on a level: whatever a node has heard of, all of them are
//! at two neighbouring levels or between them, and make sure of each level before the next one.

use std::collections::BTreeSet;

use kubecertd::model::{Agreement, NodeProgress, RotationLevel};
use kubecertd::plan::next_agreement;

/// Something that goes from level to level: a node, or the objects of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The agreement that it has heard of.
    agreement: Agreement,
    is_done: bool,
    /// The levels at which it may be, or between which.
    low: RotationLevel,
    high: RotationLevel,
}

impl Member {
    /// It begins to work by an agreement.
    fn hear(self, agreement: Agreement) -> Self {
        let (low, high) = (self.low.min(agreement.to), self.high.max(agreement.to));
        Self { agreement, is_done: false, low, high }
    }

    fn finish(self) -> Self {
        let level = self.agreement.to;
        Self { is_done: true, low: level, high: level, ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    present: Agreement,
    nodes: [Member; 3],
    objects: Member,
    goal: RotationLevel,
    /// How often the goal may change yet.
    turns: u8,
}

type Next = fn(&Agreement, RotationLevel, &[NodeProgress], bool) -> Option<Agreement>;

/// No run of the model needs more of them.
const MAX_GENERATION: u64 = 100;

fn start() -> State {
    let rest = RotationLevel::Rest;
    let present = Agreement { generation: 0, from: rest, to: rest };
    let member = Member { agreement: present, is_done: true, low: rest, high: rest };
    State {
        present,
        nodes: [member; 3],
        objects: member,
        goal: RotationLevel::Distrusted,
        turns: 2,
    }
}

/// All states after one event: a node hears of the agreement or is done with what it has heard of,
/// the objects are, the coordinator goes on, or an operator has another goal. A node that is off is
/// one with which nothing happens.
fn next(state: &State, agree: Next) -> Vec<State> {
    let mut all = Vec::new();
    let member = |member: Member| {
        let heard = (member.agreement != state.present).then(|| member.hear(state.present));
        let done = (!member.is_done).then(|| member.finish());
        heard.into_iter().chain(done)
    };
    for index in 0..state.nodes.len() {
        for changed in member(state.nodes[index]) {
            let mut next = state.clone();
            next.nodes[index] = changed;
            // Which of them is which makes no difference.
            next.nodes.sort();
            all.push(next);
        }
    }
    all.extend(member(state.objects).map(|objects| State { objects, ..state.clone() }));
    let progress = state
        .nodes
        .map(|node| NodeProgress { generation: node.agreement.generation, is_done: node.is_done });
    let objects = state.objects.agreement == state.present && state.objects.is_done;
    let agreed = agree(&state.present, state.goal, &progress, objects);
    all.extend(agreed.map(|present| State { present, ..state.clone() }));
    if let Some(turns) = state.turns.checked_sub(1) {
        let goals = RotationLevel::ALL.into_iter().filter(|goal| *goal != state.goal);
        all.extend(goals.map(|goal| State { goal, turns, ..state.clone() }));
    }
    all
}

/// What is wrong in a state.
fn fault_of(state: &State) -> Option<&'static str> {
    let all = || state.nodes.iter().chain([&state.objects]);
    let low = all().map(|one| one.low).min()?;
    let high = all().map(|one| one.high).max()?;
    if low != high && low.towards(high) != high {
        return Some("they are apart");
    }
    (state.present.generation > MAX_GENERATION).then_some("no end of agreements")
}

/// What is wrong with a new agreement. Where it does not turn, all have heard of the present one
/// and are done with it; and between two levels they make sure of the first.
fn fault_between(state: &State, next: &Agreement) -> Option<&'static str> {
    let Agreement { generation, from, to } = state.present;
    if next.generation != generation + 1 {
        return Some("its generation is not the next");
    }
    if from != to && (next.from, next.to) == (to, from) {
        return None;
    }
    let is_done = |one: &Member| one.agreement == state.present && one.is_done;
    if !state.nodes.iter().chain([&state.objects]).all(is_done) {
        return Some("it does not wait");
    }
    let makes_sure = from != to && (next.from, next.to) == (to, to);
    let goes_on = from == to && next.from == to && next.to != to;
    (!makes_sure && !goes_on).then_some("not all have made sure")
}

/// The first state that is wrong, or in which nothing goes on though the goal is not reached. And
/// how many states there are.
fn fault(agree: Next) -> Result<usize, Box<(&'static str, State)>> {
    let (mut seen, mut open) = (BTreeSet::from([start()]), vec![start()]);
    while let Some(state) = open.pop() {
        if let Some(problem) = fault_of(&state) {
            return Err(Box::new((problem, state)));
        }
        let next = next(&state, agree);
        let changed = next.iter().map(|next| &next.present).find(|one| **one != state.present);
        if let Some(problem) = changed.and_then(|changed| fault_between(&state, changed)) {
            return Err(Box::new((problem, state)));
        }
        let is_still = state.turns == 0 && next.is_empty();
        if is_still && (state.present.to != state.goal || state.present.from != state.goal) {
            return Err(Box::new(("it is stuck", state)));
        }
        open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    Ok(seen.len())
}

#[test]
fn nodes_are_never_apart_by_more_than_one_level() {
    let states = fault(next_agreement).unwrap();
    println!("{states} states of the agreement");
    assert!(states > 5_000, "{states}");
}

/// Coordinators that do not wait, or do not turn, are caught.
#[test]
fn bad_coordinators_are_caught() {
    let heard_is_enough: Next = |present, goal, nodes, objects| {
        let done = nodes.iter().map(|node| NodeProgress { is_done: true, ..*node });
        next_agreement(present, goal, &done.collect::<Vec<_>>(), objects)
    };
    let done_is_enough: Next = |present, goal, nodes, objects| {
        let generation = present.generation;
        let heard = nodes.iter().map(|node| NodeProgress { generation, ..*node });
        next_agreement(present, goal, &heard.collect::<Vec<_>>(), objects)
    };
    let two_are_enough: Next =
        |present, goal, nodes, objects| next_agreement(present, goal, &nodes[1..], objects);
    let objects_are_left_out: Next =
        |present, goal, nodes, _| next_agreement(present, goal, nodes, true);
    let jumps: Next = |present, goal, nodes, objects| {
        next_agreement(present, goal, nodes, objects).map(|next| Agreement { to: goal, ..next })
    };
    let forgets_where_it_was: Next = |present, goal, nodes, objects| {
        let turned = next_agreement(present, goal, nodes, objects)?;
        let is_turn = turned.to == present.from && turned.from == present.to;
        Some(Agreement { from: if is_turn { turned.to } else { turned.from }, ..turned })
    };
    for (name, bad) in [
        ("heard is enough", heard_is_enough),
        ("done is enough", done_is_enough),
        ("two are enough", two_are_enough),
        ("objects are left out", objects_are_left_out),
        ("jumps", jumps),
        ("forgets where it was", forgets_where_it_was),
    ] {
        assert!(fault(bad).is_err(), "{name}");
    }
}

fn agreement(from: RotationLevel, to: RotationLevel) -> Agreement {
    Agreement { generation: 5, from, to }
}

#[test]
fn turn_needs_no_node_and_nothing_is_known_of_none() {
    use RotationLevel::{Clients, Distrusted, Rest, Servers, Trusted};
    let off = [NodeProgress { generation: 3, is_done: false }];
    let present = agreement(Clients, Servers);
    let turned = Agreement { generation: 6, from: Servers, to: Clients };
    assert_eq!(next_agreement(&present, Rest, &off, false), Some(turned));
    assert_eq!(next_agreement(&present, Clients, &off, false), Some(turned));
    assert_eq!(next_agreement(&present, Distrusted, &off, false), None);
    assert_eq!(next_agreement(&present, Servers, &off, false), None);
    for goal in RotationLevel::ALL {
        let next = next_agreement(&agreement(Trusted, Trusted), goal, &[], true);
        assert_eq!(next, None, "{goal:?}");
    }
    // Of a later agreement, which this one has forgotten.
    let later = [NodeProgress { generation: 9, is_done: true }];
    assert_eq!(next_agreement(&present, Distrusted, &later, true), None);
    // A node that joined at the goal.
    let joined = [NodeProgress { generation: 0, is_done: false }];
    assert_eq!(next_agreement(&agreement(Servers, Servers), Servers, &joined, true), None);
}
