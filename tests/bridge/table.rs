//! What each verifier accepts. The tests hold it against the programs, and the page against it.

use super::roots::{Case, Kind};

/// A verifier of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verifier {
    Go,
    OpenSsl,
    OpenSslStrict,
    GnuTls,
    Python,
    PythonStrict,
    Rustls,
}

impl Verifier {
    pub const ALL: [Self; 7] = [
        Self::Go,
        Self::OpenSsl,
        Self::OpenSslStrict,
        Self::GnuTls,
        Self::Python,
        Self::PythonStrict,
        Self::Rustls,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "Go, of which Kubernetes is made",
            Self::OpenSsl => "OpenSSL",
            Self::OpenSslStrict => "OpenSSL with `-x509_strict`",
            Self::GnuTls => "GnuTLS",
            Self::Python => "Python's `ssl`",
            Self::PythonStrict => "Python's `ssl` with `VERIFY_X509_STRICT`",
            Self::Rustls => "rustls, which kubecertd uses",
        }
    }

    pub fn is_strict(self) -> bool {
        matches!(self, Self::OpenSslStrict | Self::PythonStrict)
    }
}

/// Whether a verifier accepts a certificate of the new root.
pub fn accepts(verifier: Verifier, kind: Kind, case: Case) -> bool {
    match case {
        Case { knows_old: false, .. } => true,
        Case { with_bridge: false, .. } => false,
        Case { .. } => accepts_bridge(verifier, kind),
    }
}

/// Whether a verifier that knows the old root alone accepts a certificate with the bridge behind
/// it.
fn accepts_bridge(verifier: Verifier, kind: Kind) -> bool {
    match verifier {
        // They try every certificate of the name.
        Verifier::Go | Verifier::Rustls => true,
        // Each CA certificate must have a key identifier.
        _ if verifier.is_strict() => kind.old_has_identifier,
        // Without the identifier, it takes the old root for the issuer.
        _ => kind.old_has_identifier || !kind.has_same_name,
    }
}

/// The table of docs/root-ca.md.
pub fn page_table() -> String {
    let mut table = String::from("| verifier that knows the old root alone |");
    for kind in Kind::ALL {
        let name = if kind.has_same_name { "one name" } else { "two names" };
        let identifier = if kind.old_has_identifier { "with" } else { "without" };
        table += &format!(" {name}, old root {identifier} SKI |");
    }
    table += "\n|---|";
    table += &"---|".repeat(Kind::ALL.len());
    for verifier in Verifier::ALL {
        table += &format!("\n| {} |", verifier.name());
        for kind in Kind::ALL {
            let verdict = if accepts_bridge(verifier, kind) { "accepts" } else { "refuses" };
            table += &format!(" {verdict} |");
        }
    }
    table
}
