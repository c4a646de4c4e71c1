//! A certificate that its server refuses only after it is in place: the earlier one is put back,
//! also where the state directory is on a full disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and run other programs"
)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use common::host::at_the_root_of;
use common::requirements::{MOUNTS, require};
use common::{ECDSA, Node, STATE};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

const ADMIN: &str = "etc/kubernetes/admin.conf";

/// Asks for a client certificate, and leaves it to the answer whether it is accepted.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// An API server that is down until admin.conf is replaced, and then knows only the certificate
/// that was there before.
struct LateServer {
    config: Arc<ServerConfig>,
    admin: PathBuf,
    before: Vec<u8>,
    accepted: Vec<u8>,
}

impl LateServer {
    /// Serves on a port of its own, which admin.conf names from then on.
    fn start(node: &Node) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = node.text(ADMIN);
        let server = text.lines().find(|line| line.trim_start().starts_with("server:")).unwrap();
        node.edit(ADMIN, server.trim(), &format!("server: https://127.0.0.1:{port}"));
        let (certificate, key) = server_pair(node);
        let builder = ServerConfig::builder_with_provider(
            rustls::crypto::aws_lc_rs::default_provider().into(),
        );
        let config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let server = Self {
            config: Arc::new(config),
            admin: node.path(ADMIN),
            before: node.read(ADMIN),
            accepted: node.certificate("admin.conf").der().to_vec(),
        };
        std::thread::spawn(move || {
            listener.incoming().flatten().for_each(|one| server.answer(one))
        });
    }

    fn answer(&self, mut client: TcpStream) {
        if std::fs::read(&self.admin).unwrap() == self.before {
            return;
        }
        let Ok(mut connection) = rustls::ServerConnection::new(Arc::clone(&self.config)) else {
            return;
        };
        while connection.is_handshaking() {
            if connection.complete_io(&mut client).is_err() {
                return;
            }
        }
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let is_accepted = shown.is_some_and(|shown| shown.as_ref() == self.accepted);
        let status = if is_accepted { "200 OK" } else { "401 Unauthorized" };
        let mut stream = rustls::Stream::new(&mut connection, &mut client);
        let _ = stream.read(&mut [0; 4096]);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
        connection.send_close_notify();
        let _ = connection.complete_io(&mut client);
    }
}

/// A certificate of the cluster's CA for 127.0.0.1.
fn server_pair(node: &Node) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let script = "set -e; openssl req -newkey rsa:2048 -nodes -subj /CN=late -keyout key -out csr
        printf subjectAltName=IP:127.0.0.1 >names
        openssl x509 -req -in csr -CA $0/ca.crt -CAkey $0/ca.key -days 30 -extfile names -out crt";
    let mut openssl = Command::new("sh");
    openssl.args(["-c", script]).arg(node.path(common::PKI)).current_dir(dir.path());
    succeeded(&openssl.output().unwrap());
    let certificate = CertificateDer::from_pem_file(dir.path().join("crt")).unwrap();
    (certificate, PrivateKeyDer::from_pem_file(dir.path().join("key")).unwrap())
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// The state directory is a full disk, with a journal that was preallocated and backups elsewhere.
const FULL_STATE_DISK: &str = "set -e; cd /var/lib/kubecertd
    mkdir -p /elsewhere backups; chmod 700 /elsewhere backups
    mount -t tmpfs -o size=1m,mode=700 full .; cd /var/lib/kubecertd
    mkdir -m 700 backups; mount --bind /elsewhere backups
    dd if=/dev/zero of=journal bs=256k count=1; chmod 600 journal
    dd if=/dev/zero of=filler bs=4096 || true
    exec /kubecertd renew admin.conf";

#[test]
fn refused_certificate_is_rolled_back_with_full_disk() {
    require!(MOUNTS, "openssl");
    let node = Node::fresh(ECDSA);
    node.age("admin.conf", 10);
    node.backdate_manifests();
    node.write(&format!("{STATE}/.keep"), "");
    LateServer::start(&node);
    let (before, serial) = (node.read(ADMIN), node.certificate("admin.conf").serial.clone());
    let run = at_the_root_of(&node, FULL_STATE_DISK);
    let text = String::from_utf8_lossy(&[&*run.stdout, &*run.stderr].concat()).into_owned();
    assert!(text.contains("renewed without a trial"), "{text}");
    assert!(text.contains("can't be recorded") && text.contains("os error 28"), "{text}");
    assert!(text.contains("accepts the previous one, which was restored"), "{text}");
    assert_eq!(node.certificate("admin.conf").serial, serial, "{text}");
    assert_eq!(node.read(ADMIN), before, "{text}");
    assert_eq!(run.status.code(), Some(1), "{text}");
}
