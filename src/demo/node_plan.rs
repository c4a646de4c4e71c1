//! The plan of a node, and the states in which its credentials will be found.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DemoError;
use super::sign::Lifetime;
use super::table::{
    AUTHORITIES, AuthorityEntry, CREDENTIALS, CredentialEntry, CredentialFiles, Origin,
};
use crate::formats::x509::KeyAlgorithm;
use crate::model::{AuthorityCondition, Condition, Timestamp, days};

/// The state that a credential is created in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Complete, with so many days left. Negative: it expired so many days ago.
    Days(i64),
    /// None of its files is present.
    Absent,
    /// The certificate is present, and its key is missing.
    KeyMissing,
    /// The key is present, and its certificate is missing.
    CertificateMissing,
    /// The key is that of another certificate.
    Mismatched,
    /// The certificate is truncated, as after an interrupted write.
    Damaged,
    /// Signed by an authority that is not on the node.
    ForeignIssuer,
    /// Signed by its own key.
    SelfSigned,
    /// Its validity begins tomorrow.
    NotYetValid,
}

/// The state that an authority is created in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityLife {
    /// Certificate and key are present, with so many days left. Negative: it expired so many days
    /// ago.
    Days(i64),
    /// Its key is missing.
    External,
    /// Its key is that of another authority.
    KeyUnusable,
}

/// The plan of a node.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The kind of every key.
    pub(super) key: KeyAlgorithm,
    /// The state of the credentials that kubeadm makes, except kubelet's own.
    everything: Life,
    /// The credentials in another state.
    credentials: BTreeMap<String, Life>,
    /// The authorities in another state than usable.
    authorities: BTreeMap<String, AuthorityLife>,
    /// Whether there are an authority and credentials of the operator, too.
    own: bool,
}

/// Fresh credentials were issued some months ago.
const FRESH_LIFE: Life = Life::Days(200);
/// The cluster appears to be almost two years old.
const AUTHORITY_DAYS: i64 = 3_000;

/// The defaults of the configuration, in days. Repeated here, because the expected states must not
/// depend on the code under test.
const RENEW_BEFORE: i64 = 15;
const URGENT_BEFORE: i64 = 3;
pub(super) const VALIDITY: i64 = 365;

impl NodePlan {
    /// Puts all eleven credentials that kubeadm makes and renews in one state. kubelet's own is
    /// fresh.
    #[must_use]
    pub fn everything(life: Life) -> Self {
        Self {
            key: KeyAlgorithm::EcdsaP256,
            everything: life,
            credentials: BTreeMap::from([("kubelet-client".to_owned(), FRESH_LIFE)]),
            authorities: BTreeMap::new(),
            own: false,
        }
    }

    /// Has a credential in every state that can be found on a node: fresh, due, urgent, expired,
    /// absent, one that fits no key and can be renewed, one that is damaged and can't, one of an
    /// external CA, and one of a foreign issuer.
    #[must_use]
    pub fn every_state() -> Self {
        let plan = Self { own: true, ..Self::everything(FRESH_LIFE) };
        plan.with("apiserver", Life::Days(12))
            .with("apiserver-kubelet-client", Life::Days(2))
            .with("apiserver-etcd-client", Life::Mismatched)
            .with("etcd/server", Life::Days(-5))
            .with("etcd/healthcheck-client", Life::Damaged)
            .with("admin.conf", Life::Days(-30))
            .with("super-admin.conf", Life::Absent)
            .with("controller-manager.conf", Life::Days(9))
            .with("webhook", Life::Days(8))
            .with("metrics", Life::ForeignIssuer)
            .with_authority("webhook-ca", AuthorityLife::External)
    }

    /// Uses keys of another kind than ECDSA-P256.
    #[must_use]
    pub fn with_key(self, key: KeyAlgorithm) -> Self {
        Self { key, ..self }
    }

    /// Puts one credential in another state.
    #[must_use]
    pub fn with(mut self, name: &str, life: Life) -> Self {
        self.credentials.insert(name.to_owned(), life);
        self
    }

    /// Puts one authority in another state.
    #[must_use]
    pub fn with_authority(mut self, name: &str, life: AuthorityLife) -> Self {
        self.authorities.insert(name.to_owned(), life);
        self
    }

    /// Refuses unknown names: a misspelt one would otherwise make a node with unexpected states.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        let credential = self
            .credentials
            .keys()
            .find(|name| !self.credentials().any(|entry| entry.name == **name));
        let authority = self
            .authorities
            .keys()
            .find(|name| !self.authorities().any(|entry| entry.name == **name));
        credential.or(authority).map_or(Ok(()), |name| Err(DemoError::UnknownName(name.clone())))
    }

    pub(super) fn credentials(&self) -> impl Iterator<Item = &'static CredentialEntry> {
        CREDENTIALS.iter().filter(|entry| self.own || entry.origin == Origin::Kubeadm)
    }

    pub(super) fn authorities(&self) -> impl Iterator<Item = &'static AuthorityEntry> {
        AUTHORITIES.iter().filter(|entry| self.own || entry.origin == Origin::Kubeadm)
    }

    pub(super) fn life(&self, entry: &CredentialEntry) -> Life {
        self.credentials.get(entry.name).copied().unwrap_or(self.everything)
    }

    pub(super) fn authority_life(&self, name: &str) -> AuthorityLife {
        self.authorities.get(name).copied().unwrap_or(AuthorityLife::Days(AUTHORITY_DAYS))
    }

    pub(super) fn conditions(&self) -> Vec<(&'static str, Condition)> {
        let condition = |entry: &CredentialEntry| {
            condition(entry, self.life(entry), self.authority_life(entry.authority).days())
        };
        self.credentials().map(|entry| (entry.name, condition(entry))).collect()
    }

    pub(super) fn authority_conditions(&self) -> Vec<(&'static str, AuthorityCondition)> {
        self.authorities()
            .map(|entry| (entry.name, self.authority_life(entry.name).condition()))
            .collect()
    }

    /// The operator's part of the configuration, if any.
    pub(super) fn configuration(&self) -> Option<String> {
        let authorities = self.authorities().filter(|entry| entry.origin == Origin::Operator);
        let authorities = authorities.map(|AuthorityEntry { name, files, .. }| {
            format!(
                "[[ca]]\nname = \"{name}\"\ncertificate = \"/{files}.crt\"\nkey = \
                \"/{files}.key\"\n"
            )
        });
        let credentials = self
            .credentials()
            .filter(|entry| entry.origin == Origin::Operator)
            .filter_map(|entry| {
                let CredentialEntry {
                    name, authority, place: CredentialFiles::Pair(files), ..
                } = entry
                else {
                    return None;
                };
                Some(format!(
                    "[[credential]]\nname = \"{name}\"\nca = \"{authority}\"\ncertificate = \
                 \"/{files}.crt\"\nkey = \"/{files}.key\"\n"
                ))
            });
        let entries: Vec<String> = authorities.chain(credentials).collect();
        self.own.then(|| {
            format!(
                "# What this node has besides the certificates that kubeadm made.\n\n{}",
                entries.join("\n")
            )
        })
    }
}

impl Life {
    pub(super) fn lifetime(self, now: Timestamp) -> Lifetime {
        match self {
            Self::Days(left) => Lifetime::ending(shifted(now, left), VALIDITY, now),
            Self::NotYetValid => {
                Lifetime { not_before: shifted(now, 1), not_after: shifted(now, 1 + VALIDITY) }
            }
            _ => FRESH_LIFE.lifetime(now),
        }
    }
}

impl AuthorityLife {
    pub(super) fn lifetime(self, now: Timestamp) -> Lifetime {
        Lifetime::ending(shifted(now, self.days()), 10 * VALIDITY, now)
    }

    fn days(self) -> i64 {
        match self {
            Self::Days(left) => left,
            Self::External | Self::KeyUnusable => AUTHORITY_DAYS,
        }
    }

    fn condition(self) -> AuthorityCondition {
        match self {
            Self::Days(..0) => AuthorityCondition::Expired,
            Self::Days(_) => AuthorityCondition::Usable,
            Self::External => AuthorityCondition::External,
            Self::KeyUnusable => AuthorityCondition::KeyUnusable,
        }
    }
}

impl Lifetime {
    /// A lifetime of so many days, and five minutes that kubeadm adds before; longer when it would
    /// not have begun otherwise.
    fn ending(not_after: Timestamp, length: i64, now: Timestamp) -> Self {
        let begun = shifted(not_after, length.saturating_neg()).min(now);
        Self { not_before: begun.minus(Duration::from_secs(300)), not_after }
    }
}

fn shifted(time: Timestamp, by: i64) -> Timestamp {
    // More days than that are beyond every date that a certificate can have.
    let distance = days(by.unsigned_abs().min(4_000_000));
    if by < 0 { time.minus(distance) } else { time.plus(distance) }
}

/// The state that a credential is found in, when its authority has so many days left.
fn condition(entry: &CredentialEntry, life: Life, authority: i64) -> Condition {
    let kubelets = matches!(entry.place, CredentialFiles::KubeletBundle);
    match (life, &entry.place) {
        (Life::Days(left), _) if !kubelets && ends_with_authority(left, authority) => {
            Condition::EndsWithAuthority
        }
        // Nothing is accepted by an expired CA.
        (Life::Days(left), _) => by_days(left.min(authority)),
        (Life::Absent, _) => {
            if entry.needed {
                Condition::Missing
            } else {
                Condition::Absent
            }
        }
        // A kubeconfig with one half is in a form that is not touched; a bundle without a
        // certificate is damaged.
        (Life::KeyMissing | Life::CertificateMissing, CredentialFiles::Kubeconfig { .. }) => {
            Condition::Unreadable
        }
        (Life::CertificateMissing, CredentialFiles::KubeletBundle) => Condition::Damaged,
        (Life::KeyMissing, _) => Condition::KeyMissing,
        (Life::CertificateMissing, _) => Condition::CertificateMissing,
        (Life::Mismatched, _) => Condition::Mismatched,
        (Life::Damaged, _) => Condition::Damaged,
        (Life::ForeignIssuer, _) => Condition::ForeignIssuer,
        (Life::SelfSigned, _) => Condition::SelfSigned,
        (Life::NotYetValid, _) => Condition::NotYetValid,
    }
}

fn ends_with_authority(left: i64, authority: i64) -> bool {
    left.min(authority) <= RENEW_BEFORE && authority >= 0 && authority.min(VALIDITY) <= left
}

fn by_days(left: i64) -> Condition {
    if left < 0 {
        Condition::Expired
    } else if left <= URGENT_BEFORE {
        Condition::Urgent
    } else if left <= RENEW_BEFORE {
        Condition::Due
    } else {
        Condition::Fresh
    }
}
