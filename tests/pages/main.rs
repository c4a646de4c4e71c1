//! The files that packages contain besides the program. The manual pages and shell completions are
//! generated from the program and its configuration, and are below packaging/. This writes them
//! again: `UPDATE_PAGES=1 cargo test --test pages`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

#[path = "../common"]
mod common {
    pub mod pictures;
    pub mod requirements;
}
mod configuration;
mod pictures;
mod program;
mod roff;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use clap_complete::Shell;
use common::requirements::require;
use kubecertd::cli::Arguments;

const PAGES: [&str; 2] = ["packaging/man/kubecertd.8", "packaging/man/kubecertd.toml.5"];

#[test]
fn program_page_matches_program() {
    assert_shipped(PAGES[0], &program::page());
}

#[test]
fn configuration_page_matches_shipped_file() {
    assert_shipped(PAGES[1], &configuration::page());
}

#[test]
fn completions_match_program() {
    for (shell, path) in [
        (Shell::Bash, "kubecertd.bash"),
        (Shell::Zsh, "_kubecertd"),
        (Shell::Fish, "kubecertd.fish"),
    ] {
        let mut made = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "kubecertd", &mut made);
        assert_shipped(&format!("packaging/completions/{path}"), &String::from_utf8(made).unwrap());
    }
}

/// bash checks the syntax of its completions, and so do the other shells.
#[test]
fn bash_parses_completions() {
    parse_completions("bash", "kubecertd.bash");
}

#[test]
fn zsh_parses_completions() {
    require!("zsh");
    parse_completions("zsh", "_kubecertd");
}

#[test]
fn fish_parses_completions() {
    require!("fish");
    parse_completions("fish", "kubecertd.fish");
}

fn parse_completions(shell: &str, file: &str) {
    let file = repository_path("packaging/completions").join(file);
    let run = Command::new(shell).arg("-n").arg(file).output().unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{shell}: {run:?}");
}

#[test]
fn pages_pass_mandoc_and_are_complete() {
    require!("mandoc");
    for page in PAGES {
        let run = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(repository_path(page))
            .output()
            .unwrap();
        assert!(
            run.status.success() && run.stdout.is_empty(),
            "{page}:\n{}",
            String::from_utf8_lossy(&run.stdout)
        );
    }
    let shown = render(PAGES[0]);
    for command in Arguments::command().get_subcommands() {
        assert!(
            shown.contains(&format!("kubecertd {}", command.get_name())),
            "{}",
            command.get_name()
        );
    }
    for code in [0, 1, 2, 3, 4, 5, 75, 78] {
        assert!(
            shown.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))),
            "exit status {code}\n{shown}"
        );
    }
    let shown = render(PAGES[1]);
    let shipped = include_str!("../../config/kubecertd.toml");
    for key in shipped
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        assert!(shown.lines().any(|line| line.trim() == key), "{key}\n{shown}");
    }
}

/// The service of the timer makes the same passes as the daemon, and has the same sandbox.
#[test]
fn timer_service_has_same_sandbox_as_daemon() {
    let daemon_only = [
        "Type",
        "NotifyAccess",
        "ExecStart",
        "ExecReload",
        "Restart",
        "RestartSec",
        "WatchdogSec",
        "SuccessExitStatus",
        "TimeoutStartSec",
    ];
    let confined = |unit: &str| -> Vec<String> {
        let joined = unit.replace("\\\n", " ");
        let service = joined.split_once("[Service]\n").unwrap().1.split("\n[").next().unwrap();
        let settings = service.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let confining =
            settings.filter(|line| !daemon_only.contains(&line.split('=').next().unwrap()));
        confining.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let daemon = confined(include_str!("../../systemd/kubecertd.service"));
    assert!(daemon.contains(&"UMask=0077".to_owned()), "{daemon:?}");
    assert_eq!(daemon, confined(include_str!("../../systemd/kubecertd-once.service")));
}

/// Renders a page as a terminal shows it, without line breaks.
fn render(page: &str) -> String {
    let run = Command::new("mandoc")
        .args(["-T", "utf8", "-O", "width=500"])
        .arg(repository_path(page))
        .output()
        .unwrap();
    let mut shown = String::new();
    // Bold is a letter printed twice, the second over the first.
    for letter in String::from_utf8(run.stdout).unwrap().chars() {
        if letter == '\u{8}' {
            shown.pop();
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Asserts that a file equals the generated content; with `UPDATE_PAGES` set, writes it first.
fn assert_shipped(path: &str, made: &str) {
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(repository_path(path), made).unwrap();
    }
    let shipped = std::fs::read_to_string(repository_path(path)).unwrap_or_default();
    assert!(
        shipped == made,
        "{path} is not what it should be: UPDATE_PAGES=1 cargo test --test pages"
    );
}

fn repository_path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
