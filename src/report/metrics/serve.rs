//! Serves the metrics over HTTP on this machine: one read-only page.
//!
//! Clients are limited: a few connections at a time, one request each, and a time limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Format;
use crate::drivers::listen::Listener;

/// The number of connections at a time. One more waits.
const MAX_CONNECTIONS: usize = 8;
/// The limit for receiving a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The limit for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The pause after `accept` failed, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Gives the present content of the page.
pub type Page = Arc<dyn Fn(Format) -> String + Send + Sync>;

/// Serves without an end.
pub async fn serve(listener: Listener, page: Page) -> Infallible {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let permit = Arc::clone(&connections).acquire_owned().await;
        match listener.accept().await {
            Ok(stream) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    // The cause of a broken connection does not matter.
                    let _ = timeout(CONNECTION_TIMEOUT, serve_connection(stream, page)).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    page: Page,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let response = respond(&request, &page);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES);
    http.serve_connection(TokioIo::new(stream), service).await
}

fn respond(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), reads) {
        ("/metrics", true) => {
            let format = format(request.headers());
            // hyper omits the body of a response to HEAD.
            let mut response = Response::new(Full::from(page(format)));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response
        }
        ("/metrics", false) => {
            let mut response =
                plain(StatusCode::METHOD_NOT_ALLOWED, "the metrics are for reading\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "kubecertd: the metrics are at /metrics\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

/// OpenMetrics for clients that accept it, as Prometheus does.
fn format(headers: &HeaderMap) -> Format {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        Format::OpenMetrics
    } else {
        Format::Classic
    }
}
