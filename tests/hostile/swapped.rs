//! Links that come and go while it runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::common::{Node, STATE};
use super::*;

const ENOUGH: Duration = Duration::from_secs(5);

/// Renews over and over, while the thing at `path` is, over and over, moved away, replaced by what
/// `plant` makes, and put back.
fn renewed_while(node: &Node, path: &Path, plant: impl Fn(&Path) + Sync) -> (usize, usize) {
    let done = AtomicBool::new(false);
    let (swaps, mut passes) = (AtomicUsize::new(0), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let away = path.with_extension("away");
            while !done.load(Ordering::Relaxed) {
                // What kubecertd renames in between is fine: whatever is there now is moved.
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
        let began = Instant::now();
        while began.elapsed() < ENOUGH {
            let run = node.run(&["renew", "--force", "apiserver", "etcd/server", "admin.conf"]);
            assert!([0, 1, 4].contains(&run.code), "{}: {}", run.code, run.text);
            assert!(!run.text.contains("panicked"), "{}", run.text);
            passes += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    (swaps.into_inner(), passes)
}

/// A link that was planted, or the new file that took its place.
fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

/// Afterwards, with everything in its place again, everything is renewed.
fn recovers(node: &Node, context: &str) {
    node.age_all(10);
    node.rest();
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{context}: {}", run.text);
    assert_eq!(renewed(node), 11, "{context}: {}", run.text);
    assert!(
        node.dot_files().iter().all(|path| path.starts_with(node.path(STATE))),
        "{context}: {:?}",
        node.dot_files()
    );
}

#[test]
fn a_target_that_is_swapped_for_links_leads_nowhere_else() {
    for (kind, hard) in [("symlink", false), ("hard link", true)] {
        let node = Node::due();
        let planted = node.read("etc/kubernetes/pki/apiserver-kubelet-client.crt");
        let outside = Outside::new(&[("victim", &planted)]);
        let target = node.path("etc/kubernetes/pki/apiserver.crt");
        let original = node.path("etc/kubernetes/pki/apiserver.crt").with_extension("away");
        let (swaps, passes) = renewed_while(&node, &target, |path| {
            let _ = if hard {
                fs::hard_link(outside.path("victim"), path)
            } else {
                symlink(outside.path("victim"), path)
            };
        });
        println!("{kind}: {swaps} swaps during {passes} passes");
        assert_eq!(fs::read(outside.path("victim")).unwrap(), planted, "{kind}: it was written to");
        assert_eq!(fs::read_dir(outside.folder.path()).unwrap().count(), 1, "{kind}");
        if !target.exists() {
            fs::rename(&original, &target)
                .or_else(|_| {
                    fs::write(&target, &Node::files_due()["etc/kubernetes/pki/apiserver.crt"])
                })
                .unwrap();
        }
        // Whatever came of the pair, its two halves may be of different ages now.
        for file in ["apiserver.crt", "apiserver.key"] {
            let file = format!("etc/kubernetes/pki/{file}");
            node.write(&file, &Node::files_due()[&file]);
        }
        recovers(&node, kind);
    }
}

#[test]
fn a_parent_that_is_swapped_for_a_link_leads_nowhere_else() {
    let node = Node::due();
    let outside = Outside::new(&[]);
    let original: Vec<_> = fs::read_dir(node.path("etc/kubernetes/pki")).unwrap().collect();
    let parent = node.path("etc/kubernetes/pki");
    let (swaps, passes) = renewed_while(&node, &parent, |path| {
        let _ = symlink(outside.folder.path(), path);
    });
    println!("{swaps} swaps during {passes} passes");
    outside.untouched("parent");
    assert_eq!(fs::read_dir(&parent).unwrap().count(), original.len());
    recovers(&node, "parent");
}

#[test]
fn a_state_folder_whose_files_are_swapped_for_links_leads_nowhere_else() {
    for file in ["journal", "state.json", "backups", ".state.json.new"] {
        let node = Node::due();
        assert_eq!(node.run(&["renew"]).code, 0);
        let outside = Outside::new(&[("victim", b"nobody's business")]);
        let path = node.path(STATE).join(file);
        let (swaps, passes) = renewed_while(&node, &path, |path| {
            let _ = symlink(outside.path("victim"), path);
        });
        println!("{file}: {swaps} swaps during {passes} passes");
        outside.untouched(file);
        if file.starts_with('.') {
            remove(&path);
        }
        recovers(&node, file);
    }
}
