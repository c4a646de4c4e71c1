//! The metrics of certificates, with the names and labels of x509-certificate-exporter for files
//! and kubeconfigs, and a few more.

use x509_parser::num_bigint::BigUint;

use super::format::{Family, Labels, Sample, Value};
use crate::model::{
    AbsolutePath, AuthorityState, Location, Material, NameParts, Renewal, Timestamp,
};
use crate::pass::Survey;
use crate::plan::Judged;

/// A certificate of the survey.
struct Found {
    labels: Labels,
    not_before: Timestamp,
    not_after: Timestamp,
}

pub(super) fn families(survey: &Survey, now: Timestamp) -> Vec<Family> {
    let authorities = survey.authorities.iter().filter_map(|(facts, _)| {
        let certificate = facts.state.certificate(now)?;
        let own =
            vec![("kind", "authority".to_owned()), ("name", facts.authority.name.to_string())];
        let place = place(&facts.authority.certificate);
        let labels = [own, place, issued(&certificate.serial, &certificate.parts)].concat();
        Some(Found { labels, not_before: certificate.not_before, not_after: certificate.not_after })
    });
    let found: Vec<Found> =
        authorities.chain(survey.credentials.iter().filter_map(credential)).collect();
    let each = |value: &dyn Fn(&Found) -> Value| {
        found.iter().map(|one| Sample { labels: one.labels.clone(), value: value(one) }).collect()
    };
    let unreadable = i64::try_from(unreadable(survey)).unwrap_or(i64::MAX);
    vec![
        Family::gauge(
            "x509_cert_not_after",
            "The last second of the certificate's validity.",
            each(&|one| Value::Whole(one.not_after.seconds())),
        ),
        Family::gauge(
            "x509_cert_not_before",
            "The first second of the certificate's validity.",
            each(&|one| Value::Whole(one.not_before.seconds())),
        ),
        Family::gauge(
            "x509_cert_expired",
            "Whether the certificate is expired.",
            each(&|one| Value::flag(one.not_after < now)),
        ),
        Family::gauge(
            "x509_read_errors",
            "How many certificates can't be read.",
            vec![Sample::alone(Value::Whole(unreadable))],
        ),
    ]
}

fn credential(judged: &Judged) -> Option<Found> {
    let credential = &judged.facts.credential;
    let leaf = judged.facts.material.leaf()?;
    let renewed_by = match &credential.renewal {
        Renewal::Ours => "kubecertd",
        Renewal::Kubelet => "kubelet",
        Renewal::Elsewhere => "elsewhere",
        Renewal::Operator(_) => "operator",
        Renewal::Copy(_) => "copy",
    };
    let own = vec![
        ("kind", "credential".to_owned()),
        ("name", credential.name.to_string()),
        ("renewed_by", renewed_by.to_owned()),
    ];
    let embedded = match (&credential.location, &judged.facts.user) {
        (Location::Kubeconfig(_) | Location::KubeconfigUser { .. }, Some(user)) => {
            vec![("embedded_kind", "user".to_owned()), ("embedded_key", user.clone())]
        }
        _ => Vec::new(),
    };
    let place = place(credential.location.certificate_file());
    let labels = [own, place, embedded, issued(&leaf.serial, &leaf.parts)].concat();
    Some(Found { labels, not_before: leaf.not_before, not_after: leaf.not_after })
}

fn place(file: &AbsolutePath) -> Labels {
    let name = file.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    vec![("filename", name), ("filepath", file.to_string())]
}

fn issued(serial: &str, parts: &NameParts) -> Labels {
    // In the decimal form that Go shows.
    let serial = BigUint::parse_bytes(serial.as_bytes(), 16)
        .map(|number| ("serial_number", number.to_string()));
    let issuer =
        parts.issuer.iter().filter_map(|(kind, part)| Some((issuer_label(kind)?, part.clone())));
    let subject =
        parts.subject.iter().filter_map(|(kind, part)| Some((subject_label(kind)?, part.clone())));
    serial.into_iter().chain(issuer).chain(subject).filter(|(_, value)| !value.is_empty()).collect()
}

fn issuer_label(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "C" => "issuer_C",
        "ST" => "issuer_ST",
        "L" => "issuer_L",
        "O" => "issuer_O",
        "OU" => "issuer_OU",
        "CN" => "issuer_CN",
        _ => return None,
    })
}

fn subject_label(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "C" => "subject_C",
        "ST" => "subject_ST",
        "L" => "subject_L",
        "O" => "subject_O",
        "OU" => "subject_OU",
        "CN" => "subject_CN",
        _ => return None,
    })
}

fn unreadable(survey: &Survey) -> usize {
    // A copy may be changed by users, and has an alarm of its own.
    let credentials = survey.credentials.iter().filter(|judged| {
        matches!(judged.facts.material, Material::Unreadable(_) | Material::Damaged(_))
            && judged.facts.credential.copy_of().is_none()
    });
    let authorities = survey
        .authorities
        .iter()
        .filter(|(facts, _)| matches!(facts.state, AuthorityState::Unreadable(_)));
    credentials.count() + authorities.count()
}
