//! Compares whole commands with kubeadm, if one is found (`KUBEADM`, or on the PATH): a check, and
//! the renewal of all credentials that kubeadm makes (eleven; ten before 1.29, which added
//! super-admin.conf), each on a node of the same kind. A renewal is also compared with generating
//! the same number of keys and nothing else: by aws-lc-rs in this process, and by openssl
//! (`OPENSSL`, or on the PATH) in one process for each key.
//!
//! All take turns. Times are means, because a median of few RSA keys says little, and only their
//! ratios are comparable on a busy machine. CPU time is that of the user and the system on all
//! cores.
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
use nix::sys::time::{TimeVal, TimeValLike as _};

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
    let program = find("KUBEADM", "kubeadm")?;
    let output = Command::new(&program).args(["version", "-o", "short"]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!version.is_empty()).then_some(Kubeadm { program, version })
}

/// Finds a program by a variable, or on the PATH.
fn find(variable: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os(variable).map(PathBuf::from).or_else(|| {
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.exists())
    })
}

fn measure_own_peak() -> f64 {
    let dir = node(&KeyAlgorithm::Rsa2048, Life::Days(300), Life::Days(300));
    run(kubecertd_command(dir.path(), &["check"]));
    peak_memory()
}

fn compare_check(kubeadm: Option<&Kubeadm>, our_peak: f64) {
    let key = &KeyAlgorithm::Rsa2048;
    let dir = node(key, Life::Days(300), Life::Days(300));
    let ours = || run(kubecertd_command(dir.path(), &["check"]));
    let theirs = || Some(run(kubeadm?.command(dir.path(), &["check-expiration"], key)?));
    let is_found = theirs().is_some();
    println!("check, {key}");
    compare(51, &[("kubecertd", &|| Some(ours())), ("kubeadm", &theirs)]);
    let their_peak = is_found.then(|| format!(", kubeadm {:.1} MiB", peak_memory()));
    println!("  peak memory: kubecertd {our_peak:.1} MiB{}", their_peak.unwrap_or_default());
}

fn compare_renew(key: &KeyAlgorithm, rounds: usize, kubeadm: Option<&Kubeadm>) {
    let credentials = if kubeadm.is_some_and(|kubeadm| kubeadm.minor() < 29) { 10 } else { 11 };
    let super_admin = if credentials == 10 { Life::Absent } else { Life::Days(10) };
    let (our_node, their_node) =
        (node(key, Life::Days(10), super_admin), node(key, Life::Days(10), super_admin));
    let openssl = find("OPENSSL", "openssl");
    let ours = || Some(run(kubecertd_command(our_node.path(), &["renew", "--force"])));
    let theirs = || Some(run(kubeadm?.command(their_node.path(), &["renew", "all"], key)?));
    let bare = || Some(measure(UsageWho::RUSAGE_SELF, || generate_keys(key, credentials)));
    let by_openssl = || {
        let command = || openssl_command(openssl.as_deref()?, key);
        command()?;
        Some((0..credentials).filter_map(|_| command()).map(run).sum())
    };
    println!("renew {credentials}, {key}");
    let all: [Contender<'_>; 4] = [
        ("kubecertd", &ours),
        ("kubeadm", &theirs),
        ("keys by aws-lc-rs", &bare),
        ("keys by openssl", &by_openssl),
    ];
    compare(rounds, &all);
}

/// A name, and one run; `None` where that is not possible here.
type Contender<'c> = (&'static str, &'c dyn Fn() -> Option<Cost>);

/// What a run took.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, one| Self {
            wall: sum.wall + one.wall,
            cpu: sum.cpu + one.cpu,
        })
    }
}

/// Has all take turns, and prints the means, and how often the first one's go into the others'.
fn compare(rounds: usize, all: &[Contender<'_>]) {
    let mut costs = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for ((_, run), costs) in all.iter().zip(&mut costs) {
            costs.extend(run());
        }
    }
    let sums: Vec<Cost> = costs.iter().map(|costs| costs.iter().copied().sum()).collect();
    let ours = sums.first().copied().unwrap_or_default();
    for ((name, _), sum) in all.iter().zip(&sums).filter(|(_, sum)| !sum.wall.is_zero()) {
        let mean = |time: Duration| time.as_secs_f64() * 1e3 / rounds as f64;
        let ratio = |ours: Duration, theirs: Duration| ours.as_secs_f64() / theirs.as_secs_f64();
        println!(
            "  {name:<18} CPU {:>8.1} ms, kubecertd {:.2} of it; wall {:>8.1} ms, kubecertd {:.2}",
            mean(sum.cpu),
            ratio(ours.cpu, sum.cpu),
            mean(sum.wall),
            ratio(ours.wall, sum.wall)
        );
    }
}

fn measure(whose: UsageWho, work: impl FnOnce()) -> Cost {
    let (began, before) = (Instant::now(), cpu(whose));
    work();
    Cost { wall: began.elapsed(), cpu: cpu(whose) - before }
}

/// The CPU time so far.
fn cpu(whose: UsageWho) -> Duration {
    let usage = getrusage(whose).unwrap();
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    time(usage.user_time()) + time(usage.system_time())
}

/// Generates as many keys as a renewal, on as many threads.
fn generate_keys(key: &KeyAlgorithm, count: usize) {
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
}

fn openssl_command(openssl: &Path, key: &KeyAlgorithm) -> Option<Command> {
    let arguments: &[&str] = match key {
        KeyAlgorithm::Rsa2048 => &["genrsa", "-out", "/dev/null", "2048"],
        KeyAlgorithm::Rsa4096 => &["genrsa", "-out", "/dev/null", "4096"],
        KeyAlgorithm::EcdsaP256 => {
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "/dev/null"]
        }
        _ => return None,
    };
    let mut command = Command::new(openssl);
    command.args(arguments);
    Some(command)
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

fn run(mut command: Command) -> Cost {
    measure(UsageWho::RUSAGE_CHILDREN, || {
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
    })
}

/// Returns the largest resident size of all children so far, in MiB.
fn peak_memory() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() as f64 / 1024.0
}
