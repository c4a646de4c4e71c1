//! What services should use: the contents of the files at one moment.

use super::steps::Judged;
use crate::model::{
    AbsolutePath, CaCertificates, ContentName, CredentialName, Leaf, Material, TrustFileFacts,
};

/// The contents that services read, as they are on the disk.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk<'s> {
    /// The credentials, judged.
    pub credentials: &'s [Judged],
    /// The files with CA certificates.
    pub trust_files: &'s [TrustFileFacts],
}

impl<'s> OnDisk<'s> {
    /// The certificate of a credential, or why it can't be used.
    ///
    /// # Errors
    /// The reason.
    pub fn leaf(self, name: &CredentialName) -> Result<&'s Leaf, String> {
        let judged = Judged::find(self.credentials, name)
            .ok_or_else(|| format!("{name} is not among the credentials of this node"))?;
        match &judged.facts.material {
            Material::Whole(leaf) => Ok(leaf),
            _ => Err(judged.judgement.reason.clone()),
        }
    }

    /// The CA certificates of a file, or why they are not known.
    ///
    /// # Errors
    /// The reason.
    pub fn ca_certificates(self, file: &AbsolutePath) -> Result<&'s CaCertificates, String> {
        let facts = self.trust_files.iter().find(|facts| facts.file == *file);
        let facts = facts.ok_or_else(|| format!("{file} was not read"))?;
        facts.certificates.as_ref().map_err(Clone::clone)
    }

    /// The fingerprint of a content in hex, or why it is not known.
    ///
    /// # Errors
    /// The reason.
    pub fn fingerprint(self, content: &ContentName) -> Result<String, String> {
        match content {
            ContentName::Credential(name) => Ok(self.leaf(name)?.fingerprint.to_string()),
            ContentName::CaCertificates(file) => {
                Ok(self.ca_certificates(file)?.fingerprint.to_string())
            }
        }
    }
}
