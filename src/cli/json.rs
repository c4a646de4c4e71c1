//! The JSON of `kubecertd check -o json`: kubeadm's CertificateExpirationInfo
//! (output.kubeadm.k8s.io/v1alpha3) with more fields, so that scripts written for it keep working.
//! Certificates that other tools renew are in a list of their own.

use serde::Serialize;

use crate::model::{
    AuthorityCondition, AuthorityFacts, AuthorityJudgement, AuthorityKey, AuthorityState,
    CredentialName, Digest, Material, Renewal, Timestamp, TrustFacts, TrustJudgement, TrustedCa,
};
use crate::observe::Node;
use crate::pass::Survey;
use crate::plan::Judged;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateExpirationInfo<'s> {
    kind: &'static str,
    api_version: &'static str,
    certificates: Vec<Certificate<'s>>,
    certificate_authorities: Vec<Certificate<'s>>,
    watched: Vec<Certificate<'s>>,
    /// Static pods that use a credential and are not restarted when it is renewed.
    consumers: Vec<Consumer<'s>>,
    /// Manifests of control-plane pods that do not say which certificates are used.
    unclear_manifests: Vec<UnclearManifest<'s>>,
    kubeconfigs: Vec<Kubeconfig<'s>>,
}

#[derive(Serialize)]
struct Consumer<'s> {
    pod: &'s str,
    manifest: &'s str,
    container: &'s str,
    credentials: &'s [CredentialName],
}

#[derive(Serialize)]
struct UnclearManifest<'s> {
    file: String,
    reason: &'s str,
}

/// The CA certificates by which a kubeconfig verifies its server.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubeconfig<'s> {
    file: String,
    server: Option<&'s str>,
    state: &'static str,
    reason: &'s str,
    attention: bool,
    expiration_date: Option<String>,
    /// The CA that they are compared with.
    ca_name: &'s str,
    certificate_authorities: Vec<TrustedAuthority<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrustedAuthority<'s> {
    subject: &'s str,
    serial: &'s str,
    not_before: String,
    expiration_date: String,
    sha256: Digest,
    /// Whether the file of the CA holds it.
    in_ca: bool,
    /// Whether the certificate of the API server verifies by it.
    verifies_server: bool,
}

/// Starts with kubeadm's fields, in its order and under its names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate<'s> {
    name: &'s str,
    expiration_date: Option<String>,
    residual_time: i64,
    externally_managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_name: Option<&'s str>,
    missing: bool,
    /// The name that kubecertd uses, where kubeadm's differs.
    credential: &'s str,
    /// The original of a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<&'s str>,
    state: &'static str,
    action: Option<&'static str>,
    reason: &'s str,
    attention: bool,
    /// Names and addresses that are wanted and missing.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing_names: &'s [String],
    file: String,
    #[serde(flatten)]
    details: Option<Details<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'s> {
    subject: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'s str>,
    serial: &'s str,
    not_before: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_algorithm: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'s [String]>,
    sha256: Digest,
}

/// Renders the whole document, with a line end.
pub(super) fn render(node: &Node, survey: &Survey) -> String {
    let (ours, watched): (Vec<_>, Vec<_>) = survey
        .credentials
        .iter()
        .partition(|judged| judged.facts.credential.renewal == Renewal::Ours);
    let info = CertificateExpirationInfo {
        kind: "CertificateExpirationInfo",
        api_version: "output.kubeadm.k8s.io/v1alpha3",
        certificates: listed(ours, survey),
        certificate_authorities: authorities(survey),
        watched: listed(watched, survey),
        consumers: node
            .catalog
            .consumers
            .iter()
            .map(|one| Consumer {
                pod: &one.pod,
                manifest: &one.manifest,
                container: &one.container,
                credentials: &one.uses,
            })
            .collect(),
        unclear_manifests: node
            .unclear
            .iter()
            .map(|one| UnclearManifest { file: one.file.to_string(), reason: &one.reason })
            .collect(),
        kubeconfigs: survey.trust.iter().map(kubeconfig).collect(),
    };
    serde_json::to_string_pretty(&info)
        .map_or_else(|e| format!("{{\"error\": {:?}}}\n", e.to_string()), |json| json + "\n")
}

fn listed<'s>(credentials: Vec<&'s Judged>, survey: &'s Survey) -> Vec<Certificate<'s>> {
    let mut listed: Vec<_> =
        credentials.into_iter().map(|judged| credential(judged, survey)).collect();
    listed.sort_by_key(|one| one.name);
    listed
}

fn authorities<'s>(survey: &'s Survey) -> Vec<Certificate<'s>> {
    let one = |(facts, judgement): &'s (AuthorityFacts, AuthorityJudgement)| {
        authority(facts, judgement, survey.now)
    };
    let mut listed: Vec<_> = survey.authorities.iter().map(one).collect();
    listed.sort_by_key(|one| one.name);
    listed
}

fn kubeconfig<'s>((facts, judgement): &'s (TrustFacts, TrustJudgement)) -> Kubeconfig<'s> {
    let certificates = facts.certificates.as_deref().unwrap_or_default();
    let authority = |one: &'s TrustedCa| {
        let TrustedCa { subject, serial, not_before, not_after, .. } = one;
        TrustedAuthority {
            subject,
            serial,
            not_before: not_before.to_string(),
            expiration_date: not_after.to_string(),
            sha256: one.fingerprint,
            in_ca: one.is_listed,
            verifies_server: one.verifies,
        }
    };
    Kubeconfig {
        file: facts.kubeconfig.to_string(),
        server: facts.server.as_deref(),
        state: judgement.condition.as_str(),
        reason: &judgement.reason,
        attention: judgement.attention,
        expiration_date: judgement.not_after.map(|end| end.to_string()),
        ca_name: facts.authority.as_str(),
        certificate_authorities: certificates.iter().map(authority).collect(),
    }
}

fn credential<'s>(judged: &'s Judged, survey: &'s Survey) -> Certificate<'s> {
    let Judged { facts, authority, judgement } = judged;
    let leaf = facts.material.leaf();
    let entry = &facts.credential;
    Certificate {
        name: entry.kubeadm_name.as_ref().unwrap_or(&entry.name).as_str(),
        expiration_date: leaf.map(|leaf| leaf.not_after.to_string()),
        residual_time: leaf.map_or(0, |leaf| leaf.not_after.seconds_since(survey.now)),
        externally_managed: authority.as_ref().is_some_and(is_external),
        // kubeadm names the CA only where it has read a certificate.
        ca_name: entry.authority.as_ref().filter(|_| leaf.is_some()).map(|name| name.as_str()),
        missing: matches!(facts.material, Material::Absent),
        credential: entry.name.as_str(),
        copy_of: entry.copy_of().map(|of| of.original.as_str()),
        state: judgement.condition.as_str(),
        action: Some(judgement.action.as_str()),
        reason: &judgement.reason,
        attention: judgement.attention,
        missing_names: survey.lacking.get(&entry.name).map_or(&[], Vec::as_slice),
        file: entry.location.certificate_file().to_string(),
        details: leaf.map(|leaf| Details {
            subject: &leaf.subject,
            issuer: Some(&leaf.issuer),
            serial: &leaf.serial,
            not_before: leaf.not_before.to_string(),
            key_algorithm: Some(&leaf.key_algorithm),
            names: Some(&leaf.names),
            sha256: leaf.fingerprint,
        }),
    }
}

fn authority<'s>(
    facts: &'s AuthorityFacts,
    judgement: &'s AuthorityJudgement,
    now: Timestamp,
) -> Certificate<'s> {
    let certificate = facts.state.certificate(now);
    Certificate {
        name: facts.authority.name.as_str(),
        expiration_date: certificate.map(|certificate| certificate.not_after.to_string()),
        residual_time: certificate
            .map_or(0, |certificate| certificate.not_after.seconds_since(now)),
        externally_managed: is_external(facts),
        ca_name: None,
        missing: judgement.condition == AuthorityCondition::Absent,
        credential: facts.authority.name.as_str(),
        copy_of: None,
        state: judgement.condition.as_str(),
        action: None,
        reason: &judgement.reason,
        attention: judgement.attention,
        missing_names: &[],
        file: facts.authority.certificate.to_string(),
        details: certificate.map(|certificate| Details {
            subject: &certificate.subject,
            issuer: None,
            serial: &certificate.serial,
            not_before: certificate.not_before.to_string(),
            key_algorithm: None,
            names: None,
            sha256: certificate.fingerprint,
        }),
    }
}

/// Whether an authority is external as kubeadm defines it: the certificate is on this node, and its
/// key is not.
fn is_external(facts: &AuthorityFacts) -> bool {
    matches!(facts.state, AuthorityState::Present { key: AuthorityKey::Absent, .. })
}
