//! The events of a pass: each is emitted when it happens, not when the pass is over.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use kubecertd::model::Timestamp;
use kubecertd::pass::{self, Event, Orders, ScheduleMemory};
use kubecertd::plan::{Request, Trigger};
use kubecertd::sys::SystemClock;

use super::common::Node;
use super::harness::*;

/// Makes a scheduled pass and returns the text of each event, with the state of the pass on the
/// disk at that moment.
fn pass_events(node: &Node) -> Vec<(String, bool)> {
    let events = Mutex::new(Vec::new());
    let (request, stop) = (Request::default(), AtomicBool::new(false));
    let remember = ScheduleMemory { scheduled_until: Timestamp::default(), observing_until: None };
    let orders = Orders {
        request: &request,
        trigger: Trigger::Scheduled,
        clock: &SystemClock,
        synchronised: Some(true),
        trust_clock: false,
        reasons: &[],
        remember: Some(remember),
        stop: &stop,
        progress: &|_, _| {},
        emit: &|event| {
            let text = match event {
                Event::Completed(subject) => format!("completed {}", subject.credential),
                Event::Renewed { subject, .. } => format!("renewed {}", subject.credential),
                other => format!("{other:?}"),
            };
            events.lock().unwrap().push((text, read_state(node).unfinished));
        },
    };
    pass::run(&node.observe(), &orders).unwrap();
    events.into_inner().unwrap()
}

#[test]
fn renewals_are_emitted_before_the_pass_ends() {
    let node = with_history(Node::due(), NEVER);
    let events = pass_events(&node);
    assert!(!read_state(&node).unfinished);
    for name in all_credentials(&node) {
        assert!(events.contains(&(format!("renewed {name}"), true)), "{name}: {events:?}");
    }
}
