use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::super::Signal;
use super::*;
use crate::common::requirements::{ROOT, require};
use crate::sys::SystemClock;

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self::start_as(nix::unistd::geteuid().as_raw())
    }

    #[allow(clippy::disallowed_methods, reason = "a process to send signals to")]
    fn start_as(user: u32) -> Self {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null()).uid(user);
        Self(command.spawn().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "what a service writes by itself")]
fn pid_file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, AbsolutePath) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    std::fs::write(&path, content).unwrap();
    (dir, AbsolutePath::new(path.to_str().unwrap()).unwrap())
}

fn find(path: &AbsolutePath) -> Result<Process, PidFileError> {
    PidFile { path, unit: None }.find(&host(), &SystemClock)
}

fn host() -> Root {
    Root::open(Path::new("/")).unwrap()
}

#[test]
fn pid_file_must_contain_a_number() {
    for (content, pid) in [("12", Some(12)), ("12\n", Some(12)), ("4294967295\n", Some(u32::MAX))] {
        assert_eq!(parse(content.as_bytes()), pid, "{content:?}");
    }
    for content in [
        "",
        "\n",
        "0",
        "1",
        "-5",
        "+5",
        " 5",
        "5 ",
        "5\n\n",
        "5\n6",
        "5\r\n",
        "0x5",
        "4294967296",
        "\u{661}",
    ] {
        assert_eq!(parse(content.as_bytes()), None, "{content:?}");
    }
    assert_eq!(parse(b"\xff"), None);
}

#[test]
fn process_named_in_the_file_is_signalled() {
    let mut sleeper = Sleeper::start();
    let (_dir, path) = pid_file(format!("{}\n", sleeper.0.id()));
    let process = find(&path).unwrap();
    process.signal(&host(), Signal::USR1).unwrap();
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(nix::sys::signal::Signal::SIGUSR1 as i32));
}

#[test]
fn process_younger_than_the_file_is_refused() {
    let sleeper = Sleeper::start();
    let (dir, path) = pid_file(sleeper.0.id().to_string());
    let file = std::fs::File::options().write(true).open(dir.path().join("a.pid")).unwrap();
    let age = |seconds| {
        std::time::UNIX_EPOCH
            + Duration::from_secs(u64::try_from(SystemClock.now().seconds()).unwrap() - seconds)
    };
    file.set_modified(age(60)).unwrap();
    let error = find(&path).unwrap_err();
    assert!(matches!(error, PidFileError::Reused { pid, .. } if pid == sleeper.0.id()), "{error}");
    file.set_modified(age(2)).unwrap();
    find(&path).unwrap();
}

#[test]
fn exited_process_and_invalid_file_are_distinguished() {
    let sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    drop(sleeper);
    let (_dir, path) = pid_file(pid.to_string());
    let error = find(&path).unwrap_err();
    assert!(matches!(error, PidFileError::Ended { .. }), "{error}");
    let (_dir, path) = pid_file("eleven");
    let error = find(&path).unwrap_err();
    assert!(matches!(error, PidFileError::NoPid(_)), "{error}");
    let missing = AbsolutePath::new("/run/kubecertd-no-such.pid").unwrap();
    let error = find(&missing).unwrap_err();
    assert!(matches!(error, PidFileError::File(_)), "{error}");
}

/// A disk with a /run that a user may own, whose /proc is that of the machine.
struct Disk {
    dir: tempfile::TempDir,
    root: Root,
}

const ALICE: u32 = 61_234;
const BOB: u32 = 61_235;

#[allow(clippy::disallowed_methods, reason = "what a user does to a pid file")]
impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("run/alice")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { dir, root }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, owner: u32, pid: u32) -> AbsolutePath {
        std::fs::write(self.at(name), pid.to_string()).unwrap();
        self.own(name, owner);
        AbsolutePath::new(format!("/{name}")).unwrap()
    }

    fn own(&self, name: &str, owner: u32) {
        chown(self.at(name), Some(owner), None).unwrap();
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Describes a running process as /proc does, in a control group of choice.
    fn describe(&self, pid: u32, cgroup: &str) {
        let proc = self.at(&format!("proc/{pid}"));
        std::fs::create_dir_all(&proc).unwrap();
        for file in ["stat", "status"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            std::fs::write(proc.join(file), text).unwrap();
        }
        std::fs::write(proc.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
    }

    fn find(&self, path: &AbsolutePath, unit: Option<&str>) -> Result<Process, String> {
        let pid_file = PidFile { path, unit };
        pid_file.find(&self.root, &SystemClock).map_err(|e| e.to_string())
    }
}

#[test]
fn pid_file_of_user_names_only_processes_of_that_user() {
    require!(ROOT);
    let disk = Disk::new();
    let sleepers = [Sleeper::start(), Sleeper::start_as(ALICE), Sleeper::start_as(BOB)];
    let [roots, alices, bobs] = sleepers.each_ref().map(|sleeper| sleeper.0.id());
    for pid in [roots, alices, bobs] {
        disk.describe(pid, "/");
    }
    let found = |name: &str, owner, pid| disk.find(&disk.write(name, owner, pid), None);
    assert_eq!(found("run/a.pid", 0, roots).unwrap().pid, roots);
    assert_eq!(found("run/a.pid", 0, alices).unwrap().pid, alices);
    assert_eq!(found("run/a.pid", ALICE, alices).unwrap().pid, alices);
    for (pid, of) in [(roots, 0), (bobs, BOB)] {
        let refusal = found("run/a.pid", ALICE, pid).unwrap_err();
        assert_eq!(
            refusal,
            format!(
                "its pid file /run/a.pid (owner: user {ALICE}) or a directory on the way to it \
                 is writable by others than root, and names process {pid} of user {of}, not of \
                 its owner: the file and its directories must be owned by root and not \
                 writable by others, or the service needs unit = \"NAME.service\", the unit \
                 that its process belongs to"
            )
        );
    }
    // The owner of a directory can replace the files of others in it.
    disk.own("run/alice", ALICE);
    assert!(found("run/alice/a.pid", 0, roots).is_err());
    assert!(found("run/alice/a.pid", ALICE, roots).is_err());
    assert!(found("run/alice/a.pid", ALICE, alices).is_ok());
    disk.own("run/alice", 0);
    assert!(found("run/alice/a.pid", 0, roots).is_ok());
    disk.mode("run", 0o777);
    assert!(found("run/alice/a.pid", 0, roots).is_err());
    // In a sticky directory the files of root are safe.
    disk.mode("run", 0o1777);
    assert!(found("run/alice/a.pid", 0, roots).is_ok());
    disk.mode("run/alice/a.pid", 0o666);
    assert!(found("run/alice/a.pid", 0, roots).is_err());
}

#[test]
fn process_with_one_other_user_is_not_its_owners() {
    require!(ROOT);
    let (disk, sleeper) = (Disk::new(), Sleeper::start_as(ALICE));
    let pid = sleeper.0.id();
    disk.describe(pid, "/");
    let path = disk.write("run/a.pid", ALICE, pid);
    let status = disk.at(&format!("proc/{pid}/status"));
    #[allow(clippy::disallowed_methods, reason = "a made-up /proc")]
    let with = |users: [u32; 4]| {
        let users = users.map(|user| user.to_string()).join("\t");
        std::fs::write(&status, format!("Name:\tx\nUid:\t{users}\n")).unwrap();
        disk.find(&path, None)
    };
    assert!(with([ALICE; 4]).is_ok());
    for at in 0..4 {
        let mut users = [ALICE; 4];
        users[at] = 0;
        let refusal = with(users).unwrap_err();
        assert!(refusal.contains(&format!("names process {pid} of the users ")), "{refusal}");
    }
}

#[test]
fn pid_file_of_user_may_name_processes_of_its_unit() {
    require!(ROOT);
    let (disk, sleeper) = (Disk::new(), Sleeper::start());
    let pid = sleeper.0.id();
    let path = disk.write("run/a.pid", ALICE, pid);
    let id = "0123456789abcdef".repeat(4);
    for (cgroup, found) in [
        ("/system.slice/site.service".to_owned(), true),
        ("/system.slice/other.service".to_owned(), false),
        ("/site.service".to_owned(), false),
        ("/user.slice/user-61234.slice/site.service".to_owned(), false),
        (format!("/docker/{id}/system.slice/site.service"), false),
        (format!("/system.slice/site.service/docker/{id}"), false),
    ] {
        disk.describe(pid, &cgroup);
        let seen = disk.find(&path, Some("site.service"));
        assert_eq!(seen.is_ok(), found, "{cgroup}: {seen:?}");
        let refusal = disk.find(&path, Some("else.service")).unwrap_err();
        assert!(refusal.contains(", which does not belong to else.service: "), "{refusal}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what a user does to a pid file")]
fn linked_pid_file_in_directory_of_user_is_refused() {
    require!(ROOT);
    let (disk, sleeper) = (Disk::new(), Sleeper::start_as(ALICE));
    let pid = sleeper.0.id();
    disk.describe(pid, "/");
    disk.own("run/alice", ALICE);
    disk.mode("run", 0o1777);
    disk.write("run/real.pid", ALICE, pid);
    let target = disk.write("run/roots.pid", 0, pid);
    symlink("/run/real.pid", disk.at("run/alice/link.pid")).unwrap();
    std::fs::hard_link(disk.at("run/real.pid"), disk.at("run/alice/hard.pid")).unwrap();
    std::fs::hard_link(disk.at("run/roots.pid"), disk.at("run/other.pid")).unwrap();
    for (name, says) in [
        ("/run/alice/link.pid", "is a symlink that others than root"),
        ("/run/alice/hard.pid", "has 2 names (hard links)"),
        ("/run/other.pid", "has 2 names (hard links)"),
    ] {
        let refusal = disk.find(&AbsolutePath::new(name).unwrap(), None).unwrap_err();
        assert!(refusal.contains(says), "{refusal}");
    }
    // Where only root can make links, they are followed.
    disk.mode("run", 0o755);
    symlink("/run/roots.pid", disk.at("run/link.pid")).unwrap();
    for path in [target, AbsolutePath::constant("/run/link.pid")] {
        assert_eq!(disk.find(&path, None).unwrap().pid, pid);
    }
}

#[test]
fn pid_file_swapped_after_the_look_gets_no_signal() {
    require!(ROOT);
    let disk = Disk::new();
    let [mut alices, mut roots] = [Sleeper::start_as(ALICE), Sleeper::start()];
    disk.describe(alices.0.id(), "/");
    disk.describe(roots.0.id(), "/");
    let path = disk.write("run/a.pid", ALICE, alices.0.id());
    let pid_file = PidFile { path: &path, unit: None };
    let signal = |process| {
        pid_file.signal(&disk.root, &SystemClock, process, Signal::KILL).map_err(|e| e.to_string())
    };
    let process = disk.find(&path, None).unwrap();
    // The number of another process, which the file may name as little as before.
    disk.write("run/a.pid", ALICE, roots.0.id());
    assert!(signal(process).unwrap_err().contains("of user 0, not of its owner"));
    let of_root = Process::find(&disk.root, roots.0.id()).unwrap().unwrap();
    assert!(signal(of_root).unwrap_err().contains("of user 0, not of its owner"));
    // One that it may name, but was not the one that was looked at.
    let mut other = Sleeper::start_as(ALICE);
    disk.describe(other.0.id(), "/");
    disk.write("run/a.pid", ALICE, other.0.id());
    assert!(signal(process).unwrap_err().contains("does not name process"));
    assert!(alices.runs() && roots.runs() && other.runs());
    disk.write("run/a.pid", ALICE, alices.0.id());
    assert_eq!(signal(process), Ok(()));
    assert_eq!(alices.0.wait().unwrap().signal(), Some(9));
}
