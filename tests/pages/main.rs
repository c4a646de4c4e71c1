//! What packages bring besides the program. The manual pages and the completions of shells are made
//! from the program and its configuration, and lie below packaging/ as they are installed:
//! `UPDATE_PAGES=1 cargo test --test pages` writes them anew.
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

mod configuration;
mod program;
mod roff;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use clap_complete::Shell;
use kubecertd::cli::Arguments;

const PAGES: [&str; 2] = ["packaging/man/kubecertd.8", "packaging/man/kubecertd.toml.5"];

#[test]
fn the_page_of_the_program_is_what_the_program_says() {
    assert_shipped(PAGES[0], &program::page());
}

#[test]
fn the_page_of_the_configuration_is_what_the_shipped_file_says() {
    assert_shipped(PAGES[1], &configuration::page());
}

#[test]
fn the_completions_are_those_of_the_program() {
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

/// What a shell would choke on, and only there.
#[test]
fn the_shells_read_their_completions() {
    for (shell, path) in
        [("bash", "kubecertd.bash"), ("zsh", "_kubecertd"), ("fish", "kubecertd.fish")]
    {
        if installed(shell) {
            let run = Command::new(shell)
                .arg("-n")
                .arg(at("packaging/completions").join(path))
                .output()
                .unwrap();
            assert!(run.status.success() && run.stderr.is_empty(), "{shell}: {run:?}");
        }
    }
}

#[test]
fn the_pages_are_right_by_mandoc_and_have_all_they_should() {
    if !installed("mandoc") {
        assert!(std::env::var_os("CI").is_none(), "not installed: mandoc");
        return;
    }
    for page in PAGES {
        let run = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(at(page))
            .output()
            .unwrap();
        assert!(
            run.status.success() && run.stdout.is_empty(),
            "{page}:\n{}",
            String::from_utf8_lossy(&run.stdout)
        );
    }
    let shown = shown(PAGES[0]);
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
    let shown = self::shown(PAGES[1]);
    let shipped = include_str!("../../config/kubecertd.toml");
    for key in shipped
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        assert!(shown.lines().any(|line| line.trim() == key), "{key}\n{shown}");
    }
}

/// The service of the timer makes the same passes as the daemon, and is confined in the same way.
#[test]
fn the_service_of_the_timer_is_confined_as_the_daemon_is() {
    let of_a_daemon = [
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
            settings.filter(|line| !of_a_daemon.contains(&line.split('=').next().unwrap()));
        confining.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let daemon = confined(include_str!("../../systemd/kubecertd.service"));
    assert!(daemon.contains(&"UMask=0077".to_owned()), "{daemon:?}");
    assert_eq!(daemon, confined(include_str!("../../systemd/kubecertd-once.service")));
}

/// The page as a terminal shows it, with as much room as it wants.
fn shown(page: &str) -> String {
    let run = Command::new("mandoc")
        .args(["-T", "utf8", "-O", "width=500"])
        .arg(at(page))
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

fn installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|folder| folder.join(program).exists())
}

/// That the file is what was made; or with `UPDATE_PAGES` set, from now on it is.
fn assert_shipped(path: &str, made: &str) {
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(at(path), made).unwrap();
    }
    let shipped = std::fs::read_to_string(at(path)).unwrap_or_default();
    assert!(
        shipped == made,
        "{path} is not what it should be: UPDATE_PAGES=1 cargo test --test pages"
    );
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
