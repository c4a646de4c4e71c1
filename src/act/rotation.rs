//! The steps of a rotation of the root CA that write files of this node. Each one is a transaction
//! of the store: its contents are checked before anything is replaced, and the old ones are in a
//! backup.

use super::ca_certificate::kubeconfig;
use crate::credentials::{ComposeError, Files, Loaded, Stored, load, with_roots};
use crate::formats::edit::EditError;
use crate::formats::manifest::with_flags;
use crate::formats::rotation_intent::{CaPair, RotationIntent};
use crate::formats::x509::{Certificate, KeyError, PrivateKey, ReadError, certificates};
use crate::model::{
    AbsolutePath, Authority, CaFile, Credential, CredentialName, Digest, InvalidName, ReplacedCa,
    RootCa, Secret, SigningFiles, Timestamp, TrustedRoots,
};
use crate::store::{Backup, Change, Kind, NewFile, Store, StoreError};
use crate::sys::{FileError, Root};

/// The keys of a CA that is replaced, as far as they are on this node.
#[derive(Debug, Default)]
pub struct RotationKeys {
    /// The CA.
    pub ca: ReplacedCa,
    /// Its key before that.
    pub old: Option<PrivateKey>,
    /// Its key after that.
    pub new: Option<PrivateKey>,
}

impl RotationKeys {
    /// The key of a root.
    ///
    /// # Errors
    /// When it is not on this node.
    pub fn of(&self, root: RootCa) -> Result<&PrivateKey, RotationStepError> {
        let key = match root {
            RootCa::Old => self.old.as_ref(),
            RootCa::New => self.new.as_ref(),
        };
        key.ok_or(RotationStepError::NoKey {
            ca: match (self.ca, root) {
                (ReplacedCa::Root, RootCa::Old) => "old root CA",
                (ReplacedCa::Root, RootCa::New) => "new root CA",
                (ReplacedCa::FrontProxy, RootCa::Old) => "old CA of the front proxy",
                (ReplacedCa::FrontProxy, RootCa::New) => "new CA of the front proxy",
            },
            file: self.ca.key_name(root),
        })
    }
}

/// Why a step was not made. Nothing was replaced then.
#[derive(Debug, thiserror::Error)]
pub enum RotationStepError {
    /// The key is on another node.
    #[error(
        "the key of the {ca} is not on this node: put a copy of it into {file} in the state \
         directory of kubecertd, readable by root alone"
    )]
    NoKey {
        /// The CA.
        ca: &'static str,
        /// The file for it below the state directory.
        file: &'static str,
    },
    /// The profile has no CA of the front proxy.
    #[error("the CA of the front proxy is not known")]
    NoFrontProxy,
    /// A certificate would not be accepted any more.
    #[error("{file} would not be right: {credential} does not verify by it")]
    Lost {
        /// The file that was to be written.
        file: AbsolutePath,
        /// The certificate.
        credential: CredentialName,
    },
    /// The manifest can't be changed.
    #[error("{file}: {problem}")]
    Manifest {
        /// The manifest.
        file: AbsolutePath,
        /// Why.
        problem: EditError,
    },
    /// The flags of kube-controller-manager can't be set.
    #[error("{0}")]
    Flags(String),
    /// A file of the step does not exist, or is not text.
    #[error("{file}: {problem}")]
    Unusable {
        /// The file.
        file: AbsolutePath,
        /// Why.
        problem: &'static str,
    },
    /// What was staged, read back, is not what was to be written.
    #[error(
        "a written file, read back, does not hold what was to be written; nothing was replaced"
    )]
    ReadBack,
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A kubeconfig can't be changed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The files could not be replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be written as text.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A written certificate can't be read.
    #[error("a written certificate can't be read back: {0}")]
    Read(#[from] ReadError),
    /// The name of the CA is no name, which should not happen.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// What a step has written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files.
    pub files: Vec<AbsolutePath>,
    /// What was left as it is, each with the reason.
    pub left: Vec<String>,
}

/// A CA that is replaced on one node.
#[derive(Clone, Copy)]
pub struct CaFiles<'r> {
    /// The CA in the catalog.
    pub authority: &'r Authority,
    /// Its certificates before and after that.
    pub certificates: &'r CaPair,
    /// Its keys.
    pub keys: &'r RotationKeys,
}

/// The files of a rotation on one node.
#[derive(Clone, Copy)]
pub struct RotationFiles<'r> {
    /// The root directory.
    pub root: &'r Root,
    /// The CA whose files they are.
    pub ca: CaFiles<'r>,
    /// The rotation.
    pub intent: &'r RotationIntent,
    /// The present time.
    pub now: Timestamp,
    /// How many backups are kept.
    pub backups: usize,
}

impl RotationFiles<'_> {
    /// Writes the certificates of the CA, and its key with them where it is given whose key it is
    /// to be. Each of these credentials has to verify by them. The other key is in no backup: it
    /// has to be among those of the rotation.
    ///
    /// # Errors
    /// When one of them would not, a key is missing, or the files can't be replaced.
    pub fn write_ca<'c>(
        &self,
        store: &mut Store<'_>,
        ca: CaFile,
        key: Option<RootCa>,
        credentials: impl Iterator<Item = &'c Credential>,
    ) -> Result<Written, RotationStepError> {
        let CaFiles { authority, certificates: of, keys } = self.ca;
        let wanted: Vec<_> = ca.in_order().iter().map(|root| of.of(*root)).collect();
        let file = &authority.certificate;
        for credential in credentials {
            let Loaded::Whole(stored) = load(self.root, credential) else { continue };
            if !is_accepted(&stored, &wanted) {
                let credential = credential.name.clone();
                return Err(RotationStepError::Lost { file: file.clone(), credential });
            }
        }
        let text: String = wanted.iter().map(|one| one.to_pem()).collect();
        let mut files = Vec::new();
        if let Some(root) = key {
            keys.of(root.other())?;
            let content = keys.of(root)?.to_pem()?;
            files.push(self.new_file(&authority.key, content, Kind::AuthorityKey)?);
        }
        files.push(self.new_file(file, Secret::from(text), Kind::Certificate)?);
        self.replace(store, files, |contents| {
            let (written, text) = match contents {
                [text] => (None, text),
                [key, text] => (Some(key), text),
                _ => return Ok(false),
            };
            let fits = match (key, written) {
                (Some(root), Some(key)) => PrivateKey::from_pem(key.expose())?.fits(of.of(root)),
                _ => key.is_none(),
            };
            Ok(fits && certificates(text.expose())?.iter().eq(wanted.iter().copied()))
        })
    }

    /// Has these kubeconfigs trust these roots. One that can't be changed is left and named.
    ///
    /// # Errors
    /// When the files can't be replaced.
    pub fn trust<'k>(
        &self,
        store: &mut Store<'_>,
        kubeconfigs: impl Iterator<Item = &'k AbsolutePath>,
        trusted: TrustedRoots,
    ) -> Result<Written, RotationStepError> {
        let roots = [RootCa::Old, RootCa::New].map(|root| self.ca.certificates.of(root));
        let wanted: Vec<_> =
            trusted.in_order().iter().map(|root| self.ca.certificates.of(*root)).collect();
        let mut files: Vec<NewFile> = Vec::new();
        let mut left = Vec::new();
        for path in kubeconfigs {
            if files.iter().any(|file| file.path == *path) {
                continue;
            }
            match kubeconfig(self.root, path, |old| with_roots(path, old, roots, &wanted)) {
                Ok(file) => files.extend(file),
                Err(reason) => left.push(format!("{path}: {reason}")),
            }
        }
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        let mut written = self.replace(store, files, |contents| {
            for (path, content) in paths.iter().zip(contents) {
                if with_roots(path, content, roots, &wanted)?.is_some() {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        written.left = left;
        Ok(written)
    }

    /// Gives kube-controller-manager these files to sign with: the files first, then the flags of
    /// its manifest where they are others. `own` are the certificate and the key of its own files,
    /// and the flags have the values that its container sees.
    ///
    /// # Errors
    /// When the manifest can't be changed, or the files can't be replaced.
    pub fn sign_with(
        &self,
        store: &mut Store<'_>,
        signing: SigningFiles,
        manifest: &AbsolutePath,
        own: &[AbsolutePath; 2],
        flags: [(&str, &str); 2],
    ) -> Result<Written, RotationStepError> {
        let mut written = Written::default();
        if let SigningFiles::Own(root) = signing {
            written = self.write_signing_files(store, root, own)?;
        }
        let old = Files::read(self.root, manifest)?;
        let unusable = |problem| RotationStepError::Unusable { file: manifest.clone(), problem };
        let old = old.ok_or_else(|| unusable("it does not exist"))?;
        let text = String::from_utf8(old.expose().to_vec())
            .map_err(|_| unusable("it is not UTF-8 text"))?;
        let wanted = flags.map(|(flag, value)| (flag, Some(value)));
        let edit = |text: &str| {
            with_flags(text, "kube-controller-manager", &wanted)
                .map_err(|problem| RotationStepError::Manifest { file: manifest.clone(), problem })
        };
        let Some(new) = edit(&text)? else { return Ok(written) };
        let file = NewFile {
            path: manifest.clone(),
            content: Secret::from(new),
            old: Some(Digest::of(old.expose())),
            kind: Kind::Private,
        };
        let of_manifest = self.replace(store, vec![file], |contents| {
            let [content] = contents else { return Ok(false) };
            let text = std::str::from_utf8(content.expose()).unwrap_or_default();
            Ok(edit(text)?.is_none())
        })?;
        written.files.extend(of_manifest.files);
        Ok(written)
    }

    fn write_signing_files(
        &self,
        store: &mut Store<'_>,
        root: RootCa,
        [certificate, key]: &[AbsolutePath; 2],
    ) -> Result<Written, RotationStepError> {
        let wanted = self.ca.certificates.of(root);
        let content = self.ca.keys.of(root)?.to_pem()?;
        let files = vec![
            self.new_file(key, content, Kind::AuthorityKey)?,
            self.new_file(certificate, Secret::from(wanted.to_pem()), Kind::Certificate)?,
        ];
        self.replace(store, files, |contents| {
            let [key, text] = contents else { return Ok(false) };
            Ok(PrivateKey::from_pem(key.expose())?.fits(wanted)
                && certificates(text.expose())?.iter().eq([wanted]))
        })
    }

    /// Removes what stands behind the certificates of these credentials.
    ///
    /// # Errors
    /// When the files can't be replaced.
    pub fn drop_bridges<'c>(
        &self,
        store: &mut Store<'_>,
        credentials: impl Iterator<Item = &'c Credential>,
    ) -> Result<Written, RotationStepError> {
        let mut written = Written::default();
        for credential in credentials {
            let Loaded::Whole(stored) = load(self.root, credential) else { continue };
            let bridges = [&self.intent.bridge, &self.intent.bridge_back];
            let is_bridge = |one: &&Certificate| bridges.iter().any(|it| it.as_ref() == Some(*one));
            if !stored.further.iter().any(|one| is_bridge(&one)) {
                continue;
            }
            let kept: Vec<_> =
                stored.further.iter().filter(|one| !is_bridge(one)).cloned().collect();
            let contents: Vec<Secret> =
                stored.form.sources().filter_map(|file| file.content.clone()).collect();
            let (_, key) = stored.read_back(&contents)?;
            let key = key.to_pem()?;
            let mut files = stored.compose_chain(&stored.certificate, &kept, &key)?.files;
            // The key of a pair stays as it is.
            files.retain(|file| file.kind == Kind::Certificate || files_are_one(&stored));
            let done = self.replace(store, files, |contents| {
                let found = stored.chain_in(contents);
                Ok(found.iter().eq([&stored.certificate].into_iter().chain(&kept)))
            })?;
            written.files.extend(done.files);
        }
        Ok(written)
    }

    fn new_file(
        &self,
        path: &AbsolutePath,
        content: Secret,
        kind: Kind,
    ) -> Result<NewFile, RotationStepError> {
        let old = Files::read(self.root, path)?.map(|old| Digest::of(old.expose()));
        Ok(NewFile { path: path.clone(), content, old, kind })
    }

    fn replace(
        &self,
        store: &mut Store<'_>,
        files: Vec<NewFile>,
        is_right: impl FnOnce(&[Secret]) -> Result<bool, RotationStepError>,
    ) -> Result<Written, RotationStepError> {
        if files.is_empty() {
            return Ok(Written::default());
        }
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let change = Change {
            credential: CredentialName::new(self.ca.authority.name.as_str())?,
            files,
            link: None,
            backup: Backup::Required,
        };
        let change = store.stage(change)?.check(|contents| match is_right(contents)? {
            true => Ok(()),
            false => Err(RotationStepError::ReadBack),
        })?;
        let commit = store.commit(vec![change], self.now, self.backups);
        commit.outcomes.into_iter().try_for_each(|outcome| outcome.result)?;
        Ok(Written { files: paths, left: commit.notes })
    }
}

/// Whether certificate and key are in one file.
fn files_are_one(stored: &Stored) -> bool {
    stored.form.sources().count() == 1
}

/// Whether a certificate verifies by one of these roots, for Go and for OpenSSL: itself, or by what
/// stands behind it.
fn is_accepted(stored: &Stored, wanted: &[&Certificate]) -> bool {
    let leaf = &stored.certificate;
    let by_root = |one: &Certificate| wanted.iter().any(|root| one.verifies_by(root));
    by_root(leaf) || stored.further.iter().any(|one| leaf.verifies_by(one) && by_root(one))
}
