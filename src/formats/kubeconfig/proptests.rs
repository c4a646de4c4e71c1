//! Properties of splicing, over kubeconfigs in random styles and over arbitrary bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::model::Secret;

/// How one value is written; the last two only in blocks.
#[derive(Clone, Copy, Debug)]
enum Style {
    Plain,
    Single,
    Double,
    NextLine,
    Literal(&'static str),
}

/// A kubeconfig as text, cut at each of the values of the current user.
#[derive(Clone, Debug)]
struct Written {
    parts: [String; 3],
    key_first: bool,
}

impl Written {
    fn with(&self, certificate: &[u8], key: &[u8]) -> String {
        let (certificate, key) = (STANDARD.encode(certificate), STANDARD.encode(key));
        let [before, between, after] = &self.parts;
        if self.key_first {
            format!("{before}{key}{between}{certificate}{after}")
        } else {
            format!("{before}{certificate}{between}{key}{after}")
        }
    }
}

/// A mark that is in no generated text, to cut at.
const MARK: char = '\u{1}';

fn written(template: &str, key_first: bool) -> Written {
    let mut parts = template.splitn(3, MARK).map(str::to_owned);
    let mut part = || parts.next().unwrap();
    Written { parts: [part(), part(), part()], key_first }
}

fn style() -> impl Strategy<Value = Style> {
    let header = prop::sample::select(vec!["|", "|-", "|+", ">", ">-", "| # why"]);
    prop_oneof![
        4 => Just(Style::Plain),
        1 => Just(Style::Single),
        1 => Just(Style::Double),
        1 => Just(Style::NextLine),
        2 => header.prop_map(Style::Literal),
    ]
}

fn field(name: &str, style: Style, comment: &str) -> String {
    match style {
        Style::Plain => format!("    {name}: {MARK}{comment}\n"),
        Style::Single => format!("    {name}: '{MARK}'{comment}\n"),
        Style::Double => format!("    {name}: \"{MARK}\"{comment}\n"),
        Style::NextLine => format!("    {name}:\n      {MARK}{comment}\n"),
        Style::Literal(header) => format!("    {name}: {header}\n       {MARK}\n"),
    }
}

fn comment() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ -~äß🔑]{0,20}".prop_map(|text| format!(" # \
        {text}"))]
}

fn name() -> impl Strategy<Value = String> {
    "[ -~äß🔑]{1,12}".prop_map(|name| serde_json::to_string(&name).unwrap())
}

/// Other users before and after, some with certificates of their own.
fn others() -> impl Strategy<Value = (Vec<String>, usize)> {
    let entry = prop_oneof![
        Just("  user: {token: x}\n".to_owned()),
        Just(
            "  user:\n    client-certificate-data: YWJj\n    client-key-data: |\n      ZGVm\n"
                .to_owned()
        ),
        Just("# odd\n  user: {client-certificate: /a, client-key: /b} # odd\n".to_owned()),
    ];
    prop::collection::vec(entry, 0..4).prop_flat_map(|entries| {
        let count = entries.len();
        let entries = entries
            .into_iter()
            .enumerate()
            .map(|(number, entry)| format!("- name: 'other {number}'\n{entry}"))
            .collect::<Vec<_>>();
        (Just(entries), 0..=count)
    })
}

fn block() -> impl Strategy<Value = Written> {
    let values = (style(), style(), comment(), comment(), any::<bool>());
    let sections = Just(["contexts", "clusters", "users", "rest"]).prop_shuffle();
    (values, name(), others(), sections, any::<bool>(), comment()).prop_map(
        |(
            (first, second, behind_first, behind_second, key_first),
            name,
            (others, at),
            sections,
            crlf,
            behind,
        )| {
            let names = if key_first {
                ["client-key-data", "client-certificate-data"]
            } else {
                ["client-certificate-data", "client-key-data"]
            };
            let values = format!(
                "{}{}",
                field(names[0], first, &behind_first),
                field(names[1], second, &behind_second)
            );
            let mut users = others;
            users.insert(at, format!("- name: {name}{behind}\n  user:\n{values}"));
            let text: String = sections
                .map(|section| match section {
                    "contexts" => format!(
                        "contexts: # one\n- name: c\n  context: {{user: {name}, \
                     cluster: k}}\n"
                    ),
                    "clusters" => "clusters:\n- name: k\n  cluster: {server: 'https://h', \
                     certificate-authority-data: YWJj}\n"
                        .to_owned(),
                    "users" => format!("users:\n{}", users.concat()),
                    _ => format!(
                        "kind: Config\napiVersion: v1\n{behind}\npreferences: \
                        {{}}\ncurrent-context: c\n"
                    ),
                })
                .concat();
            let text = if crlf { text.replace('\n', "\r\n") } else { text };
            written(&text, key_first)
        },
    )
}

fn json() -> impl Strategy<Value = Written> {
    let gap = prop::sample::select(vec!["", " ", "\n", "\n\t", "\r\n    "]);
    (name(), any::<bool>(), gap).prop_map(|(name, key_first, gap)| {
        let names = if key_first {
            ["client-key-data", "client-certificate-data"]
        } else {
            ["client-certificate-data", "client-key-data"]
        };
        let user = format!(
            "{{{gap}\"{}\":{gap}\"{MARK}\",{gap}\"{}\": \"{MARK}\"{gap}}}",
            names[0], names[1]
        );
        let context = format!("{{\"name\":\"c\",{gap}\"context\":{{\"user\":{name}}}}}");
        written(
            &format!(
                "{{\"contexts\":[{context}],{gap}\"current-context\":\"c\",\
                 \"users\":{gap}[{{\"user\":{user},\"name\":{name}}}]{gap}}}"
            ),
            key_first,
        )
    })
}

fn flow() -> impl Strategy<Value = Written> {
    (name(), any::<bool>(), comment()).prop_map(|(name, quoted, behind)| {
        let value = if quoted { format!("'{MARK}'") } else { MARK.to_string() };
        let user = format!("{{client-certificate-data: {value}, client-key-data: {value}}}");
        let text = format!(
            "current-context: c{behind}\ncontexts: [{{name: c, context: {{user: \
            {name}}}}}]\nusers:\n- {{name: {name}, user: {user}}}{behind}\n"
        );
        written(&text, false)
    })
}

/// Random bytes in place of PEM, after a beginning that makes their base64 a string to every YAML
/// parser.
fn pem() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..1500)
        .prop_map(|bytes| [b"-----BEGIN".as_slice(), &bytes].concat())
}

fn embedded(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let client = Kubeconfig::parse(text).unwrap().user.client;
    let bytes = |source| match source {
        PemSource::Embedded(bytes) => bytes.expose().to_vec(),
        PemSource::File(_) | PemSource::Missing => panic!("not embedded"),
    };
    (bytes(client.certificate), bytes(client.key))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn splice_changes_only_the_values_and_is_reversible(
        written in prop_oneof![4 => block(), 1 => json(), 1 => flow()],
        old in (pem(), pem()),
        new in (pem(), pem()),
    ) {
        let before = written.with(&old.0, &old.1);
        let after = splice(before.as_bytes(), &new.0, &Secret::new(new.1.clone()))
            .map_err(|error| TestCaseError::fail(format!("{error}\n{before}")))?;
        prop_assert_eq!(str::from_utf8(after.expose()).unwrap(), written.with(&new.0, &new.1));
        prop_assert_eq!(embedded(after.expose()), new);
        let back = splice(after.expose(), &old.0, &Secret::new(old.1.clone())).unwrap();
        prop_assert_eq!(back.expose(), before.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = splice(&bytes, b"-----BEGIN", &Secret::new(b"-----BEGIN".to_vec()));
        let _ = Kubeconfig::parse(&bytes);
    }

    #[test]
    fn damaged_kubeconfig_never_panics_or_changes_elsewhere(
        written in prop_oneof![block(), json(), flow()],
        damage in prop::sample::select(vec![
            "", " ", "\n", "\t", "'", "\"", "#", ": ", "- ", "&a ", "*a", "!t ", "{", "}", "[", "]",
            ",", "|", ">", "\\", "<<: ", "---\n", "? ", "é",
        ]),
        place in any::<prop::sample::Index>(),
        cut in 0_usize..3,
    ) {
        let text: Vec<char> = written.with(b"-----BEGIN CERTIFICATE-----", b"-----BEGIN \
            KEY-----").chars().collect();
        let at = place.index(text.len());
        let damaged: String = text
            .iter()
            .take(at)
            .copied()
            .chain(damage.chars())
            .chain(text.iter().skip(at + cut).copied())
            .collect();
        if let Ok(after) = splice(damaged.as_bytes(), b"-----BEGIN", &Secret::new(b"-----BEGIN \
            NEW".to_vec())) {
            prop_assert_eq!(embedded(after.expose()), (b"-----BEGIN".to_vec(), b"-----BEGIN \
                NEW".to_vec()));
            let (certificate, key) = embedded(damaged.as_bytes());
            let back = splice(after.expose(), &certificate, &Secret::new(key)).unwrap();
            let solid = |text: &[u8]| {
                text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>()
            };
            prop_assert_eq!(solid(back.expose()), solid(damaged.as_bytes()));
        }
    }
}
