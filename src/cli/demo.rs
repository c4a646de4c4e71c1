//! `kubecertd demo`: creates a throw-away control-plane node with certificates in many states, and
//! shows the whole work on it, first by hand and then by the daemon.

mod console;
mod daemon;
mod process;
mod stopped;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::spawn_blocking;

use super::arguments::DemoOptions;
use super::{Exit, Failure, check, out, renew};
use crate::daemon::Signals;
use crate::demo::{DemoError, DemoNode, NodePlan};
use crate::observe::{Config, Node};
use crate::pass::{self, Orders};
use crate::plan::Request;
use crate::sys::{Clock, FixedClock, Root, SystemClock, block_on};
use console::Console;
pub(super) use stopped::DemoStopped;

pub(super) fn run(options: &DemoOptions) -> Result<Exit, Failure> {
    let keep = options.keep.clone();
    block_on(show_until_signal(keep)).map_err(DemoStopped::Runtime)?
}

/// Shows everything. A signal ends it early, without a process or a temporary directory left.
async fn show_until_signal(keep: Option<PathBuf>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(DemoStopped::Signals)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let mut shown = spawn_blocking(move || show(keep, &flag));
    tokio::select! {
        biased;
        _ = signals.next() => {
            interrupted.store(true, Ordering::Relaxed);
            let _ = shown.await;
            Err(DemoStopped::Interrupted.into())
        }
        result = &mut shown => result.map_err(|e| DemoStopped::Runtime(e.into()))?,
    }
}

fn show(keep: Option<PathBuf>, interrupted: &AtomicBool) -> Result<Exit, Failure> {
    let dir = keep.map_or_else(NodeDir::temporary, NodeDir::kept)?;
    // One time for the work by hand, so that twelve days stay twelve days.
    let clock = FixedClock(SystemClock.now());
    let node = DemoNode::build(dir.path(), clock.now(), &NodePlan::every_state())?;
    out::print(&format!(
        "A throw-away control-plane node, with certificates in many states, is in {}.\n",
        dir.path().display()
    ));
    let console = Console { dir: dir.path(), interrupted };
    show_work_by_hand(&console, &clock)?;
    daemon::show(&console, &node)?;
    out::print(&dir.closing_text());
    Ok(Exit::Fine)
}

fn show_work_by_hand(console: &Console<'_>, clock: &FixedClock) -> Result<(), Failure> {
    let node = || {
        Ok::<_, Failure>(Node::open(
            Root::open(console.dir).map_err(Failure::Root)?,
            &Config::Usual,
        )?)
    };
    let step = |title: &str, command: &str| {
        console.heading(title)?;
        console.show(&console.line(&[command]));
        Ok::<_, Failure>(())
    };

    let request = Request::default();
    let orders = Orders {
        request: &request,
        clock,
        synchronised: Some(true),
        trigger: crate::plan::Trigger::Asked,
        trust_clock: false,
        reasons: &[],
        remember: None,
        stop: console.interrupted,
        progress: &out::progress,
        emit: &|_| {},
    };
    step("1. What is there?", "check")?;
    out::print(&check::table(&node()?, &pass::survey(&node()?, clock.now())));

    step("2. What would be done, and why? Nothing is changed yet.", "renew --dry-run")?;
    let before = node()?;
    out::print(&renew::preview(&before, &pass::preview(&before, &orders), &request));

    step("3. Do it. What needs an operator does not delay the rest.", "renew")?;
    let report = pass::run(&node()?, &orders)?;
    out::print(&renew::show(&node()?, &report, &request));

    step("4. And now?", "check")?;
    out::print(&check::table(&node()?, &pass::survey(&node()?, clock.now())));
    Ok(())
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
            "\nThe node was removed; --keep DIR keeps it.\n".to_owned()
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
