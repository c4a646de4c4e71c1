//! Changes of files. The quiet time of half a minute is fixed, so one test covers all cases that
//! need it.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use super::common::{ECDSA, Node, PKI};
use super::harness::*;

/// Replaces a file by a rename, as most programs do.
fn replace(node: &Node, file: &str, content: &[u8]) {
    let draft = format!("{file}.draft");
    node.write(&draft, content);
    fs::rename(node.path(&draft), node.path(file)).unwrap();
}

/// Four daemons, each on its own node, wait at the same time.
#[test]
fn only_changed_content_makes_pass_after_quiet_time() {
    if !can_watch() {
        return;
    }
    // First node, nothing that counts as a change: the daemon's own writes, reads, a touch, and
    // files written with the same content.
    let same = with_history(Node::fresh(ECDSA), NEVER);
    same.age("apiserver", 10);
    let undisturbed = Daemon::start(&same);
    assert_eq!(names(&undisturbed.request_pass().renewed), ["apiserver"]);
    let passes = undisturbed.notify_socket.completed_passes();
    same.snapshot();
    let conf = same.path("etc/kubernetes/admin.conf");
    fs::File::options().append(true).open(&conf).unwrap().set_modified(SystemTime::now()).unwrap();
    let scheduler = same.read("etc/kubernetes/scheduler.conf");
    same.write("etc/kubernetes/scheduler.conf", &scheduler);
    let sa = same.read(&format!("{PKI}/apiserver.crt"));
    replace(&same, &format!("{PKI}/apiserver.crt"), &sa);
    same.write("etc/kubernetes/pki/unknown.txt", "unrelated");

    // Second node: a key that does not match its certificate.
    let changed = with_history(Node::fresh(ECDSA), NEVER);
    let whole = all_credentials(&changed);
    let woken = Daemon::start(&changed);
    woken.wait_until_idle();
    let other = changed.read(&format!("{PKI}/front-proxy-client.key"));
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    replace(&changed, &format!("{PKI}/apiserver.key"), &other);
    assert_ne!(all_credentials(&changed), whole);

    // Third node: a file that only the new configuration names, which is loaded during a pass with
    // the old one.
    let more = with_history(Node::fresh(ECDSA), NEVER);
    let reloaded = Daemon::start(&more);
    reloaded.wait_until_idle();
    let store_lock = StoreLock::take(&more);
    reloaded.signal("USR1");
    wait_for("a pass is in progress", || {
        reloaded.status().filter(|status| status.line == PASS_IN_PROGRESS)
    });
    for end in ["crt", "key"] {
        let content = more.read(&format!("{PKI}/front-proxy-client.{end}"));
        more.write(&format!("etc/own/own.{end}"), content);
    }
    let own = "[[credential]]\nname = \"own\"\nca = \"front-proxy-ca\"\ncertificate = \
        \"/etc/own/own.crt\"\nkey = \"/etc/own/own.key\"\n";
    more.write(CONFIG, schedule(NEVER) + own);
    reloaded.signal("HUP");
    wait_for("the configuration is loaded", || {
        (reloaded.notify_socket.values("READY").len() == 2).then_some(())
    });
    drop(store_lock);
    wait_for("the pass ends", || (reloaded.notify_socket.completed_passes() == 1).then_some(()));
    replace(&more, "etc/own/own.key", &more.read(&format!("{PKI}/apiserver.key")));

    // Fourth node: a reload within the quiet time.
    let interrupted = with_history(Node::fresh(ECDSA), NEVER);
    let told = Daemon::start(&interrupted);
    told.wait_until_idle();
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
        daemon.wait_for_pass("changed")
    };
    let last = waited(&woken);
    assert!(
        began.elapsed() >= Duration::from_secs(29),
        "the pass starts only after the quiet time: {:?}",
        began.elapsed()
    );
    assert_eq!(
        (last.why.as_str(), names(&last.renewed)),
        ("/etc/kubernetes/pki/apiserver.key changed", vec!["apiserver".to_owned()])
    );
    assert_eq!(all_credentials(&changed), whole);
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
        undisturbed.notify_socket.completed_passes(),
        passes,
        "nothing has changed: {:?}",
        undisturbed.status()
    );
}
