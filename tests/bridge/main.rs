//! Which TLS clients and servers accept a certificate of a new root CA with the bridge behind it:
//! those that know the old root alone, and those that know the new one alone. The verifiers are
//! Go, OpenSSL, GnuTLS, Python's ssl and rustls; the programs of Kubernetes are in tests/node.
//!
//! `docs/root-ca.md` prints the table; a test holds the page and the expectations together.
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

#[path = "../common"]
mod common {
    pub mod requirements;
}
mod clients;
mod programs;
mod roots;
mod servers;
mod table;

use kubecertd::formats::x509::{BridgeError, bridge};

use common::requirements::require;
use roots::{Case, Pair, now, pairs, terms};
use table::{Verifier, accepts, page_table};

#[test]
fn table_of_verifiers_is_the_one_in_the_docs() {
    let table = page_table();
    let page = include_str!("../../docs/root-ca.md");
    assert!(page.contains(&table), "docs/root-ca.md does not hold this table:\n\n{table}\n");
}

/// Where the table says that OpenSSL takes one root for the other, no bridge is made.
#[test]
fn bridge_is_made_unless_openssl_takes_one_root_for_the_other() {
    for pair in pairs().iter() {
        let made = bridge(&pair.new.certificate, &pair.old, &pair.old_key, &terms(), now());
        let by_openssl = accepts(Verifier::OpenSsl, pair.kind, Case::CONNECTING);
        match made {
            Ok(_) => assert!(by_openssl, "{pair}"),
            Err(error) => {
                assert!(matches!(error, BridgeError::SameName(_)), "{error:?}");
                assert!(!by_openssl, "{pair}");
            }
        }
    }
}

#[test]
fn clients_accept_servers_as_the_table_says() {
    require!("openssl", "gnutls-cli", "python3", "go");
    let pairs = pairs();
    assert_all(&pairs, clients::verdicts(&pairs), "as a client of");
}

#[test]
fn servers_accept_clients_as_the_table_says() {
    require!("openssl", "gnutls-serv", "python3", "go");
    let pairs = pairs();
    assert_all(&pairs, servers::verdicts(&pairs), "as a server of");
}

/// A verifier, a pair of roots by its place in the list, a case, and whether it was accepted.
type Verdict = (Verifier, usize, Case, bool);

fn assert_all(pairs: &[Pair], verdicts: Vec<Verdict>, role: &str) {
    assert_eq!(verdicts.len(), Verifier::ALL.len() * pairs.len() * Case::ALL.len());
    let wrong: Vec<_> = verdicts
        .into_iter()
        .filter(|(verifier, at, case, accepted)| {
            *accepted != accepts(*verifier, pairs[*at].kind, *case)
        })
        .map(|(verifier, at, case, accepted)| {
            let verdict = if accepted { "accepts" } else { "refuses" };
            format!("{} {verdict}, {role} {case} of {}", verifier.name(), pairs[at])
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
