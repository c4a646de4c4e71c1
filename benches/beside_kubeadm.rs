//! Whole commands, side by side with kubeadm where one is found (`KUBEADM`, or on the PATH): check,
//! and renewing all credentials that kubeadm makes (eleven; ten for one that knows no
//! super-admin.conf, which came with 1.29), on the same kind of node in turn; beside them the bare
//! making of as many keys. Medians of paired runs, and their ratios, since only ratios of one run
//! mean anything on a busy machine.
//!
//! kubeadm makes RSA-2048 keys; others only where its version knows encryptionAlgorithm (1.31) or,
//! for ECDSA, the feature gate that was there before.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kubecertd::demo::{self, Life, NodePlan};
use kubecertd::formats::x509::{KeyAlgorithm, PrivateKey};
use kubecertd::sys::{Clock, SystemClock};
use nix::sys::resource::{UsageWho, getrusage};

const KUBECERTD: &str = env!("CARGO_BIN_EXE_kubecertd");

fn main() {
    // The peak of all children so far, so it is asked before kubeadm runs for the first time.
    let our_peak = our_peak();
    let kubeadm = kubeadm();
    println!(
        "kubeadm: {}",
        kubeadm
            .as_ref()
            .map_or("none found; set KUBEADM".to_owned(), |kubeadm| kubeadm.version.clone())
    );
    check(kubeadm.as_ref(), our_peak);
    for (key, rounds) in
        [(KeyAlgorithm::Rsa2048, 31), (KeyAlgorithm::Rsa4096, 7), (KeyAlgorithm::EcdsaP256, 31)]
    {
        renew(&key, rounds, kubeadm.as_ref());
    }
}

struct Kubeadm {
    program: PathBuf,
    version: String,
}

impl Kubeadm {
    /// What its configuration has to say for this kind of key; `None` where it can't make one.
    fn configuration(&self, key: &KeyAlgorithm) -> Option<String> {
        let minor = self.minor();
        let (version, extra) = match (minor, key) {
            (31.., key) => ("v1beta4", format!("encryptionAlgorithm: {key}\n")),
            (_, KeyAlgorithm::Rsa2048) => {
                (if minor < 22 { "v1beta2" } else { "v1beta3" }, String::new())
            }
            (_, KeyAlgorithm::EcdsaP256) => (
                if minor < 22 { "v1beta2" } else { "v1beta3" },
                "featureGates: {PublicKeysECDSA: true}\n".to_owned(),
            ),
            _ => return None,
        };
        Some(format!(
            "apiVersion: kubeadm.k8s.io/{version}\nkind: ClusterConfiguration\nkubernetesVersion: \
             {}\n{extra}",
            self.version
        ))
    }

    fn minor(&self) -> u32 {
        self.version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
    }

    fn command(&self, folder: &Path, verb: &[&str], key: &KeyAlgorithm) -> Option<Command> {
        std::fs::write(folder.join("kubeadm.yaml"), self.configuration(key)?).unwrap();
        if !folder.join("kubeadm").exists() {
            std::fs::copy(&self.program, folder.join("kubeadm")).unwrap();
        }
        // It knows no other place for kubeconfigs than /etc/kubernetes.
        let mut command = Command::new("chroot");
        command
            .arg(folder)
            .args(["/kubeadm", "certs"])
            .args(verb)
            .args(["--config", "/kubeadm.yaml"]);
        Some(command)
    }
}

fn kubeadm() -> Option<Kubeadm> {
    let given = std::env::var_os("KUBEADM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = given.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join("kubeadm")).find(|file| file.exists())
    })?;
    let output = Command::new(&program).args(["version", "-o", "short"]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!version.is_empty()).then_some(Kubeadm { program, version })
}

fn our_peak() -> f64 {
    let folder = node(&KeyAlgorithm::Rsa2048, Life::Days(300), Life::Days(300));
    run(kubecertd(folder.path(), &["check"]));
    peak()
}

fn check(kubeadm: Option<&Kubeadm>, our_peak: f64) {
    let folder = node(&KeyAlgorithm::Rsa2048, Life::Days(300), Life::Days(300));
    let ours = || kubecertd(folder.path(), &["check"]);
    let theirs = || {
        kubeadm.and_then(|kubeadm| {
            kubeadm.command(folder.path(), &["check-expiration"], &KeyAlgorithm::Rsa2048)
        })
    };
    let (our_times, their_times) = paired(51, ours, theirs);
    println!(
        "check, RSA-2048:        kubecertd {:>9}{}",
        millis(median(&our_times)),
        beside(&our_times, &their_times)
    );
    print!("check, peak memory:     kubecertd {our_peak:>6.1} MiB");
    println!(
        "{}",
        if their_times.is_empty() {
            String::new()
        } else {
            format!(", kubeadm {:>6.1} MiB", peak())
        }
    );
}

fn renew(key: &KeyAlgorithm, rounds: usize, kubeadm: Option<&Kubeadm>) {
    let credentials = if kubeadm.is_some_and(|kubeadm| kubeadm.minor() < 29) { 10 } else { 11 };
    let super_admin = if credentials == 10 { Life::Absent } else { Life::Days(10) };
    let (our_node, their_node) =
        (node(key, Life::Days(10), super_admin), node(key, Life::Days(10), super_admin));
    let ours = || kubecertd(our_node.path(), &["renew", "--force"]);
    let theirs =
        || kubeadm.and_then(|kubeadm| kubeadm.command(their_node.path(), &["renew", "all"], key));
    let (our_times, their_times) = paired(rounds, ours, theirs);
    let bare: Vec<Duration> = (0..rounds).map(|_| make_keys(key, credentials)).collect();
    println!(
        "renew {credentials}, {:<12} kubecertd {:>9}, bare keys {:>9} ({:.2}){}",
        format!("{key}:"),
        millis(median(&our_times)),
        millis(median(&bare)),
        ratio(&our_times, &bare),
        beside(&our_times, &their_times)
    );
}

/// As many keys as a renewal makes, on as many threads.
fn make_keys(key: &KeyAlgorithm, count: usize) -> Duration {
    let began = Instant::now();
    let left = std::sync::atomic::AtomicUsize::new(count);
    let take = || {
        left.fetch_update(
            std::sync::atomic::Ordering::Relaxed,
            std::sync::atomic::Ordering::Relaxed,
            |left| left.checked_sub(1),
        )
        .is_ok()
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while take() {
                    PrivateKey::generate(key).unwrap();
                }
            });
        }
    });
    began.elapsed()
}

fn node(key: &KeyAlgorithm, life: Life, super_admin: Life) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    demo::DemoNode::build(
        folder.path(),
        SystemClock.now(),
        &NodePlan::everything(life).with("super-admin.conf", super_admin).with_key(key.clone()),
    )
    .unwrap();
    folder
}

fn kubecertd(folder: &Path, verb: &[&str]) -> Command {
    let mut command = Command::new(KUBECERTD);
    command.arg("--root").arg(folder).args(verb);
    command
}

fn paired(
    rounds: usize,
    ours: impl Fn() -> Command,
    theirs: impl Fn() -> Option<Command>,
) -> (Vec<Duration>, Vec<Duration>) {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        times.0.push(run(ours()));
        times.1.extend(theirs().map(run));
    }
    times
}

fn run(mut command: Command) -> Duration {
    let began = Instant::now();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    took
}

/// The largest resident size of all children so far, in MiB.
fn peak() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as f64 / 1024.0
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The median of the ratios of each pair.
fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

fn beside(ours: &[Duration], theirs: &[Duration]) -> String {
    if theirs.is_empty() {
        return String::new();
    }
    format!(", kubeadm {:>9}: ratio {:.3}", millis(median(theirs)), ratio(ours, theirs))
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
