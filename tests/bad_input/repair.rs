//! Incomplete credentials, and repair from a backup.

use super::kubeconfigs::refer_to_files;
use super::*;

#[test]
fn missing_key_is_recreated() {
    let node = Node::due();
    node.remove(APISERVER_KEY);
    let reported = &["/etc/kubernetes/pki/apiserver.key: does not exist, and its certificate does"];
    Expected { code: SUCCESS, left: &[], reported }.assert("key missing", &node);
    let mode = node.snapshot().0[Path::new(APISERVER_KEY)].mode;
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn missing_file_without_backup_is_made_by_profile() {
    let missing: [(&str, &[&str], &[&str]); 3] = [
        (
            "apiserver",
            &[APISERVER_CRT],
            &["/etc/kubernetes/pki/apiserver.crt: does not exist, and its key \
                 /etc/kubernetes/pki/apiserver.key does"],
        ),
        (
            "apiserver",
            &[APISERVER_CRT, APISERVER_KEY],
            &["/etc/kubernetes/pki/apiserver.crt does not exist, and kube-apiserver.yaml names it"],
        ),
        (
            "scheduler.conf",
            &[SCHEDULER],
            &["/etc/kubernetes/scheduler.conf does not exist, and kube-scheduler.yaml names it"],
        ),
    ];
    for (name, files, reported) in missing {
        let node = Node::due();
        files.iter().for_each(|file| node.remove(file));
        let reported = [reported, &["lost: made by the profile"]].concat();
        Expected { code: SUCCESS, left: &[], reported: &reported }
            .assert(&format!("{name} {files:?}"), &node);
    }
}

#[test]
fn missing_or_damaged_file_is_repaired_from_backup() {
    type Damage = fn(&Node);
    let cases: [(&str, &str, Damage, &str); 6] = [
        (
            "apiserver",
            "certificate missing",
            |node| node.remove(APISERVER_CRT),
            "apiserver.crt: does not exist",
        ),
        (
            "apiserver",
            "certificate damaged",
            |node| node.write(APISERVER_CRT, [0; 782]),
            "apiserver.crt: the file is not text",
        ),
        (
            "apiserver",
            "both missing",
            |node| [APISERVER_CRT, APISERVER_KEY].iter().for_each(|file| node.remove(file)),
            "apiserver.crt does not exist",
        ),
        (
            "apiserver",
            "both damaged",
            |node| [APISERVER_CRT, APISERVER_KEY].iter().for_each(|file| node.write(file, "")),
            "the file is empty",
        ),
        (
            "scheduler.conf",
            "kubeconfig missing",
            |node| node.remove(SCHEDULER),
            "scheduler.conf does not exist",
        ),
        (
            "admin.conf",
            "kubeconfig damaged",
            |node| node.write(ADMIN, "kind: Config\n"),
            "admin.conf: it has no users",
        ),
    ];
    for (name, case, damage, reason) in cases {
        let node = Node::due();
        assert_eq!(node.run(&["renew"]).code, SUCCESS, "{case}");
        let before = node.certificate(name);
        node.age_all(10);
        damage(&node);
        Expected {
            code: SUCCESS,
            left: &[],
            reported: &[reason, "it is issued again by the backup"],
        }
        .assert(case, &node);
        let after = node.certificate(name);
        assert_eq!(
            (after.subject, after.dns_names, after.ip_addresses),
            (before.subject, before.dns_names, before.ip_addresses),
            "{case}"
        );
    }
}

#[test]
fn kubeconfig_file_is_repaired_from_backup() {
    let node = Node::due();
    refer_to_files(&node, SCHEDULER, "pki/scheduler.crt", "pki/scheduler.key");
    assert_eq!(node.run(&["renew"]).code, SUCCESS);
    node.age_all(10);
    node.write("etc/kubernetes/pki/scheduler.crt", "");
    Expected {
        code: SUCCESS,
        left: &[],
        reported: &["pki/scheduler.crt: the file is empty", "it is issued again by the backup"],
    }
    .assert("referenced", &node);
}
