//! Nothing is written without need.

use super::common::ECDSA;
use super::*;

#[test]
fn read_only_commands_write_nothing() {
    for (case, node) in [("due", Node::due()), ("fresh", Node::fresh(ECDSA))] {
        let before = node.snapshot();
        let commands: [&[&str]; 7] = [
            &["check"],
            &["check", "--output", "json"],
            &["check", "--at", "2035-01-01"],
            &["renew", "--dry-run"],
            &["renew", "--dry-run", "--force"],
            &["config", "check"],
            &["config", "show"],
        ];
        for command in commands {
            let run = node.run(command);
            assert!(
                run.code == SUCCESS || (run.code == ATTENTION && command[0] == "check"),
                "{case}: {command:?}: {}",
                run.text
            );
            assert_unchanged(&format!("{case}: {command:?}"), &before, &node.snapshot());
        }
        assert!(!node.path("var").exists(), "{case}: a state directory was made");
    }
}

#[test]
fn second_renew_changes_no_byte() {
    let node = Node::due();
    assert_eq!(node.run(&["renew"]).code, SUCCESS);
    let after = node.snapshot();
    for _ in 0..2 {
        let again = node.run(&["renew"]);
        assert_eq!((again.code, again.text.as_str()), (SUCCESS, "Nothing to renew.\n"));
        assert_unchanged("again", &after, &node.snapshot());
    }
    assert_eq!(node.run(&["check"]).code, SUCCESS);
}
