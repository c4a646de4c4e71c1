//! Disks that are full or read-only, files without read permission, and unusable state directories.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::common::requirements::{MOUNTS, ROOT, require, skip};
use super::faults::OTHER_KEY;
use super::*;

/// A small file system, which is unmounted with the value.
struct Disk(PathBuf);

impl Disk {
    fn mount(dir: &Path, size: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let options = format!("size={size},mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir);
        assert!(mount.status().unwrap().success());
        Self(dir.to_owned())
    }

    fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        assert!(
            Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success()
        );
    }

    /// Fills the disk, so that no file can be added.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Asserts that nothing outside the state directory changed.
fn assert_only_state_changed(case: &str, before: &Snapshot, after: &Snapshot) {
    let outside = |snapshot: &Snapshot| {
        // Directories have new times after a file was staged in them and removed again.
        let files =
            snapshot.0.iter().filter(|(path, entry)| !entry.is_dir() && !path.starts_with(STATE));
        Snapshot(files.map(|(path, entry)| (path.clone(), entry.clone())).collect())
    };
    assert_unchanged(case, &outside(before), &outside(after));
    assert_no_hidden_files(case, after);
}

#[test]
fn read_only_disk_changes_nothing_until_writable() {
    require!(MOUNTS);
    let node = Node::empty();
    let disk = Disk::mount(node.root(), "4m");
    node.fill(Node::files_due());
    let before = node.snapshot();
    disk.remount("ro");
    let check = node.run(&["check"]);
    assert_eq!(check.code, ATTENTION, "{}", check.text);
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, FAILED, "{}", renew.text);
    assert!(
        renew.text.contains("/var") && renew.text.contains("Read-only file system"),
        "{}",
        renew.text
    );
    assert_unchanged("read-only", &before, &node.snapshot());
    disk.remount("rw");
    Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert("writable again", &node);
}

#[test]
fn read_only_etc_changes_nothing_until_writable() {
    require!(MOUNTS);
    let node = Node::empty();
    let disk = Disk::mount(&node.path("etc"), "4m");
    node.fill(Node::files_due());
    let before = node.snapshot();
    disk.remount("ro");
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, FAILED, "{}", renew.text);
    assert_eq!(
        renew.text.matches("Read-only file system").count(),
        node.managed_credentials().len(),
        "{}",
        renew.text
    );
    assert!(
        renew.text.contains("/etc/kubernetes/pki/") && renew.text.contains("apiserver.crt"),
        "{}",
        renew.text
    );
    assert_only_state_changed("read-only", &before, &node.snapshot());
    disk.remount("rw");
    Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }.assert("writable again", &node);
}

#[test]
fn full_disk_changes_nothing_until_freed() {
    require!(MOUNTS);
    // Full before the first run, and full later, when the space of the journal is reserved already.
    for case in ["first", "later"] {
        let node = Node::empty();
        let disk = Disk::mount(node.root(), "2m");
        node.fill(Node::files_due());
        if case == "later" {
            assert_eq!(node.run(&["renew"]).code, SUCCESS);
            node.age_all(10);
        }
        disk.fill();
        let before = node.snapshot();
        let check = node.run(&["check"]);
        assert_eq!(check.code, ATTENTION, "{case}: {}", check.text);
        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, FAILED, "{case}: {}", renew.text);
        let named = if case == "first" { "/var/lib/kubecertd/journal" } else { "apiserver.crt" };
        assert!(
            renew.text.contains(named) && renew.text.contains("No space left on device"),
            "{case}: {}",
            renew.text
        );
        assert_only_state_changed(case, &before, &node.snapshot());
        disk.free();
        Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }
            .assert(&format!("{case}: with free space again"), &node);
    }
}

#[test]
fn full_backup_disk_renews_only_urgent_intact_credential() {
    require!(MOUNTS);
    let node = Node::empty();
    let disk = Disk::mount(&node.path(STATE), "512k");
    node.fill(Node::files_due());
    assert_eq!(node.run(&["renew"]).code, SUCCESS);
    node.age_all(10);
    node.age("admin.conf", 1);
    // A key that does not fit may be the only copy of something.
    node.write(FRONT_KEY, OTHER_KEY);
    disk.fill();
    let before = node.certificate("admin.conf");
    let snapshot = node.snapshot();
    let generations = || fs::read_dir(node.path(STATE).join("backups")).unwrap().count();
    let whole_ones = generations();
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, PARTIAL, "{}", renew.text);
    assert_eq!(generations(), whole_ones, "half a backup was left");
    assert!(
        renew.text.contains("no backup could be made, so nothing was replaced"),
        "{}",
        renew.text
    );
    assert!(renew.text.contains("No space left on device"), "{}", renew.text);
    assert_eq!(node.text(FRONT_KEY), OTHER_KEY, "{}", renew.text);
    assert_ne!(node.certificate("admin.conf").serial, before.serial);
    let after = node.snapshot();
    for (path, old) in snapshot.0.iter().filter(|(path, old)| {
        old.is_file() && path.starts_with("etc") && !path.ends_with("admin.conf")
    }) {
        assert_eq!(after.0.get(path), Some(old), "{}", path.display());
    }
    assert_no_hidden_files("no backup", &after);
    disk.free();
    node.age("admin.conf", 10);
    Expected { code: SUCCESS, left: &[], reported: &["apiserver"] }
        .assert("with free space again", &node);
}

/// Root may read everything, so this runs as an unprivileged user.
#[test]
fn permission_denied_affects_only_one_credential() {
    use std::os::unix::process::CommandExt as _;
    const UNPRIVILEGED_ID: u32 = 65_534;
    require!(ROOT);
    let node = Node::due();
    for path in node.snapshot().0.keys() {
        std::os::unix::fs::chown(
            node.root().join(path),
            Some(UNPRIVILEGED_ID),
            Some(UNPRIVILEGED_ID),
        )
        .unwrap();
    }
    for file in [APISERVER_KEY, SCHEDULER] {
        std::os::unix::fs::chown(node.path(file), Some(0), Some(0)).unwrap();
    }
    let before = node.snapshot();
    let program = env!("CARGO_BIN_EXE_kubecertd");
    let mut command = Command::new(program);
    command.arg("--root").arg(node.root()).arg("renew").uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
    let output = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return skip(&format!("needs {program} to be executable by every user"));
        }
        output => output.unwrap(),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(PARTIAL), "{text}");
    for file in [APISERVER_KEY, SCHEDULER] {
        assert!(text.contains(&format!("/{file}: cannot read: Permission denied")), "{text}");
    }
    let after = node.snapshot();
    for file in [APISERVER_CRT, APISERVER_KEY, SCHEDULER] {
        assert_eq!(after.0.get(Path::new(file)), before.0.get(Path::new(file)), "{file}");
    }
    assert_ne!(after.0.get(Path::new(ADMIN)), before.0.get(Path::new(ADMIN)));
}

#[test]
fn unusable_state_directory_prevents_pass() {
    type Damage = fn(&Node);
    let cases: [(&str, Damage, &str); 3] = [
        (
            "a file",
            |node| node.write(STATE, "here"),
            "/var/lib/kubecertd: cannot open: Not a directory",
        ),
        ("its parent is a file", |node| node.write("var/lib", "here"), "/var/lib"),
        (
            "the lock is a directory",
            |node| fs::create_dir_all(node.path(STATE).join("lock")).unwrap(),
            "/var/lib/kubecertd/lock: cannot open",
        ),
    ];
    for (case, damage, reason) in cases {
        let node = Node::due();
        damage(&node);
        let before = node.snapshot();
        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, FAILED, "{case}: {}", renew.text);
        assert!(renew.text.contains(reason), "{case}: {}", renew.text);
        assert_only_state_changed(case, &before, &node.snapshot());
    }
}

#[test]
fn invalid_journal_is_quarantined_and_reported() {
    let node = Node::due();
    node.write(&format!("{STATE}/journal"), "to be written here later\n".repeat(9));
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, SUCCESS, "{}", renew.text);
    assert!(
        renew.text.contains(
            "/var/lib/kubecertd/journal: is not a journal; it is quarantined as journal.refused"
        ),
        "{}",
        renew.text
    );
}
