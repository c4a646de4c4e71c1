//! The part of the demo with the daemon: a scheduled pass, alarms, a changed file, and the status.

use std::path::PathBuf;
use std::time::Duration;

use super::super::Failure;
use super::super::out;
use super::console::{Console, write_new};
use super::process::DaemonProcess;
use super::stopped::DemoStopped;
use crate::demo::DemoNode;
use crate::model::{AbsolutePath, Condition};
use crate::observe::Node;
use crate::pass::survey;
use crate::plan::Judged;
use crate::report::alarms::read_in_force;
use crate::sys::{Clock as _, Root, SystemClock};

/// The drop-in with the schedule, below the root directory of the node.
const DROP_IN: &str = "etc/kubecertd/kubecertd.d/demo.toml";

/// The time from the start of the daemon to its first scheduled pass. Where the daemon is not up by
/// then, the next one is a minute later.
const TIME_TO_SCHEDULE: Duration = Duration::from_secs(5);

/// The largest size of a signing request.
const MAX_REQUEST_BYTES: u64 = 1 << 16;

/// Shows the daemon on a node whose certificates were renewed.
pub(super) fn show(console: &Console<'_>, node: &DemoNode) -> Result<(), Failure> {
    console.heading("5. An operator restores an old file. It is left to the daemon.")?;
    console.run(&["restore", "controller-manager.conf"])?;

    console
        .heading("6. The daemon starts. Here it makes a pass every minute, and not every night.")?;
    write_schedule(console)?;
    let mut daemon = DaemonProcess::start(console)?;
    daemon.wait_for_pass("the first pass", has_alarms)?;

    console.heading("7. The scheduled pass renews the old file.")?;
    daemon.wait_for_pass("the scheduled pass", |node| is_fresh(node, "controller-manager.conf"))?;

    console
        .heading("8. The alarms are about a certificate of an external CA. What is to be done?")?;
    console.run(&["alarms"])?;
    replace_by_external_ca(console, node)?;

    console.heading("9. An operator copies an old certificate over the new one.")?;
    console.copy(&backup(console)?, &console.dir.join("etc/kubernetes/pki/apiserver.crt"))?;
    out::print(
        "The daemon waits until no file has changed for half a minute. Then a pass renews the \
         certificate\nand clears the alarms.\n\n",
    );
    daemon.wait_for_pass("the pass after the changes", |node| {
        is_fresh(node, "apiserver") && !has_alarms(node)
    })?;

    console.heading("10. What does the daemon say?")?;
    console.run(&["status"])?;

    console.heading("11. The daemon stops.")?;
    Ok(daemon.stop()?)
}

/// Schedules a pass that comes soon.
fn write_schedule(console: &Console<'_>) -> Result<(), DemoStopped> {
    let second = SystemClock.now().plus(TIME_TO_SCHEDULE).civil().second();
    let text = format!("[schedule]\ncron = \"{second} * * * * *\"\n");
    console.write(&console.dir.join(DROP_IN), &text)
}

/// Requests a certificate, signs it as the external CA does, and installs it.
fn replace_by_external_ca(console: &Console<'_>, node: &DemoNode) -> Result<(), Failure> {
    out::print("\n");
    console.run_into(&console.dir.join("webhook.csr"), &["csr", "webhook"])?;

    out::print("\nThe CA signs webhook.csr on another machine. Its answer is webhook.crt.\n\n");
    let request = Root::open(console.dir)?
        .read(&AbsolutePath::constant("/webhook.csr"), MAX_REQUEST_BYTES)?;
    let signed = node.sign_request("webhook", request.bytes.expose(), SystemClock.now())?;
    let answer = console.dir.join("webhook.crt");
    write_new(&answer, signed.as_bytes())?;

    Ok(console.run(&["install", "webhook", &answer.to_string_lossy()])?)
}

/// The API server's certificate before the renewal.
fn backup(console: &Console<'_>) -> Result<PathBuf, DemoStopped> {
    let backups = console.dir.join("var/lib/kubecertd/backups");
    let failed = |source| DemoStopped::File { path: backups.clone(), source };
    let mut found = backups
        .read_dir()
        .map_err(failed)?
        .flatten()
        .map(|backup| backup.path().join("etc/kubernetes/pki/apiserver.crt"));
    found
        .find(|file| file.exists())
        .ok_or_else(|| failed(std::io::Error::other("holds no apiserver.crt")))
}

fn has_alarms(node: &Node) -> bool {
    !read_in_force(node).0.is_empty()
}

fn is_fresh(node: &Node, name: &str) -> bool {
    let survey = survey(node, SystemClock.now());
    let is_it = |judged: &&Judged| judged.facts.credential.name.as_str() == name;
    let found = survey.credentials.iter().find(is_it);
    found.is_some_and(|judged| judged.judgement.condition == Condition::Fresh)
}
