use super::super::fixtures::*;
use super::super::judge;
use super::*;
use crate::model::Signer;

#[test]
fn table_of_kubelet_client_is_the_one_in_the_docs() {
    let mut table = String::from("| kubelet's client certificate that is | ");
    AuthorityCondition::ALL.iter().for_each(|state| table += &format!("{state} | "));
    table += "\n|---|";
    table += &"---|".repeat(AuthorityCondition::ALL.len());
    for condition in Condition::of_originals() {
        table += &format!("\n| {condition} | ");
        for state in AuthorityCondition::ALL {
            let [known, unknown] =
                [true, false].map(|known| kubelet_action(*condition, *state, known));
            let cell = if known == unknown {
                known.to_string()
            } else {
                format!("{known}, or else {unknown}")
            };
            table += &format!("{cell} | ");
        }
    }
    let table = table.replace("| \n", "|\n").trim_end().to_owned();
    let page = include_str!("../../../docs/judging.md");
    assert!(page.contains(&table), "docs/judging.md does not hold this table:\n\n{table}\n");
}

#[test]
fn kubelet_client_in_every_state_follows_its_table() {
    for condition in
        Condition::of_originals().filter(|condition| **condition != Condition::EndsWithAuthority)
    {
        for state in AuthorityCondition::ALL {
            for node in [Ok("cp1".to_owned()), Err("nothing tells which node this is".to_owned())] {
                let known = node.is_ok();
                let mut facts = kubelets(*condition);
                facts.kubelet.as_mut().unwrap().node = node;
                let judgement = judge(&facts, Some(&authority_in(*state)), &policy(), now());
                let expected = kubelet_action(*condition, *state, known);
                assert_eq!(
                    (judgement.condition, judgement.action),
                    (*condition, expected),
                    "{state} {known}"
                );
                let is_needed =
                    kubelet_action(*condition, AuthorityCondition::Usable, true) == Action::Renew;
                let said = judgement.reason.contains("nothing tells");
                assert_eq!(said, is_needed && !known, "{}", judgement.reason);
            }
        }
    }
}

#[test]
fn expired_kubelet_client_is_renewed_for_any_signer() {
    let mut facts = kubelets(Condition::Expired);
    for signer in [Signer::Foreign, Signer::Itself, Signer::Unknown, Signer::Authority] {
        facts.material = Material::Whole(leaf(signer, at(-400), at(-1)));
        let judgement =
            judge(&facts, Some(&authority_in(AuthorityCondition::Usable)), &policy(), now());
        assert_eq!(
            (judgement.condition, judgement.action),
            (Condition::Expired, Action::Renew),
            "{signer:?}"
        );
    }
}

#[test]
fn broken_embedded_kubelet_client_decides_the_judgement() {
    let judged = |embedded: Material| {
        let mut facts = kubelets(Condition::Fresh);
        facts.kubelet.as_mut().unwrap().embedded = Some(embedded);
        judge(&facts, Some(&authority_in(AuthorityCondition::Usable)), &policy(), now())
    };
    let old = judged(Material::Whole(leaf(Signer::Authority, at(-400), at(-30))));
    assert_eq!((old.condition, old.action), (Condition::Expired, Action::Renew));
    assert_eq!(
        old.reason,
        "/etc/kubernetes/kubelet.conf embeds a client certificate of its own: expired 30 days ago"
    );
    let broken = judged(Material::Mismatched(
        leaf(Signer::Authority, at(-400), at(30)),
        "does not fit".into(),
    ));
    assert_eq!(broken.action, Action::Renew);
    let good = judged(Material::Whole(leaf(Signer::Authority, at(-400), at(1))));
    assert_eq!(
        (good.condition, good.action),
        (Condition::Fresh, Action::Nothing),
        "kubelet renews the other one"
    );
    assert_eq!(judged(Material::Unreadable("odd".into())).action, Action::Nothing);
}

#[test]
fn lost_kubelet_conf_decides_the_judgement() {
    let judged = |server: Result<String, String>, state| {
        let mut facts = kubelets(Condition::Fresh);
        facts.kubelet.as_mut().unwrap().lost = Some(server);
        let judgement = judge(&facts, Some(&authority_in(state)), &policy(), now());
        (judgement.condition, judgement.action, judgement.reason)
    };
    let url = || Ok("https://10.0.0.1:6443".to_owned());
    let (condition, action, reason) = judged(url(), AuthorityCondition::Usable);
    assert_eq!((condition, action), (Condition::Missing, Action::Renew));
    assert_eq!(
        reason,
        "/etc/kubernetes/kubelet.conf does not exist, and kubelet does not start without it"
    );
    let (_, action, reason) = judged(Err("no server".to_owned()), AuthorityCondition::Usable);
    assert_eq!(action, Action::Error);
    assert!(reason.ends_with("; no server"), "{reason}");
    let (_, action, reason) = judged(url(), AuthorityCondition::External);
    assert_eq!(action, Action::Error);
    assert!(reason.contains("kubeadm kubeconfig user --config"), "{reason}");
}

#[test]
fn kubelet_client_of_external_ca_gets_the_commands_of_both_nodes() {
    let judgement = judge(
        &kubelets(Condition::Expired),
        Some(&authority_in(AuthorityCondition::External)),
        &policy(),
        now(),
    );
    assert_eq!((judgement.action, judgement.attention), (Action::Report, true));
    assert_eq!(
        judgement.reason,
        "expired 24 hours ago; kubelet can't renew it any more; /etc/kubernetes/pki/ca.key, the \
         key of its CA ca, is not on this node; run `kubecertd csr apiserver > cp1.csr` here and \
         copy the file to a control-plane node that has the key; run `kubecertd sign --node cp1 \
         cp1.csr > cp1.crt` there and copy that file here; then run `kubecertd install apiserver \
         cp1.crt` here"
    );
    let due = judge(
        &kubelets(Condition::Due),
        Some(&authority_in(AuthorityCondition::External)),
        &policy(),
        now(),
    );
    assert_eq!(due.reason, "expires in 15 days, within 15 days; kubelet renews it, not kubecertd");
}
