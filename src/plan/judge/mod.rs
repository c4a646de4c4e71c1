//! The state tables: what each state of a subject means and what is done about it. One file per
//! subject: a credential, an authority, a copy, and kubelet's own client certificate.
//! `docs/judging.md` prints the tables; tests hold the page and the code together.

mod authority;
mod copy;
mod credential;
#[cfg(test)]
pub(super) mod fixtures;
mod issuer;
mod kubelet;
mod root_ca;
mod short_life;
mod trust;

pub use authority::judge_authority;
pub use credential::{Basis, action, judge, key_note, not_known};
pub(super) use credential::{key_not_made, new_end};
pub(super) use issuer::change_of_issuer;
pub use kubelet::kubelet_action;
pub(super) use kubelet::{by_hand, kubelet_repaired_here, not_by_kubelet};
pub use root_ca::{RootFault, RootJudgement, RootPolicy, RootWarning, judge_root, root_faults};
pub(super) use short_life::OwnLife;
pub use short_life::policy_for;
pub use trust::judge_trust;
