//! A half made change whose journal is not followed: its staged key is the only copy. It is never
//! lost, whenever the program is killed, gets an error, or has no space left while it quarantines
//! the key and the journal.

use std::fs;

use crate::common::requirements::{MOUNTS, ROOT, require};
use crate::common::{Node, STATE, walk};
use crate::full_disk::run_shell;
use crate::points::{Point, list_points};
use crate::strace::{Call, inject, record, run_on_each_core};
use crate::tree::{Tree, TreeCopy, copy_of, holds_key};

/// A journal that is not followed.
#[derive(Clone, Copy, Debug)]
enum Journal {
    Newer,
    Damaged,
    /// A symlink to it.
    Moved,
}

/// A node with such a journal and the contents of its staged keys.
struct Doubtful {
    copy: TreeCopy,
    keys: Vec<Vec<u8>>,
}

impl Doubtful {
    /// The program is killed after the first rename of a change.
    fn new(journal: Journal) -> Self {
        let copy = Tree::small().copy();
        let run = inject(copy.node.root(), "renameat", 5, "signal=KILL", 0);
        assert_eq!(run.code, None);
        let path = copy.node.path(&format!("{STATE}/journal"));
        let mut bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"kubecertd-journal 1 ") && bytes[200] != 0);
        match journal {
            Journal::Newer => bytes["kubecertd-journal ".len()] = b'2',
            Journal::Damaged => bytes[200] ^= 1,
            Journal::Moved => {
                let moved = copy.node.path(&format!("{STATE}/moved"));
                fs::rename(&path, &moved).unwrap();
                std::os::unix::fs::symlink("moved", &path).unwrap();
            }
        }
        if !matches!(journal, Journal::Moved) {
            fs::write(&path, bytes).unwrap();
        }
        let mut keys = Vec::new();
        walk(copy.node.root(), &mut |path| {
            let is_staged = path.file_name().unwrap().to_string_lossy().contains(".kubecertd-");
            keys.extend(is_staged.then(|| fs::read(path).unwrap()).filter(|key| holds_key(key)));
        });
        assert!(keys.len() >= 3, "{}", keys.len());
        Self { copy, keys }
    }

    fn copy(&self) -> TreeCopy {
        copy_of(&self.copy.node)
    }

    fn assert_keys_exist(&self, node: &Node, case: &str) {
        let mut found = Vec::new();
        walk(node.root(), &mut |path| {
            if fs::symlink_metadata(path).unwrap().is_file() {
                found.push(fs::read(path).unwrap());
            }
        });
        let lost = self.keys.iter().filter(|key| !found.contains(key)).count();
        assert_eq!(lost, 0, "{case}: keys are lost");
    }

    /// The calls that change something until the new journal is written.
    fn points(&self) -> Vec<Point> {
        let recorded = self.copy();
        let calls = record(recorded.node.root(), &["renew"]);
        self.assert_keys_exist(&recorded.node, "recorded");
        let end = calls.iter().position(|call| call.name == "pwrite64").unwrap();
        let points = list_points(&calls[..=end], &recorded.node, Call::is_changing);
        assert!(points.len() > 10, "{}", points.len());
        points
    }
}

#[test]
fn key_in_doubt_survives_kill_and_error_at_every_change() {
    require!(ROOT, "strace", "taskset");
    for journal in [Journal::Newer, Journal::Damaged, Journal::Moved] {
        let start = Doubtful::new(journal);
        let points = start.points();
        let answers = ["signal=KILL", "error=ENOSPC", "error=EIO"];
        let cases: Vec<_> =
            points.iter().flat_map(|point| answers.map(|answer| (point, answer))).collect();
        run_on_each_core(&cases, |(Point { call, number, .. }, answer), core| {
            let case = format!("{journal:?}, {answer} at {call} {number}");
            let copy = start.copy();
            let run = inject(copy.node.root(), call, *number, answer, core);
            assert_eq!(run.code.is_none(), *answer == "signal=KILL", "{case}: {}", run.text);
            start.assert_keys_exist(&copy.node, &case);
            for _ in 0..2 {
                let run = copy.node.run(&["renew"]);
                assert_eq!(run.code, 0, "{case}: {}", run.text);
                start.assert_keys_exist(&copy.node, &case);
            }
        });
        println!("{journal:?}: {} cases", cases.len());
    }
}

/// Makes the state directory a disk of its own, with a given number of pages left, for two starts.
/// The third one has space again.
const FULL_DISK_SCRIPT: &str = "set -e; state=$2/var/lib/kubecertd; cp -a $state $2/saved
mount -t tmpfs -o size=1m,mode=700 full $state; cp -a $2/saved/. $state; rm -r $2/saved
dd if=/dev/zero of=$state/filler bs=4096 2>/dev/null || true
size=$(stat -c %s $state/filler); truncate -s $((size / 4096 * 4096 - $3 * 4096)) $state/filler
set +e; $1 --root $2 renew; $1 --root $2 renew; rm $state/filler; $1 --root $2 renew; code=$?
cp -a $state $2/kept; exit $code";

#[test]
fn key_in_doubt_survives_full_disk() {
    require!(MOUNTS, "strace", "taskset");
    for journal in [Journal::Newer, Journal::Damaged, Journal::Moved] {
        let start = Doubtful::new(journal);
        let pages: Vec<_> = (0..8).chain([70]).collect();
        run_on_each_core(&pages, |pages, _| {
            let case = format!("{journal:?}, {pages} pages left");
            let copy = start.copy();
            let run = run_shell(&["unshare", "-m"], FULL_DISK_SCRIPT, &copy, *pages);
            assert_eq!(run.code, 0, "{case}: {}", run.text);
            start.assert_keys_exist(&copy.node, &format!("{case}: {}", run.text));
        });
    }
}
