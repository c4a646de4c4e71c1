//! The container runtime (containerd, CRI-O), over the interface that kubelet uses: lists
//! containers, their start times and mounts, and stops them.
//!
//! It stops containers and never starts, creates or removes one: kubelet does that.

mod error;
mod messages;
#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use serde::Deserialize;
use tonic::{Code, Status};

pub use error::CriError;
use transport::Connection;

/// The versions of the interface, newest first: containerd up to 1.5 knows only the older one, from
/// 2.0 on only the newer one.
const SERVICES: [&str; 2] = ["runtime.v1.RuntimeService", "runtime.v1alpha2.RuntimeService"];

/// A connection to the container runtime. It is not reopened when it breaks: connect again.
#[derive(Debug)]
pub struct Runtime {
    connection: Connection,
    service: &'static str,
    limit: Duration,
    /// The runtime's own name, such as `containerd`.
    pub name: String,
    /// The runtime's own version.
    pub version: String,
}

/// A container that the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The runtime's id for it; its successor has another.
    pub id: String,
    /// The name in the pod's specification.
    pub name: String,
    /// The number of containers before it in the same sandbox.
    pub attempt: u32,
    /// The pod sandbox that it runs in.
    pub sandbox: String,
    /// The pod that it belongs to; `None` when it was not made by kubelet.
    pub pod: Option<Pod>,
    /// Whether it runs.
    pub state: State,
    /// When it was created.
    pub created: Option<SystemTime>,
}

/// The pod that a container belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The pod's name; a static pod's ends with the node's.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity; a static pod's changes with its manifest.
    pub uid: String,
    /// Whether it comes from a manifest on this node.
    pub is_static: bool,
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Created, and not started yet.
    Created,
    /// Running.
    Running,
    /// Exited.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// The runtime's information about one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Whether it runs.
    pub state: State,
    /// When it was started; `None` when it never was.
    pub started: Option<SystemTime>,
    /// How it exited; `None` when it has not.
    pub ended: Option<Ended>,
    /// Its mounts of host files.
    pub mounts: Vec<Mount>,
    /// Its first process, as the runtime's pid namespace numbers it. `None` when it does not run,
    /// or the runtime does not report it.
    pub pid: Option<u32>,
}

/// How a container exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The time.
    pub at: SystemTime,
    /// Its exit code; 128 plus the signal's number when a signal killed it.
    pub exit_code: i32,
    /// The runtime's one-word reason, such as `Completed`, `Error` or `OOMKilled`.
    pub reason: String,
}

/// A file or directory of the host that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host.
    pub host: PathBuf,
    /// The path in the container.
    pub container: PathBuf,
    /// Whether the container can only read it.
    pub readonly: bool,
}

impl Runtime {
    /// Connects to the runtime's socket and agrees on a version. Each later call has the same
    /// limit.
    ///
    /// Needs a tokio runtime with timers and I/O enabled; one thread is enough.
    ///
    /// # Errors
    /// [`CriError`], when there is no answer in time, or the server is no container runtime.
    pub async fn connect(socket: &Path, limit: Duration) -> Result<Self, CriError> {
        within("Version", limit, Self::agree(socket, limit)).await?
    }

    async fn agree(socket: &Path, limit: Duration) -> Result<Self, CriError> {
        let connection =
            Connection::open(socket).await.map_err(|e| CriError::connecting(socket, e))?;
        for service in SERVICES {
            let question = messages::VersionRequest::default();
            match connection
                .call::<_, messages::VersionResponse>(&method(service, "Version"), question)
                .await
            {
                Ok(answer) => {
                    let (name, version) = (answer.runtime_name, answer.runtime_version);
                    return Ok(Self { connection, service, limit, name, version });
                }
                Err(status) if status.code() == Code::Unimplemented => {}
                Err(status) => return Err(CriError::calling("Version", &status)),
            }
        }
        Err(CriError::NotARuntime(socket.to_owned()))
    }

    /// Lists all containers that the runtime knows, including those that have exited.
    ///
    /// # Errors
    /// [`CriError`], when the runtime does not answer, or refuses.
    pub async fn containers(&self) -> Result<Vec<Container>, CriError> {
        // Containers first: a sandbox exists before its containers do.
        let answer: messages::ListContainersResponse =
            self.ask("ListContainers", messages::ListContainersRequest {}, self.limit).await?;
        let static_pods = self.static_sandboxes().await?;
        Ok(answer
            .containers
            .into_iter()
            .map(|container| read_container(container, &static_pods))
            .collect())
    }

    /// Lists the sandboxes of static pods. Only sandboxes carry the pod's annotations.
    async fn static_sandboxes(&self) -> Result<HashSet<String>, CriError> {
        let answer: messages::ListPodSandboxResponse =
            self.ask("ListPodSandbox", messages::ListPodSandboxRequest {}, self.limit).await?;
        let from_file = |sandbox: &messages::PodSandbox| {
            sandbox
                .annotations
                .get("kubernetes.io/config.source")
                .is_some_and(|source| source == "file")
        };
        Ok(answer.items.into_iter().filter(from_file).map(|sandbox| sandbox.id).collect())
    }

    /// Returns the status of one container.
    ///
    /// # Errors
    /// [`CriError`]; [`CriError::NoContainer`] when it was removed.
    pub async fn status(&self, id: &str) -> Result<ContainerStatus, CriError> {
        const CALL: &str = "ContainerStatus";
        let question =
            messages::ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let answer: messages::ContainerStatusResponse =
            self.ask(CALL, question, self.limit).await.map_err(|e| no_container(e, id))?;
        let pid = answer.info.get("info").and_then(|info| first_process(info));
        let status = answer.status.ok_or(CriError::Incomplete { call: CALL, missing: "status" })?;
        Ok(read_status(status, pid))
    }

    /// Stops a container: its first process gets the stop signal, and is killed when the grace is
    /// over. Stopping one that has exited does nothing.
    ///
    /// The grace is sent in whole seconds, rounded up; zero kills at once. The timeout of the call
    /// is longer by the grace: a runtime whose caller disconnects before the grace is over kills
    /// nothing.
    ///
    /// # Errors
    /// [`CriError`]; [`CriError::NoContainer`] when it was removed (some runtimes report success
    /// instead).
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), CriError> {
        let seconds = i64::try_from(grace.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX);
        let question =
            messages::StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        let limit = self.limit.saturating_add(grace);
        let messages::StopContainerResponse {} =
            self.ask("StopContainer", question, limit).await.map_err(|e| no_container(e, id))?;
        Ok(())
    }

    async fn ask<Q, A>(
        &self,
        call: &'static str,
        question: Q,
        limit: Duration,
    ) -> Result<A, CriError>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let path = method(self.service, call);
        let answer: Result<A, Status> =
            within(call, limit, self.connection.call(&path, question)).await?;
        answer.map_err(|status| CriError::calling(call, &status))
    }
}

async fn within<T>(
    call: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, CriError> {
    tokio::time::timeout(limit, work).await.map_err(|_| CriError::Limit { call, limit })
}

fn method(service: &str, call: &str) -> String {
    format!("/{service}/{call}")
}

fn no_container(error: CriError, id: &str) -> CriError {
    match error {
        CriError::Refused { code: Code::NotFound, .. } => CriError::NoContainer(id.to_owned()),
        error => error,
    }
}

fn read_container(container: messages::Container, static_sandboxes: &HashSet<String>) -> Container {
    let (state, created) = (read_state(container.state), time(container.created_at));
    let is_static = static_sandboxes.contains(&container.pod_sandbox_id);
    let pod = read_pod(&container, is_static);
    let messages::Container { id, pod_sandbox_id: sandbox, metadata, .. } = container;
    let messages::ContainerMetadata { name, attempt } = metadata.unwrap_or_default();
    Container { id, name, attempt, sandbox, pod, state, created }
}

fn read_pod(container: &messages::Container, is_static: bool) -> Option<Pod> {
    let label = |key: &str| container.labels.get(key).cloned();
    let name = label("io.kubernetes.pod.name")?;
    let namespace = label("io.kubernetes.pod.namespace")?;
    let uid = label("io.kubernetes.pod.uid")?;
    Some(Pod { name, namespace, uid, is_static })
}

fn read_status(status: messages::ContainerStatus, pid: Option<u32>) -> ContainerStatus {
    let state = read_state(status.state);
    let ended = time(status.finished_at).map(|at| Ended {
        at,
        exit_code: status.exit_code,
        reason: status.reason,
    });
    let mounts = status.mounts.into_iter().map(read_mount).collect();
    ContainerStatus {
        state,
        started: time(status.started_at),
        ended,
        mounts,
        pid: pid.filter(|_| state == State::Running),
    }
}

fn read_mount(mount: messages::Mount) -> Mount {
    Mount {
        host: mount.host_path.into(),
        container: mount.container_path.into(),
        readonly: mount.readonly,
    }
}

fn read_state(number: i32) -> State {
    match messages::ContainerState::try_from(number) {
        Ok(messages::ContainerState::Created) => State::Created,
        Ok(messages::ContainerState::Running) => State::Running,
        Ok(messages::ContainerState::Exited) => State::Exited,
        Ok(messages::ContainerState::Unknown) | Err(_) => State::Unknown,
    }
}

/// Converts nanoseconds since 1970; the interface uses 0 for "not yet".
fn time(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|&n| n > 0)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// Reads the pid from the JSON that containerd and CRI-O add to a status; it is no part of the
/// interface itself.
fn first_process(info: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Info {
        pid: Option<u32>,
    }
    serde_json::from_str::<Info>(info).ok()?.pid.filter(|&pid| pid > 0)
}
