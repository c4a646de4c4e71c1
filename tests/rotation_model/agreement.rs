//! The protocol by which the nodes agree on a level: whatever a node has heard of, all of them are
//! at two neighbouring levels or between them.

use std::collections::BTreeSet;

use kubecertd::model::{Agreement, NodeProgress, RotationLevel};
use kubecertd::plan::next_agreement;

/// A node by what it has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    agreement: Agreement,
    is_done: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    present: Agreement,
    nodes: [Node; 3],
    objects_are_done: bool,
    goal: RotationLevel,
    /// How often the goal may change yet.
    turns: u8,
}

type Next = fn(&Agreement, RotationLevel, &[NodeProgress], bool) -> Option<Agreement>;

fn start() -> State {
    let rest = Agreement { generation: 0, from: RotationLevel::Rest, to: RotationLevel::Rest };
    State {
        present: rest,
        nodes: [Node { agreement: rest, is_done: true }; 3],
        objects_are_done: true,
        goal: RotationLevel::Distrusted,
        turns: 3,
    }
}

/// All states after one event: a node hears of the agreement or is done with what it has heard of,
/// the objects are, the coordinator goes on, or an operator has another goal.
fn next(state: &State, agree: Next) -> Vec<State> {
    let mut all = Vec::new();
    for index in 0..state.nodes.len() {
        let node = state.nodes[index];
        if node.agreement != state.present {
            let mut next = state.clone();
            next.nodes[index] = Node { agreement: state.present, is_done: false };
            all.push(next);
        }
        if !node.is_done {
            let mut next = state.clone();
            next.nodes[index].is_done = true;
            all.push(next);
        }
    }
    all.push(State { objects_are_done: true, ..state.clone() });
    let progress = state
        .nodes
        .map(|node| NodeProgress { generation: node.agreement.generation, is_done: node.is_done });
    if let Some(present) = agree(&state.present, state.goal, &progress, state.objects_are_done) {
        all.push(State { present, objects_are_done: false, ..state.clone() });
    }
    if let Some(turns) = state.turns.checked_sub(1) {
        let goals = RotationLevel::ALL.into_iter();
        all.extend(goals.map(|goal| State { goal, turns, ..state.clone() }));
    }
    all
}

/// The levels at which a node may be, or between which.
fn levels(node: &Node) -> Vec<RotationLevel> {
    let Agreement { from, to, .. } = node.agreement;
    if node.is_done { vec![to] } else { vec![from, to] }
}

/// The first state in which nodes are further apart than two neighbouring levels, or in which
/// nothing goes on though the goal is not reached. And how many states there are.
fn fault(agree: Next) -> Result<usize, State> {
    let (mut seen, mut open) = (BTreeSet::from([start()]), vec![start()]);
    while let Some(state) = open.pop() {
        let all: BTreeSet<_> = state.nodes.iter().flat_map(levels).collect();
        let (low, high) = (all.first().unwrap(), all.last().unwrap());
        let is_apart = *low != *high && low.towards(*high) != *high;
        let is_stuck = state.turns == 0
            && state.present.to != state.goal
            && next(&state, agree).iter().all(|next| *next == state);
        if is_apart || is_stuck {
            return Err(state);
        }
        for next in next(&state, agree) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn nodes_are_never_apart_by_more_than_one_level() {
    let states = fault(next_agreement).unwrap();
    println!("{states} states of the agreement");
    assert!(states > 10_000, "{states}");
}

/// Coordinators that do not wait are caught.
#[test]
fn hasty_coordinators_are_caught() {
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
        |present, goal, nodes, objects| next_agreement(present, goal, &nodes[..2], objects);
    for hasty in [heard_is_enough, done_is_enough, two_are_enough] {
        assert!(fault(hasty).is_err());
    }
}
