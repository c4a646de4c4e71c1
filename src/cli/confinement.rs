//! What the daemon's unit does not open to it, and a configuration needs: the unit lets it write to
//! the folders of a usual node, and to no other.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::credentials::located;
use crate::model::{AbsolutePath, Location, Renewal, ServiceKind};
use crate::observe::Node;
use crate::settings::{Listen, OwnCopy, Textfile};
use crate::store::LARGEST_FILE;
use crate::sys::Root;

/// The unit as it is shipped, for where none is installed yet.
const SHIPPED: &str = include_str!("../../systemd/kubecertd.service");
/// Where systemd looks for units, the first one first; drop-ins of all of them count.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const NAME: &str = "kubecertd.service";
/// The folders of which a unit with `PrivateTmp=` has its own.
const TMP: [&str; 2] = ["/tmp", "/var/tmp"];

/// The folders that `ProtectHome=` is about.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What is to be put into a drop-in of the unit, if anything is.
pub(super) fn drop_in(node: &Node) -> Option<String> {
    let real = |path: PathBuf| node.root.real_folder(&path).unwrap_or(path);
    let mut unit = Unit::default();
    texts(node).iter().for_each(|text| unit.read(text));
    for opened in [&mut unit.opened, &mut unit.own] {
        *opened = std::mem::take(opened).into_iter().map(real).collect();
    }
    unit.lacks(&written(node).into_iter().map(real).collect(), &read(node))
}

/// The unit's text and those of its drop-ins, in the order in which they count.
fn texts(node: &Node) -> Vec<String> {
    let text = |path: &Path| {
        let content = node.root.read(&AbsolutePath::new(path).ok()?, LARGEST_FILE).ok()?;
        String::from_utf8(content.bytes.expose().to_vec()).ok()
    };
    let unit = UNITS.iter().find_map(|folder| text(&Path::new(folder).join(NAME)));
    let mut texts = vec![unit.unwrap_or_else(|| SHIPPED.to_owned())];
    let mut files = Vec::new();
    for folder in UNITS.map(|folder| Path::new(folder).join(format!("{NAME}.d"))) {
        let names = node.root.folder(&folder).and_then(|folder| folder.names()).unwrap_or_default();
        files.extend(
            names
                .into_iter()
                .filter(|name| name.as_encoded_bytes().ends_with(b".conf"))
                .map(|name| (name.clone(), folder.join(name))),
        );
    }
    files.sort();
    texts.extend(files.iter().filter_map(|(_, path)| text(path)));
    texts
}

/// The folders that the daemon writes to.
fn written(node: &Node) -> Vec<PathBuf> {
    let ours =
        node.catalog.credentials.iter().filter(|credential| credential.renewal == Renewal::Ours);
    let locations = ours.map(|credential| located(&node.root, credential).location);
    let files: Vec<AbsolutePath> =
        locations.flat_map(|location| location.files().cloned().collect::<Vec<_>>()).collect();
    let mut folders: Vec<_> = files
        .iter()
        .map(|file| {
            node.root
                .locate(file)
                .map_or_else(|_| folder_of(file), |place| place.dir.path().to_owned())
        })
        .collect();
    folders.extend(node.settings.copies.iter().flat_map(|own| of_copies(node, own)));
    folders.push(node.settings.paths.state.as_path().to_owned());
    if let Textfile::File(file) = &*node.settings.metrics.textfile {
        folders.push(folder_of(file));
    }
    if let Listen::Unix(socket) = &*node.settings.metrics.listen {
        folders.push(folder_of(socket));
    }
    folders
}

/// The folders that copies need: where others have a file in their hands, the last one on the way
/// that stays the same whatever they do; for a path that means several files, the one that they are
/// all below, for those too that come later.
fn of_copies(node: &Node, own: &OwnCopy) -> Vec<PathBuf> {
    let of_all = |file: &AbsolutePath| {
        file.as_path().iter().take_while(|name| *name != "*").collect::<PathBuf>()
    };
    let folder = |file: &AbsolutePath| of_copy(&node.root, file);
    match &own.location {
        Location::Kubeconfig(pattern)
            if own.means_several() && of_all(pattern) != Path::new("/") =>
        {
            vec![of_all(pattern)]
        }
        Location::Kubeconfig(pattern) if own.means_several() => {
            node.root.matching(pattern).iter().filter_map(folder).collect()
        }
        location => location.files().filter_map(folder).collect(),
    }
}

/// The folder that is opened for a copy. Where others lead astray on the way, none is.
fn of_copy(root: &Root, file: &AbsolutePath) -> Option<PathBuf> {
    match root.last_folder_of_roots(file) {
        Ok(folder) => Some(folder),
        // It may be made later: by root, or by who has a folder above it in his hands.
        Err(e) if e.is_not_found() => {
            let parent = AbsolutePath::new(file.as_path().parent()?).ok()?;
            let above = of_copy(root, &parent)?;
            let inside = AbsolutePath::new(above.join("file")).ok()?;
            Some(if root.is_in_other_hands(&inside).unwrap_or(false) {
                above
            } else {
                parent.as_path().to_owned()
            })
        }
        Err(_) => None,
    }
}

/// Paths that it reads besides, where the configuration may name any.
fn read(node: &Node) -> Vec<PathBuf> {
    let catalog = &node.catalog;
    let authorities = catalog
        .authorities
        .iter()
        .flat_map(|one| [one.certificate.as_path().to_owned(), one.key.as_path().to_owned()]);
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

fn folder_of(file: &AbsolutePath) -> PathBuf {
    file.as_path().parent().unwrap_or(Path::new("/")).to_owned()
}

/// What a unit says of what it opens.
#[derive(Debug, Default)]
struct Unit {
    /// Everything else is read-only.
    strict: bool,
    /// It has a `/tmp` of its own.
    own_tmp: bool,
    /// The folders of users are kept from it, beyond what is said of others.
    no_homes: bool,
    /// The folders that it opens.
    opened: Vec<PathBuf>,
    /// Those that systemd makes for it.
    own: Vec<PathBuf>,
}

impl Unit {
    /// Takes in the unit's text, or a drop-in's after it.
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
                ("ReadWritePaths", value) => self.opened.extend(folders("", value)),
                ("StateDirectory", value) => self.own.extend(folders("/var/lib/", value)),
                ("RuntimeDirectory", value) => self.own.extend(folders("/run/", value)),
                _ => {}
            }
        }
    }

    /// The drop-in that makes up for it.
    fn lacks(&self, written: &BTreeSet<PathBuf>, read: &[PathBuf]) -> Option<String> {
        let mut lines = String::new();
        let in_tmp = |path: &PathBuf| TMP.iter().any(|tmp| path.starts_with(tmp));
        if self.own_tmp && written.iter().chain(read).any(in_tmp) {
            lines.push_str("PrivateTmp=no\n");
        }
        // Of two that speak of the same folder, systemd takes the one that closes it; and without
        // it all of these are open.
        let is_written = |home: &&&str| written.contains(Path::new(home));
        if self.no_homes && HOMES.iter().any(|home| is_written(&home)) {
            lines.push_str("ProtectHome=no\n");
            HOMES.iter().filter(|home| !is_written(home)).for_each(|home| {
                let _ = writeln!(lines, "ReadOnlyPaths=-{home}");
            });
        }
        let mut opened = [self.opened.clone(), self.own.clone()].concat();
        // A folder comes before what is below it.
        for folder in written.iter().filter(|_| self.strict) {
            if !opened.iter().any(|open| folder.starts_with(open)) {
                let _ = writeln!(lines, "ReadWritePaths={}", quoted(folder));
                opened.push(folder.clone());
            }
        }
        (!lines.is_empty()).then(|| format!("[Service]\n{lines}"))
    }
}

fn folders(below: &str, value: &str) -> Vec<PathBuf> {
    words(value)
        .into_iter()
        .map(|word| PathBuf::from(format!("{below}{}", word.trim_start_matches(['-', '+']))))
        .collect()
}

/// A path as a unit has it. `-`: a folder that is not there must not keep the daemon from starting.
fn quoted(path: &Path) -> String {
    let word = format!("-{}", path.display())
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    if word.contains([' ', '\t', '\\', '\'', '"']) { format!("\"{word}\"") } else { word }
}

/// The words of a value, which may be quoted.
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

    fn lacks(texts: &[&str], written: &[&str], read: &[&str]) -> Option<String> {
        let mut unit = Unit::default();
        texts.iter().for_each(|text| unit.read(text));
        unit.lacks(
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
            lacks(&[SHIPPED], &usual, &["/etc/kubecertd/profiles", "/root/.kube/config"]),
            None
        );
    }

    #[test]
    fn other_paths_are_opened_once_and_exactly() {
        let written =
            ["/etc/kubernetes-old", "/srv/pki", "/srv/pki/below", "/srv/pki2", "/var/lib/kubelet"];
        let expected = "[Service]\nReadWritePaths=-/etc/kubernetes-old\nReadWritePaths=-/srv/pki\n\
            ReadWritePaths=-/srv/pki2\nReadWritePaths=-/var/lib/kubelet\n";
        assert_eq!(lacks(&[SHIPPED], &written, &[]).as_deref(), Some(expected));
        assert_eq!(
            lacks(&[SHIPPED, expected], &written, &[]),
            None,
            "by the drop-in that was printed"
        );
        let closed =
            lacks(&[SHIPPED, "ReadWritePaths=\n"], &["/etc/kubernetes", "/var/lib/kubecertd"], &[]);
        assert_eq!(
            closed.as_deref(),
            Some("[Service]\nReadWritePaths=-/etc/kubernetes\n"),
            "a drop-in that takes away"
        );
        assert_eq!(
            lacks(&[SHIPPED, "[Service]\nProtectSystem=full\n"], &written, &[]),
            None,
            "a site's own choice"
        );
    }

    #[test]
    fn home_directories_are_opened_unless_otherwise_closed() {
        let all = "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\nReadOnlyPaths=-/run/user\n\
            ReadWritePaths=-/home\n";
        assert_eq!(lacks(&[SHIPPED], &["/home"], &[]).as_deref(), Some(all));
        assert_eq!(lacks(&[SHIPPED, all], &["/home", "/home/alice"], &[]), None);
        let one = "[Service]\nReadWritePaths=-/home/alice\n";
        assert_eq!(lacks(&[SHIPPED], &["/home/alice"], &[]).as_deref(), Some(one));
    }

    #[test]
    fn directory_below_tmp_is_private() {
        assert_eq!(
            lacks(&[SHIPPED], &[], &["/var/tmp/profiles"]).as_deref(),
            Some("[Service]\nPrivateTmp=no\n")
        );
        assert_eq!(lacks(&[SHIPPED, "PrivateTmp=no"], &[], &["/var/tmp/profiles"]), None);
        assert_eq!(
            lacks(&[SHIPPED], &["/tmp/x"], &[]).as_deref(),
            Some("[Service]\nPrivateTmp=no\nReadWritePaths=-/tmp/x\n")
        );
    }

    #[test]
    fn special_characters_for_systemd_are_escaped() {
        for path in ["/a b", "/50%", "/x\"y", "/x\\y", "/it's"] {
            let text = lacks(&[SHIPPED], &[path], &[]).unwrap();
            assert_eq!(lacks(&[SHIPPED, &text], &[path], &[]), None, "{text}");
        }
    }
}
