//! `kubecertd demo`: creates a throw-away control-plane node with certificates in every state, and
//! shows the whole work on it.

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
    let dir = options.keep.clone().map_or_else(NodeDir::temporary, NodeDir::kept)?;
    // One time for the whole demonstration, so that twelve days stay twelve days.
    let clock = FixedClock(SystemClock.now());
    demo::DemoNode::build(dir.path(), clock.now(), &NodePlan::every_state())?;
    out::print(&format!(
        "A throw-away control-plane node, with certificates in every state, is in {}.\n",
        dir.path().display()
    ));
    let node = || {
        Ok::<_, Failure>(Node::open(
            Root::open(dir.path()).map_err(Failure::Root)?,
            &Config::Usual,
        )?)
    };

    let (request, stop) = (Request::default(), AtomicBool::new(false));
    let orders = Orders {
        request: &request,
        clock: &clock,
        synchronised: Some(true),
        trigger: crate::plan::Trigger::Asked,
        trust_clock: false,
        reasons: &[],
        remember: None,
        stop: &stop,
        progress: &out::progress,
        emit: &|_| {},
    };
    step("1. What is there?", "check", dir.path());
    out::print(&check::table(&node()?, &pass::survey(&node()?, clock.now())));

    step("2. What would be done, and why? Nothing is changed yet.", "renew --dry-run", dir.path());
    let before = node()?;
    out::print(&renew::preview(&before, &pass::preview(&before, &orders), &request));

    step("3. Do it. What needs an operator does not delay the rest.", "renew", dir.path());
    let report = pass::run(&node()?, &orders)?;
    out::print(&renew::show(&node()?, &report, &request));

    step("4. And now?", "check", dir.path());
    out::print(&check::table(&node()?, &pass::survey(&node()?, clock.now())));

    out::print(&dir.closing_text());
    Ok(Exit::Fine)
}

fn step(title: &str, command: &str, dir: &Path) {
    let command = format!("$ kubecertd --root {} {command}", dir.display());
    out::print(&format!("\n{}\n{}\n\n", paint(HEADING, title), paint(QUIET, &command)));
}

/// The node's directory; a temporary one is removed when the value is dropped.
struct NodeDir {
    path: PathBuf,
    keep: bool,
}

impl NodeDir {
    fn temporary() -> Result<Self, DemoError> {
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

    fn closing_text(&self) -> String {
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

impl Drop for NodeDir {
    fn drop(&mut self) {
        if !self.keep {
            // The remains would be a temporary directory with worthless keys.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
