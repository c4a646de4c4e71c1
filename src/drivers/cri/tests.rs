//! Tests against a stand-in that speaks the interface over a real socket, recorded answers of a
//! real containerd, and, when its socket is given, a real runtime.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixListener;

use super::stand_in::{Behaviour, NORMAL, StandIn, V1, recorded};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);
const V1ALPHA2: &str = "runtime.v1alpha2.RuntimeService";

async fn connected(behaviour: Behaviour) -> (Arc<StandIn>, Runtime) {
    let stand_in = StandIn::start(behaviour);
    let runtime = Runtime::connect(&stand_in.socket(), LIMIT).await.unwrap();
    (stand_in, runtime)
}

/// Connects with a short timeout.
async fn connected_with_short_timeout(behaviour: Behaviour) -> (Arc<StandIn>, Runtime) {
    let stand_in = StandIn::start(behaviour);
    let runtime = Runtime::connect(&stand_in.socket(), Duration::from_secs(1)).await.unwrap();
    (stand_in, runtime)
}

#[tokio::test]
async fn newer_interface_is_used_when_supported() {
    let (_stand_in, runtime) = connected(NORMAL).await;
    assert_eq!(
        (runtime.service, runtime.name.as_str(), runtime.version.as_str()),
        (V1, "stand-in", "v7.8.9")
    );
}

#[tokio::test]
async fn older_interface_is_used_when_it_is_the_only_one() {
    let (_stand_in, runtime) = connected(Behaviour { service: V1ALPHA2, ..NORMAL }).await;
    assert_eq!(runtime.service, V1ALPHA2);
    assert!(!runtime.containers().await.unwrap().is_empty());
}

#[tokio::test]
async fn server_that_is_no_runtime_is_reported() {
    let stand_in = StandIn::start(Behaviour { service: "another.Service", ..NORMAL });
    let error = Runtime::connect(&stand_in.socket(), LIMIT).await.unwrap_err();
    assert!(matches!(error, CriError::NotARuntime(_)), "{error}");
}

#[tokio::test]
async fn missing_and_unused_sockets_are_distinguished() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let error = Runtime::connect(&socket, LIMIT).await.unwrap_err();
    assert!(matches!(error, CriError::NoSocket(_)), "{error}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = Runtime::connect(&socket, LIMIT).await.unwrap_err();
    assert!(matches!(error, CriError::NotListening(_)), "{error}");
}

#[tokio::test]
async fn silent_runtime_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let began = Instant::now();
    let error = Runtime::connect(&socket, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, CriError::Limit { call: "Version", .. }), "{error}");
    assert!(began.elapsed() < LIMIT);
}

#[tokio::test]
async fn call_after_a_timed_out_call_works() {
    let behaviour = Behaviour { hangs_in: "ContainerStatus", ..NORMAL };
    let (_stand_in, runtime) = connected_with_short_timeout(behaviour).await;
    let error = runtime.status("a").await.unwrap_err();
    assert!(matches!(error, CriError::Limit { call: "ContainerStatus", .. }), "{error}");
    assert!(runtime.containers().await.is_ok());
}

#[tokio::test]
async fn refusal_names_the_call_and_quotes_the_runtime() {
    let behaviour =
        Behaviour { containers: || Err(Status::internal("the disk is on fire")), ..NORMAL };
    let (_stand_in, runtime) = connected(behaviour).await;
    let error = runtime.containers().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the container runtime refused ListContainers: the disk is on fire (Internal)"
    );
}

#[tokio::test]
async fn removed_container_and_refusal_are_distinguished() {
    let behaviour = Behaviour { status: || Err(Status::not_found("gone")), ..NORMAL };
    let (_stand_in, runtime) = connected(behaviour).await;
    let error = runtime.status("abc").await.unwrap_err();
    assert!(matches!(&error, CriError::NoContainer(id) if id == "abc"), "{error}");
}

#[tokio::test]
async fn runtime_exit_during_a_call_breaks_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move { drop(listener.accept().await) });
    let error = Runtime::connect(&socket, LIMIT).await.unwrap_err();
    assert!(matches!(error, CriError::Broken { call: "Version", .. }), "{error}");
}

#[tokio::test]
async fn grace_period_is_rounded_up_to_seconds() {
    let (stand_in, runtime) = connected(NORMAL).await;
    for grace in [0, 1, 1000, 2001] {
        runtime.stop("abc", Duration::from_millis(grace)).await.unwrap();
    }
    assert_eq!(stand_in.stops(), [0, 1, 1, 3].map(|seconds| ("abc".to_owned(), seconds)));
}

#[tokio::test]
async fn stop_timeout_includes_the_grace_period() {
    let behaviour = Behaviour { hangs_in: "StopContainer", ..NORMAL };
    let (_stand_in, runtime) = connected_with_short_timeout(behaviour).await;
    let began = Instant::now();
    let error = runtime.stop("abc", Duration::from_secs(1)).await.unwrap_err();
    assert!(
        matches!(error, CriError::Limit { limit, .. } if limit == Duration::from_secs(2)),
        "{error}"
    );
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn recorded_containerd_list_is_parsed() {
    let (_stand_in, runtime) = connected(NORMAL).await;
    let mut containers = runtime.containers().await.unwrap();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
    assert!(containers.iter().all(|container| container.pod.as_ref().unwrap().is_static));
    let text = |text: &str| text.to_owned();
    let scheduler = Container {
        id: text("fb4f0af3dd59371fac46ffafc9becf1a6398c2f0031c19e6ce8fa3c2a93b55d6"),
        name: text("kube-scheduler"),
        attempt: 0,
        sandbox: text("c7064ee24312ae5be24ae736e9df5557a49a1a6c4a8ab2766e8821992fffb802"),
        pod: Some(Pod {
            name: text("kube-scheduler-cri"),
            namespace: text("kube-system"),
            uid: text("69cd289b4ed80ced4f95a59ff60fa102"),
            is_static: true,
        }),
        state: State::Running,
        created: Some(UNIX_EPOCH + Duration::new(1_795_299_300, 288_734_640)),
    };
    assert_eq!(containers.pop().unwrap(), scheduler);
}

#[tokio::test]
async fn recorded_containerd_status_is_parsed() {
    let (_stand_in, runtime) = connected(NORMAL).await;
    let status = runtime.status("any").await.unwrap();
    let config = Path::new("/etc/kubernetes/scheduler.conf");
    let mount = Mount { host: config.to_owned(), container: config.to_owned(), readonly: true };
    assert_eq!(status.state, State::Running);
    assert_eq!(status.started, Some(UNIX_EPOCH + Duration::new(1_795_299_700, 674_042_578)));
    assert_eq!((status.pid, status.ended.as_ref()), (Some(2432), None));
    assert_eq!((status.mounts.len(), status.mounts.first()), (3, Some(&mount)));
    assert!(!status.mounts.last().unwrap().readonly);
}

#[tokio::test]
async fn recorded_status_of_exited_container_is_parsed() {
    let behaviour = Behaviour {
        status: || {
            Ok(recorded(include_bytes!(
                "../../../tests/fixtures/cri/containerd-1.6-status-exited.bin"
            )))
        },
        ..NORMAL
    };
    let (_stand_in, runtime) = connected(behaviour).await;
    let status = runtime.status("any").await.unwrap();
    let ended = Ended {
        at: UNIX_EPOCH + Duration::new(1_795_299_700, 172_816_534),
        exit_code: 2,
        reason: "Error".into(),
    };
    assert_eq!((status.state, status.ended, status.pid), (State::Exited, Some(ended), None));
}

#[tokio::test]
async fn exited_container_has_no_process() {
    let behaviour = Behaviour { status: || Ok(exited_with_pid()), ..NORMAL };
    let (_stand_in, runtime) = connected(behaviour).await;
    assert_eq!(runtime.status("any").await.unwrap().pid, None);
}

fn exited_with_pid() -> messages::ContainerStatusResponse {
    let status = messages::ContainerStatus {
        state: messages::ContainerState::Exited.into(),
        ..Default::default()
    };
    messages::ContainerStatusResponse {
        status: Some(status),
        info: [("info".into(), r#"{"pid": 12}"#.into())].into(),
    }
}

#[test]
fn missing_pid_is_none() {
    for info in ["", "no json", "{}", r#"{"pid": 0}"#, r#"{"pid": "12"}"#, r#"{"pid": -1}"#] {
        assert_eq!(first_process(info), None, "{info}");
    }
    assert_eq!(first_process(r#"{"sandboxID": "a", "pid": 1234, "config": {}}"#), Some(1234));
}

#[test]
fn container_not_made_by_kubelet_has_no_pod() {
    let container = messages::Container { id: "a".into(), state: 77, ..Default::default() };
    let container = read_container(container, &HashSet::new());
    assert_eq!((container.pod, container.state, container.created), (None, State::Unknown, None));
}

#[tokio::test]
#[ignore = "needs CRI_SOCKET: the socket of a runtime that runs a control-plane node"]
async fn real_control_plane_node_is_read() {
    let runtime =
        Runtime::connect(Path::new(&std::env::var("CRI_SOCKET").unwrap()), LIMIT).await.unwrap();
    eprintln!("{} {} {}", runtime.name, runtime.version, runtime.service);
    let containers = runtime.containers().await.unwrap();
    let mut seen = Vec::new();
    for container in &containers {
        let status = runtime.status(&container.id).await.unwrap();
        eprintln!("{container:?}\n    {status:?}");
        if container.state == State::Running && container.pod.as_ref().unwrap().is_static {
            assert!(
                status.pid.is_some()
                    && !status.mounts.is_empty()
                    && status.started.is_some()
                    && status.ended.is_none()
            );
            seen.push(container.name.as_str());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
}

#[tokio::test]
#[ignore = "needs CRI_SOCKET and CRI_STOP, the name of a container that is stopped there"]
async fn real_container_is_stopped_and_replaced() {
    let runtime =
        Runtime::connect(Path::new(&std::env::var("CRI_SOCKET").unwrap()), LIMIT).await.unwrap();
    let name = std::env::var("CRI_STOP").unwrap();
    let running = async || {
        let containers = runtime.containers().await.unwrap();
        containers
            .into_iter()
            .find(|container| container.name == name && container.state == State::Running)
    };
    let old = running().await.expect("it runs");
    let began = Instant::now();
    runtime.stop(&old.id, Duration::from_secs(3)).await.unwrap();
    eprintln!("stopped after {:?}: {:?}", began.elapsed(), runtime.status(&old.id).await);
    let new = loop {
        if let Some(new) = running().await {
            break new;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "no successor");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    eprintln!("after {:?}: {new:?}\n{:?}", began.elapsed(), runtime.status(&new.id).await);
    assert_ne!(new.id, old.id);
    assert_eq!((new.sandbox, new.attempt), (old.sandbox, old.attempt + 1));
}
