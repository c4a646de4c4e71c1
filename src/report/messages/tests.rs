use std::collections::BTreeSet;

use super::Message;

const CATALOG: &str = include_str!("../../../packaging/kubecertd.catalog");

/// Each entry of the catalog: its id, its head and its text.
fn entries() -> Vec<(String, String, String)> {
    let entry = |text: &str| {
        let (id, rest) = text.split_once('\n').unwrap();
        let (head, text) = rest.split_once("\n\n").unwrap();
        (id.to_owned(), head.to_owned(), text.to_owned())
    };
    CATALOG.split("\n-- ").skip(1).map(entry).collect()
}

#[test]
fn ids_are_128_bits_and_unique() {
    let ids: BTreeSet<_> = Message::ALL.iter().map(|message| message.id()).collect();
    assert_eq!(ids.len(), Message::ALL.len());
    for id in ids {
        assert!(
            id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "{id}"
        );
    }
}

#[test]
fn catalog_explains_exactly_the_messages() {
    let explained: Vec<_> = entries().into_iter().map(|(id, ..)| id).collect();
    let messages: Vec<_> = Message::ALL.iter().map(|message| message.id()).collect();
    assert_eq!(explained, messages, "in the order of the list");
}

#[test]
fn catalog_entries_are_complete_and_name_known_fields() {
    let fields = crate::report::line::FIELDS;
    for (id, head, text) in entries() {
        assert!(
            head.starts_with("Subject: ") && head.contains("\nDefined-By: kubecertd"),
            "{id}: {head}"
        );
        assert!(
            text.lines().count() > 0 && text.lines().all(|line| line.len() <= 100),
            "{id}: {text}"
        );
        let whole = format!("{head}\n{text}");
        // Fields stand between two @; nothing else in the catalog has one.
        for field in whole.split('@').skip(1).step_by(2) {
            assert!(fields.contains(&field), "{id}: {field}");
        }
    }
}

#[test]
fn docs_show_renewal_as_journalctl_does() {
    let page = include_str!("../../../docs/logging.md");
    assert!(page.contains(&format!("MESSAGE_ID={} ", Message::Renewed.id())));
    for field in crate::report::line::FIELDS {
        assert!(page.contains(&format!("`{field}`")), "{field}");
    }
    let (_, head, text) =
        entries().into_iter().find(|(id, ..)| id == Message::Renewed.id()).unwrap();
    let mut shown: String = format!("{head}\n\n{}", text.trim_end())
        .lines()
        .map(|line| format!("░░ {line}\n"))
        .collect();
    for (field, value) in [
        ("CREDENTIAL", "front-proxy-client"),
        ("AUTHORITY", "front-proxy-ca"),
        ("SERIAL", "5A13D718532AB8B20E13329A35E551BC"),
        ("NOT_AFTER", "2027-11-22T03:21:52Z"),
        ("REASON", "expires in 9 days, within 15 days"),
    ] {
        shown = shown.replace(&format!("@KUBECERTD_{field}@"), value);
    }
    assert!(page.contains(&shown), "docs/logging.md does not show:\n{shown}");
}
