//! Tests with this process, its children, and processes in a made-up /proc.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::common::requirements::{MOUNTS, require};
use crate::sys::FixedClock;

const STAT: &str = "17 (x) S 1 17 17 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 10";

fn host() -> Root {
    Root::open(Path::new("/")).unwrap()
}

fn own() -> Process {
    Process::find(&host(), std::process::id()).unwrap().unwrap()
}

/// A child of this test, killed when the value is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self::of(Command::new("sleep").arg("1000"))
    }

    fn of(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn process(&self) -> Option<Process> {
        Process::find(&host(), self.0.id()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

#[test]
fn process_is_found_with_any_name() {
    let named = Sleeper::of(
        Command::new("sh").args(["-c", "printf '%s' 'a) Z (b c' > /proc/$$/comm; read _"]),
    );
    wait_until("the name", || {
        fs::read_to_string(format!("/proc/{}/comm", named.0.id())).unwrap() == "a) Z (b c\n"
    });
    let process = named.process().unwrap();
    assert!(process.start_ticks >= own().start_ticks);
    assert!(all(&host()).unwrap().contains(&process));
}

#[test]
fn zombie_is_no_process() {
    let mut sleeper = Sleeper::new();
    let process = sleeper.process().unwrap();
    sleeper.0.kill().unwrap();
    wait_until("its end", || !process.runs(&host()).unwrap());
    assert!(Path::new(&format!("/proc/{}/stat", process.pid)).exists());
    sleeper.0.wait().unwrap();
    assert_eq!(Process::find(&host(), process.pid).unwrap(), None);
    assert!(matches!(process.cgroup(&host()), Err(ProcessError::Ended(pid)) if pid == process.pid));
}

#[test]
fn process_age_is_measured_from_boot() {
    let sleeper = Sleeper::new();
    let young = sleeper.process().unwrap().age().unwrap();
    assert!(young < Duration::from_secs(10), "{young:?}");
    std::thread::sleep(Duration::from_millis(50));
    assert!(sleeper.process().unwrap().age().unwrap() >= young + Duration::from_millis(50));
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let first = Process { pid: 1, start_ticks: 0 };
    assert!((first.age().unwrap().as_secs_f64() - uptime).abs() < 5.0);
    let now = Timestamp::from_seconds(1_000_000);
    assert!(
        now.seconds_since(sleeper.process().unwrap().started_at(&FixedClock(now)).unwrap()) < 10
    );
}

#[test]
fn socket_owner_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = nix::sys::stat::fstat(&listener).unwrap().st_ino;
    assert_eq!(owners_of(&host(), inode).unwrap(), [own()]);
    let port = listener.local_addr().unwrap().port();
    assert_eq!(super::super::sockets::listeners(port).unwrap()[0].inode, inode);
    // A service's child has every descriptor that its parent did not close.
    let inherited = Sleeper::of(
        Command::new("sleep").arg("1000").stdout(OwnedFd::from(listener.try_clone().unwrap())),
    );
    let mut owners = vec![own(), inherited.process().unwrap()];
    owners.sort();
    let mut found = owners_of(&host(), inode).unwrap();
    found.sort();
    assert_eq!(found, owners);
    drop(listener);
    assert_eq!(owners_of(&host(), inode).unwrap(), [inherited.process().unwrap()]);
}

#[test]
fn process_lists_its_open_sockets() {
    let proc_dir = ProcDir::new();
    proc_dir.file("proc/17/stat", STAT);
    let dir = proc_dir.dir.path().join("proc/17/fd");
    fs::create_dir(&dir).unwrap();
    for (name, target) in [
        ("0", "/dev/null"),
        ("1", "socket:[99]"),
        ("2", "pipe:[7]"),
        ("3", "socket:[8]"),
        ("4", "socket:[99]"),
    ] {
        symlink(target, dir.join(name)).unwrap();
    }
    let process = Process { pid: 17, start_ticks: 4242 };
    assert_eq!(process.sockets(&proc_dir.root).unwrap().into_iter().collect::<Vec<_>>(), [8, 99]);
    assert!(matches!(
        Process { start_ticks: 1, ..process }.sockets(&proc_dir.root),
        Err(ProcessError::Ended(17))
    ));
}

#[test]
fn process_has_name_and_start_time() {
    let sleeper = Sleeper::new().process().unwrap();
    let own = own();
    assert_eq!(
        own.name(&host()).unwrap(),
        fs::read_to_string("/proc/self/comm").unwrap().trim_end()
    );
    assert!(own.since_boot().unwrap() <= sleeper.since_boot().unwrap());
    assert_eq!(own.since_boot().unwrap(), own.since_boot().unwrap());
}

#[test]
fn unowned_socket_has_no_owner() {
    let proc_dir = ProcDir::new();
    proc_dir.file("proc/17/stat", STAT);
    fs::create_dir(proc_dir.dir.path().join("proc/17/fd")).unwrap();
    symlink("socket:[99]", proc_dir.dir.path().join("proc/17/fd/3")).unwrap();
    assert_eq!(owners_of(&proc_dir.root, 9).unwrap(), []);
    assert_eq!(owners_of(&proc_dir.root, 99).unwrap(), [Process { pid: 17, start_ticks: 4242 }]);
}

#[test]
fn unreadable_descriptors_are_not_taken_for_none() {
    let proc_dir = ProcDir::new();
    proc_dir.file("proc/17/stat", STAT);
    // A file in place of a directory can't be listed by any user.
    proc_dir.file("proc/17/fd", "");
    assert!(owners_of(&proc_dir.root, 9).is_err());
}

#[test]
fn control_group_is_read() {
    let cgroup = own().cgroup(&host()).unwrap();
    assert_eq!(cgroup, Cgroup::parse(&fs::read_to_string("/proc/self/cgroup").unwrap()));
    let proc_dir = ProcDir::new();
    proc_dir.file("proc/17/stat", STAT);
    proc_dir.file("proc/17/cgroup", "0::/system.slice/kubelet.service\n");
    let process = Process { pid: 17, start_ticks: 4242 };
    assert_eq!(process.cgroup(&proc_dir.root).unwrap().unit.as_deref(), Some("kubelet.service"));
    let earlier = Process { pid: 17, start_ticks: 4241 };
    assert!(matches!(earlier.cgroup(&proc_dir.root), Err(ProcessError::Ended(17))));
}

#[test]
fn file_is_read_through_the_process_root() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "the same for both").unwrap();
    let sleeper = Sleeper::new();
    let read = |process: Process, file: &str| {
        process.read_in(&host(), &path(file), 100).map(|content| content.bytes.expose().to_vec())
    };
    let process = sleeper.process().unwrap();
    assert_eq!(read(process, file.to_str().unwrap()).unwrap(), b"the same for both");
    let other = Process { start_ticks: process.start_ticks - 1, ..process };
    assert!(matches!(read(other, file.to_str().unwrap()), Err(ProcessError::Ended(_))));
    let missing = read(process, "/no/such/file");
    assert!(matches!(missing, Err(ProcessError::File(e)) if e.is_not_found()));
}

/// Starts a process with a root directory and mounts of its own, as a container has.
fn start_contained(dir: &Path) -> Sleeper {
    const SCRIPT: &str = "set -e; cd $0; for d in usr bin lib lib64; do mkdir -p $d; [ ! -e /$d ] \
        || mount --bind /$d $d; done; \
        echo -n mounted > ../new; mount --bind ../new etc/mounted; exec chroot . /bin/sleep 1000";
    let sleeper = Sleeper::of(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", SCRIPT])
            .arg(dir)
            .stderr(Stdio::null()),
    );
    let pid = sleeper.0.id();
    wait_until("its root", || {
        fs::read_link(format!("/proc/{pid}/root")).map_or(true, |root| root == dir)
    });
    sleeper
}

#[test]
fn container_mounts_are_seen_and_symlinks_stay_inside() {
    require!(MOUNTS);
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("container");
    fs::create_dir_all(dir.join("etc")).unwrap();
    fs::write(dir.join("etc/secret"), "the container's").unwrap();
    fs::write(dir.join("etc/mounted"), "covered").unwrap();
    fs::write(outer.path().join("outside"), "the host's").unwrap();
    for (link, target) in
        [("absolute", "/etc/secret"), ("up", "../../../../etc/secret"), ("out", "../outside")]
    {
        symlink(target, dir.join(link)).unwrap();
    }
    let sleeper = start_contained(&dir);
    let process = sleeper.process().unwrap();
    let read = |file: &str| {
        process.read_in(&host(), &path(file), 100).map(|content| content.bytes.expose().to_vec())
    };
    for file in ["/etc/secret", "/absolute", "/up"] {
        assert_eq!(read(file).unwrap(), b"the container's", "{file}");
    }
    assert_eq!(read("/etc/mounted").unwrap(), b"mounted");
    assert!(read("/out").is_err());
}

#[test]
fn signal_reaches_only_its_process() {
    let mut sleeper = Sleeper::new();
    let process = sleeper.process().unwrap();
    let earlier = Process { start_ticks: process.start_ticks - 1, ..process };
    assert!(matches!(earlier.signal(&host(), Signal::KILL), Err(ProcessError::Ended(_))));
    assert!(process.runs(&host()).unwrap());
    process.signal(&host(), Signal::TERM).unwrap();
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(15));
    assert!(matches!(process.signal(&host(), Signal::TERM), Err(ProcessError::Ended(_))));
    for pid in [0, u32::MAX] {
        assert!(
            matches!(
                Process { pid, start_ticks: 1 }.signal(&host(), Signal::TERM),
                Err(ProcessError::Ended(_))
            ),
            "{pid}"
        );
    }
}

/// A directory with a /proc of its own.
struct ProcDir {
    dir: tempfile::TempDir,
    root: Root,
}

impl ProcDir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { dir, root }
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
