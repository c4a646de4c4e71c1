use proptest::prelude::*;

use super::*;

const CERT: &str = "cluster-signing-cert-file";
const KEY: &str = "cluster-signing-key-file";
const BOTH: [(&str, Option<&str>); 2] = [(CERT, Some("/n.crt")), (KEY, Some("/n.key"))];
const NONE: [(&str, Option<&str>); 2] = [(CERT, None), (KEY, None)];

const VERSIONS: [(&str, ArgumentForm); 4] = [
    ("v1beta1", ArgumentForm::Map),
    ("v1beta2", ArgumentForm::Map),
    ("v1beta3", ArgumentForm::Map),
    ("v1beta4", ArgumentForm::List),
];

/// Returns a configuration as `kubeadm init` writes it, with this controllerManager.
fn configuration(version: &str, controller_manager: &str) -> String {
    format!(
        "apiServer:\n  timeoutForControlPlane: 4m0s\napiVersion: \
         kubeadm.k8s.io/{version}\ncertificatesDir: /etc/kubernetes/pki\nclusterName: \
         kubernetes\n{controller_manager}dns:\n  type: CoreDNS\netcd:\n  local:\n    dataDir: \
         /var/lib/etcd\nimageRepository: k8s.gcr.io\nkind: ClusterConfiguration\n\
         kubernetesVersion: v1.20.2\nnetworking:\n  dnsDomain: cluster.local\n  serviceSubnet: \
         10.96.0.0/12\nscheduler: {{}}\n"
    )
}

fn edited(text: &str, arguments: &[(&str, Option<&str>)]) -> String {
    with_controller_manager_arguments(text, arguments).unwrap().unwrap()
}

fn values(text: &str) -> [Option<String>; 2] {
    [CERT, KEY].map(|name| controller_manager_argument(text, name).unwrap())
}

fn both() -> [Option<String>; 2] {
    ["/n.crt", "/n.key"].map(|value| Some(value.to_owned()))
}

/// The arguments as kubeadm writes them.
fn arguments(form: ArgumentForm) -> &'static str {
    match form {
        ArgumentForm::Map => {
            "    cluster-signing-cert-file: /n.crt\n    cluster-signing-key-file: /n.key\n"
        }
        ArgumentForm::List => {
            "  - name: cluster-signing-cert-file\n    value: /n.crt\n  - name: \
             cluster-signing-key-file\n    value: /n.key\n"
        }
    }
}

#[test]
fn configuration_of_kubeadm_is_the_same_after_set_and_remove() {
    for (version, form) in VERSIONS {
        let before = configuration(version, "controllerManager: {}\n");
        let section = format!("controllerManager:\n  extraArgs:\n{}", arguments(form));
        let after = configuration(version, &section);
        for line_break in ["\n", "\r\n"] {
            let [before, after] = [&before, &after].map(|text| text.replace('\n', line_break));
            assert_eq!(values(&before), [None, None]);
            assert_eq!(edited(&before, &BOTH), after);
            assert_eq!(values(&after), both());
            assert_eq!(with_controller_manager_arguments(&after, &BOTH), Ok(None));
            assert_eq!(edited(&after, &NONE), before);
            assert_eq!(with_controller_manager_arguments(&before, &NONE), Ok(None));
        }
    }
}

#[test]
fn what_operators_set_stays() {
    for (version, form) in VERSIONS {
        let own = match form {
            ArgumentForm::Map => "    # all\n    bind-address: \"0.0.0.0\" # mine\n",
            ArgumentForm::List => {
                "  # all\n  - name: bind-address\n    value: \"0.0.0.0\" # mine\n"
            }
        };
        let volumes = "  extraVolumes:\n  - {name: a, hostPath: /a, mountPath: /a}\n";
        for (before, after) in [
            (
                format!("controllerManager: # mine\n  extraArgs: # own\n{own}"),
                format!("controllerManager: # mine\n  extraArgs: # own\n{}{own}", arguments(form)),
            ),
            (
                format!("controllerManager:\n  # first\n{volumes}"),
                format!(
                    "controllerManager:\n  extraArgs:\n{}  # first\n{volumes}",
                    arguments(form)
                ),
            ),
            (
                format!("controllerManager:\n{volumes}  extraArgs:\n{own}"),
                format!("controllerManager:\n{volumes}  extraArgs:\n{}{own}", arguments(form)),
            ),
            (
                "controllerManager: {} # mine\n".to_owned(),
                format!("controllerManager: # mine\n  extraArgs:\n{}", arguments(form)),
            ),
        ] {
            let [before, after] = [before, after].map(|section| configuration(version, &section));
            assert_eq!(edited(&before, &BOTH), after);
            assert_eq!(edited(&after, &NONE), before);
        }
    }
}

#[test]
fn comment_of_the_section_keeps_its_line() {
    for (version, form) in VERSIONS {
        let empty = if form == ArgumentForm::Map { "{}" } else { "[]" };
        let before = format!("controllerManager:\n  extraArgs: {empty} # none\n");
        let after = format!("controllerManager:\n  extraArgs: # none\n{}", arguments(form));
        let [before, after] = [before, after].map(|section| configuration(version, &section));
        assert_eq!(edited(&before, &BOTH), after);
        assert_eq!(edited(&after, &NONE), before);
    }
}

#[test]
fn missing_section_comes_behind_the_kind() {
    for (version, form) in VERSIONS {
        let api = format!("apiVersion: kubeadm.k8s.io/{version}\n");
        for end in ["", "\n", " # end\nkubernetesVersion: v1.30.0\n"] {
            let before = format!("{api}kind: ClusterConfiguration{end}");
            let (kind, rest) = end.split_once('\n').unwrap_or((end, ""));
            let with = |section: String| {
                let text = format!("{api}kind: ClusterConfiguration{kind}\n{section}{rest}");
                if end.is_empty() { text.trim_end().to_owned() } else { text }
            };
            let section = format!("controllerManager:\n  extraArgs:\n{}", arguments(form));
            assert_eq!(edited(&before, &BOTH), with(section.clone()));
            let empty = with("controllerManager: {}\n".to_owned());
            assert_eq!(edited(&with(section), &NONE), empty);
        }
    }
}

#[test]
fn value_keeps_its_notation() {
    for (before, after) in [
        (
            "  extraArgs:\n    \"cluster-signing-cert-file\": '/a' # mine\n",
            "  extraArgs:\n    \"cluster-signing-cert-file\": '/n.crt' # mine\n",
        ),
        (
            "  extraArgs: {a: b, cluster_signing_cert_file: \"/a\", c: d}\n",
            "  extraArgs: {a: b, cluster_signing_cert_file: \"/n.crt\", c: d}\n",
        ),
    ] {
        let [before, after] = [before, after]
            .map(|section| configuration("v1beta3", &format!("controllerManager:\n{section}")));
        assert_eq!(edited(&before, &BOTH[..1]), after);
    }
    let list = |value: &str| {
        let items =
            format!("  - {{name: a, value: b}}\n  -   value: {value}\n      name: {CERT}\n");
        configuration("v1beta4", &format!("controllerManager:\n  extraArgs:\n{items}"))
    };
    assert_eq!(edited(&list("/a"), &BOTH[..1]), list("/n.crt"));
    assert_eq!(
        edited(&list("/a"), &NONE),
        configuration("v1beta4", "controllerManager:\n  extraArgs:\n  - {name: a, value: b}\n")
    );
}

#[test]
fn first_item_in_brackets_stays() {
    let text = |items: &str| {
        let first = "  - {name: a, value: b}\n";
        configuration("v1beta4", &format!("controllerManager:\n  extraArgs:\n{items}{first}"))
    };
    let after = text(arguments(ArgumentForm::List));
    assert_eq!(edited(&text(""), &BOTH), after);
    assert_eq!(edited(&after, &NONE), text(""));
}

#[test]
fn only_the_cluster_configuration_is_edited() {
    let others = "# all of kubeadm\napiVersion: kubeadm.k8s.io/v1beta4\nkind: \
        InitConfiguration\ncontrollerManager: {}\n---\t# next\n";
    let end = "---\nkind: KubeletConfiguration\ncontrollerManager: {}\n--- \n";
    let text = |section: &str| format!("{others}{}{end}", configuration("v1beta4", section));
    let section = format!("controllerManager:\n  extraArgs:\n{}", arguments(ArgumentForm::List));
    let before = text("controllerManager: {}\n");
    assert_eq!(edited(&before, &BOTH), text(&section));
    assert_eq!(edited(&text(&section), &NONE), before);
    for dir in ["kubeadm-1.20-rsa2048", "kubeadm-1.36-ecdsa-p256"] {
        let file = format!("{}/tests/fixtures/{dir}/kubeadm.yaml", env!("CARGO_MANIFEST_DIR"));
        let before = std::fs::read_to_string(file).unwrap();
        let after = edited(&before, &BOTH);
        assert_eq!(values(&after), both());
        let added = after.lines().filter(|line| !before.lines().any(|old| old == *line)).count();
        assert_eq!(after.lines().count(), before.lines().count() + added);
        let with_empty = before.replace(
            "kind: ClusterConfiguration\n",
            "kind: ClusterConfiguration\ncontrollerManager: {}\n",
        );
        assert_eq!(edited(&after, &NONE), with_empty);
    }
}

#[test]
fn other_forms_are_refused_with_their_line() {
    let map = "controllerManager:\n  extraArgs:\n    a: b\n";
    let list = "controllerManager:\n  extraArgs:\n  - {name: a, value: b}\n";
    for (version, section, line, obstacle) in [
        ("v1beta4", map, 8, EditObstacle::Form),
        ("v1beta3", list, 8, EditObstacle::Form),
        ("v1beta3", "controllerManager:\n", 6, EditObstacle::Form),
        ("v1beta3", "controllerManager: []\n", 6, EditObstacle::Form),
        ("v1beta3", "controllerManager:\n  {}\n", 6, EditObstacle::Layout),
        ("v1beta3", "controllerManager: {a: b}\n", 6, EditObstacle::Form),
        ("v1beta3", "controllerManager: &a {}\n", 6, EditObstacle::Layout),
        ("v1beta3", "controllerManager: &a\n  b: c\nd: *a\n", 6, EditObstacle::Layout),
        ("v1beta3", "controllerManager:\n  <<: &a {extraArgs: {a: b}}\n", 6, EditObstacle::Shared),
        ("v1beta3", "? controllerManager\n: {}\n", 6, EditObstacle::Layout),
        ("v1beta3", "controllerManager:\n  extraArgs: ~\n", 7, EditObstacle::Form),
        ("v1beta3", "controllerManager:\n  extraArgs: {a: b}\n", 7, EditObstacle::Form),
        (
            "v1beta4",
            "controllerManager:\n  extraArgs: [{name: a, value: b}]\n",
            7,
            EditObstacle::Form,
        ),
        (
            "v1beta4",
            "controllerManager:\n  extraArgs:\n  -\n    name: a\n    value: b\n",
            7,
            EditObstacle::Layout,
        ),
        (
            "v1beta3",
            "controllerManager:\n  extraArgs:\n    cluster-signing-cert-file: 5\n",
            8,
            EditObstacle::Form,
        ),
        (
            "v1beta3",
            "controllerManager:\n  extraArgs:\n    cluster-signing-cert-file: &a /a\n    b: *a\n",
            8,
            EditObstacle::Shared,
        ),
        (
            "v1beta3",
            "controllerManager:\n  extraArgs:\n    cluster-signing-cert-file: \"\\x2fa\"\n",
            8,
            EditObstacle::Escaped,
        ),
        (
            "v1beta4",
            "controllerManager:\n  extraArgs:\n  - {name: cluster-signing-cert-file, value: \
             /a}\n  - {name: cluster_signing-cert-file, value: /b}\n",
            9,
            EditObstacle::Repeated,
        ),
    ] {
        let text = configuration(version, section);
        let result = with_controller_manager_arguments(&text, &BOTH[..1]);
        let object = format!("{CERT} of controllerManager");
        assert_eq!(result, Err(EditError::Refused { line, object, obstacle }), "{section}");
    }
}

#[test]
fn uncertain_removal_is_refused_with_its_line() {
    for (version, section, line, obstacle) in [
        (
            "v1beta3",
            "controllerManager:\n  extraArgs:\n    cluster-signing-cert-file: /a # mine\n",
            8,
            EditObstacle::Comment,
        ),
        (
            "v1beta3",
            "controllerManager:\n  extraArgs: {cluster-signing-cert-file: /a}\n",
            7,
            EditObstacle::Layout,
        ),
        (
            "v1beta4",
            "controllerManager:\n  extraArgs:\n  - name: cluster-signing-cert-file # mine\n    \
             value: /a\n",
            9,
            EditObstacle::Comment,
        ),
        (
            "v1beta4",
            "controllerManager:\n  extraArgs:\n  - name: cluster-signing-cert-file\n    # \
             mine\n    value: /a\n",
            10,
            EditObstacle::Layout,
        ),
    ] {
        let text = configuration(version, section);
        let result = with_controller_manager_arguments(&text, &NONE[..1]);
        let object = format!("{CERT} of controllerManager");
        assert_eq!(result, Err(EditError::Refused { line, object, obstacle }), "{section}");
    }
}

#[test]
fn other_texts_are_refused() {
    let good = configuration("v1beta4", "controllerManager: {}\n");
    let json = r#"{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration",
        "controllerManager": {"extraArgs": [
        {"name": "cluster-signing-cert-file", "value": "/a"}]}}"#;
    assert_eq!(values(json), [Some("/a".to_owned()), None]);
    let version = "kubeadm.k8s.io/v1beta5".to_owned();
    for (text, expected) in [
        (String::new(), EditError::NoConfiguration),
        ("kind: InitConfiguration\n".to_owned(), EditError::NoConfiguration),
        ("# nothing\n---\n---\n".to_owned(), EditError::NoConfiguration),
        (format!("{good}---\n{good}"), EditError::SeveralConfigurations),
        (good.replace("v1beta4", "v1beta5"), EditError::UnknownVersion { version }),
        (json.to_owned(), EditError::Json),
    ] {
        assert_eq!(with_controller_manager_arguments(&text, &BOTH), Err(expected), "{text}");
    }
    for text in ["a: [", "kind: a\nkind: b\n", "--- {kind: ClusterConfiguration}\n"] {
        assert!(with_controller_manager_arguments(text, &BOTH).is_err(), "{text}");
    }
    let broken = format!("{good}---\na: [\n");
    let error = with_controller_manager_arguments(&broken, &BOTH).unwrap_err().to_string();
    assert!(error.starts_with("line 20,"), "{error}");
    let special = with_controller_manager_arguments(&good, &[(CERT, Some("/a: b"))]);
    assert!(matches!(special, Err(EditError::NoPlainPath { .. })));
}

/// A controllerManager with some fields, and whether it is what is left after the removal.
fn arb_section(form: ArgumentForm) -> impl Strategy<Value = String> {
    let argument = ("[a-b]{1,4}", "[a-z/]{1,5}|'[a-z #:]{0,5}'", "| # [a-z]{1,3}|\n    # x");
    let arguments = prop::collection::vec(argument, 0..4);
    let comment = || "| # [a-z]{0,3}|\n  # y";
    let parts = (arguments, comment(), comment(), any::<bool>(), any::<bool>());
    parts.prop_map(move |(arguments, one, two, has_volumes, is_last)| {
        let volumes = if has_volumes { "  extraVolumes:\n  - name: a\n" } else { "" };
        if arguments.is_empty() && !has_volumes {
            let comment = one.split('\n').next().unwrap_or_default();
            return format!("controllerManager: {{}}{comment}\n");
        }
        let mut all = String::new();
        for (at, (name, value, comment)) in arguments.iter().enumerate() {
            all += &match form {
                ArgumentForm::Map => format!("    {name}{at}: {value}{comment}\n"),
                ArgumentForm::List => {
                    format!("  - name: {name}{at}\n    value: {value}{comment}\n")
                }
            };
        }
        let mut extra = String::new();
        if !all.is_empty() {
            extra = format!("  extraArgs:{two}\n{all}");
        }
        let (first, second) = if is_last { (volumes, &*extra) } else { (&*extra, volumes) };
        format!("controllerManager:{one}\n{first}{second}")
    })
}

fn arb_configuration() -> impl Strategy<Value = String> {
    prop::sample::select(&VERSIONS[..]).prop_flat_map(|(version, form)| {
        arb_section(form).prop_map(move |section| configuration(version, &section))
    })
}

proptest! {
    #[test]
    fn set_and_removed_arguments_leave_the_same_bytes(
        text in arb_configuration(),
        line_break in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let text = text.replace('\n', line_break);
        let after = edited(&text, &BOTH);
        prop_assert_eq!(values(&after), both());
        let other = edited(&after, &[(CERT, Some("/o"))]);
        prop_assert_eq!(&other, &after.replace("/n.crt", "/o"));
        prop_assert_eq!(edited(&other, &NONE), text);
    }

    #[test]
    fn no_text_panics_and_each_result_has_the_argument(
        lines in prop::collection::vec(
            prop_oneof![
                Just("controllerManager:\n"), Just("controllerManager: {}\n"),
                Just("  extraArgs:\n"),
                Just("  extraArgs: []\n"), Just("  extraArgs: {} # a\n"), Just("    a: b\n"),
                Just("  - name: a\n"), Just("    value: b\n"), Just("  - name: "), Just("    "),
                Just("cluster-signing-cert-file"), Just(": /a\n"), Just("\n"), Just("# é\n"),
                Just("---\n"), Just("\r"), Just("  b: &a |\n      x\n"), Just("  c: *a\n"),
                Just("'"), Just("- "), Just("kind: ClusterConfiguration\n"), Just("..."),
            ],
            0..9,
        ),
        version in prop_oneof![Just("v1beta3"), Just("v1beta4")],
        noise in "\\PC{0,6}",
        value in prop_oneof![Just(None), Just(Some("/n"))],
    ) {
        let head = format!("apiVersion: kubeadm.k8s.io/{version}\nkind: ClusterConfiguration\n");
        let text = format!("{head}{}", lines.concat());
        for text in [text.clone(), text + &noise] {
            if let Ok(Some(after)) = with_controller_manager_arguments(&text, &[(CERT, value)]) {
                let found = controller_manager_argument(&after, CERT).unwrap();
                prop_assert_eq!(found.as_deref(), value);
            }
        }
        let _ = with_controller_manager_arguments(&noise, &[(CERT, value)]);
    }
}
