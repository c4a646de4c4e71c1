//! Probes a TLS server: which certificate it really serves, whichever authority signed it.
//!
//! The probe accepts every certificate, because it does not ask whether the server can be trusted
//! but what it serves. It sends nothing. It requires the server's proof that it has the
//! certificate's key. The parts that [`super::http`] needs too (addresses, configurations, client
//! identities) are in submodules.

mod client;
mod endpoint;
mod error;
mod identity;

#[cfg(test)]
pub(crate) mod servers;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) use client::{AnyCertificate, authorities, authorities_despite_expiry, config};
pub(super) use endpoint::Endpoint;
pub use error::{ProbeError, Stage};
pub(super) use identity::ClientResolver;
pub use identity::{ClientIdentity, IdentityError};

use crate::formats::x509::Certificate;

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The server's own certificate, the first of its chain.
    pub certificate: Certificate,
    /// The certificates that it showed with it, as far as they can be read.
    pub intermediates: Vec<Certificate>,
    /// The names (DER) of the CAs whose client certificates it says it accepts, an empty list where
    /// it names none; `None` where it asks for no client certificate.
    pub client_authorities: Option<Vec<Vec<u8>>>,
    /// The address of this side of the connection.
    pub local: SocketAddr,
    /// The address of the server's side, to which the name was resolved.
    pub peer: SocketAddr,
}

/// Returns the certificate that is served at `host:port` (an IPv6 address in brackets).
///
/// A server that demands a client certificate, and gets none, aborts the handshake after it has
/// shown its own: this is a result too. etcd logs each such connection as rejected. The server
/// name indication is sent for names only, as all TLS clients do, so a server with several
/// certificates may show different ones for an address and a name. A hanging resolver is not
/// waited for, but keeps a tokio runtime from shutting down.
///
/// # Errors
/// When there is no TLS server, or it shows no certificate, or does not prove within the limit that
/// it has the key.
pub async fn served(
    address: &str,
    identity: Option<&ClientIdentity>,
    limit: Duration,
) -> Result<Served, ProbeError> {
    let deadline = Instant::now() + limit;
    let endpoint = Endpoint::parse(address)?;
    let stream = endpoint.connect(deadline).await?;
    let (local, peer) =
        (stream.local_addr().map_err(ProbeError::Io)?, stream.peer_addr().map_err(ProbeError::Io)?);
    let verifier = Arc::new(AnyCertificate::new());
    let resolver = Arc::new(ClientResolver::new(identity));
    let config = config(verifier.clone(), resolver.clone())
        .map_err(|e| ProbeError::Handshake(e.to_string()))?;
    let result = handshake(config, endpoint.server_name(), stream, deadline).await;
    let failure = match result {
        Ok(stream) => {
            close_gracefully(stream).await;
            None
        }
        Err(e) => Some(e),
    };
    match (verifier.proven(), failure) {
        (Some(certificate), _) => {
            let shown = verifier.intermediates().iter();
            let intermediates = shown.filter_map(|one| Certificate::from_der(one).ok()).collect();
            let certificate = Certificate::from_der(certificate)?;
            let client_authorities = resolver.requested().map(<[_]>::to_vec);
            Ok(Served { certificate, intermediates, client_authorities, local, peer })
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(ProbeError::Handshake("the server showed no certificate".to_owned())),
    }
}

/// Performs the TLS handshake on a TCP connection.
pub(super) async fn handshake(
    config: rustls::ClientConfig,
    name: ServerName<'static>,
    stream: TcpStream,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, ProbeError> {
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let result = timeout_at(deadline, handshake)
        .await
        .map_err(|_| ProbeError::TimedOut(Stage::Handshake))?;
    result.map_err(|e| ProbeError::from_stream(e, Stage::Handshake))
}

/// Closes the connection in a way that servers don't log as an error.
async fn close_gracefully(mut stream: TlsStream<TcpStream>) {
    // A server that does not receive it in time loses nothing.
    let _ = timeout(Duration::from_millis(100), stream.shutdown()).await;
}
