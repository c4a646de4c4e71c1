//! Makes one small HTTP request: health checks, whether the API server accepts a client
//! certificate, and the members of the cluster.
//!
//! A GET, or a POST of JSON, on a connection of its own: no redirects, no proxy, nothing is kept.

mod acceptance;

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::tls::{
    self, AnyCertificate, ClientIdentity, ClientResolver, Endpoint, ProbeError, Stage,
};
use crate::formats::x509::Certificate;

pub use acceptance::{Acceptance, accepts, refusal};

/// The most of a response that is read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'c> {
    /// An `http` or `https` URL.
    pub url: &'c str,
    /// Headers besides those of every request.
    pub headers: &'c [(&'c str, &'c str)],
    /// The JSON to post; without it the request is a GET.
    pub json: Option<&'c str>,
    /// The `host:port` to connect to instead of the URL's. The certificate has to be for the URL's
    /// host all the same.
    pub connect_to: Option<&'c str>,
}

/// A response of any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status, such as 200 or 401.
    pub status: u16,
    /// The body, truncated at 64 KiB.
    pub body: Vec<u8>,
}

/// Which certificate of a server is accepted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Any: for a health check on this machine, where nothing secret is sent.
    AnyCertificate,
    /// One that is signed by one of these authorities, valid by the machine's clock, and for the
    /// server's name.
    Authorities(Vec<Certificate>),
    /// The same, but it may have expired: for a question whose answer is needed to renew it, and
    /// where nothing secret is sent.
    AuthoritiesDespiteExpiry(Vec<Certificate>),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not supported.
    #[error(
        "{0:?} is no URL that can be asked; http://host:port/path or https://host:port/path is \
         needed"
    )]
    Url(String),
    /// None of the authorities can be used.
    #[error("the CA certificates for the server can't be used: {0}")]
    Authorities(String),
    /// There is no connection to the server, or it broke.
    #[error(transparent)]
    Connection(ProbeError),
    /// The server closed the connection because of the client certificate, or because there was
    /// none.
    #[error(
        "the server refuses the client certificate, or the lack of one: it closed the TLS \
         connection with the alert {0:?}"
    )]
    CertificateRefused(AlertDescription),
    /// The server does not speak HTTP.
    #[error("the server does not speak HTTP: {0}")]
    NotHttp(String),
}

impl HttpError {
    /// Whether nothing was heard from the server, as where it does not run or hangs.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(
            self,
            Self::Connection(
                ProbeError::Name { .. }
                    | ProbeError::Refused
                    | ProbeError::TimedOut(_)
                    | ProbeError::Closed(_)
                    | ProbeError::Io(_)
            )
        )
    }
}

/// The URL of a server at an address; an IPv6 one is put in brackets.
#[must_use]
pub fn https_url(ip: &str, port: impl Display) -> String {
    if ip.contains(':') { format!("https://[{ip}]:{port}") } else { format!("https://{ip}:{port}") }
}

/// Requests a URL. See [`call`].
///
/// # Errors
/// When there is no response within the limit.
pub async fn get(
    url: &str,
    trust: &Trust,
    identity: Option<&ClientIdentity>,
    limit: Duration,
) -> Result<HttpResponse, HttpError> {
    call(Call { url, ..Call::default() }, trust, identity, limit).await
}

/// Makes a request, and presents the identity to a server that asks for one.
///
/// A response of any status is a response: a server that refuses a client certificate at the HTTP
/// level answers with 401. One that refuses it in the TLS handshake is reported as
/// [`HttpError::CertificateRefused`].
///
/// # Errors
/// When there is no response within the limit.
pub async fn call(
    call: Call<'_>,
    trust: &Trust,
    identity: Option<&ClientIdentity>,
    limit: Duration,
) -> Result<HttpResponse, HttpError> {
    call_with(call, trust, Arc::new(ClientResolver::new(identity)), limit).await
}

async fn call_with(
    call: Call<'_>,
    trust: &Trust,
    resolver: Arc<ClientResolver>,
    limit: Duration,
) -> Result<HttpResponse, HttpError> {
    let deadline = Instant::now() + limit;
    let target = Target::parse(call)?;
    let config = target.secure.then(|| config(trust, resolver)).transpose()?;
    let stream = match call.connect_to {
        Some(address) => Endpoint::parse(address)?.connect(deadline).await?,
        None => target.endpoint.connect(deadline).await?,
    };
    let Some(config) = config else { return exchange(stream, target.request, deadline).await };
    let stream = tls::handshake(config, target.endpoint.server_name(), stream, deadline).await?;
    exchange(stream, target.request, deadline).await
}

/// The address and the request line.
struct Target {
    secure: bool,
    endpoint: Endpoint,
    request: Request<Full<Bytes>>,
}

impl Target {
    fn parse(call: Call<'_>) -> Result<Self, HttpError> {
        Self::of(call).ok_or_else(|| HttpError::Url(call.url.to_owned()))
    }

    fn of(call: Call<'_>) -> Option<Self> {
        let uri: Uri = call.url.parse().ok()?;
        let (secure, default_port) = match uri.scheme_str()? {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => default_port,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let method = if call.json.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder()
            .method(method)
            .uri(uri.path_and_query()?.as_str())
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("kubecertd/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close");
        let request = call
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        let request = if call.json.is_some() {
            request.header(CONTENT_TYPE, "application/json")
        } else {
            request
        };
        let request = request.body(Full::from(call.json.unwrap_or_default().to_owned()));
        Some(Self {
            secure,
            endpoint: Endpoint::new(authority.host(), port).ok()?,
            request: request.ok()?,
        })
    }
}

fn config(trust: &Trust, resolver: Arc<ClientResolver>) -> Result<ClientConfig, HttpError> {
    let verifier = match trust {
        Trust::AnyCertificate => Arc::new(AnyCertificate::new()),
        Trust::Authorities(authorities) => {
            tls::authorities(authorities).map_err(|e| HttpError::Authorities(e.to_string()))?
        }
        Trust::AuthoritiesDespiteExpiry(authorities) => {
            tls::authorities_despite_expiry(authorities)
                .map_err(|e| HttpError::Authorities(e.to_string()))?
        }
    };
    tls::config(verifier, resolver).map_err(|e| ProbeError::Handshake(e.to_string()).into())
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    deadline: Instant,
) -> Result<HttpResponse, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let exchange = ask(stream, request);
    timeout_at(deadline, exchange).await.map_err(|_| ProbeError::TimedOut(Stage::Answer))?
}

async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<HttpResponse, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| HttpError::from_hyper(&e))?;
    let answer = async { read(sender.send_request(request).await?).await };
    tokio::pin!(answer, connection);
    // The connection drives the request; either of the two may return the reason of a failure.
    // Under TLS 1.3 the client learns only here, after its own part of the handshake, that the
    // server refuses its certificate.
    let ended = tokio::select! {
        biased;
        answer = &mut answer => return answer.map_err(|e| HttpError::from_hyper(&e)),
        ended = &mut connection => ended,
    };
    match (answer.await, ended) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(reason)) | (Err(reason), Ok(())) => Err(HttpError::from_hyper(&reason)),
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<HttpResponse> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while body.len() < MAX_BODY_BYTES
        && let Some(frame) = incoming.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            body.extend(data.into_iter().take(MAX_BODY_BYTES - body.len()));
        }
    }
    Ok(HttpResponse { status, body })
}

impl HttpError {
    fn from_hyper(error: &hyper::Error) -> Self {
        if let Some(stream) = cause(error) {
            return stream.into();
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return ProbeError::Closed(Stage::Answer).into();
        }
        Self::NotHttp(error.to_string())
    }
}

/// The stream's error, if that is the cause.
fn cause(error: &hyper::Error) -> Option<ProbeError> {
    let stream: &io::Error = error.source()?.downcast_ref()?;
    let copy = match stream.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => io::Error::new(stream.kind(), tls.clone()),
        None => io::Error::new(stream.kind(), stream.to_string()),
    };
    Some(ProbeError::from_stream(copy, Stage::Answer))
}

/// An alert about a certificate can only be about the client's: the server has no other reason for
/// it. `decrypt_error` is OpenSSL's for a certificate whose signature does not verify: one by
/// another CA of the same name.
impl From<ProbeError> for HttpError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Alert(
                alert @ (AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::CertificateRequired),
            ) => Self::CertificateRefused(alert),
            error => Self::Connection(error),
        }
    }
}
