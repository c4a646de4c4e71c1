//! The numbers over HTTP, for whoever may ask on this machine: one page, for reading.
//!
//! Who asks can cost nobody else anything: a handful of connections at a time, one question each,
//! and a limit on its time.

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

/// How many may ask at a time. One more waits.
const ASKERS: usize = 8;
/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(5);
/// How long question and answer may take.
const WHOLE: Duration = Duration::from_secs(10);
/// The longest head of a question.
const LARGEST_HEAD: usize = 16 << 10;
/// How long nothing is accepted after it failed: no more files, say.
const PAUSE: Duration = Duration::from_secs(1);

/// What the page holds now.
pub type Page = Arc<dyn Fn(Format) -> String + Send + Sync>;

/// Answers for ever.
pub async fn serve(listener: Listener, page: Page) -> Infallible {
    let askers = Arc::new(Semaphore::new(ASKERS));
    loop {
        // It is never closed.
        let permit = Arc::clone(&askers).acquire_owned().await;
        match listener.accept().await {
            Ok(stream) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    // Why one of them went away is of no interest.
                    let _ = timeout(WHOLE, converse(stream, page)).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, page: Page) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let answer = answer(&request, &page);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(QUESTION)
        .keep_alive(false)
        .max_buf_size(LARGEST_HEAD);
    http.serve_connection(TokioIo::new(stream), service).await
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), reads) {
        ("/metrics", true) => {
            let format = format(request.headers());
            // The library leaves the body away where only the head is asked for.
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

/// OpenMetrics for who says that he reads it, as Prometheus does.
fn format(headers: &HeaderMap) -> Format {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.any(|value| value.contains("application/openmetrics-text")) {
        Format::OpenMetrics
    } else {
        Format::Classic
    }
}
