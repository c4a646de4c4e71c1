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

const HERE: Circumstances<'static> =
    Circumstances { host: "controller-0", now: Timestamp::from_seconds(1_800_000_060) };

fn sinks(toml: &str) -> Vec<Sink> {
    Sink::all(&Settings::from_files(&[("a.toml", toml)]).unwrap())
}

fn fm() -> Sink {
    sinks("alarms.fm.enabled = true").remove(0)
}

fn next(sink: &Sink, told: &[Alarm], in_force: &[Alarm]) -> Option<Message> {
    sink.next(told, in_force, HERE).map(Result::unwrap)
}

/// The string that fmClientCli is given, as its parser takes it apart.
fn fields(message: &Message) -> (String, Vec<String>) {
    let words = message.argv.words();
    assert_eq!((words.len(), words[0].as_str()), (3, "/usr/local/bin/fmClientCli"));
    let inner = words[2].strip_prefix("###").and_then(|rest| rest.strip_suffix("###")).unwrap();
    let fields: Vec<String> = inner.split("###").map(str::to_owned).collect();
    assert!(fields.iter().all(|field| !field.is_empty() && field.len() <= 254), "{fields:?}");
    (words[1].clone(), fields)
}

#[test]
fn nobody_is_told_of_alarms_where_nothing_is_configured() {
    assert_eq!(sinks("").len(), 0);
}

#[test]
fn fault_management_is_told_word_for_word() {
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
fn an_alarm_of_a_certificate_has_words_of_its_own() {
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
fn what_is_over_is_cleared_by_number_and_entity() {
    let expired = alarm(AlarmKind::Expired, "system.certificate.ca", "");
    let message = next(&fm(), &[expired], &[]).unwrap();
    assert_eq!(message.argv.words()[1..], ["-d", "###500.210###system.certificate.ca###"]);
}

#[test]
fn no_text_breaks_the_string() {
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

/// Both of ours are one alarm of Fault Management, where the failure has the word.
#[test]
fn two_alarms_with_one_number_are_one() {
    let failed = alarm(AlarmKind::RenewalFailed, "host=a", "one");
    let stale = alarm(AlarmKind::ServicesNotUpdated, "host=a", "two");
    let both = [stale.clone(), failed.clone()];
    let message = next(&fm(), &[], &both).unwrap();
    let (_, said) = fields(&message);
    assert_eq!(said[7], "Kubernetes certificates renewal failed.");
    assert!(said[10].ends_with("Reason: one; two"), "{said:?}");
    let mut told = Vec::new();
    message.apply(&mut told);
    assert_eq!(next(&fm(), &told, &both), None);
    // One of them is over: it is told anew, not cleared.
    let message = next(&fm(), &told, std::slice::from_ref(&stale)).unwrap();
    let (way, said) = fields(&message);
    assert_eq!((way.as_str(), said[7].as_str()), ("-c", "A text."));
    message.apply(&mut told);
    assert_eq!(told, std::slice::from_ref(&stale));
    assert_eq!(next(&fm(), &told, &[stale]), None);
    let message = next(&fm(), &told, &[]).unwrap();
    assert_eq!(message.argv.words()[1], "-d");
    message.apply(&mut told);
    assert_eq!(told, []);
}

#[test]
fn what_has_no_number_is_not_for_fault_management() {
    assert_eq!(next(&fm(), &[], &[alarm(AlarmKind::OtherRenewer, "file=/etc/cron.d/a", "")]), None);
}

fn finished(code: i32, text: &str) -> Finished {
    let mut output = Output::default();
    output.push(text.as_bytes());
    Finished { ending: Ending::Code(code), output }
}

#[test]
fn the_errors_of_fault_management_are_told_apart() {
    let answer = |code, text| fm().answer(&finished(code, text));
    assert_eq!(answer(0, "Ok\n4f2b3c\n"), Answer::Told);
    assert_eq!(answer(255, "Alarm not found\n"), Answer::Told);
    assert_eq!(
        answer(255, "Invalid alarm string\n"),
        Answer::Never("it ended with exit code 255: Invalid alarm string".to_owned())
    );
    assert_eq!(
        answer(255, "no connection\n"),
        Answer::Later("it ended with exit code 255: no connection".to_owned())
    );
    assert_eq!(
        answer(1, "not found"),
        Answer::Later("it ended with exit code 1: not found".to_owned()),
        "a shell's words, not its"
    );
}

const PAGER: &str = "[[alarms.command]]\nname = 'pager'\nrun = ['/usr/bin/page', '']";

#[test]
fn a_command_is_given_the_alarm_as_json() {
    let pager = sinks(PAGER).remove(0);
    let failed = alarm(AlarmKind::RenewalFailed, "host=controller-0", "why");
    let message = next(&pager, &[], std::slice::from_ref(&failed)).unwrap();
    assert_eq!(message.argv.words(), ["/usr/bin/page", ""]);
    let told: serde_json::Value = serde_json::from_slice(&message.stdin).unwrap();
    assert_eq!(
        told,
        serde_json::json!({
            "format": 1, "event": "raised", "id": "renewal-failed", "number": "250.003", "severity": "major", "host": "controller-0",
            "entity": "host=controller-0", "about": ["why"], "text": "Kubernetes certificates \
             renewal failed.", "reason": "why",
            "repair": "Do it.", "raised": "2027-01-15T08:00:00Z", "at": "2027-01-15T08:01:00Z",
        })
    );
    let event = |told: &[Alarm], now: &[Alarm]| {
        let told: serde_json::Value =
            serde_json::from_slice(&next(&pager, told, now)?.stdin).unwrap();
        Some(told["event"].as_str().unwrap().to_owned())
    };
    let other = Alarm { about: vec!["more".to_owned()], ..failed.clone() };
    let reworded = Alarm { reason: "in other words".to_owned(), ..failed.clone() };
    let told = std::slice::from_ref(&failed);
    assert_eq!(event(told, &[other]).as_deref(), Some("changed"));
    assert_eq!(event(told, &[]).as_deref(), Some("cleared"));
    assert_eq!(event(told, &[reworded]), None);
}

// ---- programs that are really run ----

struct Site {
    folder: tempfile::TempDir,
    node: Node,
    ledger: Ledger,
}

impl Site {
    /// A node with this script as its one command.
    fn new(script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("told");
        std::fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display()))
            .unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            "[[alarms.command]]\nname = 'a'\nrun = ['{}']\ntimeout = '1s'\n",
            program.display()
        );
        let node = Node::with_files(Root::open(folder.path()).unwrap(), &[("a.toml".into(), text)])
            .unwrap();
        Self { folder, node, ledger: Ledger::default() }
    }

    fn set(&self, alarms: &[Alarm]) {
        let changed = self.ledger.change(&self.node.root, &self.node.settings.paths.state, |now| {
            now.in_force = alarms.to_vec()
        });
        assert_eq!(changed.note, None);
    }

    fn office(&self) -> Office {
        let root = Root::open(self.folder.path()).unwrap();
        Office::new(&self.node, root, &self.ledger, Arc::new(crate::sys::SystemClock))
    }

    async fn tell(&self) -> Result<(), String> {
        self.office().tell(&Sink::all(&self.node.settings)[0]).await
    }

    /// The events that it was told, and what alarms they were of.
    fn events(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("events")).unwrap_or_default();
        let one = |line: &str| {
            let told: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} {}", told["event"].as_str().unwrap(), told["id"].as_str().unwrap())
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
async fn each_is_told_once_also_after_a_restart() {
    let site = Site::new("cat >>events");
    site.set(&two());
    site.tell().await.unwrap();
    assert_eq!(site.events(), ["raised expired", "raised held-too-long"]);
    let restarted = Site { ledger: Ledger::default(), ..site };
    restarted.tell().await.unwrap();
    assert_eq!(restarted.events().len(), 2, "nothing is repeated");
    restarted.set(&two()[..1]);
    let again = Site { ledger: Ledger::default(), ..restarted };
    again.tell().await.unwrap();
    assert_eq!(again.events()[2..], ["cleared held-too-long"], "and nothing forgotten");
}

#[tokio::test(flavor = "current_thread")]
async fn what_could_not_be_told_is_told_later() {
    let site = Site::new("test -e well || { echo no route; exit 3; }; cat >>events");
    site.set(&two());
    assert_eq!(site.tell().await, Err("it ended with exit code 3: no route".to_owned()));
    assert_eq!(site.events(), [""; 0]);
    std::fs::write(site.folder.path().join("well"), "").unwrap();
    site.tell().await.unwrap();
    assert_eq!(site.events().len(), 2);
}

#[tokio::test(flavor = "current_thread")]
async fn one_that_hangs_is_ended_at_its_limit_with_its_children() {
    let site = Site::new("sleep 300 & echo $! >child; sleep 300");
    site.set(&two());
    let began = std::time::Instant::now();
    let error = site.tell().await.unwrap_err();
    assert!(error.ends_with(" was not over after 1 s and was killed"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(8));
    let child = std::fs::read_to_string(site.folder.path().join("child")).unwrap();
    let gone = || !std::path::Path::new("/proc").join(child.trim()).join("fd/0").exists();
    for _ in 0..100 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("its child {child} is still there");
}

/// Those that are told work by themselves: news is told when it comes, and one that fails keeps
/// nobody else from it.
#[tokio::test(flavor = "current_thread")]
async fn one_that_fails_costs_the_others_nothing() {
    let site = Site::new("cat >>events");
    let text = format!(
        "[[alarms.command]]\nname = 'bad'\nrun = ['/nonexistent']\n[[alarms.command]]\nname = \
         'a'\nrun = ['{}']\n",
        site.folder.path().join("told").display()
    );
    let node =
        Node::with_files(Root::open(site.folder.path()).unwrap(), &[("a.toml".into(), text)])
            .unwrap();
    let sinks = Sinks::start(
        &node,
        Root::open(site.folder.path()).unwrap(),
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
