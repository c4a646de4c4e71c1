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
    watch: JoinHandle<Vec<Change>>,
}

/// A change of the leader.
#[derive(Debug)]
pub struct Change {
    /// From the last renewal of the Lease by the earlier leader, or from its release.
    pub seconds_without: f64,
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
            runtime.block_on(read_changes(&client, service, &stopped))
        });
        Self { stop, watch }
    }

    /// Stops reading, and returns the changes of the leader.
    pub fn stop(self) -> Vec<Change> {
        self.stop.store(true, Ordering::Relaxed);
        self.watch.join().unwrap()
    }
}

async fn read_changes(client: &Client, service: &str, stop: &AtomicBool) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut leader: Option<Lease> = None;
    while !stop.load(Ordering::Relaxed) {
        // The meters count failed requests.
        if let Ok(lease) = Lease::read(client, service).await {
            leader = Some(match leader {
                Some(earlier) if lease.holder.is_empty() => {
                    Lease { renewed: lease.renewed, ..earlier }
                }
                Some(earlier) => {
                    changes.extend(change(&earlier, &lease));
                    lease
                }
                None => lease,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    changes
}

/// The holder is a process: the node's name, and an identifier.
fn change(earlier: &Lease, lease: &Lease) -> Option<Change> {
    (earlier.holder != lease.holder).then(|| Change {
        seconds_without: (lease.acquired - earlier.renewed).total(Unit::Second).unwrap(),
    })
}
