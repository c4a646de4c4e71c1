//! A pass as on the node itself: a pid file that belongs to the user, or a process of the user's
//! with the name of kubelet, directs no signal and no certificate.
//!
//! The pass runs in a mount namespace whose root directory is the node, and without a network. The
//! processes of the machine are visible there, so that a signal can reach one.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::common::kubelet::{CONF, PKI_DIR};
use super::common::requirements::{MOUNTS, require};
use super::common::{Node, walk};
use super::judge::Before;
use super::node::{PID_FILE, TEMPLATE, TWIN, USER, pem_texts};
use super::objects::{Given, Object, Place};
use super::opens::{TRACE, opened_in};
use super::pass::{Pass, limited};
use super::strace::parse_log;
use super::{Combination, run_all};

/// The words that stop a program when it has opened a process to signal it.
const STOP: &str = "strace -f -q -o '|cat' -e trace=pidfd_open -e inject=pidfd_open:signal=SIGSTOP";

/// A process that says which signal it got, and survives it.
struct Process(Child);

impl Process {
    fn start(user: u32) -> Self {
        let script = "trap 'echo signalled' HUP; trap 'kill $!; exit' USR1
            sleep 600 >/dev/null 2>&1 & echo ready; while :; do wait; done";
        let id = user.to_string();
        let mut child = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = Vec::new();
        let mut output = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
        output.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"ready\n");
        Self(child)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it, and returns whether it got the signal before.
    fn was_signalled(mut self) -> bool {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGUSR1).unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        said.contains("signalled")
    }
}

/// How the pid file of a service leads to a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PidFile {
    /// All of it belongs to root: the process is signalled.
    OfRoot,
    /// The user's file names the user's process: it is signalled.
    OfOwnProcess,
    /// The user's file names a process of root's.
    OfForeignProcess,
    /// The same, written while the pass is about to signal.
    ChangedDuringPass,
    /// A symlink of the user's to a pid file of root's.
    Link,
    /// A symlink of root's, moved by the user, to a pid file of root's.
    MovedLink,
    /// A hard link to a pid file of root's.
    HardLink,
    /// The directory is a symlink of the user's to one with a pid file of root's.
    SwappedDir,
    /// Something else than a file with a number.
    Other(Object),
}

/// The one that takes longest is first.
const PID_FILES: [PidFile; 11] = [
    PidFile::ChangedDuringPass,
    PidFile::OfRoot,
    PidFile::OfOwnProcess,
    PidFile::OfForeignProcess,
    PidFile::Link,
    PidFile::MovedLink,
    PidFile::HardLink,
    PidFile::SwappedDir,
    PidFile::Other(Object::Fifo),
    PidFile::Other(Object::Huge),
    PidFile::Other(Object::LinkToDir),
];

impl Combination for PidFile {
    fn kind(&self) -> String {
        "pid file".to_owned()
    }

    fn name(&self) -> String {
        let text = match self {
            Self::OfRoot => "of root",
            Self::OfOwnProcess => "of the user's process",
            Self::OfForeignProcess => "of the user, with root's process",
            Self::ChangedDuringPass => {
                return format!("{PID_FILE} / changed to root's process / before the signal");
            }
            Self::Link => "symlink to root's pid file",
            Self::MovedLink => "moved symlink to root's pid file",
            Self::HardLink => "hard link to root's pid file",
            Self::SwappedDir => "directory swapped for a symlink",
            Self::Other(object) => return format!("{PID_FILE} / {object} / before the pass"),
        };
        format!("{PID_FILE} / {text} / before the pass")
    }

    fn run(&self, _core: usize) -> Vec<String> {
        let copy = TEMPLATE.copy();
        let node = &copy.node;
        prepare_root(node);
        let (roots, users) = (Process::start(0), Process::start(USER));
        let twin = format!("{TWIN}/app.pid");
        for file in [PID_FILE, &twin] {
            node.write(file, format!("{}\n", roots.id()));
        }
        let given = self.plant(node, &twin, users.id());
        let before = Before::of(node, &given);
        let mut stops = 0;
        let pass = if *self == Self::ChangedDuringPass {
            Pass::run_stopped(in_namespace(node, STOP), || {
                stops += 1;
                node.write(PID_FILE, format!("{}\n", roots.id()));
            })
        } else {
            Pass::run(in_namespace(node, ""))
        };
        let signalled = [roots, users].map(Process::was_signalled);
        let mut violated = before.judge(node, &pass, &[]);
        violated.extend(before.not_renewed(node));
        let wanted = match self {
            Self::OfRoot => [true, false],
            Self::OfOwnProcess | Self::ChangedDuringPass => [false, true],
            _ => [false, false],
        };
        let [to_root, to_user] = signalled;
        if to_root != wanted[0] {
            violated.push(format!("a process of root's was signalled: {to_root}"));
        }
        // It does not matter where the user interferes.
        if to_user != wanted[1] && *self != Self::ChangedDuringPass {
            violated.push(format!("the user's process was signalled: {to_user}"));
        }
        if *self == Self::ChangedDuringPass && stops == 0 {
            violated.push("the pass was not stopped".to_owned());
        }
        violated
    }
}

impl PidFile {
    /// Puts the pid file there, and returns what the user was given.
    fn plant(self, node: &Node, of_root: &str, users: u32) -> Vec<PathBuf> {
        let file = node.path(PID_FILE);
        let dir = Path::new(PID_FILE).parent().unwrap();
        let own = |path: &Path| lchown(path, Some(USER), Some(USER)).unwrap();
        if self == Self::OfRoot {
            return Vec::new();
        }
        own(&node.root().join(dir));
        match self {
            Self::OfRoot => {}
            Self::OfOwnProcess | Self::ChangedDuringPass => {
                node.write(PID_FILE, format!("{users}\n"));
                own(&file);
            }
            Self::OfForeignProcess => own(&file),
            Self::Link | Self::MovedLink => {
                fs::remove_file(&file).unwrap();
                symlink(format!("/{of_root}"), &file).unwrap();
                if self == Self::Link {
                    own(&file);
                }
            }
            Self::HardLink => {
                fs::remove_file(&file).unwrap();
                fs::hard_link(node.path(of_root), &file).unwrap();
            }
            Self::SwappedDir => {
                let path = node.root().join(dir);
                fs::rename(&path, path.with_extension("away")).unwrap();
                symlink(format!("/{TWIN}"), &path).unwrap();
                own(&path);
            }
            Self::Other(object) => {
                object.plant(&Place { node, path: Path::new(PID_FILE), given: Given::Directory });
            }
        }
        vec![dir.to_owned()]
    }
}

/// Makes the directory one that can be the root directory of the program.
fn prepare_root(node: &Node) {
    for dir in ["proc", "lib", "lib64"] {
        fs::create_dir(node.path(dir)).unwrap();
    }
    node.write("program", "");
}

/// The command that runs the pass, with words before it.
fn in_namespace(node: &Node, words: &str) -> Command {
    let root = node.root().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_kubecertd");
    let script = format!(
        "set -e; mount --rbind /proc {root}/proc; mount --bind {program} {root}/program
         for dir in lib lib64; do [ ! -d /$dir ] || mount --bind /$dir {root}/$dir; done
         exec {words} chroot {root} /program renew"
    );
    limited(&["unshare", "--mount", "--net", "sh", "-c", &script])
}

#[test]
fn pid_file_of_user_directs_no_signal_to_others() {
    require!(MOUNTS, "strace", "taskset", "setpriv", "openssl");
    let copy = TEMPLATE.copy();
    prepare_root(&copy.node);
    let process = Process::start(0);
    copy.node.write(PID_FILE, process.id().to_string());
    let log = tempfile::NamedTempFile::new().unwrap();
    let options =
        format!("strace -f -qq -y -xx -e trace=openat,openat2 -o {}", log.path().display());
    let pass = Pass::run(in_namespace(&copy.node, &options));
    let was_signalled = process.was_signalled();
    assert!(was_signalled, "{}", pass.text);
    let calls = parse_log(&fs::read_to_string(log.path()).unwrap());
    let more = opened_in(&calls, copy.node.root());
    // The trace of a pass below another root directory lacks these only.
    let more: Vec<_> = more.difference(&TRACE.opened).collect();
    println!("opened on the node itself only: {more:?}");
    assert!(more.iter().any(|path| path.as_path() == Path::new(PID_FILE)), "{more:?}");
    run_all("pid file", &PID_FILES);
}

/// Neither one of a user's nor one of root's in a container.
#[test]
fn process_named_kubelet_outside_its_unit_names_no_node() {
    require!(MOUNTS, "setpriv", "openssl");
    [USER, 0].into_iter().for_each(assert_process_names_no_node);
}

/// The name of the node is asked for when kubelet's certificate is lost, and its kubeconfig does
/// not say it.
fn assert_process_names_no_node(user: u32) {
    let copy = TEMPLATE.copy();
    let node = &copy.node;
    prepare_root(node);
    fs::remove_dir_all(node.path(PKI_DIR)).unwrap();
    fs::create_dir(node.path(PKI_DIR)).unwrap();
    let conf = node.text(CONF).replace("system:node:cp1", "default-auth");
    node.write(CONF, conf);
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(user), Some(user)).unwrap();
    let script = dir.path().join("kubelet");
    fs::write(&script, "#!/bin/sh\necho ready\nread line\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let id = user.to_string();
    let mut kubelet = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(&script)
        .arg("--hostname-override=victim-node")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(kubelet.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let before = Before::of(node, &[]);
    let pass = Pass::run(in_namespace(node, ""));
    drop(kubelet.stdin.take());
    kubelet.wait().unwrap();
    let violated = before.judge(node, &pass, &[]);
    assert!(violated.is_empty(), "user {user}: {violated:?}\n{}", pass.text);
    walk(node.root(), &mut |path| {
        for text in pem_texts(path) {
            assert!(!String::from_utf8_lossy(&text).contains("victim-node"), "{}", path.display());
        }
    });
}
