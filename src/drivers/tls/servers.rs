//! TLS servers for the tests of this module and of [`super::super::http`]: on the loopback, in this
//! process, stopped with the test.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::client::provider;
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::{Certificate, PrivateKey};

pub const LIMIT: Duration = Duration::from_secs(10);
pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    pub certificate: Certificate,
    pub key_pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn certificate(&self) -> Certificate {
        Certificate::from_der(self.issuer.der()).unwrap()
    }

    /// Returns a pair valid for the loopback and its name until the end of that year.
    pub fn pair_until(&self, year: i32) -> Pair {
        self.pair_for(&["localhost", "127.0.0.1"], year)
    }

    pub fn pair_for(&self, names: &[&str], year: i32) -> Pair {
        self.pair_with(names, 1990..=year, Vec::new())
    }

    /// Returns a pair that is not valid yet.
    pub fn pair_from_3000(&self) -> Pair {
        self.pair_with(&["localhost", "127.0.0.1"], 3000..=4000, Vec::new())
    }

    /// Returns a pair of clients alone.
    pub fn client_until(&self, year: i32) -> Pair {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.pair_with(&["localhost", "127.0.0.1"], 1990..=year, usages)
    }

    fn pair_with(
        &self,
        names: &[&str],
        years: RangeInclusive<i32>,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Pair {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .unwrap();
        params.not_before = date_time_ymd(*years.start(), 1, 1);
        params.not_after = date_time_ymd(*years.end(), 12, 31);
        params.extended_key_usages = usages;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: Certificate::from_der(certificate.der()).unwrap(),
            key_pem: key.serialize_pem(),
        }
    }

    pub fn pair(&self) -> Pair {
        self.pair_until(4000)
    }
}

impl Pair {
    pub fn identity(&self) -> ClientIdentity {
        ClientIdentity::new(std::slice::from_ref(&self.certificate), &self.key()).unwrap()
    }

    pub fn key(&self) -> PrivateKey {
        PrivateKey::from_pem(self.key_pem.as_bytes()).unwrap()
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }
}

/// Returns the configuration of a server that demands a client certificate of `clients`, or asks
/// for none.
pub fn server(
    pair: &Pair,
    version: &'static SupportedProtocolVersion,
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let clients: Vec<_> = clients.map(Authority::certificate).into_iter().collect();
    server_with(pair, &[], version, &clients)
}

/// Returns the configuration of a server that shows further certificates with its own, and demands
/// a client certificate of one of `clients`, or asks for none.
pub fn server_with(
    pair: &Pair,
    further: &[Certificate],
    version: &'static SupportedProtocolVersion,
    clients: &[Certificate],
) -> Arc<ServerConfig> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let builder = if clients.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        clients.iter().for_each(|client| roots.add(der(client)).unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        builder.with_client_cert_verifier(verifier.build().unwrap())
    };
    let chain = [&pair.certificate].into_iter().chain(further).map(der).collect();
    Arc::new(builder.with_single_cert(chain, pair.key_der()).unwrap())
}

/// Returns a server that shows one pair's certificate and has the other's key.
pub fn server_without_check(
    shown: &Pair,
    other: &Pair,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth();
    let chain = vec![CertificateDer::from(shown.certificate.der().to_vec())];
    let key = CertifiedKey::new(chain, any_supported_type(&other.key_der()).unwrap());
    Arc::new(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key))))
}

/// Serves TLS, and answers every request with these bytes; returns `host:port`.
pub async fn serve(config: Arc<ServerConfig>, answer: &'static [u8]) -> String {
    accept(async move |stream| {
        let Ok(mut stream) = TlsAcceptor::from(config.clone()).accept(stream).await else { return };
        if read_request(&mut stream).await {
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Serves TLS, and answers a request that begins like this with the text, and no other one;
/// returns `host:port`.
pub async fn answer_with(
    config: Arc<ServerConfig>,
    request: &'static str,
    answer: String,
) -> String {
    answer_by_address(config, request, move |_| answer.clone()).await
}

/// Does the same with a text that is made of its own `host:port`.
pub async fn answer_by_address(
    config: Arc<ServerConfig>,
    request: &'static str,
    answer: impl Fn(&str) -> String + 'static,
) -> String {
    accept(async move |stream| {
        let answer = answer(&stream.local_addr().unwrap().to_string());
        let Ok(mut stream) = TlsAcceptor::from(config.clone()).accept(stream).await else { return };
        let mut got = vec![0; 8_192];
        let length = stream.read(&mut got).await.unwrap_or(0);
        if got[..length].starts_with(request.as_bytes()) {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Does the same in plain text; returns `host:port`.
pub async fn serve_plain(answer: &'static [u8]) -> String {
    accept(async move |mut stream| {
        if read_request(&mut stream).await {
            let _ = stream.write_all(answer).await;
        }
    })
    .await
}

/// Handles every connection with `with`, one after the other; returns `host:port`.
pub async fn accept(mut with: impl AsyncFnMut(TcpStream) + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::task::spawn_local(async move {
        loop {
            with(listener.accept().await.unwrap().0).await;
        }
    });
    address
}

/// Whether a request was read, or a TLS client's first message, whose end is not looked for.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && !request.starts_with(&[22]) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}
