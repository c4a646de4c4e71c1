//! A service as TOML, of a profile or of the configuration: which of its keys go together, and what
//! they become.

use std::time::Duration;

use serde::Deserialize;

use super::parts::{ProfileService, ProfileTrust, ProfileUse, ServedAt};
use crate::model::{
    AbsolutePath, Essential, ServiceKind, ServiceName, Signal, Takes, UnitRefresh, Version,
};
use crate::settings::Period;
use crate::settings::error::{EntryProblem, SettingsError};
use crate::settings::fragment::Wrong;

/// kubelet's default grace period for a container.
const GRACE: Duration = Duration::from_secs(30);

/// Long for a program that only makes another one reload.
const LIMIT: Duration = Duration::from_secs(30);

/// A pass waits that long in the worst case, so there is an end to it.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(in crate::settings) struct ServiceFragment {
    pub name: Option<ServiceName>,
    pod: Option<String>,
    grace: Option<Period>,
    unit: Option<String>,
    refresh: Option<Verb>,
    pid_file: Option<AbsolutePath>,
    signal: Option<Signal>,
    command: Option<Vec<String>>,
    limit: Option<Period>,
    essential: Option<Essential>,
    leader_lease: Option<String>,
    ages_before: Option<Version>,
    health: Option<String>,
    #[serde(default)]
    uses: Vec<ProfileUse>,
    #[serde(default)]
    trusts: Vec<ProfileTrust>,
    one_certificate: Option<String>,
}

/// The job that systemd is asked for.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Verb {
    Restart,
    Reload,
    ReloadOrRestart,
}

pub(in crate::settings) fn service(
    mut entry: ServiceFragment,
    wrong: Wrong<'_>,
) -> Result<ProfileService, SettingsError> {
    let entry_name = entry.name.as_ref().map(ToString::to_string);
    let wrong = |problem| wrong(entry_name.clone(), problem);
    let kind = kind(&mut entry).map_err(wrong)?;
    uses(&entry.uses, &kind).map_err(wrong)?;
    trusts(&entry, &kind).map_err(wrong)?;
    url(entry.health.as_deref()).map_err(wrong)?;
    Ok(ProfileService {
        name: entry.name.ok_or_else(|| wrong(EntryProblem::Missing("name")))?,
        kind,
        health: entry.health,
        essential: entry.essential,
        leader_lease: entry.leader_lease,
        ages_before: entry.ages_before,
        uses: entry.uses,
        trusts: entry.trusts,
        one_certificate: entry.one_certificate,
    })
}

/// One key says what kind of thing it is; which of the others may stand beside it depends on that.
fn kind(entry: &mut ServiceFragment) -> Result<ServiceKind, EntryProblem> {
    let kinds = (entry.pod.take(), entry.unit.take(), entry.pid_file.take(), entry.command.take());
    match kinds {
        (Some(pod), None, None, None) => {
            fits(entry, "pod", &["grace"])?;
            Ok(ServiceKind::StaticPod {
                pod,
                manifest: None,
                grace: bounded("grace", entry.grace, GRACE)?,
            })
        }
        (None, Some(unit), None, None) => {
            fits(entry, "unit", &["refresh", "signal"])?;
            Ok(ServiceKind::Unit {
                unit: unit_name(unit)?,
                refresh: unit_refresh(entry.refresh, entry.signal)?,
            })
        }
        (None, unit, Some(pid_file), None) => {
            fits(entry, "pid_file", &["signal"])?;
            Ok(ServiceKind::Process {
                pid_file,
                signal: entry.signal.ok_or(EntryProblem::Missing("signal"))?,
                unit: unit.map(unit_name).transpose()?,
            })
        }
        (None, None, None, Some(command)) => {
            fits(entry, "command", &["limit"])?;
            Ok(ServiceKind::Command {
                command: words(command)?,
                limit: bounded("limit", entry.limit, LIMIT)?,
            })
        }
        (None, None, None, None) => {
            Err(EntryProblem::Missing("one of pod, unit, pid_file and command"))
        }
        _ => Err(EntryProblem::ManyKinds),
    }
}

/// Checks that the settings of each used credential are consistent, and that each is named once.
fn uses(uses: &[ProfileUse], kind: &ServiceKind) -> Result<(), EntryProblem> {
    let no_pod = no_pod(kind);
    for (index, one) in uses.iter().enumerate() {
        match (&one.served_at, no_pod, one.takes, one.to_port) {
            // They are the flags of a pod.
            (Some(ServedAt::Flags { .. } | ServedAt::Urls(_)), Some(other), ..) => {
                return Err(EntryProblem::NotWith { key: "served_at by flags", other });
            }
            // Nothing would be looked at, and it would pass for fresh.
            (_, _, Takes::NewConnections, None) => {
                return Err(EntryProblem::Missing("to_port of what takes new-connections"));
            }
            (_, _, Takes::Reloads | Takes::Restart | Takes::ByHand, Some(_)) => {
                return Err(EntryProblem::NotWith {
                    key: "to_port",
                    other: "what takes anything but new-connections",
                });
            }
            _ => {}
        }
        if uses.iter().take(index).any(|other| other.credential == one.credential) {
            return Err(EntryProblem::Twice { key: "uses", name: one.credential.to_string() });
        }
    }
    Ok(())
}

/// Checks that only a pod has flags.
fn trusts(entry: &ServiceFragment, kind: &ServiceKind) -> Result<(), EntryProblem> {
    let Some(other) = no_pod(kind) else { return Ok(()) };
    if entry.trusts.iter().any(|one| matches!(one, ProfileTrust::Flag(_))) {
        return Err(EntryProblem::NotWith { key: "trusts by flag", other });
    }
    match entry.one_certificate {
        Some(_) => Err(EntryProblem::NotWith { key: "one_certificate", other }),
        None => Ok(()),
    }
}

/// The key of a kind that has no flags.
fn no_pod(kind: &ServiceKind) -> Option<&'static str> {
    match kind {
        ServiceKind::StaticPod { .. } => None,
        ServiceKind::Unit { .. } => Some("unit"),
        ServiceKind::Process { .. } => Some("pid_file"),
        ServiceKind::Command { .. } => Some("command"),
    }
}

fn url(health: Option<&str>) -> Result<(), EntryProblem> {
    let asked = |url: &str| {
        url.strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"))
            .is_some_and(|rest| !rest.is_empty())
    };
    if health.is_none_or(asked) { Ok(()) } else { Err(EntryProblem::NoUrl) }
}

/// Of a service, as systemd has it: of what other units are there is nothing to be restarted.
fn unit_name(unit: String) -> Result<String, EntryProblem> {
    let stem = unit.strip_suffix(".service").unwrap_or_default();
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    if !stem.is_empty() && stem.chars().all(known) { Ok(unit) } else { Err(EntryProblem::NoUnit) }
}

/// Refuses a key that would be ignored for this kind of service.
fn fits(entry: &ServiceFragment, kind: &'static str, allowed: &[&str]) -> Result<(), EntryProblem> {
    let given = [
        ("grace", entry.grace.is_some()),
        ("refresh", entry.refresh.is_some()),
        ("signal", entry.signal.is_some()),
        ("limit", entry.limit.is_some()),
    ];
    match given.into_iter().find(|(key, given)| *given && !allowed.contains(key)) {
        Some((key, _)) => Err(EntryProblem::NotWith { key, other: kind }),
        None => Ok(()),
    }
}

fn unit_refresh(verb: Option<Verb>, signal: Option<Signal>) -> Result<UnitRefresh, EntryProblem> {
    match (verb, signal) {
        (Some(_), Some(_)) => Err(EntryProblem::NotWith { key: "signal", other: "refresh" }),
        (None, Some(signal)) => Ok(UnitRefresh::Signal(signal)),
        (Some(Verb::Restart), None) => Ok(UnitRefresh::Restart),
        (Some(Verb::Reload), None) => Ok(UnitRefresh::Reload),
        (Some(Verb::ReloadOrRestart) | None, None) => Ok(UnitRefresh::ReloadOrRestart),
    }
}

/// Words that can be run: there is a program with its full path, since systemd, which starts it,
/// looks for none in any list of directories; and no word holds a zero byte, at which the system
/// would end it.
fn words(command: Vec<String>) -> Result<Vec<String>, EntryProblem> {
    let has_program = command.first().is_some_and(|program| AbsolutePath::new(program).is_ok());
    if has_program && !command.iter().any(|word| word.contains('\0')) {
        Ok(command)
    } else {
        Err(EntryProblem::NoCommand)
    }
}

fn bounded(
    key: &'static str,
    given: Option<Period>,
    usual: Duration,
) -> Result<Duration, EntryProblem> {
    match given.map_or(usual, Period::as_duration) {
        length if length > LONGEST => Err(EntryProblem::TooLong { key, most: "10m" }),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Profile;

    fn read(keys: &str) -> Result<ServiceKind, String> {
        let text = format!("format = 1\nname = \"x\"\n[[service]]\nname = \"a\"\n{keys}");
        let profile = Profile::parse(Path::new("x.toml"), &text).map_err(|e| e.to_string())?;
        Ok(profile.services[0].kind.clone())
    }

    #[test]
    fn each_service_kind_has_own_keys() {
        let second = Duration::from_secs(1);
        let unit = |refresh| ServiceKind::Unit { unit: "a.service".to_owned(), refresh };
        let command = vec!["/usr/bin/thing".to_owned(), String::new()];
        for (keys, kind) in [
            (
                "pod = 'a'",
                ServiceKind::StaticPod { pod: "a".to_owned(), manifest: None, grace: 30 * second },
            ),
            (
                "pod = 'a'\ngrace = '0s'",
                ServiceKind::StaticPod {
                    pod: "a".to_owned(),
                    manifest: None,
                    grace: Duration::ZERO,
                },
            ),
            ("unit = 'a.service'", unit(UnitRefresh::ReloadOrRestart)),
            (
                "unit = 'a.service'\nrefresh = 'reload-or-restart'",
                unit(UnitRefresh::ReloadOrRestart),
            ),
            ("unit = 'a.service'\nrefresh = 'reload'", unit(UnitRefresh::Reload)),
            ("unit = 'a.service'\nrefresh = 'restart'", unit(UnitRefresh::Restart)),
            ("unit = 'a.service'\nsignal = 'USR2'", unit(UnitRefresh::Signal(Signal::Usr2))),
            (
                "pid_file = '/run/a.pid'\nsignal = 'HUP'",
                ServiceKind::Process {
                    pid_file: AbsolutePath::new("/run/a.pid").unwrap(),
                    signal: Signal::Hup,
                    unit: None,
                },
            ),
            (
                "pid_file = '/run/a.pid'\nsignal = 'HUP'\nunit = 'a.service'",
                ServiceKind::Process {
                    pid_file: AbsolutePath::new("/run/a.pid").unwrap(),
                    signal: Signal::Hup,
                    unit: Some("a.service".to_owned()),
                },
            ),
            (
                "command = ['/usr/bin/thing', '']",
                ServiceKind::Command { command: command.clone(), limit: 30 * second },
            ),
            (
                "command = ['/usr/bin/thing', '']\nlimit = '10m'",
                ServiceKind::Command { command, limit: 600 * second },
            ),
        ] {
            assert_eq!(read(keys), Ok(kind), "{keys}");
        }
    }

    #[test]
    fn incompatible_keys_are_refused() {
        let command = "command is no command: give the program with its full path and its \
            arguments as a list of words, such as [\"/usr/bin/thing\", \"reload\"]";
        let unit = "unit is no service's unit: give its full name, such as \"haproxy.service\"";
        for (keys, problem) in [
            (
                "pod = 'a'\nunit = 'b.service'",
                "it is more than one kind of service: give one of pod, unit, pid_file and command",
            ),
            ("pod = 'a'\nrefresh = 'restart'", "refresh does not go with pod"),
            ("unit = 'a.service'\ngrace = '1s'", "grace does not go with unit"),
            (
                "unit = 'a.service'\nrefresh = 'reload'\nsignal = 'HUP'",
                "signal does not go with refresh",
            ),
            ("pid_file = '/a'", "signal is missing"),
            ("pid_file = '/a'\nsignal = 'HUP'\nlimit = '1s'", "limit does not go with pid_file"),
            ("command = ['/a']\nsignal = 'HUP'", "signal does not go with command"),
            ("command = []", command),
            ("command = ['']", command),
            ("command = ['a']", command),
            ("command = ['bin/a']", command),
            ("command = ['/a', \"b\\u0000\"]", command),
            ("unit = 'a'", unit),
            ("unit = 'a.socket'", unit),
            ("pid_file = '/a'\nsignal = 'HUP'\nunit = 'a'", unit),
            (
                "pid_file = '/a'\nunit = 'a.service'\nrefresh = 'reload'",
                "refresh does not go with pid_file",
            ),
            ("unit = '.service'", unit),
            ("unit = 'a b.service'", unit),
            (
                "unit = 'a.service'\nhealth = 'localhost'",
                "health is no URL: give one that begins with http:// or https://",
            ),
            (
                "unit = 'a.service'\nuses = [{ credential = 'c', takes = 'reloads', served_at = { \
                 urls = 'f' } }]",
                "served_at by flags does not go with unit",
            ),
            (
                "pod = 'a'\nuses = [{ credential = 'c', takes = 'new-connections' }]",
                "to_port of what takes new-connections is missing",
            ),
            (
                "pod = 'a'\nuses = [{ credential = 'c', takes = 'restart', to_port = 1 }]",
                "to_port does not go with what takes anything but new-connections",
            ),
            (
                "pod = 'a'\nuses = [{ credential = 'c', takes = 'restart' }, { credential = 'c', \
                 takes = 'reloads' }]",
                "uses names \"c\" twice",
            ),
            ("pod = 'a'\ngrace = '601s'", "grace is too long: it may be at most \"10m\""),
            ("command = ['/a']\nlimit = '1h'", "limit is too long: it may be at most \"10m\""),
        ] {
            assert_eq!(
                read(keys),
                Err(format!("x.toml:3: [[service]] \"a\": {problem}")),
                "{keys}"
            );
        }
    }

    #[test]
    fn address_has_host_and_port() {
        let served = |address: &str| {
            read(&format!(
                "unit = 'a.service'\nuses = [{{ credential = 'c', takes = 'restart', served_at = \
                 {{ address = '{address}' }} }}]"
            ))
        };
        for address in [
            "8443",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:70000",
            ":8443",
            "https://a:1",
            "fd00::1:8443",
        ] {
            assert!(
                served(address).unwrap_err().contains("expected address to be HOST:PORT"),
                "{address}"
            );
        }
        // The credential is not there, which is looked at last.
        for address in ["127.0.0.1:8443", "[fd00::1]:8443", "webhook.example.com:443"] {
            assert!(
                served(address).unwrap_err().contains("names nothing that is listed here"),
                "{address}"
            );
        }
    }

    #[test]
    fn unknown_signal_is_refused_with_known_ones() {
        let error = read("unit = 'a'\nsignal = 'KILL'").unwrap_err();
        assert_eq!(
            error,
            "x.toml:6:10: `signal = 'KILL'`: unknown variant `KILL`, expected one of `HUP`, \
             `USR1`, `USR2`, `TERM`"
        );
    }
}
