//! Nothing is written without need.

use super::common::ECDSA;
use super::*;

#[test]
fn looking_writes_nothing() {
    for (case, node) in [("due", Node::due()), ("fresh", Node::fresh(ECDSA))] {
        let before = node.snapshot();
        let looks: [&[&str]; 7] = [
            &["check"],
            &["check", "--output", "json"],
            &["check", "--at", "2035-01-01"],
            &["renew", "--dry-run"],
            &["renew", "--dry-run", "--force"],
            &["config", "check"],
            &["config", "show"],
        ];
        for look in looks {
            let run = node.run(look);
            assert!(
                run.code == FINE || (run.code == ATTENTION && look[0] == "check"),
                "{case}: {look:?}: {}",
                run.text
            );
            unchanged(&format!("{case}: {look:?}"), &before, &node.snapshot());
        }
        assert!(!node.path("var").exists(), "{case}: a state folder was made");
    }
}

#[test]
fn a_second_run_changes_no_byte() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, FINE);
    let after = node.snapshot();
    for _ in 0..2 {
        let again = node.run(&["renew"]);
        assert_eq!((again.code, again.text.as_str()), (FINE, "Nothing to renew.\n"));
        unchanged("again", &after, &node.snapshot());
    }
    assert_eq!(node.run(&["check"]).code, FINE);
}
