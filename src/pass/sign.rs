//! `kubecertd sign`: signs the request of another node for kubelet's client certificate, with the
//! root CA of the cluster. Changes nothing on this node.
//!
//! Whom the certificate is for is said by the operator, who names the Node, and by the cluster,
//! which has to have that Node; the request only has to agree.

use super::PassError;
use super::decision::clock_trust;
use super::survey::{policy, survey};
use crate::credentials::load_authority;
use crate::formats::x509::{
    Certificate, IssueError, NodeRequest, NodeRequestError, Terms, random_serial,
};
use crate::model::{
    AuthorityCondition, AuthorityFacts, AuthorityJudgement, AuthorityKey, AuthorityState,
    ClockTrust, Timestamp,
};
use crate::observe::{Node, NodeNotFound, Platform, check_cluster_node, is_node_name};
use crate::plan::{policy_for_clock, terms};
use crate::sys::block_on;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// This kind of node is not supported.
    #[error(transparent)]
    Platform(PassError),
    /// No Node has such a name.
    #[error("{0:?} is no name of a Node: kubectl get nodes lists them")]
    Name(String),
    /// The request is refused.
    #[error("the request is refused: {0}")]
    Request(#[from] NodeRequestError),
    /// The root CA can't sign.
    #[error(
        "nothing can be signed here: {0}; run kubecertd sign on a control-plane node that \
        has the key of the root CA"
    )]
    Authority(String),
    /// The clock is not trusted.
    #[error("{0}")]
    Clock(String),
    /// The cluster has no such Node, or can't be asked.
    #[error(transparent)]
    Node(#[from] NodeNotFound),
    /// No certificate could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The API could not be asked.
    #[error("the API can't be asked: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Signs a request, in PEM, for kubelet on the Node of this name.
///
/// # Errors
/// The first thing that is wrong. Then nothing is signed.
pub fn sign(
    node: &Node,
    name: &str,
    request: &[u8],
    now: Timestamp,
) -> Result<Certificate, SignError> {
    if node.platform == Platform::StarlingX {
        return Err(SignError::Platform(PassError::Platform));
    }
    if !is_node_name(name) {
        return Err(SignError::Name(name.to_owned()));
    }
    let request = NodeRequest::parse(request, name)?;
    let root = usable_root(node, now)?;
    let terms = signing_terms(node, &root, now)?;
    block_on(check_cluster_node(node, &root.authority, name, now))??;
    let loaded = load_authority(&node.root, &root.authority);
    let (issuer, key) = loaded.signer(now).ok_or_else(|| {
        SignError::Authority(format!("the CA {} was changed meanwhile", root.authority.name))
    })?;
    Ok(request.issue(issuer, key, &terms, now)?)
}

/// The root CA of the cluster, if its key is here and it may sign now.
fn usable_root(node: &Node, now: Timestamp) -> Result<AuthorityFacts, SignError> {
    let mut authorities = survey(node, now).authorities.into_iter();
    let Some((facts, judgement)) = authorities.find(|(facts, _)| facts.authority.root) else {
        return Err(SignError::Authority("the profile has no root CA".to_owned()));
    };
    if judgement.condition == AuthorityCondition::Usable {
        return Ok(facts);
    }
    Err(SignError::Authority(trouble(&facts, judgement)))
}

fn trouble(facts: &AuthorityFacts, judgement: AuthorityJudgement) -> String {
    match &facts.state {
        AuthorityState::Present { key: AuthorityKey::Absent, .. } => {
            format!("{} is not on this node", facts.authority.key)
        }
        _ => judgement.reason,
    }
}

/// The dates of a certificate that a pass would issue for kubelet of this node.
fn signing_terms(node: &Node, root: &AuthorityFacts, now: Timestamp) -> Result<Terms, SignError> {
    let trust = clock_trust(node, false, now);
    if let ClockTrust::NotTrusted(reason) = trust {
        return Err(SignError::Clock(reason));
    }
    let dates = terms(root, &policy_for_clock(policy(node), &trust), now);
    let dates =
        dates.ok_or_else(|| SignError::Authority("the CA has no certificate".to_owned()))?;
    Ok(Terms { serial: random_serial()?, not_before: dates.not_before, not_after: dates.not_after })
}
