//! Tests of the requirements, in the unit tests only.

use std::process::{Command, Output};

use super::requirements::{ROOT, describe, require};

#[test]
#[ignore = "run by the tests below, without programs"]
fn lacks_program() {
    require!("setfacl");
    panic!("it was not skipped");
}

/// Runs the test above where no program is found.
fn run_lacking(prepare: impl FnOnce(&mut Command) -> &mut Command) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "common::requirements_tests::lacks_program"]);
    let output = prepare(command.env("PATH", "/nonexistent")).output().unwrap();
    let text = String::from_utf8([&*output.stdout, &*output.stderr].concat()).unwrap();
    (output, text)
}

const LINE: &str = "skipped: common::requirements_tests::lacks_program needs setfacl: \
    apt-get install acl\n";

#[test]
fn test_that_lacks_program_is_skipped_and_says_so() {
    let (output, text) = run_lacking(|command| command.env_remove("CI"));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(String::from_utf8(output.stderr).unwrap().contains(LINE), "{text}");
}

#[test]
fn test_that_lacks_program_fails_in_ci() {
    let (output, text) = run_lacking(|command| command.env("CI", "1"));
    assert!(!output.status.success() && text.contains(LINE), "{text}");
}

#[test]
fn missing_requirements_are_named_with_one_command() {
    assert_eq!(describe(&[ROOT]), "needs root");
    assert_eq!(
        describe(&[ROOT, "unshare", "strace", "setpriv"]),
        "needs root, unshare, strace, setpriv: apt-get install strace util-linux"
    );
}
