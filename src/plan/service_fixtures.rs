//! What the tests about services share: a node with a few of them, in any state.

use std::time::Duration;

use super::{Judged, Moment, OnDisk};
use crate::model::*;

pub const DAY: Duration = days(1);

pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

pub fn up(seconds: u64) -> Uptime {
    Uptime { boot: BootId("this".into()), since_boot: Duration::from_secs(seconds) }
}

/// The machine is up for 100 days.
pub const UP: u64 = 8_640_000;

pub fn moment() -> Moment {
    Moment { uptime: up(UP), at: now() }
}

/// So many seconds before or after [`moment`].
pub fn moved(seconds: i64) -> Moment {
    Moment {
        uptime: up(UP.checked_add_signed(seconds).unwrap()),
        at: Timestamp::from_seconds(now().seconds() + seconds),
    }
}

pub fn name(text: &str) -> CredentialName {
    CredentialName::new(text).unwrap()
}

/// The content of a credential.
pub fn content(text: &str) -> ContentName {
    name(text).into()
}

pub fn on_disk(credentials: &[Judged]) -> OnDisk<'_> {
    OnDisk { credentials, trust_files: &[] }
}

pub fn fingerprint(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

/// A credential of that name and content, which has a year left.
pub fn judged(credential: &str, content: &str) -> Judged {
    let file = AbsolutePath::new(format!("/pki/{credential}")).unwrap();
    let entry = Credential {
        name: name(credential),
        kubeadm_name: None,
        location: Location::Kubeconfig(file),
        authority: Some(AuthorityName::new("ca").unwrap()),
        renewal: Renewal::Ours,
        need: Need::Configured,
    };
    let leaf = Leaf {
        subject: String::new(),
        issuer: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: now().minus(DAY),
        not_after: now().plus(days(365)),
        key_algorithm: String::new(),
        key_can_be_made: true,
        names: Vec::new(),
        fingerprint: fingerprint(content),
        signer: Signer::Authority,
        sha1: false,
        verifies_by: vec![Digest::of(b"ca")],
        chain_end: None,
    };
    let facts = CredentialFacts {
        credential: entry,
        material: Material::Whole(leaf),
        files: Vec::new(),
        backup: None,
        template: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy: None,
        other_writers: None,
    };
    let judgement = Judgement {
        condition: Condition::Fresh,
        action: Action::Nothing,
        reason: "expires in 1 years".into(),
        attention: false,
    };
    Judged { facts, authority: None, judgement }
}

/// It appeared at that time, and the one before it, if there was one, ends at that one.
pub fn appeared_at(content: &str, at: u64, before: Option<Timestamp>) -> Appeared {
    let earlier = before.map(|not_after| Earlier {
        fingerprint: fingerprint("old").to_string(),
        not_after,
        until: up(at),
    });
    Appeared {
        fingerprint: fingerprint(content).to_string(),
        at: up(at),
        not_after: now().plus(days(365)),
        ours: true,
        seen: up(UP),
        seen_at: now(),
        earlier: earlier.into_iter().collect(),
    }
}

/// A service that has been running since then and uses one credential.
pub fn service(service: &str, credential: &str, takes: Takes, started: u64) -> ServiceFacts {
    let uses = vec![Use {
        credential: name(credential),
        takes,
        served_at: None,
        to_port: None,
        first_request: None,
    }];
    let holds = vec![Holding {
        credential: name(credential),
        takes,
        serves: None,
        sees: Vec::new(),
        connections: Some(Vec::new()),
    }];
    let age = Duration::from_secs(UP - started);
    let kind =
        ServiceKind::StaticPod { pod: service.into(), manifest: None, grace: Duration::ZERO };
    let service = Service {
        name: ServiceName::new(service).unwrap(),
        kind,
        health: None,
        essential: None,
        leader_lease: None,
        trusts: Vec::new(),
        one_certificate: None,
        ages: false,
        configured: false,
        uses,
    };
    let id = format!("{}-{started}", service.name);
    let presence = Presence::Running(Instance {
        id,
        pid: None,
        started: up(started),
        started_at: now().minus(age),
        age,
    });
    ServiceFacts { service, presence, health: Health::Healthy, holds }
}

pub fn served(content: &str) -> Option<Serves> {
    Some(Serves::Certificate { fingerprint: fingerprint(content), serial: "01".into() })
}

pub fn seen(sees: Sees) -> (AbsolutePath, Sees) {
    (AbsolutePath::constant("/pki/file"), sees)
}

pub fn noted(
    service: &str,
    credential: &str,
    content: &str,
    cookies: &[u64],
    end: Option<Timestamp>,
) -> NotedConnections {
    NotedConnections {
        service: ServiceName::new(service).unwrap(),
        credential: name(credential),
        fingerprint: fingerprint(content).to_string(),
        cookies: cookies.to_vec(),
        boot: BootId("this".into()),
        end,
    }
}

/// A restart for one new certificate.
pub fn restart_of(
    service: &str,
    instance: &str,
    credential: &str,
    fingerprint: &str,
) -> RefreshStep {
    RefreshStep {
        service: ServiceName::new(service).unwrap(),
        instance: instance.to_owned(),
        remedy: Remedy::Restart,
        contents: vec![(content(credential), fingerprint.to_owned())],
        closing: Vec::new(),
        reason: String::new(),
        waits: None,
        restart_waits: None,
        urgency: Urgency::Comfortable,
    }
}

/// The files that a service trusts, each with one CA certificate of the content "new".
pub fn trust_files(service: &Service) -> Vec<TrustFileFacts> {
    let facts =
        |file: &TrustFile| ca_certificates(file.path().as_path().to_str().unwrap(), "new", 1);
    service.trusts.iter().map(facts).collect()
}

/// A file with so many CA certificates, which have ten years left.
pub fn ca_certificates(file: &str, content: &str, count: usize) -> TrustFileFacts {
    let file = AbsolutePath::new(file).unwrap();
    let certificates = Ok(CaCertificates {
        fingerprint: fingerprint(content),
        count,
        made: now().minus(DAY),
        not_after: now().plus(days(3650)),
    });
    TrustFileFacts { read: vec![file.clone()], file, certificates }
}
