//! Real lack of space: writes that a limit on the size of files cuts short, and a state directory
//! on a full disk.

use std::collections::BTreeSet;
use std::process::Command;

use crate::common::requirements::{MOUNTS, ROOT, require};
use crate::common::{Run, STATE};
use crate::strace::{record, run_on_each_core};
use crate::tree::{Tree, TreeCopy};

/// The size of the journal in bytes. It exists before the disk is full.
const JOURNAL_SIZE: usize = 256 * 1024;

fn copy_with_journal(tree: &Tree) -> TreeCopy {
    let copy = tree.copy();
    copy.node.write(&format!("{STATE}/journal"), vec![0; JOURNAL_SIZE]);
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

/// Runs a shell command with the program, the root and one more argument.
pub fn run_shell(before: &[&str], line: &str, copy: &TreeCopy, argument: usize) -> Run {
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

/// A limit on file size cuts the write that meets it short, and refuses the next one.
#[test]
fn short_writes_are_reported_and_next_pass_succeeds() {
    require!(ROOT, "strace", "taskset", "prlimit");
    let tree = Tree::small();
    let recorded = copy_with_journal(&tree);
    let calls = record(recorded.node.root(), &["renew"]);
    let writes = calls.iter().filter(|call| {
        ["write", "pwrite64"].contains(&call.name.as_str()) && call.is_below(recorded.node.root())
    });
    let lengths: BTreeSet<_> = writes.map(|call| usize::try_from(call.result).unwrap()).collect();
    let limits: BTreeSet<_> =
        lengths.iter().flat_map(|length| [1, length / 2, length - 1]).collect();
    let limits: Vec<_> = limits.into_iter().collect();
    run_on_each_core(&limits, |limit, _| {
        let case = format!("files of {limit} bytes at most");
        let copy = copy_with_journal(&tree);
        let run = run_shell(
            &[],
            "trap '' XFSZ; exec prlimit --fsize=$3 $1 --root $2 renew",
            &copy,
            *limit,
        );
        assert!(run.text.contains("os error 27"), "{case}: {}", run.text);
        assert_eq!(
            copy.node.usable_credentials().len(),
            tree.credentials(),
            "{case}: {}",
            run.text
        );
        tree.assert_invariants(&copy.node, &case);
        tree.restart_and_check(&copy.node, &case);
    });
    println!("{} limits", limits.len());
}

/// Makes the state directory a disk of its own, with a given number of pages left. The backups that
/// fit on it are kept.
const FULL_DISK_SCRIPT: &str =
    "set -e; state=$2/var/lib/kubecertd; cp $state/journal $2/journal; mount -t tmpfs -o \
     size=1m,mode=700 full $state
mv $2/journal $state/journal; dd if=/dev/zero of=$state/filler bs=4096 2>/dev/null || true
size=$(stat -c %s $state/filler); truncate -s $((size / 4096 * 4096 - $3 * 4096)) $state/filler
set +e; $1 --root $2 renew; code=$?; ls -A $state $state/backups; cp -a $state/backups $2/backups
umount $state; mv $2/backups $state/backups; exit $code";

fn run_on_full_disk(copy: &TreeCopy, pages: usize) -> Run {
    run_shell(&["unshare", "-m"], FULL_DISK_SCRIPT, copy, pages)
}

const RENEWED_WITHOUT_BACKUP: &str =
    "no backup could be made; urgent and expired credentials are renewed without one";
const NOT_RENEWED_WITHOUT_BACKUP: &str = "no backup could be made, so nothing was replaced";

#[test]
fn expired_credential_is_renewed_without_backup_on_full_disk() {
    require!(MOUNTS);
    let tree = Tree::expired();
    let copy = copy_with_journal(&tree);
    let run = run_on_full_disk(&copy, 0);
    assert!(
        run.text.contains(RENEWED_WITHOUT_BACKUP) && run.text.contains("os error 28"),
        "{}",
        run.text
    );
    assert_eq!(run.code, 0, "{}", run.text);
    tree.assert_renewed(&copy.node, "a full disk");
}

#[test]
fn disk_full_at_any_page_renews_expired_and_keeps_rest() {
    require!(MOUNTS);
    let (expired, due) = (Tree::expired(), Tree::plain());
    let pages: Vec<_> = (0..12).collect();
    run_on_each_core(&pages, |pages, _| {
        let case = format!("{pages} pages left");
        let copy = copy_with_journal(&expired);
        let run = run_on_full_disk(&copy, *pages);
        assert_eq!(run.code, 0, "{case}: {}", run.text);
        expired.assert_renewed(&copy.node, &case);
        assert!(
            !run.text.contains(".half\n"),
            "{case}: half a backup was left behind: {}",
            run.text
        );

        let copy = copy_with_journal(&due);
        let run = run_on_full_disk(&copy, *pages);
        assert_eq!(copy.node.usable_credentials().len(), due.credentials(), "{case}: {}", run.text);
        if run.code != 0 {
            assert!(
                run.text.contains(NOT_RENEWED_WITHOUT_BACKUP) && run.text.contains("os error 28"),
                "{case}: {}",
                run.text
            );
            due.assert_invariants(&copy.node, &case);
        }
        due.restart_and_check(&copy.node, &case);
        println!(
            "{case}: {}",
            if run.code == 0 { "renewed" } else { "not renewed without a backup" }
        );
    });
}
