//! Checks the health of a service.

use super::limit::QUERY_TIMEOUT;
use crate::drivers::http::{HttpResponse, Trust, get};
use crate::model::Health;

/// The most characters of a response that are shown.
const MAX_SHOWN_CHARS: usize = 200;

/// Requests its health URL, if it has one.
pub(super) async fn ask(url: Option<&str>) -> Health {
    let Some(url) = url else { return Health::NotAsked };
    match get(url, &Trust::AnyCertificate, None, QUERY_TIMEOUT).await {
        Ok(HttpResponse { status: 200, .. }) => Health::Healthy,
        // It answers, and refuses anonymous requests, as with --anonymous-auth=false.
        Ok(HttpResponse { status: 401 | 403, .. }) => Health::NotAsked,
        Ok(answer) => Health::Unhealthy(format!("{url} answers {}", told(&answer))),
        Err(e) => Health::Unhealthy(format!("{url}: {e}")),
    }
}

/// Formats the status and the first line with text.
fn told(answer: &HttpResponse) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect();
    if line.is_empty() { answer.status.to_string() } else { format!("{}: {line}", answer.status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_short_line_of_a_response_is_reported() {
        let told = |body: &str| told(&HttpResponse { status: 503, body: body.as_bytes().to_vec() });
        assert_eq!(told(""), "503");
        assert_eq!(told("\n  \x1b[2Jnot ready\u{7}\r\nmore"), "503: [2Jnot ready");
        assert_eq!(told(&"ä".repeat(1000)), format!("503: {}", "ä".repeat(200)));
    }

    #[tokio::test]
    async fn no_request_is_sent_without_url() {
        assert_eq!(ask(None).await, Health::NotAsked);
        let health = ask(Some("http://127.0.0.1:1/")).await;
        let Health::Unhealthy(text) = health else { panic!("{health:?}") };
        assert!(text.starts_with("http://127.0.0.1:1/: "), "{text}");
    }
}
