//! The state tables: what each state of a subject means and what is done about it. One file per
//! subject: a credential, an authority, a copy, and kubelet's own client certificate.
//! `docs/judging.md` prints the tables; tests hold the page and the code together.

mod authority;
mod copy;
mod credential;
#[cfg(test)]
pub(super) mod fixtures;
mod kubelet;

pub use authority::judge_authority;
pub use credential::{Basis, action, judge};
pub(super) use credential::{new_end, not_known};
pub use kubelet::kubelet_action;
pub(super) use kubelet::{by_hand, kubelet_repaired_here, not_by_kubelet};
