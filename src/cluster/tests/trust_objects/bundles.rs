//! The bundles of webhooks, API services and conversions.

use super::*;
use crate::model::TrustedRoots;

const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn webhooks(bundles: &[&str]) -> Value {
    let webhook = |(index, bundle): (usize, &&str)| {
        let service = json!({"name": "hook", "namespace": "a"});
        let config = json!({"caBundle": bundle, "service": service});
        json!({"name": format!("h{index}.example.org"), "clientConfig": config})
    };
    json!({"webhooks": bundles.iter().enumerate().map(webhook).collect::<Vec<_>>()})
}

fn conversion(bundle: &str) -> Value {
    let webhook = json!({"clientConfig": {"caBundle": bundle}, "conversionReviewVersions": ["v1"]});
    json!({"spec": {"group": "example.org",
        "conversion": {"strategy": "Webhook", "webhook": webhook}}})
}

/// The objects and fields of the reports, and what was found.
fn shown(reports: &[TrustReport]) -> Vec<(&str, Option<(TrustedRoots, TrustStatus)>)> {
    let finding = |report: &TrustReport| {
        report.result.as_ref().ok().map(|state| (state.trusts, state.status))
    };
    reports.iter().map(|report| (report.object.as_str(), finding(report))).collect()
}

/// All four kinds, and objects that are not the rotation's.
fn put_all(cluster: &Cluster, roots: &Roots) {
    let put = |kind: &str, name: &str, object: Value| {
        cluster.objects.put_at(&format!("{kind}/{name}"), object);
    };
    let [o, xo, x] = ["o", "xo", "x"].map(|names| roots.base64(names));
    put(VALIDATING, "v", webhooks(&[&x, &xo, "Cg==", "", &o]));
    put(VALIDATING, "none", json!({}));
    put(VALIDATING, "others", webhooks(&[&x]));
    put(MUTATING, "m", webhooks(&[&o]));
    put(SERVICES, "v1.example.org", json!({"spec": {"caBundle": o, "service": {"name": "s"}}}));
    put(SERVICES, "v1.", json!({"spec": {"group": ""}}));
    put(DEFINITIONS, "a.example.org", conversion(&o));
    put(DEFINITIONS, "b.example.org", json!({"spec": {"conversion": {"strategy": "None"}}}));
}

const VALIDATING_1: &str = "ValidatingWebhookConfiguration v: webhooks/1/clientConfig/caBundle";
const VALIDATING_4: &str = "ValidatingWebhookConfiguration v: webhooks/4/clientConfig/caBundle";
const MUTATING_0: &str = "MutatingWebhookConfiguration m: webhooks/0/clientConfig/caBundle";
const SERVICE: &str = "APIService v1.example.org: spec/caBundle";
const DEFINITION: &str =
    "CustomResourceDefinition a.example.org: spec/conversion/webhook/clientConfig/caBundle";

const ALL: [&str; 5] = [VALIDATING_1, VALIDATING_4, MUTATING_0, SERVICE, DEFINITION];

#[tokio::test(flavor = "current_thread")]
async fn only_bundles_with_a_root_change_and_once() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        put_all(&cluster, &roots);
        let others = || {
            [VALIDATING, SERVICES, DEFINITIONS].map(|kind| {
                let name = match kind {
                    VALIDATING => "others",
                    SERVICES => "v1.",
                    _ => "b.example.org",
                };
                cluster.objects.at(&format!("{kind}/{name}")).unwrap()
            })
        };
        let (writes, before) = (cluster.objects.writes(), others());
        let found = api.observe_ca_bundles(&change).await;
        let all = |trusts, status| ALL.map(|object| (object, Some((trusts, status)))).to_vec();
        assert_eq!(shown(&found), all(TrustedRoots::Old, TrustStatus::Outdated));
        assert_eq!(cluster.objects.writes(), writes, "nothing is written");
        let found = api.update_ca_bundles(&change).await;
        assert_eq!(shown(&found), all(TrustedRoots::Both, TrustStatus::Written));
        assert_eq!(cluster.objects.writes(), writes + 5);
        let [on, xon, x] = ["on", "xon", "x"].map(|names| roots.base64(names));
        let at = |path: String| cluster.objects.at(&path).unwrap();
        let expected = webhooks(&[&x, &xon, "Cg==", "", &on])["webhooks"].clone();
        assert_eq!(at(format!("{VALIDATING}/v"))["webhooks"], expected);
        assert_eq!(at(format!("{MUTATING}/m"))["webhooks"], webhooks(&[&on])["webhooks"]);
        let service = json!({"caBundle": on, "service": {"name": "s"}});
        assert_eq!(at(format!("{SERVICES}/v1.example.org"))["spec"], service);
        let definition = at(format!("{DEFINITIONS}/a.example.org"));
        assert_eq!(definition["spec"], conversion(&on)["spec"]);
        assert_eq!(others(), before);
        let found = api.update_ca_bundles(&change).await;
        assert_eq!(shown(&found), all(TrustedRoots::Both, TrustStatus::Current));
        assert_eq!(cluster.objects.writes(), writes + 5, "nothing is written twice");
        let found = api.update_ca_bundles(&roots.change(CaFile::New)).await;
        assert_eq!(shown(&found), all(TrustedRoots::New, TrustStatus::Written));
        let expected = webhooks(&[&roots.base64("n")])["webhooks"].clone();
        assert_eq!(at(format!("{MUTATING}/m"))["webhooks"], expected);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn failure_of_one_object_or_kind_stops_no_other() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        put_all(&cluster, &roots);
        let damaged = BASE64_STANDARD.encode("-----BEGIN CERTIFICATE-----\nAAAA\n");
        cluster.objects.put_at(&format!("{MUTATING}/a"), webhooks(&[&damaged, "%%%"]));
        cluster.objects.refuse(SERVICES, 403);
        let mut others = webhooks(&[&roots.base64("x"), &roots.base64("ox")]);
        others["metadata"] = json!({});
        cluster.objects.before_write(move |objects| {
            objects.put_at(&format!("{VALIDATING}/v"), others);
        });
        let found = api.update_ca_bundles(&change).await;
        let written = Some((TrustedRoots::Both, TrustStatus::Written));
        let expected = [
            (VALIDATING_1, None),
            (VALIDATING_4, None),
            ("MutatingWebhookConfiguration a: webhooks/0/clientConfig/caBundle", None),
            ("MutatingWebhookConfiguration a: webhooks/1/clientConfig/caBundle", None),
            (MUTATING_0, written),
            ("APIService", None),
            (DEFINITION, written),
        ];
        assert_eq!(shown(&found), expected);
        let errors: Vec<_> = found.iter().filter_map(|one| one.result.as_ref().err()).collect();
        assert_eq!(*errors[0], ObjectError::Changed(VALIDATING_1.to_owned()));
        assert_eq!(*errors[1], ObjectError::Changed(VALIDATING_4.to_owned()));
        assert!(errors[2].to_string().contains("has no end"), "{}", errors[2]);
        assert!(errors[3].to_string().ends_with("can't be used: it is not base64"));
        assert!(errors[4].to_string().contains("status 403"), "{}", errors[4]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn refused_patch_is_no_changed_object() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        let path = format!("{MUTATING}/m");
        cluster.objects.put_at(&path, webhooks(&[&roots.base64("o")]));
        // An admission plug-in that has the status of a failed test.
        for code in [422, 403] {
            cluster.objects.refuse_writes.set(Some(code));
            let found = api.update_ca_bundles(&change).await;
            let error = found[0].result.as_ref().unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(MUTATING_0), "{text}");
            assert!(text.contains(&format!("status {code}")), "{text}");
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn owner_that_reverts_a_bundle_is_named() {
    local(async {
        let (cluster, roots) = (Cluster::start(&[]).await, Roots::make());
        let (api, change) = (cluster.api().await.unwrap(), roots.change(CaFile::OldNew));
        let path = format!("{MUTATING}/m");
        let record = |manager: &str, time: &str, key: &str| {
            let fields = json!({"f:webhooks": {key: {"f:clientConfig": {"f:caBundle": {}}}}});
            json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields})
        };
        let key = r#"k:{"name":"h0.example.org"}"#;
        let put = |records: Value| {
            let mut object = webhooks(&[&roots.base64("o")]);
            object["metadata"] = json!({"managedFields": records});
            cluster.objects.put_at(&path, object);
        };
        put(json!([
            record("kubecertd", "2026-01-01T00:00:00Z", key),
            record("cainjector", "2026-01-02T00:00:00Z", key),
            record("other", "2026-01-03T00:00:00Z", r#"k:{"name":"h1.example.org"}"#),
        ]));
        let found = api.observe_ca_bundles(&change).await;
        let state = found[0].result.clone().unwrap();
        assert_eq!(state.status, TrustStatus::Outdated);
        assert_eq!(state.last_writer.as_deref(), Some("cainjector"));
        put(json!([]));
        let found = api.update_ca_bundles(&change).await;
        assert_eq!(found[0].result.clone().unwrap().last_writer, None);
    })
    .await;
}
