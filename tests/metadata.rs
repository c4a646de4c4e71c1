//! A renewal by the real program keeps the metadata of a file: owner, mode, ACL, security label,
//! user attributes, and symlinks of every kind. Metadata that would be wrong for the new content is
//! dropped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files of their own, and ask other programs"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Node;
use common::requirements::{ROOT, require};

const CERTIFICATE: &str = "etc/kubernetes/pki/apiserver.crt";
const KEY: &str = "etc/kubernetes/pki/apiserver.key";
const ADMIN: &str = "etc/kubernetes/admin.conf";
const FILES: [&str; 3] = [CERTIFICATE, KEY, ADMIN];
const SELINUX_LABEL: &[u8] = b"system_u:object_r:cert_t:s0\0";

/// The metadata of a file without times and inode.
#[derive(Debug, PartialEq, Eq)]
struct Metadata {
    mode: u32,
    owner: (u32, u32),
    attributes: BTreeMap<String, Vec<u8>>,
}

fn metadata(path: &Path) -> Metadata {
    let stat = fs::symlink_metadata(path).unwrap();
    let names = xattr::list(path).unwrap().map(|name| name.into_string().unwrap());
    let attributes =
        names.map(|name| (name.clone(), xattr::get(path, name).unwrap().unwrap())).collect();
    Metadata { mode: stat.mode(), owner: (stat.uid(), stat.gid()), attributes }
}

fn renew(node: &Node) {
    let old = FILES.map(|file| node.read(file));
    let run = node.run(&["renew"]);
    assert_eq!(run.code, 0, "{}", run.text);
    let new = FILES.map(|file| node.read(file));
    assert!(old.iter().zip(&new).all(|(old, new)| old != new), "nothing was renewed");
    assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
}

fn setfacl(entry: &str, path: &Path) {
    let status = Command::new("setfacl").args(["-m", entry]).arg(path).status().unwrap();
    assert!(status.success(), "{entry} {}", path.display());
}

/// Sets an attribute. Returns whether this file system and user allow that.
fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    let set = xattr::set(path, name, value);
    if let Err(e) = &set {
        println!("SKIPPED: {name} can't be set here: {e}");
    }
    set.is_ok()
}

#[test]
fn acls_labels_owners_modes_and_attributes_survive() {
    require!("setfacl", "getfacl");
    let node = Node::due();
    for (file, mode, entry) in [
        (CERTIFICATE, 0o644, "u:1234:r"),
        (KEY, 0o640, "u:1234:r,g:4321:r"),
        (ADMIN, 0o600, "g:4321:r"),
    ] {
        let path = node.path(file);
        if nix::unistd::geteuid().is_root() {
            chown(&path, Some(1001), Some(1002)).unwrap();
            set_attribute(&path, "security.selinux", SELINUX_LABEL);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        setfacl(entry, &path);
        set_attribute(&path, "user.note", b"mine");
        set_attribute(&path, "user.empty", b"");
    }
    let before = FILES.map(|file| metadata(&node.path(file)));
    assert!(before[2].attributes.contains_key("system.posix_acl_access"), "{before:?}");
    renew(&node);
    assert_eq!(FILES.map(|file| metadata(&node.path(file))), before);
    let output = Command::new("getfacl").args(["-cpn"]).arg(node.path(ADMIN)).output().unwrap();
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("group:4321:r--"),
        "operators can still read it"
    );
    // A restore keeps it as well.
    assert_eq!(node.run(&["restore", "apiserver", "admin.conf"]).code, 0);
    assert_eq!(FILES.map(|file| metadata(&node.path(file))), before);
}

#[test]
fn ima_and_evm_signatures_are_not_copied() {
    let node = Node::due();
    for file in FILES {
        for (name, value) in [
            ("security.ima", &b"\x01digest"[..]),
            ("security.evm", b"\x02digest"),
            ("user.note", b"mine"),
        ] {
            set_attribute(&node.path(file), name, value);
        }
    }
    let had: Vec<_> =
        FILES.iter().flat_map(|file| metadata(&node.path(file)).attributes.into_keys()).collect();
    renew(&node);
    for file in FILES {
        let left: Vec<_> = metadata(&node.path(file)).attributes.into_keys().collect();
        let expected: &[&str] =
            if had.iter().any(|name| name == "user.note") { &["user.note"] } else { &[] };
        assert_eq!(left, expected, "{file}");
    }
}

#[test]
fn unusual_modes_survive() {
    // Only root can keep the setuid bit.
    require!(ROOT);
    for mode in [0o400, 0o440, 0o604, 0o660, 0o4600, 0o1644] {
        let node = Node::due();
        FILES.iter().for_each(|file| {
            fs::set_permissions(node.path(file), fs::Permissions::from_mode(mode)).unwrap()
        });
        let before = FILES.map(|file| metadata(&node.path(file)));
        renew(&node);
        assert_eq!(FILES.map(|file| metadata(&node.path(file))), before, "{mode:o}");
    }
}

/// Makes a node with links in the places of its files.
fn node_with_links(link: impl Fn(&Node, &str)) -> Node {
    let node = Node::due();
    fs::create_dir_all(node.path("srv/real")).unwrap();
    FILES.iter().for_each(|file| link(&node, file));
    node
}

fn file_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap()
}

fn move_file(node: &Node, file: &str) -> PathBuf {
    let real = node.path("srv/real").join(file_name(file));
    fs::rename(node.path(file), &real).unwrap();
    real
}

#[test]
fn symlinked_target_is_replaced_and_link_kept() {
    type LinkKind = (&'static str, fn(&Node, &str));
    let kinds: [LinkKind; 4] = [
        ("absolute", |node, file| {
            move_file(node, file);
            symlink(format!("/srv/real/{}", file_name(file)), node.path(file)).unwrap();
        }),
        ("relative", |node, file| {
            move_file(node, file);
            let up = "../".repeat(file.matches('/').count());
            symlink(format!("{up}srv/real/{}", file_name(file)), node.path(file)).unwrap();
        }),
        ("a chain", |node, file| {
            move_file(node, file);
            symlink(
                file_name(file),
                node.path("srv/real").join(format!("first-{}", file_name(file))),
            )
            .unwrap();
            symlink(
                format!("/srv/real/first-{}", file_name(file)),
                node.path("srv").join(file_name(file)),
            )
            .unwrap();
            symlink(format!("/srv/{}", file_name(file)), node.path(file)).unwrap();
        }),
        ("up beyond the root", |node, file| {
            move_file(node, file);
            symlink(format!("{}srv/real/{}", "../".repeat(30), file_name(file)), node.path(file))
                .unwrap();
        }),
    ];
    for (kind, link) in kinds {
        let node = node_with_links(link);
        let links = FILES.map(|file| fs::read_link(node.path(file)).unwrap());
        let before = FILES.map(|file| metadata(&node.path("srv/real").join(file_name(file))));
        let names = |node: &Node| {
            let mut names: Vec<_> = fs::read_dir(node.path("srv/real"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let listed = names(&node);
        let old = FILES.map(|file| fs::read(node.path("srv/real").join(file_name(file))).unwrap());
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{kind}: {}", run.text);
        assert_eq!(FILES.map(|file| fs::read_link(node.path(file)).unwrap()), links, "{kind}");
        for (file, old) in FILES.iter().zip(old) {
            assert_ne!(
                fs::read(node.path("srv/real").join(file_name(file))).unwrap(),
                old,
                "{kind}: {file}"
            );
        }
        assert_eq!(
            FILES.map(|file| metadata(&node.path("srv/real").join(file_name(file)))),
            before,
            "{kind}"
        );
        assert_eq!(names(&node), listed, "{kind}: nothing was left beside them");
        assert_eq!(node.usable_credentials().len(), 11, "{kind}");
    }
}

#[test]
fn symlinked_directory_is_renewed_in_place() {
    for target in ["/srv/pki", "../../srv/pki"] {
        let node = Node::due();
        fs::create_dir_all(node.path("srv")).unwrap();
        fs::rename(node.path("etc/kubernetes/pki"), node.path("srv/pki")).unwrap();
        symlink(target, node.path("etc/kubernetes/pki")).unwrap();
        let old = node.certificate("apiserver").serial;
        let run = node.run(&["renew"]);
        assert_eq!(run.code, 0, "{}", run.text);
        assert_ne!(node.certificate("apiserver").serial, old);
        assert!(node.dot_files().is_empty(), "{:?}", node.dot_files());
        assert_eq!(fs::read_link(node.path("etc/kubernetes/pki")).unwrap(), Path::new(target));
        assert!(
            node.usable_credentials().len() == 11
                && !node.path("srv/pki/apiserver.key").is_symlink()
        );
    }
}
