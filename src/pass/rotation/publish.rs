//! The objects of the API that hold the root CA, brought to the level of the agreement.
//!
//! Those that kube-controller-manager and the API servers write are waited for; the others are
//! written here, each once for a level: where another program writes an earlier content again, the
//! rotation stops and names it.

use std::collections::BTreeSet;

use crate::cluster::{
    ClusterApi, ObjectError, PublishedCopies, RootChange, TrustReport, TrustState, TrustStatus,
};
use crate::formats::kubeadm::with_controller_manager_arguments;
use crate::formats::rotation_intent::{CaPair, RotationIntent};
use crate::formats::x509::Certificate;
use crate::model::{Authority, ReplacedCa, RotationLevel, SigningFiles};
use crate::observe::{ControllerManager, Node, SIGNING_FLAGS};
use crate::plan::{ca_file_at, signing_at};

/// The object that the API servers write, and its key for a CA.
fn client_ca(ca: ReplacedCa) -> &'static str {
    match ca {
        ReplacedCa::Root => "ConfigMap kube-system/extension-apiserver-authentication",
        ReplacedCa::FrontProxy => {
            "ConfigMap kube-system/extension-apiserver-authentication \
             (requestheader-client-ca-file)"
        }
    }
}

/// What became of the objects.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// What is waited for; empty where all are as they are to be.
    pub waits: Vec<String>,
    /// What an operator has to see to.
    pub held: Vec<String>,
    /// The objects that were written, now or before, at this level.
    pub written: BTreeSet<String>,
}

/// Brings the objects to the level that the nodes work to. `written` are those that were written at
/// this level before.
pub(super) async fn publish(
    api: &ClusterApi,
    node: &Node,
    authority: &Authority,
    intent: &RotationIntent,
    written: BTreeSet<String>,
) -> Published {
    let level = intent.agreement.to;
    let wanted = ca_file_at(level);
    let change = RootChange { old: intent.old.clone(), new: intent.new.clone(), wanted };
    let mut published = Published { written, ..Published::default() };
    if !intent.is_renewal() {
        published.take_configuration(set_arguments(api, node, authority, level).await);
    }
    match api.update_cluster_info(&change).await {
        Ok(Some(info)) => published.take("ConfigMap kube-public/cluster-info", info.trust),
        Ok(None) => {}
        Err(error) => published.waits.push(error.to_string()),
    }
    let bundles = api.observe_ca_bundles(&change).await;
    let is_reverted = |one: &TrustReport| {
        published.written.contains(&one.object)
            && matches!(&one.result, Ok(state) if state.status == TrustStatus::Outdated)
    };
    if bundles.iter().any(is_reverted) {
        for one in bundles.iter().filter(|one| is_reverted(one)) {
            let writer = one.result.as_ref().ok().and_then(|state| state.last_writer.clone());
            let writer = writer.unwrap_or_else(|| "another program".to_owned());
            published.held.push(format!(
                "{}: {writer} has written the earlier CA certificates again: have it use those \
                 that kubecertd ca export prints",
                one.object
            ));
        }
    } else {
        for one in api.update_ca_bundles(&change).await {
            if matches!(&one.result, Ok(state) if state.status == TrustStatus::Written) {
                published.written.insert(one.object.clone());
            }
            published.take(&one.object, one.result);
        }
    }
    let of_front_proxy = intent.front_proxy.clone();
    let of_front_proxy = of_front_proxy.map(|CaPair { old, new }| RootChange { old, new, wanted });
    let of_front_proxy = of_front_proxy.iter().map(|change| (ReplacedCa::FrontProxy, change));
    for (ca, change) in [(ReplacedCa::Root, &change)].into_iter().chain(of_front_proxy) {
        match api.update_client_ca(ca, change).await {
            Ok(Some(state)) => published.take(client_ca(ca), Ok(state)),
            Ok(None) => {}
            Err(error) => published.waits.push(error.to_string()),
        }
    }
    let file: String = change.wanted().iter().map(|one: &&Certificate| one.to_pem()).collect();
    let file = file.as_bytes();
    published
        .take_copies("ConfigMaps kube-root-ca.crt", api.observe_root_ca_config_maps(file).await);
    let secrets = api.observe_token_secrets(file).await;
    published.take_copies("Secrets with tokens of service accounts", secrets);
    published
}

/// Has kubeadm's configuration name the files with which kube-controller-manager signs, so that an
/// upgrade writes the same manifest.
async fn set_arguments(
    api: &ClusterApi,
    node: &Node,
    authority: &Authority,
    level: RotationLevel,
) -> Result<(), String> {
    let found = ControllerManager::read(node, &node.root)?.signing_values(authority)?;
    let values = match signing_at(level) {
        SigningFiles::CaFiles => [None, None],
        own @ SigningFiles::Own(_) => found.for_files(own).map(Some),
    };
    let arguments: Vec<_> = SIGNING_FLAGS.into_iter().zip(values).collect();
    let edit = |text: &str| with_controller_manager_arguments(text, &arguments);
    match api.edit_cluster_configuration(edit).await {
        Ok(_) => Ok(()),
        // Without it there is no upgrade by kubeadm.
        Err(crate::cluster::EditError::Object(ObjectError::Missing(_))) => Ok(()),
        Err(error) => Err(format!("ConfigMap kube-system/kubeadm-config: {error}")),
    }
}

impl Published {
    fn take_configuration(&mut self, result: Result<(), String>) {
        self.held.extend(result.err());
    }

    fn take(&mut self, object: &str, result: Result<TrustState, ObjectError>) {
        match result {
            Ok(state) if state.status == TrustStatus::Outdated => {
                self.waits.push(format!("{object} does not have the CA certificates yet"));
            }
            Ok(_) => {}
            Err(ObjectError::Malformed { object, reason }) => {
                self.held.push(format!("{object} can't be used: {reason}"));
            }
            Err(error) => self.waits.push(error.to_string()),
        }
    }

    fn take_copies(&mut self, kind: &str, result: Result<PublishedCopies, ObjectError>) {
        match result {
            Ok(PublishedCopies { outdated: 0, .. }) => {}
            Ok(PublishedCopies { outdated, total, named }) => self.waits.push(format!(
                "{outdated} of {total} {kind} are outdated: kube-controller-manager writes them \
                 ({})",
                named.join(", ")
            )),
            Err(error) => self.waits.push(error.to_string()),
        }
    }
}
