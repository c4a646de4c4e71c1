use super::*;
use crate::model::{
    AbsolutePath, Belief, CopyFacts, Credential, Digest, Hold, Leaf, Location, NameParts, Need,
    Renewal, Signer, days,
};
use crate::plan::judge;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_219_200)
}

fn policy() -> Policy {
    Policy {
        renew_before: days(15),
        urgent_before: days(3),
        validity: days(365),
        backdate: days(0),
    }
}

fn leaf(of: &str, left: i64) -> Leaf {
    Leaf {
        subject: String::new(),
        issuer: String::new(),
        parts: NameParts::default(),
        serial: String::new(),
        not_before: Timestamp::from_seconds(0),
        not_after: Timestamp::from_seconds(now().seconds() + left * 86_400),
        key_algorithm: String::new(),
        names: Vec::new(),
        fingerprint: Digest::of(of.as_bytes()),
        signer: Signer::Authority,
    }
}

fn copy(material: Material, original: Result<&str, &str>, found: bool) -> Judged {
    let original = original.map(|of| Digest::of(of.as_bytes())).map_err(str::to_owned);
    let of = CopyOf { original: CredentialName::constant("admin.conf"), found };
    let credential = Credential {
        name: CredentialName::constant("copy"),
        kubeadm_name: None,
        location: Location::Kubeconfig(AbsolutePath::constant("/root/.kube/config")),
        authority: None,
        renewal: Renewal::Copy(of),
        need: Need::Optional,
    };
    let copy = Some(CopyFacts { original });
    let facts = CredentialFacts {
        credential,
        material,
        files: Vec::new(),
        backup: None,
        user: None,
        notes: Vec::new(),
        kubelet: None,
        copy,
    };
    let judgement = judge(&facts, None, &policy(), now());
    Judged { facts, authority: None, judgement }
}

fn behind(left: i64) -> Judged {
    copy(Material::Whole(leaf("old", left)), Ok("new"), false)
}

#[test]
fn the_written_table_of_copies_is_the_one_that_is_followed() {
    let held = |of| Material::Whole(leaf(of, 100));
    let rows = [
        (
            "is not there, or by a path for many files is of no interest",
            copy(Material::Absent, Ok("new"), true),
        ),
        (
            "holds the certificate that its original holds, and its key",
            copy(held("new"), Ok("new"), false),
        ),
        ("holds an earlier one, and its key", copy(held("old"), Ok("new"), false)),
        (
            "holds an earlier one, while the original is broken or not its authority's",
            copy(held("old"), Err("broken"), false),
        ),
        (
            "holds anything else, or a certificate without its key",
            copy(Material::Changed("it is other".into()), Ok("new"), false),
        ),
        (
            "can't be read, or in a way that somebody else could lead astray",
            copy(Material::Unreadable("a link".into()), Ok("new"), true),
        ),
    ];
    let mut table = "| a copy that | is | and |\n|---|---|---|".to_owned();
    for (what, judged) in &rows {
        let Judgement { condition, action, .. } = judged.judgement;
        table += &format!("\n| {what} | {condition} | {action} |");
    }
    assert!(
        include_str!("../../docs/judging.md").contains(&table),
        "docs/judging.md does not hold this table:\n\n{table}\n"
    );
    let attention: Vec<bool> = rows.iter().map(|(_, judged)| judged.judgement.attention).collect();
    assert_eq!(
        attention,
        [false, false, true, false, true, true],
        "of a broken original it is told there"
    );
    assert_eq!(
        rows[2].1.judgement.reason,
        "holds an earlier certificate of admin.conf, which expires in 100 days"
    );
    assert!(rows[4].1.judgement.reason.starts_with(
        "it is other; it is left as it is. To have it follow again, put what \
                admin.conf holds into it"
    ));
}

/// Its dates are its original's: a copy is never due, urgent or expired.
#[test]
fn a_copy_in_step_with_an_expired_original_is_in_step() {
    let judged = copy(Material::Whole(leaf("new", -5)), Ok("new"), false);
    assert_eq!(
        (judged.judgement.condition, judged.judgement.attention),
        (Condition::InStep, false)
    );
}

fn brakes(holds: Vec<Hold>) -> Brakes {
    Brakes {
        belief: Belief::Believed,
        holds,
        refused: Vec::new(),
        long_gone: std::collections::BTreeMap::new(),
    }
}

fn decided(
    steps: Vec<Step>,
    judged: &Judged,
    request: &Request,
    holds: Vec<Hold>,
) -> (Vec<(CredentialName, Action)>, usize) {
    let all = std::slice::from_ref(judged);
    let (plan, deferred) =
        with_copies((Plan { steps }, Vec::new()), all, request, &policy(), &brakes(holds), now());
    (plan.steps.into_iter().map(|step| (step.credential, step.action)).collect(), deferred.len())
}

fn only(name: &'static str) -> Request {
    Request { only: [CredentialName::constant(name)].into(), ..Request::default() }
}

fn held() -> Vec<Hold> {
    vec![Hold::KubeadmRunning { pid: 7 }]
}

const COPY: fn() -> (CredentialName, Action) = || (CredentialName::constant("copy"), Action::Copy);

#[test]
fn what_is_behind_follows_when_it_may_and_is_asked_for_by_either_name() {
    let all = Request::default();
    assert_eq!(decided(Vec::new(), &behind(10), &all, Vec::new()), (vec![COPY()], 0));
    assert_eq!(decided(Vec::new(), &behind(10), &all, held()), (Vec::new(), 1));
    assert_eq!(
        decided(Vec::new(), &behind(3), &all, held()),
        (vec![COPY()], 0),
        "as urgent as a credential would be"
    );
    assert_eq!(
        decided(Vec::new(), &behind(10), &Request { force: true, ..Request::default() }, held()),
        (vec![COPY()], 0)
    );
    for (name, expected) in [("admin.conf", 1), ("copy", 1), ("apiserver", 0)] {
        assert_eq!(
            decided(Vec::new(), &behind(10), &only(name), Vec::new()).0.len(),
            expected,
            "{name}"
        );
    }
    let in_step = copy(Material::Whole(leaf("new", 10)), Ok("new"), false);
    assert_eq!(
        decided(Vec::new(), &in_step, &Request { force: true, ..Request::default() }, Vec::new()),
        (Vec::new(), 0)
    );
}

#[test]
fn what_is_renewed_has_its_copies_follow_whatever_there_is_to_wait_for() {
    let terms = Some(crate::plan::Terms { not_before: now(), not_after: now() });
    let renew = || {
        vec![Step {
            credential: CredentialName::constant("admin.conf"),
            action: Action::Renew,
            reason: String::new(),
            terms,
        }]
    };
    let in_step = copy(Material::Whole(leaf("new", 10)), Ok("new"), false);
    for judged in [&in_step, &behind(100)] {
        let (steps, deferred) = decided(renew(), judged, &only("admin.conf"), held());
        assert_eq!((steps.last(), steps.len(), deferred), (Some(&COPY()), 2, 0));
    }
    let changed = copy(Material::Changed(String::new()), Ok("new"), false);
    assert_eq!(decided(renew(), &changed, &Request::default(), Vec::new()).0.len(), 1);
}
