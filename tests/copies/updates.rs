//! Copies that are brought up to date.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::common::{ECDSA, Node, RSA, STATE};
use super::*;

fn owner_and_mode(node: &Node, file: &str) -> (u32, u32, u32) {
    let found = fs::metadata(node.path(file)).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn copies_of_every_form_are_updated_and_keep_metadata() {
    require!(ROOT, "setfacl", "getfacl");
    for tree in [RSA, ECDSA] {
        let node = Node::fresh(tree);
        node.age_all(10);
        let admin = node.text(ADMIN);
        let (values, _) = split_client_data(&admin);
        let (certificate, key) = (values[0].clone(), values[1].clone());
        write_owned(&node, "root/.kube/config", &admin, 0, 0o600);
        write_owned(&node, ALICE_CONFIG, alice_kubeconfig(&admin), ALICE_UID, 0o640);
        let parameters =
            "-----BEGIN DH PARAMETERS-----\nMAYCAQICAQU=\n-----END DH PARAMETERS-----\n";
        write_owned(
            &node,
            "srv/proxy/both.pem",
            [&key[..], &certificate, parameters.as_bytes()].concat(),
            1002,
            0o400,
        );
        write_owned(
            &node,
            "opt/etcd/client.crt",
            node.read("etc/kubernetes/pki/apiserver-etcd-client.crt"),
            1003,
            0o644,
        );
        write_owned(
            &node,
            "opt/etcd/client.key",
            node.read("etc/kubernetes/pki/apiserver-etcd-client.key"),
            1003,
            0o440,
        );
        let node = with_configuration(
            node,
            "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n[[copy]]\nof = \
             'admin.conf'\nkubeconfig = '/home/*/.kube/config'\n\
             [[copy]]\nname = 'proxy'\nof = 'admin.conf'\nbundle = '/srv/proxy/both.pem'\n\
             [[copy]]\nof = 'apiserver-etcd-client'\ncertificate = '/opt/etcd/client.crt'\nkey = \
             '/opt/etcd/client.key'\n",
        );
        let acl = Command::new("setfacl")
            .args(["-m", "u:1077:r"])
            .arg(node.path(ALICE_CONFIG))
            .status()
            .unwrap();
        assert!(acl.success());
        let files = [
            "root/.kube/config",
            ALICE_CONFIG,
            "srv/proxy/both.pem",
            "opt/etcd/client.crt",
            "opt/etcd/client.key",
        ];
        let before: Vec<_> = files.iter().map(|file| owner_and_mode(&node, file)).collect();

        assert!(
            check_line(&node, "proxy").contains("as admin.conf")
                && check_line(&node, "proxy").contains("in step"),
            "{}",
            check_line(&node, "proxy")
        );
        let dry = node.run(&["renew", "--dry-run"]);
        let count = node
            .managed_credentials()
            .iter()
            .filter(|one| node.path(one.location.to_string().trim_start_matches('/')).exists())
            .count();
        assert!(
            dry.text.contains(&format!(
                "{count} credentials would be renewed, and 4 copies \
                updated; nothing was changed."
            )),
            "{}",
            dry.text
        );
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert!(
            run.text.contains(&format!("{count} credentials renewed, 4 copies updated.")),
            "{}",
            run.text
        );
        assert!(run.text.contains("follows admin.conf, which is renewed"), "{}", run.text);

        let new = admin_fingerprint(&node);
        assert_ne!(matching_certificate(&[&certificate, &key]).unwrap().fingerprint, new);
        assert_eq!(
            [
                embedded_fingerprint(&node, "root/.kube/config"),
                embedded_fingerprint(&node, ALICE_CONFIG)
            ],
            [new, new]
        );
        assert_eq!(
            split_client_data(&node.text(ALICE_CONFIG)).1,
            split_client_data(&alice_kubeconfig(&admin)).1,
            "nothing else changed"
        );
        let both = node.text("srv/proxy/both.pem");
        assert_eq!(matching_certificate(&[both.as_bytes()]).unwrap().fingerprint, new);
        assert!(
            both.find("PRIVATE KEY").unwrap() < both.find("BEGIN CERTIFICATE").unwrap(),
            "the key comes first, as before"
        );
        assert!(both.ends_with(parameters), "{both}");
        let pair = [node.read("opt/etcd/client.crt"), node.read("opt/etcd/client.key")];
        assert_eq!(
            matching_certificate(&[&pair[0], &pair[1]]).unwrap().fingerprint,
            node.certificate("apiserver-etcd-client").fingerprint
        );
        assert_eq!(pair[0], node.read("etc/kubernetes/pki/apiserver-etcd-client.crt"));
        assert_eq!(
            files.iter().map(|file| owner_and_mode(&node, file)).collect::<Vec<_>>(),
            before
        );
        let acl = Command::new("getfacl")
            .args(["-nc", "--omit-header"])
            .arg(node.path(ALICE_CONFIG))
            .output()
            .unwrap();
        assert!(String::from_utf8(acl.stdout).unwrap().contains("user:1077:r--"));
        assert!(
            node.dot_files().iter().all(|path| path.ends_with(".kube")),
            "{:?}",
            node.dot_files()
        );

        let settled = node.snapshot();
        let again = node.run(&["renew"]);
        assert_eq!((again.code, again.text.as_str()), (0, "Nothing to renew.\n"));
        let written = settled.differences(&node.snapshot());
        assert!(written.is_empty(), "{written:#?}");
        let check = node.run(&["check"]);
        assert_eq!(check.code, 0, "{}", check.text);
        let json: serde_json::Value =
            serde_json::from_str(&node.run(&["check", "-o", "json"]).text).unwrap();
        let copy = json["watched"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "proxy")
            .unwrap()
            .clone();
        assert_eq!((&copy["copyOf"], &copy["state"]), (&"admin.conf".into(), &"in step".into()));
    }
}

#[test]
fn copy_is_updated_after_any_change_of_original() {
    let node = Node::due();
    node.write("root/.kube/config", node.text(ADMIN));
    let node = with_configuration(
        node,
        "[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n",
    );
    // This pass records the current certificates.
    assert_eq!(node.run(&["renew", "scheduler.conf"]).code, 0);
    let old = node.text(ADMIN);
    let others = Node::due();
    assert_eq!(others.run(&["renew"]).code, 0);
    node.write(ADMIN, others.text(ADMIN));
    assert!(check_line(&node, "root").contains("behind"), "{}", check_line(&node, "root"));
    let check = node.run(&["check"]);
    assert!(
        check.code == 3
            && check.text.contains(
                "root: holds an earlier certificate of admin.conf, which expires in 10 days"
            ),
        "{}",
        check.text
    );
    assert!(check.text.contains("1 copy to update"), "{}", check.text);
    let renew = node.run(&["renew", "admin.conf"]);
    assert_eq!(renew.code, 0, "{}", renew.text);
    assert!(renew.text.contains("0 credentials renewed, 1 copy updated."), "{}", renew.text);
    assert_eq!(embedded_fingerprint(&node, "root/.kube/config"), admin_fingerprint(&node));

    // An older certificate that an operator restores is copied as well.
    node.write(ADMIN, &old);
    assert_eq!(node.run(&["renew", "root"]).code, 0);
    assert_eq!(
        (embedded_fingerprint(&node, "root/.kube/config"), node.text(ADMIN)),
        (admin_fingerprint(&node), old)
    );
}

#[test]
fn earlier_certificate_is_known_from_state_or_backups() {
    let copies = format!("{STATE}/copies.json");
    for (forgotten, known) in [
        (vec!["copies.json"], true),
        (vec!["backups"], true),
        (vec!["copies.json", "backups"], false),
    ] {
        let node = Node::due();
        // A valid one would be known as that of the same user.
        node.age("admin.conf", -1);
        let old = node.text(ADMIN);
        let node = with_configuration(
            node,
            "[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n",
        );
        assert_eq!(node.run(&["renew"]).code, 0);
        node.write("root/.kube/config", &old);
        assert!(node.path(&copies).exists());
        for name in &forgotten {
            let path = node.path(STATE).join(name);
            fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
        }
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        let updated = node.text("root/.kube/config") != old;
        assert_eq!(updated, known, "{forgotten:?}: {}", run.text);
        assert_eq!(check_line(&node, "root").contains("changed by another program"), !known);
    }
}

#[test]
fn hold_defers_due_but_not_urgent_copies() {
    for (left, updated) in [(10, false), (2, true)] {
        let node = Node::due();
        node.age("admin.conf", left);
        node.write("root/.kube/config", node.text(ADMIN));
        let node = with_configuration(
            node,
            "[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n",
        );
        assert_eq!(node.run(&["renew", "apiserver"]).code, 0);
        node.write(ADMIN, {
            let others = Node::due();
            assert_eq!(others.run(&["renew", "admin.conf"]).code, 0);
            others.text(ADMIN)
        });
        assert_eq!(
            node.run(&["hold", "--until", "2099-01-01", "--reason", "moving house"]).code,
            0
        );
        let run = node.run(&["renew", "admin.conf"]);
        assert_eq!(run.code, if updated { 0 } else { 5 }, "{}", run.text);
        assert_eq!(run.text.contains("moving house"), !updated, "{}", run.text);
        assert_eq!(
            embedded_fingerprint(&node, "root/.kube/config") == admin_fingerprint(&node),
            updated
        );
    }
}

#[test]
fn missing_copy_is_not_created_and_failed_one_isolated() {
    let node = Node::due();
    let admin = node.text(ADMIN);
    // With the suffix of a staged file the name is longer than the file system allows.
    let long = format!("srv/{}", "x".repeat(250));
    for file in [&*long, "root/.kube/config"] {
        node.write(file, &admin);
    }
    let node = with_configuration(
        node,
        &format!(
            "[[copy]]\nname = 'long'\nof = 'admin.conf'\nkubeconfig = '/{long}'\n[[copy]]\nname = \
             'none'\nof = 'admin.conf'\nkubeconfig = '/srv/none'\n\
             [[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n"
        ),
    );
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 4, "{}", run.text);
    assert!(run.text.contains("11 credentials renewed, 1 copy updated, 1 not."), "{}", run.text);
    assert_eq!(
        (embedded_fingerprint(&node, "root/.kube/config"), node.text(&long)),
        (admin_fingerprint(&node), admin)
    );
    assert!(!node.path("srv/none").exists());
    assert!(
        check_line(&node, "none").contains("absent")
            && check_line(&node, "long").contains("behind")
    );
    let alarms = node.run(&["alarms"]);
    assert!(
        alarms.code == 3 && alarms.text.contains("does not follow admin.conf, whose copy it is"),
        "{}",
        alarms.text
    );
    assert!(!alarms.text.contains("renewal failed"), "{}", alarms.text);
}

#[test]
fn pair_and_several_users_of_kubeconfig_are_updated() {
    let node = Node::due();
    let admin = node.text(ADMIN);
    let (values, _) = split_client_data(&admin);
    node.write("srv/admin.crt", &values[0]);
    node.write("srv/admin.key", &values[1]);
    let user = admin[admin
        .find("- name: kubernetes-admin\n  user:")
        .unwrap_or_else(|| admin.find("users:\n").unwrap() + 7)..]
        .to_owned();
    node.write(
        "srv/two.conf",
        format!("{}\n{}", admin.trim_end(), user.replacen("kubernetes-admin", "second", 1)),
    );
    let (before, _) = split_client_data(&node.text("srv/two.conf"));
    assert_eq!(before.len(), 4, "two users");
    let node = with_configuration(
        node,
        "[[copy]]\nof = 'admin.conf'\ncertificate = '/srv/admin.crt'\nkey = \
         '/srv/admin.key'\n[[copy]]\nof = 'admin.conf'\nkubeconfig = '/srv/two.conf'\n",
    );
    let run = node.run(&["renew", "admin.conf"]);
    assert!(
        run.code == 0 && run.text.contains("1 credential renewed, 2 copies updated."),
        "{}",
        run.text
    );
    let new = admin_fingerprint(&node);
    assert_eq!(
        matching_certificate(&[&node.read("srv/admin.crt"), &node.read("srv/admin.key")])
            .unwrap()
            .fingerprint,
        new
    );
    let (values, _) = split_client_data(&node.text("srv/two.conf"));
    for user in values.chunks(2) {
        assert_eq!(matching_certificate(&[&user[0], &user[1]]).unwrap().fingerprint, new);
    }
}

#[test]
fn chain_of_original_is_copied_and_chain_of_copy_kept() {
    let node = Node::due();
    let (ca, front) = (
        node.text("etc/kubernetes/pki/ca.crt"),
        node.text("etc/kubernetes/pki/front-proxy-ca.crt"),
    );
    let pair = |name: &str| {
        (
            node.text(&format!("etc/kubernetes/pki/{name}.crt")),
            node.text(&format!("etc/kubernetes/pki/{name}.key")),
        )
    };
    let (certificate, key) = pair("apiserver-kubelet-client");
    node.write("srv/own.pem", format!("{certificate}{front}{key}"));
    let (certificate, key) = pair("apiserver");
    node.write("etc/kubernetes/pki/apiserver.crt", format!("{certificate}{ca}"));
    node.write("srv/chain.pem", format!("{key}{certificate}"));
    let node = with_configuration(
        node,
        "[[copy]]\nof = 'apiserver'\nbundle = '/srv/chain.pem'\n[[copy]]\nof = \
         'apiserver-kubelet-client'\nbundle = '/srv/own.pem'\n",
    );
    assert_eq!(node.run(&["renew"]).code, 0);
    let chain = certificates(&node.read("srv/chain.pem")).unwrap();
    assert_eq!(chain[0].fingerprint, node.certificate("apiserver").fingerprint);
    assert_eq!((chain.len(), chain[1].to_pem()), (2, ca));
    let own = certificates(&node.read("srv/own.pem")).unwrap();
    assert_eq!((own.len(), own[1].to_pem()), (2, front));
    assert!(
        node.text("srv/own.pem").ends_with("PRIVATE KEY-----\n"),
        "the certificates come first, as before"
    );
}

/// Many administrators have this link; nothing is to be done for it.
#[test]
fn root_symlink_to_original_is_kept() {
    let node = Node::due();
    fs::create_dir_all(node.path("root/.kube")).unwrap();
    // A second name of the original does not concern the copy.
    fs::hard_link(node.path(ADMIN), node.path("etc/kubernetes/admin.conf.old")).unwrap();
    std::os::unix::fs::symlink("/etc/kubernetes/admin.conf", node.path("root/.kube/config"))
        .unwrap();
    let node = with_configuration(
        node,
        "[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n",
    );
    let run = node.run(&["renew"]);
    assert!(run.code == 0 && run.text.contains("11 credentials renewed."), "{}", run.text);
    assert!(check_line(&node, "root").contains("in step"));
    assert_eq!(
        fs::read_link(node.path("root/.kube/config")).unwrap().to_str(),
        Some("/etc/kubernetes/admin.conf")
    );
}

/// A copy that belongs to root is backed up and restored as any credential. A copy of another user
/// is not backed up, so that its owner can not displace other backups by having it copied
/// repeatedly.
#[test]
fn only_copies_of_root_are_backed_up() {
    require!(ROOT);
    let node = Node::due();
    let old = node.text(ADMIN);
    write_owned(&node, "root/.kube/config", &old, 0, 0o600);
    write_owned(&node, ALICE_CONFIG, alice_kubeconfig(&old), ALICE_UID, 0o600);
    let node = with_configuration(
        node,
        &format!(
            "{HOME_COPIES}[[copy]]\nname = 'root'\nof = 'admin.conf'\nkubeconfig = \
             '/root/.kube/config'\n"
        ),
    );
    assert_eq!(node.run(&["renew"]).code, 0);
    assert!(
        !node.backups().contains(alice_kubeconfig(&old).as_bytes())
            && node.backups().contains(old.as_bytes())
    );
    let generations = || fs::read_dir(node.path(STATE).join("backups")).unwrap().count();
    let made = generations();
    for _ in 0..3 {
        write_owned(&node, ALICE_CONFIG, alice_kubeconfig(&old), ALICE_UID, 0o600);
        let run = node.run(&["renew"]);
        assert!(run.text.contains("1 copy updated"), "{}", run.text);
    }
    assert_eq!(generations(), made);
    let new = node.text("root/.kube/config");
    let all = node.run(&[
        "restore",
        "--from",
        &node.run(&["restore", "--list"]).text.lines().nth(1).unwrap()[..16],
    ]);
    assert_eq!(
        (all.text.contains("root"), node.text("root/.kube/config") == new),
        (false, true),
        "only by its name: {}",
        all.text
    );
    let run = node.run(&["restore", "root"]);
    assert_eq!(run.code, 0, "{}", run.text);
    assert_eq!(node.text("root/.kube/config"), old);
    node.remove("root/.kube/config");
    let run = node.run(&["restore", "root"]);
    assert!(run.code == 1 && run.text.contains("a missing copy is not made"), "{}", run.text);
}

#[test]
fn config_commands_show_copies_and_drop_in() {
    require!(ROOT);
    let node = Node::due();
    let admin = node.text(ADMIN);
    write_owned(&node, ALICE_CONFIG, alice_kubeconfig(&admin), ALICE_UID, 0o600);
    write_owned(&node, "srv/proxy/deep/both.pem", "x", 1002, 0o600);
    write_owned(&node, "root/.kube/config", &admin, 0, 0o600);
    let node = with_configuration(
        node,
        &format!(
            "{HOME_COPIES}[[copy]]\nof = 'admin.conf'\nkubeconfig = '/root/.kube/config'\n\
             [[copy]]\nname = 'both'\nof = 'etcd-server'\nbundle = \
             '/srv/proxy/deep/both.pem'\n"
        ),
    );
    let check = node.run(&["config", "check"]);
    let drop_in = "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\nReadOnlyPaths=-/run/user\n\
        ReadWritePaths=-/home\nReadWritePaths=-/root/.kube\nReadWritePaths=-/srv/proxy\n";
    assert!(check.code == 0 && check.text.ends_with(drop_in), "{}", check.text);
    // For a missing file it is the directory that root will create, or the one in which another
    // user will.
    let later = "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/root/new/deep/config'\n[[copy]]\nof = \
        'admin.conf'\nkubeconfig = '/home/alice/.other/deep/config'\n";
    let right = node.text("etc/kubecertd/kubecertd.toml");
    node.write("etc/kubecertd/kubecertd.toml", later);
    let check = node.run(&["config", "check"]);
    assert!(
        check
            .text
            .ends_with("[Service]\nReadWritePaths=-/home/alice\nReadWritePaths=-/root/new/deep\n"),
        "{}",
        check.text
    );
    node.write("etc/kubecertd/kubecertd.toml", right);
    let show = node.run(&["config", "show"]);
    for expected in [
        "# credential home/alice/.kube/config: kubeconfig /home/alice/.kube/config, a copy of \
         admin.conf",
        "# credential root/.kube/config: kubeconfig",
        "# credential both: bundle /srv/proxy/deep/both.pem, a copy of etcd/server",
        "kubeconfig = \"/home/*/.kube/config\"",
    ] {
        assert!(show.text.contains(expected), "{expected}: {}", show.text);
    }
    for (wrong, reported) in [
        ("[[copy]]\nkubeconfig = '/x'\n", "[[copy]]: of is missing"),
        ("[[copy]]\nof = 'admin.conf'\n", "its files are missing"),
        (
            "[[copy]]\nof = 'admin.conf'\nbundle = '/home/*/x.pem'\n",
            "only the path of a kubeconfig may have * for a name",
        ),
        (
            "[[copy]]\nof = 'unknown'\nbundle = '/x.pem'\n",
            "of = \"unknown\" is not known, or is a copy itself; there are apiserver, ",
        ),
        (
            "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/etc/kubernetes/scheduler.conf'\n",
            "is a file of \"scheduler.conf\": a copy is another file",
        ),
        (
            "[[copy]]\nname = 'apiserver'\nof = 'admin.conf'\nbundle = '/x.pem'\n",
            "has the name of a credential",
        ),
        (
            "[[copy]]\nname = 'a'\nof = 'admin.conf'\nbundle = '/x'\n[[copy]]\nname = 'a'\nof = \
             'admin.conf'\nbundle = '/y'\n",
            "has the name of the one at",
        ),
    ] {
        node.write("etc/kubecertd/kubecertd.toml", wrong);
        let run = node.run(&["config", "check"]);
        assert!(run.code == 78 && run.text.contains(reported), "{wrong}: {}", run.text);
    }
}
