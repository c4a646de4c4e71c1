//! Asks a server whether it accepts a client certificate.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, HttpError, HttpResponse, Trust, call_with};
use crate::drivers::tls::{ClientIdentity, ClientResolver};

/// The user that the API server and kubelet take a client for that shows no certificate. They name
/// the user in the answer that forbids a request.
const ANONYMOUS: &[u8] = b"system:anonymous";

/// The reaction of a server to a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It accepts the certificate, whether or not its user may do what was requested.
    Accepted,
    /// It refuses the certificate with this answer.
    Refused(String),
    /// Nothing is known, for this reason.
    NoAnswer(String),
}

/// Makes a request with this identity, and returns whether the server accepts the certificate.
///
/// The API server and kubelet ask for a client certificate in the TLS handshake, judge it when a
/// request arrives, and answer with 401 where they refuse it. Other servers refuse it with an
/// alert. A status of 2xx or 403 is acceptance, unless the server has not asked for a certificate,
/// or takes the client for one without: for the latter to show, the request has to be one that
/// needs authorization, such as `/api` of the API server and `/healthz` of kubelet. Any other
/// status may be that of a proxy, and proves nothing.
///
/// The certificates of the chain behind the identity's own are shown too. To learn whether a server
/// trusts a new root CA itself, its identity has to be without the bridge: with it, a server that
/// trusts the old one alone accepts the certificate.
pub async fn accepts(
    call: Call<'_>,
    trust: &Trust,
    identity: &ClientIdentity,
    limit: Duration,
) -> Acceptance {
    let resolver = Arc::new(ClientResolver::new(Some(identity)));
    let result = call_with(call, trust, resolver.clone(), limit).await;
    if resolver.requested().is_none() && result.is_ok() {
        return Acceptance::NoAnswer("it does not ask for a client certificate".to_owned());
    }
    if let Some(refusal) = refusal(&result) {
        return Acceptance::Refused(refusal);
    }
    match result {
        Ok(HttpResponse { status: 200..=299, .. }) => Acceptance::Accepted,
        Ok(HttpResponse { status: 403, body }) if names_anonymous(&body) => Acceptance::NoAnswer(
            "it answers as to a client without a certificate (status 403)".to_owned(),
        ),
        Ok(HttpResponse { status: 403, .. }) => Acceptance::Accepted,
        Ok(HttpResponse { status, .. }) => {
            Acceptance::NoAnswer(format!("it answers with status {status}"))
        }
        Err(error) => Acceptance::NoAnswer(error.to_string()),
    }
}

/// The answer with which a server refused the client certificate; `None` where it did not.
#[must_use]
pub fn refusal(result: &Result<HttpResponse, HttpError>) -> Option<String> {
    match result {
        Ok(HttpResponse { status: status @ 401, .. }) => Some(format!("status {status}")),
        Err(HttpError::CertificateRefused(alert)) => Some(format!("TLS alert {alert:?}")),
        _ => None,
    }
}

fn names_anonymous(body: &[u8]) -> bool {
    body.windows(ANONYMOUS.len()).any(|window| window == ANONYMOUS)
}

#[cfg(test)]
#[path = "acceptance_tests.rs"]
mod tests;
