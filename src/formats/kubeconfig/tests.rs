//! Tables: forms that are spliced, forms that are refused, and texts that are no kubeconfigs. The
//! meaning of each form to Kubernetes was compared by hand with `kubectl config view --raw` (1.20).

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::model::Secret;

/// As long as real PEM: some limits of YAML parsers begin at 1024 characters.
fn pem(kind: &str, length: usize) -> Vec<u8> {
    let body: String = STANDARD.encode(vec![kind.len() as u8; length]);
    format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n").into_bytes()
}

fn old() -> (Vec<u8>, Vec<u8>) {
    (pem("CERTIFICATE", 900), pem("RSA PRIVATE KEY", 1200))
}

fn new() -> (Vec<u8>, Vec<u8>) {
    (pem("CERTIFICATE", 500), pem("EC PRIVATE KEY", 1300))
}

/// Fills a template that has `@C` and `@K` in place of the base64 of the certificate and the key.
fn filled(template: &str, (certificate, key): (Vec<u8>, Vec<u8>)) -> String {
    template.replace("@C", &STANDARD.encode(certificate)).replace("@K", &STANDARD.encode(key))
}

fn spliced(text: &str) -> Result<String, SpliceError> {
    let (certificate, key) = new();
    splice(text.as_bytes(), &certificate, &Secret::new(key))
        .map(|text| String::from_utf8(text.expose().to_vec()).unwrap())
}

const CERTIFICATE: &str = "client-certificate-data";
const KEY: &str = "client-key-data";

const HEAD: &str = "apiVersion: v1
kind: Config
current-context: c
contexts:
- name: c
  context: {cluster: k, user: u}
clusters:
- name: k
  cluster: {server: 'https://10.0.0.1:6443'}
";

/// Returns a kubeconfig with the head and a user `u` of these lines.
fn user(lines: &str) -> String {
    format!("{HEAD}users:\n- name: u\n  user:\n{lines}")
}

fn kubeconfigs_of_kubeadm() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dirs = ["etc/kubernetes", "renewed-by-kubeadm/etc/kubernetes"];
    let trees = ["kubeadm-1.20-rsa2048", "kubeadm-1.36-ecdsa-p256"];
    let dirs = trees.iter().flat_map(|tree| dirs.map(|dir| fixtures.join(tree).join(dir)));
    let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).collect()
}

#[test]
fn splice_of_kubeadm_file_changes_two_lines() {
    let (certificate, key) = new();
    let files = kubeconfigs_of_kubeadm();
    assert_eq!(files.len(), 18);
    for file in files {
        let before = fs::read_to_string(&file).unwrap();
        let after = spliced(&before).unwrap();
        assert_eq!(before.lines().count(), after.lines().count(), "{file:?}");
        let changed: Vec<_> = before
            .lines()
            .zip(after.lines())
            .filter(|(before, after)| before != after)
            .map(|(_, after)| after)
            .collect();
        let certificate = format!("    client-certificate-data: {}", STANDARD.encode(&certificate));
        let key = format!("    client-key-data: {}", STANDARD.encode(&key));
        assert_eq!(changed, [certificate, key], "{file:?}");
    }
}

#[test]
fn splice_equals_the_renewal_by_kubeadm() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let tree = fixtures.join("kubeadm-1.20-rsa2048");
    let before = fs::read(tree.join("etc/kubernetes/scheduler.conf")).unwrap();
    let renewed = fs::read(tree.join("renewed-by-kubeadm/etc/kubernetes/scheduler.conf")).unwrap();
    let ClientCertificate {
        certificate: PemSource::Embedded(certificate),
        key: PemSource::Embedded(key),
        ..
    } = Kubeconfig::parse(&renewed).unwrap().user.client
    else {
        panic!("not embedded")
    };
    assert!(before != renewed);
    assert!(splice(&before, certificate.expose(), &key).unwrap().expose() == renewed);
}

/// Forms in which only the two values may change; kubectl 1.20 reads each of them, before and
/// after, as this reader does.
fn forms() -> Vec<(&'static str, String)> {
    let json = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
	"contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
	"users": [
		{"name": "u", "user": {
			"client-certificate-data": "@C",
			"client-key-data": "@K"
		}}
	]}
"#;
    let compact: String = json.split_whitespace().collect();
    let block = "    client-certificate-data: @C\n    client-key-data: @K\n";
    let anchors = "x: &x {a: 1}\ny: *x\nz:\n  <<: *x\n  b: 2\n";
    let two =
        "- name: other\n  user:\n    client-certificate-data: YWJj\n    client-key-data: ZGVm\n";
    let named = |name: &str, written: &str| {
        format!(
            "current-context: c\ncontexts:\n- {{name: c, context: {{user: {written}}}}}\nusers:\n- \
             name: {written} # {name}\n  user:\n{block}"
        )
    };
    vec![
        ("block", user(block)),
        ("the other order", user("    client-key-data: @K\n    client-certificate-data: @C\n")),
        ("no newline at the end", user(block.trim_end())),
        (
            "comments behind, before and after",
            user(
                "    # one\n    client-certificate-data: @C # two\n\n    client-key-data: \
                 @K\t#three\n# four",
            ),
        ),
        ("CRLF", user(block).replace('\n', "\r\n")),
        ("CRLF, mixed", user(&block.replace('\n', "\r\n"))),
        (
            "space at line ends",
            user("    client-certificate-data: @C   \n    client-key-data: @K \t\n\n\n"),
        ),
        (
            "much space after the colon",
            user("    client-certificate-data:     @C\n    client-key-data:\t@K\n"),
        ),
        (
            "other indentation",
            format!(
                "{HEAD}users:\n  -   name: u\n      user:\n          client-certificate-data: \
                 @C\n          client-key-data: @K\n"
            ),
        ),
        (
            "user before name",
            format!(
                "{HEAD}users:\n- user:\n    client-key-data: @K\n    client-certificate-data: \
                 @C\n  name: u\n"
            ),
        ),
        ("users first", format!("users:\n- name: u\n  user:\n{block}{HEAD}")),
        (
            "single quotes",
            user("    client-certificate-data: '@C'\n    client-key-data: '@K' # comment\n"),
        ),
        (
            "double quotes",
            user("    client-certificate-data: \"@C\"\n    client-key-data: \"@K\"\n"),
        ),
        ("quoted keys", user("    'client-certificate-data': @C\n    \"client-key-data\": @K\n")),
        ("one quoted", user("    client-certificate-data: @C\n    client-key-data: \"@K\"\n")),
        (
            "on the next line",
            user(
                "    client-certificate-data:\n      @C\n    client-key-data: # comment\n      \
                 @K\n",
            ),
        ),
        (
            "explicit keys",
            user("    ? client-certificate-data\n    : @C\n    ? client-key-data\n    : @K\n"),
        ),
        (
            "flow",
            format!(
                "{HEAD}users: [{{name: u, user: {{client-certificate-data: @C, client-key-data: \
                 @K}}}}]\n"
            ),
        ),
        (
            "flow over lines",
            user(
                "    {client-certificate-data: '@C', # comment\n     client-key-data: \"@K\",\n    \
                 }\n",
            ),
        ),
        ("JSON over lines, with tabs", json.to_owned()),
        ("JSON in one line", compact),
        (
            "literal block",
            user("    client-certificate-data: |\n      @C\n    client-key-data: |\n      @K\n"),
        ),
        (
            "literal block, the other order",
            user(
                "    client-key-data: |-\n        @K\n    client-certificate-data: |-\n     \
                 @C\n    token: x\n",
            ),
        ),
        (
            "literal block at the end",
            user("    client-certificate-data: |2\n      @C\n    client-key-data: |\n      @K"),
        ),
        (
            "literal block, line kept, comments",
            user(
                "    client-certificate-data: | # one\n      @C\n\n  # two\n    client-key-data: \
                 |+\n      @K\n\n\n# three\n",
            ),
        ),
        (
            "folded block of one line",
            user("    client-certificate-data: >\n      @C\n    client-key-data: >-\n      @K\n"),
        ),
        (
            "block and plain",
            user("    client-certificate-data: |\n      @C\n    client-key-data: @K\n"),
        ),
        (
            "literal block, CRLF",
            user("    client-certificate-data: |\n      @C\n    client-key-data: |\n      @K\n")
                .replace('\n', "\r\n"),
        ),
        ("a byte order mark", format!("\u{feff}{}", user(block))),
        ("markers at both ends", format!("---\n{}...\n---\n# nothing\n", user(block))),
        ("a directive", format!("%YAML 1.1\n---\n{}", user(block))),
        ("a long licence", format!("{}{}", "# line\n".repeat(100), user(block))),
        ("anchors elsewhere", format!("{anchors}{}", user(block))),
        (
            "an unused anchor",
            user("    client-certificate-data: &c @C\n    client-key-data: &k\n      @K\n"),
        ),
        (
            "other users",
            format!(
                "{HEAD}users:\n{two}- name: u\n  user:\n{block}{}",
                two.replace("other", "third")
            ),
        ),
        (
            "the same values in another user",
            format!("{}- name: other\n  user:\n{block}", user(block))
                .replacen("@C", "@O", 1)
                .replace("@C", "YWJj")
                .replace("@O", "@C")
                .replacen("@K", "@O", 1)
                .replace("@K", "ZGVm")
                .replace("@O", "@K"),
        ),
        ("other fields", user(&format!("    username: a\n{block}    password: b\n    # end\n"))),
        ("a name in quotes", named("quotes", "\"u \\\" '\"")),
        ("a name that is not ASCII", named("Jörg \u{1f511}", "Jörg-\u{1f511}")),
        ("a name with colons", named("colons", "system:node:cp1")),
        (
            "odd values elsewhere",
            format!(
                "a: .5\nb: 0x1F\nc: 2020-01-01\nd: ~\n5: yes\ne: 99999999999999999999999\nf: \
                 !!binary /////w==\ng: !own {{x: 1}}\n{}",
                user(block)
            ),
        ),
    ]
}

#[test]
fn only_the_two_values_change() {
    for (form, template) in forms() {
        let (before, after) = (filled(&template, old()), filled(&template, new()));
        assert!(before != after, "{form}: the template has no places");
        match spliced(&before) {
            Ok(text) => assert!(text == after, "{form}: {text}"),
            Err(error) => panic!("{form}: {error}\n{before}"),
        }
        let again = splice(after.as_bytes(), &old().0, &Secret::new(old().1)).unwrap();
        assert!(again.expose() == before.as_bytes(), "{form}: there and back");
    }
}

#[test]
fn multi_line_value_becomes_one_line() {
    let wrapped = |bytes: Vec<u8>, indent: &str| {
        let text = STANDARD.encode(bytes);
        text.as_bytes()
            .chunks(64)
            .map(|line| format!("{indent}{}\n", str::from_utf8(line).unwrap()))
            .collect::<String>()
    };
    for header in ["|", "|-", "|+", "| # comment"] {
        for end in ["\n", "\r\n"] {
            let lines = |certificate: &str, key: &str| {
                user(&format!(
                    "    client-certificate-data: {header}\n{certificate}\n    # between\n    \
                     client-key-data: {header}\n{key}    token: x\n"
                ))
                .replace('\n', end)
            };
            let before = lines(&wrapped(old().0, "      "), &wrapped(old().1, "       "));
            let after = lines(
                &format!("      {}\n", STANDARD.encode(new().0)),
                &format!("       {}\n", STANDARD.encode(new().1)),
            );
            assert!(spliced(&before).unwrap() == after, "{header:?} {end:?}");
        }
    }
}

#[test]
fn value_not_replaceable_alone_is_refused_with_its_line() {
    use Obstacle::{Escaped, Shared, Tagged};
    // The line above the head; the user's lines, of which the first is the 14th; the refusal.
    let cases = [
        (
            "x: &x @C",
            "    client-certificate-data: *x\n    client-key-data: @K\n",
            14,
            CERTIFICATE,
            Shared,
        ),
        ("x: &x @K", "    client-certificate-data: @C\n    client-key-data: *x\n", 15, KEY, Shared),
        (
            "x: y",
            "    client-certificate-data: @C\n    client-key-data: &x @K\nx2: *x\n",
            15,
            KEY,
            Shared,
        ),
        (
            "x: y",
            "    client-certificate-data: &x |\n      @C\n    client-key-data: @K\n    token: *x\n",
            15,
            CERTIFICATE,
            Shared,
        ),
        (
            "x: &x {client-key-data: @K}",
            "    client-certificate-data: @C\n    <<: *x\n",
            15,
            KEY,
            Shared,
        ),
        (
            "x: y",
            "    client-certificate-data: @C\n    <<: {client-key-data: @K}\n",
            15,
            KEY,
            Shared,
        ),
        (
            "x: &x {client-certificate-data: @C, client-key-data: @K}",
            "    *x\n",
            14,
            CERTIFICATE,
            Shared,
        ),
        (
            "x: y",
            "    &x\n    client-certificate-data: @C\n    client-key-data: @K\nx2: *x\n",
            15,
            CERTIFICATE,
            Shared,
        ),
        (
            "x: y",
            "    client-certificate-data: @C\n    client-key-data: !!str @K\n",
            15,
            KEY,
            Tagged,
        ),
        (
            "x: y",
            "    client-certificate-data: !pem '@C'\n    client-key-data: @K\n",
            14,
            CERTIFICATE,
            Tagged,
        ),
        (
            "x: y",
            "    client-certificate-data: \"@C\\n\"\n    client-key-data: @K\n",
            14,
            CERTIFICATE,
            Escaped,
        ),
        (
            "x: y",
            "    client-certificate-data: @C\n    client-key-data: \"\\\n      @K\"\n",
            15,
            KEY,
            Escaped,
        ),
    ];
    for (top, lines, line, field, obstacle) in cases {
        let text = filled(&format!("{top}\n{}", user(lines)), old());
        assert!(Kubeconfig::parse(text.as_bytes()).is_ok(), "{top} {lines}");
        assert_eq!(
            spliced(&text),
            Err(SpliceError::Refused { line, field, obstacle }),
            "{top} {lines}"
        );
    }
}

#[test]
fn value_not_embedded_is_refused() {
    let missing = |field| Err(SpliceError::NotEmbedded { user: "u".to_owned(), field });
    let cases = [
        ("    token: x\n", CERTIFICATE),
        ("    client-certificate: /a.pem\n    client-key: /a.pem\n", CERTIFICATE),
        ("    client-certificate-data: YWJj\n    client-key: /a.pem\n", KEY),
        ("    client-certificate-data: ''\n    client-key-data: YWJj\n", CERTIFICATE),
        ("    client-certificate-data: YWJj\n    client-key-data:\n", KEY),
    ];
    for (lines, field) in cases {
        assert_eq!(spliced(&user(lines)), missing(field), "{lines}");
    }
}

#[test]
fn line_separators_of_yaml_1_1_are_refused() {
    for separator in ["\u{85}", "\u{2028}", "\u{2029}"] {
        let text = filled(
            &user(&format!(
                "    client-certificate-data: @C\n    client-key-data: @K # a{separator}b\n"
            )),
            old(),
        );
        assert_eq!(spliced(&text), Err(SpliceError::Ambiguous { line: 14 }));
    }
}

#[test]
fn empty_replacement_is_refused() {
    let text = user("    client-certificate-data: YWJj\n    client-key-data: ZGVm\n");
    assert_eq!(
        splice(text.as_bytes(), b"", &Secret::new(b"x".to_vec())),
        Err(SpliceError::NotTheSame)
    );
}

#[test]
fn kubeconfig_of_kubeadm_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes");
    let ca = fs::read(file.join("pki/ca.crt")).unwrap();
    let config = Kubeconfig::parse(&fs::read(file.join("scheduler.conf")).unwrap()).unwrap();
    assert_eq!(config.context, "system:kube-scheduler@kubernetes");
    assert_eq!(config.user.name, "system:kube-scheduler");
    assert_eq!(config.others_with_certificates, Vec::<String>::new());
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://10.200.0.1:6443"));
    assert!(cluster.authority == PemSource::Embedded(Secret::new(ca)));
    let PemSource::Embedded(key) = config.user.client.key else { panic!("no key") };
    assert!(key.expose().starts_with(b"-----BEGIN EC PRIVATE KEY-----\n"));
}

#[test]
fn each_half_is_data_or_a_file() {
    let file = |path: &str| PemSource::File(path.to_owned());
    let data = |bytes: &[u8]| PemSource::Embedded(Secret::new(bytes.to_vec()));
    let cases = [
        ("    token: x\n", PemSource::Missing, PemSource::Missing),
        ("    client-certificate: a.pem\n    client-key: /b.pem\n", file("a.pem"), file("/b.pem")),
        (
            "    client-certificate: ''\n    client-certificate-data: YWJj\n    client-key: b\n",
            data(b"abc"),
            file("b"),
        ),
        (
            "    client-certificate: a\n    client-certificate-data: ''\n    client-key-data: \
             |\n      YW\n      Jj\n",
            file("a"),
            data(b"abc"),
        ),
        (
            "    client-certificate-data: ~\n    client-key-data: \"YWJ=\"\n",
            PemSource::Missing,
            data(b"ab"),
        ),
        ("    {}\n", PemSource::Missing, PemSource::Missing),
        ("\n", PemSource::Missing, PemSource::Missing),
    ];
    for (lines, certificate, key) in cases {
        let instead = lines.contains("token").then_some("token");
        assert_eq!(
            Kubeconfig::parse(user(lines).as_bytes()).unwrap().user.client,
            ClientCertificate { certificate, key, letter_case: None, instead },
            "{lines}"
        );
    }
}

/// As `kubectl get nodes` of 1.32 does. Other users than the current one are not looked at.
#[test]
fn data_and_file_for_the_same_half_are_refused() {
    let pair = "    client-certificate-data: YWJj\n    client-key-data: ZGVm\n";
    for (more, data) in [
        ("    client-certificate: a\n", "client-certificate-data"),
        ("    client-key: a\n", "client-key-data"),
    ] {
        let text = user(&format!("{pair}{more}"));
        let error = Kubeconfig::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(&format!("is set beside {data}")), "{error}");
        assert!(error.is_about_form());
        let others = user(pair) + &format!("- name: other\n  user:\n{pair}{more}");
        assert!(Kubeconfig::parse(others.as_bytes()).is_ok(), "{others}");
    }
}

#[test]
fn user_may_authenticate_without_certificate() {
    let cases = [
        ("    token: x\n", Some("token")),
        ("    tokenFile: /a\n", Some("tokenFile")),
        ("    exec: {command: get-token, apiVersion: v1}\n", Some("exec")),
        ("    auth-provider: {name: oidc}\n", Some("auth-provider")),
        ("    token: ''\n", None),
        ("    exec: ~\n", None),
        ("    username: a\n    password: b\n", None),
    ];
    for (lines, instead) in cases {
        let client = Kubeconfig::parse(user(lines).as_bytes()).unwrap().user.client;
        assert_eq!(client.instead, instead, "{lines}");
    }
}

#[test]
fn other_users_with_certificates_are_listed() {
    let text = user(
        "    client-certificate-data: YWJj\n- name: token\n  user: {token: x}\n- name: data\n  \
         user: {client-certificate-data: YWJj}\n- name: file\n  user: {client-certificate: a}\n",
    );
    assert_eq!(
        Kubeconfig::parse(text.as_bytes()).unwrap().others_with_certificates,
        ["data", "file"]
    );
}

#[test]
fn missing_cluster_is_none() {
    let text = user("    token: x\n").replace("cluster: k,", "cluster: z,");
    assert_eq!(Kubeconfig::parse(text.as_bytes()).unwrap().cluster, None);
}

#[test]
fn errors_name_their_line() {
    let users = |lines: &str| format!("{HEAD}users:\n{lines}");
    let base64 =
        "is not base64 as Kubernetes reads it (padded, no spaces); it would refuse the whole file";
    let cases: Vec<(String, String)> = vec![
        (String::new(), "it is empty".into()),
        ("# only a comment\n---\n".into(), "it is empty".into()),
        ("- a\n".into(), "it is not a kubeconfig: at its top there is no mapping".into()),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nTUlJRXBBSUJBQUtDQVFFQXpJSkNI\n".into(),
            "it is not a kubeconfig: at its top there is no mapping".into(),
        ),
        ("kind: Pod\napiVersion: v1\n".into(), "line 1: it is not a kubeconfig: kind is not \
            \"Config\"".into()),
        ("kind: Config\napiVersion: v2\n".into(), "line 2: it is not a kubeconfig: apiVersion is \
            not \"v1\"".into()),
        ("a: b\nc: d: e\n".into(), "line 2, column 5: mapping values are not allowed in this \
            context".into()),
        ("a: b\nc: \"d\n".into(), "line 3, column 1: invalid indentation in multiline quoted \
            scalar".into()),
        ("a: *b\n".into(), "line 1, column 4: an alias names an anchor that is not there".into()),
        ("a: &a [*a]\n".into(), "line 1, column 8: a value contains itself through an \
            alias".into()),
        ("a: b\n<<: c\n".into(), "line 2, column 5: a merge key needs a mapping".into()),
        ("a: b\nb: @c\n".into(), "line 2, column 4: unexpected character".into()),
        ("a: b\nc: d\na: e\n".into(), "line 3: a key stands here for the second time in the same \
            mapping; remove one of them".into()),
        (
            format!("{HEAD}---\na: b\n"),
            "line 11: a second document begins here, and Kubernetes reads only the first; keep one \
             document in the file".into(),
        ),
        (format!("a: {}{}\n", "[".repeat(60), "]".repeat(60)), "line 1: too deeply nested, or too \
            much repeated by aliases".into()),
        (HEAD.into(), "it has no users".into()),
        (users("  []\n"), "it has no users".into()),
        (users("  a: b\n"), "line 11: users is not a list".into()),
        (users("- a\n"), "line 11: a mapping with \"name\" in it is expected here".into()),
        (users("- name: u\n  user: x\n"), "line 12: a mapping with \
            \"client-certificate\" in it is expected here".into()),
        (users("- name: 5\n"), "line 11: name is not a string (quote it if it looks like a number \
            or a boolean)".into()),
        (
            users("- name: u\n- name: u\n"),
            "line 12: \"u\" stands for the second time under users; Kubernetes refuses the whole \
             file".into(),
        ),
        (users("- name: u\n").replace("current-context: c\n", ""), "it has no \
            current-context".into()),
        (users("- name: u\n").replace("current-context: c", "current-context: ''"), "it has no \
            current-context".into()),
        (
            users("- name: u\n").replace("current-context: c", "current-context: z"),
            "current-context is \"z\", but there is no context of that name".into(),
        ),
        (users("- name: u\n").replace(", user: u", ""), "line 5: the current context \"c\" names \
            no user".into()),
        (users("- name: z\n"), "line 5: the current context \"c\" names the user \"u\", but there \
            is no user of that name".into()),
        (user("    client-certificate-data: YWJj\n    client-key-data: YWJ\n"), format!("line 14: \
            client-key-data {base64}")),
        (user("    client-certificate-data: 'YWJj '\n"), format!("line 13: client-certificate-data \
            {base64}")),
        (user("    client-certificate-data: YWJj\n      ZGVm\n"), format!("line 13: \
            client-certificate-data {base64}")),
        (user("    client-key-data: >\n      YWJj\n      ZGVm\n"), format!("line 14: \
            client-key-data {base64}")),
        (user("    client-key-data: YW-_\n"), format!("line 13: client-key-data {base64}")),
        (
            user("    client-key-data: 1234\n"),
            "line 13: client-key-data is not a string (quote it if it looks like a number or a \
             boolean)".into(),
        ),
        (
            user("    client-key-data: !!binary YWJj\n"),
            "line 13: client-key-data is not a string (quote it if it looks like a number or a \
             boolean)".into(),
        ),
        (users("- name: u\n- name: v\n  user: {client-key-data: '*'}\n"), format!("line 13: \
            client-key-data {base64}")),
        (
            format!("{}\n", user("    token: x\n").replace("server:", "certificate-authority-data: \
                x, server:")),
            format!("line 9: certificate-authority-data {base64}"),
        ),
    ];
    for (text, message) in cases {
        let error = Kubeconfig::parse(text.as_bytes()).expect_err(&message);
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(spliced(&text).expect_err(&message), SpliceError::Unreadable(error), "{text}");
    }
}

#[test]
fn invalid_utf8_is_reported_with_its_line() {
    assert_eq!(Kubeconfig::parse(b"a: b\nc: \xff\n"), Err(KubeconfigError::NotUtf8 { line: 2 }));
    assert_eq!(Kubeconfig::parse(b"\xff\xfea\0"), Err(KubeconfigError::NotUtf8 { line: 1 }));
}

#[test]
fn exponential_aliases_are_refused() {
    let text = format!(
        "a: &a {}\nb: &b [{}]\nc: &c [{}]\nd: [{}]\n",
        "x".repeat(100_000),
        "*a,".repeat(50),
        "*b,".repeat(50),
        "*c,".repeat(50)
    );
    assert!(matches!(Kubeconfig::parse(text.as_bytes()), Err(KubeconfigError::TooComplex { .. })));
}

#[test]
fn deep_nesting_is_refused_before_stack_overflow() {
    let chain: String = (1..60).map(|i| format!("x{i}: &x{i} {{a: *x{}}}\n", i - 1)).collect();
    let chain = format!("x0: &x0 1\n{chain}");
    let lists = format!("a: {}1{}\n", "[".repeat(200), "]".repeat(200));
    let block: String = (0..60).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let fits = format!("a: {}1{}\n", "{a: ".repeat(15), "}".repeat(15));
    let parse = |text: String| move || Kubeconfig::parse(text.as_bytes());
    // Threads have 2 MiB.
    let small = |text: String| {
        std::thread::Builder::new()
            .stack_size(1280 * 1024)
            .spawn(parse(text))
            .unwrap()
            .join()
            .unwrap()
    };
    for text in [chain, lists, block] {
        assert!(matches!(small(text.clone()), Err(KubeconfigError::TooComplex { .. })), "{text}");
    }
    assert_eq!(small(fits), Err(KubeconfigError::NoUsers));
}

#[test]
fn errors_never_show_file_content() {
    const MATERIAL: &str = "TUlJRXBBSUJBQUtDQVFFQXpJSkNI";
    let damages = [
        "{}",
        "{}:",
        "- {}",
        "\"{}",
        "'{}",
        "&{} a",
        "*{}",
        "!{} a",
        "!!{} a",
        "%{}",
        "[{}",
        "{{}",
        "@{}",
        "`{}`",
        "|{}",
        "a: {}: b",
        "{}: a\n    {}: b",
        "<<: {}",
        "!<{} a",
        "? {}",
        "\u{0}{}",
        "\t{}",
        "a: .inf{}",
        "\"\\{}\"",
    ];
    for damage in damages {
        for line in [
            damage.to_owned(),
            format!("client-key-data: {damage}"),
            format!("client-key-data: {damage}*"),
        ] {
            let text = user(&format!(
                "    {}\n    client-certificate-data: YWJj\n",
                line.replace("{}", MATERIAL)
            ));
            for error in [
                Kubeconfig::parse(text.as_bytes()).err().map(|e| format!("{e} {e:?}")),
                spliced(&text).err().map(|e| format!("{e} {e:?}")),
            ] {
                let shown = error.unwrap_or_default();
                assert!(!shown.contains("TUl"), "{line:?}: {shown}");
            }
        }
    }
}

#[test]
fn named_user_is_spliced_even_if_not_current() {
    let text = "users:\n- name: a\n  user: {client-certificate-data: YWJj, client-key-data: \
        ZGVm}\n- name: b\n  user:\n    client-key-data: 'ZGVm' # mine\n    \
        client-certificate-data: YWJj\n";
    let key = Secret::new(b"key".to_vec());
    let after = splice_user(text.as_bytes(), "b", b"certificate", &key).unwrap();
    let expected =
        text.replace("'ZGVm'", "'a2V5'").replace("data: YWJj\n", "data: Y2VydGlmaWNhdGU=\n");
    assert_eq!(std::str::from_utf8(after.expose()).unwrap(), expected);
    let names: Vec<_> = users(after.expose()).unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(splice_user(text.as_bytes(), "c", b"certificate", &key).is_err());
    let shared = text
        .replace("- name: a\n  user:", "- name: a\n  user: &x")
        .replace("- name: b\n", "- {name: c, user: *x}\n- name: b\n");
    assert!(
        obstacle_for(shared.as_bytes(), "a").is_some()
            && obstacle_for(shared.as_bytes(), "b").is_none()
    );
}
