//! Links that appear and disappear while the program runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::common::{Node, STATE};
use super::*;

const TEST_DURATION: Duration = Duration::from_secs(5);

/// Renews repeatedly while another thread moves the object at `path` away, replaces it by what
/// `plant` makes, and restores it. Returns the numbers of swaps and passes.
fn renew_while_swapping(node: &Node, path: &Path, plant: impl Fn(&Path) + Sync) -> (usize, usize) {
    let done = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    let runs = std::thread::scope(|scope| {
        scope.spawn(|| {
            let away = path.with_extension("away");
            while !done.load(Ordering::Relaxed) {
                // The object may be a file that kubecertd renamed in between.
                let moved = fs::rename(path, &away).is_ok();
                plant(path);
                std::thread::sleep(Duration::from_micros(300));
                remove(path);
                if moved {
                    let _ = fs::rename(&away, path);
                }
                swaps.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(
                    swaps.load(Ordering::Relaxed) as u64 * 37 % 4_000,
                ));
            }
        });
        let (began, mut runs) = (Instant::now(), Vec::new());
        while began.elapsed() < TEST_DURATION {
            runs.push(node.run(&["renew", "--force", "apiserver", "etcd/server", "admin.conf"]));
        }
        done.store(true, Ordering::Relaxed);
        runs
    });
    // Not in the scope: a failure there would wait for the other thread without end.
    for run in &runs {
        // 3: what was swapped away in between is still due.
        assert!([0, 1, 3, 4].contains(&run.code), "{}: {}", run.code, run.text);
        assert!(!run.text.contains("panicked"), "{}", run.text);
    }
    (swaps.into_inner(), runs.len())
}

/// Removes a planted link, or the new file that replaced it.
fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Asserts that everything is renewed once everything is in its place again.
fn assert_recovers(node: &Node, context: &str) {
    node.age_all(10);
    node.backdate_files();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{context}: {}", run.text);
    assert_eq!(count_renewed(node), 11, "{context}: {}", run.text);
    assert!(
        node.dot_files().iter().all(|path| path.starts_with(node.path(STATE))),
        "{context}: {:?}",
        node.dot_files()
    );
}

#[test]
fn target_swapped_for_link_writes_nothing_elsewhere() {
    for (kind, hard) in [("symlink", false), ("hard link", true)] {
        let node = Node::due();
        let planted = node.read("etc/kubernetes/pki/apiserver-kubelet-client.crt");
        let outside = OutsideDir::new(&[("victim", &planted)]);
        let target = node.path("etc/kubernetes/pki/apiserver.crt");
        let original = node.path("etc/kubernetes/pki/apiserver.crt").with_extension("away");
        let (swaps, passes) = renew_while_swapping(&node, &target, |path| {
            let _ = if hard {
                fs::hard_link(outside.path("victim"), path)
            } else {
                symlink(outside.path("victim"), path)
            };
        });
        println!("{kind}: {swaps} swaps during {passes} passes");
        assert_eq!(fs::read(outside.path("victim")).unwrap(), planted, "{kind}: it was written to");
        assert_eq!(fs::read_dir(outside.dir.path()).unwrap().count(), 1, "{kind}");
        if !target.exists() {
            fs::rename(&original, &target)
                .or_else(|_| {
                    fs::write(&target, &Node::files_due()["etc/kubernetes/pki/apiserver.crt"])
                })
                .unwrap();
        }
        // The two files of the pair may be of different ages now.
        for file in ["apiserver.crt", "apiserver.key"] {
            let file = format!("etc/kubernetes/pki/{file}");
            node.write(&file, &Node::files_due()[&file]);
        }
        assert_recovers(&node, kind);
    }
}

#[test]
fn parent_swapped_for_symlink_writes_nothing_elsewhere() {
    let node = Node::due();
    let outside = OutsideDir::new(&[]);
    let original: Vec<_> = fs::read_dir(node.path("etc/kubernetes/pki")).unwrap().collect();
    let parent = node.path("etc/kubernetes/pki");
    let (swaps, passes) = renew_while_swapping(&node, &parent, |path| {
        let _ = symlink(outside.dir.path(), path);
    });
    println!("{swaps} swaps during {passes} passes");
    outside.assert_untouched("parent");
    assert_eq!(fs::read_dir(&parent).unwrap().count(), original.len());
    assert_recovers(&node, "parent");
}

#[test]
fn state_file_swapped_for_symlink_writes_nothing_elsewhere() {
    for file in ["journal", "state.json", "backups", ".state.json.new"] {
        let node = Node::due();
        assert_eq!(node.run(&["renew"]).code, 0);
        let outside = OutsideDir::new(&[("victim", b"must stay untouched")]);
        let path = node.path(STATE).join(file);
        let (swaps, passes) = renew_while_swapping(&node, &path, |path| {
            let _ = symlink(outside.path("victim"), path);
        });
        println!("{file}: {swaps} swaps during {passes} passes");
        outside.assert_untouched(file);
        if file.starts_with('.') {
            remove(&path);
        }
        assert_recovers(&node, file);
    }
}
