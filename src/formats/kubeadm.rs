//! kubeadm's configuration of a cluster, as far as it is about certificates.

mod arguments;
mod documents;
mod expected;

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

pub use self::arguments::{controller_manager_argument, with_controller_manager_arguments};

/// kubeadm's default for `certificateValidityPeriod`.
pub const VALIDITY: Duration = crate::model::days(365);

/// The part of a document that matters here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    kind: String,
    certificate_validity_period: Option<String>,
    ca_certificate_validity_period: Option<String>,
}

/// Returns how long kubeadm's certificates are valid, by a file with a ClusterConfiguration, alone
/// or among other documents.
///
/// # Errors
/// The reason, when there is none or it can't be read.
pub fn certificate_validity(text: &str) -> Result<Duration, String> {
    let found = cluster_configuration(text)?.certificate_validity_period;
    found.map_or(Ok(VALIDITY), |period| stated(&period, "certificateValidityPeriod"))
}

/// Returns how long kubeadm makes CA certificates valid, by the same file; `None` where it does not
/// say so.
///
/// # Errors
/// As [`certificate_validity`].
pub fn ca_certificate_validity(text: &str) -> Result<Option<Duration>, String> {
    let found = cluster_configuration(text)?.ca_certificate_validity_period;
    found.map(|period| stated(&period, "caCertificateValidityPeriod")).transpose()
}

fn cluster_configuration(text: &str) -> Result<Document, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut reader = text.as_bytes();
    for document in serde_saphyr::read_with_options::<_, Document>(&mut reader, options) {
        let document = document.map_err(|e| e.without_snippet().to_string())?;
        if document.kind == "ClusterConfiguration" {
            return Ok(document);
        }
    }
    Err("it holds no ClusterConfiguration".to_owned())
}

fn stated(period: &str, field: &str) -> Result<Duration, String> {
    length(period).ok_or_else(|| format!("{field}: {period:?} is not a duration"))
}

/// A length of time as Go writes it, `720h0m0s`; it is more than nothing.
fn length(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok().filter(|length| !length.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_read_from_the_cluster_configuration() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3_600));
        let init = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
            certificateValidityPeriod: 1h\n---\n";
        let cluster = "kind: ClusterConfiguration\nkubernetesVersion: v1.36.2\n";
        let with = |period: &str| format!("{init}{cluster}certificateValidityPeriod: {period}\n");
        assert_eq!(certificate_validity(&with("720h0m0s")), hours(720));
        assert_eq!(certificate_validity(&with("720h")), hours(720));
        assert_eq!(ca_certificate_validity(&with("720h")), Ok(None));
        let for_ca = format!("{cluster}caCertificateValidityPeriod: 87600h0m0s\n");
        assert_eq!(ca_certificate_validity(&for_ca), hours(87_600).map(Some));
        assert!(ca_certificate_validity(&for_ca.replace("87600h", "soon")).is_err());
        assert_eq!(certificate_validity(cluster), Ok(VALIDITY));
        assert_eq!(
            certificate_validity("{\"kind\": \"ClusterConfiguration\"}"),
            Ok(VALIDITY),
            "it may be JSON"
        );
        for wrong in [init, "", "a: [", &with("soon"), &with("0s"), &with("-5h"), &with("[1]")] {
            assert!(certificate_validity(wrong).is_err(), "{wrong}");
        }
    }
}
