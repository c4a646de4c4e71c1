//! The effective configuration as TOML, each value with the place that set it. It can be read back
//! as a configuration.

use std::fmt::Display;
use std::time::Duration;

use toml::Value;

use super::error::Stated;
use super::{
    AlarmCommand, Origin, OwnAuthority, OwnCopy, OwnCredential, OwnService, ProfileService,
    ProfileTrust, ProfileUse, ServedAt, Settings, Trial,
};
use crate::model::{Essential, Location, ServiceKind, Signal, Takes, UnitRefresh};

impl Settings {
    /// The effective configuration as TOML; a comment beside each value says where it comes from.
    #[must_use]
    pub fn show(&self) -> String {
        let tables = [
            ("renewal", self.renewal.stated()),
            ("root_ca", self.root_ca.stated()),
            ("schedule", self.schedule.stated()),
            ("alarms", self.alarms.stated()),
            ("alarms.fm", self.fault_management.stated()),
            ("metrics", self.metrics.stated()),
            ("paths", self.paths.stated()),
            ("backups", self.backups.stated()),
        ];
        let mut lines = vec![setting(&self.profile.stated())];
        for (table, settings) in tables {
            lines.extend([String::new(), format!("[{table}]")]);
            lines.extend(settings.iter().map(setting));
        }
        lines.extend(self.alarm_commands.iter().flat_map(alarm_command));
        lines.extend(self.authorities.iter().flat_map(authority));
        lines.extend(self.credentials.iter().flat_map(credential));
        lines.extend(self.copies.iter().flat_map(copy));
        lines.extend(self.services.iter().flat_map(service));
        lines.join("\n") + "\n"
    }
}

fn setting(Stated { key, value, origin }: &Stated) -> String {
    let key = key.rsplit('.').next().unwrap_or(key);
    format!("{key} = {value}{}", comment(origin))
}

fn alarm_command(entry: &AlarmCommand) -> Vec<String> {
    let mut lines = header("alarms.command", &entry.origin);
    lines.push(text("name", &entry.name));
    lines.push(format!("run = {}", Value::from(entry.run.clone())));
    lines.push(text("timeout", &entry.timeout));
    lines
}

fn authority(entry: &OwnAuthority) -> Vec<String> {
    let mut lines = header("ca", &entry.origin);
    lines.push(text("name", &entry.name));
    lines.push(text("certificate", &entry.certificate));
    lines.push(text("key", &entry.key));
    lines
}

fn credential(entry: &OwnCredential) -> Vec<String> {
    let mut lines = header("credential", &entry.origin);
    lines.push(text("name", &entry.name));
    lines.extend(entry.authority.as_ref().map(|authority| text("ca", authority)));
    lines.push(format!("optional = {}", entry.optional));
    lines.extend(location(&entry.location));
    lines.extend(entry.trial.as_ref().map(trial));
    lines
}

fn copy(entry: &OwnCopy) -> Vec<String> {
    let mut lines = header("copy", &entry.origin);
    lines.extend(entry.name.as_ref().map(|name| text("name", name)));
    lines.push(text("of", &entry.of));
    lines.extend(location(&entry.location));
    lines
}

fn location(location: &Location) -> Vec<String> {
    match location {
        Location::Pair { certificate, key } => {
            vec![text("certificate", certificate), text("key", key)]
        }
        Location::Kubeconfig(file) => vec![text("kubeconfig", file)],
        Location::KubeconfigUser { file, user } => {
            vec![text("kubeconfig", file), text("user", user)]
        }
        Location::Bundle(file) => vec![text("bundle", file)],
    }
}

fn trial(trial: &Trial) -> String {
    let service = trial.service.as_ref().map(|service| text("service", service));
    let user = trial.user.as_ref().map(|user| text("user", user));
    let keys: Vec<String> =
        service.into_iter().chain([text("path", &trial.path)]).chain(user).collect();
    format!("trial = {{ {} }}", keys.join(", "))
}

fn service(OwnService { service, origin }: &OwnService) -> Vec<String> {
    let ProfileService {
        name,
        kind,
        health,
        essential,
        leader_lease,
        uses,
        trusts,
        one_certificate,
        ages_before,
    } = service;
    let mut lines = header("service", origin);
    lines.push(text("name", name));
    lines.extend(kind_of_service(kind));
    lines.extend(essential.map(|essential| {
        let word = match essential {
            Essential::EtcdMember => "etcd-member",
            Essential::ApiServer => "api-server",
        };
        text("essential", &word)
    }));
    lines.extend(leader_lease.as_ref().map(|lease| text("leader_lease", lease)));
    lines.extend(ages_before.map(|version| text("ages_before", &version)));
    lines.extend(health.as_ref().map(|url| text("health", url)));
    lines.push("uses = [".to_owned());
    lines.extend(uses.iter().map(|one| format!("  {{ {} }},", one_use(one))));
    lines.push("]".to_owned());
    if !trusts.is_empty() {
        let trusts: Vec<_> = trusts.iter().map(|one| format!("{{ {} }}", one_trust(one))).collect();
        lines.push(format!("trusts = [{}]", trusts.join(", ")));
    }
    lines.extend(one_certificate.as_ref().map(|flag| text("one_certificate", flag)));
    lines
}

fn one_trust(one: &ProfileTrust) -> String {
    match one {
        ProfileTrust::Flag(flag) => text("flag", flag),
        ProfileTrust::Kubeconfig(credential) => text("kubeconfig", credential),
        ProfileTrust::File(file) => text("file", file),
    }
}

fn kind_of_service(kind: &ServiceKind) -> Vec<String> {
    match kind {
        ServiceKind::StaticPod { pod, grace, .. } => {
            vec![text("pod", pod), text("grace", &seconds(*grace))]
        }
        ServiceKind::Unit { unit, refresh } => {
            let refresh = match refresh {
                UnitRefresh::Restart => text("refresh", &"restart"),
                UnitRefresh::Reload => text("refresh", &"reload"),
                UnitRefresh::ReloadOrRestart => text("refresh", &"reload-or-restart"),
                UnitRefresh::Signal(signal) => text("signal", &word(*signal)),
            };
            vec![text("unit", unit), refresh]
        }
        ServiceKind::Process { pid_file, signal, unit } => {
            let unit = unit.iter().map(|unit| text("unit", unit));
            [text("pid_file", pid_file), text("signal", &word(*signal))]
                .into_iter()
                .chain(unit)
                .collect()
        }
        ServiceKind::Command { command, limit } => {
            vec![
                format!("command = {}", Value::from(command.clone())),
                text("limit", &seconds(*limit)),
            ]
        }
    }
}

fn seconds(length: Duration) -> String {
    format!("{}s", length.as_secs())
}

fn word(signal: Signal) -> String {
    signal.to_string().trim_start_matches("SIG").to_owned()
}

fn one_use(used: &ProfileUse) -> String {
    let ProfileUse { credential, takes, served_at, to_port, first_request } = used;
    let takes = match takes {
        Takes::Reloads => "reloads",
        Takes::NewConnections => "new-connections",
        Takes::Restart => "restart",
        Takes::ByHand => "by hand",
    };
    let place = served_at.as_ref().map(|place| match place {
        ServedAt::Flags { hosts, port, default_port } => {
            format!(
                "hosts = {}, {}, default_port = {default_port}",
                Value::from(hosts.clone()),
                text("port", port)
            )
        }
        ServedAt::Urls(flag) => text("urls", flag),
        ServedAt::Address(address) => text("address", address),
    });
    let place = place.map(|place| format!("served_at = {{ {place} }}"));
    let to_port = to_port.map(|port| format!("to_port = {port}"));
    let first_request = first_request.as_ref().map(|name| text("first_request", name));
    let keys = [text("credential", credential), text("takes", &takes)]
        .into_iter()
        .chain(place)
        .chain(to_port)
        .chain(first_request);
    keys.collect::<Vec<_>>().join(", ")
}

fn header(table: &str, origin: &Origin) -> Vec<String> {
    vec![String::new(), format!("[[{table}]]{}", comment(origin))]
}

fn text(key: &str, value: &impl Display) -> String {
    format!("{key} = {}", Value::String(value.to_string()))
}

/// A file name may hold characters that would end the comment.
fn comment(origin: &Origin) -> String {
    match origin {
        Origin::Default => "  # default".to_owned(),
        Origin::File { .. } => format!("  # {origin}").replace(char::is_control, "?"),
    }
}
