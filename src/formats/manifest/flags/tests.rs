use proptest::prelude::*;

use super::*;

const KCM: &str = "kube-controller-manager";
const CERT: &str = "cluster-signing-cert-file";
const KEY: &str = "cluster-signing-key-file";
const NEW: &str = "/etc/kubernetes/pki/signing.crt";
const NEW_KEY: &str = "/etc/kubernetes/pki/signing.key";

const OLD: &str = "/etc/kubernetes/pki/ca.crt";
const OLD_KEY: &str = "/etc/kubernetes/pki/ca.key";
const OWN: [(&str, Option<&str>); 2] = [(CERT, Some(NEW)), (KEY, Some(NEW_KEY))];
const CA: [(&str, Option<&str>); 2] = [(CERT, Some(OLD)), (KEY, Some(OLD_KEY))];
const NONE: [(&str, Option<&str>); 2] = [(CERT, None), (KEY, None)];

const KUBEADM: [&str; 2] = [
    include_str!(
        "../../../../tests/fixtures/kubeadm-1.20-rsa2048/etc/kubernetes/manifests/\
         kube-controller-manager.yaml"
    ),
    include_str!(
        "../../../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/manifests/\
         kube-controller-manager.yaml"
    ),
];

/// Returns a manifest with these lines in its container, in which KCM and
/// CERT are the names of the program and of the flag.
fn manifest(container: &str) -> String {
    let container = container.replace("KCM", KCM).replace("CERT_", "cluster_signing_cert_file");
    let container = container.replace("CERT", CERT);
    format!(
        "# of the operator\napiVersion: v1\nkind: Pod\nmetadata: {{name: {KCM}}}\nspec:\n  \
         containers:\n  - name: {KCM}\n{container}    image: x # kept\n"
    )
}

fn set(text: &str, flag: &str, value: Option<&str>) -> Result<Option<String>, String> {
    with_flags(text, KCM, &[(flag, value)]).map_err(|error| error.to_string())
}

fn changed(text: &str, value: Option<&str>) -> String {
    set(text, CERT, value).unwrap().unwrap()
}

#[test]
fn manifests_of_kubeadm_change_in_two_values() {
    for before in KUBEADM {
        let after = with_flags(before, KCM, &OWN).unwrap().unwrap();
        let [cert, key] = [(CERT, OLD, NEW), (KEY, OLD_KEY, NEW_KEY)]
            .map(|(flag, old, new)| (format!("--{flag}={old}\n"), format!("--{flag}={new}\n")));
        assert_eq!(after, before.replace(&cert.0, &cert.1).replace(&key.0, &key.1));
        assert_ne!(after, before);
        assert_eq!(with_flags(&after, KCM, &OWN), Ok(None));
        assert_eq!(with_flags(&after, KCM, &CA).unwrap().unwrap(), before);
    }
}

#[test]
fn flag_that_is_removed_and_set_has_its_place_again() {
    for before in KUBEADM {
        for text in [before.to_owned(), before.replace('\n', "\r\n")] {
            let without = with_flags(&text, KCM, &NONE).unwrap().unwrap();
            assert_eq!(text.lines().count(), without.lines().count() + 2);
            assert!(!without.contains("cluster-signing"));
            assert_eq!(with_flags(&without, KCM, &CA).unwrap().unwrap(), text);
        }
    }
}

#[test]
fn notation_of_a_flag_is_kept() {
    for (before, after, without) in [
        (
            "    command:\n    - KCM\n    -   '--CERT=/a' \n",
            "    command:\n    - KCM\n    -   '--CERT=/n' \n",
            "    command:\n    - KCM\n",
        ),
        (
            "    command: [/usr/bin/KCM]\n    args:\n      - --a=b # c\n      \
             - \"--CERT_=$(DIR)/a\"\n      # d\n      - --z\n",
            "    command: [/usr/bin/KCM]\n    args:\n      - --a=b # c\n      \
             - \"--CERT_=/n\"\n      # d\n      - --z\n",
            "    command: [/usr/bin/KCM]\n    args:\n      - --a=b # c\n      \
             # d\n      - --z\n",
        ),
        (
            "    command: [KCM,--CERT=/a , '--b=c']\n",
            "    command: [KCM,--CERT=/n , '--b=c']\n",
            "    command: [KCM , '--b=c']\n",
        ),
        (
            "    command: [KCM]\n    args: [\n      \
             \"--CERT=/a\",\n      --b, # e\n    ]\n",
            "    command: [KCM]\n    args: [\n      \
             \"--CERT=/n\",\n      --b, # e\n    ]\n",
            "    command: [KCM]\n    args: [\n      --b, # e\n    ]\n",
        ),
        (
            "    command: [tini, --, KCM, --CERT=]\n",
            "    command: [tini, --, KCM, --CERT=/n]\n",
            "    command: [tini, --, KCM]\n",
        ),
    ] {
        let [before, after, without] = [before, after, without].map(manifest);
        assert_eq!(changed(&before, Some("/n")), after);
        assert_eq!(changed(&before, None), without);
        assert_eq!(changed(&after, None), without);
    }
}

#[test]
fn new_flag_comes_behind_the_one_before_it() {
    for (before, after) in [
        (
            "    command:\n    - KCM # program\n    # next\n    - --z=1\n",
            "    command:\n    - KCM # program\n    \
             - --CERT=/n\n    # next\n    - --z=1\n",
        ),
        (
            "    command:\n    - KCM\n    args:\n    - \"--a=1\"\n    - --b\n    \
             - value\n    - --\n    - --c=1\n",
            "    command:\n    - KCM\n    args:\n    - \"--a=1\"\n    \
             - --CERT=/n\n    - --b\n    - value\n    - --\n    - --c=1\n",
        ),
        (
            "    command: [KCM, '--a=1' , --d=2]\n",
            "    command: [KCM, '--a=1', --CERT=/n , --d=2]\n",
        ),
    ] {
        let [before, after] = [before, after].map(manifest);
        assert_eq!(changed(&before, Some("/n")), after);
        assert_eq!(changed(&after, None), before);
    }
}

#[test]
fn last_line_without_line_break_is_kept_so() {
    for line_break in ["\n", "\r\n"] {
        let before = format!(
            "kind: Pod\nmetadata: {{name: {KCM}}}\nspec:\n  containers:\n  - name: {KCM}\n    \
             command:\n    - {KCM}"
        );
        let before = before.replace('\n', line_break);
        let after = changed(&before, Some("/n"));
        assert_eq!(after, format!("{before}{line_break}    - --{CERT}=/n"));
        assert_eq!(changed(&after, None), before);
    }
}

#[test]
fn other_containers_stay_as_they_are() {
    let text = |value: &str| {
        format!(
            "kind: Pod\nmetadata: {{name: x}}\nspec:\n  containers:\n  - name: a\n    command: [b, \
             --{CERT}=/a]\n  - name: c\n    command: [{KCM}, --{CERT}={value}]\n---\n# end\n"
        )
    };
    assert_eq!(changed(&text("/a"), Some("/n")), text("/n"));
}

#[test]
fn uncertain_manifest_is_refused_with_its_line() {
    let program = "    command:\n    - KCM\n";
    let obstacle = |line: u64, obstacle: EditObstacle| {
        format!("line {line}: --{CERT} can't be changed without changing anything else: {obstacle}")
    };
    for (lines, expected) in [
        (format!("{program}    - --{CERT}\n    - /a\n"), obstacle(10, EditObstacle::SeparateValue)),
        (format!("{program}    - --{CERT}\n"), obstacle(10, EditObstacle::SeparateValue)),
        (format!("{program}    - -{CERT}=/a\n"), obstacle(10, EditObstacle::OneDash)),
        (
            format!("{program}    - --{CERT}=/a\n    args: [--{CERT}=/b]\n"),
            obstacle(11, EditObstacle::Repeated),
        ),
        (format!("{program}    - !!str --{CERT}=/a\n"), obstacle(10, EditObstacle::Tagged)),
        (
            format!("{program}    - &f --{CERT}=/a\n    args: [*f]\n"),
            obstacle(11, EditObstacle::Repeated),
        ),
        (
            format!("{program}    - &f --{CERT}=/a\n    workingDir: *f\n"),
            obstacle(10, EditObstacle::Shared),
        ),
        (format!("{program}    - &f --{CERT}=/a\n"), obstacle(10, EditObstacle::Layout)),
        (format!("{program}    - \"--{CERT}=\\x2fa\"\n"), obstacle(10, EditObstacle::Escaped)),
        (format!("{program}    - \"--{CERT}=/a\n      b\"\n"), obstacle(10, EditObstacle::Escaped)),
        (format!("{program}    - |-\n      --{CERT}=/a\n"), obstacle(11, EditObstacle::Layout)),
        (
            format!("{program}    - $(F)=/a\n    env: [{{name: F, value: --{CERT}}}]\n"),
            obstacle(10, EditObstacle::Variable),
        ),
        (
            format!("{program}    - $(ALL)\n"),
            format!("not all flags of {KCM} are known: the value of $(ALL) is not known here"),
        ),
        (
            format!("    command: [sh, -c, 'exec {KCM} --{CERT}=/a']\n"),
            EditError::NoProgram { component: KCM.to_owned() }.to_string(),
        ),
        (
            format!("    args: [--{CERT}=/a]\n"),
            EditError::NoProgram { component: KCM.to_owned() }.to_string(),
        ),
        (
            format!("{program}    - --a=\u{2028}\n"),
            "line 10: a line separator that not every YAML reader knows (U+0085, U+2028 or \
             U+2029) makes the file ambiguous; remove it"
                .to_owned(),
        ),
    ] {
        assert_eq!(set(&manifest(&lines), CERT, Some("/n")), Err(expected), "{lines}");
    }
}

#[test]
fn uncertain_removal_is_refused_with_its_line() {
    let program = "    command:\n    - KCM\n";
    for (lines, line, obstacle) in [
        (format!("{program}    - --{CERT}=/a # mine\n"), 10, EditObstacle::Comment),
        (format!("{program}    args:\n    - --{CERT}=/a\n"), 11, EditObstacle::OnlyItem),
        (format!("    command: [{KCM},  # a\n      --{CERT}=/a]\n"), 9, EditObstacle::Layout),
    ] {
        let object = format!("--{CERT}");
        let result = with_flags(&manifest(&lines), KCM, &[(CERT, None)]);
        assert_eq!(result, Err(EditError::Refused { line, object, obstacle }), "{lines}");
    }
}

#[test]
fn json_and_several_documents_are_refused() {
    let json = format!(
        "{{\"kind\": \"Pod\", \"metadata\": {{\"name\": \"{KCM}\"}}, \"spec\": {{\"containers\": \
         [{{\"name\": \"x\", \"command\": [\"{KCM}\", \"--{CERT}=/a\"]}}]}}}}"
    );
    assert_eq!(with_flags(&json, KCM, &[(CERT, Some("/n"))]), Err(EditError::Json));
    assert_eq!(with_flags(&json, KCM, &[(CERT, Some("/a"))]), Ok(None), "nothing is to change");
    let several = format!("{}---\nkind: Pod\n", KUBEADM[1]);
    assert!(set(&several, CERT, Some("/n")).unwrap_err().contains("a second document"));
    assert!(set("kind: Service", CERT, Some("/n")).is_err());
}

#[test]
fn special_values_are_refused() {
    for value in ["", "a", "/a b", "/a#", "/$(A)", "/a\n", "/é", "/a,", "/a:"] {
        let result = with_flags(KUBEADM[1], KCM, &[(CERT, Some(value))]);
        assert!(matches!(result, Err(EditError::NoPlainPath { .. })), "{value:?}: {result:?}");
    }
}

/// A list of items in block or flow notation.
fn arb_command() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        "--[a-z]{1,3}=[a-z/.*,]{0,6}",
        "'--[a-z]{1,3}=[a-z: ]{0,6}'",
        "\"--[a-z]{1,3}=[a-z# ]{0,6}\"",
        "--[a-z]{1,3}",
    ];
    let end = prop_oneof![Just(""), Just(" "), Just(" # comment"), Just("\n    # own line")];
    let items = prop::collection::vec((item, end), 0..6);
    (items, any::<bool>()).prop_map(|(items, is_block)| {
        let mut all = String::new();
        for (item, end) in items {
            if is_block {
                all += &format!("    - {item}{end}\n");
            } else {
                all += &format!(", {}", item.replace(['*', ','], "."));
            }
        }
        match is_block {
            true => format!("    command:\n    - {KCM}\n{all}"),
            false => format!("    command: [{KCM}{all} ]\n"),
        }
    })
}

proptest! {
    #[test]
    fn set_and_removed_flag_leaves_the_same_bytes(
        command in arb_command(),
        line_break in prop_oneof![Just("\n"), Just("\r\n")],
        is_ended in any::<bool>(),
    ) {
        let text = manifest("").replace("    image: x # kept\n", &command);
        let text = if is_ended { text } else { text.trim_end().to_owned() };
        let text = text.replace('\n', line_break);
        let after = with_flags(&text, KCM, &OWN).unwrap().unwrap();
        let pod = Pod::parse(&after).unwrap().of_component(KCM);
        prop_assert_eq!(pod.flag(CERT), Some(NEW));
        prop_assert_eq!(pod.flag(KEY), Some(NEW_KEY));
        let other = [(CERT, Some("/o")), (KEY, Some(NEW_KEY))];
        let changed = with_flags(&after, KCM, &other).unwrap().unwrap();
        prop_assert_eq!(&changed, &after.replace(NEW, "/o"));
        let back = with_flags(&changed, KCM, &NONE).unwrap().unwrap();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn no_text_panics_and_each_result_has_the_flag(
        lines in prop::collection::vec(
            prop_oneof![
                Just("    command:\n"), Just("    - KCM\n"), Just("    args:\n"),
                Just("    - --CERT=/a\n"), Just("    - --x=\n"), Just("\t"),
                Just("    - --CERT\n"), Just("    - >-\n"), Just("      "),
                Just("    command: &a [KCM, --x]\n"), Just("    args: *a\n"),
                Just("    - 'a\n"), Just("# é\n"), Just("\r"), Just("    - \"--x='\"\n"),
                Just("    - &b --y=1\n"), Just("    - *b\n"), Just("    -\n"), Just("---\n"),
            ],
            0..9,
        ),
        noise in "\\PC{0,6}",
        at in 0..200_usize,
        value in prop_oneof![Just(None), Just(Some("/n"))],
    ) {
        let mut text = manifest(&lines.concat());
        if text.is_char_boundary(at) {
            text.insert_str(at.min(text.len()), if at % 4 == 0 { &noise } else { "" });
        }
        if let Ok(Some(after)) = with_flags(&text, KCM, &[(CERT, value)]) {
            let pod = Pod::parse(&after).unwrap().of_component(KCM);
            prop_assert_eq!(pod.flag(CERT), value);
        }
        let _ = with_flags(&noise, KCM, &[(CERT, value)]);
    }
}
