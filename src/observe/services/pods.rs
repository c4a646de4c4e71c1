//! Static pods, as the container runtime reports them.

use super::containers::Containers;
use super::look::{Group, Observer, RunningService};
use super::moment::ObservedAt;
use crate::drivers::cri::{Container, ContainerStatus, CriError, Ended, State};
use crate::drivers::processes::Process;
use crate::model::Presence;
use crate::sys::Root;

/// Returns the pod's main container, if it runs; else its state.
pub(super) async fn find(
    look: &Observer,
    pod: &str,
    manifest: &str,
) -> Result<RunningService, Presence> {
    let containers = look.containers().await.map_err(Presence::Unknown)?;
    let container = match main_container(look.main_container(pod), &containers.of_pod(pod)) {
        Main::Is(container) => container.clone(),
        Main::None => {
            let found = format!(
                "{manifest} is there, and no container of it: kubelet has not started one; see \
                 journalctl -u kubelet"
            );
            return Err(Presence::Down(found));
        }
        Main::Unclear => {
            return Err(Presence::Unknown(format!(
                "none of the containers of {manifest} is named {}, so it is not known which is \
                 meant",
                look.main_container(pod)
            )));
        }
    };
    let status = match containers.runtime.status(&container.id).await {
        Ok(status) => status,
        Err(CriError::NoContainer(_)) => {
            return Err(Presence::Down(
                "its container was just removed; kubelet starts the next one".to_owned(),
            ));
        }
        Err(e) => return Err(Presence::Unknown(e.to_string())),
    };
    match status.state {
        State::Running => running(look, container.id, status).map_err(Presence::Unknown),
        state => Err(not_running(&look.moment, state, status.ended.as_ref())),
    }
}

/// The main container of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Main<'c> {
    /// This one: of several successive ones, the last.
    Is(&'c Container),
    /// There is no container.
    None,
    /// There are several, and none has the name of the main one.
    Unclear,
}

fn main_container<'c>(name: &str, containers: &[&'c Container]) -> Main<'c> {
    let same_name = |name: &str| {
        let named = containers.iter().filter(|container| container.name == name).copied();
        // A running one, else the last one that was created: after a reboot attempts are counted
        // anew in another sandbox.
        named.max_by_key(|container| {
            (container.state == State::Running, container.created, container.attempt)
        })
    };
    if let Some(container) = same_name(name) {
        return Main::Is(container);
    }
    let Some(first) = containers.first() else { return Main::None };
    if containers.iter().any(|container| container.name != first.name) {
        return Main::Unclear;
    }
    same_name(&first.name).map_or(Main::None, Main::Is)
}

/// Whether a container is or was the main one.
pub(super) fn is_main(
    look: &Observer,
    containers: &Containers,
    pod: &str,
    container: &Container,
) -> bool {
    match main_container(look.main_container(pod), &containers.of_pod(pod)) {
        Main::Is(main) => main.name == container.name && main.pod == container.pod,
        Main::None | Main::Unclear => false,
    }
}

fn running(look: &Observer, id: String, status: ContainerStatus) -> Result<RunningService, String> {
    let group = Group::Container(id.clone());
    let process = status.pid.and_then(|pid| own_process(&look.root, &group, pid));
    let instance = match (process, status.started) {
        (Some(process), _) => look.moment.of_process(id, process)?,
        (None, Some(started)) => look.moment.of_wall_clock(id, started),
        (None, None) => {
            return Err(
                "the container runtime does not say when its container was started".to_owned()
            );
        }
    };
    Ok(RunningService { instance, process, group, mounts: Some(status.mounts) })
}

/// Returns the process if its control group confirms it: the runtime may be in another pid
/// namespace, where the number belongs to another process.
fn own_process(root: &Root, group: &Group, pid: u32) -> Option<Process> {
    Process::find(root, pid).ok().flatten().filter(|process| group.has(root, *process))
}

fn not_running(moment: &ObservedAt, state: State, ended: Option<&Ended>) -> Presence {
    match (state, ended) {
        (State::Created, _) => {
            Presence::Down("its container was made, and is not started yet".to_owned())
        }
        (State::Unknown, _) => Presence::Unknown(
            "the container runtime does not know the state of its container".to_owned(),
        ),
        (_, Some(ended)) => Presence::Down(describe_ended(moment, ended)),
        (_, None) => Presence::Down(
            "its container has stopped, and kubelet has not started the next one yet".to_owned(),
        ),
    }
}

fn describe_ended(moment: &ObservedAt, ended: &Ended) -> String {
    let Ended { at, exit_code, reason } = ended;
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let ago = moment.since(*at).as_secs();
    format!(
        "its container ended {ago} s ago with exit code {exit_code}{reason}, and kubelet has not \
         started the next one yet"
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::containers::node_name;
    use super::*;
    use crate::drivers::cri::Pod;
    use crate::model::{BootId, Timestamp, Uptime};

    fn container(name: &str, pod: &str, is_static: bool) -> Container {
        let pod = Pod {
            name: pod.to_owned(),
            namespace: "kube-system".to_owned(),
            uid: "u".to_owned(),
            is_static,
        };
        let (id, sandbox) = (format!("{name} of {}", pod.name), "s".to_owned());
        Container {
            id,
            name: name.to_owned(),
            attempt: 0,
            sandbox,
            pod: Some(pod),
            state: State::Running,
            created: Some(UNIX_EPOCH),
        }
    }

    fn node(pods: &[&str]) -> Option<String> {
        let containers: Vec<_> = pods.iter().map(|pod| container("x", pod, true)).collect();
        node_name(&containers, &["etcd", "kube-scheduler", "kube-apiserver"].map(str::to_owned))
    }

    #[test]
    fn node_name_is_the_suffix_of_pod_names() {
        assert_eq!(node(&["etcd-a.b", "kube-scheduler-a.b"]).as_deref(), Some("a.b"));
        assert_eq!(node(&["etcd-a", "etcd-events-a"]).as_deref(), Some("a"));
        assert_eq!(node(&["etcd-events-a", "kube-scheduler-a"]).as_deref(), Some("a"));
        // A pod has a line for each of its containers, also for those that have exited.
        assert_eq!(
            node(&[
                "etcd-events-a",
                "etcd-events-a",
                "etcd-events-a",
                "kube-scheduler-a",
                "kube-apiserver-a"
            ])
            .as_deref(),
            Some("a")
        );
        assert_eq!(node(&["kube-vip-a"]), None);
        assert_eq!(node(&[]), None);
    }

    #[test]
    fn pod_that_is_not_static_is_no_service() {
        let containers = [container("etcd", "etcd-a", false), container("etcd", "etcd-b", true)];
        assert_eq!(node_name(&containers, &["etcd".to_owned()]).as_deref(), Some("b"));
        let without = Container { pod: None, ..container("etcd", "etcd-a", true) };
        assert_eq!(node_name(&[without], &["etcd".to_owned()]), None);
    }

    fn after(container: Container, seconds: u64, state: State) -> Container {
        let created = Some(UNIX_EPOCH + Duration::from_secs(seconds));
        Container { id: format!("{} {seconds}", container.name), created, state, ..container }
    }

    #[test]
    fn running_or_else_last_container_is_chosen() {
        let etcd = || container("etcd", "etcd-a", true);
        let pick = |containers: &[Container]| match main_container(
            "etcd",
            &containers.iter().collect::<Vec<_>>(),
        ) {
            Main::Is(container) => container.id.clone(),
            other => format!("{other:?}"),
        };
        let ended = Container { attempt: 7, ..after(etcd(), 30, State::Exited) };
        assert_eq!(
            pick(&[
                ended.clone(),
                after(etcd(), 20, State::Running),
                after(etcd(), 10, State::Exited)
            ]),
            "etcd 20"
        );
        assert_eq!(pick(&[ended.clone(), after(etcd(), 40, State::Exited)]), "etcd 40");
        // An old sandbox that is being removed beside the new one.
        assert_eq!(
            pick(&[after(etcd(), 20, State::Running), after(etcd(), 50, State::Running)]),
            "etcd 50"
        );
        assert_eq!(pick(&[]), "None");
    }

    #[test]
    fn sidecars_are_not_taken_for_the_main_container() {
        let main = |names: &[&str]| {
            let containers: Vec<_> =
                names.iter().map(|name| container(name, "etcd-a", true)).collect();
            match main_container("etcd", &containers.iter().collect::<Vec<_>>()) {
                Main::Is(container) => container.name.clone(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(main(&["helper", "etcd", "zz"]), "etcd");
        assert_eq!(main(&["etcd-manager", "etcd-manager"]), "etcd-manager");
        assert_eq!(main(&["one", "two"]), "Unclear");
    }

    #[test]
    fn reason_for_not_running_is_reported() {
        let uptime =
            Uptime { boot: BootId("b".to_owned()), since_boot: Duration::from_secs(1_000) };
        let moment = ObservedAt { at: Timestamp::from_seconds(100), uptime };
        let ended = Ended {
            at: UNIX_EPOCH + Duration::from_secs(88),
            exit_code: 137,
            reason: "OOMKilled".to_owned(),
        };
        let text = "its container ended 12 s ago with exit code 137 (OOMKilled), and kubelet has \
            not started the next one yet";
        assert_eq!(
            not_running(&moment, State::Exited, Some(&ended)),
            Presence::Down(text.to_owned())
        );
        assert!(matches!(not_running(&moment, State::Exited, None), Presence::Down(_)));
        assert!(matches!(not_running(&moment, State::Created, None), Presence::Down(_)));
        assert!(matches!(not_running(&moment, State::Unknown, None), Presence::Unknown(_)));
    }

    #[test]
    fn process_of_another_container_is_not_its_own() {
        let host = Root::open(std::path::Path::new("/")).unwrap();
        let group = Group::Container("0".repeat(64));
        assert_eq!(own_process(&host, &group, std::process::id()), None);
        assert_eq!(own_process(&host, &group, u32::MAX), None);
    }
}
