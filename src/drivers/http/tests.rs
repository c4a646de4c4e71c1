//! Requests to servers in this process.

use std::time::Instant as Began;

use rustls::SupportedProtocolVersion;
use tokio::task::LocalSet;

use super::super::tls::servers::*;
use super::*;
use crate::common::requirements::{LOCALHOST, require};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNAUTHORIZED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized";

async fn plain(url: &str) -> Result<HttpResponse, HttpError> {
    get(url, &Trust::AnyCertificate, None, LIMIT).await
}

fn ok() -> HttpResponse {
    HttpResponse { status: 200, body: b"ok".to_vec() }
}

#[tokio::test(flavor = "current_thread")]
async fn response_of_any_status_is_returned() {
    LocalSet::new()
        .run_until(async {
            let address = serve_plain(OK).await;
            assert_eq!(plain(&format!("http://{address}/health")).await.unwrap(), ok());
            let address = serve_plain(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            )
            .await;
            assert_eq!(
                plain(&format!("http://{address}/")).await.unwrap(),
                HttpResponse { status: 302, body: Vec::new() }
            );
            let pair = Authority::new("one").pair();
            let address = serve(server(&pair, VERSIONS[1], None), UNAUTHORIZED).await;
            assert_eq!(
                plain(&format!("https://{address}/livez")).await.unwrap(),
                HttpResponse { status: 401, body: b"Unauthorized".to_vec() }
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn request_has_the_required_headers() {
    LocalSet::new()
        .run_until(async {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let address = accept(async move |mut stream| {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                tell.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
                stream.write_all(OK).await.unwrap();
            })
            .await;
            plain(&format!("http://{address}/livez?verbose")).await.unwrap();
            let request = told.recv().await.unwrap();
            assert!(request.starts_with("GET /livez?verbose HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn posted_body_is_sent_with_its_headers() {
    LocalSet::new()
        .run_until(async {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let address = accept(async move |mut stream| {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let mut request = Vec::new();
                while !request.ends_with(b"{\"a\":1}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                tell.send(String::from_utf8_lossy(&request).into_owned()).unwrap();
                stream.write_all(OK).await.unwrap();
            })
            .await;
            let url = format!("http://{address}/v3/cluster/member/list");
            let headers = &[("X-Remote-User", "alice")];
            let asked = Call { url: &url, headers, json: Some("{\"a\":1}"), ..Call::default() };
            call(asked, &Trust::AnyCertificate, None, LIMIT).await.unwrap();
            let request = told.recv().await.unwrap();
            assert!(request.starts_with("POST /v3/cluster/member/list HTTP/1.1\r\n"), "{request}");
            for line in
                ["x-remote-user: alice", "content-type: application/json", "content-length: 7"]
            {
                assert!(request.to_lowercase().contains(&format!("\r\n{line}\r\n")), "{request}");
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_at_another_address_is_known_by_the_name_in_the_url() {
    let authority = Authority::new("one");
    LocalSet::new()
        .run_until(async {
            let pair = authority.pair_for(&["api.example"], 4000);
            let address = serve(server(&pair, VERSIONS[1], None), OK).await;
            let trust = Trust::Authorities(vec![authority.certificate()]);
            let ask = async |url: &str| {
                let asked = Call { url, connect_to: Some(&address), ..Call::default() };
                call(asked, &trust, None, LIMIT).await
            };
            assert_eq!(ask("https://api.example:1/").await.unwrap(), ok());
            let result = ask("https://other.example:1/").await;
            assert!(
                matches!(result, Err(HttpError::Connection(ProbeError::NotAccepted(_)))),
                "{result:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn long_response_is_truncated() {
    LocalSet::new()
        .run_until(async {
            let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
            let address = serve_plain(text.leak().as_bytes()).await;
            assert_eq!(
                plain(&format!("http://{address}/")).await.unwrap().body.len(),
                MAX_BODY_BYTES
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_is_trusted_by_its_authority_and_name() {
    require!(LOCALHOST);
    let (authority, other) = (Authority::new("one"), Authority::new("another"));
    let (good, expired) = (authority.pair(), authority.pair_until(2001));
    LocalSet::new()
        .run_until(async {
            let address = serve(server(&good, VERSIONS[1], None), OK).await;
            let expired = serve(server(&expired, VERSIONS[1], None), OK).await;
            let elsewhere = serve(
                server(&authority.pair_for(&["127.0.0.2", "elsewhere"], 4000), VERSIONS[1], None),
                OK,
            )
            .await;
            let port = address.rsplit_once(':').unwrap().1;
            let trust = Trust::Authorities(vec![other.certificate(), authority.certificate()]);
            for url in [format!("https://{address}/"), format!("https://localhost:{port}/")] {
                assert_eq!(get(&url, &trust, None, LIMIT).await.unwrap(), ok());
            }
            let stranger = Trust::Authorities(vec![other.certificate()]);
            let cases = [
                (format!("https://{address}/"), &stranger),
                (format!("https://{expired}/"), &trust),
                (format!("https://{elsewhere}/"), &trust),
            ];
            for (url, trust) in cases {
                let result = get(&url, trust, None, LIMIT).await;
                assert!(
                    matches!(result, Err(HttpError::Connection(ProbeError::NotAccepted(_)))),
                    "{result:?}"
                );
            }
            let none =
                get(&format!("https://{address}/"), &Trust::Authorities(Vec::new()), None, LIMIT)
                    .await;
            assert!(matches!(none, Err(HttpError::Authorities(_))), "{none:?}");
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn expired_server_is_trusted_only_despite_its_expiry() {
    let (authority, other) = (Authority::new("one"), Authority::new("another"));
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let at = async |pair: &Pair| {
                    format!("https://{}/", serve(server(pair, version, None), OK).await)
                };
                let all = vec![other.certificate(), authority.certificate()];
                let (strict, lenient) =
                    (Trust::Authorities(all.clone()), Trust::AuthoritiesDespiteExpiry(all));
                let expired = at(&authority.pair_until(2001)).await;
                assert_eq!(get(&expired, &lenient, None, LIMIT).await.unwrap(), ok());
                let valid = at(&authority.pair()).await;
                assert_eq!(get(&valid, &lenient, None, LIMIT).await.unwrap(), ok());
                let stranger = Trust::AuthoritiesDespiteExpiry(vec![other.certificate()]);
                let cases = [
                    ("expired", &expired, &strict),
                    ("foreign CA", &expired, &stranger),
                    ("other name", &at(&authority.pair_for(&["elsewhere"], 2001)).await, &lenient),
                    ("other usage", &at(&authority.client_until(2001)).await, &lenient),
                    ("not valid yet", &at(&authority.pair_from_3000()).await, &lenient),
                ];
                for (case, url, trust) in cases {
                    let result = get(url, trust, None, LIMIT).await;
                    assert!(
                        matches!(result, Err(HttpError::Connection(ProbeError::NotAccepted(_)))),
                        "{case}: {result:?}"
                    );
                }
                let (shown, other_key) = (authority.pair_until(2001), authority.pair());
                let without_key = server_without_check(&shown, &other_key, version);
                let url = format!("https://{}/", serve(without_key, OK).await);
                let result = get(&url, &lenient, None, LIMIT).await;
                assert!(result.is_err(), "it does not have the key: {result:?}");
            }
            let none = Trust::AuthoritiesDespiteExpiry(Vec::new());
            let result = get("https://127.0.0.1:1/", &none, None, LIMIT).await;
            assert!(matches!(result, Err(HttpError::Authorities(_))), "{result:?}");
        })
        .await;
}

/// Returns the response of a server that knows `clients` to this identity.
async fn shown(
    version: &'static SupportedProtocolVersion,
    clients: &Authority,
    identity: Option<ClientIdentity>,
) -> Result<HttpResponse, HttpError> {
    let pair = clients.pair();
    let address = serve(server(&pair, version, Some(clients)), OK).await;
    let trust = Trust::Authorities(vec![clients.certificate()]);
    get(&format!("https://{address}/"), &trust, identity.as_ref(), LIMIT).await
}

#[tokio::test(flavor = "current_thread")]
async fn client_certificate_is_presented() {
    let authority = Authority::new("one");
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                assert_eq!(
                    shown(version, &authority, Some(authority.pair().identity())).await.unwrap(),
                    ok()
                );
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn refused_client_certificate_is_distinguished() {
    let (authority, other) = (Authority::new("one"), Authority::new("another"));
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let identities = [
                    Some(other.pair().identity()),
                    Some(authority.pair_until(2001).identity()),
                    None,
                ];
                for identity in identities {
                    let result = shown(version, &authority, identity).await;
                    assert!(
                        matches!(result, Err(HttpError::CertificateRefused(_))),
                        "{version:?}: {result:?}"
                    );
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn failing_server_is_no_refusal() {
    let pair = Authority::new("one").pair();
    LocalSet::new()
        .run_until(async {
            let closes = serve(server(&pair, VERSIONS[1], None), b"").await;
            let result = plain(&format!("https://{closes}/")).await;
            assert!(
                matches!(result, Err(HttpError::Connection(ProbeError::Closed(Stage::Answer)))),
                "{result:?}"
            );
            let babbles = serve_plain(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            let result = plain(&format!("http://{babbles}/")).await;
            assert!(matches!(result, Err(HttpError::NotHttp(_))), "{result:?}");
            let result = plain(&format!("https://{babbles}/")).await;
            assert!(matches!(result, Err(HttpError::Connection(ProbeError::NotTls))), "{result:?}");
            let cut = serve_plain(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok").await;
            let result = plain(&format!("http://{cut}/")).await;
            assert!(
                matches!(result, Err(HttpError::Connection(ProbeError::Closed(Stage::Answer)))),
                "{result:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn hanging_server_times_out() {
    let pair = Authority::new("one").pair();
    LocalSet::new()
        .run_until(async {
            let silent = accept(async |_stream| std::future::pending().await).await;
            let config = server(&pair, VERSIONS[1], None);
            let after_tls = accept(async move |stream| {
                let _stream = tokio_rustls::TlsAcceptor::from(config.clone()).accept(stream).await;
                std::future::pending().await
            })
            .await;
            let drips = accept(async |mut stream| {
                use tokio::io::AsyncWriteExt as _;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok").await.unwrap();
                std::future::pending().await
            })
            .await;
            let cases = [
                (format!("http://{silent}/"), Stage::Answer),
                (format!("https://{silent}/"), Stage::Handshake),
                (format!("https://{after_tls}/"), Stage::Answer),
                (format!("http://{drips}/"), Stage::Answer),
            ];
            for (url, stage) in cases {
                let began = Began::now();
                let limit = Duration::from_millis(500);
                let result = get(&url, &Trust::AnyCertificate, None, limit).await;
                let Err(HttpError::Connection(ProbeError::TimedOut(at))) = &result else {
                    panic!("{url}: {result:?}")
                };
                assert_eq!(*at, stage, "{url}: {result:?}");
                assert!(began.elapsed() < LIMIT);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn unsupported_url_is_refused() {
    for url in [
        "",
        "/livez",
        "127.0.0.1:2381/health",
        "ftp://127.0.0.1/",
        "http://user@127.0.0.1/",
        "http://a b/",
        "http://127.0.0.1:99999/",
        "http:///x",
    ] {
        assert!(matches!(plain(url).await, Err(HttpError::Url(_))), "{url}");
    }
}
