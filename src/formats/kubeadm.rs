//! kubeadm's configuration of a cluster, as far as it is about certificates.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::Deserialize;

/// kubeadm's default for `certificateValidityPeriod`.
pub const VALIDITY: Duration = crate::model::days(365);

/// The part of a document that matters here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    kind: String,
    certificate_validity_period: Option<String>,
}

/// Returns how long kubeadm's certificates are valid, by a file with a ClusterConfiguration, alone
/// or among other documents.
///
/// # Errors
/// The reason, when there is none or it can't be read.
pub fn certificate_validity(text: &str) -> Result<Duration, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut reader = text.as_bytes();
    for document in serde_saphyr::read_with_options::<_, Document>(&mut reader, options) {
        let document = document.map_err(|e| e.without_snippet().to_string())?;
        if document.kind != "ClusterConfiguration" {
            continue;
        }
        let Some(period) = document.certificate_validity_period else { return Ok(VALIDITY) };
        return length(&period)
            .ok_or_else(|| format!("certificateValidityPeriod: {period:?} is not a duration"));
    }
    Err("it holds no ClusterConfiguration".to_owned())
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
