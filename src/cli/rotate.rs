//! `kubecertd ca rotate`: orders about the replacement of the root CA, and how far it is.

mod roots;
mod screen;

use std::fmt::Write as _;

use super::arguments::{RotateCommand, StartRotationOptions};
use super::new_root::read_root;
use super::out::{self, BAD, GOOD, SOON, paint};
use super::words::date;
use super::{Exit, Failure};
use crate::formats::rotation_intent::RotationIntent;
use crate::formats::x509::{DistinguishedName, NamePart};
use crate::model::Timestamp;
use crate::observe::{Node, host_name};
use crate::pass::rotation::order::{Order, carry_out, standing};
use crate::pass::rotation::preview::{RotationPreview, preview};
use crate::pass::rotation::start::{Replacement, StartOrder, Started, start};
use roots::roots;
use screen::screen;

pub(super) fn run(node: &Node, command: &RotateCommand, now: Timestamp) -> Result<Exit, Failure> {
    let order = match command {
        RotateCommand::Plan(options) => return show_plan(node, options, now),
        RotateCommand::Start(options) => return begin(node, options, now),
        RotateCommand::Status => return status(node, now),
        RotateCommand::Pause { reason } => Order::Pause(reason.clone()),
        RotateCommand::Resume => Order::Resume,
        RotateCommand::Step => Order::Step,
        RotateCommand::Back => Order::Back,
        RotateCommand::Complete => Order::Complete,
    };
    let intent = carry_out(node, &order, now)?;
    out::print(&ordered(&order, &intent));
    Ok(Exit::Fine)
}

fn begin(node: &Node, options: &StartRotationOptions, now: Timestamp) -> Result<Exit, Failure> {
    let Started { intent, note } = start(node, start_order(node, options)?, now)?;
    let note = note.map(|note| format!("note: {note}\n"));
    out::print(&(started(&intent) + &note.unwrap_or_default()));
    Ok(Exit::Fine)
}

fn started(intent: &RotationIntent) -> String {
    let RotationIntent { old, new, goal, .. } = intent;
    let (done, until) = (paint(GOOD, "started"), date(new.not_after));
    let shows = "`kubecertd ca rotate status` shows how far they are";
    if intent.is_renewal() {
        return format!(
            "{done} the root CA {} is renewed with its own key, until {until}. All nodes put the \
             new certificate in place; {shows}.\n",
            old.subject
        );
    }
    format!(
        "{done} the root CA {} is replaced by {}, valid until {until}. The nodes go to level \
         {goal}; {shows}.\nKeep a copy of the new key in a safe place: after the last level it is \
         ca.key on the control-plane nodes.\n",
        old.subject, new.subject
    )
}

fn start_order(node: &Node, options: &StartRotationOptions) -> Result<StartOrder, Failure> {
    Ok(StartOrder {
        replacement: replacement(options)?,
        is_stepwise: options.step,
        operator: operator(node),
        trust_clock: options.trust_clock,
    })
}

fn show_plan(node: &Node, options: &StartRotationOptions, now: Timestamp) -> Result<Exit, Failure> {
    let found = preview(node, start_order(node, options)?, now)?;
    out::print(&plan(&found));
    let is_ready = found.nodes.iter().all(|node| node.version.is_some())
        && found.objects.iter().all(|object| object.what.is_ok());
    Ok(if is_ready { Exit::Fine } else { Exit::Attention })
}

fn plan(found: &RotationPreview) -> String {
    let RotationPreview { intent, note, nodes, objects } = found;
    let mut text = roots(intent);
    if let Some(note) = note {
        let _ = writeln!(text, "Note:         {note}");
    }
    text.push_str("\nNodes:\n");
    for node in nodes {
        let role = node.role.as_str();
        let _ = match &node.version {
            Some(version) => writeln!(text, "  {} ({role}): kubecertd {version}", node.name),
            None => writeln!(
                text,
                "  {} ({role}): {}",
                node.name,
                paint(BAD, "kubecertd does not report from it, and nothing goes on without it")
            ),
        };
    }
    text.push_str("\nObjects:\n");
    for object in objects {
        let _ = match &object.what {
            Ok(what) => writeln!(text, "  {}: {what}", object.object),
            Err(reason) => writeln!(text, "  {}", paint(BAD, reason)),
        };
    }
    text.push_str(match (intent.is_renewal(), intent.others.is_empty()) {
        (true, true) => RESTARTED_ONCE,
        (true, false) => ALL_RESTARTED_ONCE,
        (false, _) => RESTARTED,
    });
    text.push_str(NOT_KNOWN);
    text
}

/// The restarts of a replacement.
const RESTARTED: &str = "
Restarted on each control-plane node: kube-controller-manager six times, kube-scheduler and kubelet
three times; on each worker: kubelet three times. kube-apiserver and etcd never.
";

/// The restarts of a renewal.
const RESTARTED_ONCE: &str = "
Restarted once on each control-plane node: kube-controller-manager, kube-scheduler and kubelet; on
each worker: kubelet. kube-apiserver and etcd never.
";

/// The restarts of a renewal of all CAs.
const ALL_RESTARTED_ONCE: &str = "
Restarted once on each control-plane node, one node after the other: etcd, kube-apiserver,
kube-controller-manager, kube-scheduler and kubelet; on each worker: kubelet.
";

/// What no command can find out.
const NOT_KNOWN: &str = "\
Not known: what holds a copy of the root CA elsewhere, such as kubeconfigs of users, pipelines and
other machines, and pods that read the CA certificates only when they start.
";

fn replacement(options: &StartRotationOptions) -> Result<Replacement, Failure> {
    if options.renew {
        return Ok(Replacement::Renewed);
    }
    let Some(certificate) = &options.certificate else {
        let subject = options.subject.as_deref().map(subject).transpose();
        return Ok(Replacement::Made(subject.map_err(Failure::SuppliedRoot)?));
    };
    let root = read_root(certificate, options.key.as_deref())?;
    Ok(Replacement::Supplied(Box::new(root), options.allow_trusted_root))
}

/// Reads a subject such as `CN=kubernetes,O=Example`.
fn subject(text: &str) -> Result<DistinguishedName, String> {
    let part = |part: &'_ str| -> Result<(NamePart, String), String> {
        let (name, value) = part.split_once('=').ok_or_else(|| {
            format!("--subject: {part:?} is no KEY=VALUE, as in CN=kubernetes,O=Example")
        })?;
        let name = name.trim();
        let known = NamePart::ALL.into_iter().find(|one| one.short_name() == name);
        let known = known.ok_or_else(|| {
            let all: Vec<_> = NamePart::ALL.iter().map(|one| one.short_name()).collect();
            format!("--subject: {name:?} is none of {}", all.join(", "))
        })?;
        Ok((known, value.trim().to_owned()))
    };
    // The last one comes first in a certificate (RFC 4514, 2.1).
    let parts = text.split(',').rev().map(part).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = parts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    DistinguishedName::from_parts(&parts).map_err(|e| format!("--subject: {e}"))
}

/// The user and the host, for the record: under sudo the user who called it.
fn operator(node: &Node) -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    format!("{}@{}", user.unwrap_or_else(|_| "root".to_owned()), host_name(&node.root))
}

fn ordered(order: &Order, intent: &RotationIntent) -> String {
    match order {
        Order::Pause(_) => {
            format!("{} `kubecertd ca rotate resume` goes on.\n", paint(SOON, "paused."))
        }
        Order::Resume => format!("{} The nodes go on.\n", paint(GOOD, "resumed.")),
        Order::Step | Order::Complete | Order::Back => format!(
            "{} The nodes go to level {}; `kubecertd ca rotate status` shows how far they are.\n",
            paint(GOOD, "ordered."),
            intent.goal
        ),
    }
}

fn status(node: &Node, now: Timestamp) -> Result<Exit, Failure> {
    out::print(&screen(&standing(node, now)?, now));
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_and_wrong_ones_refused() {
        let read = |text| subject(text).map(|name| name.to_string());
        assert_eq!(
            read("CN=kubernetes, O=Example Ltd"),
            Ok("CN=kubernetes,O=Example Ltd".to_owned())
        );
        for wrong in ["kubernetes", "XX=a", "", "CN="] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
