//! Disks that are full or read-only, files that may not be read, and a state folder that is none.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::ways::KEY;
use super::*;

/// A small file system of its own, which goes away with it.
struct Disk(PathBuf);

impl Disk {
    /// `None`, said aloud, where mounting is not allowed.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        eprintln!("SKIPPED: mounting a tmpfs is not allowed here");
        None
    }

    fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        assert!(
            Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success()
        );
    }

    /// Leaves no room for even one more file.
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

/// Nothing changed but, perhaps, in the state folder.
fn kept(case: &str, before: &Snapshot, after: &Snapshot) {
    let outside = |snapshot: &Snapshot| {
        // Folders have new times when a file was staged in them and removed again.
        let files = snapshot
            .0
            .iter()
            .filter(|(path, entry)| !entry.is_folder() && !path.starts_with(STATE));
        Snapshot(files.map(|(path, entry)| (path.clone(), entry.clone())).collect())
    };
    unchanged(case, &outside(before), &outside(after));
    nothing_left_behind(case, after);
}

#[test]
fn on_a_read_only_disk_nothing_happens_and_afterwards_everything_is_renewed() {
    let node = Node::empty();
    let Some(disk) = Disk::mount(node.root(), "4m") else { return };
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
    unchanged("read-only", &before, &node.snapshot());
    disk.remount("rw");
    Expected { code: FINE, left: &[], says: &["apiserver"] }.of("writable again", &node);
}

#[test]
fn with_a_read_only_configuration_folder_nothing_happens_and_afterwards_everything_is_renewed() {
    let node = Node::empty();
    let Some(disk) = Disk::mount(&node.path("etc"), "4m") else { return };
    node.fill(Node::files_due());
    let before = node.snapshot();
    disk.remount("ro");
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, FAILED, "{}", renew.text);
    assert_eq!(
        renew.text.matches("Read-only file system").count(),
        node.ours().len(),
        "{}",
        renew.text
    );
    assert!(
        renew.text.contains("/etc/kubernetes/pki/") && renew.text.contains("apiserver.crt"),
        "{}",
        renew.text
    );
    kept("read-only", &before, &node.snapshot());
    disk.remount("rw");
    Expected { code: FINE, left: &[], says: &["apiserver"] }.of("writable again", &node);
}

#[test]
fn on_a_full_disk_nothing_happens_and_afterwards_everything_is_renewed() {
    // Full before the first run ever, and full later, when the journal has its room already.
    for case in ["first", "later"] {
        let node = Node::empty();
        let Some(disk) = Disk::mount(node.root(), "2m") else { return };
        node.fill(Node::files_due());
        if case == "later" {
            assert_eq!(node.run(&["renew"]).code, FINE);
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
        kept(case, &before, &node.snapshot());
        disk.free();
        Expected { code: FINE, left: &[], says: &["apiserver"] }
            .of(&format!("{case}: with room again"), &node);
    }
}

#[test]
fn without_room_for_a_backup_only_what_has_no_time_left_and_loses_nothing_is_renewed() {
    let node = Node::empty();
    let Some(disk) = Disk::mount(&node.path(STATE), "512k") else { return };
    node.fill(Node::files_due());
    assert_eq!(node.run(&["renew"]).code, FINE);
    node.age_all(10);
    node.age("admin.conf", 1);
    // A key that fits nothing may be the only copy of something.
    node.write(FRONT_KEY, KEY);
    disk.fill();
    let before = node.certificate("admin.conf");
    let snapshot = node.snapshot();
    let generations = || fs::read_dir(node.path(STATE).join("backups")).unwrap().count();
    let whole_ones = generations();
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, PARTLY, "{}", renew.text);
    assert_eq!(generations(), whole_ones, "half a backup was left");
    assert!(
        renew.text.contains("no backup could be made, so nothing was replaced"),
        "{}",
        renew.text
    );
    assert!(renew.text.contains("No space left on device"), "{}", renew.text);
    assert_eq!(node.text(FRONT_KEY), KEY, "{}", renew.text);
    assert_ne!(node.certificate("admin.conf").serial, before.serial);
    let after = node.snapshot();
    for (path, old) in snapshot.0.iter().filter(|(path, old)| {
        old.is_file() && path.starts_with("etc") && !path.ends_with("admin.conf")
    }) {
        assert_eq!(after.0.get(path), Some(old), "{}", path.display());
    }
    nothing_left_behind("no backup", &after);
    disk.free();
    node.age("admin.conf", 10);
    Expected { code: FINE, left: &[], says: &["apiserver"] }.of("with room again", &node);
}

/// Root may read everything, so this runs as nobody.
#[test]
fn a_file_that_may_not_be_read_costs_its_credential_alone() {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let node = Node::due();
    for path in node.snapshot().0.keys() {
        std::os::unix::fs::chown(node.root().join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for file in [APISERVER_KEY, SCHEDULER] {
        std::os::unix::fs::chown(node.path(file), Some(0), Some(0)).unwrap();
    }
    let before = node.snapshot();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubecertd"));
    command.arg("--root").arg(node.root()).arg("renew").uid(NOBODY).gid(NOBODY);
    let output = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: nobody can't run the program where it is");
            return;
        }
        output => output.unwrap(),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(PARTLY), "{text}");
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
fn a_state_folder_that_cannot_be_used_stops_the_pass_before_anything_is_touched() {
    type Spoil = fn(&Node);
    let cases: [(&str, Spoil, &str); 3] = [
        (
            "a file",
            |node| node.write(STATE, "here"),
            "/var/lib/kubecertd: cannot open: Not a directory",
        ),
        ("its parent is a file", |node| node.write("var/lib", "here"), "/var/lib"),
        (
            "the lock is a folder",
            |node| fs::create_dir_all(node.path(STATE).join("lock")).unwrap(),
            "/var/lib/kubecertd/lock: cannot open",
        ),
    ];
    for (case, spoil, reason) in cases {
        let node = Node::due();
        spoil(&node);
        let before = node.snapshot();
        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, FAILED, "{case}: {}", renew.text);
        assert!(renew.text.contains(reason), "{case}: {}", renew.text);
        kept(case, &before, &node.snapshot());
    }
}

#[test]
fn a_journal_that_is_none_is_set_aside_and_told() {
    let node = Node::due();
    node.write(&format!("{STATE}/journal"), "to be written here later\n".repeat(9));
    let renew = node.run(&["renew"]);
    assert_eq!(renew.code, FINE, "{}", renew.text);
    assert!(
        renew.text.contains(
            "/var/lib/kubecertd/journal: is not a journal; it is set aside as journal.refused"
        ),
        "{}",
        renew.text
    );
}
