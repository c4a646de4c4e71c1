use super::super::fixtures::*;
use super::*;
use crate::model::*;

fn ca(name: &str, left: i64, verifies: bool) -> TrustedCa {
    TrustedCa {
        subject: format!("CN={name}"),
        serial: "0A".to_owned(),
        not_before: at(-300),
        not_after: at(left),
        fingerprint: Digest::of(name.as_bytes()),
        is_listed: verifies,
        verifies,
    }
}

fn trust(certificates: Result<Vec<TrustedCa>, String>, is_own_server: bool) -> TrustFacts {
    TrustFacts {
        kubeconfig: AbsolutePath::constant("/etc/kubernetes/admin.conf"),
        server: Some("https://192.0.2.10:6443".to_owned()),
        source: TrustSource::Embedded,
        certificates,
        authority: AuthorityName::new("ca").unwrap(),
        served_by: Some("CN=kubernetes".to_owned()),
        is_own_server,
    }
}

/// The authority has 3000 days left.
fn condition(certificates: Vec<TrustedCa>, is_own_server: bool) -> TrustCondition {
    let authority = authority_in(AuthorityCondition::Usable);
    judge_trust(&trust(Ok(certificates), is_own_server), Some(&authority), days(180), now())
        .condition
}

#[test]
fn trust_follows_the_served_certificate_and_the_dates() {
    use TrustCondition as T;
    for (certificates, is_own, expected) in [
        (vec![ca("a", 3000, true)], true, T::Trusted),
        // The authority's own end is alarmed there.
        (vec![ca("a", 3000, true), ca("b", 10, false)], true, T::Trusted),
        (vec![ca("a", 10, true), ca("b", 3000, true)], true, T::Trusted),
        (vec![ca("a", 11, true)], true, T::ExpiresSoon),
        (vec![ca("a", -1, true)], true, T::Expired),
        (vec![ca("a", 3000, false)], true, T::Untrusted),
        (vec![ca("balancer", 3000, false)], false, T::OtherServer),
        (vec![ca("balancer", 11, false)], false, T::ExpiresSoon),
        (vec![ca("balancer", -1, false)], false, T::Expired),
        (vec![], true, T::None),
    ] {
        assert_eq!(condition(certificates.clone(), is_own), expected, "{certificates:?}");
    }
}

#[test]
fn end_of_the_authority_itself_is_not_repeated() {
    let authority = authority(present(AuthorityKey::Usable, -100, 11));
    let facts = trust(Ok(vec![ca("a", 11, true)]), true);
    let judgement = judge_trust(&facts, Some(&authority), days(180), now());
    assert_eq!((judgement.condition, judgement.attention), (TrustCondition::Trusted, false));
}

#[test]
fn reasons_name_the_field_and_the_remedy() {
    let judged = |certificates| {
        let authority = authority_in(AuthorityCondition::Usable);
        judge_trust(&trust(certificates, true), Some(&authority), days(180), now()).reason
    };
    assert_eq!(
        judged(Ok(vec![ca("kubernetes", 11, true)])),
        "certificate-authority-data: CN=kubernetes (serial 0A) expires in 11 days, and the \
         certificates that it verifies are not trusted then; put the certificates of its CA there \
         (those that \
         kubecertd ca export prints, where it is ca), and restart the programs that use it"
    );
    let untrusted = judged(Ok(vec![ca("old", 300, false)]));
    assert!(untrusted.contains("issued by CN=kubernetes, does not verify by CN=old"));
    assert!(judged(Err("not PEM".to_owned())).ends_with("can't be read: not PEM"));
}
