//! A stand-in for a container runtime, for tests: it speaks the interface over a real socket.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

use super::messages;

pub const V1: &str = "runtime.v1.RuntimeService";

/// A runtime that supports one version of the interface and answers calls as configured.
pub struct StandIn {
    dir: tempfile::TempDir,
    behaviour: Behaviour,
    stops: Mutex<Vec<messages::StopContainerRequest>>,
}

pub struct Behaviour {
    pub service: &'static str,
    pub containers: fn() -> Result<messages::ListContainersResponse, Status>,
    pub status: fn() -> Result<messages::ContainerStatusResponse, Status>,
    pub stop: fn() -> Result<(), Status>,
    pub hangs_in: &'static str,
}

pub const NORMAL: Behaviour = Behaviour {
    service: V1,
    containers: || {
        Ok(recorded(include_bytes!("../../../tests/fixtures/cri/containerd-1.6-containers.bin")))
    },
    status: || {
        Ok(recorded(include_bytes!("../../../tests/fixtures/cri/containerd-1.6-status.bin")))
    },
    stop: || Ok(()),
    hangs_in: "",
};

pub fn recorded<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}

impl StandIn {
    pub fn start(behaviour: Behaviour) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let stand_in = Arc::new(Self { dir, behaviour, stops: Mutex::default() });
        let listener = UnixListener::bind(stand_in.socket()).unwrap();
        tokio::spawn(Arc::clone(&stand_in).serve(listener));
        stand_in
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("cri.sock")
    }

    /// The containers that it was asked to stop, and the seconds of grace of each.
    pub fn stops(&self) -> Vec<(String, i64)> {
        self.stops
            .lock()
            .unwrap()
            .iter()
            .map(|stop| (stop.container_id.clone(), stop.timeout))
            .collect()
    }

    async fn serve(self: Arc<Self>, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let stand_in = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&stand_in).answer(request));
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let Some(call) = path.strip_prefix(&format!("/{}/", self.behaviour.service)) else {
            return Ok(unary(request, |_: messages::VersionRequest| {
                Err::<messages::VersionResponse, _>(Status::unimplemented("unknown service"))
            })
            .await);
        };
        if call == self.behaviour.hangs_in {
            pending::<()>().await;
        }
        Ok(match call {
            "Version" => {
                let answer = messages::VersionResponse {
                    runtime_name: "stand-in".into(),
                    runtime_version: "v7.8.9".into(),
                };
                unary(request, move |_: messages::VersionRequest| Ok(answer.clone())).await
            }
            "ListContainers" => {
                unary(request, |_: messages::ListContainersRequest| (self.behaviour.containers)())
                    .await
            }
            "ListPodSandbox" => {
                let answer = recorded(include_bytes!(
                    "../../../tests/fixtures/cri/containerd-1.6-sandboxes.bin"
                ));
                unary(request, move |_: messages::ListPodSandboxRequest| {
                    Ok::<messages::ListPodSandboxResponse, _>(Clone::clone(&answer))
                })
                .await
            }
            "ContainerStatus" => {
                unary(request, |question: messages::ContainerStatusRequest| {
                    assert!(question.verbose, "only the verbose answer has the pid");
                    (self.behaviour.status)()
                })
                .await
            }
            "StopContainer" => {
                unary(request, |question| {
                    self.stops.lock().unwrap().push(question);
                    (self.behaviour.stop)().map(|()| messages::StopContainerResponse {})
                })
                .await
            }
            other => panic!("unexpected call {other}"),
        })
    }
}

/// The handler of one call, a closure.
struct UnaryHandler<F>(F);

impl<F, Q, A> UnaryService<Q> for UnaryHandler<F>
where
    F: FnMut(Q) -> Result<A, Status>,
{
    type Response = A;
    type Future = Ready<Result<tonic::Response<A>, Status>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        ready((self.0)(request.into_inner()).map(tonic::Response::new))
    }
}

async fn unary<Q, A, F>(request: Request<Incoming>, answer: F) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: FnMut(Q) -> Result<A, Status>,
{
    Grpc::new(ProstCodec::<A, Q>::default()).unary(UnaryHandler(answer), request).await
}
