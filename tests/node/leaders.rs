//! Measures how long kube-controller-manager and kube-scheduler have no leader in a cluster, by
//! their Leases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde_json::Value;

use super::availability::Client;
use super::harness::Node;

/// Much less than a leader takes to renew its Lease (2 s).
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Reads the Lease of a service until it is stopped.
pub struct LeaderWatch {
    stop: Arc<AtomicBool>,
    watch: JoinHandle<f64>,
}

/// The Lease at one moment.
struct Lease {
    /// Empty where the leader released it.
    holder: String,
    acquired: Timestamp,
    renewed: Timestamp,
}

impl Lease {
    async fn read(client: &Client, service: &str) -> Result<Self, String> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{service}");
        let lease: Value =
            serde_json::from_str(&client.read(&path).await?).map_err(|e| e.to_string())?;
        let spec = &lease["spec"];
        let time = |key: &str| spec[key].as_str().unwrap().parse().unwrap();
        Ok(Self {
            holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
            acquired: time("acquireTime"),
            renewed: time("renewTime"),
        })
    }
}

impl LeaderWatch {
    /// Starts to read the Lease through the load balancer.
    pub fn start(node: &Node, service: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, client) = (Arc::clone(&stop), Client::administrator(node));
        let watch = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(longest_gap(&client, service, &stopped))
        });
        Self { stop, watch }
    }

    /// Stops reading, and returns the longest time without a leader in seconds: from the last
    /// renewal of the Lease by one, or its release, until the next one has acquired it.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watch.join().unwrap()
    }
}

async fn longest_gap(client: &Client, service: &str, stop: &AtomicBool) -> f64 {
    let mut longest = 0.0;
    let mut leader: Option<Lease> = None;
    while !stop.load(Ordering::Relaxed) {
        // The meters count failed requests.
        if let Ok(lease) = Lease::read(client, service).await {
            leader = Some(match leader {
                Some(earlier) if lease.holder.is_empty() => {
                    Lease { renewed: lease.renewed, ..earlier }
                }
                Some(earlier) => {
                    longest = f64::max(longest, gap(&earlier, &lease));
                    lease
                }
                None => lease,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    longest
}

/// The seconds without a leader between two of them; 0 where it is the same process.
fn gap(earlier: &Lease, lease: &Lease) -> f64 {
    if earlier.holder == lease.holder {
        return 0.0;
    }
    (lease.acquired - earlier.renewed).total(Unit::Second).unwrap()
}
