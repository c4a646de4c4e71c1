use super::*;
use crate::model::{ClockTrust, DeferralReason};
use crate::plan::judge::fixtures::{copied_leaf, copy, now, policy};

fn behind(left: i64) -> Judged {
    copy(Material::Whole(copied_leaf("old", left)), Ok("new"), false)
}

fn constraints(holds: Vec<DeferralReason>) -> Constraints {
    Constraints {
        clock_trust: ClockTrust::Trusted,
        reasons: holds,
        refused: Vec::new(),
        long_expired: std::collections::BTreeMap::new(),
    }
}

fn decided(
    steps: Vec<Step>,
    judged: &Judged,
    request: &Request,
    holds: Vec<DeferralReason>,
) -> (Vec<(CredentialName, Action)>, usize) {
    let all = std::slice::from_ref(judged);
    let (plan, deferred) = with_copies(
        (Plan { steps }, Vec::new()),
        all,
        request,
        &policy(),
        &constraints(holds),
        now(),
    );
    (plan.steps.into_iter().map(|step| (step.credential, step.action)).collect(), deferred.len())
}

fn only(name: &'static str) -> Request {
    Request { only: [CredentialName::constant(name)].into(), ..Request::default() }
}

fn held() -> Vec<DeferralReason> {
    vec![DeferralReason::KubeadmRunning { pid: 7 }]
}

const COPY: fn() -> (CredentialName, Action) = || (CredentialName::constant("copy"), Action::Copy);

#[test]
fn outdated_copy_follows_when_allowed_under_either_name() {
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
    let in_step = copy(Material::Whole(copied_leaf("new", 10)), Ok("new"), false);
    assert_eq!(
        decided(Vec::new(), &in_step, &Request { force: true, ..Request::default() }, Vec::new()),
        (Vec::new(), 0)
    );
}

#[test]
fn copies_of_renewed_original_follow_despite_holds() {
    let terms = Some(crate::plan::Terms { not_before: now(), not_after: now() });
    let renew = || {
        vec![Step {
            credential: CredentialName::constant("admin.conf"),
            action: Action::Renew,
            reason: String::new(),
            terms,
        }]
    };
    let in_step = copy(Material::Whole(copied_leaf("new", 10)), Ok("new"), false);
    for judged in [&in_step, &behind(100)] {
        let (steps, deferred) = decided(renew(), judged, &only("admin.conf"), held());
        assert_eq!((steps.last(), steps.len(), deferred), (Some(&COPY()), 2, 0));
    }
    let changed = copy(Material::Changed(String::new()), Ok("new"), false);
    assert_eq!(decided(renew(), &changed, &Request::default(), Vec::new()).0.len(), 1);
}
