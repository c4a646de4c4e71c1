//! Makes the first request to kubelet through the API server after it was given another client
//! certificate, so that no user's request is the one that fails.

use std::time::Duration;

use serde::Deserialize;

use crate::credentials::{Loaded, Server, identity_of, load, server};
use crate::drivers::http::{Call, HttpResponse, Trust, call};
use crate::drivers::tls::ClientIdentity;
use crate::model::Credential;
use crate::sys::Root;

/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is made. The first one is expected to fail.
const ATTEMPTS: usize = 3;
/// The most of an answer's text that is shown.
const SHOWN_CHARS: usize = 200;

/// The API server makes a new connection to kubelet for a request to upgrade the protocol, also
/// where others are open.
const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")];

/// What the API server says when kubelet answered, and did not upgrade.
const NOT_UPGRADED: &str = "invalid upgrade response";

/// The field of a Kubernetes `Status` object in use.
#[derive(Deserialize)]
struct Status {
    message: String,
}

/// Makes the request to kubelet of this node, as the user of the kubeconfig, through the API server
/// at this address (`host:port`), until one arrives.
///
/// # Errors
/// Why none is known to have arrived.
pub async fn make_first_request(
    root: &Root,
    kubeconfig: &Credential,
    node: &str,
    address: &str,
) -> Result<(), String> {
    let name = &kubeconfig.name;
    let file =
        kubeconfig.location.kubeconfig().ok_or_else(|| format!("{name} is no kubeconfig"))?;
    let Server { url, trust, .. } = server(root, file)?;
    let identity = match load(root, kubeconfig) {
        Loaded::Whole(stored) => identity_of(&stored).map_err(|e| format!("{file}: {e}"))?,
        _ => return Err(format!("{file} can't be used: `kubecertd check` shows the reason")),
    };
    let url = format!("{url}/api/v1/nodes/{node}/proxy/healthz");
    let request =
        Call { url: &url, headers: &UPGRADE, connect_to: Some(address), ..Call::default() };
    send(request, &trust, Some(&identity)).await.map_err(|e| format!("{address}: {e}"))
}

/// Sends the request until it arrives at kubelet.
async fn send(
    request: Call<'_>,
    trust: &Trust,
    identity: Option<&ClientIdentity>,
) -> Result<(), String> {
    let mut answer = String::new();
    for _ in 0..ATTEMPTS {
        let response = call(request, trust, identity, REQUEST_TIMEOUT).await;
        let response = response.map_err(|e| e.to_string())?;
        if reached_kubelet(&response) {
            return Ok(());
        }
        answer = shown(&response);
    }
    Err(answer)
}

fn reached_kubelet(response: &HttpResponse) -> bool {
    response.status == 200 || String::from_utf8_lossy(&response.body).contains(NOT_UPGRADED)
}

fn shown(response: &HttpResponse) -> String {
    let status = response.status;
    match serde_json::from_slice::<Status>(&response.body) {
        Ok(Status { message }) => {
            let message: String =
                message.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
            format!("it answers with status {status}: {message}")
        }
        Err(_) => format!("it answers with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::LocalSet;

    use super::*;
    use crate::drivers::tls::servers::accept;

    const CLOSED: &str = "error dialing backend: use of closed network connection";
    const ARRIVED: &str = "invalid upgrade response: status code 200";

    /// Sends the request to a server that answers one after the other with these messages, and the
    /// last one again and again. Returns how many requests it got.
    async fn sent(messages: &'static [&str]) -> (Result<(), String>, usize) {
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        let address = accept(async move |mut stream| {
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            assert!(request.contains("\r\nconnection: upgrade\r\n"), "{request}");
            let at = counted.fetch_add(1, Ordering::Relaxed).min(messages.len() - 1);
            let body = format!("{{\"kind\": \"Status\", \"message\": \"{}\"}}", messages[at]);
            let head = format!("HTTP/1.1 500 X\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        })
        .await;
        let url = format!("http://{address}/");
        let request = Call { url: &url, headers: &UPGRADE, ..Call::default() };
        (send(request, &Trust::AnyCertificate, None).await, answered.load(Ordering::Relaxed))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn request_is_repeated_until_it_arrives() {
        LocalSet::new()
            .run_until(async {
                assert_eq!(sent(&[ARRIVED]).await, (Ok(()), 1));
                assert_eq!(sent(&[CLOSED, ARRIVED]).await, (Ok(()), 2));
                let reason = format!("it answers with status 500: {CLOSED}");
                assert_eq!(sent(&[CLOSED]).await, (Err(reason), ATTEMPTS));
            })
            .await;
    }
}
