//! The user puts something there during the pass, which is stopped at a call.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::common::Node;
use super::common::requirements::{ROOT, require};
use super::judge::Before;
use super::node::{SECRET, TEMPLATE};
use super::objects::{Given, Object, Place, undo_swap};
use super::opens::Trace;
use super::pass::{Pass, limited};
use super::{Combination, run_all};

/// One target of each form: a pair whose files are in two directories, a combined PEM, a kubeconfig
/// that embeds and one that refers to files, a copy, and a pair of etcd, whose directory often
/// belongs to a user. All others are read and written by the same calls.
const TARGETS: [&str; 7] = [
    "srv/app/pair.crt",
    "srv/app/private/pair.key",
    "srv/app/bundle.pem",
    "srv/app/client.conf",
    "srv/app/referring.key",
    "srv/copy/config",
    "etc/kubernetes/pki/etcd/server.key",
];

const OBJECTS: [Object; 6] = [
    Object::LinkTo(SECRET),
    Object::HardLinkTo(SECRET),
    Object::Fifo,
    Object::PublicCertificate,
    Object::SwappedDir,
    Object::MovedLinkToDir,
];

/// Files that are only read: between a check and its use they must not become others.
const READ: [(&str, Object); 3] = [
    ("etc/kubernetes/pki/etcd/ca.key", Object::LinksToClusterCa),
    ("srv/app/client.conf", Object::KubeconfigTo(SECRET)),
    ("srv/app/client.conf", Object::KubeconfigToCredential),
];

/// The number of calls at which a pass is stopped for one target, besides its rename.
const STOPS: usize = 4;

/// The call after which the process stops, and what it was about to do.
#[derive(Clone)]
struct Stop {
    call: String,
    number: usize,
    next: String,
}

struct Case {
    target: &'static str,
    object: Object,
    stop: Stop,
}

impl Case {
    /// The path that is replaced.
    fn path(&self) -> &Path {
        let target = Path::new(self.target);
        if swaps_dir(self.object) { target.parent().unwrap() } else { target }
    }
}

fn swaps_dir(object: Object) -> bool {
    matches!(object, Object::SwappedDir | Object::MovedLinkToDir)
}

impl Combination for Case {
    fn kind(&self) -> String {
        self.object.kind()
    }

    fn name(&self) -> String {
        let Self { target, object, stop } = self;
        format!("{target} / {object} / before {} (after {} {})", stop.next, stop.call, stop.number)
    }

    fn run(&self, core: usize) -> Vec<String> {
        let copy = TEMPLATE.copy();
        let path = self.path();
        let place = Place { node: &copy.node, path, given: Given::Directory };
        place.give();
        self.object.prepare(&place);
        let before = Before::of(&copy.node, &[place.taken().to_owned()]);
        let (mut stops, mut planted) = (0, Vec::new());
        let pass = run_stopped(&copy.node, &self.stop, core, || {
            stops += 1;
            if stops == 1 {
                let found = copy.node.snapshot();
                self.object.plant(&place);
                planted = found.changed_paths(&copy.node.snapshot());
            }
        });
        // The directory is the same one again, with the files that were in it.
        if swaps_dir(self.object) {
            undo_swap(&place);
            planted.clear();
        }
        let mut violated = before.judge(&copy.node, &pass, &planted);
        violated.extend(before.not_renewed(&copy.node));
        if stops == 0 {
            violated.push("the pass was not stopped".to_owned());
        }
        violated
    }
}

/// Runs a pass, and calls `act` while it is stopped.
fn run_stopped(node: &Node, stop: &Stop, core: usize, act: impl FnMut()) -> Pass {
    let Stop { call, number, .. } = stop;
    let mut command = limited(&["taskset", "-c", &core.to_string()]);
    command
        .args(["strace", "-f", "-q", "-o", "|cat", "-e", &format!("trace={call}"), "-e"])
        .arg(format!("inject={call}:signal=SIGSTOP:when={number}"))
        .arg(env!("CARGO_BIN_EXE_kubecertd"))
        .arg("--root")
        .arg(node.root())
        .arg("renew");
    Pass::run_stopped(command, act)
}

/// The stops for one target: before calls that open it, its directory or a staged file beside it,
/// spread over the pass, and before it is renamed to its place and after. A pass on what belongs to
/// a user makes other calls, so it is traced with the directory given to the user.
fn stops(target: &'static str, object: Object) -> Vec<Stop> {
    let path = Path::new(target);
    let given = if swaps_dir(object) { path.parent().unwrap() } else { path };
    let trace = Trace::of(|node| Place { node, path: given, given: Given::Directory }.give());
    stops_in(&trace, path)
}

fn stops_in(trace: &Trace, target: &Path) -> Vec<Stop> {
    let calls = &trace.calls;
    let dir = target.parent().unwrap();
    let staged = format!(".{}.kubecertd-", target.file_name().unwrap().to_str().unwrap());
    let concerns = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path == target || path == dir || path.parent() == Some(dir) && name.starts_with(&staged)
    };
    let found: Vec<usize> = (1..calls.len())
        .filter(|at| calls[*at].first_thread && calls[at - 1].first_thread)
        .filter(|at| trace.path_of(&calls[*at]).is_some_and(|path| concerns(&path)))
        .collect();
    let renames = found.iter().filter(|at| calls[**at].name == "renameat");
    let around_renames = renames.flat_map(|at| [*at, at + 1]);
    let spread = (0..STOPS).map(|part| found[part * (found.len() - 1) / (STOPS - 1)]);
    let mut chosen: Vec<_> = around_renames.chain(spread).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let stop = |at: usize| Stop {
        call: calls[at - 1].name.clone(),
        number: calls[at - 1].number,
        next: format!("{} {}", calls[at].name, calls[at].number),
    };
    chosen.into_iter().map(stop).collect()
}

#[test]
fn object_during_pass_gains_user_nothing() {
    require!(ROOT, "strace", "taskset", "openssl");
    let mut cases = Vec::new();
    for target in TARGETS {
        let [of_file, of_dir] = [OBJECTS[0], Object::SwappedDir].map(|one| stops(target, one));
        for stops in [&of_file, &of_dir] {
            assert!(stops.len() > 2, "{target}: {}", stops.len());
            assert!(stops.iter().any(|stop| stop.next.starts_with("renameat")), "{target}");
        }
        for object in OBJECTS {
            let stops = if swaps_dir(object) { &of_dir } else { &of_file };
            cases.extend(stops.iter().map(|stop| Case { target, object, stop: stop.clone() }));
        }
    }
    for (target, object) in READ {
        let stops = stops(target, object).into_iter();
        cases.extend(stops.map(|stop| Case { target, object, stop }));
    }
    let counts = run_all("during the pass", &cases);
    let kinds: BTreeSet<_> = cases.iter().map(Combination::kind).collect();
    assert!(counts.keys().eq(&kinds), "{counts:?}");
}
