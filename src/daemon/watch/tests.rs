use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::common::requirements::{INOTIFY_LIMITS, require, skip};
use crate::model::{CredentialName, Digest, Secret, Timestamp};
use crate::store::{Backup, Change, Kind, NewFile, Store};

/// Longer than the system takes to report an event.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for an event that should not count to arrive.
const SHORT: Duration = Duration::from_millis(150);

/// Whether inotify instances are left for a test. Where they are not, for example because kubelet
/// and its pods use them all, the test is skipped, except in CI.
pub(super) fn can_watch() -> bool {
    // One test at a time takes the instances that it may need.
    static PROBES: Mutex<()> = Mutex::new(());
    let _probe = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
    let probe = |_| notify::recommended_watcher(|_: notify::Result<notify::Event>| {});
    let all: Result<Vec<_>, _> = (0..8).map(probe).collect();
    match all {
        Ok(_) => true,
        Err(e) => {
            skip(&format!("needs inotify: {}: {e}", describe(&e)));
            false
        }
    }
}

struct Node {
    disk: tempfile::TempDir,
    root: Root,
    files: Vec<AbsolutePath>,
    watch: Watch,
}

impl Node {
    /// A node with these directories and files, whose watch has settled.
    async fn new(dirs: &[&str], present: &[&str], files: &[&str]) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let files = files.iter().map(|file| AbsolutePath::new(file).unwrap()).collect();
        let watch = Watch::new(&root);
        let mut node = Self { disk, root, files, watch };
        dirs.iter().for_each(|dir| fs::create_dir_all(node.at(dir)).unwrap());
        present.iter().for_each(|file| node.put(file, "old"));
        node.settle().await;
        node
    }

    fn at(&self, path: &str) -> PathBuf {
        self.disk.path().join(path.trim_start_matches('/'))
    }

    fn put(&self, path: &str, content: &str) {
        fs::write(self.at(path), content).unwrap();
    }

    fn rearm(&mut self) {
        assert_eq!(self.watch.rearm(&self.root, &self.files), Vec::<String>::new());
    }

    /// Rearms after every hint, as the main loop does, until there are no more.
    async fn settle(&mut self) {
        self.rearm();
        for _ in 0..50 {
            if !self.hint_within(SHORT).await {
                return;
            }
            self.rearm();
        }
        panic!("hints without end");
    }

    async fn hint_within(&mut self, time: Duration) -> bool {
        self.watch.last_hint = None;
        tokio::time::timeout(time, self.watch.wait_for_hint()).await.is_ok()
    }

    async fn assert_hint(&mut self, what: &str) {
        assert!(self.hint_within(LONG).await, "no hint: {what}");
        self.settle().await;
    }

    /// Also makes sure that the watch still gives hints.
    async fn assert_no_hint(&mut self, what: &str) {
        assert!(!self.hint_within(SHORT).await, "a hint: {what}");
        let file = self.files.first().unwrap().to_string();
        self.put(&file, "something else");
        self.assert_hint("the watch gives no hints").await;
    }
}

async fn pair() -> Node {
    Node::new(
        &["etc/pki"],
        &["etc/pki/a.crt", "etc/pki/a.key"],
        &["/etc/pki/a.crt", "/etc/pki/a.key"],
    )
    .await
}

#[tokio::test]
async fn every_change_of_a_file_is_a_hint() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    node.put("etc/pki/a.crt", "new");
    node.assert_hint("written in place").await;
    node.put("etc/pki/.staged", "newer");
    fs::rename(node.at("etc/pki/.staged"), node.at("etc/pki/a.crt")).unwrap();
    node.assert_hint("replaced by a rename").await;
    node.put("etc/pki/a.crt", "newest");
    node.assert_hint("written in place after a rename").await;
    fs::remove_file(node.at("etc/pki/a.key")).unwrap();
    node.assert_hint("removed").await;
    node.put("etc/pki/a.key", "back");
    node.assert_hint("created").await;
    fs::rename(node.at("etc/pki/a.key"), node.at("etc/pki/b.key")).unwrap();
    node.assert_hint("renamed").await;
    fs::hard_link(node.at("etc/pki/b.key"), node.at("etc/pki/a.key")).unwrap();
    node.assert_hint("linked").await;
}

#[tokio::test]
async fn reading_and_listing_give_no_hint() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    for _ in 0..100 {
        let _ = Contents::read(&node.root, &node.files);
        fs::read(node.at("etc/pki/a.key")).unwrap();
        fs::read_dir(node.at("etc/pki")).unwrap().for_each(drop);
        node.rearm();
    }
    node.assert_no_hint("reading and listing").await;
}

#[tokio::test]
async fn other_mode_or_time_gives_no_hint() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    fs::set_permissions(node.at("etc/pki/a.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(node.at("etc/pki"), fs::Permissions::from_mode(0o700)).unwrap();
    // The system reports a new modification time alone as a write.
    let times = fs::FileTimes::new()
        .set_accessed(std::time::UNIX_EPOCH)
        .set_modified(std::time::UNIX_EPOCH);
    fs::File::open(node.at("etc/pki/a.key")).unwrap().set_times(times).unwrap();
    node.assert_no_hint("another mode or time").await;
}

#[tokio::test]
async fn other_names_in_the_directories_give_no_hint() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    node.put("etc/pki/b.crt", "new");
    node.put("etc/pki/.a.crt.kubecertd-1", "staged");
    fs::rename(node.at("etc/pki/b.crt"), node.at("etc/pki/c.crt")).unwrap();
    fs::create_dir(node.at("etc/pki/a")).unwrap();
    node.put("etc/pki/a/a.crt", "new");
    fs::remove_file(node.at("etc/pki/c.crt")).unwrap();
    node.assert_no_hint("other names").await;
}

#[tokio::test]
async fn swapped_symlink_is_a_hint_and_new_target_is_watched() {
    if !can_watch() {
        return;
    }
    let mut node =
        Node::new(&["var/lib/kubelet/pki"], &[], &["/var/lib/kubelet/pki/current.pem"]).await;
    let swap = |node: &Node, dated: &str| {
        node.put(&format!("var/lib/kubelet/pki/{dated}"), dated);
        symlink(dated, node.at("var/lib/kubelet/pki/updated.pem")).unwrap();
        fs::rename(
            node.at("var/lib/kubelet/pki/updated.pem"),
            node.at("var/lib/kubelet/pki/current.pem"),
        )
        .unwrap();
    };
    swap(&node, "first.pem");
    node.assert_hint("the link appears").await;
    swap(&node, "second.pem");
    node.assert_hint("the link is swapped").await;
    node.put("var/lib/kubelet/pki/second.pem", "rewritten");
    node.assert_hint("the new target is written").await;
    node.put("var/lib/kubelet/pki/first.pem", "rewritten");
    node.assert_no_hint("the old target is written").await;
}

#[tokio::test]
async fn symlink_target_in_another_directory_is_watched() {
    if !can_watch() {
        return;
    }
    let mut node =
        Node::new(&["etc/pki", "srv/pki"], &["srv/pki/real.crt"], &["/etc/pki/a.crt"]).await;
    symlink("/srv/pki/real.crt", node.at("etc/pki/a.crt")).unwrap();
    node.assert_hint("the link appears").await;
    node.put("srv/pki/real.crt", "new");
    node.assert_hint("the real file is written").await;
}

#[tokio::test]
async fn missing_directories_are_watched_as_they_appear() {
    if !can_watch() {
        return;
    }
    let mut node = Node::new(&["etc"], &[], &["/etc/kubernetes/pki/a.crt"]).await;
    fs::create_dir(node.at("etc/kubernetes")).unwrap();
    node.assert_hint("the first directory").await;
    fs::create_dir(node.at("etc/kubernetes/pki")).unwrap();
    node.assert_hint("the second directory").await;
    node.put("etc/kubernetes/pki/a.crt", "new");
    node.assert_hint("the file").await;
}

#[tokio::test]
async fn missing_directories_created_at_once_are_all_watched() {
    if !can_watch() {
        return;
    }
    let mut node = Node::new(&[], &[], &["/etc/kubernetes/pki/etcd/a.crt"]).await;
    fs::create_dir_all(node.at("etc/kubernetes/pki/etcd")).unwrap();
    node.put("etc/kubernetes/pki/etcd/a.crt", "first");
    node.assert_hint("all at once").await;
    node.put("etc/kubernetes/pki/etcd/a.crt", "second");
    node.assert_hint("the file").await;
}

#[tokio::test]
async fn recreated_directory_is_watched_again() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    for round in 0..3 {
        fs::remove_dir_all(node.at("etc/pki")).unwrap();
        node.assert_hint("removed").await;
        fs::create_dir(node.at("etc/pki")).unwrap();
        node.assert_hint("created again").await;
        node.put("etc/pki/a.crt", "new");
        node.assert_hint(&format!("written, round {round}")).await;
    }
}

#[tokio::test]
async fn directory_replaced_between_two_hints_is_watched_again() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    for round in 0..4 {
        // The new directory often has the inode of the old one.
        fs::remove_dir_all(node.at("etc/pki")).unwrap();
        fs::create_dir(node.at("etc/pki")).unwrap();
        node.assert_hint("replaced").await;
        node.put("etc/pki/a.crt", "new");
        node.assert_hint(&format!("written, round {round}")).await;
    }
}

#[tokio::test]
async fn renamed_parent_directory_is_a_hint() {
    if !can_watch() {
        return;
    }
    let mut node = Node::new(
        &["var/lib/kubelet/pki"],
        &["var/lib/kubelet/pki/a.pem"],
        &["/var/lib/kubelet/pki/a.pem"],
    )
    .await;
    fs::rename(node.at("var/lib/kubelet"), node.at("var/lib/kubelet.old")).unwrap();
    node.assert_hint("renamed away").await;
    node.put("var/lib/kubelet.old/pki/a.pem", "new");
    assert!(!node.hint_within(SHORT).await, "the old directory is still watched");
    fs::create_dir_all(node.at("var/lib/kubelet/pki")).unwrap();
    node.assert_hint("created again").await;
    node.put("var/lib/kubelet/pki/a.pem", "new");
    node.assert_hint("written").await;
}

#[tokio::test]
async fn hint_survives_a_cancelled_wait() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    node.put("etc/pki/a.crt", "new");
    node.watch.last_hint = Some(Instant::now());
    for _ in 0..50 {
        let waited =
            tokio::time::timeout(Duration::from_millis(5), node.watch.wait_for_hint()).await;
        assert!(waited.is_err(), "two hints within {HINT_INTERVAL:?}");
    }
    node.assert_hint("lost").await;
}

#[tokio::test]
async fn storm_gives_few_hints_and_leaves_no_queue() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    let began = Instant::now();
    let (files, others) = (
        ["etc/pki/a.crt", "etc/pki/a.key"].map(|p| node.at(p)),
        ["etc/pki/x", "etc/pki/y"].map(|p| node.at(p)),
    );
    let storm = std::thread::spawn(move || {
        for n in 0..10_000 {
            files.iter().chain(&others).for_each(|file| fs::write(file, n.to_string()).unwrap());
        }
    });
    let mut hints = 0;
    while !storm.is_finished() {
        hints += u64::from(
            tokio::time::timeout(HINT_INTERVAL * 2, node.watch.wait_for_hint()).await.is_ok(),
        );
        node.rearm();
    }
    storm.join().unwrap();
    let limit = began.elapsed().as_secs() + 2;
    assert!((1..=limit).contains(&hints), "{hints} hints in {limit} s");
    // The remaining events soon pass.
    node.settle().await;
    node.assert_no_hint("a queue").await;
}

#[tokio::test]
async fn pending_events_become_one_hint() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    for n in 0..10_000 {
        node.put("etc/pki/a.crt", &n.to_string());
    }
    tokio::time::sleep(SHORT).await;
    assert!(node.hint_within(LONG).await);
    node.assert_no_hint("a second one").await;
}

/// The number of inotify instances of this process, those of other tests included.
fn instances() -> usize {
    let targets = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.as_os_str() == "anon_inode:inotify").count()
}

#[tokio::test]
async fn rearming_in_a_storm_leaks_no_inotify_instances() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let dir = node.at("etc/pki");
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
    let storm = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("a.crt"), "new").unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut held = 0;
    while rounds.load(Ordering::Relaxed) < 500 {
        node.rearm();
        held = held.max(instances());
    }
    stop.store(true, Ordering::Relaxed);
    storm.join().unwrap();
    assert!(held < 60, "{held} instances");
    node.settle().await;
    node.put("etc/pki/a.crt", "after the storm");
    node.assert_hint("no hints after the storm").await;
}

#[tokio::test]
async fn storm_does_not_block_rearming() {
    if !can_watch() {
        return;
    }
    let mut node = Node::new(
        &["etc/pki", "etc/x", "etc/y"],
        &["etc/pki/s0", "etc/pki/s1"],
        &["/etc/pki/a.crt"],
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    // Renames are the most work for the watcher, and the least for their maker.
    let storms = [0, 1].map(|n| {
        let (stop, from, to) = (
            Arc::clone(&stop),
            node.at(&format!("etc/pki/s{n}")),
            node.at(&format!("etc/pki/t{n}")),
        );
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&from, &to).unwrap();
                fs::rename(&to, &from).unwrap();
            }
        })
    });
    let [one, other] = [["/etc/pki/a.crt", "/etc/x/a"], ["/etc/pki/a.crt", "/etc/y/a"]]
        .map(|files| files.map(AbsolutePath::constant));
    let (began, mut held, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(2) {
        for files in [&one, &other] {
            let start = Instant::now();
            assert_eq!(node.watch.rearm(&node.root, files), Vec::<String>::new());
            longest = longest.max(start.elapsed());
            held = held.max(instances());
        }
    }
    stop.store(true, Ordering::Relaxed);
    storms.into_iter().for_each(|storm| storm.join().unwrap());
    assert!(longest < (START_TIMEOUT + Duration::from_secs(1)) * 3, "{longest:?}");
    assert!(held < 60, "{held} instances");
    node.settle().await;
    node.assert_no_hint("after the storm").await;
}

/// Runs a test of this module, which is ignored otherwise, in a user namespace of its own, in which
/// `most` inotify `objects` are allowed.
fn run_limited(objects: &str, most: u32, test: &str) {
    const SCRIPT: &str = "echo $1 >/proc/sys/user/max_inotify_$0 && shift && exec \"$@\"";
    require!("unshare", INOTIFY_LIMITS);
    if !can_watch() {
        return;
    }
    let output = Command::new("unshare")
        .args(["-Ur", "sh", "-c", SCRIPT, objects, &most.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("daemon::watch::tests::{test}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Sets a limit of the user namespace in which this test runs.
fn allow(objects: &str, most: u32) {
    fs::write(format!("/proc/sys/user/max_inotify_{objects}"), most.to_string()).unwrap();
}

fn wait_of(watch: &Watch) -> Duration {
    watch.retry_at().unwrap() - Instant::now()
}

#[test]
fn watch_without_free_watches_returns() {
    run_limited("watches", 1, "limited_watches");
}

#[test]
fn watch_without_free_instances_returns() {
    run_limited("instances", 0, "limited_instances");
}

#[tokio::test]
#[ignore = "run by the test above, in a user namespace in which one inotify watch is allowed"]
async fn limited_watches() {
    let mut node = Node::new(&[], &[], &[]).await;
    ["etc/pki", "etc/other"].iter().for_each(|dir| fs::create_dir_all(node.at(dir)).unwrap());
    node.files = ["/etc/pki/a.crt", "/etc/other/b.crt"].map(AbsolutePath::constant).to_vec();
    let notes = node.watch.rearm(&node.root, &node.files);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("can't be watched") && notes[0].contains("max_user_watches"),
        "{notes:?}"
    );
    while node.hint_within(SHORT).await {
        node.rearm();
    }
    node.put("etc/pki/a.crt", "new");
    node.put("etc/other/b.crt", "new");
    node.assert_hint("the directory that is watched").await;
    // A later attempt does not report the same problem again.
    node.watch.retry_now();
    node.rearm();
    assert!(wait_of(&node.watch) > FIRST_RETRY);

    allow("watches", 100);
    node.watch.retry_now();
    assert_eq!(node.watch.rearm(&node.root, &node.files), [RESTORED]);
    assert_eq!(node.watch.retry_at(), None);
    node.settle().await;
    for file in ["etc/pki/a.crt", "etc/other/b.crt"] {
        node.put(file, "newer");
        node.assert_hint(file).await;
    }
}

#[tokio::test]
#[ignore = "run by the test above, in a user namespace in which no inotify instance is allowed"]
async fn limited_instances() {
    let disk = tempfile::tempdir().unwrap();
    let root = Root::open(disk.path()).unwrap();
    let mut watch = Watch::new(&root);
    let files = [AbsolutePath::constant("/etc/a.crt")];
    let notes = watch.rearm(&root, &files);
    assert!(notes.len() == 1 && notes[0].contains("max_user_instances"), "{notes:?}");
    for _ in 0..3 {
        let _ = tokio::time::timeout(HINT_INTERVAL + SHORT, watch.wait_for_hint()).await;
        assert_eq!(watch.rearm(&root, &files), Vec::<String>::new());
    }
    assert!(
        tokio::time::timeout(HINT_INTERVAL + SHORT, watch.wait_for_hint()).await.is_err(),
        "a hint without a watcher"
    );
    // The next attempts come later and later, and never too late.
    assert!(wait_of(&watch) <= FIRST_RETRY);
    for _ in 0..10 {
        let before = wait_of(&watch);
        watch.retry_now();
        assert_eq!(watch.rearm(&root, &files), Vec::<String>::new(), "reported twice");
        assert!(
            wait_of(&watch) > before.min(MAX_RETRY - HINT_INTERVAL) && wait_of(&watch) <= MAX_RETRY
        );
    }

    allow("instances", 10);
    watch.retry_now();
    assert_eq!(watch.rearm(&root, &files), [RESTORED]);
    assert_eq!(watch.rearm(&root, &files), Vec::<String>::new());
    assert_eq!(watch.retry_at(), None);
    let mut node = Node { disk, root, files: files.to_vec(), watch };
    node.settle().await;
    fs::create_dir_all(node.at("etc")).unwrap();
    node.put("etc/a.crt", "new");
    node.assert_hint("the watch is back").await;
}

#[tokio::test]
async fn own_transaction_gives_a_hint_and_no_change() {
    if !can_watch() {
        return;
    }
    let mut node = pair().await;
    let mut known = Contents::read(&node.root, &node.files);
    let file = |path: &str| NewFile {
        path: AbsolutePath::new(path).unwrap(),
        content: Secret::new(b"new".to_vec()),
        old: Some(Digest::of(b"old")),
        kind: Kind::Private,
    };
    let files = vec![file("/etc/pki/a.crt"), file("/etc/pki/a.key")];
    let change = Change {
        credential: CredentialName::new("a").unwrap(),
        files,
        link: None,
        backup: Backup::Required,
    };
    let (mut store, _) = Store::open(
        &node.root,
        &AbsolutePath::constant("/var/lib/kubecertd"),
        Duration::ZERO,
        &node.files,
    )
    .unwrap();
    let checked = store
        .stage(change)
        .unwrap()
        .check(|_: &[Secret]| Ok::<_, crate::store::StoreError>(()))
        .unwrap();
    let done = store.commit(vec![checked], Timestamp::from_seconds(1_795_219_200), 3);
    assert!(done.outcomes.iter().all(|outcome| outcome.result.is_ok()), "{done:?}");

    assert_eq!(known.changed(&Contents::read(&node.root, &node.files)), node.files);
    known.reread(&node.root, &node.files);
    drop(store);
    node.assert_hint("of our own").await;
    assert_eq!(known.changed(&Contents::read(&node.root, &node.files)), []);
    node.put("etc/pki/a.key", "theirs");
    assert_eq!(
        known.changed(&Contents::read(&node.root, &node.files)),
        [AbsolutePath::constant("/etc/pki/a.key")]
    );
}
