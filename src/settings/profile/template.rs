//! What a profile says of a credential that is made again where it is lost.

use serde::Deserialize;

use crate::model::{CredentialName, Subject, Usage, Version};
use crate::settings::error::EntryProblem;

/// What a credential is made from where it is lost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with usages")]
pub struct ProfileTemplate {
    /// The sides of TLS that it is for.
    pub usages: Vec<Usage>,
    /// Its subject by the version of Kubernetes: the first entry whose version is not later counts.
    /// Empty where it has only one subject, which is that of the credential.
    #[serde(default)]
    pub subjects: Vec<VersionedSubject>,
    /// Names besides those that the flags give, `{node}` being the node's name.
    #[serde(default)]
    pub names: Vec<String>,
    /// The domain of the cluster, where no flag shows it.
    pub domain: Option<String>,
    /// For a kubeconfig: those that name the same server.
    #[serde(default)]
    pub servers: Vec<CredentialName>,
    /// Whether it is made only where the configuration asks for that.
    #[serde(default)]
    pub on_request: bool,
}

/// A subject, and the versions of Kubernetes that use it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a subject")]
pub struct VersionedSubject {
    /// The subject.
    pub subject: Subject,
    /// The first version that uses it; none for all.
    pub from: Option<Version>,
    /// Whether it is used where the version is not known.
    #[serde(default)]
    pub if_unknown: bool,
}

impl ProfileTemplate {
    /// The subject for a version of Kubernetes, where the profile says one.
    #[must_use]
    pub fn subject(&self, version: Option<Version>) -> Option<&Subject> {
        let fits = |one: &&VersionedSubject| match (one.from, version) {
            (None, Some(_)) => true,
            (Some(from), Some(version)) => from <= version,
            (_, None) => one.if_unknown,
        };
        self.subjects.iter().find(fits).map(|one| &one.subject)
    }
}

impl ProfileTemplate {
    /// Completes and checks the template of a credential with these subjects, so that it says one
    /// subject for every version.
    pub(super) fn completed(mut self, subjects: &[String]) -> Result<Self, EntryProblem> {
        if let ([only], true) = (subjects, self.subjects.is_empty()) {
            let subject = only.parse().map_err(|_| EntryProblem::Template)?;
            self.subjects.push(VersionedSubject { subject, from: None, if_unknown: true });
        }
        let is_listed = |one: &VersionedSubject| subjects.contains(&one.subject.to_string());
        let covers_all = self.subjects.iter().any(|one| one.from.is_none())
            && self.subjects.iter().any(|one| one.if_unknown);
        if covers_all && self.subjects.iter().all(is_listed) {
            Ok(self)
        } else {
            Err(EntryProblem::Template)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Profile;

    #[test]
    fn subject_follows_the_version() {
        let profile = Profile::kubeadm().unwrap();
        let subject = |name: &str, version: &str| {
            let credential =
                profile.credentials.iter().find(|one| one.name.as_str() == name).unwrap();
            let template = credential.template.as_ref().unwrap();
            template.subject(version.parse().ok()).unwrap().to_string()
        };
        let kubelet = "apiserver-kubelet-client";
        for (name, version, expected) in [
            (kubelet, "1.20.2", "CN=kube-apiserver-kubelet-client,O=system:masters"),
            (kubelet, "1.28.15", "CN=kube-apiserver-kubelet-client,O=system:masters"),
            (kubelet, "1.29.0", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
            (kubelet, "1.36.0", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
            (kubelet, "1.36.1", "CN=kube-apiserver-kubelet-client"),
            (kubelet, "1.37", "CN=kube-apiserver-kubelet-client"),
            (kubelet, "", "CN=kube-apiserver-kubelet-client,O=kubeadm:cluster-admins"),
            ("admin.conf", "1.28.0", "CN=kubernetes-admin,O=system:masters"),
            ("admin.conf", "1.36.2", "CN=kubernetes-admin,O=kubeadm:cluster-admins"),
            ("admin.conf", "", "CN=kubernetes-admin,O=kubeadm:cluster-admins"),
            ("apiserver-etcd-client", "1.20.2", "CN=kube-apiserver-etcd-client"),
            ("etcd/peer", "", "CN={node}"),
        ] {
            assert_eq!(subject(name, version), expected, "{name} {version}");
        }
        let made: Vec<_> = profile
            .credentials
            .iter()
            .filter(|one| one.template.is_none())
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(made, ["super-admin.conf", "kubelet-client", "kubelet-serving"]);
    }
}
