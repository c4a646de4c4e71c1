//! `kubecertd demo`: a throw-away controller node with certificates in every state, and the whole
//! job before the reader's eyes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::arguments::DemoOptions;
use super::out::{self, HEADING, QUIET, paint};
use super::{Exit, Failure, check, renew};
use crate::demo::{self, DemoError, NodePlan};
use crate::observe::{Config, Node};
use crate::pass::{self, Orders};
use crate::plan::Request;
use crate::sys::{Clock, FixedClock, Root, SystemClock};

pub(super) fn run(options: &DemoOptions) -> Result<Exit, Failure> {
    let folder = options.keep.clone().map_or_else(Folder::throw_away, Folder::kept)?;
    // One moment for the whole demonstration, so that twelve days stay twelve days.
    let clock = FixedClock(SystemClock.now());
    demo::Node::build(folder.path(), clock.now(), &NodePlan::every_state())?;
    out::say(&format!(
        "A throw-away controller node, with certificates in every state, is in {}.\n",
        folder.path().display()
    ));
    let node = || {
        Ok::<_, Failure>(Node::open(
            Root::open(folder.path()).map_err(Failure::Root)?,
            &Config::Usual,
        )?)
    };

    let (request, stop) = (Request::default(), AtomicBool::new(false));
    let orders = Orders {
        request: &request,
        clock: &clock,
        synchronised: Some(true),
        occasion: crate::plan::Occasion::Asked,
        trust_clock: false,
        holds: &[],
        remember: None,
        stop: &stop,
        progress: &out::progress,
        emit: &|_| {},
    };
    step("1. What is there?", "check", folder.path());
    out::say(&check::table(&node()?, &pass::survey(&node()?, clock.now())));

    step(
        "2. What would be done, and why? Nothing is changed yet.",
        "renew --dry-run",
        folder.path(),
    );
    out::say(&renew::preview(&pass::preview(&node()?, &orders), &request));

    step("3. Do it. What needs an operator does not hold up the rest.", "renew", folder.path());
    let report = pass::run(&node()?, &orders)?;
    out::say(&renew::show(&node()?, &report, &request));

    step("4. And now?", "check", folder.path());
    out::say(&check::table(&node()?, &pass::survey(&node()?, clock.now())));

    out::say(&folder.farewell());
    Ok(Exit::Fine)
}

fn step(title: &str, command: &str, folder: &Path) {
    let command = format!("$ kubecertd --root {} {command}", folder.display());
    out::say(&format!("\n{}\n{}\n\n", paint(HEADING, title), paint(QUIET, &command)));
}

/// The node's folder; a throw-away one is gone with the value.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn throw_away() -> Result<Self, DemoError> {
        let template = std::env::temp_dir().join("kubecertd-demo-XXXXXX");
        let path = nix::unistd::mkdtemp(&template)
            .map_err(|e| DemoError::Create { path: template, source: e.into() })?;
        Ok(Self { path, keep: false })
    }

    fn kept(path: PathBuf) -> Result<Self, DemoError> {
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(DemoError::Create { path, source: e })
            }
            _ => Ok(Self { path, keep: true }),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn farewell(&self) -> String {
        if self.keep {
            let path = self.path.display();
            format!(
                "\nThe node stays in {path}: look around with --root {path}, and remove it when \
                 you are done.\n"
            )
        } else {
            "\nThe node is gone again; with --keep DIR it stays.\n".to_owned()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What can't be removed is a temporary folder with worthless keys.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
