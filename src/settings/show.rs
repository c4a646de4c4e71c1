//! The effective configuration as TOML, each value with the place that set it. It can be read back as a configuration.

use std::fmt::Display;

use toml::Value;

use super::error::Stated;
use super::{AlarmCommand, Origin, OwnAuthority, OwnCopy, OwnCredential, Settings};
use crate::model::Location;

impl Settings {
    /// The effective configuration as TOML; a comment beside each value says where it comes from.
    #[must_use]
    pub fn show(&self) -> String {
        let tables = [
            ("renewal", self.renewal.stated()),
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
    let mut lines = header("authority", &entry.origin);
    lines.push(text("name", &entry.name));
    lines.push(text("certificate", &entry.certificate));
    lines.push(text("key", &entry.key));
    lines
}

fn credential(entry: &OwnCredential) -> Vec<String> {
    let mut lines = header("credential", &entry.origin);
    lines.push(text("name", &entry.name));
    lines.extend(entry.authority.as_ref().map(|authority| text("authority", authority)));
    lines.push(format!("optional = {}", entry.optional));
    lines.extend(location(&entry.location));
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
        Location::Pair { certificate, key } => vec![text("certificate", certificate), text("key", key)],
        Location::Kubeconfig(file) => vec![text("kubeconfig", file)],
        Location::Bundle(file) => vec![text("bundle", file)],
    }
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
