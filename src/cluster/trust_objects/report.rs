//! What was found in an object that holds CA certificates, and what was done.

use super::bundle::{BundleDecision, BundleNeed, RootChange};
use crate::cluster::field::Field;
use crate::cluster::{ClusterApi, ObjectError};
use crate::model::TrustedRoots;

/// One object, or one field of it, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustReport {
    /// The object and the field, as they are shown; the kind where its objects could not be listed.
    pub object: String,
    /// The finding, or why there is none.
    pub result: Result<TrustState, ObjectError>,
}

/// The CA certificates of a rotation in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustState {
    /// The roots that are trusted there, after a write those that were written.
    pub trusts: TrustedRoots,
    /// Whether they are the wanted ones.
    pub status: TrustStatus,
    /// The client that wrote it last before, by the object's record: where a change of kubecertd's
    /// was reverted, it is the one that did. `None` where the record does not say.
    pub last_writer: Option<String>,
}

/// Whether the CA certificates in one place are the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustStatus {
    /// They were before.
    Current,
    /// They are not.
    Outdated,
    /// They are now.
    Written,
}

/// Whether objects are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Observe,
    Update,
}

/// A text that holds a list, what is decided about it, and the new text.
pub(super) struct Decided {
    pub trusts: TrustedRoots,
    pub need: TextNeed,
}

/// As [`BundleNeed`], for the whole text of a field.
pub(super) enum TextNeed {
    Nothing,
    Write(String),
    Addition,
}

impl Decided {
    /// What is decided about the text around a list; `wrap` makes it of the new list.
    pub(super) fn of(
        decision: BundleDecision,
        wrap: impl FnOnce(Vec<u8>) -> Result<String, String>,
    ) -> Result<Self, String> {
        let need = match decision.need {
            BundleNeed::Nothing => TextNeed::Nothing,
            BundleNeed::Write(content) => TextNeed::Write(wrap(content)?),
            BundleNeed::Addition => TextNeed::Addition,
        };
        Ok(Self { trusts: decision.trusts, need })
    }
}

impl ClusterApi {
    /// Writes what is decided about a text, where it is not only observed.
    pub(super) async fn settle_trust(
        &self,
        field: &Field,
        old: &str,
        decided: Decided,
        change: &RootChange,
        mode: Mode,
    ) -> Result<TrustState, ObjectError> {
        let Decided { trusts, need } = decided;
        let state = |trusts, status| Ok(TrustState { trusts, status, last_writer: None });
        match (need, mode) {
            (TextNeed::Nothing, _) => state(trusts, TrustStatus::Current),
            (TextNeed::Write(new), Mode::Update) => {
                self.replace_field(field, old, &new).await?;
                state(change.wanted.trust(), TrustStatus::Written)
            }
            (TextNeed::Write(_), Mode::Observe) | (TextNeed::Addition, _) => {
                state(trusts, TrustStatus::Outdated)
            }
        }
    }
}
