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
use kubecertd::model::{AbsolutePath, Credential, CredentialName, Location, Need, Renewal};
use kubecertd::sys::Root;

use super::harness::Node;

const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

/// The timeout of a request: client-go's limit for a handshake. A shorter one would measure how
/// busy this machine is.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests are sent while nothing happens, before a measurement.
const TRIAL: Duration = Duration::from_secs(60);

/// The administrator's kubeconfig as kubeadm made it: its certificate stays valid whatever a case
/// does to the one in use.
const KUBECONFIG: &str = "/as-made/kubernetes/admin.conf";

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
    /// What went wrong first.
    reason: Option<String>,
}

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
    /// Sends requests while nothing happens. A failure says that this machine is too slow for a
    /// measurement: then there is none, and the case fails.
    pub fn try_machine(node: &Node) {
        let meter = Self::start(node);
        std::thread::sleep(TRIAL);
        let figures = meter.stop();
        assert_eq!(figures.failed, 0, "machine too slow: without kubecertd {figures}");
    }

    /// Starts to send requests.
    pub fn start(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, client) = (Arc::clone(&stop), Client::of(node));
        let client = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(client.send_requests(&stopped))
        });
        Self { stop, client }
    }

    /// Stops the client and returns the results.
    pub fn stop(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}

/// The administrator.
struct Client {
    url: String,
    trust: Trust,
    identity: ClientIdentity,
}

impl Client {
    fn of(node: &Node) -> Self {
        let root = Root::open(node.root()).unwrap();
        let file = AbsolutePath::constant(KUBECONFIG);
        let Server { url, trust } = server(&root, &file).unwrap();
        let credential = Credential {
            name: CredentialName::new("administrator").unwrap(),
            kubeadm_name: None,
            location: Location::Kubeconfig(file),
            authority: None,
            renewal: Renewal::Ours,
            need: Need::Configured,
        };
        let Loaded::Whole(stored) = load(&root, &credential) else { panic!("{KUBECONFIG}") };
        let identity = identity_of(&stored).unwrap();
        Self { url: format!("{url}{OBJECT}"), trust, identity }
    }

    async fn send_requests(self, stop: &AtomicBool) -> Figures {
        let (mut figures, mut answered) = (Figures::default(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            figures.requests += 1;
            match self.request().await {
                Ok(()) => {
                    figures.longest_gap = figures.longest_gap.max(answered.elapsed());
                    answered = Instant::now();
                }
                Err(reason) => {
                    figures.failed += 1;
                    figures.reason.get_or_insert(reason);
                }
            }
            tokio::time::sleep(REQUEST_INTERVAL.saturating_sub(began.elapsed())).await;
        }
        figures.longest_gap = figures.longest_gap.max(answered.elapsed());
        figures
    }

    async fn request(&self) -> Result<(), String> {
        let answer = get(&self.url, &self.trust, Some(&self.identity), REQUEST_TIMEOUT).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status == 200 && body.contains("\"kube-system\"") {
            Ok(())
        } else {
            Err(format!("status {}: {body}", answer.status))
        }
    }
}
