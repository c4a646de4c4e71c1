//! Servers that verify a client: that of kubecertd, which shows the client's certificate.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use kubecertd::drivers::http::{HttpError, Trust, get};
use kubecertd::drivers::tls::{ClientIdentity, ProbeError};
use kubecertd::formats::x509::{Certificate, PrivateKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::Verdict;
use super::clients::openssl_verifies;
use super::programs::{Helper, LIMIT, Running};
use super::roots::{Case, Pair};
use super::table::Verifier;

/// The verdict of each verifier on each client.
pub fn verdicts(pairs: &[Pair]) -> Vec<Verdict> {
    let mut all = Vec::new();
    for verifier in Verifier::ALL {
        // One server for each root that it may know; the client comes with and without the bridge.
        let known: Vec<_> = (0..pairs.len())
            .flat_map(|at| [true, false].map(|knows_old| (at, knows_old)))
            .collect();
        let servers = Servers::start(verifier, pairs, &known);
        for ((at, knows_old), port) in known.iter().zip(servers.ports()) {
            for with_bridge in [true, false] {
                let (pair, case) = (&pairs[*at], Case { knows_old: *knows_old, with_bridge });
                let accepted = is_accepted(pair, with_bridge, *port);
                if matches!(verifier, Verifier::OpenSsl | Verifier::OpenSslStrict) {
                    let strict = verifier.is_strict().then_some("-x509_strict");
                    let verified = openssl_verifies(pair, case, "client.crt", "sslclient", strict);
                    assert_eq!(accepted, verified, "{case} of {pair}: s_server and verify");
                }
                all.push((verifier, *at, case, accepted));
            }
        }
    }
    all
}

/// Whether a server accepts the client: it answers, or refuses the certificate.
fn is_accepted(pair: &Pair, with_bridge: bool, port: u16) -> bool {
    let identity =
        ClientIdentity::new(&pair.chain(&pair.client, with_bridge), &pair.client.key).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("https://127.0.0.1:{port}/");
    match runtime.block_on(get(&url, &Trust::AnyCertificate, Some(&identity), LIMIT)) {
        Ok(answer) => {
            assert_eq!(answer.status, 200);
            true
        }
        Err(HttpError::CertificateRefused(_)) => false,
        // OpenSSL's alert for a signature that the key of the supposed issuer did not make.
        Err(HttpError::Connection(ProbeError::Alert(AlertDescription::DecryptError))) => false,
        Err(error) => panic!("no verdict of {pair}: {error:?}"),
    }
}

/// Servers of one kind. They end with the value.
enum Servers {
    Programs(#[expect(dead_code, reason = "dropping ends them")] Vec<Running>, Vec<u16>),
    Helper(#[expect(dead_code, reason = "dropping ends it")] Helper, Vec<u16>),
    Here(Vec<u16>),
}

impl Servers {
    fn start(verifier: Verifier, pairs: &[Pair], known: &[(usize, bool)]) -> Self {
        let known: Vec<_> = known
            .iter()
            .map(|(at, knows_old)| (&pairs[*at], Case { knows_old: *knows_old, with_bridge: true }))
            .collect();
        match verifier {
            Verifier::OpenSsl | Verifier::OpenSslStrict => {
                let start = |(pair, case): &(&Pair, Case)| openssl(pair, *case, verifier);
                Self::running(known.iter().map(start).collect())
            }
            Verifier::GnuTls => {
                Self::running(known.iter().map(|(pair, case)| gnutls(pair, *case)).collect())
            }
            Verifier::Go | Verifier::Python | Verifier::PythonStrict => {
                let paths: Vec<_> = known
                    .iter()
                    .map(|(pair, case)| [pair.files.dir().to_owned(), pair.files.known(*case)])
                    .collect();
                let mut helper = Helper::start(verifier, "known", &paths);
                let ports = helper.answer();
                Self::Helper(helper, ports)
            }
            Verifier::Rustls => Self::Here(
                known
                    .iter()
                    .map(|(pair, case)| {
                        let chain = pair.chain(&pair.server, false);
                        TlsServer::start(&chain, &pair.server.key, Some(pair.known(*case))).port
                    })
                    .collect(),
            ),
        }
    }

    fn running(servers: Vec<Running>) -> Self {
        let ports = servers.iter().map(Running::port).collect();
        Self::Programs(servers, ports)
    }

    fn ports(&self) -> &[u16] {
        match self {
            Self::Programs(_, ports) | Self::Helper(_, ports) | Self::Here(ports) => ports,
        }
    }
}

fn openssl(pair: &Pair, case: Case, verifier: Verifier) -> Running {
    let mut server = Command::new("openssl");
    server.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-Verify", "5"]);
    server.args(["-verify_return_error", "-no-CApath", "-no-CAstore"]);
    server.args(verifier.is_strict().then_some("-x509_strict"));
    server.arg("-cert").arg(pair.files.path("server.crt"));
    server.arg("-key").arg(pair.files.path("server.key"));
    server.arg("-CAfile").arg(pair.files.known(case));
    Running::start(server)
}

fn gnutls(pair: &Pair, case: Case) -> Running {
    let mut server = Command::new("gnutls-serv");
    server.args(["--port", "0", "--http", "--require-client-cert", "--verify-client-cert"]);
    server.arg("--x509certfile").arg(pair.files.path("server.crt"));
    server.arg("--x509keyfile").arg(pair.files.path("server.key"));
    server.arg("--x509cafile").arg(pair.files.known(case));
    Running::start(server)
}

/// A server in this process, by rustls: it answers every request, and runs until the process ends.
pub struct TlsServer {
    pub port: u16,
}

impl TlsServer {
    /// Starts a server that shows this chain, and demands a client certificate by `clients` if that
    /// is there.
    pub fn start(chain: &[Certificate], key: &PrivateKey, clients: Option<&Certificate>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(known) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from(known.der())).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
        let pem = key.to_pem().unwrap();
        let key = PrivateKeyDer::from_pem_slice(pem.expose()).unwrap();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || answer(config, stream.unwrap()));
            }
        });
        Self { port }
    }
}

/// Answers one request. A client that refuses this server, or is refused, breaks the connection.
fn answer(config: Arc<ServerConfig>, stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).ok()?;
        if length == 0 {
            break;
        }
        request.extend_from_slice(&part[..length]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}
