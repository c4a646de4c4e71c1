//! An aggregated API server outside of the node: at each request it verifies the client certificate
//! of the API server that sent it, by the CA certificates in extension-apiserver-authentication as
//! they are at that moment.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kubecertd::formats::x509::{Certificate, certificates};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

use super::harness::Node;

/// This machine, on the bridge of the nodes.
const ADDRESS: &str = "10.210.0.254";

/// The path of its API, and a part of every response.
pub const PATH: &str = "/apis/test.example.org/v1";
pub const EXPECTED: &str = "test.example.org/v1";

const RESPONSE: &str = r#"{"kind":"APIResourceList","apiVersion":"v1",
    "groupVersion":"test.example.org/v1","resources":[]}"#;

/// How often the ConfigMap is read. API servers are given longer to read a certificate again.
const READ_INTERVAL: Duration = Duration::from_secs(1);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

type Trusted = Arc<Mutex<Vec<Certificate>>>;

/// The server and what it has refused.
pub struct Extension {
    stop: Arc<AtomicBool>,
    trusted: Trusted,
    refused: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Extension {
    /// Starts the server, and has the API server of the node send it the requests for its API.
    pub fn start(node: &Node) -> Self {
        let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let trusted: Trusted = Arc::new(Mutex::new(published(node).unwrap()));
        let server = {
            let (stop, trusted, refused) =
                (Arc::clone(&stop), Arc::clone(&trusted), Arc::clone(&refused));
            std::thread::spawn(move || serve(&listener, &stop, &trusted, &refused))
        };
        node.write("root/extension.yaml", objects(port));
        node.exec("kubectl create -f /root/extension.yaml");
        node.wait_for("the aggregated API is served", |node| {
            let found = node.try_exec(&format!("kubectl get --raw {PATH}"));
            String::from_utf8_lossy(&found.stdout).contains(EXPECTED).then_some(())
        });
        Self { stop, trusted, refused, server }
    }

    /// Follows the ConfigMap while something is done, as the library of aggregated API servers
    /// does. While the API server can't be asked, it knows what it knew.
    pub fn follow<T>(&self, node: &Node, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Some(found) = published(node) {
                        *self.trusted.lock().unwrap() = found;
                    }
                    std::thread::sleep(READ_INTERVAL);
                }
            });
            // Also where the work panics.
            let _done = Done(&done);
            work()
        })
    }

    /// Stops the server, and returns why it has refused requests.
    pub fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.server.join().unwrap();
        self.refused.lock().unwrap().clone()
    }
}

struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The CAs by which aggregated API servers verify the API server.
pub fn published(node: &Node) -> Option<Vec<Certificate>> {
    let found = node.try_exec(
        "kubectl --request-timeout=20s -n kube-system get configmap \
         extension-apiserver-authentication -o jsonpath='{.data.requestheader-client-ca-file}'",
    );
    certificates(&found.stdout).ok()
}

/// A Service leads to this machine by its name: kube-proxy does not run on the nodes.
fn objects(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: extension
  namespace: default
spec:
  type: ExternalName
  externalName: {ADDRESS}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1.test.example.org
spec:
  group: test.example.org
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service:
    name: extension
    namespace: default
    port: {port}
"
    )
}

fn serve(
    listener: &TcpListener,
    stop: &AtomicBool,
    trusted: &Mutex<Vec<Certificate>>,
    refused: &Arc<Mutex<Vec<String>>>,
) {
    let own = rcgen::generate_simple_self_signed([ADDRESS.to_owned()]).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let (config, refused) = (config(&own, &trusted.lock().unwrap()), Arc::clone(refused));
        std::thread::spawn(move || {
            // An API server that closes its connection was not refused.
            if let Err(error) = respond(stream, config)
                && error.kind() == ErrorKind::InvalidData
            {
                refused.lock().unwrap().push(error.to_string());
            }
        });
    }
}

fn config(own: &rcgen::CertifiedKey<rcgen::KeyPair>, trusted: &[Certificate]) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for root in trusted {
        roots.add(CertificateDer::from(root.der().to_vec())).unwrap();
    }
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

/// Answers one request. Each has a connection of its own, so that each is verified.
fn respond(mut stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = Stream::new(&mut connection, &mut stream);
    let mut request = Vec::new();
    let mut part = [0; 4_096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match tls.read(&mut part)? {
            // It was only opened.
            0 => return Ok(()),
            read => request.extend_from_slice(&part[..read]),
        }
    }
    let length = RESPONSE.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    tls.write_all((head + RESPONSE).as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()
}
