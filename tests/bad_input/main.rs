//! Bad input: the program reports which file is wrong and why, loses nothing, and renews everything
//! else. The real program runs on a node where everything is due and one file is broken.
//!
//! [`Expected::assert`] holds what is required in every case; the cases say what is broken, which
//! credentials are affected, and what is reported.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]
#![allow(clippy::disallowed_methods, reason = "tests break files on purpose, and ask openssl")]

#[path = "../common/mod.rs"]
mod common;

mod authorities;
mod configuration;
mod disk;
mod faults;
mod files;
mod kubeconfigs;
mod no_writes;
mod ownership;
mod repair;
mod unusual;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{CA_CRT, CA_KEY, FRONT_CA_CRT, FRONT_CA_KEY, Node, STATE, Snapshot, now};
use kubecertd::credentials::Stored;
use kubecertd::formats::x509::certificates;
use kubecertd::model::days;

const APISERVER_CRT: &str = "etc/kubernetes/pki/apiserver.crt";
const APISERVER_KEY: &str = "etc/kubernetes/pki/apiserver.key";
const FRONT_CRT: &str = "etc/kubernetes/pki/front-proxy-client.crt";
const FRONT_KEY: &str = "etc/kubernetes/pki/front-proxy-client.key";
const ADMIN: &str = "etc/kubernetes/admin.conf";
const SCHEDULER: &str = "etc/kubernetes/scheduler.conf";

/// The credentials that the CA `ca` signs.
const SIGNED_BY_CA: &[&str] = &[
    "admin.conf",
    "apiserver",
    "apiserver-kubelet-client",
    "controller-manager.conf",
    "scheduler.conf",
    "super-admin.conf",
];

/// The exit codes of `renew`.
const SUCCESS: i32 = 0;
const FAILED: i32 = 1;
const PARTIAL: i32 = 4;
/// The exit codes of other commands.
const ATTENTION: i32 = 3;
const CONFIGURATION: i32 = 78;

/// The expected result of a case.
struct Expected<'e> {
    /// The exit code of `renew`.
    code: i32,
    /// The credentials that stay as they are. All others are renewed.
    left: &'e [&'e str],
    /// Texts that both `check` and `renew` print.
    reported: &'e [&'e str],
}

impl Expected<'_> {
    /// Runs `check`, `renew` and `renew` again. `check` reports the fault and changes nothing.
    /// `renew` reports it too, renews the rest, loses nothing and leaves no temporary file. A
    /// second `renew` changes nothing.
    fn assert(&self, case: &str, node: &Node) {
        node.backdate_files();
        let before = node.snapshot();
        let old = node.usable_credentials();
        let check = node.run(&["check"]);
        assert_eq!(check.code, ATTENTION, "{case}: check: {}", check.text);
        self.assert_reported(case, &check.text);
        assert_unchanged(case, &before, &node.snapshot());

        let renew = node.run(&["renew"]);
        assert_eq!(renew.code, self.code, "{case}: renew: {}", renew.text);
        self.assert_reported(case, &renew.text);
        for text in [&check.text, &renew.text] {
            assert_no_key_shown(case, text, &before);
        }
        let serials = old.values().map(|stored| stored.certificate.serial.to_string()).collect();
        let (after, new) = (node.snapshot(), node.usable_credentials());
        self.assert_renewed(case, node, &serials, &new);
        self.assert_others_untouched(case, node, &new, &before, &after);
        assert_nothing_lost(case, node, &before, &after);
        assert_no_hidden_files(case, &after);
        assert_eq!(
            node.run(&["renew"]).code,
            if self.code == PARTIAL { FAILED } else { self.code },
            "{case}: the second time"
        );
        assert_unchanged(&format!("{case}: the second time"), &after, &node.snapshot());
    }

    fn assert_reported(&self, case: &str, text: &str) {
        for text_part in self.reported {
            assert!(text.contains(text_part), "{case}: {text_part:?} is not in:\n{text}");
        }
    }

    /// Asserts that every credential outside `left` has a new certificate that its CA signed, for a
    /// key that fits.
    fn assert_renewed(
        &self,
        case: &str,
        node: &Node,
        serials: &BTreeSet<String>,
        whole: &BTreeMap<String, Stored>,
    ) {
        let authorities = node.observe().catalog.authorities;
        for credential in node.managed_credentials() {
            let name = credential.name.as_str();
            if self.left.contains(&name) {
                continue;
            }
            let stored = whole.get(name).unwrap_or_else(|| panic!("{case}: {name} is not whole"));
            let leaf = &stored.certificate;
            assert!(!serials.contains(&leaf.serial.to_string()), "{case}: {name} is not renewed");
            let authority = authorities
                .iter()
                .find(|one| Some(&one.name) == credential.authority.as_ref())
                .unwrap();
            let issuers =
                certificates(&node.read(relative(authority.certificate.as_path()))).unwrap();
            assert!(
                issuers.iter().any(|issuer| leaf.is_signed_by(issuer)),
                "{case}: {name} is signed by another"
            );
            assert!(
                leaf.is_valid_at(now()) && leaf.not_after > now().plus(days(300)),
                "{case}: {name} ends {}",
                leaf.not_after
            );
        }
    }

    /// Asserts that files of renewed credentials keep mode and owner, and that all other files are
    /// unchanged.
    fn assert_others_untouched(
        &self,
        case: &str,
        node: &Node,
        whole: &BTreeMap<String, Stored>,
        before: &Snapshot,
        after: &Snapshot,
    ) {
        let renewed = whole.iter().filter(|(name, _)| !self.left.contains(&name.as_str()));
        let replaced: BTreeSet<PathBuf> = renewed
            .flat_map(|(_, stored)| stored.form.sources())
            .map(|source| real_path(node, relative(source.path.as_path())))
            .collect();
        for (path, old) in &before.0 {
            let state = path.starts_with(STATE);
            let new =
                after.0.get(path).unwrap_or_else(|| panic!("{case}: {} is gone", path.display()));
            let same = match () {
                () if old.is_dir() => new.mode == old.mode,
                () if replaced.contains(path) => (new.mode, new.owner) == (old.mode, old.owner),
                () => state || new == old,
            };
            assert!(same, "{case}: {}: {old:?} became {new:?}", path.display());
        }
    }
}

fn relative(path: &Path) -> &str {
    path.strip_prefix("/").unwrap().to_str().unwrap()
}

/// Resolves the symlinks of a file of the node.
fn real_path(node: &Node, file: &str) -> PathBuf {
    fs::canonicalize(node.path(file))
        .unwrap()
        .strip_prefix(fs::canonicalize(node.root()).unwrap())
        .unwrap()
        .to_owned()
}

fn assert_unchanged(case: &str, before: &Snapshot, after: &Snapshot) {
    let differences = before.differences(after);
    assert!(differences.is_empty(), "{case}: {differences:#?}");
}

/// Asserts that every old content is still in place or in a backup.
fn assert_nothing_lost(case: &str, node: &Node, before: &Snapshot, after: &Snapshot) {
    let backups = node.backups();
    for (path, old) in
        before.0.iter().filter(|(path, old)| old.is_file() && !path.starts_with(STATE))
    {
        let same =
            after.0.get(path).is_some_and(|new| new.content == old.content && new.size == old.size);
        assert!(
            same || backups.contains(&old.content),
            "{case}: what {} held is lost",
            path.display()
        );
    }
}

fn assert_no_hidden_files(case: &str, after: &Snapshot) {
    for path in after.0.keys() {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        assert!(!hidden, "{case}: {} was left behind", path.display());
    }
}

/// Asserts that no line of base64 of any file is in a text.
fn assert_no_key_shown(case: &str, text: &str, files: &Snapshot) {
    for (path, file) in &files.0 {
        let content = String::from_utf8_lossy(&file.content);
        let long = content
            .split_ascii_whitespace()
            .filter(|word| !word.contains(['-', ',']))
            .filter_map(|word| word.get(..60));
        for word in long {
            assert!(!text.contains(word), "{case}: {} is shown in:\n{text}", path.display());
        }
    }
}
