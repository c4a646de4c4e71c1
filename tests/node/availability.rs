//! Measures the availability of the API server for a client outside of the node: every 20 ms a new
//! TLS connection, in which the server is verified, the client logs in by a certificate, and an
//! object is read from etcd.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kubecertd::credentials::{Loaded, Server, identity_of, load, server};
use kubecertd::drivers::http::{Trust, get};
use kubecertd::drivers::tls::ClientIdentity;
use kubecertd::formats::x509::{Certificate, certificates};
use kubecertd::model::{AbsolutePath, Credential, CredentialName, Location, Need, Renewal};
use kubecertd::sys::Root;

use super::harness::Node;
use super::services::print_figure;

const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

/// The timeout of a request. client-go's limit for a handshake is 10 s, and a busy machine reaches
/// it while nothing happens: this one tells such a machine from a server that does not respond. The
/// longest gap is measured besides.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests are sent while nothing happens, before a measurement.
const TRIAL: Duration = Duration::from_secs(60);

/// How often this is tried until none of them fails.
const TRIALS: usize = 5;

/// The administrator's kubeconfig as kubeadm made it: its certificate stays valid whatever a case
/// does to the one in use.
const KUBECONFIG: &str = "/as-made/kubernetes/admin.conf";

/// The certificates of etcd as kubeadm made them.
const ETCD_PKI: &str = "as-made/kubernetes/pki/etcd";

/// A single object: unlike a list, the API server always reads it from etcd.
const OBJECT: &str = "/api/v1/namespaces/kube-system";

/// A client that sends requests until it is stopped.
pub struct Meter {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Figures>,
}

/// The results of a measurement.
#[derive(Debug, Default)]
pub struct Figures {
    pub requests: usize,
    pub failed: usize,
    /// The longest time between two responses.
    pub longest_gap: Duration,
    /// From the first to the last of failed requests in a row.
    pub outages: Vec<(Instant, Instant)>,
    /// How many of the failed ones were being read when a member of etcd stopped: etcd 3.4 answers
    /// with an error that no client tries again.
    pub lost_by_etcd: usize,
    /// What went wrong first.
    reason: Option<String>,
}

/// The errors of requests that are being read when etcd gets another leader (since 3.5 it is one
/// that is tried again), and when its server has just been closed.
const LOST_BY_ETCD: [&str; 2] =
    ["etcdserver: leader changed", "HTTP status code 200; transport: missing content-type field"];

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests failed, longest gap {:.2} s",
            self.failed,
            self.requests,
            self.longest_gap.as_secs_f64()
        )?;
        self.reason.iter().try_for_each(|reason| write!(f, "; the first: {reason}"))
    }
}

impl Meter {
    /// Sends requests while nothing happens. A failure says that this machine is too busy for a
    /// measurement: it begins when the machine is no longer, and the case fails when it stays so.
    pub fn try_machine(node: &Node) {
        for trial in 1..=TRIALS {
            let meter = Self::start(node);
            std::thread::sleep(TRIAL);
            let figures = meter.stop();
            if figures.failed == 0 {
                return;
            }
            print_figure(&format!("machine too slow in trial {trial}: {figures}"));
        }
        panic!("the machine is too slow for a measurement");
    }

    /// Starts to send requests to the server that admin.conf names.
    pub fn start(node: &Node) -> Self {
        Self::of(Client::administrator(node), REQUEST_INTERVAL)
    }

    /// Starts to send requests to this API server.
    pub fn at_apiserver(node: &Node, address: &str, interval: Duration, timeout: Duration) -> Self {
        let client = Client::administrator(node);
        Self::of(Client { server: format!("https://{address}"), timeout, ..client }, interval)
    }

    /// Starts to send requests as a client that trusts these roots alone.
    pub fn that_trusts(node: &Node, roots: &[Certificate]) -> Self {
        let client = Client::administrator(node);
        Self::of(Client { trust: Trust::Authorities(roots.to_vec()), ..client }, REQUEST_INTERVAL)
    }

    /// Does the same with the administrator's certificate as it is now.
    pub fn as_administrator_now(node: &Node, roots: &[Certificate]) -> Self {
        Self::of(Client::administrator_now(node, roots), REQUEST_INTERVAL)
    }

    /// Starts to send requests as this client.
    pub fn as_client(client: Client) -> Self {
        Self::of(client, REQUEST_INTERVAL)
    }

    /// Starts to send requests to the member of etcd on this node. It responds without a quorum.
    pub fn at_etcd(node: &Node, interval: Duration) -> Self {
        Self::of(Client::of_etcd(node), interval)
    }

    fn of(client: Client, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let client = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(client.send_requests(&stopped, interval))
        });
        Self { stop, client }
    }

    /// Stops the client and returns the results.
    pub fn stop(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}

/// A client of a server, and what it asks for.
pub struct Client {
    server: String,
    trust: Trust,
    identity: ClientIdentity,
    path: &'static str,
    /// A part of every good response.
    expected: &'static str,
    timeout: Duration,
}

impl Client {
    /// The administrator, at the server that admin.conf names.
    pub fn administrator(node: &Node) -> Self {
        let root = Root::open(node.root()).unwrap();
        let file = AbsolutePath::constant(KUBECONFIG);
        let Server { url, trust, .. } = server(&root, &file).unwrap();
        let identity = identity(&root, Location::Kubeconfig(file));
        Self {
            server: url,
            trust,
            identity,
            path: OBJECT,
            expected: "\"kube-system\"",
            timeout: REQUEST_TIMEOUT,
        }
    }

    /// The administrator with the certificate as it is now, who trusts these roots alone.
    pub fn administrator_now(node: &Node, roots: &[Certificate]) -> Self {
        let root = Root::open(node.root()).unwrap();
        let file = AbsolutePath::constant("/etc/kubernetes/admin.conf");
        let identity = identity(&root, Location::Kubeconfig(file));
        let trust = Trust::Authorities(roots.to_vec());
        Self { trust, identity, ..Self::administrator(node) }
    }

    /// The same client, who asks for something else.
    pub fn asking(self, path: &'static str, expected: &'static str) -> Self {
        Self { path, expected, ..self }
    }

    fn of_etcd(node: &Node) -> Self {
        let root = Root::open(node.root()).unwrap();
        let ca = certificates(&node.read(&format!("{ETCD_PKI}/ca.crt"))).unwrap();
        let file = |name: &str| {
            AbsolutePath::new(format!("/{ETCD_PKI}/healthcheck-client.{name}")).unwrap()
        };
        Self {
            server: format!("https://{}:2379", node.address()),
            trust: Trust::Authorities(ca),
            identity: identity(
                &root,
                Location::Pair { certificate: file("crt"), key: file("key") },
            ),
            path: "/version",
            expected: "etcdserver",
            timeout: REQUEST_TIMEOUT,
        }
    }

    async fn send_requests(self, stop: &AtomicBool, interval: Duration) -> Figures {
        let (mut figures, mut answered, mut failing) = (Figures::default(), Instant::now(), None);
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            figures.requests += 1;
            match self.request().await {
                Ok(()) => {
                    figures.longest_gap = figures.longest_gap.max(answered.elapsed());
                    answered = Instant::now();
                    figures.outages.extend(failing.take());
                }
                Err(reason) => {
                    figures.failed += 1;
                    let is_lost = LOST_BY_ETCD.iter().any(|text| reason.contains(text));
                    figures.lost_by_etcd += usize::from(is_lost);
                    figures.reason.get_or_insert(reason);
                    failing.get_or_insert((began, began)).1 = Instant::now();
                }
            }
            tokio::time::sleep(interval.saturating_sub(began.elapsed())).await;
        }
        figures.longest_gap = figures.longest_gap.max(answered.elapsed());
        figures.outages.extend(failing);
        figures
    }

    async fn request(&self) -> Result<(), String> {
        let body = self.read(self.path).await?;
        if body.contains(self.expected) { Ok(()) } else { Err(body) }
    }

    /// Reads an object. An `Err` is a text.
    pub async fn read(&self, path: &str) -> Result<String, String> {
        let url = format!("{}{path}", self.server);
        let answer = get(&url, &self.trust, Some(&self.identity), self.timeout).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status == 200 {
            Ok(body.into_owned())
        } else {
            Err(format!("status {}: {body}", answer.status))
        }
    }
}

fn identity(root: &Root, location: Location) -> ClientIdentity {
    let credential = Credential {
        name: CredentialName::new("meter").unwrap(),
        kubeadm_name: None,
        location,
        authority: None,
        renewal: Renewal::Ours,
        need: Need::Configured,
    };
    let Loaded::Whole(stored) = load(root, &credential) else { panic!("{credential:?}") };
    identity_of(&stored).unwrap()
}
