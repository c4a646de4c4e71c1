//! Containers that are no service of the catalog and use credentials that are renewed here.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::containers::Containers;
use super::look::{Observer, files};
use super::pods::is_main;
use super::seeing::{inside, real};
use super::together::run_blocking;
use crate::drivers::cri::{Container, CriError, Mount, State};
use crate::model::{AbsolutePath, Consumer, CredentialName, Renewal, Service, ServiceKind};
use crate::sys::Root;

/// The time limit for querying all containers one by one.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

type Files = Vec<(CredentialName, AbsolutePath)>;

/// Returns the consumers, and notes about those that could not be queried.
pub(super) async fn consumers(
    look: &Observer,
    services: &[Service],
) -> (Vec<Consumer>, Option<String>) {
    let pods: Vec<&str> = services.iter().filter_map(pod).collect();
    // Without static pods there is no container runtime to query.
    if pods.is_empty() {
        return (Vec::new(), None);
    }
    match find(look, &pods).await {
        Ok(found) => found,
        Err(reason) => (Vec::new(), Some(told(&reason))),
    }
}

fn pod(service: &Service) -> Option<&str> {
    match &service.kind {
        ServiceKind::StaticPod { pod, manifest: Some(_), .. } => Some(pod),
        ServiceKind::StaticPod { manifest: None, .. }
        | ServiceKind::Unit { .. }
        | ServiceKind::Process { .. }
        | ServiceKind::Command { .. } => None,
    }
}

fn told(reason: &str) -> String {
    format!("whether other containers use the credentials is not known: {reason}")
}

async fn find(look: &Observer, pods: &[&str]) -> Result<(Vec<Consumer>, Option<String>), String> {
    let containers = look.containers().await?;
    let (root, credentials) = (Arc::clone(&look.root), look.credentials.clone());
    let files: Files = run_blocking(move || {
        let ours = credentials.iter().filter(|credential| credential.renewal == Renewal::Ours);
        let all = ours.flat_map(|credential| {
            files(&root, credential).into_iter().map(|file| (credential.name.clone(), file))
        });
        Ok(all.filter(|(_, file)| root.stat(file).is_ok_and(|found| found.is_some())).collect())
    })
    .await?;
    let (mounted, note) = mounts(look, containers, pods).await;
    let root = Arc::clone(&look.root);
    let found = run_blocking(move || {
        Ok(mounted
            .into_iter()
            .filter_map(|(container, mounts)| consumer(&root, container, &mounts, &files))
            .collect())
    });
    Ok((found.await?, note))
}

/// Returns the mounts of the running containers that are no services, as far as they can be queried
/// in time.
async fn mounts(
    look: &Observer,
    containers: &Containers,
    pods: &[&str],
) -> (Vec<(Container, Vec<Mount>)>, Option<String>) {
    let end = Instant::now() + LIST_TIMEOUT;
    let is_service =
        |container: &Container| pods.iter().any(|pod| is_main(look, containers, pod, container));
    let mut found = Vec::new();
    for container in containers
        .all
        .iter()
        .filter(|container| container.state == State::Running && !is_service(container))
    {
        if Instant::now() > end {
            return (
                found,
                Some(told(&format!(
                    "the container runtime did not answer for all within {} s",
                    LIST_TIMEOUT.as_secs()
                ))),
            );
        }
        match containers.runtime.status(&container.id).await {
            Ok(status) => found.push((container.clone(), status.mounts)),
            Err(CriError::NoContainer(_)) => {}
            Err(e) => return (found, Some(told(&e.to_string()))),
        }
    }
    (found, None)
}

fn consumer(
    root: &Root,
    container: Container,
    mounts: &[Mount],
    files: &Files,
) -> Option<Consumer> {
    let mut uses: Vec<CredentialName> = Vec::new();
    for (name, file) in files {
        if !uses.contains(name) && inside(file, mounts, real(root)).is_some() {
            uses.push(name.clone());
        }
    }
    let pod = match container.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => "no pod".to_owned(),
    };
    (!uses.is_empty()).then_some(Consumer { container: container.name, pod, uses })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::drivers::cri::Pod;

    fn uses(mounted: &[&str]) -> Option<Consumer> {
        let pod = Pod {
            name: "kube-vip-a".to_owned(),
            namespace: "kube-system".to_owned(),
            uid: "u".to_owned(),
            is_static: true,
        };
        let container = Container {
            id: "i".to_owned(),
            name: "kube-vip".to_owned(),
            attempt: 0,
            sandbox: "s".to_owned(),
            pod: Some(pod),
            state: State::Running,
            created: None,
        };
        let mounts: Vec<_> = mounted
            .iter()
            .map(|host| Mount { host: host.into(), container: "/in".into(), readonly: true })
            .collect();
        let file = |name: &str, file: &str| {
            (CredentialName::new(name).unwrap(), AbsolutePath::new(file).unwrap())
        };
        let files = vec![
            file("apiserver", "/etc/kubernetes/pki/apiserver.crt"),
            file("apiserver", "/etc/kubernetes/pki/apiserver.key"),
            file("admin.conf", "/etc/kubernetes/admin.conf"),
        ];
        consumer(&Root::open(Path::new("/")).unwrap(), container, &mounts, &files)
    }

    #[test]
    fn pods_that_mount_a_file_or_its_parents_are_consumers() {
        let names = |mounted: &[&str]| {
            let uses = uses(mounted).map(|consumer| consumer.uses).unwrap_or_default();
            uses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&["/etc/kubernetes/admin.conf"]), ["admin.conf"]);
        assert_eq!(names(&["/etc/kubernetes/pki/apiserver.key"]), ["apiserver"]);
        assert_eq!(names(&["/var/lib", "/etc/kubernetes/pki"]), ["apiserver"]);
        assert_eq!(names(&["/"]), ["apiserver", "admin.conf"]);
    }

    #[test]
    fn consumer_is_named_with_its_pod() {
        let found = uses(&["/etc"]).unwrap();
        assert_eq!(
            (found.container.as_str(), found.pod.as_str()),
            ("kube-vip", "kube-system/kube-vip-a")
        );
        assert_eq!(uses(&["/etc/ssl", "/usr/share", "/etc/kubernetes/pki/ca.crt"]), None);
    }
}
