//! kubelet's own client certificate. kubelet renews it long before its expiry, and can't once it
//! has expired, since it authenticates with the old certificate when it requests a new one. Only
//! then it is issued here.

use super::authority::{authority_condition, authority_trouble};
use crate::model::{
    Action, Authority, AuthorityCondition, AuthorityFacts, Condition, Credential, CredentialFacts,
    CredentialName, KubeletClient, KubeletPair, Leaf, Location, Material, Need, Renewal, Timestamp,
};

/// What is done about kubelet's client certificate in this state, with its CA in that state.
/// `known` tells whether it is known which node it is for. `docs/judging.md` is this table in
/// print; a test holds the two together.
#[must_use]
pub fn kubelet_action(condition: Condition, authority: AuthorityCondition, known: bool) -> Action {
    use AuthorityCondition as A;
    use Condition as C;
    match (condition, authority) {
        (C::Fresh | C::Absent | C::NoCertificate, _) => Action::Nothing,
        // Left to kubelet, or to the operator who configured it so.
        (C::Due | C::Urgent | C::EndsWithAuthority | C::ForeignIssuer | C::SelfSigned, _) => {
            Action::Report
        }
        (_, A::Usable) if known => Action::Renew,
        (C::Expired | C::NotYetValid | C::Sha1, A::External) => Action::Report,
        _ => Action::Error,
    }
}

/// Whether it is issued here when kubelet can't get another one itself.
pub(in crate::plan) fn kubelet_repaired_here(facts: &CredentialFacts) -> Option<&KubeletClient> {
    let credential = &facts.credential;
    facts
        .kubelet
        .as_ref()
        .filter(|_| credential.renewal == Renewal::Kubelet && credential.authority.is_some())
}

/// The facts with kubelet.conf in the place of what it should point to, where kubelet can't start
/// with that: it looks at nothing else then.
pub(super) fn as_kubelet_starts(
    facts: &CredentialFacts,
    now: Timestamp,
) -> Option<CredentialFacts> {
    let client = kubelet_repaired_here(facts)?;
    if client.lost.is_some() {
        let location = Location::Kubeconfig(client.kubeconfig.clone());
        let need = Need::KubeletStart;
        let credential = Credential { location, need, ..facts.credential.clone() };
        return Some(CredentialFacts { credential, material: Material::Absent, ..facts.clone() });
    }
    let embedded = client.embedded.as_ref()?;
    let of_no_use = match embedded {
        Material::Whole(leaf) => now > leaf.not_after,
        // It may be fine.
        Material::Unreadable(_) => false,
        _ => true,
    };
    of_no_use.then(|| CredentialFacts { material: embedded.clone(), ..facts.clone() })
}

/// Why nothing is done about it here that would help, and what to do.
pub(super) fn left_to_others(
    facts: &CredentialFacts,
    authority: Option<&AuthorityFacts>,
    now: Timestamp,
) -> Option<String> {
    let client = kubelet_repaired_here(facts)?;
    let trouble = authority.map(|authority| match authority_condition(&authority.state, now) {
        AuthorityCondition::External => {
            let Authority { name, key, .. } = &authority.authority;
            format!("{key}, the key of its CA {name}, is not on this node")
        }
        _ => authority_trouble(authority, now),
    });
    match trouble.filter(|trouble| !trouble.is_empty()) {
        None => client.obstacle().cloned(),
        Some(trouble) => Some(format!(
            "kubelet can't renew it any more; {trouble}; {}",
            by_hand(&facts.credential.name, client)
        )),
    }
}

/// Why kubelet does not renew a certificate of its own, and what to do; `None` where it does.
pub(in crate::plan) fn not_by_kubelet(facts: &CredentialFacts) -> Option<(String, String)> {
    let location = &facts.credential.location;
    match &facts.credential.renewal {
        Renewal::Operator(KubeletPair::SelfSigned)
            if let Some(leaf) = facts.material.leaf().filter(|leaf| !is_made_by_kubelet(leaf)) =>
        {
            let why = format!(
                "kubelet did not make it (it is for {}), and never renews it",
                leaf.subject
            );
            Some((why, WHERE_IT_WAS_MADE.to_owned()))
        }
        Renewal::Operator(KubeletPair::SelfSigned) => {
            let files: Vec<String> = location.files().map(ToString::to_string).collect();
            Some((
                "kubelet made it once and never renews it".to_owned(),
                format!(
                    "remove {} and run systemctl restart kubelet, which makes a new pair; or set \
                     serverTLSBootstrap: true in kubelet's configuration, and approve the requests \
                     that kubelet makes then (kubectl get csr)",
                    files.join(" and ")
                ),
            ))
        }
        Renewal::Operator(KubeletPair::Named(by)) => Some((
            format!("{by} names it, and kubelet does not renew it"),
            WHERE_IT_WAS_MADE.to_owned(),
        )),
        Renewal::Kubelet => {
            let client = kubelet_repaired_here(facts)?;
            let off = client.rotation_off.as_ref()?;
            let name = &facts.credential.name;
            Some((
                format!("kubelet does not renew it: {off}"),
                format!(
                    "set rotateCertificates: true in kubelet's configuration and run systemctl \
                     restart kubelet; or, on a node with the key of its CA, run kubecertd renew \
                     {name} --force"
                ),
            ))
        }
        Renewal::Ours | Renewal::Elsewhere | Renewal::Copy(_) => None,
    }
}

/// What an operator does about a serving certificate that kubelet did not make.
const WHERE_IT_WAS_MADE: &str = "renew it where it was made, and install certificate and key \
    here; up to Kubernetes 1.30, run systemctl restart kubelet then; an own entry with its CA \
    has it renewed here";

/// Whether kubelet made a serving certificate itself: it is for `NAME@SECONDS` then
/// (`GenerateSelfSignedCertKey` in client-go).
fn is_made_by_kubelet(leaf: &Leaf) -> bool {
    let is_common_name = |(kind, _): &&(&str, String)| *kind == "CN";
    let name = leaf.parts.subject.iter().find(is_common_name);
    let seconds = name.and_then(|(_, name)| name.rsplit_once('@'));
    seconds.is_some_and(|(_, seconds)| {
        !seconds.is_empty() && seconds.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// What an operator does where the key of the authority is not here: the commands, and on which
/// node each one is run.
pub(in crate::plan) fn by_hand(name: &CredentialName, client: &KubeletClient) -> String {
    if client.lost.is_some() {
        return new_kubeconfig(client);
    }
    match &client.node {
        Ok(node) => format!(
            "run `kubecertd csr {name} > {node}.csr` here and copy the file to a control-plane \
             node that has the key; run `kubecertd sign --node {node} {node}.csr > {node}.crt` \
             there and copy that file here; then run `kubecertd install {name} {node}.crt` here"
        ),
        Err(reason) => reason.clone(),
    }
}

/// A kubeconfig with a certificate of its own, where kubelet has none.
fn new_kubeconfig(client: &KubeletClient) -> String {
    let (name, conf) = (client.node.as_deref().unwrap_or("NAME"), &client.kubeconfig);
    format!(
        "on a control-plane node that has the key, run `kubectl -n kube-system get configmap \
         kubeadm-config -o jsonpath='{{.data.ClusterConfiguration}}' > kubeadm.yaml` and `kubeadm \
         kubeconfig user --config kubeadm.yaml --org system:nodes --client-name system:node:{name} \
         > kubelet.conf` (up to Kubernetes 1.20 `kubeadm alpha kubeconfig user`), copy that file \
         here to {conf}, and run `systemctl restart kubelet`"
    )
}

#[cfg(test)]
#[path = "kubelet_tests.rs"]
mod tests;
