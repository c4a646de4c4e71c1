//! The containers of the node, as the container runtime has them.

use std::collections::BTreeMap;
use std::path::Path;

use super::limit::QUERY_TIMEOUT;
use crate::drivers::cri::{Container, Runtime};

/// The containers of the container runtime.
pub(super) struct Containers {
    pub runtime: Runtime,
    pub all: Vec<Container>,
    /// The node's name, which is the suffix of the names of static pods.
    node: Option<String>,
}

impl Containers {
    /// Lists all containers of the runtime at this socket. `pods` are the names of static pods
    /// without the node's.
    pub async fn ask(socket: &Path, pods: &[String]) -> Result<Self, String> {
        let runtime = Runtime::connect(socket, QUERY_TIMEOUT).await.map_err(|e| e.to_string())?;
        let all = tokio::time::timeout(QUERY_TIMEOUT, runtime.containers()).await;
        let all = all.map_err(|_| {
            format!(
                "the container runtime did not list its containers within {} s",
                QUERY_TIMEOUT.as_secs()
            )
        })?;
        let all = all.map_err(|e| e.to_string())?;
        let node = node_name(&all, pods);
        Ok(Self { runtime, all, node })
    }

    /// Returns all containers of a static pod, including those that have exited.
    pub fn of_pod(&self, pod: &str) -> Vec<&Container> {
        let Some(name) = self.node.as_ref().map(|node| format!("{pod}-{node}")) else {
            return Vec::new();
        };
        self.all.iter().filter(|container| static_pod(container) == Some(name.as_str())).collect()
    }
}

/// Finds the common suffix of the names of the static pods. The one that fits most of them:
/// `etcd-events-x` is no `etcd` of the node `events-x` where there is a `kube-scheduler-x`.
pub(super) fn node_name(containers: &[Container], pods: &[String]) -> Option<String> {
    let mut fitting: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in containers.iter().filter_map(static_pod) {
        for pod in pods {
            if let Some(node) =
                name.strip_prefix(pod.as_str()).and_then(|rest| rest.strip_prefix('-'))
            {
                let names = fitting.entry(node).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    let most = fitting
        .into_iter()
        .max_by_key(|(node, names)| (names.len(), std::cmp::Reverse(node.len())));
    most.map(|(node, _)| node.to_owned())
}

fn static_pod(container: &Container) -> Option<&str> {
    container.pod.as_ref().filter(|pod| pod.is_static).map(|pod| pod.name.as_str())
}
