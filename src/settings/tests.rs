//! The configuration as operators meet it: what is accepted, what is refused, and in which words.

use std::path::Path;

use proptest::prelude::*;
use serde::Deserializer;
use serde::de::value::Error as FieldError;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::entries::{AuthorityFragment, CopyFragment, CredentialFragment};
use super::merge::Fragment;
use super::profile::service::ServiceFragment;
use super::sinks::AlarmCommandFragment;
use super::tables::{
    AlarmsFragment, BackupsFragment, FaultManagementFragment, MetricsFragment, PathsFragment,
    RenewalFragment, ScheduleFragment,
};
use super::*;
use crate::model::{AbsolutePath, AuthorityName, KeyChoice, Location};

const MAIN: &str = "/etc/kubecertd/kubecertd.toml";
const SHIPPED: &str = include_str!("../../config/kubecertd.toml");

fn read(text: &str) -> Result<Settings, SettingsError> {
    Settings::from_files(&[(MAIN, text)])
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn empty_configuration_is_default() {
    assert_eq!(read("").unwrap(), Settings::default());
    assert_eq!(Settings::from_files::<&str, &str>(&[]).unwrap(), Settings::default());
}

#[test]
fn values_are_read_from_their_keys() {
    let text = r#"
        profile = "site"
        [renewal]
        renew_before = "20d"
        urgent_before = "36h"
        validity = "90d"
        backdate = "0s"
        key_algorithm = "ECDSA-P384"
        [schedule]
        cron = "0 30 3 * * MON"
        time_zone = "UTC"
        [alarms]
        ca_expires_within = "60d"
        root_ca_expires_within = "1d"
        [paths]
        state = "/srv/state"
        manifests = "/srv/manifests"
        profiles = "/srv/profiles"
        [backups]
        keep = 1000
    "#;
    let settings = read(text).unwrap();
    assert_eq!(settings.profile.as_str(), "site");
    assert_eq!(*settings.renewal.renew_before, Period::from_days(20));
    assert_eq!(settings.renewal.urgent_before.to_string(), "1d12h");
    assert_eq!(*settings.renewal.validity, Validity::For(Period::from_days(90)));
    assert_eq!(*settings.renewal.backdate, Period::ZERO);
    assert_eq!(*settings.renewal.key_algorithm, KeyChoice::EcdsaP384);
    assert_eq!(settings.schedule.cron.as_str(), "0 30 3 * * MON");
    assert_eq!(settings.schedule.time_zone.to_string(), "UTC");
    assert_eq!(*settings.alarms.ca_expires_within, Period::from_days(60));
    assert_eq!(*settings.alarms.root_ca_expires_within, Period::from_days(1));
    assert_eq!(settings.paths.state.to_string(), "/srv/state");
    assert_eq!(settings.paths.manifests.to_string(), "/srv/manifests");
    assert_eq!(
        settings.profile_file(&settings.profile).unwrap().to_string(),
        "/srv/profiles/site.toml"
    );
    assert_eq!(settings.backups.keep.get(), 1000);
}

#[test]
fn later_file_wins_by_key_and_lists_add_up() {
    let own = |name: &str| {
        format!("[[ca]]\nname = \"{name}\"\ncertificate = \"/a.crt\"\nkey = \"/a.key\"\n")
    };
    let settings = Settings::from_files(&[
        (
            "main.toml",
            format!("[renewal]\nrenew_before = \"20d\"\nvalidity = \"100d\"\n{}", own("one")),
        ),
        ("d/10.toml", format!("renewal.renew_before = \"25d\"\n{}", own("two"))),
        ("d/20.toml", "\n[renewal]\nrenew_before = \"30d\"".to_owned()),
    ])
    .unwrap();
    assert_eq!(*settings.renewal.renew_before, Period::from_days(30));
    assert_eq!(settings.renewal.renew_before.origin().to_string(), "d/20.toml:3");
    assert_eq!(*settings.renewal.validity, Validity::For(Period::from_days(100)));
    assert_eq!(settings.renewal.validity.origin().to_string(), "main.toml:3");
    let names: Vec<&str> =
        settings.authorities.iter().map(|authority| authority.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn drop_ins_sort_by_name_without_editor_leftovers() {
    let names = [
        "9.toml",
        "20-b.toml",
        "10-a.toml",
        ".10-a.toml",
        "10-a.toml~",
        "README",
        "10-a.toml.rpmsave",
    ];
    assert_eq!(drop_ins(names.map(str::to_owned)), ["10-a.toml", "20-b.toml", "9.toml"]);
}

#[test]
fn own_credentials_have_one_location() {
    let text = r#"
        [[credential]]
        name = "pair"
        ca = "ca"
        certificate = "/a.crt"
        key = "/a.key"
        [[credential]]
        name = "kubeconfig"
        kubeconfig = "/a.conf"
        optional = true
        [[credential]]
        name = "bundle"
        bundle = "/a.pem"
    "#;
    let [pair, kubeconfig, bundle] =
        <[OwnCredential; 3]>::try_from(read(text).unwrap().credentials).unwrap();
    let path = |path| AbsolutePath::new(path).unwrap();
    assert_eq!(pair.location, Location::Pair { certificate: path("/a.crt"), key: path("/a.key") });
    assert_eq!(pair.authority, AuthorityName::new("ca").ok());
    assert!(!pair.optional);
    assert_eq!(pair.origin.to_string(), format!("{MAIN}:2"));
    assert_eq!(kubeconfig.location, Location::Kubeconfig(path("/a.conf")));
    assert!(kubeconfig.optional);
    assert_eq!(bundle.location, Location::Bundle(path("/a.pem")));
    assert_eq!(bundle.origin.to_string(), format!("{MAIN}:11"));
}

/// The whole text, so that a change of wording is seen here as an operator would see it.
#[test]
fn refusals_name_place_value_and_expectation() {
    let table = [
        // Keys that are not ours.
        (
            "\n[renewal]\nrenew_befor = \"15d\"",
            "/etc/kubecertd/kubecertd.toml:3:1: `renew_befor = \"15d\"`: unknown field \
             `renew_befor`, expected one of \
             `renew_before`, `urgent_before`, `validity`, `backdate`, `key_algorithm`, \
             `make_admin_conf`; did you mean `renew_before`?",
        ),
        (
            "[renewals]",
            "/etc/kubecertd/kubecertd.toml:1:2: `[renewals]`: unknown field `renewals`, expected \
             one of `profile`, `renewal`, \
             `root_ca`, `schedule`, `alarms`, `metrics`, `paths`, `backups`, `ca`, `credential`, \
             `copy`, `service`; did you mean `renewal`?",
        ),
        (
            "[[credential]]\nname = \"x\"\npath = \"/x\"",
            "/etc/kubecertd/kubecertd.toml:3:1: `path = \"/x\"`: unknown field `path`, expected \
             one of `name`, `ca`, \
             `optional`, `certificate`, `key`, `kubeconfig`, `user`, `bundle`, `trial`",
        ),
        // Wrong types.
        (
            "[renewal]\nrenew_before = 15",
            "/etc/kubecertd/kubecertd.toml:2:16: `renew_before = 15`: invalid type: integer `15`, \
             expected a duration such as \
             \"15d\" in quotes",
        ),
        (
            "renewal = true",
            "/etc/kubecertd/kubecertd.toml:1:11: `renewal = true`: invalid type: boolean `true`, \
             expected a table",
        ),
        (
            "[backups]\nkeep = \"ten\"",
            "/etc/kubecertd/kubecertd.toml:2:8: `keep = \"ten\"`: invalid type: string \"ten\", \
             expected a whole number from 1 to 1000",
        ),
        // Wrong values.
        (
            "[renewal]\n  validity = \"1y\"  # a year",
            "/etc/kubecertd/kubecertd.toml:2:14: `validity = \"1y\"  # a year`: \"1y\" is not a \
             duration: write whole days, hours, \
             minutes and seconds, such as \"15d\", \"36h\", \"1d12h\", \"5m\" or \"90s\"",
        ),
        (
            "[renewal]\nkey_algorithm = \"RSA\"",
            "/etc/kubecertd/kubecertd.toml:2:17: `key_algorithm = \"RSA\"`: \"RSA\" is not a key \
             algorithm: use keep, RSA-2048, RSA-3072, \
             RSA-4096, ECDSA-P256 or ECDSA-P384",
        ),
        (
            "[schedule]\ncron = \"0 0 * * *\"",
            "/etc/kubecertd/kubecertd.toml:2:8: `cron = \"0 0 * * *\"`: \"0 0 * * *\" is not a \
             cron expression of six fields (second, \
             minute, hour, day of month, month, day of week), such as \"0 0 0 * * *\" for midnight",
        ),
        (
            "[schedule]\ntime_zone = \"Mars/Olympus\"",
            "/etc/kubecertd/kubecertd.toml:2:13: `time_zone = \"Mars/Olympus\"`: \"Mars/Olympus\" \
             is not a time zone of this machine: use \
             \"local\", \"UTC\" or a name such as \"Europe/Berlin\" (which needs the tzdata \
             package)",
        ),
        (
            "[paths]\nstate = \"var/lib\"",
            "/etc/kubecertd/kubecertd.toml:2:9: `state = \"var/lib\"`: \"var/lib\" is not an \
             absolute path",
        ),
        (
            "[backups]\nkeep = 0",
            "/etc/kubecertd/kubecertd.toml:2:8: `keep = 0`: 0 is out of range, expected a whole \
             number from 1 to 1000",
        ),
        (
            "[backups]\nkeep = 70000",
            "/etc/kubecertd/kubecertd.toml:2:8: `keep = 70000`: 70000 is out of range, expected a \
             whole number from 1 to 1000",
        ),
        (
            "profile = \"../x\"",
            "/etc/kubecertd/kubecertd.toml:1:11: `profile = \"../x\"`: \"../x\" is not the name of \
             a profile: use 1 to 64 letters, digits, \
             '-' and '_', such as \"kubeadm\"",
        ),
        // No TOML.
        (
            "[renewal]\nvalidity = 365d",
            "/etc/kubecertd/kubecertd.toml:2:12: `validity = 365d`: string values must be quoted, \
             expected literal string",
        ),
        (
            "[renewal]\nvalidity = \"1d\"\nvalidity = \"2d\"",
            "/etc/kubecertd/kubecertd.toml:3:1: `validity = \"2d\"`: duplicate key",
        ),
        // Entries.
        (
            "\n[[ca]]\nname = \"x\"\ncertificate = \"/x\"",
            "/etc/kubecertd/kubecertd.toml:2: [[ca]] \"x\": key is missing",
        ),
        (
            "[[credential]]\nbundle = \"/x\"",
            "/etc/kubecertd/kubecertd.toml:1: [[credential]]: name is missing",
        ),
        (
            "[[credential]]\nname = \"x\"",
            "/etc/kubecertd/kubecertd.toml:1: [[credential]] \"x\": its files are missing: give \
             certificate and key, or kubeconfig, or bundle",
        ),
        (
            "[[credential]]\nname = \"x\"\nkey = \"/x\"",
            "/etc/kubecertd/kubecertd.toml:1: [[credential]] \"x\": certificate is missing",
        ),
        (
            "[[credential]]\nname = \"x\"\nkey = \"/x\"\ncertificate = \"/y\"\nbundle = \"/z\"",
            "/etc/kubecertd/kubecertd.toml:1: [[credential]] \"x\": it has more than one \
             location: give either certificate and key, or \
             kubeconfig, or bundle",
        ),
        (
            "[[credential]]\nname = \"x\"\nbundle = \"/x\"\n[[credential]]\nname = \"x\"\nbundle = \
             \"/y\"",
            "/etc/kubecertd/kubecertd.toml:4: [[credential]] \"x\" has the name of the one at \
             /etc/kubecertd/kubecertd.toml:1: give each \
             its own name",
        ),
        // Values that do not fit each other.
        (
            "[renewal]\nurgent_before = \"16d\"",
            "renewal.urgent_before = \"16d\" (/etc/kubecertd/kubecertd.toml:2) is longer than \
             renewal.renew_before = \"15d\" (the \
             default): a certificate is due first and urgent later, so it may be at most as long",
        ),
        (
            "[renewal]\nvalidity = \"16d\"",
            "renewal.validity = \"16d\" (/etc/kubecertd/kubecertd.toml:2) is too short for \
             renewal.renew_before = \"15d\" (the default): the validity has to be longer than \
             that by more than a day, or each pass would renew again",
        ),
        (
            "[renewal]\nbackdate = \"25h\"",
            "renewal.backdate = \"1d1h\" (/etc/kubecertd/kubecertd.toml:2) is too long: it covers \
             small differences between clocks, and may \
             be at most \"1d\"",
        ),
        (
            "[renewal]\nrenew_before = \"0s\"\nurgent_before = \"0s\"",
            "renewal.renew_before = \"0s\" (/etc/kubecertd/kubecertd.toml:2) is too short: a \
             certificate has to be renewed before it expires",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn conflicting_values_name_both_origins() {
    let files = [
        ("main.toml", "[renewal]\nurgent_before = \"9d\""),
        ("d/10.toml", "\n\n[renewal]\nrenew_before = \"8d\""),
    ];
    let error = Settings::from_files(&files).unwrap_err().to_string();
    assert!(error.starts_with(
        "renewal.urgent_before = \"9d\" (main.toml:2) is longer than \
        renewal.renew_before = \"8d\" (d/10.toml:4)"
    ));
}

#[test]
fn limits_are_inclusive() {
    let text = "[renewal]\nrenew_before = \"15d\"\nurgent_before = \"15d\"\nvalidity = \
        \"16d1s\"\nbackdate = \"1d\"\n[backups]\nkeep = 1";
    assert_eq!(read(text).map(drop), Ok(()));
}

#[test]
fn refusal_shows_no_control_characters() {
    let error = refusal("profile = \"\"\"a\u{1b}[2J\"\"\"");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn refusal_cuts_long_lines() {
    assert!(refusal(&format!("x = '{}'", "long ".repeat(1000))).len() < 400);
}

#[test]
fn effective_configuration_shows_origins() {
    let text =
        "profile = \"kubeadm\"\n[backups]\nkeep = 3\n[[credential]]\nname = \"x\"\nbundle = \"/x\"";
    let shown = read(text).unwrap().show();
    assert!(shown.starts_with(
        "profile = \"kubeadm\"  # \
            /etc/kubecertd/kubecertd.toml:1\n\n[renewal]\nrenew_before = \"15d\"  # default\n"
    ));
    assert!(shown.contains("[backups]\nkeep = 3  # /etc/kubecertd/kubecertd.toml:3\n"), "{shown}");
    assert!(
        shown.ends_with(
            "\n[[credential]]  # /etc/kubecertd/kubecertd.toml:4\nname = \
            \"x\"\noptional = false\nbundle = \"/x\"\n"
        ),
        "{shown}"
    );
}

#[test]
fn effective_configuration_reads_back() {
    let examples = uncommented(SHIPPED, "#   ");
    for text in [
        "",
        "[renewal]\nrenew_before = \"84h\"\n[schedule]\ntime_zone = \"UTC\"",
        &examples,
        &every_service(),
    ] {
        let settings = read(text).unwrap();
        let again = read(&settings.show()).unwrap();
        assert_eq!(
            again.show().lines().map(without_comment).collect::<Vec<_>>(),
            settings.show().lines().map(without_comment).collect::<Vec<_>>()
        );
        assert_eq!(again.renewal, settings.renewal);
        assert_eq!(again.credentials.len(), settings.credentials.len());
        let places = |settings: &Settings| {
            settings
                .copies
                .iter()
                .map(|copy| (copy.of.clone(), copy.location.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&again), places(&settings));
        let services = |settings: &Settings| {
            settings.services.iter().map(|own| own.service.clone()).collect::<Vec<_>>()
        };
        assert_eq!(services(&again), services(&settings));
    }
}

/// Services of each kind, each with all that it may say.
fn every_service() -> String {
    let kinds = [
        "pod = 'a'\ngrace = '1m30s'\nages_before = \"1.33\"\nessential = 'etcd-member'",
        "pod = 'a'\nessential = 'api-server'",
        "unit = 'a.service'",
        "unit = 'a.service'\nrefresh = 'restart'\nhealth = 'http://127.0.0.1/\"x\"'",
        "unit = 'a.service'\nrefresh = 'reload'",
        "unit = 'a.service'\nsignal = 'HUP'",
        "pid_file = '/run/a b.pid'\nsignal = 'TERM'",
        "command = ['/bin/a', '', 'b \"c\"', '$d']\nlimit = '5m'",
    ];
    let uses = "{ credential = 'a', takes = 'restart', served_at = { address = '[::1]:1' } }, { \
        credential = 'b', takes = 'reloads' }, \
                { credential = 'c', takes = 'new-connections', to_port = 1 }";
    let flags = "{ credential = 'd', takes = 'reloads', served_at = { urls = 'u' } }, \
                 { credential = 'e', takes = 'reloads', served_at = { hosts = ['h', 'i'], port = \
                 'p', default_port = 1 } }";
    let entry = |(index, kind): (usize, &&str)| {
        let flags = if kind.starts_with("pod") { flags } else { "" };
        format!("[[service]]\nname = 's{index}'\n{kind}\nuses = [{uses}, {flags}]\n")
    };
    kinds.iter().enumerate().map(entry).collect()
}

#[test]
fn own_services_have_all_kinds_of_profiles() {
    let settings = read(&every_service()).unwrap();
    let profile = Profile::parse(
        Path::new("x.toml"),
        &format!(
            "format = 1\nname = \"x\"\n{}{}",
            ["a", "b", "c", "d", "e"]
                .map(|name| format!("[[credential]]\nname = '{name}'\nbundle = '/{name}'\n"))
                .concat(),
            every_service(),
        ),
    );
    let own: Vec<_> = settings.services.iter().map(|own| own.service.clone()).collect();
    assert_eq!(own, profile.unwrap().services);
    assert_eq!(settings.services[1].origin.to_string(), format!("{MAIN}:8"));
}

#[test]
fn invalid_own_services_and_trials_are_refused() {
    let uses = "uses = [{ credential = 'a', takes = 'restart' }]";
    for (keys, problem) in [
        (
            format!("unit = 'a.service'\npod = 'a'\n{uses}"),
            "it is more than one kind of service: give one of pod, unit, pid_file and command",
        ),
        (uses.to_owned(), "one of pod, unit, pid_file and command is missing"),
        ("unit = 'a.service'".to_owned(), "uses is missing"),
        (
            format!("command = ['a']\n{uses}"),
            "command is no command: give the program with its full path and its arguments as a \
             list of words, such as \
             [\"/usr/bin/thing\", \"reload\"]",
        ),
    ] {
        let expected = format!("{MAIN}:2: [[service]] \"s\": {problem}");
        assert_eq!(refusal(&format!("\n[[service]]\nname = 's'\n{keys}")), expected);
    }
    assert_eq!(
        refusal(&format!("[[service]]\nunit = 'a.service'\n{uses}")),
        format!("{MAIN}:1: [[service]]: name is missing")
    );
    let twice = format!("[[service]]\nname = 's'\nunit = 'a.service'\n{uses}\n");
    let said = refusal(&format!("{twice}{twice}"));
    assert_eq!(
        said,
        format!(
            "{MAIN}:5: [[service]] \"s\" has the name of the one at {MAIN}:1: give each its own \
             name"
        )
    );
    let unknown = refusal(&format!("[[service]]\nname = 's'\nunits = 'a.service'\n{uses}"));
    assert!(
        unknown.starts_with(&format!("{MAIN}:3:1: ")) && unknown.ends_with("did you mean `unit`?"),
        "{unknown}"
    );
    let relative =
        refusal(&format!("[[service]]\nname = 's'\npid_file = 'a.pid'\nsignal = 'HUP'\n{uses}"));
    assert!(relative.starts_with(&format!("{MAIN}:3:")), "{relative}");

    for (keys, problem) in [
        ("bundle = '/a'\ntrial = { path = '/api' }", "a service in trial is missing"),
        (
            "kubeconfig = '/a'\ntrial = { path = '/api', service = 's' }",
            "a service in trial does not go with kubeconfig, which names its own server",
        ),
    ] {
        assert_eq!(
            refusal(&format!("[[credential]]\nname = 'c'\n{keys}")),
            format!("{MAIN}:1: [[credential]] \"c\": {problem}")
        );
    }
}

fn without_comment(line: &str) -> &str {
    line.split("  # ").next().unwrap_or(line)
}

// ---- the configuration file that is shipped ----

/// The file with every line that begins with the mark made a line of configuration.
fn uncommented(text: &str, mark: &str) -> String {
    let line = |line: &str| {
        line.strip_prefix(mark)
            .filter(|rest| mark != "#" || !rest.starts_with(' '))
            .map_or(line.to_owned(), str::to_owned)
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_configuration_states_defaults() {
    assert_eq!(read(SHIPPED).unwrap(), Settings::default());
    let all = read(&uncommented(SHIPPED, "#")).unwrap();
    assert_eq!(all, Settings::default());
    assert!(
        !all.show().contains("# default"),
        "a key of the code is not in the shipped file:\n{}",
        all.show()
    );
}

#[test]
fn shipped_configuration_shows_every_key() {
    let shown = |key: &str| {
        SHIPPED
            .lines()
            .any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = ")))
    };
    let sections = [
        fields::<RenewalFragment>(),
        fields::<ScheduleFragment>(),
        fields::<AlarmsFragment>()
            .into_iter()
            .filter(|key| !["fm", "command"].contains(key))
            .collect(),
        fields::<FaultManagementFragment>(),
        fields::<AlarmCommandFragment>(),
        fields::<MetricsFragment>(),
        fields::<PathsFragment>(),
        fields::<BackupsFragment>(),
        fields::<AuthorityFragment>(),
        fields::<CredentialFragment>(),
        fields::<CopyFragment>(),
        fields::<ServiceFragment>()
            .into_iter()
            .filter(|key| {
                !["essential", "leader_lease", "ages_before", "one_certificate"].contains(key)
            })
            .collect(),
    ];
    for key in sections.concat() {
        assert!(shown(key), "{key}");
    }
    for table in fields::<Fragment>().iter().filter(|table| **table != "profile") {
        assert!(SHIPPED.contains(&format!("[{table}]")), "{table}");
    }
    assert!(SHIPPED.contains("\n[alarms.fm]\n") && SHIPPED.contains("[[alarms.command]]"));
    assert!(shown("profile"));
}

#[test]
fn examples_in_shipped_configuration_are_valid() {
    let settings = read(&uncommented(SHIPPED, "#   ")).unwrap();
    assert_eq!(settings.authorities.len(), 1);
    assert_eq!(settings.credentials.len(), 4);
    assert_eq!(settings.copies.len(), 3);
    assert_eq!(settings.services.len(), 4);
    assert_eq!(settings.alarm_commands.len(), 1);
}

#[test]
fn alarm_sinks_are_read_from_their_keys() {
    let text = r#"
        [alarms.fm]
        enabled = true
        command = "/usr/bin/fm"
        timeout = "5m"
        [[alarms.command]]
        name = "pager"
        run = ["/usr/bin/page", "--who", ""]
        [[alarms.command]]
        name = "mail"
        run = ["/usr/bin/mail"]
        timeout = "1s"
    "#;
    let settings = read(text).unwrap();
    let fm = &settings.fault_management;
    assert_eq!(
        (*fm.enabled, fm.command.to_string(), fm.timeout.to_string()),
        (true, "/usr/bin/fm".to_owned(), "5m".to_owned())
    );
    let commands: Vec<_> = settings
        .alarm_commands
        .iter()
        .map(|one| (one.name.as_str(), one.run.len(), one.timeout.to_string()))
        .collect();
    assert_eq!(commands, [("pager", 3, "30s".to_owned()), ("mail", 1, "1s".to_owned())]);
}

#[test]
fn invalid_alarm_sinks_are_refused() {
    let run = "run is no command: give the program with its full path and its arguments as a list \
        of words, such as [\"/usr/bin/thing\", \"--now\"]";
    for (keys, problem) in [
        ("name = 'a'", "run is missing"),
        ("name = 'a'\nrun = []", run),
        ("name = 'a'\nrun = ['mail']", run),
        ("name = 'a'\nrun = ['/usr/bin/mail', \"a\\u0000\"]", run),
        (
            "name = 'a'\nrun = ['/usr/bin/mail']\ntimeout = '0s'",
            "timeout has to be from \"1s\" to \"5m\"",
        ),
        (
            "name = 'a'\nrun = ['/usr/bin/mail']\ntimeout = '301s'",
            "timeout has to be from \"1s\" to \"5m\"",
        ),
    ] {
        assert_eq!(
            refusal(&format!("[[alarms.command]]\n{keys}")),
            format!("{MAIN}:1: [[alarms.command]] \"a\": {problem}"),
            "{keys}"
        );
    }
    let twice = "[[alarms.command]]\nname = 'a'\nrun = ['/a']\n".repeat(2);
    assert!(refusal(&twice).contains("[[alarms.command]] \"a\" has the name of the one at "));
    assert_eq!(
        refusal("[alarms.fm]\ntimeout = \"0s\""),
        format!(
            "alarms.fm.timeout = \"0s\" ({MAIN}:2) can't be: give a time from \"1s\" to \"5m\""
        )
    );
    assert!(refusal("[alarms.fm]\nenable = true").contains("did you mean `enabled`?"));
}

/// The fields that a derived `Deserialize` names when it asks for a struct.
fn fields<T: DeserializeOwned>() -> Vec<&'static str> {
    struct Ask<'a>(&'a mut Vec<&'static str>);
    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = FieldError;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, FieldError> {
            self.0.extend(fields);
            Err(FieldError::custom("the fields are known now"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, FieldError> {
            Err(FieldError::custom("not a struct"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut names = Vec::new();
    assert!(T::deserialize(Ask(&mut names)).is_err());
    assert!(!names.is_empty());
    names
}

// ---- profiles ----

#[test]
fn kubeadm_profile_lists_kubeadm_files() {
    let profile = Profile::kubeadm().unwrap();
    let names: Vec<&str> = profile.authorities.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["ca", "front-proxy-ca", "etcd-ca"]);
    let names: Vec<&str> = profile.services.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"]
    );
    assert_eq!(profile.credentials.len(), 13);
    let ours =
        profile.credentials.iter().filter(|entry| entry.renewal == crate::model::Renewal::Ours);
    assert!(ours.clone().all(|entry| entry.authority.is_some()));
    assert_eq!(ours.count(), 11);
}

#[test]
fn profile_file_replaces_built_in_profile() {
    let own = "format = 1\nname = \"site\"\n";
    let (settings, kubeadm) = (read("profile = \"site\"").unwrap(), ProfileName::kubeadm());
    let load = |name: &ProfileName, own| Profile::load(&settings, name, own);
    assert_eq!(load(&kubeadm, Some(own)).unwrap().name.as_str(), "site");
    for built_in in [kubeadm, ProfileName::worker()] {
        assert_eq!(load(&built_in, None).unwrap().name, built_in);
    }
    let error = load(&settings.profile, None).unwrap_err().to_string();
    assert_eq!(
        error,
        "profile = \"site\" (/etc/kubecertd/kubecertd.toml:1): there is no such profile: this \
         kubecertd brings kubeadm and worker; another one is \
         read from /etc/kubecertd/profiles/site.toml"
    );
}

#[test]
fn profile_refusals_name_the_place() {
    let table = [
        (
            "name = \"x\"\nformat = 2\nnew_key = 1",
            "x.toml:2: format = 2 is not the one that this kubecertd reads (1): a newer format \
             needs a newer kubecertd",
        ),
        ("format = 1", "x.toml:1:1: `format = 1`: missing field `name`"),
        (
            "format = 1\nname = \"x\"\n[[credential]]\nname = \"a\"\nca = \"b\"\nbundle = \
             \"/x\"",
            "x.toml:3: [[credential]] \"a\": ca = \"b\" names nothing that is listed here",
        ),
        (
            "format = 1\nname = \"x\"\n[[service]]\nname = \"a\"\nunit = \"a.service\"\nuses = [{ \
             credential = \"c\", takes = \"restart\" }]",
            "x.toml:3: [[service]] \"a\": uses = \"c\" names nothing that is listed here",
        ),
        (
            "format = 1\nname = \"x\"\n[[service]]\nname = \"a\"",
            "x.toml:3: [[service]] \"a\": one of pod, unit, pid_file and command is missing",
        ),
        (
            "format = 1\nname = \"x\"\n[[service]]\nname = \"a\"\npod = \"a\"\nuses = [{ \
             credential = \"c\", takes = \"reloads\", \
             served_at = { port = \"p\" } }]",
            "x.toml:6:60: `uses = [{ credential = \"c\", takes = \"reloads\", served_at = { port = \
             \"p\" } }]`: expected hosts, port and default_port, or urls, or address",
        ),
        (
            "format = 1\nname = \"x\"\n[[credential]]\nname = \"a\"\nbundle = \"/x\"\nflags = { \
             pod = \"a\", key = \"k\" }",
            "x.toml:6:9: `flags = { pod = \"a\", key = \"k\" }`: expected the flags for \
             certificate and key, or the one for kubeconfig",
        ),
        (
            "format = 1\nname = \"x\"\n[[credential]]\nname = \"a\"\nbundle = \"/x\"\ntrial = { \
             service = \"s\", path = \"/\" }",
            "x.toml:3: [[credential]] \"a\": trial = \"s\" names nothing that is listed here",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            Profile::parse(Path::new("x.toml"), text).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }
}

// ---- any text ----

/// Lines that look like a configuration, so that more than the TOML parser is reached.
fn toml_like() -> impl Strategy<Value = String> {
    let table = prop::sample::select(vec![
        "[renewal]",
        "[schedule]",
        "[backups]",
        "[paths]",
        "[[credential]]",
        "[[ca]]",
        "[x]",
    ]);
    let key = prop::sample::select(vec![
        "renew_before",
        "validity",
        "backdate",
        "urgent_before",
        "cron",
        "time_zone",
        "keep",
        "state",
        "name",
        "key",
        "certificate",
        "bundle",
        "profile",
    ]);
    let value = prop_oneof![
        "\"[0-9]{1,20}[a-z ]{0,3}\"",
        "\"/?[a-z./]{0,8}\"",
        "\\PC{0,12}",
        any::<i64>().prop_map(|number| number.to_string()),
        Just("[[]]".to_owned()),
    ];
    let line = prop_oneof![
        table.prop_map(str::to_owned),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        "\\PC{0,20}"
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in toml_like()) {
        if let Err(error) = read(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
        let _ = Profile::parse(Path::new("x.toml"), &format!("format = 1\n{text}"));
    }
}

#[test]
fn state_directory_is_not_among_manifests() {
    let text = |state: &str| {
        format!("[paths]\nmanifests = \"/etc/kubernetes/manifests\"\nstate = \"{state}\"\n")
    };
    for state in [
        "/etc/kubernetes/manifests",
        "/etc/kubernetes/manifests/kubecertd",
        "/etc/kubernetes/../kubernetes/manifests/a/b",
    ] {
        let error = Settings::from_files(&[("a.toml", text(state))]).unwrap_err().to_string();
        assert!(
            error.starts_with("paths.state = ") && error.contains("kubelet runs every file there"),
            "{error}"
        );
    }
    assert!(Settings::from_files(&[("a.toml", text("/etc/kubernetes/manifests-of-ours"))]).is_ok());
}
