//! Paths that the configuration needs and the daemon's unit does not open: the unit lets the daemon
//! write to the directories of a usual node only.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::credentials::located;
use crate::model::{AbsolutePath, CredentialName, Location, Renewal, ServiceKind};
use crate::observe::Node;
use crate::settings::{Listen, OwnCopy, Textfile};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// The unit as it is shipped, used where none is installed yet.
const SHIPPED: &str = include_str!("../../systemd/kubecertd.service");
/// The directories of systemd units, in order of precedence; drop-ins of all of them apply.
const UNIT_DIRS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const UNIT_NAME: &str = "kubecertd.service";
/// The directories that `PrivateTmp=` replaces.
const TMP: [&str; 2] = ["/tmp", "/var/tmp"];

/// The directories that `ProtectHome=` closes.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Returns the drop-in that the unit needs, if any.
pub(super) fn drop_in(node: &Node) -> Option<String> {
    let real = |path: PathBuf| node.root.real_dir(&path).unwrap_or(path);
    let mut unit = Unit::default();
    texts(node).iter().for_each(|text| unit.read(text));
    for opened in [&mut unit.opened, &mut unit.own] {
        *opened = std::mem::take(opened).into_iter().map(real).collect();
    }
    unit.missing_drop_in(&written(node).into_iter().map(real).collect(), &read(node))
}

/// Returns the text of the unit and those of its drop-ins, in the order in which they apply.
fn texts(node: &Node) -> Vec<String> {
    let text = |path: &Path| {
        let content = node.root.read(&AbsolutePath::new(path).ok()?, LARGEST_FILE).ok()?;
        String::from_utf8(content.bytes.expose().to_vec()).ok()
    };
    let unit = UNIT_DIRS.iter().find_map(|dir| text(&Path::new(dir).join(UNIT_NAME)));
    let mut texts = vec![unit.unwrap_or_else(|| SHIPPED.to_owned())];
    let mut files = Vec::new();
    for dir in UNIT_DIRS.map(|dir| Path::new(dir).join(format!("{UNIT_NAME}.d"))) {
        let names = node.root.open_dir(&dir).and_then(|dir| dir.names()).unwrap_or_default();
        files.extend(
            names
                .into_iter()
                .filter(|name| name.as_encoded_bytes().ends_with(b".conf"))
                .map(|name| (name.clone(), dir.join(name))),
        );
    }
    files.sort();
    texts.extend(files.iter().filter_map(|(_, path)| text(path)));
    texts
}

/// The directories that the daemon writes to.
fn written(node: &Node) -> Vec<PathBuf> {
    let ours =
        node.catalog.credentials.iter().filter(|credential| credential.renewal == Renewal::Ours);
    let locations = ours.map(|credential| located(&node.root, credential).location);
    let files: Vec<AbsolutePath> =
        locations.flat_map(|location| location.files().cloned().collect::<Vec<_>>()).collect();
    let mut dirs: Vec<_> = files.iter().filter_map(|file| opened_dir(&node.root, file)).collect();
    dirs.extend(kubelet_dirs(node));
    dirs.extend(node.settings.copies.iter().flat_map(|own| copy_dirs(node, own)));
    dirs.push(node.settings.paths.state.as_path().to_owned());
    if let Textfile::File(file) = &*node.settings.metrics.textfile {
        dirs.push(dir_of(file));
    }
    if let Listen::Unix(socket) = &*node.settings.metrics.listen {
        dirs.push(dir_of(socket));
    }
    dirs
}

/// The directories of kubelet's client certificate, which is issued here where kubelet can't renew
/// it, and of the kubeconfig that names it. A link is swapped where it is, not where it leads to.
fn kubelet_dirs(node: &Node) -> Vec<PathBuf> {
    let catalog = &node.catalog;
    let of = |(name, kubeconfig): (&CredentialName, &AbsolutePath)| {
        let credential = catalog.credentials.iter().find(|one| one.name == *name)?;
        let files = credential.location.files().chain([kubeconfig]);
        Some(files.map(dir_of).collect::<Vec<_>>())
    };
    catalog.kubeconfigs.iter().filter_map(of).flatten().collect()
}

/// The directories that copies need: where users other than root can change a file's path, the last
/// directory on it that they can't replace; for a pattern, the common parent of all its files,
/// which covers future ones too.
fn copy_dirs(node: &Node, own: &OwnCopy) -> Vec<PathBuf> {
    let of_all = |file: &AbsolutePath| {
        file.as_path().iter().take_while(|name| *name != "*").collect::<PathBuf>()
    };
    let dir = |file: &AbsolutePath| opened_dir(&node.root, file);
    match &own.location {
        Location::Kubeconfig(pattern)
            if own.means_several() && of_all(pattern) != Path::new("/") =>
        {
            vec![of_all(pattern)]
        }
        Location::Kubeconfig(pattern) if own.means_several() => {
            node.root.matching(pattern).iter().filter_map(dir).collect()
        }
        location => location.files().filter_map(dir).collect(),
    }
}

/// The directory that is opened for a file; `None` where other users can redirect the path.
fn opened_dir(root: &Root, file: &AbsolutePath) -> Option<PathBuf> {
    match root.last_root_only_dir(file) {
        Ok(dir) => Some(dir),
        // It may be created later, by root or by the owner of a directory above it.
        Err(e) if e.is_not_found() => {
            let parent = AbsolutePath::new(file.as_path().parent()?).ok()?;
            let above = opened_dir(root, &parent)?;
            let inside = AbsolutePath::new(above.join("file")).ok()?;
            Some(if root.is_writable_by_others(&inside).unwrap_or(false) {
                above
            } else {
                parent.as_path().to_owned()
            })
        }
        Err(_) => None,
    }
}

/// Other paths that the daemon reads, where the configuration may name any.
fn read(node: &Node) -> Vec<PathBuf> {
    let catalog = &node.catalog;
    let authorities = catalog
        .authorities
        .iter()
        .flat_map(|one| [&one.certificate].into_iter().chain(one.keys()))
        .map(|file| file.as_path().to_owned());
    let watched = catalog
        .credentials
        .iter()
        .flat_map(|one| one.location.files().map(|file| file.as_path().to_owned()));
    let pid_files = catalog.services.iter().filter_map(|service| match &service.kind {
        ServiceKind::Process { pid_file, .. } => Some(pid_file.as_path().to_owned()),
        ServiceKind::StaticPod { .. } | ServiceKind::Unit { .. } | ServiceKind::Command { .. } => {
            None
        }
    });
    let paths = &node.settings.paths;
    authorities
        .chain(watched)
        .chain(pid_files)
        .chain([&paths.profiles, &paths.manifests].map(|path| path.as_path().to_owned()))
        .collect()
}

fn dir_of(file: &AbsolutePath) -> PathBuf {
    file.as_path().parent().unwrap_or(Path::new("/")).to_owned()
}

/// The directives of a unit that confine the daemon.
#[derive(Debug, Default)]
struct Unit {
    /// `ProtectSystem=strict`: everything else is read-only.
    strict: bool,
    /// `PrivateTmp=`: it has a `/tmp` of its own.
    own_tmp: bool,
    /// `ProtectHome=`: home directories are closed, whatever other directives open.
    no_homes: bool,
    /// The directories that it opens.
    opened: Vec<PathBuf>,
    /// Those that systemd creates for it.
    own: Vec<PathBuf>,
}

impl Unit {
    /// Adds the directives of the unit's text, or of a drop-in after it.
    fn read(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            match (key.trim_end(), value.trim()) {
                ("ProtectSystem", value) => self.strict = value == "strict",
                ("PrivateTmp", value) => {
                    self.own_tmp = matches!(value, "yes" | "true" | "on" | "1")
                }
                ("ProtectHome", value) => {
                    self.no_homes = !matches!(value, "no" | "false" | "off" | "0")
                }
                ("ReadWritePaths", "") => self.opened.clear(),
                ("ReadWritePaths", value) => self.opened.extend(dirs("", value)),
                ("StateDirectory", value) => self.own.extend(dirs("/var/lib/", value)),
                ("RuntimeDirectory", value) => self.own.extend(dirs("/run/", value)),
                _ => {}
            }
        }
    }

    /// Returns the drop-in that opens the missing paths.
    fn missing_drop_in(&self, written: &BTreeSet<PathBuf>, read: &[PathBuf]) -> Option<String> {
        let mut lines = String::new();
        let in_tmp = |path: &PathBuf| TMP.iter().any(|tmp| path.starts_with(tmp));
        if self.own_tmp && written.iter().chain(read).any(in_tmp) {
            lines.push_str("PrivateTmp=no\n");
        }
        // `ProtectHome=` wins over an opened home directory; and without it all of these are open.
        let is_written = |home: &&&str| written.contains(Path::new(home));
        if self.no_homes && HOMES.iter().any(|home| is_written(&home)) {
            lines.push_str("ProtectHome=no\n");
            HOMES.iter().filter(|home| !is_written(home)).for_each(|home| {
                let _ = writeln!(lines, "ReadOnlyPaths=-{home}");
            });
        }
        let mut opened = [self.opened.clone(), self.own.clone()].concat();
        // A directory sorts before those below it.
        for dir in written.iter().filter(|_| self.strict) {
            if !opened.iter().any(|open| dir.starts_with(open)) {
                let _ = writeln!(lines, "ReadWritePaths={}", quoted(dir));
                opened.push(dir.clone());
            }
        }
        (!lines.is_empty()).then(|| format!("[Service]\n{lines}"))
    }
}

fn dirs(below: &str, value: &str) -> Vec<PathBuf> {
    words(value)
        .into_iter()
        .map(|word| PathBuf::from(format!("{below}{}", word.trim_start_matches(['-', '+']))))
        .collect()
}

/// Formats a path for a unit. `-`: a missing directory must not keep the daemon from starting.
fn quoted(path: &Path) -> String {
    let word = format!("-{}", path.display())
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    if word.contains([' ', '\t', '\\', '\'', '"']) { format!("\"{word}\"") } else { word }
}

/// Splits a value into its words, which may be quoted.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = value.chars();
    while let Some(next) = rest.next() {
        match (next, quote) {
            ('\\', _) => word.extend(rest.next()),
            (mark, Some(open)) if mark == open => quote = None,
            ('"' | '\'', None) => quote = Some(next),
            (' ' | '\t', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(next),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words.into_iter().map(|word| word.replace("%%", "%")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_drop_in(texts: &[&str], written: &[&str], read: &[&str]) -> Option<String> {
        let mut unit = Unit::default();
        texts.iter().for_each(|text| unit.read(text));
        unit.missing_drop_in(
            &written.iter().map(PathBuf::from).collect(),
            &read.iter().map(PathBuf::from).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn shipped_unit_opens_paths_of_a_usual_node() {
        let usual = [
            "/etc/kubernetes",
            "/etc/kubernetes/pki/etcd",
            "/var/lib/kubelet/pki",
            "/var/lib/kubecertd",
            "/run/kubecertd",
        ];
        assert_eq!(
            missing_drop_in(&[SHIPPED], &usual, &["/etc/kubecertd/profiles", "/root/.kube/config"]),
            None
        );
    }

    #[test]
    fn other_paths_are_opened_once_and_exactly() {
        let written =
            ["/etc/kubernetes-old", "/srv/pki", "/srv/pki/below", "/srv/pki2", "/var/lib/kubelet"];
        let expected = "[Service]\nReadWritePaths=-/etc/kubernetes-old\nReadWritePaths=-/srv/pki\n\
            ReadWritePaths=-/srv/pki2\nReadWritePaths=-/var/lib/kubelet\n";
        assert_eq!(missing_drop_in(&[SHIPPED], &written, &[]).as_deref(), Some(expected));
        assert_eq!(
            missing_drop_in(&[SHIPPED, expected], &written, &[]),
            None,
            "by the drop-in that was printed"
        );
        let closed = missing_drop_in(
            &[SHIPPED, "ReadWritePaths=\n"],
            &["/etc/kubernetes", "/var/lib/kubecertd"],
            &[],
        );
        assert_eq!(
            closed.as_deref(),
            Some("[Service]\nReadWritePaths=-/etc/kubernetes\n"),
            "a drop-in that takes away"
        );
        assert_eq!(
            missing_drop_in(&[SHIPPED, "[Service]\nProtectSystem=full\n"], &written, &[]),
            None,
            "a site's own choice"
        );
    }

    #[test]
    fn home_directories_are_opened_unless_otherwise_closed() {
        let all = "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\nReadOnlyPaths=-/run/user\n\
            ReadWritePaths=-/home\n";
        assert_eq!(missing_drop_in(&[SHIPPED], &["/home"], &[]).as_deref(), Some(all));
        assert_eq!(missing_drop_in(&[SHIPPED, all], &["/home", "/home/alice"], &[]), None);
        let one = "[Service]\nReadWritePaths=-/home/alice\n";
        assert_eq!(missing_drop_in(&[SHIPPED], &["/home/alice"], &[]).as_deref(), Some(one));
    }

    #[test]
    fn directory_below_tmp_is_private() {
        assert_eq!(
            missing_drop_in(&[SHIPPED], &[], &["/var/tmp/profiles"]).as_deref(),
            Some("[Service]\nPrivateTmp=no\n")
        );
        assert_eq!(missing_drop_in(&[SHIPPED, "PrivateTmp=no"], &[], &["/var/tmp/profiles"]), None);
        assert_eq!(
            missing_drop_in(&[SHIPPED], &["/tmp/x"], &[]).as_deref(),
            Some("[Service]\nPrivateTmp=no\nReadWritePaths=-/tmp/x\n")
        );
    }

    #[test]
    fn special_characters_for_systemd_are_escaped() {
        for path in ["/a b", "/50%", "/x\"y", "/x\\y", "/it's"] {
            let text = missing_drop_in(&[SHIPPED], &[path], &[]).unwrap();
            assert_eq!(missing_drop_in(&[SHIPPED, &text], &[path], &[]), None, "{text}");
        }
    }
}
