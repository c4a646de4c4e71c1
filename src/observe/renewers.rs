//! Other renewal schedules on the node: entries of cron, and enabled timers of systemd.
//!
//! They are found by the text of their commands. A script that runs another script is not followed.
//! Files that others than root can write are ignored: only root's renew certificates.

use std::path::{Path, PathBuf};

use crate::model::{AbsolutePath, OtherRenewer};
use crate::sys::Root;

/// The largest file that is read; larger ones are ignored.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// The most entries of such a directory that are read.
const MAX_DIR_ENTRIES: usize = 256;

/// Files of cron, and directories of such files or of scripts.
const CRON: [&str; 9] = [
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
];

/// The directory of an administrator's units, and of the links that enable units.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

const UNIT_DIRS: [&str; 4] =
    [SYSTEM_UNITS, "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Returns the files that renew certificates in another way. Unreadable ones are ignored.
#[must_use]
pub fn other_renewers(root: &Root) -> Vec<OtherRenewer> {
    let mut found: Vec<OtherRenewer> =
        CRON.iter().flat_map(|place| cron(root, Path::new(place))).chain(timers(root)).collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found.dedup_by(|a, b| a.file == b.file);
    found
}

fn cron(root: &Root, place: &Path) -> Vec<OtherRenewer> {
    let files = match names(root, place) {
        Some(names) => {
            names.into_iter().filter(|name| is_in_use(name)).map(|name| place.join(name)).collect()
        }
        None => vec![place.to_owned()],
    };
    files.into_iter().filter_map(|file| renewer(root, &file, "cron runs")).collect()
}

/// Whether cron reads the file: its extension is not that of a disabled file or a package manager's
/// backup.
fn is_in_use(name: &str) -> bool {
    const DISABLED_SUFFIXES: [&str; 8] =
        [".disabled", ".bak", ".old", ".orig", ".rpmsave", ".rpmnew", ".swp", "~"];
    !name.starts_with('.')
        && !name.contains(".dpkg-")
        && !DISABLED_SUFFIXES.iter().any(|ending| name.ends_with(ending))
}

fn renewer(root: &Root, file: &Path, verb: &str) -> Option<OtherRenewer> {
    let file = AbsolutePath::new(file).ok()?;
    let line = renewing_line(&text(root, &file)?)?;
    Some(OtherRenewer { what: format!("{verb} {line:?} ({file})"), file })
}

fn text(root: &Root, file: &AbsolutePath) -> Option<String> {
    let content = root.read_root_only(file, MAX_FILE_BYTES).ok()?;
    Some(String::from_utf8_lossy(content.bytes.expose()).into_owned())
}

/// The first line that runs StarlingX's or kubespray's script, or kubeadm's own command.
fn renewing_line(text: &str) -> Option<String> {
    const SHOWN: usize = 120;
    let renews = |line: &&str| {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let kubeadm =
            words.contains("kubeadm") && words.contains("certs renew") && !words.contains("--help");
        !line.starts_with(['#', ';'])
            && (kubeadm
                || words.contains("kube-cert-rotation.sh")
                || words.contains("k8s-certs-renew.sh"))
    };
    let line = text.lines().map(str::trim).find(renews)?;
    Some(line.chars().filter(|c| !c.is_control()).take(SHOWN).collect())
}

/// Returns the enabled timers, by their links.
fn timers(root: &Root) -> Vec<OtherRenewer> {
    let dirs = names(root, Path::new(SYSTEM_UNITS)).unwrap_or_default();
    let wants = dirs.iter().filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
    let enabled = wants.flat_map(|dir| {
        let dir = Path::new(SYSTEM_UNITS).join(dir);
        let names = names(root, &dir).unwrap_or_default();
        names.into_iter().filter(|name| name.ends_with(".timer")).map(move |name| dir.join(name))
    });
    enabled.filter_map(|link| timer(root, &link)).collect()
}

fn timer(root: &Root, link: &Path) -> Option<OtherRenewer> {
    let name = link.file_name()?.to_str()?;
    let service = format!("{}.service", name.strip_suffix(".timer")?);
    let units = UNIT_DIRS.iter().map(|dir| PathBuf::from(dir).join(&service));
    let line = units
        .filter_map(|file| text(root, &AbsolutePath::new(file).ok()?))
        .find_map(|text| renewing_line(&text));
    let runs = match (line, name) {
        (Some(line), _) => format!(", which runs {line:?}"),
        (None, "k8s-certs-renew.timer") => ", kubespray's".to_owned(),
        (None, _) => return None,
    };
    Some(OtherRenewer {
        what: format!("the timer {name} is enabled{runs} ({})", link.display()),
        file: AbsolutePath::new(link).ok()?,
    })
}

/// Returns the names in a directory; `None` when it is no directory.
fn names(root: &Root, dir: &Path) -> Option<Vec<String>> {
    let names = root.open_dir(dir).and_then(|dir| dir.names()).ok()?;
    let mut names: Vec<String> =
        names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    names.truncate(MAX_DIR_ENTRIES);
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Disk(tempfile::TempDir);

    impl Disk {
        fn with(files: &[(&str, &str)]) -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            for (file, text) in files {
                let path = disk.0.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            disk
        }

        fn found(&self) -> Vec<String> {
            other_renewers(&Root::open(self.0.path()).unwrap())
                .into_iter()
                .map(|one| format!("{}: {}", one.file, one.what))
                .collect()
        }
    }

    #[test]
    fn renewing_cron_entries_are_found() {
        let disk = Disk::with(&[
            ("etc/crontab", "# m h dom\n17 * * * * root run-parts /etc/cron.hourly\n"),
            (
                "etc/cron.d/certs",
                "SHELL=/bin/sh\n0 3 1 * * root  /usr/bin/kubeadm   certs renew all\n",
            ),
            ("etc/cron.weekly/old", "#!/bin/sh\nkubeadm alpha certs renew apiserver\n"),
            ("var/spool/cron/crontabs/root", "10 0 * * * /usr/bin/kube-cert-rotation.sh\n"),
        ]);
        assert_eq!(
            disk.found(),
            [
                "/etc/cron.d/certs: cron runs \"0 3 1 * * root  /usr/bin/kubeadm   certs renew \
                 all\" (/etc/cron.d/certs)",
                "/etc/cron.weekly/old: cron runs \"kubeadm alpha certs renew apiserver\" \
                 (/etc/cron.weekly/old)",
                "/var/spool/cron/crontabs/root: cron runs \"10 0 * * * \
                 /usr/bin/kube-cert-rotation.sh\" (/var/spool/cron/crontabs/root)",
            ]
        );
    }

    #[test]
    fn disabled_and_mentioned_renewals_are_ignored() {
        let line = "0 3 1 * * root kubeadm certs renew all\n";
        let disk = Disk::with(&[
            ("etc/cron.d/certs.disabled", line),
            ("etc/cron.d/certs~", line),
            ("etc/cron.d/.certs", line),
            ("etc/cron.d/certs.dpkg-old", line),
            ("etc/cron.d/noted", &format!("# {line}")),
            ("etc/cron.d/checks", "0 3 * * * root kubeadm certs check-expiration\n"),
            ("etc/systemd/system/k8s-certs-renew.timer", "[Timer]\n"),
            (
                "etc/systemd/system/k8s-certs-renew.service",
                "[Service]\nExecStart=/usr/local/bin/k8s-certs-renew.sh\n",
            ),
        ]);
        assert_eq!(disk.found(), [""; 0]);
    }

    #[test]
    fn enabled_timer_is_found() {
        let service =
            "[Service]\n# kubeadm certs renew all\nExecStart=/usr/bin/kubeadm certs renew all\n";
        let disk = Disk::with(&[
            ("usr/lib/systemd/system/own.service", service),
            ("etc/systemd/system/calm.service", "[Service]\nExecStart=/bin/true\n"),
        ]);
        let wants = disk.0.path().join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants).unwrap();
        for timer in ["own.timer", "calm.timer", "k8s-certs-renew.timer"] {
            std::os::unix::fs::symlink(format!("/etc/systemd/system/{timer}"), wants.join(timer))
                .unwrap();
        }
        let dir = "/etc/systemd/system/multi-user.target.wants";
        assert_eq!(
            disk.found(),
            [
                format!(
                    "{dir}/k8s-certs-renew.timer: the timer k8s-certs-renew.timer is enabled, \
                     kubespray's ({dir}/k8s-certs-renew.timer)"
                ),
                format!(
                    "{dir}/own.timer: the timer own.timer is enabled, which runs \
                     \"ExecStart=/usr/bin/kubeadm certs renew all\" ({dir}/own.timer)"
                ),
            ]
        );
    }
}
