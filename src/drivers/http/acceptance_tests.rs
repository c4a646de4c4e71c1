//! Client certificates shown to servers in this process.

use rustls::ServerConfig;
use tokio::task::LocalSet;

use super::*;
use crate::drivers::tls::servers::*;
use crate::formats::x509::{
    Certificate, DistinguishedName, KeyAlgorithm, NamePart, NewRoot, PrivateKey, RootLifetime,
    Terms, bridge, new_root, probe_identity, random_serial, reissue, template,
};
use crate::model::{Subject, Timestamp, Usage, days};
use crate::sys::{Clock as _, SystemClock};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNAUTHORIZED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\n\r\n\
    Forbidden (user=kubecertd-probe, verb=get...)";
const ANONYMOUS: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 45\r\n\r\n\
    Forbidden (user=system:anonymous, verb=get..)";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn now() -> Timestamp {
    SystemClock.now()
}

fn terms() -> Terms {
    let (not_before, not_after) = (now().minus(days(1)), now().plus(days(9)));
    Terms { serial: random_serial().unwrap(), not_before, not_after }
}

fn root(name: &str) -> NewRoot {
    let name = DistinguishedName::from_parts(&[(NamePart::CommonName, name)]).unwrap();
    let lifetime = RootLifetime { now: now(), tolerated_skew: days(1), validity: days(100) };
    new_root(&name, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap()
}

fn identity(root: &NewRoot, further: &[Certificate]) -> ClientIdentity {
    let probe = probe_identity(&root.certificate, &root.key, now()).unwrap();
    let chain: Vec<_> = [&probe.certificate].into_iter().chain(further).cloned().collect();
    ClientIdentity::new(&chain, &probe.key).unwrap()
}

fn bridge_of(new: &NewRoot, old: &NewRoot) -> Certificate {
    let der = bridge(&new.certificate, &old.certificate, &old.key, &terms(), now()).unwrap();
    Certificate::from_der(&der).unwrap()
}

/// A server's certificate for the loopback.
fn pair_by(root: &NewRoot) -> Pair {
    let subject = Subject { common_name: "server".to_owned(), organization: None };
    let template = template(&subject, &[Usage::Server], &["127.0.0.1".parse().unwrap()]).unwrap();
    let key = PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap();
    let der = reissue(&template, &root.certificate, &root.key, &key, &terms()).unwrap();
    let key_pem = String::from_utf8(key.to_pem().unwrap().expose().to_vec()).unwrap();
    Pair { certificate: Certificate::from_der(&der).unwrap(), key_pem }
}

async fn ask(address: &str, trust: &Certificate, identity: &ClientIdentity) -> Acceptance {
    let url = format!("https://{address}/healthz");
    let trust = Trust::Authorities(vec![trust.clone()]);
    accepts(Call { url: &url, ..Call::default() }, &trust, identity, LIMIT).await
}

fn no_answer(reason: &str) -> Acceptance {
    Acceptance::NoAnswer(reason.to_owned())
}

#[tokio::test(flavor = "current_thread")]
async fn status_says_whether_client_is_accepted() {
    let (authority, root) = (Authority::new("server"), root("root"));
    let (pair, identity) = (authority.pair(), identity(&root, &[]));
    LocalSet::new()
        .run_until(async {
            let anonymous = "it answers as to a client without a certificate (status 403)";
            for (answer, expected) in [
                (OK, Acceptance::Accepted),
                (FORBIDDEN, Acceptance::Accepted),
                (UNAUTHORIZED, Acceptance::Refused("status 401".to_owned())),
                (ANONYMOUS, no_answer(anonymous)),
                (UNAVAILABLE, no_answer("it answers with status 503")),
            ] {
                for version in VERSIONS {
                    let config =
                        server_with(&pair, &[], version, std::slice::from_ref(&root.certificate));
                    let address = serve(config, answer).await;
                    let found = ask(&address, &authority.certificate(), &identity).await;
                    assert_eq!(found, expected, "{version:?}");
                }
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_that_knows_other_root_alone_refuses() {
    let authority = Authority::new("server");
    let (old, new, same_name) = (root("old"), root("new"), root("old"));
    let refused = |alert: &str| Acceptance::Refused(format!("TLS alert {alert}"));
    LocalSet::new()
        .run_until(async {
            for version in VERSIONS {
                let config =
                    |roots: &[Certificate]| server_with(&authority.pair(), &[], version, roots);
                let ask = async |config: Arc<ServerConfig>, identity: &ClientIdentity| {
                    let address = serve(config, OK).await;
                    ask(&address, &authority.certificate(), identity).await
                };
                let (by_old, by_new) = (identity(&old, &[]), identity(&new, &[]));
                let (both, only) =
                    ([old.certificate.clone(), new.certificate.clone()], [old.certificate.clone()]);
                assert_eq!(ask(config(&both), &by_old).await, Acceptance::Accepted);
                assert_eq!(ask(config(&both), &by_new).await, Acceptance::Accepted);
                assert_eq!(ask(config(&only), &by_old).await, Acceptance::Accepted);
                assert_eq!(ask(config(&only), &by_new).await, refused("UnknownCA"));
                let by_other = identity(&same_name, &[]);
                assert_eq!(ask(config(&only), &by_other).await, refused("DecryptError"));
                let bridged = identity(&new, &[bridge_of(&new, &old)]);
                assert_eq!(ask(config(&only), &bridged).await, Acceptance::Accepted);
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_of_new_root_is_verified_by_old_one_and_its_bridge() {
    let (old, new) = (root("old"), root("new"));
    let bridge = bridge_of(&new, &old);
    let pair = pair_by(&new);
    LocalSet::new()
        .run_until(async {
            let identity = identity(&old, &[]);
            let clients = [old.certificate.clone()];
            let config =
                |further: &[Certificate]| server_with(&pair, further, VERSIONS[1], &clients);
            let bridged = serve(config(&[bridge]), OK).await;
            assert_eq!(ask(&bridged, &old.certificate, &identity).await, Acceptance::Accepted);
            assert_eq!(ask(&bridged, &new.certificate, &identity).await, Acceptance::Accepted);
            let bare = serve(config(&[]), OK).await;
            let found = ask(&bare, &old.certificate, &identity).await;
            assert!(
                matches!(&found, Acceptance::NoAnswer(reason) if reason.contains("not accepted")),
                "{found:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_that_asks_for_no_certificate_proves_nothing() {
    let authority = Authority::new("server");
    let identity = identity(&root("root"), &[]);
    LocalSet::new()
        .run_until(async {
            for answer in [OK, UNAUTHORIZED] {
                let address = serve(server(&authority.pair(), VERSIONS[1], None), answer).await;
                assert_eq!(
                    ask(&address, &authority.certificate(), &identity).await,
                    no_answer("it does not ask for a client certificate")
                );
            }
        })
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_that_is_away_proves_nothing() {
    let authority = Authority::new("server");
    let identity = identity(&root("root"), &[]);
    LocalSet::new()
        .run_until(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            drop(listener);
            assert_eq!(
                ask(&address, &authority.certificate(), &identity).await,
                no_answer("the connection was refused: nothing listens there")
            );
            let silent = accept(async |_stream| std::future::pending().await).await;
            let url = format!("https://{silent}/");
            let call = Call { url: &url, ..Call::default() };
            let limit = Duration::from_millis(100);
            let found = accepts(call, &Trust::AnyCertificate, &identity, limit).await;
            assert!(matches!(found, Acceptance::NoAnswer(_)), "{found:?}");
        })
        .await;
}
