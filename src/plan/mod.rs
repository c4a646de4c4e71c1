//! Decisions: what the facts mean, what is to be done, and why.
//!
//! Everything here is a function of its arguments: no file is opened, no clock asked, nothing
//! waited for. That is what makes a dry run and a real pass decide alike, and the decisions
//! testable by the thousand.

mod alarms;
mod copies;
mod deadline;
mod deferral;
mod finding;
mod first_request;
mod freshness;
mod judge;
mod membership;
mod memory;
mod names;
mod neighbours;
mod node_differences;
mod node_report;
mod on_disk;
mod planner;
mod refresh;
mod restart_lease;
mod rotation;
mod rotation_facts;
#[cfg(test)]
pub(crate) mod service_fixtures;
mod steps;
mod turn;
mod words;

pub use alarms::{
    AlarmAssessment, AlarmInputs, AlarmSituation, ConfigurationCheck, Diff, NodeFindings, Renewals,
    RotationInputs, ServiceOutcome, alarms, configuration_alarms, diff, node_alarms,
    note_pass_failed, note_renewals, note_services,
};
pub use copies::with_copies;
pub use deadline::{Deadline, Life, lives, next_deadline};
pub use deferral::{
    RELEASED, defer, deferral_reasons, judge_clock, last_seen, long_expired, policy_for_clock,
    standing_refusals,
};
pub use finding::Finding;
pub use first_request::{FirstRequest, first_requests};
pub use freshness::{JudgedService, judge_service, started_before};
pub use judge::{
    Basis, RootFault, RootJudgement, RootPolicy, RootWarning, action, judge, judge_authority,
    judge_root, judge_trust, key_note, kubelet_action, not_known, policy_for, root_faults,
};
pub use membership::judge_membership;
pub use memory::{
    Content, Moment, forget_restarted, note_connections, note_contents, note_out_of_sight,
    note_reloaded, note_replaced, note_restarted,
};
pub use names::{lacking, with_names};
pub use neighbours::etcd_members;
pub use node_differences::{Comparison, Difference, compare};
pub use node_report::{
    CredentialCounts, NodeState, REPORT_INTERVAL, count_alarms, count_credentials, is_to_send,
    node_state,
};
pub use on_disk::OnDisk;
pub use planner::{plan, terms, terms_by};
pub use refresh::{Refresh, Situation, Trigger, plan_refresh};
pub use restart_lease::{LEASE_DURATION, NEEDED_BEFORE_STOP};
pub use rotation::{
    ca_file_at, next_agreement, next_renewal_step, next_step, signing_at, trust_in_objects,
};
pub use rotation_facts::rotation_facts;
pub use steps::{Judged, Plan, Request, Step, Terms};
pub use turn::{CheckPeers, Go, Refusal, Stake, TakeTurn, TurnAnswer, TurnFacts, TurnStep};
pub use words::{remaining, span};
