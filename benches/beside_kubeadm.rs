//! Compares whole commands with kubeadm, if one is found (`KUBEADM`, or on the PATH): a check, and
//! the renewal of all credentials that kubeadm makes (eleven; ten before 1.29, which added
//! super-admin.conf), alternately on the same kind of node. Generating the same number of keys is
//! measured too. The results are medians of paired runs and their ratios, since only ratios are
//! comparable on a busy machine.
//!
//! kubeadm makes RSA-2048 keys; others only if its version has encryptionAlgorithm (1.31) or, for
//! ECDSA, the earlier feature gate.
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
    // This is the peak of all children so far, so it is read before kubeadm runs for the first
    // time.
    let our_peak = measure_own_peak();
    let kubeadm = find_kubeadm();
    println!(
        "kubeadm: {}",
        kubeadm
            .as_ref()
            .map_or("none found; set KUBEADM".to_owned(), |kubeadm| kubeadm.version.clone())
    );
    compare_check(kubeadm.as_ref(), our_peak);
    for (key, rounds) in
        [(KeyAlgorithm::Rsa2048, 31), (KeyAlgorithm::Rsa4096, 7), (KeyAlgorithm::EcdsaP256, 31)]
    {
        compare_renew(&key, rounds, kubeadm.as_ref());
    }
}

struct Kubeadm {
    program: PathBuf,
    version: String,
}

impl Kubeadm {
    /// Returns the configuration for this kind of key; `None` if this version can not make one.
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

    fn command(&self, dir: &Path, verb: &[&str], key: &KeyAlgorithm) -> Option<Command> {
        std::fs::write(dir.join("kubeadm.yaml"), self.configuration(key)?).unwrap();
        if !dir.join("kubeadm").exists() {
            std::fs::copy(&self.program, dir.join("kubeadm")).unwrap();
        }
        // kubeadm supports no other directory for kubeconfigs than /etc/kubernetes.
        let mut command = Command::new("chroot");
        command.arg(dir).args(["/kubeadm", "certs"]).args(verb).args(["--config", "/kubeadm.yaml"]);
        Some(command)
    }
}

fn find_kubeadm() -> Option<Kubeadm> {
    let given = std::env::var_os("KUBEADM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = given.or_else(|| {
        std::env::split_paths(&path).map(|dir| dir.join("kubeadm")).find(|file| file.exists())
    })?;
    let output = Command::new(&program).args(["version", "-o", "short"]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!version.is_empty()).then_some(Kubeadm { program, version })
}

fn measure_own_peak() -> f64 {
    let dir = node(&KeyAlgorithm::Rsa2048, Life::Days(300), Life::Days(300));
    run(kubecertd_command(dir.path(), &["check"]));
    peak_memory()
}

fn compare_check(kubeadm: Option<&Kubeadm>, our_peak: f64) {
    let dir = node(&KeyAlgorithm::Rsa2048, Life::Days(300), Life::Days(300));
    let ours = || kubecertd_command(dir.path(), &["check"]);
    let theirs = || {
        kubeadm.and_then(|kubeadm| {
            kubeadm.command(dir.path(), &["check-expiration"], &KeyAlgorithm::Rsa2048)
        })
    };
    let (our_times, their_times) = run_paired(51, ours, theirs);
    println!(
        "check, RSA-2048:        kubecertd {:>9}{}",
        format_millis(median(&our_times)),
        format_comparison(&our_times, &their_times)
    );
    print!("check, peak memory:     kubecertd {our_peak:>6.1} MiB");
    println!(
        "{}",
        if their_times.is_empty() {
            String::new()
        } else {
            format!(", kubeadm {:>6.1} MiB", peak_memory())
        }
    );
}

fn compare_renew(key: &KeyAlgorithm, rounds: usize, kubeadm: Option<&Kubeadm>) {
    let credentials = if kubeadm.is_some_and(|kubeadm| kubeadm.minor() < 29) { 10 } else { 11 };
    let super_admin = if credentials == 10 { Life::Absent } else { Life::Days(10) };
    let (our_node, their_node) =
        (node(key, Life::Days(10), super_admin), node(key, Life::Days(10), super_admin));
    let ours = || kubecertd_command(our_node.path(), &["renew", "--force"]);
    let theirs =
        || kubeadm.and_then(|kubeadm| kubeadm.command(their_node.path(), &["renew", "all"], key));
    let (our_times, their_times) = run_paired(rounds, ours, theirs);
    let bare: Vec<Duration> = (0..rounds).map(|_| generate_keys(key, credentials)).collect();
    println!(
        "renew {credentials}, {:<12} kubecertd {:>9}, bare keys {:>9} ({:.2}){}",
        format!("{key}:"),
        format_millis(median(&our_times)),
        format_millis(median(&bare)),
        ratio(&our_times, &bare),
        format_comparison(&our_times, &their_times)
    );
}

/// Generates as many keys as a renewal, on as many threads.
fn generate_keys(key: &KeyAlgorithm, count: usize) -> Duration {
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
    let dir = tempfile::tempdir().unwrap();
    demo::DemoNode::build(
        dir.path(),
        SystemClock.now(),
        &NodePlan::everything(life).with("super-admin.conf", super_admin).with_key(key.clone()),
    )
    .unwrap();
    dir
}

fn kubecertd_command(dir: &Path, verb: &[&str]) -> Command {
    let mut command = Command::new(KUBECERTD);
    command.arg("--root").arg(dir).args(verb);
    command
}

fn run_paired(
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

/// Returns the largest resident size of all children so far, in MiB.
fn peak_memory() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as f64 / 1024.0
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Returns the median of the ratios of all pairs.
fn ratio(ours: &[Duration], theirs: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

fn format_comparison(ours: &[Duration], theirs: &[Duration]) -> String {
    if theirs.is_empty() {
        return String::new();
    }
    format!(", kubeadm {:>9}: ratio {:.3}", format_millis(median(theirs)), ratio(ours, theirs))
}

fn format_millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
