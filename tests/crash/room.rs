//! No room, for real: writes that are cut short by a limit on the size of files, and a state folder
//! on a full disk.

use std::collections::BTreeSet;
use std::process::Command;

use crate::common::{Run, STATE};
use crate::strace::{on_each_core, record};
use crate::tree::{Copy, Tree};

/// What the journal takes: it is there before the disk is full.
const JOURNAL: usize = 256 * 1024;

fn with_a_journal(tree: &Tree) -> Copy {
    let copy = tree.copy();
    copy.node.write(&format!("{STATE}/journal"), vec![0; JOURNAL]);
    for file in [STATE, &format!("{STATE}/journal")] {
        let mode = if file == STATE { 0o700 } else { 0o600 };
        std::fs::set_permissions(
            copy.node.path(file),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .unwrap();
    }
    copy
}

/// Runs a line of shell, which is given the program, the root and one more argument.
fn shell(before: &[&str], line: &str, copy: &Copy, argument: usize) -> Run {
    let mut command = Command::new(before.first().unwrap_or(&"sh"));
    command.args(before.iter().skip(1)).args(if before.is_empty() { &[][..] } else { &["sh"] });
    command
        .args(["-c", line, "sh", env!("CARGO_BIN_EXE_kubecertd")])
        .arg(copy.node.root())
        .arg(argument.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Run { code: output.status.code().expect("it was killed"), text }
}

/// No file grows beyond a limit: the write that meets it is cut short, and the next one refused.
#[test]
fn short_writes_of_every_file_are_told_and_the_next_pass_succeeds() {
    let tree = Tree::small();
    let recorded = with_a_journal(&tree);
    let calls = record(recorded.node.root(), &["renew"]);
    let writes = calls.iter().filter(|call| {
        ["write", "pwrite64"].contains(&call.name.as_str()) && call.is_below(recorded.node.root())
    });
    let lengths: BTreeSet<_> = writes.map(|call| usize::try_from(call.result).unwrap()).collect();
    let limits: BTreeSet<_> =
        lengths.iter().flat_map(|length| [1, length / 2, length - 1]).collect();
    let limits: Vec<_> = limits.into_iter().collect();
    on_each_core(&limits, |limit, _| {
        let case = format!("files of {limit} bytes at most");
        let copy = with_a_journal(&tree);
        let run =
            shell(&[], "trap '' XFSZ; exec prlimit --fsize=$3 $1 --root $2 renew", &copy, *limit);
        assert!(run.text.contains("os error 27"), "{case}: {}", run.text);
        assert_eq!(copy.node.whole().len(), tree.credentials(), "{case}: {}", run.text);
        tree.holds_now(&copy.node, &case);
        tree.next_start(&copy.node, &case);
    });
    println!("{} limits", limits.len());
}

/// The state folder is a disk of its own, with so many pages left.
const ON_A_FULL_DISK: &str =
    "set -e; state=$2/var/lib/kubecertd; cp $state/journal $2/journal; mount -t tmpfs -o \
     size=1m,mode=700 full $state
mv $2/journal $state/journal; dd if=/dev/zero of=$state/filler bs=4096 2>/dev/null || true
size=$(stat -c %s $state/filler); truncate -s $((size / 4096 * 4096 - $3 * 4096)) $state/filler
set +e; $1 --root $2 renew; code=$?; ls -A $state $state/backups; exit $code";

fn on_a_full_disk(copy: &Copy, pages: usize) -> Run {
    shell(&["unshare", "-m"], ON_A_FULL_DISK, copy, pages)
}

const WITHOUT: &str =
    "no backup could be made; what has little or no time left is renewed without one";
const NOT_WITHOUT: &str = "no backup could be made, so nothing was replaced";

#[test]
fn what_has_expired_is_renewed_without_a_backup_on_a_full_disk() {
    let tree = Tree::expired();
    let copy = with_a_journal(&tree);
    let run = on_a_full_disk(&copy, 0);
    assert!(run.text.contains(WITHOUT) && run.text.contains("os error 28"), "{}", run.text);
    assert_eq!(run.code, 0, "{}", run.text);
    tree.is_renewed(&copy.node, "a full disk");
}

#[test]
fn wherever_the_room_ends_what_has_expired_is_renewed_and_the_rest_is_kept() {
    let (expired, due) = (Tree::expired(), Tree::plain());
    let pages: Vec<_> = (0..12).collect();
    on_each_core(&pages, |pages, _| {
        let case = format!("{pages} pages left");
        let copy = with_a_journal(&expired);
        let run = on_a_full_disk(&copy, *pages);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        expired.is_renewed(&copy.node, &case);
        assert!(
            !run.text.contains(".half\n"),
            "{case}: half a backup was left behind: {}",
            run.text
        );

        let copy = with_a_journal(&due);
        let run = on_a_full_disk(&copy, *pages);
        assert_eq!(copy.node.whole().len(), due.credentials(), "{case}: {}", run.text);
        if run.code != 0 {
            assert!(
                run.text.contains(NOT_WITHOUT) && run.text.contains("os error 28"),
                "{case}: {}",
                run.text
            );
            due.holds_now(&copy.node, &case);
        }
        due.next_start(&copy.node, &case);
        println!(
            "{case}: {}",
            if run.code == 0 { "renewed" } else { "not renewed without a backup" }
        );
    });
}
