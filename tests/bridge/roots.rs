//! Pairs of an old and a new root CA, with the bridge, and a server's and a client's certificate of
//! the new one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kubecertd::formats::x509::{
    Certificate, DistinguishedName, KeyAlgorithm, NamePart, NewRoot, PrivateKey, RootLifetime,
    Terms, bridge, new_root, random_serial, reissue, template,
};
use kubecertd::model::{San, Subject, Timestamp, Usage, days};
use kubecertd::sys::{Clock as _, SystemClock};
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, KeyUsagePurpose};

/// The differences between the pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Whether old and new root have one name.
    pub has_same_name: bool,
    /// Whether the old root has a subject key identifier. The new one always has.
    pub old_has_identifier: bool,
}

impl Kind {
    pub const ALL: [Self; 4] = [
        Self { has_same_name: false, old_has_identifier: true },
        Self { has_same_name: false, old_has_identifier: false },
        Self { has_same_name: true, old_has_identifier: true },
        Self { has_same_name: true, old_has_identifier: false },
    ];
}

/// What is shown to a verifier, and what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whether the verifier knows the old root alone, or the new one alone.
    pub knows_old: bool,
    /// Whether the bridge is behind the certificate.
    pub with_bridge: bool,
}

impl Case {
    /// What the bridge is for.
    pub const CONNECTING: Self = Self { knows_old: true, with_bridge: true };

    /// The third one is the control: nothing but the bridge lets the old root verify it.
    pub const ALL: [Self; 4] = [
        Self::CONNECTING,
        Self { knows_old: false, with_bridge: true },
        Self { knows_old: true, with_bridge: false },
        Self { knows_old: false, with_bridge: false },
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = if self.knows_old { "old" } else { "new" };
        let shown = if self.with_bridge { "with" } else { "without" };
        write!(f, "a peer that shows its certificate {shown} the bridge, by the {known} root")
    }
}

/// An old and a new root CA, and what the new one issued.
pub struct Pair {
    pub kind: Kind,
    pub old: Certificate,
    pub old_key: PrivateKey,
    pub new: NewRoot,
    pub bridge: Certificate,
    pub server: Leaf,
    pub client: Leaf,
    /// The same as files, for other programs.
    pub files: Files,
}

/// A certificate of the new root with its key.
pub struct Leaf {
    pub certificate: Certificate,
    pub key: PrivateKey,
}

impl Pair {
    /// The certificates that are shown for a leaf.
    pub fn chain(&self, leaf: &Leaf, with_bridge: bool) -> Vec<Certificate> {
        let bridge = with_bridge.then(|| self.bridge.clone());
        [leaf.certificate.clone()].into_iter().chain(bridge).collect()
    }

    /// The root that a verifier knows.
    pub fn known(&self, case: Case) -> &Certificate {
        if case.knows_old { &self.old } else { &self.new.certificate }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.kind.has_same_name { "one name" } else { "two names" };
        let identifier = if self.kind.old_has_identifier { "with" } else { "without" };
        write!(
            f,
            "{} roots of {name}, the old one {identifier} a key identifier",
            self.old.key_algorithm
        )
    }
}

/// The files of a pair.
pub struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    pub fn known(&self, case: Case) -> PathBuf {
        self.path(if case.knows_old { "old.crt" } else { "new.crt" })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }
}

/// All pairs: each kind with both kinds of keys that kubeadm makes. Tests that run at the same time
/// share them, and the last one removes the files.
pub fn pairs() -> Arc<Vec<Pair>> {
    static SHARED: Mutex<Weak<Vec<Pair>>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(make_pairs());
        *shared = Arc::downgrade(&made);
        made
    })
}

fn make_pairs() -> Vec<Pair> {
    let algorithms = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048];
    let all = algorithms.iter().flat_map(|algorithm| Kind::ALL.map(|kind| (algorithm, kind)));
    let all: Vec<_> = all.collect();
    std::thread::scope(|scope| {
        let made: Vec<_> =
            all.iter().map(|(algorithm, kind)| scope.spawn(|| pair(algorithm, *kind))).collect();
        made.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

pub fn terms() -> Terms {
    Terms {
        serial: random_serial().unwrap(),
        not_before: now().minus(Duration::from_secs(300)),
        not_after: now().plus(days(365)),
    }
}

fn pair(algorithm: &KeyAlgorithm, kind: Kind) -> Pair {
    let old_key = PrivateKey::generate(algorithm).unwrap();
    let old = old_root(&old_key, kind.old_has_identifier);
    let other = DistinguishedName::from_parts(&[(NamePart::CommonName, "kubernetes-2")]).unwrap();
    let subject = if kind.has_same_name { &old.subject } else { &other };
    let lifetime =
        RootLifetime { now: now(), tolerated_skew: Duration::from_secs(300), validity: days(3650) };
    let new = new_root(subject, algorithm, &lifetime).unwrap();
    let bridge = match bridge(&new.certificate, &old, &old_key, &terms(), now()) {
        Ok(der) => der,
        // What it would be if it were not refused.
        Err(_) => reissue(&new.certificate, &old, &old_key, &new.key, &terms()).unwrap(),
    };
    let leaf = |usage, names: &[San]| {
        let subject = Subject { common_name: "peer".to_owned(), organization: None };
        let template = template(&subject, &[usage], names).unwrap();
        let key = PrivateKey::generate(algorithm).unwrap();
        let der = reissue(&template, &new.certificate, &new.key, &key, &terms()).unwrap();
        Leaf { certificate: Certificate::from_der(&der).unwrap(), key }
    };
    let address = San::Address([127, 0, 0, 1].into());
    let (server, client) = (leaf(Usage::Server, &[address]), leaf(Usage::Client, &[]));
    let bridge = Certificate::from_der(&bridge).unwrap();
    let files = Files { dir: tempfile::tempdir().unwrap() };
    for (name, certificate) in [
        ("old.crt", &old),
        ("new.crt", &new.certificate),
        ("bridge.crt", &bridge),
        ("server.crt", &server.certificate),
        ("client.crt", &client.certificate),
    ] {
        files.write(name, certificate.to_pem());
    }
    files.write("server.key", server.key.to_pem().unwrap().expose());
    Pair { kind, old, old_key, new, bridge, server, client, files }
}

/// A root as kubeadm makes it; with rcgen, because that leaves the key identifier out when the
/// extensions are stated one by one.
fn old_root(key: &PrivateKey, has_identifier: bool) -> Certificate {
    let pem = key.to_pem().unwrap();
    let signer = KeyPair::from_pem(std::str::from_utf8(pem.expose()).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = DnValue::PrintableString("kubernetes".try_into().unwrap());
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    let mut constraints =
        CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
    constraints.set_criticality(true);
    params.custom_extensions.push(constraints);
    if has_identifier {
        let value = [&[4, 7], "old key".as_bytes()].concat();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 14], value));
    }
    let root = Certificate::from_der(params.self_signed(&signer).unwrap().der()).unwrap();
    assert!(root.is_ca() && root.subject_key_identifier.is_some() == has_identifier);
    root
}
