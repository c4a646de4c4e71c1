//! What kube-controller-manager of this node signs with, by its manifest.

use super::Node;
use crate::credentials::Files;
use crate::formats::manifest::Pod;
use crate::model::{AbsolutePath, Authority, SIGNING_FILES, ServiceKind, SigningFiles};

/// The flags of kube-controller-manager that name the certificate and the key to sign with.
pub const SIGNING_FLAGS: [&str; 2] = ["cluster-signing-cert-file", "cluster-signing-key-file"];

/// The name of the service and of its container.
pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// kube-controller-manager as its manifest on this node describes it.
#[derive(Debug)]
pub struct ControllerManager {
    /// The manifest.
    pub manifest: AbsolutePath,
    /// Its pod, with the arguments of the container itself.
    pub pod: Pod,
}

impl ControllerManager {
    /// Reads the manifest.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn read(node: &Node, files: &impl Files) -> Result<Self, String> {
        let manifest = controller_manager_manifest(node)
            .ok_or("the manifest of kube-controller-manager was not found")?;
        let content = files.read(&manifest).map_err(|e| e.to_string())?;
        let content = content.ok_or_else(|| format!("{manifest}: it does not exist"))?;
        let text = std::str::from_utf8(content.expose())
            .map_err(|_| format!("{manifest}: it is not UTF-8 text"))?;
        let pod = Pod::parse(text).map_err(|e| format!("{manifest}: {e}"))?;
        Ok(Self { pod: pod.of_component(CONTROLLER_MANAGER), manifest })
    }

    /// The values of its signing flags, for either pair of files.
    ///
    /// # Errors
    /// When it lacks a flag, or does not see the files beside that which a flag names.
    pub fn signing_values(&self, authority: &Authority) -> Result<SigningValues, String> {
        SigningValues::of(&self.pod, authority).map_err(|e| format!("{}: {e}", self.manifest))
    }
}

/// The manifest of kube-controller-manager on this node.
#[must_use]
pub fn controller_manager_manifest(node: &Node) -> Option<AbsolutePath> {
    let mut services = node.catalog.services.iter();
    let service = services.find(|one| one.name.as_str() == CONTROLLER_MANAGER)?;
    let ServiceKind::StaticPod { manifest: Some(file), .. } = &service.kind else { return None };
    AbsolutePath::new(node.settings.paths.manifests.as_path().join(file)).ok()
}

/// The files of its own with which kube-controller-manager signs during a rotation: certificate and
/// key, beside `ca.crt`, which it has mounted.
#[must_use]
pub fn signing_files(authority: &Authority) -> [AbsolutePath; 2] {
    SIGNING_FILES.map(|name| {
        authority.certificate.sibling(name).unwrap_or_else(|_| authority.certificate.clone())
    })
}

/// The values of the two signing flags, as the container sees the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningValues {
    /// For `ca.crt` and `ca.key`.
    pub ca_files: [String; 2],
    /// For the files of its own.
    pub own: [String; 2],
}

impl SigningValues {
    /// The values beside those that a pod has now.
    fn of(pod: &Pod, authority: &Authority) -> Result<Self, String> {
        let value = |flag: &str, file: &AbsolutePath| {
            let present = pod.flag(flag).ok_or_else(|| format!("it lacks --{flag}"))?;
            let name = file.as_path().file_name().unwrap_or_default();
            let value = std::path::Path::new(present).with_file_name(name);
            let value = value.to_string_lossy().into_owned();
            match pod.host_path(&value) {
                Ok(seen) if seen == *file => Ok(value),
                Ok(_) | Err(_) => Err(format!(
                    "kube-controller-manager does not see {file} beside the file that --{flag} \
                     names: mount the directory, as kubeadm does"
                )),
            }
        };
        let both = |[certificate, key]: [&AbsolutePath; 2]| {
            let [of_certificate, of_key] = SIGNING_FLAGS;
            Ok::<_, String>([value(of_certificate, certificate)?, value(of_key, key)?])
        };
        let [certificate, key] = &signing_files(authority);
        Ok(Self {
            ca_files: both([&authority.certificate, &authority.key])?,
            own: both([certificate, key])?,
        })
    }

    /// Those for these files.
    #[must_use]
    pub fn for_files(&self, signing: SigningFiles) -> [&str; 2] {
        match signing {
            SigningFiles::CaFiles => self.ca_files.each_ref().map(String::as_str),
            SigningFiles::Own(_) => self.own.each_ref().map(String::as_str),
        }
    }
}
