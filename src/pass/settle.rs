//! Settling: a pair that is just being written is not broken. kubeadm writes the key first and then
//! the certificate, in place; in between, the two files do not fit. Such a pair is read again for a
//! while before it is judged.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::FileStat;

use super::survey::{Survey, survey};
use crate::model::{Material, Timestamp};
use crate::observe::Node;
use crate::plan::{Judged, Request};
use crate::sys::{Clock, Root};

/// How long something unsettled is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    /// What was changed this short a time ago may not be complete yet.
    pub(super) quiet: Duration,
    /// After this time it is judged as it is, however often it changes: a file that is written
    /// without end must not keep the rest from being renewed.
    pub(super) limit: Duration,
    /// The interval between two reads.
    pub(super) interval: Duration,
}

impl Settling {
    pub(super) const USUAL: Self = Self {
        quiet: Duration::from_secs(5),
        limit: Duration::from_secs(10),
        interval: Duration::from_millis(100),
    };

    /// Makes a survey, and repeats it as long as something that would be repaired may only be half
    /// written.
    pub(super) fn survey(
        self,
        node: &Node,
        clock: &dyn Clock,
        request: &Request,
        stop: &AtomicBool,
    ) -> Survey {
        let began = Instant::now();
        loop {
            let survey = survey(node, clock.now());
            let mut asked = survey
                .credentials
                .iter()
                .filter(|judged| request.covers(&judged.facts.credential.name));
            let unsettled = asked.any(|judged| self.is_unsettled(&node.root, judged, survey.now));
            if !unsettled || began.elapsed() >= self.limit || stop.load(Ordering::Relaxed) {
                return survey;
            }
            std::thread::sleep(self.interval);
        }
    }

    fn is_unsettled(self, root: &Root, judged: &Judged, now: Timestamp) -> bool {
        // A condition that is only reported needs no settling.
        if !judged.judgement.action.issues() {
            return false;
        }
        let lost = judged.facts.kubelet.as_ref().filter(|client| client.lost.is_some());
        if let Some(client) = lost {
            return self.is_recent(nearest_dir(root, client.kubeconfig.as_path()), now);
        }
        match judged.facts.material {
            Material::KeyMissing(..)
            | Material::Mismatched(..)
            | Material::Damaged(_)
            | Material::CertificateMissing(_) => {
                let mut files = judged.facts.files.iter();
                files.any(|path| self.is_recent(root.stat(path).ok().flatten(), now))
            }
            // kubeadm may just be replacing it, or resetting the node.
            Material::Absent => {
                let mut files = judged.facts.credential.location.files();
                files.any(|path| self.is_recent(nearest_dir(root, path.as_path()), now))
            }
            Material::Whole(_)
            | Material::Unreadable(_)
            | Material::NoCertificate(_)
            | Material::Changed(_) => false,
        }
    }

    fn is_recent(self, stat: Option<FileStat>, now: Timestamp) -> bool {
        let written = stat.map(|stat| Timestamp::from_seconds(stat.st_mtime));
        written
            .is_some_and(|written| written.seconds_since(now).unsigned_abs() < self.quiet.as_secs())
    }
}

/// The metadata of the first directory above a file that exists: its time is that of the last
/// removal in it.
fn nearest_dir(root: &Root, path: &Path) -> Option<FileStat> {
    let mut above = path.ancestors().skip(1);
    above.find_map(|dir| root.open_dir(dir).and_then(|dir| dir.examine()).ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{AbsolutePath, KubeletClient};
    use crate::observe::Config;
    use crate::sys::SystemClock;

    const CERTIFICATE: &str = "etc/kubernetes/pki/apiserver.crt";
    const KEY: &str = "etc/kubernetes/pki/apiserver.key";
    const SHORT: Settling = Settling {
        quiet: Duration::from_secs(1_000),
        limit: Duration::from_millis(400),
        interval: Duration::from_millis(10),
    };

    /// A node of kubeadm with a key of the API server that does not fit.
    fn half_written() -> (tempfile::TempDir, Node) {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes");
        fs::create_dir_all(dir.path().join("etc/kubernetes/pki/etcd")).unwrap();
        for file in [
            "pki/ca.crt",
            "pki/ca.key",
            "pki/apiserver.crt",
            "pki/apiserver.key",
            "pki/front-proxy-client.key",
        ] {
            fs::copy(fixture.join(file), dir.path().join("etc/kubernetes").join(file)).unwrap();
        }
        let kubernetes = dir.path().join("etc/kubernetes/pki");
        fs::rename(dir.path().join(KEY), kubernetes.join("kept")).unwrap();
        fs::rename(kubernetes.join("front-proxy-client.key"), dir.path().join(KEY)).unwrap();
        touch(&dir, KEY, Duration::ZERO);
        let node = Node::open(Root::open(dir.path()).unwrap(), &Config::Usual).unwrap();
        (dir, node)
    }

    fn touch(dir: &tempfile::TempDir, file: &str, ago: Duration) {
        let file = fs::File::options().append(true).open(dir.path().join(file)).unwrap();
        file.set_modified(std::time::SystemTime::now() - ago).unwrap();
    }

    fn apiserver(node: &Node, settling: Settling, request: &Request) -> (Duration, bool) {
        let began = Instant::now();
        let survey = settling.survey(node, &SystemClock, request, &AtomicBool::new(false));
        let judged = survey
            .credentials
            .iter()
            .find(|judged| judged.facts.credential.name.as_str() == "apiserver")
            .unwrap();
        (began.elapsed(), matches!(judged.facts.material, Material::Whole(_)))
    }

    #[test]
    fn unsettled_pair_is_judged_at_the_limit() {
        let (_dir, node) = half_written();
        let (waited, whole) = apiserver(&node, SHORT, &Request::default());
        assert!(!whole && waited >= SHORT.limit && waited < SHORT.limit * 10, "{waited:?}");
    }

    #[test]
    fn unsettled_pair_is_judged_once_it_fits() {
        let (dir, node) = half_written();
        let kept = dir.path().join("etc/kubernetes/pki/kept");
        let key = dir.path().join(KEY);
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            fs::rename(kept, key).unwrap();
        });
        let (waited, whole) = apiserver(
            &node,
            Settling { limit: Duration::from_secs(60), ..SHORT },
            &Request::default(),
        );
        assert!(
            whole && waited >= Duration::from_millis(150) && waited < Duration::from_secs(30),
            "{waited:?}"
        );
        other.join().unwrap();
    }

    /// kubeadm removes and writes the files of a node one by one.
    #[test]
    fn kubelet_conf_that_is_gone_for_moments_is_unsettled() {
        let (dir, node) = half_written();
        let survey = survey(&node, SystemClock.now());
        let mut judged = survey
            .credentials
            .into_iter()
            .find(|judged| judged.facts.credential.name.as_str() == "apiserver");
        let judged = judged.as_mut().unwrap();
        judged.facts.kubelet = Some(KubeletClient {
            kubeconfig: AbsolutePath::constant("/etc/kubernetes/kubelet.conf"),
            embedded: None,
            lost: Some(Ok(String::new())),
            rotation_off: None,
            node: Ok("cp1".to_owned()),
        });
        assert!(SHORT.is_unsettled(&node.root, judged, survey.now));
        let kubernetes = fs::File::open(dir.path().join("etc/kubernetes")).unwrap();
        let before = std::time::SystemTime::now() - Duration::from_secs(2_000);
        kubernetes.set_modified(before).unwrap();
        assert!(!SHORT.is_unsettled(&node.root, judged, survey.now));
    }

    #[test]
    fn settled_pair_is_judged_immediately() {
        let (dir, node) = half_written();
        let long = Settling { limit: Duration::from_secs(60), ..SHORT };
        let other = Request {
            only: [crate::model::CredentialName::new("admin.conf").unwrap()].into(),
            ..Request::default()
        };
        assert!(apiserver(&node, long, &other).0 < Duration::from_secs(20));
        touch(&dir, KEY, Duration::from_secs(2_000));
        touch(&dir, CERTIFICATE, Duration::from_secs(2_000));
        assert!(apiserver(&node, long, &Request::default()).0 < Duration::from_secs(20));
    }
}
