//! A stand-in for the API of the cluster, which has one worker, w1.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use kubecertd::formats::x509::{
    Certificate, KeyAlgorithm, PrivateKey, certificates, reissue, template,
};
use kubecertd::model::{San, Subject, Usage};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::common::{CA_CRT, CA_KEY, Node, terms_with_days_left};

const WORKER: &str = r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"w1"}}"#;

/// Serves the API on a port of its own, which the kubeconfigs of the control-plane node name from
/// then on. Only clients with certificates of the cluster are answered.
pub fn serve(node: &Node) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    name_server(node, listener.local_addr().unwrap().port());
    let config = Arc::new(config(node));
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|client| answer(&config, client));
    });
}

/// Names a port at which nothing listens.
pub fn name_closed_port(node: &Node) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    name_server(node, port);
}

fn name_server(node: &Node, port: u16) {
    for file in ["admin", "super-admin", "controller-manager", "scheduler", "kubelet"] {
        let file = format!("etc/kubernetes/{file}.conf");
        if node.path(&file).exists() {
            let text = node.text(&file);
            let line = text.lines().find(|line| line.trim_start().starts_with("server:"));
            node.edit(&file, line.unwrap().trim(), &format!("server: https://127.0.0.1:{port}"));
        }
    }
}

fn config(node: &Node) -> ServerConfig {
    let authority = certificates(&node.read(CA_CRT)).unwrap().remove(0);
    let authority_key = PrivateKey::from_pem(&node.read(CA_KEY)).unwrap();
    let subject = Subject { common_name: "kube-apiserver".to_owned(), organization: None };
    let names: [San; 1] = ["127.0.0.1".parse().unwrap()];
    let own = template(&subject, &[Usage::Server], &names).unwrap();
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    let terms = terms_with_days_left(100);
    let own = reissue(&own, &authority, &authority_key, &key, &terms).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.to_pem().unwrap().expose()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![CertificateDer::from(own)], key)
        .unwrap()
}

fn answer(config: &Arc<ServerConfig>, mut client: TcpStream) {
    let mut connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut client).is_err() {
            return;
        }
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let user = shown.map(|shown| Certificate::from_der(shown).unwrap().subject.to_string());
    let mut stream = rustls::Stream::new(&mut connection, &mut client);
    let mut request = [0; 4096];
    let length = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let (status, body) = response(&request, &user.unwrap_or_default());
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes());
    connection.send_close_notify();
    let _ = connection.complete_io(&mut client);
}

/// Kubelets may see no Nodes but their own since Kubernetes 1.32.
fn response(request: &str, user: &str) -> (u16, String) {
    let line = request.lines().next().unwrap_or_default();
    let name = line.strip_prefix("GET /api/v1/nodes/").and_then(|rest| rest.split(' ').next());
    match name {
        _ if user.contains("system:node:") => (403, String::new()),
        Some("w1") => (200, WORKER.to_owned()),
        Some(name) => {
            let details = format!(r#"{{"name":"{name}","kind":"nodes"}}"#);
            (404, format!(r#"{{"kind":"Status","reason":"NotFound","details":{details}}}"#))
        }
        None => (404, "404 page not found".to_owned()),
    }
}
