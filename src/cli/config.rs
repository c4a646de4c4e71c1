//! `kubecertd config`: checks the configuration, and shows the settings in force.

use std::fmt::Write as _;

use super::confinement;
use super::out::{self, GOOD, HEADING, paint};
use super::words::count;
use super::{Exit, Failure};
use crate::model::{Location, Need, Renewal, ServiceKind, UnitRefresh};
use crate::observe::Node;

/// Opening the node has checked all but the schedule.
pub(super) fn check(node: &Node) -> Result<Exit, Failure> {
    node.settings.check_schedule()?;
    let catalog = &node.catalog;
    let mut text = format!(
        "{}: {}, {} and {}\n",
        paint(GOOD, "the configuration is valid"),
        count(catalog.authorities.len(), "CA"),
        count(catalog.credentials.len(), "credential"),
        count(catalog.services.len(), "service"),
    );
    for note in node.remarks() {
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(drop_in) = confinement::drop_in(node) {
        let _ = write!(text, "\n{UNIT_LACKS}\n\n{drop_in}");
    }
    out::print(&text);
    Ok(Exit::Fine)
}

/// The text before the drop-in.
const UNIT_LACKS: &str = "The daemon's unit opens only the usual directories to it, and this \
    configuration has files elsewhere. Create missing directories first; then put this into \
    /etc/systemd/system/kubecertd.service.d/directories.conf, and \
    systemctl daemon-reload && systemctl restart kubecertd:";

/// Shows every setting, then every file.
pub(super) fn show(node: &Node) -> Exit {
    let mut text = node.settings.show();
    let _ = writeln!(
        text,
        "\n{}",
        paint(HEADING, "# What this node has, as the manifests and the settings say")
    );
    let reason = node.profile_reason.iter().map(|reason| format!(": {reason}"));
    let _ = writeln!(text, "# profile {}{}", node.profile, reason.collect::<String>());
    for authority in &node.catalog.authorities {
        let key =
            if authority.key_elsewhere { String::new() } else { format!(", {}", authority.key) };
        let _ = writeln!(text, "# CA {}: {}{key}", authority.name, authority.certificate);
    }
    for credential in &node.catalog.credentials {
        let files: Vec<_> = credential.location.files().map(ToString::to_string).collect();
        let kind = match credential.location {
            Location::Pair { .. } => "pair",
            Location::Kubeconfig(_) | Location::KubeconfigUser { .. } => "kubeconfig",
            Location::Bundle(_) => "bundle",
        };
        let renewal = match &credential.renewal {
            Renewal::Ours => String::new(),
            Renewal::Kubelet => ", renewed by kubelet".to_owned(),
            Renewal::Elsewhere => ", only watched".to_owned(),
            Renewal::Operator(_) => ", watched, renewed by the operator".to_owned(),
            Renewal::Copy(of) => format!(", a copy of {}", of.original),
        };
        let _ = writeln!(
            text,
            "# credential {}: {kind} {}{renewal}{}",
            credential.name,
            files.join(", "),
            need(&credential.need)
        );
    }
    for service in &node.catalog.services {
        let place = match &service.kind {
            ServiceKind::StaticPod { manifest: Some(file), .. } => format!("static pod of {file}"),
            ServiceKind::StaticPod { manifest: None, .. } => "no static pod here".to_owned(),
            ServiceKind::Unit { unit, refresh } => {
                format!("systemd unit {unit}{}", describe_refresh(*refresh))
            }
            ServiceKind::Process { pid_file, signal, unit } => {
                let unit = unit.iter().map(|unit| format!(" in {unit}")).collect::<String>();
                format!("process of {pid_file}{unit}, sent {signal}")
            }
            ServiceKind::Command { command, .. } => format!("reached by the command {command:?}"),
        };
        let served = service.uses.iter().filter_map(|one| {
            Some(format!(", serves {} at {}", one.credential, one.served_at.as_ref()?))
        });
        let serves: String = served.collect();
        let health =
            service.health.as_ref().map(|url| format!(", health at {url}")).unwrap_or_default();
        let _ = writeln!(text, "# service {}: {place}{serves}{health}", service.name);
    }
    for note in node.remarks() {
        let _ = writeln!(text, "# note: {note}");
    }
    out::print(&text);
    Exit::Fine
}

/// Describes how a unit is refreshed, where that differs from the usual way.
fn describe_refresh(refresh: UnitRefresh) -> String {
    match refresh {
        UnitRefresh::ReloadOrRestart => String::new(),
        UnitRefresh::Restart => ", restarted".to_owned(),
        UnitRefresh::Reload => ", reloaded".to_owned(),
        UnitRefresh::Signal(signal) => format!(", sent {signal}"),
    }
}

fn need(need: &Need) -> String {
    match need {
        Need::Optional => String::new(),
        Need::Configured => ", needed by the configuration".to_owned(),
        Need::Manifest(file) => format!(", needed by {file}"),
        Need::Kubeconfig(file) => format!(", needed by {file}"),
        Need::Kubelet(by) => format!(", needed by {by}"),
        Need::KubeletStart => ", needed by kubelet".to_owned(),
    }
}
