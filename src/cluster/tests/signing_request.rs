//! Requests for kubelet's client certificate, and a controller that approves and signs them.

use super::super::signing_request::request_within;
use super::*;
use crate::formats::x509::{
    Certificate, DistinguishedName, KeyAlgorithm, NamePart, NewRoot, NodeRequest, PrivateKey,
    RootLifetime, Terms, kubelet_template, new_root, random_serial, request,
};
use crate::model::{Timestamp, days};
use crate::sys::Clock as _;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

impl Objects {
    /// The one request, with its path, where there is one.
    fn signing_request(&self) -> Option<(String, Value)> {
        let objects = self.by_path.borrow();
        let mut found = objects.iter().filter(|(path, _)| path.starts_with(REQUESTS));
        let first = found.next().map(|(path, object)| (path.clone(), object.clone()));
        assert_eq!(found.count(), 0, "there is one object at most");
        first
    }

    fn put_status(&self, status: Value) {
        let (path, mut object) = self.signing_request().unwrap();
        object["status"] = status;
        self.put(path, object);
    }

    async fn wait_for_signing_request(&self) -> Value {
        loop {
            if let Some((_, object)) = self.signing_request() {
                return object;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn csr(key: &PrivateKey) -> String {
    request(&kubelet_template("w1").unwrap(), key).unwrap()
}

fn p256() -> PrivateKey {
    PrivateKey::generate(&KeyAlgorithm::EcdsaP256).unwrap()
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn root() -> NewRoot {
    let name = DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes")]).unwrap();
    let lifetime = RootLifetime { now: now(), tolerated_skew: days(1), validity: days(100) };
    new_root(&name, &KeyAlgorithm::EcdsaP256, &lifetime).unwrap()
}

fn signed(csr_pem: &[u8], root: &NewRoot) -> Certificate {
    let terms = Terms {
        serial: random_serial().unwrap(),
        not_before: now().minus(Duration::from_secs(60)),
        not_after: now().plus(days(1)),
    };
    let parsed = NodeRequest::parse(csr_pem, "w1").unwrap();
    parsed.issue(&root.certificate, &root.key, &terms, now()).unwrap()
}

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!([{"type": kind, "status": "True", "reason": reason, "message": message}])
}

/// Requests a certificate while the cluster does this.
async fn request_while(
    cluster: &Cluster,
    csr_pem: &str,
    limit: Duration,
    work: impl AsyncFnOnce(&Objects),
) -> Result<Vec<Certificate>, SigningRequestError> {
    let api = cluster.api().await.unwrap();
    let requested = request_within(&api, csr_pem, "w1", limit);
    tokio::join!(requested, work(&cluster.objects)).0
}

#[tokio::test(flavor = "current_thread")]
async fn approved_request_gives_the_certificate() {
    local(async {
        let (cluster, key, root) = (Cluster::start(&[]).await, p256(), root());
        let csr_pem = csr(&key);
        let found = request_while(&cluster, &csr_pem, LIMIT, async |objects| {
            let object = objects.wait_for_signing_request().await;
            let spec = &object["spec"];
            assert_eq!(spec["signerName"], "kubernetes.io/kube-apiserver-client-kubelet");
            assert_eq!(
                spec["usages"],
                json!(["digital signature", "key encipherment", "client auth"])
            );
            let sent = BASE64_STANDARD.decode(spec["request"].as_str().unwrap()).unwrap();
            assert_eq!(sent, csr_pem.as_bytes());
            assert!(object["metadata"]["name"].as_str().unwrap().starts_with("kubecertd-"));
            objects.put_status(json!({"conditions": condition("Approved", "AutoApproved", "")}));
            sleep(Duration::from_millis(1_100)).await;
            let pem = signed(&sent, &root).to_pem() + &root.certificate.to_pem();
            objects.put_status(json!({"conditions": condition("Approved", "AutoApproved", ""),
                "certificate": BASE64_STANDARD.encode(pem)}));
        })
        .await
        .unwrap();
        let [certificate, further] = <[_; 2]>::try_from(found).unwrap();
        assert!(key.fits(&certificate) && certificate.verifies_by(&root.certificate));
        assert_eq!(further, root.certificate);
        // The same request finds the same object again.
        let again = request_while(&cluster, &csr_pem, LIMIT, async |_| ()).await.unwrap();
        assert_eq!(again, [certificate, further]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn denied_and_failed_requests_are_reported() {
    local(async {
        for (kind, expected) in
            [("Denied", " was denied: Policy: not today"), ("Failed", ": Policy: not today")]
        {
            let cluster = Cluster::start(&[]).await;
            let error = request_while(&cluster, &csr(&p256()), LIMIT, async |objects| {
                objects.wait_for_signing_request().await;
                let conditions = condition(kind, "Policy", "not \u{1b}today");
                objects.put_status(json!({"conditions": conditions}));
            })
            .await
            .unwrap_err();
            let is_kind = match error {
                SigningRequestError::Denied { .. } => kind == "Denied",
                SigningRequestError::Failed { .. } => kind == "Failed",
                _ => false,
            };
            assert!(is_kind, "{error}");
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn request_that_is_not_signed_in_time_says_what_is_missing() {
    local(async {
        let limit = Duration::from_secs(2);
        let cluster = Cluster::start(&[]).await;
        let csr_pem = csr(&p256());
        let error = request_while(&cluster, &csr_pem, limit, async |_| ()).await.unwrap_err();
        let name = cluster.objects.signing_request().unwrap().1["metadata"]["name"].clone();
        let name = name.as_str().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "CertificateSigningRequest {name}: no certificate within 2 s; it is not approved: \
                 `kubectl certificate approve {name}` approves it"
            )
        );
        cluster.objects.put_status(json!({"conditions": condition("Approved", "", "")}));
        let error = request_while(&cluster, &csr_pem, limit, async |_| ()).await.unwrap_err();
        assert!(error.to_string().ends_with("kube-controller-manager has not signed it"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn api_that_is_away_for_moments_is_waited_for() {
    local(async {
        let (cluster, root) = (Cluster::start(&[]).await, root());
        let found = request_while(&cluster, &csr(&p256()), LIMIT, async |objects| {
            objects.refuses.set(Some(503));
            sleep(Duration::from_millis(1_500)).await;
            objects.refuses.set(None);
            let object = objects.wait_for_signing_request().await;
            objects.refuses.set(Some(500));
            let csr_pem = BASE64_STANDARD.decode(object["spec"]["request"].as_str().unwrap());
            let pem = signed(&csr_pem.unwrap(), &root).to_pem();
            objects.put_status(json!({"certificate": BASE64_STANDARD.encode(pem)}));
            sleep(Duration::from_millis(1_500)).await;
            objects.refuses.set(None);
        })
        .await;
        assert_eq!(found.unwrap().len(), 1);
        let limit = Duration::from_secs(1);
        let error = request_while(&cluster, &csr(&p256()), limit, async |objects| {
            objects.refuses.set(Some(503));
        })
        .await
        .unwrap_err();
        assert!(matches!(error, SigningRequestError::NotSigned { .. }), "{error}");
        assert!(error.to_string().contains("no API server answers"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn forbidden_request_is_reported_at_once() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let began = Instant::now();
        let error = request_while(&cluster, &csr(&p256()), LIMIT, async |objects| {
            objects.refuses.set(Some(403));
        })
        .await
        .unwrap_err();
        assert!(
            matches!(error, SigningRequestError::Cluster(ClusterError::Refused { code: 403, .. })),
            "{error}"
        );
        assert!(began.elapsed() < LIMIT / 2);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn certificate_of_another_key_and_junk_are_refused() {
    local(async {
        let (cluster, root, csr_pem) = (Cluster::start(&[]).await, root(), csr(&p256()));
        let other = signed(csr(&p256()).as_bytes(), &root).to_pem();
        let error = request_while(&cluster, &csr_pem, LIMIT, async |objects| {
            objects.wait_for_signing_request().await;
            objects.put_status(json!({"certificate": BASE64_STANDARD.encode(other)}));
        })
        .await
        .unwrap_err();
        assert!(matches!(error, SigningRequestError::OtherKey(_)), "{error}");
        cluster.objects.put_status(json!({"certificate": BASE64_STANDARD.encode("junk")}));
        let error = request_while(&cluster, &csr_pem, LIMIT, async |_| ()).await.unwrap_err();
        assert!(matches!(error, SigningRequestError::Unreadable { .. }), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn request_for_another_node_is_not_sent() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let api = cluster.api().await.unwrap();
        let error = request_kubelet_client(&api, &csr(&p256()), "w2").await.unwrap_err();
        assert!(matches!(error, SigningRequestError::Request(_)), "{error}");
        assert_eq!(cluster.objects.signing_request(), None);
    })
    .await;
}
