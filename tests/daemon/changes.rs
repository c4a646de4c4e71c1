//! Changes of files. The quiet time of half a minute is built in, so all that needs it is in one
//! test.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use super::common::{ECDSA, Node, PKI};
use super::harness::*;

/// Puts another file in the place of one, as most programs do it.
fn replace(node: &Node, file: &str, content: &[u8]) {
    let draft = format!("{file}.draft");
    node.write(&draft, content);
    fs::rename(node.path(&draft), node.path(file)).unwrap();
}

/// Four daemons, each on a node of its own, wait at the same time.
#[test]
fn another_content_makes_a_pass_when_it_is_quiet_and_nothing_else_does() {
    // On the first one, what is no change: its own writes, readers, a touch, and the same content
    // once more.
    let same = known(Node::fresh(ECDSA), NEVER);
    same.age("apiserver", 10);
    let undisturbed = Daemon::start(&same);
    assert_eq!(names(&undisturbed.pass().renewed), ["apiserver"]);
    let passes = undisturbed.ears.passes();
    same.snapshot();
    let conf = same.path("etc/kubernetes/admin.conf");
    fs::File::options().append(true).open(&conf).unwrap().set_modified(SystemTime::now()).unwrap();
    let scheduler = same.read("etc/kubernetes/scheduler.conf");
    same.write("etc/kubernetes/scheduler.conf", &scheduler);
    let sa = same.read(&format!("{PKI}/apiserver.crt"));
    replace(&same, &format!("{PKI}/apiserver.crt"), &sa);
    same.write("etc/kubernetes/pki/unknown.txt", "nobody's");

    // On the second one, a key that does not fit.
    let changed = known(Node::fresh(ECDSA), NEVER);
    let whole = all(&changed);
    let woken = Daemon::start(&changed);
    woken.settled();
    let other = changed.read(&format!("{PKI}/front-proxy-client.key"));
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    replace(&changed, &format!("{PKI}/apiserver.key"), &other);
    assert_ne!(all(&changed), whole);

    // On the third one, what only the new configuration names, read while a pass by the old one was
    // made.
    let more = known(Node::fresh(ECDSA), NEVER);
    let reloaded = Daemon::start(&more);
    reloaded.settled();
    let taken = StoreTaken::on(&more);
    reloaded.signal("USR1");
    until("a pass is made", || reloaded.status().filter(|status| status.line == AT_WORK));
    for end in ["crt", "key"] {
        let content = more.read(&format!("{PKI}/front-proxy-client.{end}"));
        more.write(&format!("etc/own/own.{end}"), content);
    }
    let own = "[[credential]]\nname = \"own\"\nauthority = \"front-proxy-ca\"\ncertificate = \
        \"/etc/own/own.crt\"\nkey = \"/etc/own/own.key\"\n";
    more.write(CONFIG, schedule(NEVER) + own);
    reloaded.signal("HUP");
    until("it has read it", || (reloaded.ears.values("READY").len() == 2).then_some(()));
    drop(taken);
    until("the pass ends", || (reloaded.ears.passes() == 1).then_some(()));
    replace(&more, "etc/own/own.key", &more.read(&format!("{PKI}/apiserver.key")));

    // On the fourth one, a reload comes before it is quiet again.
    let interrupted = known(Node::fresh(ECDSA), NEVER);
    let told = Daemon::start(&interrupted);
    told.settled();
    replace(&interrupted, &format!("{PKI}/apiserver.key"), &other);
    told.signal("HUP");

    let waited = |daemon: &Daemon<'_>| {
        let limit = Instant::now() + Duration::from_secs(60);
        while Instant::now() < limit
            && daemon.status().is_none_or(|status| {
                status.last_pass.is_none_or(|last| !last.why.contains("changed"))
            })
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon.passed("changed")
    };
    let last = waited(&woken);
    assert!(
        began.elapsed() >= Duration::from_secs(29),
        "whoever writes gets time to finish: {:?}",
        began.elapsed()
    );
    assert_eq!(
        (last.why.as_str(), names(&last.renewed)),
        ("/etc/kubernetes/pki/apiserver.key changed", vec!["apiserver".to_owned()])
    );
    assert_eq!(all(&changed), whole);
    let last = waited(&reloaded);
    assert_eq!(
        (last.why.as_str(), names(&last.renewed)),
        ("/etc/own/own.key changed", vec!["own".to_owned()])
    );

    let last = waited(&told);
    assert_eq!(
        (last.why.as_str(), names(&last.renewed)),
        ("/etc/kubernetes/pki/apiserver.key changed", vec!["apiserver".to_owned()])
    );

    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        undisturbed.ears.passes(),
        passes,
        "nothing has changed: {:?}",
        undisturbed.status()
    );
}
