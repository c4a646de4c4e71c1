//! The pictures of docs/, which packaging/pictures makes: they show what the program prints now,
//! apart from numbers.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use kubecertd::demo::{DemoNode, NodePlan};
use kubecertd::sys::{Clock as _, SystemClock};

use crate::common::pictures::{comparable, picture_text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubecertd");

#[test]
fn picture_of_demo_shows_first_lines() {
    let picture = picture_text("demo");
    let shown = picture.strip_prefix("$kubecertddemo--keepnode").unwrap();
    let shown = shown.strip_suffix("...").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--keep", "node"])
        .current_dir(&dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        printed += &comparable(&line.unwrap());
        if printed.len() >= shown.len() {
            break;
        }
    }
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert!(printed.starts_with(shown), "run packaging/pictures\n{printed}\n{shown}");
}

#[test]
fn picture_of_status_shows_its_table() {
    let picture = picture_text("status");
    let dir = tempfile::tempdir().unwrap();
    DemoNode::build(dir.path(), SystemClock.now(), &NodePlan::every_state()).unwrap();
    let status =
        Command::new(PROGRAM).arg("--root").arg(dir.path()).arg("status").output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    let table = status.lines().skip_while(|line| !line.starts_with("CREDENTIAL "));
    let rows: Vec<_> = table.take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() > 10, "{status}");
    assert!(picture.contains(&comparable(rows[0])), "run packaging/pictures\n{status}");
    for row in rows {
        let name = comparable(row.split_whitespace().next().unwrap());
        assert!(picture.contains(&name), "{name}: run packaging/pictures\n{status}");
    }
}
