//! Tests of the probe against servers of all kinds.

use rustls::AlertDescription;
use std::process::{Command, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;

use super::servers::*;
use super::*;
use crate::common::requirements::{LOCALHOST, require};

async fn probe(address: &str) -> Result<Served, ProbeError> {
    served(address, None, LIMIT).await
}

#[tokio::test(flavor = "current_thread")]
async fn served_certificate_is_returned() {
    let pair = Authority::new("one").pair();
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let address = serve(server(&pair, version, None), b"").await;
                let served = probe(&address).await.unwrap();
                assert_eq!(served.certificate, pair.certificate);
                assert_eq!(served.peer.to_string(), address);
                assert!(served.local.ip().is_loopback() && served.local != served.peer);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_demanding_client_certificate_shows_its_own() {
    let authority = Authority::new("one");
    let pair = authority.pair();
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let address = serve(server(&pair, version, Some(&authority)), b"").await;
                assert_eq!(
                    probe(&address).await.unwrap().certificate,
                    pair.certificate,
                    "{version:?}"
                );
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn shown_chain_and_named_client_authorities_are_returned() {
    let [one, two, further] = ["one", "two", "further"].map(Authority::new);
    let (pair, client) = (one.pair(), one.pair());
    let clients = [one.certificate(), two.certificate()];
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                for identity in [None, Some(client.identity())] {
                    let shown = [further.certificate(), one.certificate()];
                    let config = server_with(&pair, &shown, version, &clients);
                    let address = serve(config, b"").await;
                    let found = served(&address, identity.as_ref(), LIMIT).await.unwrap();
                    assert_eq!(found.intermediates, shown);
                    let named = clients.iter().map(|one| one.subject.der().to_vec()).collect();
                    assert_eq!(found.client_authorities, Some(named), "{version:?}");
                }
                let address = serve(server(&pair, version, None), b"").await;
                assert_eq!(probe(&address).await.unwrap().client_authorities, None);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn expired_certificate_is_returned() {
    let pair = Authority::new("one").pair_until(2001);
    LocalSet::new()
        .run_until(async {
            let address = serve(server(&pair, VERSIONS[1], None), b"").await;
            assert_eq!(probe(&address).await.unwrap().certificate, pair.certificate);
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_name_is_sent_for_names_only() {
    require!(LOCALHOST);
    let pair = Authority::new("one").pair();
    LocalSet::new()
        .run_until(async {
            for (host, sent) in [("localhost", true), ("127.0.0.1", false)] {
                let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
                let config = server(&pair, VERSIONS[1], None);
                let address = accept(async move |stream| {
                    let start = tokio_rustls::LazyConfigAcceptor::new(
                        rustls::server::Acceptor::default(),
                        stream,
                    )
                    .await
                    .unwrap();
                    tell.send(start.client_hello().server_name().map(str::to_owned)).unwrap();
                    let _ = start.into_stream(config.clone()).await;
                })
                .await;
                let port = address.rsplit_once(':').unwrap().1;
                assert_eq!(
                    probe(&format!("{host}:{port}")).await.unwrap().certificate,
                    pair.certificate
                );
                assert_eq!(told.recv().await.unwrap(), sent.then(|| host.to_owned()));
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn closed_port_is_reported() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert!(matches!(probe(&address).await, Err(ProbeError::Refused)));
}

#[tokio::test(flavor = "current_thread")]
async fn hanging_server_times_out() {
    LocalSet::new()
        .run_until(async {
            let after_accept = accept(async |_stream| std::future::pending().await).await;
            // The beginning of a handshake record that never continues.
            let in_the_handshake = accept(async |mut stream| {
                stream.write_all(&[22, 3, 3, 0, 100, 2]).await.unwrap();
                std::future::pending().await
            })
            .await;
            for address in [after_accept, in_the_handshake] {
                let began = Instant::now();
                let result = served(&address, None, Duration::from_millis(100)).await;
                assert!(
                    matches!(result, Err(ProbeError::TimedOut(Stage::Handshake))),
                    "{result:?}"
                );
                assert!(began.elapsed() < LIMIT);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn unaccepted_connection_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // At most one connection waits to be accepted; the kernel lets the others retry.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let result =
        served(&listener.local_addr().unwrap().to_string(), None, Duration::from_millis(100)).await;
    assert!(matches!(result, Err(ProbeError::TimedOut(Stage::Connection))), "{result:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn closed_connection_and_other_protocol_are_distinguished() {
    LocalSet::new()
        .run_until(async {
            let closes = accept(async |mut stream| {
                let _ = stream.read(&mut [0; 4096]).await;
            })
            .await;
            let resets = accept(async |stream| drop(stream)).await;
            for address in [closes, resets] {
                let result = probe(&address).await;
                assert!(matches!(result, Err(ProbeError::Closed(Stage::Handshake))), "{result:?}");
            }
            for answer in
                [b"HTTP/1.0 400 Bad Request\r\n\r\n".as_slice(), b"SSH-2.0-OpenSSH_9.2\r\n"]
            {
                let address = serve_plain(answer).await;
                let result = probe(&address).await;
                assert!(matches!(result, Err(ProbeError::NotTls)), "{result:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_without_the_key_is_refused() {
    let authority = Authority::new("one");
    let (shown, other) = (authority.pair(), authority.pair());
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let mixed = server_without_check(&shown, &other, version);
                let address = serve(mixed, b"").await;
                let result = probe(&address).await;
                assert!(matches!(result, Err(ProbeError::NotAccepted(_))), "{result:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn refused_handshake_is_reported() {
    LocalSet::new()
        .run_until(async {
            // A fatal handshake_failure.
            let address = serve_plain(&[21, 3, 3, 0, 2, 2, 40]).await;
            let result = probe(&address).await;
            assert!(
                matches!(result, Err(ProbeError::Alert(AlertDescription::HandshakeFailure))),
                "{result:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn invalid_address_is_refused() {
    for address in ["6443", "localhost", "http://127.0.0.1:80/"] {
        assert!(matches!(probe(address).await, Err(ProbeError::Address(_))), "{address}");
    }
    let result = probe("no-such-name.invalid:443").await;
    assert!(matches!(result, Err(ProbeError::Name { .. })), "{result:?}");
}

#[test]
fn identity_needs_a_matching_key() {
    let authority = Authority::new("one");
    let (one, other) = (authority.pair(), authority.pair());
    let identity = ClientIdentity::new(std::slice::from_ref(&one.certificate), &one.key()).unwrap();
    assert_eq!(format!("{identity:?}"), "ClientIdentity");
    assert_eq!(
        ClientIdentity::new(std::slice::from_ref(&other.certificate), &one.key()).unwrap_err(),
        IdentityError::OtherKey
    );
    assert_eq!(ClientIdentity::new(&[], &one.key()).unwrap_err(), IdentityError::NoCertificate);
}

/// Another TLS implementation than the one under test.
#[tokio::test(flavor = "current_thread")]
async fn openssl_server_shows_its_certificate_without_client_one() {
    require!("openssl");
    let pair = Authority::new("one").pair();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&certificate, pair.certificate.to_pem()).unwrap();
    std::fs::write(&key, &pair.key_pem).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-Verify",
            "1",
            "-verify_return_error",
            version,
            "-accept",
            &format!("127.0.0.1:{port}"),
        ]);
        command.arg("-cert").arg(&certificate).arg("-key").arg(&key);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut openssl = command.spawn().unwrap();
        let began = Instant::now();
        let mut result = probe(&format!("127.0.0.1:{port}")).await;
        while matches!(result, Err(ProbeError::Refused)) && began.elapsed() < LIMIT {
            tokio::time::sleep(Duration::from_millis(20)).await;
            result = probe(&format!("127.0.0.1:{port}")).await;
        }
        openssl.kill().unwrap();
        openssl.wait().unwrap();
        assert_eq!(result.unwrap().certificate, pair.certificate, "{version}");
    }
}
