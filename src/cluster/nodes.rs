//! The Node objects of the cluster, as far as the reports of the nodes go.
//!
//! Only their metadata is asked for: the whole objects of 500 nodes are many megabytes. kubelet may
//! read and patch its own Node (since 1.32 no other one); the `NodeRestriction` admission plug-in
//! keeps it from other Nodes, and from labels such as that of the control plane, and admits its
//! annotations.

use hyper::Request;
use hyper::header::DATE;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use k8s_openapi::api::core::v1::Node;
use kube::api::{GetParams, ListParams, ObjectList, PartialObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::exchange::{Answer, exchange};
use super::field::MANAGER;
use super::{ClusterApi, ClusterError};
use crate::formats::node_report::{read, shown, write};
use crate::model::{FoundReport, NodeReport, NodeRole, ReportedNode, Timestamp};

/// The annotation of a Node that holds its report.
pub const REPORT_ANNOTATION: &str = "kubecertd.example/report";

/// The labels of control-plane nodes: kubeadm's since 1.20, and its earlier one.
const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// How many Nodes are asked for at a time.
const PAGE: u32 = 500;

/// The most pages that are read: four times the nodes that Kubernetes supports.
const MAX_PAGES: usize = 40;

/// The HTTP status for an object that does not exist.
const NOT_FOUND: u16 = 404;

/// An answer, and the time that the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated<T> {
    /// The answer.
    pub answer: T,
    /// The server's time; `None` where it says none.
    pub date: Option<Timestamp>,
}

impl ClusterApi {
    /// Reads the Node of this name; `None` where it does not exist.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn node(&self, name: &str) -> Result<Dated<Option<ReportedNode>>, ClusterError> {
        let found = self
            .call(async |client| {
                let request = requests().get_metadata(name, &GetParams::default());
                let request = request.map_err(kube::Error::BuildRequest)?;
                dated::<PartialObjectMeta<Node>>(&client, request).await
            })
            .await;
        match found {
            Ok(Dated { answer, date }) => Ok(Dated { answer: Some(reported(&answer)), date }),
            Err(error) if error.code() == Some(NOT_FOUND) => Ok(Dated { answer: None, date: None }),
            Err(error) => Err(error),
        }
    }

    /// Lists the control-plane nodes, by kubeadm's label.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn control_plane_nodes(&self) -> Result<Dated<Vec<ReportedNode>>, ClusterError> {
        let [label, _] = CONTROL_PLANE;
        self.list(&ListParams::default().labels(label)).await
    }

    /// Lists all Nodes.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn nodes(&self) -> Result<Dated<Vec<ReportedNode>>, ClusterError> {
        self.list(&ListParams::default()).await
    }

    /// Writes a report into the Node of this name.
    ///
    /// # Errors
    /// When no server answers, or it refuses.
    pub async fn write_report(&self, node: &str, report: &NodeReport) -> Result<(), ClusterError> {
        let annotations = json!({ REPORT_ANNOTATION: write(report) });
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.call(async |client| {
            Api::<Node>::all(client).patch_metadata(node, &parameters, &patch).await
        })
        .await
        .map(drop)
    }

    async fn list(
        &self,
        parameters: &ListParams,
    ) -> Result<Dated<Vec<ReportedNode>>, ClusterError> {
        let mut parameters = parameters.clone().limit(PAGE);
        let (mut nodes, mut first_date) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self
                .call(async |client| {
                    let request = requests().list_metadata(&parameters);
                    let request = request.map_err(kube::Error::BuildRequest)?;
                    dated::<ObjectList<PartialObjectMeta<Node>>>(&client, request).await
                })
                .await?;
            nodes.extend(page.answer.items.iter().map(reported));
            first_date = first_date.or(page.date);
            match page.answer.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(Dated { answer: nodes, date: first_date }),
            }
        }
        Err(ClusterError::TooMany(nodes.len()))
    }
}

fn requests() -> kube::core::Request {
    kube::core::Request::new(Node::url_path(&(), None))
}

/// Makes a request, and reads the time that the server says, which the library's own calls drop.
async fn dated<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<Dated<T>> {
    let Answer { headers, body } = exchange(client, request).await?;
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let answer = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    Ok(Dated { answer, date })
}

/// The time in a header (RFC 9110, 5.6.7), in its one current form.
fn http_date(text: &str) -> Option<Timestamp> {
    let time = strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?.to_datetime().ok()?;
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    Some(Timestamp::from_seconds(time.duration_since(epoch).as_secs()))
}

fn reported(object: &PartialObjectMeta<Node>) -> ReportedNode {
    let metadata = &object.metadata;
    let has =
        |label: &&str| metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(*label));
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(REPORT_ANNOTATION));
    ReportedNode {
        name: shown(metadata.name.as_deref().unwrap_or_default()),
        role: if CONTROL_PLANE.iter().any(has) { NodeRole::ControlPlane } else { NodeRole::Worker },
        report: match annotation.map(|text| read(text)) {
            None => FoundReport::Absent,
            Some(Ok(report)) => FoundReport::Read(Box::new(report)),
            Some(Err(reason)) => FoundReport::Unreadable(reason.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_header_is_read() {
        let time = http_date("Fri, 15 Jan 2027 08:00:00 GMT");
        assert_eq!(time, Some(Timestamp::from_seconds(1_800_000_000)));
        for other in ["", "Fri, 15 Jan 2027 08:00:00", "1800000000"] {
            assert_eq!(http_date(other), None, "{other}");
        }
    }
}
