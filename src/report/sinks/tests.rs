use super::*;
use crate::drivers::command::{Ending, Output};
use crate::model::{AlarmKind, Timestamp};
use crate::settings::Settings;

fn alarm(kind: AlarmKind, entity: &str, reason: &str) -> Alarm {
    Alarm {
        kind,
        entity: entity.to_owned(),
        about: vec![reason.to_owned()],
        text: match kind {
            AlarmKind::RenewalFailed => "Kubernetes certificates renewal failed.".to_owned(),
            _ => "A text.".to_owned(),
        },
        reason: reason.to_owned(),
        repair: "Do it.".to_owned(),
        raised: Timestamp::from_seconds(1_800_000_000),
    }
}

const HERE: MessageContext<'static> =
    MessageContext { host: "controller-0", now: Timestamp::from_seconds(1_800_000_060) };

fn sinks(toml: &str) -> Vec<Sink> {
    Sink::from_settings(&Settings::from_files(&[("a.toml", toml)]).unwrap())
}

fn fm() -> Sink {
    sinks("alarms.fm.enabled = true").remove(0)
}

fn next(sink: &Sink, delivered: &[Alarm], in_force: &[Alarm]) -> Option<Delivery> {
    sink.next_delivery(delivered, in_force, HERE).map(Result::unwrap)
}

/// The string for fmClientCli, split as its parser does.
fn fields(message: &Delivery) -> (String, Vec<String>) {
    let words = message.argv.words();
    assert_eq!((words.len(), words[0].as_str()), (3, "/usr/local/bin/fmClientCli"));
    let inner = words[2].strip_prefix("###").and_then(|rest| rest.strip_suffix("###")).unwrap();
    let fields: Vec<String> = inner.split("###").map(str::to_owned).collect();
    assert!(fields.iter().all(|field| !field.is_empty() && field.len() <= 254), "{fields:?}");
    (words[1].clone(), fields)
}

#[test]
fn no_sink_exists_without_configuration() {
    assert_eq!(sinks("").len(), 0);
}

#[test]
fn fault_management_gets_exact_string() {
    let failed = alarm(AlarmKind::RenewalFailed, "host=controller-0", "apiserver: no space");
    let message = next(&fm(), &[], &[failed]).unwrap();
    assert_eq!(
        message.argv.words()[1..],
        [
            "-c",
            "### ###250.003###set###host###host=controller-0### ###major###Kubernetes certificates \
             renewal failed.###\
             operational-violation###unspecified-reason###Lock and unlock the host to update \
             services with new certificates (Manually \
             renew kubernetes certificates first if renewal failed). Reason: apiserver: no \
             space###False###False###False###False###"
        ]
    );
    let (way, fields) = fields(&message);
    assert_eq!((way.as_str(), fields.len()), ("-c", 15));
}

#[test]
fn certificate_alarm_has_its_own_fields() {
    let soon = alarm(AlarmKind::ExpiringSoon, "system.certificate.etcd-ca", "soon");
    let (_, fields) = fields(&next(&fm(), &[], &[soon]).unwrap());
    let expected = [
        " ",
        "500.200",
        "set",
        "certificate",
        "system.certificate.etcd-ca",
        " ",
        "major",
        "A text.",
        "security-service-or-mechanism-violation",
        "certificate-expiration",
        "Do it.",
        "False",
        "False",
        "False",
        "False",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn cleared_alarm_is_deleted_by_number_and_entity() {
    let expired = alarm(AlarmKind::Expired, "system.certificate.ca", "");
    let message = next(&fm(), &[expired], &[]).unwrap();
    assert_eq!(message.argv.words()[1..], ["-d", "###500.210###system.certificate.ca###"]);
}

#[test]
fn hostile_text_keeps_fifteen_fields() {
    let reasons = [
        "###",
        "a######b",
        "#",
        "ends with #",
        "a\nb\tc",
        "",
        "ä".repeat(500).as_str(),
        "#".repeat(300).as_str(),
        "a ## b #### c",
    ]
    .map(str::to_owned);
    for reason in reasons {
        for text in [reason.as_str(), "x"] {
            let mut hostile = alarm(AlarmKind::ExpiringSoon, "system.certificate.ca", "");
            (hostile.text, hostile.repair) = (text.to_owned(), reason.clone());
            let (_, fields) = fields(&next(&fm(), &[], &[hostile]).unwrap());
            assert_eq!(fields.len(), 15, "{reason:?}");
        }
        let (_, fields) = fields(
            &next(&fm(), &[], &[alarm(AlarmKind::RenewalFailed, "host=a", &reason)]).unwrap(),
        );
        assert_eq!(fields.len(), 15, "{reason:?}");
    }
}

/// Both are one alarm of Fault Management, with the text of the failure.
#[test]
fn alarms_with_one_number_are_merged() {
    let failed = alarm(AlarmKind::RenewalFailed, "host=a", "one");
    let stale = alarm(AlarmKind::ServicesNotUpdated, "host=a", "two");
    let both = [stale.clone(), failed.clone()];
    let message = next(&fm(), &[], &both).unwrap();
    let (_, parts) = fields(&message);
    assert_eq!(parts[7], "Kubernetes certificates renewal failed.");
    assert!(parts[10].ends_with("Reason: one; two"), "{parts:?}");
    let mut delivered = Vec::new();
    message.apply(&mut delivered);
    assert_eq!(next(&fm(), &delivered, &both), None);
    // One of them is cleared: the alarm is created again, not deleted.
    let message = next(&fm(), &delivered, std::slice::from_ref(&stale)).unwrap();
    let (way, parts) = fields(&message);
    assert_eq!((way.as_str(), parts[7].as_str()), ("-c", "A text."));
    message.apply(&mut delivered);
    assert_eq!(delivered, std::slice::from_ref(&stale));
    assert_eq!(next(&fm(), &delivered, &[stale]), None);
    let message = next(&fm(), &delivered, &[]).unwrap();
    assert_eq!(message.argv.words()[1], "-d");
    message.apply(&mut delivered);
    assert_eq!(delivered, []);
}

#[test]
fn alarm_without_number_is_not_sent_to_fault_management() {
    assert_eq!(next(&fm(), &[], &[alarm(AlarmKind::OtherRenewer, "file=/etc/cron.d/a", "")]), None);
}

fn finished(code: i32, text: &str) -> Finished {
    let mut output = Output::default();
    output.push(text.as_bytes());
    Finished { ending: Ending::Code(code), output }
}

#[test]
fn fault_management_errors_are_distinguished() {
    let answer = |code, text| fm().reaction(&finished(code, text));
    assert_eq!(answer(0, "Ok\n4f2b3c\n"), Reaction::Delivered);
    assert_eq!(answer(255, "Alarm not found\n"), Reaction::Delivered);
    assert_eq!(
        answer(255, "Invalid alarm string\n"),
        Reaction::Rejected("it failed with exit code 255: Invalid alarm string".to_owned())
    );
    assert_eq!(
        answer(255, "no connection\n"),
        Reaction::Failed("it failed with exit code 255: no connection".to_owned())
    );
    assert_eq!(
        answer(1, "not found"),
        Reaction::Failed("it failed with exit code 1: not found".to_owned()),
        "a shell's words, not its"
    );
}

const PAGER: &str = "[[alarms.command]]\nname = 'pager'\nrun = ['/usr/bin/page', '']";

#[test]
fn command_reads_alarm_as_json() {
    let pager = sinks(PAGER).remove(0);
    let failed = alarm(AlarmKind::RenewalFailed, "host=controller-0", "why");
    let message = next(&pager, &[], std::slice::from_ref(&failed)).unwrap();
    assert_eq!(message.argv.words(), ["/usr/bin/page", ""]);
    let input: serde_json::Value = serde_json::from_slice(&message.stdin).unwrap();
    assert_eq!(
        input,
        serde_json::json!({
            "format": 1, "event": "raised", "id": "renewal-failed", "number": "250.003",
            "severity": "major", "host": "controller-0",
            "entity": "host=controller-0", "about": ["why"], "text": "Kubernetes certificates \
             renewal failed.", "reason": "why",
            "repair": "Do it.", "raised": "2027-01-15T08:00:00Z", "at": "2027-01-15T08:01:00Z",
        })
    );
    let event = |delivered: &[Alarm], now: &[Alarm]| {
        let input: serde_json::Value =
            serde_json::from_slice(&next(&pager, delivered, now)?.stdin).unwrap();
        Some(input["event"].as_str().unwrap().to_owned())
    };
    let other = Alarm { about: vec!["more".to_owned()], ..failed.clone() };
    let reworded = Alarm { reason: "reworded".to_owned(), ..failed.clone() };
    let delivered = std::slice::from_ref(&failed);
    assert_eq!(event(delivered, &[other]).as_deref(), Some("changed"));
    assert_eq!(event(delivered, &[]).as_deref(), Some("cleared"));
    assert_eq!(event(delivered, &[reworded]), None);
}

// ---- with real programs ----

struct Site {
    dir: tempfile::TempDir,
    node: Node,
    ledger: AlarmLedger,
}

impl Site {
    /// A node with this script as its one command.
    fn new(script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("command");
        std::fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", dir.path().display()))
            .unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            "[[alarms.command]]\nname = 'a'\nrun = ['{}']\ntimeout = '1s'\n",
            program.display()
        );
        let node =
            Node::with_files(Root::open(dir.path()).unwrap(), &[("a.toml".into(), text)]).unwrap();
        Self { dir, node, ledger: AlarmLedger::default() }
    }

    fn set(&self, alarms: &[Alarm]) {
        let changed = self.ledger.update(&self.node.root, &self.node.settings.paths.state, |now| {
            now.in_force = alarms.to_vec()
        });
        assert_eq!(changed.note, None);
    }

    fn deliverer(&self) -> Deliverer {
        let root = Root::open(self.dir.path()).unwrap();
        Deliverer::new(&self.node, root, &self.ledger, Arc::new(crate::sys::SystemClock))
    }

    async fn deliver(&self) -> Result<(), String> {
        self.deliverer().deliver(&Sink::from_settings(&self.node.settings)[0]).await
    }

    /// The delivered events and their alarms.
    fn events(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("events")).unwrap_or_default();
        let one = |line: &str| {
            let input: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} {}", input["event"].as_str().unwrap(), input["id"].as_str().unwrap())
        };
        text.lines().map(one).collect()
    }
}

fn two() -> [Alarm; 2] {
    [
        alarm(AlarmKind::Expired, "system.certificate.a", ""),
        alarm(AlarmKind::HeldTooLong, "host=a", ""),
    ]
}

#[tokio::test(flavor = "current_thread")]
async fn alarm_is_delivered_once_across_restart() {
    let site = Site::new("cat >>events");
    site.set(&two());
    site.deliver().await.unwrap();
    assert_eq!(site.events(), ["raised expired", "raised held-too-long"]);
    let restarted = Site { ledger: AlarmLedger::default(), ..site };
    restarted.deliver().await.unwrap();
    assert_eq!(restarted.events().len(), 2, "nothing is repeated");
    restarted.set(&two()[..1]);
    let again = Site { ledger: AlarmLedger::default(), ..restarted };
    again.deliver().await.unwrap();
    assert_eq!(again.events()[2..], ["cleared held-too-long"], "and nothing forgotten");
}

#[tokio::test(flavor = "current_thread")]
async fn failed_delivery_is_repeated() {
    let site = Site::new("test -e healthy || { echo no route; exit 3; }; cat >>events");
    site.set(&two());
    assert_eq!(site.deliver().await, Err("it failed with exit code 3: no route".to_owned()));
    assert_eq!(site.events(), [""; 0]);
    std::fs::write(site.dir.path().join("healthy"), "").unwrap();
    site.deliver().await.unwrap();
    assert_eq!(site.events().len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn hanging_command_is_killed_with_its_children() {
    let site = Site::new("sleep 300 & echo $! >child; sleep 300");
    site.set(&two());
    let began = std::time::Instant::now();
    let error = site.deliver().await.unwrap_err();
    assert!(error.ends_with(" did not finish within 1 s and was killed"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(8));
    let child = std::fs::read_to_string(site.dir.path().join("child")).unwrap();
    let gone = || !std::path::Path::new("/proc").join(child.trim()).join("fd/0").exists();
    for _ in 0..100 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("its child {child} is still there");
}

/// A change is delivered when it happens, also beside a sink that fails.
#[tokio::test(flavor = "current_thread")]
async fn failing_sink_does_not_delay_others() {
    let site = Site::new("cat >>events");
    let text = format!(
        "[[alarms.command]]\nname = 'bad'\nrun = ['/nonexistent']\n[[alarms.command]]\nname = \
         'a'\nrun = ['{}']\n",
        site.dir.path().join("command").display()
    );
    let node =
        Node::with_files(Root::open(site.dir.path()).unwrap(), &[("a.toml".into(), text)]).unwrap();
    let sinks = Sinks::start(
        &node,
        Root::open(site.dir.path()).unwrap(),
        &site.ledger,
        Arc::new(crate::sys::SystemClock),
    );
    for (round, alarms) in [&two()[..1], &two()[..]].into_iter().enumerate() {
        site.set(alarms);
        sinks.wake();
        for _ in 0..500 {
            if site.events().len() > round {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(site.events().len(), round + 1);
    }
}
