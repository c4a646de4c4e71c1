//! The words of the project as types: what a credential, an authority and a service are, what can
//! be observed of them, and what may be decided about them.
//!
//! Everything here is plain data that is valid once made. Nothing here reads a file, asks for the
//! time or knows a file format; parsing into these types happens at the edges, in `settings`
//! and `observe`.

mod alarm;
mod authority;
mod content;
mod credential;
mod deferral;
mod digest;
mod found_rotation;
mod freshness;
mod judgement;
mod key;
mod lease;
mod membership;
mod memory;
mod names;
mod neighbours;
mod node_report;
mod observation;
mod path;
mod root_ca;
mod rotation;
mod running;
mod san;
mod secret;
mod service;
mod template;
mod time;
mod trust;
mod uptime;
mod version;
mod writers;

pub use alarm::{Alarm, AlarmEvent, AlarmKind, AlarmMemory, LongDifference, LongHold, Severity};
pub use authority::{Anchor, Anchors, Dated};
pub use content::ContentName;
pub use credential::{
    Authority, CopyOf, Credential, KubeletPair, Location, Need, OtherKey, Renewal, TrialAt,
};
pub use deferral::{
    Awaited, ClockFacts, ClockTrust, Constraints, Deferral, DeferralFacts, DeferralReason, Hold,
    QUIET, Refused,
};
pub use digest::Digest;
pub use found_rotation::{
    FoundControlPlane, FoundFrontProxy, FoundRotation, OtherCas, ReadByProgram, Reading,
    ServedByKubelet,
};
pub use freshness::{Evidence, Freshness, RefreshStep, Remedy};
pub use judgement::{
    Action, AuthorityCondition, AuthorityJudgement, Condition, Judgement, LEAST_GAIN, Policy,
    TrustCondition, TrustJudgement, Urgency,
};
pub use key::{InvalidKeyChoice, KeyChoice};
pub use lease::LeaseState;
pub use membership::{
    EtcdPeer, InvalidPeerUrl, MemberId, Membership, MembershipFinding, MembershipInquiry,
    MembershipVerdict, PeerAnswer, PeerUrl,
};
pub use memory::{Appeared, Earlier, NotedConnections, Replaced, Restarted, ServiceMemory, Told};
pub use names::{AuthorityName, CredentialName, InvalidName, ServiceName, SinkName};
pub use neighbours::{EtcdMembers, Neighbours, Voter};
pub use node_report::{
    AlarmCounts, Fingerprint, Fingerprints, FoundReport, NextExpiry, NodeReport, NodeRole,
    ReportedNode, SharedFile,
};
pub use observation::{
    AuthorityCertificate, AuthorityFacts, AuthorityKey, AuthorityState, BackupFacts, CopyFacts,
    CredentialFacts, KubeletClient, Leaf, Material, NameParts, OtherRenewer, Relations, RootAbove,
    Signer, UnclearManifest,
};
pub use path::{AbsolutePath, InvalidPath};
pub use root_ca::{
    CaConstraints, CaKeyKind, CaKeyUsage, CandidateKey, KeyIdentifier, PresentRoot, RootCandidate,
    RootCertificate, RootRelation, RootSignature, SameNameObstacle,
};
pub use rotation::{
    Agreement, ApiServerFacts, BridgeHolder, Bridges, CaFile, Chain, ControlPlaneFacts,
    FrontProxyFacts, LoadedFacts, NodeProgress, ReloadingProgram, ReplacedCa, RestartedProgram,
    RootCa, RotationFacts, RotationLevel, RotationStep, SIGNING_FILES, ServingFacts, SigningFiles,
    TrustedRoots,
};
pub use running::{Consumer, Health, Holding, Instance, Presence, Sees, Serves, ServiceFacts};
pub use san::{InvalidSan, San, SanChange};
pub use secret::Secret;
pub use service::{
    Essential, Service, ServiceKind, Signal, StaticConsumer, Takes, UnitRefresh, Use,
};
pub use template::{InvalidSubject, Subject, Template, TemplateContent, Usage};
pub use time::{InvalidTime, Timestamp, days};
pub use trust::{CaCertificates, TrustFacts, TrustFile, TrustFileFacts, TrustSource, TrustedCa};
pub use uptime::{BootId, Uptime};
pub use version::{InvalidVersion, Version};
pub use writers::{Identity, OtherWriters};
