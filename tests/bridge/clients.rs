//! Clients that verify a server, which is in this process.

use kubecertd::drivers::http::{HttpError, Trust, get};
use kubecertd::drivers::tls::ProbeError;
use kubecertd::formats::x509::Certificate;

use super::Verdict;
use super::programs::{Helper, LIMIT, accepted, in_parallel, limited};
use super::roots::{Case, Pair};
use super::servers::TlsServer;
use super::table::Verifier;

/// The verdict of each verifier on each server.
pub fn verdicts(pairs: &[Pair]) -> Vec<Verdict> {
    let servers: Vec<_> = pairs
        .iter()
        .flat_map(|pair| {
            [false, true].map(|with_bridge| {
                TlsServer::start(&pair.chain(&pair.server, with_bridge), &pair.server.key, None)
            })
        })
        .collect();
    let asked: Vec<_> = (0..pairs.len())
        .flat_map(|at| Case::ALL.map(|case| (at, case)))
        .map(|(at, case)| (at, case, servers[2 * at + usize::from(case.with_bridge)].port))
        .collect();
    let mut all = Vec::new();
    for verifier in Verifier::ALL {
        let found = match verifier {
            Verifier::OpenSsl | Verifier::OpenSslStrict => {
                in_parallel(&asked, |(at, case, port)| {
                    openssl(&pairs[*at], *case, *port, verifier.is_strict())
                })
            }
            Verifier::GnuTls => {
                in_parallel(&asked, |(at, case, port)| gnutls(&pairs[*at], *case, *port))
            }
            Verifier::Go | Verifier::Python | Verifier::PythonStrict => {
                let known = asked.iter().map(|(at, case, _)| pairs[*at].files.known(*case));
                let asked: Vec<_> = known.zip(asked.iter().map(|(.., port)| port)).collect();
                Helper::start(verifier, "asked", &asked).answer()
            }
            Verifier::Rustls => asked
                .iter()
                .map(|(at, case, port)| rustls(pairs[*at].known(*case), *port))
                .collect(),
        };
        let with_case = asked.iter().zip(found);
        all.extend(with_case.map(|((at, case, _), accepted)| (verifier, *at, *case, accepted)));
    }
    all
}

/// The handshake; and `openssl verify`, which has to say the same.
fn openssl(pair: &Pair, case: Case, port: u16, is_strict: bool) -> bool {
    let strict = is_strict.then_some("-x509_strict");
    let mut client = limited("openssl");
    client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-brief"]);
    client.args(["-verify_return_error", "-verify_ip", "127.0.0.1"]).args(strict);
    client.args(["-no-CApath", "-no-CAstore", "-CAfile"]).arg(pair.files.known(case));
    let connects = accepted(&client.output().unwrap(), "verify error");
    let verified = openssl_verifies(pair, case, "server.crt", "sslserver", strict);
    assert_eq!(connects, verified, "{case} of {pair}: s_client and verify");
    connects
}

/// Whether `openssl verify` accepts a certificate.
pub fn openssl_verifies(
    pair: &Pair,
    case: Case,
    leaf: &str,
    purpose: &str,
    strict: Option<&str>,
) -> bool {
    let mut verify = limited("openssl");
    verify.args(["verify", "-purpose", purpose, "-no-CApath", "-no-CAstore"]).args(strict);
    verify.arg("-CAfile").arg(pair.files.known(case));
    if case.with_bridge {
        verify.arg("-untrusted").arg(pair.files.path("bridge.crt"));
    }
    accepted(&verify.arg(pair.files.path(leaf)).output().unwrap(), "verification failed")
}

fn gnutls(pair: &Pair, case: Case, port: u16) -> bool {
    let mut client = limited("gnutls-cli");
    client.arg("--x509cafile").arg(pair.files.known(case));
    client.args(["--port", &port.to_string(), "127.0.0.1"]);
    accepted(&client.output().unwrap(), "The certificate is NOT trusted")
}

fn rustls(known: &Certificate, port: u16) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let trust = Trust::Authorities(vec![known.clone()]);
    match runtime.block_on(get(&format!("https://127.0.0.1:{port}/"), &trust, None, LIMIT)) {
        Ok(answer) => answer.status == 200,
        Err(HttpError::Connection(ProbeError::NotAccepted(_))) => false,
        Err(error) => panic!("no verdict: {error:?}"),
    }
}
