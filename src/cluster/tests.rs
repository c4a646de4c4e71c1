//! Tests with an API server in this process that keeps Leases as the real one does: a write of an
//! object that has changed since it was read is refused. Lists are read page by page.

mod nodes;
mod objects;
mod rotation;
mod signing_request;
mod trust_objects;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, DATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::drivers::tls::servers::{Authority, VERSIONS, server as tls_server};
use crate::model::{
    AbsolutePath, Credential, CredentialName, LeaseState, Location, Need, Renewal, Urgency,
};
use crate::plan::{Go, Stake, TakeTurn, TurnAnswer, TurnFacts, TurnStep};
use crate::sys::{Root, SystemClock};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const RESTART: &str = "kubecertd-restart";

/// The objects of a cluster, by their paths.
#[derive(Default)]
pub(crate) struct Objects {
    by_path: RefCell<BTreeMap<String, Value>>,
    version: Cell<u64>,
    /// The status of every answer, where it is not left to the objects.
    pub(crate) refuses: Cell<Option<u16>>,
    /// The time of the server, where it is not the real one.
    pub(crate) date: Cell<Option<&'static str>>,
    /// The header by which the last request logged in.
    authorization: RefCell<Option<String>>,
    /// The status of every answer about paths that begin so.
    refused: RefCell<Option<(String, u16)>>,
    /// The status of every answer to a write.
    pub(crate) refuse_writes: Cell<Option<u16>>,
    /// What another client does before the next write.
    before_write: RefCell<Option<objects::OtherWrite>>,
}

impl Objects {
    fn put(&self, path: String, mut object: Value) -> Value {
        self.version.set(self.version.get() + 1);
        object["metadata"]["resourceVersion"] = json!(self.version.get().to_string());
        self.by_path.borrow_mut().insert(path, object.clone());
        object
    }

    fn put_lease(&self, name: &str, holder: Option<&str>, seconds: u64) {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds});
        let metadata = json!({"name": name, "namespace": "kube-system"});
        self.put(format!("{LEASES}/{name}"), json!({"metadata": metadata, "spec": spec}));
    }

    fn holder(&self) -> Option<String> {
        let objects = self.by_path.borrow();
        let lease = objects.get(&format!("{LEASES}/{RESTART}"))?;
        Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> (u16, Value) {
        let path = uri.path();
        if let Some(code) = self.refuses.get().or_else(|| self.refused_at(path)) {
            return failed(code, "Forbidden");
        }
        if *method != Method::GET {
            self.write_of_other();
            if let Some(code) = self.refuse_writes.get() {
                return failed(code, "Invalid");
            }
        }
        let found = self.by_path.borrow().get(path).cloned();
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match (method.as_str(), found) {
            ("GET", Some(object)) => (200, object),
            ("GET", None) if uri.query().is_some_and(|query| query.contains("limit=")) => {
                (200, self.list(path, uri.query()))
            }
            ("PATCH", Some(found)) => self.patch(path, found, body),
            ("DELETE", Some(found)) => self.delete(path, &found, body),
            ("GET" | "PUT" | "PATCH" | "DELETE", None) => failed(404, "NotFound"),
            ("PUT", Some(found)) => {
                let object: Value = serde_json::from_slice(body).unwrap();
                if object["roleRef"] != found["roleRef"] {
                    // The role of a binding can't be changed.
                    failed(422, "Invalid")
                } else if version(&object) == version(&found) {
                    (200, self.put(path.to_owned(), object))
                } else {
                    failed(409, "Conflict")
                }
            }
            ("POST", _) => {
                let object: Value = serde_json::from_slice(body).unwrap();
                let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                if self.by_path.borrow().contains_key(&path) {
                    return failed(409, "AlreadyExists");
                }
                (201, self.put(path, object))
            }
            _ => failed(405, "MethodNotAllowed"),
        }
    }
}

fn failed(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("it says {reason}");
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message});
    (code, status)
}

/// A cluster with one API server that runs.
pub(crate) struct Cluster {
    pub(crate) objects: Rc<Objects>,
    url: String,
    authority: Authority,
}

impl Cluster {
    /// Starts it; `others` are the addresses of its other API servers, at port 1.
    pub(crate) async fn start(others: &[&str]) -> Self {
        let authority = Authority::new("ca");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let objects = Rc::new(Objects::default());
        let addresses: Vec<_> = others.iter().map(|ip| json!({"ip": ip})).collect();
        let subsets = json!([{"addresses": addresses, "ports": [{"port": 1}]}]);
        let endpoints = json!({"metadata": {"name": "kubernetes"}, "subsets": subsets});
        objects.put("/api/v1/namespaces/default/endpoints/kubernetes".to_owned(), endpoints);
        let tls = TlsAcceptor::from(tls_server(&authority.pair(), VERSIONS[1], None));
        let served = Rc::clone(&objects);
        spawn_local(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                let (tls, objects) = (tls.clone(), Rc::clone(&served));
                spawn_local(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let respond = service_fn(|request| respond(Rc::clone(&objects), request));
                    let stream = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(stream, respond).await;
                });
            }
        });
        Self { objects, url, authority }
    }

    /// A kubeconfig with this cluster's server, and another authority.
    fn kubeconfig(&self, file: &Path, authority: &Authority) -> String {
        let data = BASE64_STANDARD.encode(authority.certificate().to_pem());
        let line = |line: &str| match line.trim_start().split_once(": ") {
            Some(("server", _)) => format!("    server: {}", self.url),
            Some(("certificate-authority-data", _)) => {
                format!("    certificate-authority-data: {data}")
            }
            _ => line.to_owned(),
        };
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Makes a kubeconfig lead to this cluster.
    pub(crate) fn adopt(&self, file: &Path) {
        std::fs::write(file, self.kubeconfig(file, &self.authority)).unwrap();
    }

    fn credential(&self, dir: &Path, authority: &Authority) -> (Root, Credential) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/admin.conf");
        let text = self.kubeconfig(&fixture, authority);
        std::fs::write(dir.join("admin.conf"), text).unwrap();
        (Root::open(dir).unwrap(), admin())
    }

    async fn api(&self) -> Result<ClusterApi, ClusterError> {
        let dir = tempfile::tempdir().unwrap();
        let (root, credential) = self.credential(dir.path(), &self.authority);
        ClusterApi::open(&root, &credential, None).await
    }

    async fn lease_of(&self, node: &str) -> RestartLease<'static> {
        RestartLease::new(self.api().await.unwrap(), node.to_owned(), &SystemClock)
    }
}

fn admin() -> Credential {
    Credential {
        name: CredentialName::new("admin.conf").unwrap(),
        kubeadm_name: None,
        location: Location::Kubeconfig(AbsolutePath::constant("/admin.conf")),
        authority: None,
        renewal: Renewal::Ours,
        need: Need::Optional,
    }
}

async fn respond(
    objects: Rc<Objects>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    *objects.authorization.borrow_mut() = authorization.map(str::to_owned);
    let (status, answer) = objects.answer(&parts.method, &parts.uri, &body);
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    if let Some(date) = objects.date.get() {
        response.headers_mut().insert(DATE, date.parse().unwrap());
    }
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

pub(crate) async fn local<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(work).await
}

/// Takes the Lease as a node does whose component is the leader, or not. Returns the nodes that it
/// waited for.
async fn acquire(lease: &RestartLease<'_>, node: &str, is_leader: bool) -> Vec<String> {
    let facts = TurnFacts {
        node,
        stake: Stake::Leader { is_leader },
        urgency: Urgency::Due,
        members: 3,
        rank: 0,
        without_lease: Duration::ZERO,
        is_api_away: false,
    };
    let (began, mut holders) = (Instant::now(), Vec::new());
    let mut turn = TakeTurn::new(facts, began.elapsed());
    let mut answer = TurnAnswer::Ready;
    loop {
        answer = match turn.next(answer, began.elapsed()) {
            TurnStep::ReadLease => lease.look().await,
            TurnStep::TakeLease => lease.take().await,
            TurnStep::Pause(time, holder) => {
                holders.extend(holder);
                sleep(time).await;
                TurnAnswer::Ready
            }
            TurnStep::Go(Go::Leased) => return holders,
            other => panic!("{other:?}"),
        };
    }
}

#[tokio::test(flavor = "current_thread")]
async fn lease_is_taken_and_released() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let lease = cluster.lease_of("one").await;
        for _ in 0..2 {
            acquire(&lease, "one", false).await;
            assert_eq!(cluster.objects.holder().as_deref(), Some("one"));
            lease.ensure().await.unwrap();
            lease.renew_if_held().await;
            assert!(lease.is_held().await);
            lease.release().await;
            assert_eq!(cluster.objects.holder(), None);
            assert!(!lease.is_held().await);
        }
        assert_eq!(
            lease.ensure().await,
            Err(LeaseError::Lost("kube-system/kubecertd-restart".to_owned()))
        );
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn one_node_at_a_time_holds_the_lease() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let inside = Cell::new(0);
        let turn = async |node: &str| {
            let lease = cluster.lease_of(node).await;
            for _ in 0..2 {
                acquire(&lease, node, false).await;
                inside.set(inside.get() + 1);
                for _ in 0..20 {
                    yield_now().await;
                    assert_eq!(inside.get(), 1, "{node} is not alone");
                }
                inside.set(inside.get() - 1);
                lease.release().await;
            }
        };
        tokio::join!(turn("one"), turn("two"), turn("three"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn lease_of_dead_node_is_taken_once_it_expired() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        cluster.objects.put_lease(RESTART, Some("dead"), 1);
        let lease = cluster.lease_of("one").await;
        assert_eq!(acquire(&lease, "one", false).await, ["dead"], "it is waited for first");
        assert_eq!(cluster.objects.holder().as_deref(), Some("one"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn lease_that_another_node_took_is_lost() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let lease = cluster.lease_of("one").await;
        acquire(&lease, "one", false).await;
        cluster.objects.put_lease(RESTART, Some("two"), 300);
        lease.renew_if_held().await;
        assert!(!lease.is_held().await);
        lease.release().await;
        assert_eq!(cluster.objects.holder().as_deref(), Some("two"), "it is not given up by one");
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn abandoned_lease_holds_others_up() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let lease = cluster.lease_of("one").await;
        acquire(&lease, "one", false).await;
        lease.abandon().await;
        assert_eq!(cluster.objects.holder().as_deref(), Some("one"));
        let other = cluster.lease_of("two").await;
        let state = LeaseState { holder: Some("one".into()), duration: Duration::from_secs(300) };
        assert_eq!(other.look().await, TurnAnswer::Lease(Some(state), Duration::ZERO));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn leader_lets_waiting_nodes_go_first() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        cluster.objects.put_lease("kube-scheduler", Some("one_6d1f"), 15);
        let (leader, other) = (cluster.lease_of("one").await, cluster.lease_of("two").await);
        assert!(leader.is_leader("kube-scheduler", "one").await);
        assert!(!other.is_leader("kube-scheduler", "two").await);
        assert!(!leader.is_leader("kube-controller-manager", "one").await, "there is no Lease");
        let order = RefCell::new(Vec::new());
        let turn = async |lease: &RestartLease<'_>, node: &'static str, is_leader: bool| {
            acquire(lease, node, is_leader).await;
            order.borrow_mut().push(node);
            lease.release().await;
        };
        let later = async {
            sleep(Duration::from_secs(3)).await;
            turn(&other, "two", false).await;
        };
        tokio::join!(turn(&leader, "one", true), later);
        assert_eq!(*order.borrow(), ["two", "one"]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn next_server_is_asked_where_one_does_not_answer() {
    local(async {
        let cluster = Cluster::start(&["127.0.0.1", "127.0.0.2"]).await;
        let api = cluster.api().await.unwrap();
        assert_eq!(api.others(), 2);
        let lease = RestartLease::new(api, "one".to_owned(), &SystemClock);
        acquire(&lease, "one", false).await;
        assert_eq!(cluster.objects.holder().as_deref(), Some("one"));
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn servers_that_did_not_answer_are_asked_last() {
    local(async {
        let cluster = Cluster::start(&["127.0.0.1", "127.0.0.2"]).await;
        let api = cluster.api().await.unwrap();
        let asked = Cell::new(0);
        let ask = async || {
            let read = async |client| {
                asked.set(asked.get() + 1);
                kube::Api::<Endpoints>::namespaced(client, "default").get("kubernetes").await
            };
            api.call(read).await.unwrap();
            asked.replace(0)
        };
        assert_eq!([ask().await, ask().await, ask().await], [3, 1, 1]);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn server_of_another_ca_and_refusal_are_reported() {
    local(async {
        let cluster = Cluster::start(&[]).await;
        let dir = tempfile::tempdir().unwrap();
        let (root, credential) = cluster.credential(dir.path(), &Authority::new("another"));
        let error = ClusterApi::open(&root, &credential, None).await.err().unwrap();
        assert!(matches!(&error, ClusterError::Away(reason) if reason.contains("certificate")));
        cluster.objects.refuses.set(Some(403));
        let error = cluster.api().await.err().unwrap();
        let server = &cluster.url;
        assert_eq!(
            error.to_string(),
            format!("the API server at {server} answers with status 403: it says Forbidden")
        );
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn missing_and_broken_kubeconfig_are_reported() {
    local(async {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let open = async || ClusterApi::open(&root, &admin(), None).await.err().unwrap();
        assert_eq!(open().await, ClusterError::NoAdminConf);
        std::fs::write(dir.path().join("admin.conf"), "kind: Config").unwrap();
        assert_eq!(
            open().await.to_string(),
            "/admin.conf can't be used: `kubecertd check` shows the reason"
        );
    })
    .await;
}
