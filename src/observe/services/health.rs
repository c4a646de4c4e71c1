//! How a service says that it is.

use super::LIMIT;
use crate::drivers::http::{Answer, Trust, get};
use crate::model::Health;

/// As much of an answer as is shown.
const SHOWN: usize = 200;

/// Asks at its URL, if there is one.
pub(super) async fn ask(url: Option<&str>) -> Health {
    let Some(url) = url else { return Health::NotAsked };
    match get(url, &Trust::AnyCertificate, None, LIMIT).await {
        Ok(Answer { status: 200, .. }) => Health::Healthy,
        // It answers, and lets nobody ask who is not known to it, as with --anonymous-auth=false.
        Ok(Answer { status: 401 | 403, .. }) => Health::NotAsked,
        Ok(answer) => Health::Unhealthy(format!("{url} answers {}", told(&answer))),
        Err(e) => Health::Unhealthy(format!("{url}: {e}")),
    }
}

/// The status and the first line that says something.
fn told(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if line.is_empty() { answer.status.to_string() } else { format!("{}: {line}", answer.status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_short_line_of_a_response_is_reported() {
        let told = |body: &str| told(&Answer { status: 503, body: body.as_bytes().to_vec() });
        assert_eq!(told(""), "503");
        assert_eq!(told("\n  \x1b[2Jnot ready\u{7}\r\nmore"), "503: [2Jnot ready");
        assert_eq!(told(&"ä".repeat(1000)), format!("503: {}", "ä".repeat(200)));
    }

    #[tokio::test]
    async fn no_request_is_sent_without_url() {
        assert_eq!(ask(None).await, Health::NotAsked);
        assert!(
            matches!(ask(Some("http://127.0.0.1:1/")).await, Health::Unhealthy(text) if text.starts_with("http://127.0.0.1:1/: "))
        );
    }
}
