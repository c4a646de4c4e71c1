//! Measures the availability of the API server for a client outside of the node, by a new TLS
//! connection every 20 ms.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kubecertd::drivers::http::{Trust, get};

const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

/// The timeout of a request: client-go's limit for a handshake. A shorter one would measure how
/// busy this machine is.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

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
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests failed, longest gap {:.2} s",
            self.failed,
            self.requests,
            self.longest_gap.as_secs_f64()
        )
    }
}

impl Meter {
    /// Starts to request /readyz at this address.
    pub fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, url) = (Arc::clone(&stop), format!("https://{address}:6443/readyz"));
        let client = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(send_requests(&url, &stopped))
        });
        Self { stop, client }
    }

    /// Stops the client and returns the results.
    pub fn stop(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        self.client.join().unwrap()
    }
}

async fn send_requests(url: &str, stop: &AtomicBool) -> Figures {
    let (mut figures, mut answered) = (Figures::default(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = get(url, &Trust::AnyCertificate, None, REQUEST_TIMEOUT).await;
        figures.requests += 1;
        if answer.is_ok_and(|answer| answer.status == 200) {
            figures.longest_gap = figures.longest_gap.max(answered.elapsed());
            answered = Instant::now();
        } else {
            figures.failed += 1;
        }
        tokio::time::sleep(REQUEST_INTERVAL.saturating_sub(began.elapsed())).await;
    }
    figures.longest_gap = figures.longest_gap.max(answered.elapsed());
    figures
}
