//! The user puts something there before the pass.

use std::path::{Path, PathBuf};

use super::common::requirements::{MOUNTS, require};
use super::common::{CA_KEY, Node, STATE};
use super::judge::Before;
use super::node::{COPY, SECRET, SECRET_DIR, TEMPLATE, USER};
use super::objects::{Given, Object, Place};
use super::opens::{TRACE, is_own};
use super::pass::{Pass, limited};
use super::{Combination, run_all};

const SERVICE_ACCOUNT_KEY: &str = "etc/kubernetes/pki/sa.key";
const OTHER_KEY: &str = "etc/kubernetes/pki/front-proxy-client.key";

struct Case {
    path: PathBuf,
    given: Given,
    object: Object,
}

impl Combination for Case {
    fn kind(&self) -> String {
        self.object.kind()
    }

    fn name(&self) -> String {
        let Self { path, given, object } = self;
        let given = match given {
            Given::Itself => "",
            Given::Directory => " in the user's directory",
        };
        format!("{}{given} / {object} / before the pass", path.display())
    }

    fn run(&self, _core: usize) -> Vec<String> {
        let copy = TEMPLATE.copy();
        let place = Place { node: &copy.node, path: &self.path, given: self.given };
        place.give();
        self.object.prepare(&place);
        let before = Before::of(&copy.node, &[place.taken().to_owned()]);
        self.object.plant(&place);
        let before = before.with_planted(&copy.node);
        let mount = (self.object == Object::Mount).then_some(&*self.path);
        let pass = run_pass(&copy.node, mount);
        let mut violated = before.judge(&copy.node, &pass, &[]);
        if is_refused(place.taken()) {
            let texts = [&*format!("belongs to user {USER}"), "written by others than root"];
            if !texts.iter().any(|text| pass.text.contains(text)) {
                violated.push("the owner is not refused".to_owned());
            }
        } else {
            violated.extend(before.not_renewed(&copy.node));
        }
        if matches!(self.object, Object::HardLinkTo(_))
            && is_reported(&self.path)
            && !pass.text.contains("names (hard links)")
        {
            violated.push("the hard link is not refused".to_owned());
        }
        violated
    }
}

/// Whether a pass has to say that it does not use a file or directory of the user's. The rest of
/// the state directory is out of the user's reach: it is ignored without a message, or only
/// written.
fn is_refused(path: &Path) -> bool {
    let is_state = path.starts_with(STATE) && path != Path::new(STATE);
    let is_read = ["journal", "state.json"].iter().any(|name| path.ends_with(name));
    is_own(path) && (!is_state || is_read)
}

/// Whether a pass says that it can't use a file. What kubelet renews is not in its output, nor a CA
/// of which nothing is due.
fn is_reported(path: &Path) -> bool {
    let unreported = ["etc/kubernetes/kubelet.conf", "srv/away/ca.crt"];
    !unreported.iter().any(|file| path == Path::new(file)) && !path.starts_with("var/lib/kubelet")
}

/// Runs one pass on a node, where something may be mounted.
fn run_pass(node: &Node, mount: Option<&Path>) -> Pass {
    let root = node.root().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_kubecertd");
    let Some(path) = mount else {
        return Pass::run(limited(&[program, "--root", root, "renew"]));
    };
    let source = if node.root().join(path).is_dir() { SECRET_DIR } else { SECRET };
    let script = format!(
        "mount --bind {root}/{source} {root}/{} || exit
         exec {program} --root {root} renew",
        path.display()
    );
    Pass::run(limited(&["unshare", "--mount", "sh", "-c", &script]))
}

/// Every object that fits the file or directory.
///
/// Which of root's files a symlink leads to makes no difference before its target is looked at, and
/// the reactions to the targets are the same for all credentials of one form. So only the own
/// entries and etcd, which are one of each form and the one that a user often owns, have all
/// targets; the others have a file that is no certificate.
fn objects_for(path: &Path) -> Vec<(Given, Object)> {
    use Given::{Directory, Itself};
    use Object::{
        Fifo, Foreign, HardLinkTo, Huge, KubeconfigTo, KubeconfigToCredential, KubeconfigToLink,
        KubeconfigToOwnKey, LinkTo, LinkToDir, LinksToClusterCa, Mount, MovedLinkTo,
        MovedLinkToDir, Nothing, PublicCertificate, SwappedDir,
    };
    let parent = path.parent().unwrap();
    let is_dir = TEMPLATE.node.root().join(path).is_dir();
    let mut objects = vec![(Itself, Nothing)];
    if is_own(path) {
        return objects;
    }
    // The owner of a symlink can't change where it leads.
    let is_link = TEMPLATE.node.root().join(path).is_symlink();
    if !is_dir && !is_link {
        objects.extend([(Itself, Foreign), (Itself, Huge)]);
    }
    let targets = [SECRET, CA_KEY, SERVICE_ACCOUNT_KEY, OTHER_KEY];
    let is_kubeconfig = path.extension().is_some_and(|kind| kind == "conf") || path.ends_with(COPY);
    if is_kubeconfig {
        objects.extend(targets.map(|target| (Itself, KubeconfigTo(target))));
        objects.push((Itself, KubeconfigToCredential));
    }
    let is_example = path.starts_with("srv/app") || path.starts_with("etc/kubernetes/pki/etcd");
    if is_kubeconfig && is_example {
        objects.push((Directory, KubeconfigToOwnKey));
        objects.extend(targets.map(|target| (Directory, KubeconfigToLink(target))));
    }
    let is_credential = !is_dir && TEMPLATE.credential_of(path).is_some();
    if is_credential && !is_link {
        objects.push((Itself, PublicCertificate));
    }
    // A user with the directory above would have the program's own directories too.
    if is_own(parent) {
        return objects;
    }
    objects.extend([LinkToDir, Fifo].map(|object| (Directory, object)));
    // A mount on a symlink is one on its target.
    if !is_link {
        objects.push((Directory, Mount));
    }
    if is_dir {
        objects.extend([SwappedDir, MovedLinkToDir].map(|object| (Directory, object)));
        return objects;
    }
    let targets = if is_example { &targets[..] } else { &targets[..1] };
    let is_other = |target: &&&str| path != Path::new(target);
    let targets = targets.iter().filter(is_other);
    objects.extend(targets.map(|target| (Directory, LinkTo(target))));
    objects.push((Directory, MovedLinkTo(SECRET)));
    let targets = [SECRET, OTHER_KEY];
    let targets = targets.iter().filter(is_other);
    objects.extend(targets.map(|target| (Directory, HardLinkTo(target))));
    if is_credential {
        objects.push((Directory, PublicCertificate));
    }
    if path.file_stem().is_some_and(|stem| stem == "ca") && is_example {
        objects.push((Directory, LinksToClusterCa));
    }
    objects
}

#[test]
fn object_before_pass_gains_user_nothing() {
    require!(MOUNTS, "strace", "taskset", "openssl");
    let opened = &TRACE.opened;
    println!("{} files and directories are opened", opened.len());
    let cases: Vec<_> = opened
        .iter()
        .flat_map(|path| {
            let objects = objects_for(path).into_iter();
            objects.map(|(given, object)| Case { path: path.clone(), given, object })
        })
        .collect();
    let counts = run_all("before the pass", &cases);
    // Each file of a credential is opened, and each can be given to the user.
    for file in TEMPLATE.credentials.iter().flat_map(|one| &one.files) {
        assert!(cases.iter().any(|case| case.path.starts_with(file)), "{}", file.display());
    }
    for case in &cases {
        assert!(
            case.object == Object::Mount || counts.contains_key(&case.object.kind()),
            "{}",
            case.name()
        );
    }
}
