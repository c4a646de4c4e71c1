//! Compares the files of a credential as a service sees them with the host's: by digest, without
//! keeping any content.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::look::{Observer, RunningService, files};
use super::refused::explain;
use super::together::run_blocking;
use crate::drivers::cri::Mount;
use crate::drivers::processes::{Process, ProcessError};
use crate::model::{AbsolutePath, CredentialName, Digest, Sees};
use crate::store::LARGEST_FILE;
use crate::sys::{FileError, FileProblem, Root};

/// Compares each file of a credential; leaves out files that do not exist or that the service has
/// no way to see.
pub(super) async fn sees(
    look: &Observer,
    running: &Arc<RunningService>,
    credential: &CredentialName,
) -> Vec<(AbsolutePath, Sees)> {
    let Some(credential) = look.credential(credential).cloned() else { return Vec::new() };
    let usual: Vec<_> = credential.location.files().cloned().collect();
    let (root, running) = (Arc::clone(&look.root), Arc::clone(running));
    let seen = run_blocking(move || Ok(compared(&root, &running, files(&root, &credential)))).await;
    seen.unwrap_or_else(|reason| {
        usual.into_iter().map(|file| (file, Sees::Unknown(reason.clone()))).collect()
    })
}

fn compared(
    root: &Root,
    running: &RunningService,
    files: Vec<AbsolutePath>,
) -> Vec<(AbsolutePath, Sees)> {
    let compared = files.into_iter().filter_map(|file| {
        let inside = match &running.mounts {
            None => file.clone(),
            Some(mounts) => inside(&file, mounts, real(root))?,
        };
        let sees = match running.process {
            Some(process) => compare(root, process, &file, &inside)?,
            None => Sees::Unknown("its process can't be seen from here".to_owned()),
        };
        Some((file, sees))
    });
    compared.collect()
}

/// Returns the path in a container of a file of the host: below the mount that is nearest to it. A
/// mount may be the file itself. Where no mount contains the path by name, a symlink on the host
/// may lead to one that does.
pub(super) fn inside(
    file: &AbsolutePath,
    mounts: &[Mount],
    real: impl Fn(&Path) -> PathBuf,
) -> Option<AbsolutePath> {
    let as_named = || below(file.as_path(), mounts.iter().map(|mount| (mount.host.clone(), mount)));
    let as_resolved =
        || below(&real(file.as_path()), mounts.iter().map(|mount| (real(&mount.host), mount)));
    as_named().or_else(as_resolved)
}

fn below<'m>(
    file: &Path,
    mounts: impl Iterator<Item = (PathBuf, &'m Mount)>,
) -> Option<AbsolutePath> {
    let fitting =
        mounts.filter_map(|(host, mount)| Some((mount, file.strip_prefix(host).ok()?.to_owned())));
    let (mount, rest) = fitting.min_by_key(|(_, rest)| rest.components().count())?;
    AbsolutePath::new(mount.container.join(rest)).ok()
}

/// Resolves all symlinks of a path; returns it unchanged where it leads nowhere.
pub(super) fn real(root: &Root) -> impl Fn(&Path) -> PathBuf {
    // This is used for the host's own root directory only, so the kernel resolves the path
    // correctly.
    let shown = root.shown().to_owned();
    move |path| {
        let below = path.strip_prefix("/").unwrap_or(path);
        std::fs::canonicalize(shown.join(below)).unwrap_or_else(|_| path.to_owned())
    }
}

/// Returns `None` where neither has the file. The host's may be replaced between the two reads:
/// only a file that differs twice differs.
fn compare(
    root: &Root,
    process: Process,
    file: &AbsolutePath,
    inside: &AbsolutePath,
) -> Option<Sees> {
    match compare_once(root, process, file, inside) {
        Some(Sees::Same) => Some(Sees::Same),
        _ => compare_once(root, process, file, inside),
    }
}

fn compare_once(
    root: &Root,
    process: Process,
    file: &AbsolutePath,
    inside: &AbsolutePath,
) -> Option<Sees> {
    let host = match root.read(file, LARGEST_FILE) {
        Ok(content) => Some(Digest::of(content.bytes.expose())),
        Err(e) if is_nothing(&e) => None,
        Err(e) => return Some(Sees::Unknown(e.to_string())),
    };
    let seen = match process.read_in(root, inside, LARGEST_FILE) {
        Ok(content) => Some(Digest::of(content.bytes.expose())),
        Err(ProcessError::File(e)) if is_nothing(&e) => None,
        Err(e) => return Some(Sees::Unknown(explain(&e))),
    };
    match (host, seen) {
        (None, None) => None,
        (Some(_), None) => Some(Sees::Nothing),
        (host, seen) if host == seen => Some(Sees::Same),
        _ => Some(Sees::Another),
    }
}

fn is_nothing(error: &FileError) -> bool {
    error.is_not_found() || matches!(error.problem, FileProblem::DanglingLink(_))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mount(host: &str, container: &str) -> Mount {
        Mount { host: host.into(), container: container.into(), readonly: true }
    }

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text).unwrap()
    }

    fn mapped(file: &str, mounts: &[(&str, &str)]) -> Option<String> {
        let mounts: Vec<_> =
            mounts.iter().map(|(host, container)| mount(host, container)).collect();
        inside(&path(file), &mounts, Path::to_owned).map(|path| path.to_string())
    }

    #[test]
    fn nearest_mount_contains_the_file() {
        let mounts = [
            ("/", "/host"),
            ("/etc/kubernetes/pki", "/certs"),
            ("/etc/kubernetes", "/k"),
            ("/etc/kub", "/no"),
        ];
        assert_eq!(
            mapped("/etc/kubernetes/pki/etcd/server.crt", &mounts).as_deref(),
            Some("/certs/etcd/server.crt")
        );
        assert_eq!(mapped("/etc/kubernetes/admin.conf", &mounts).as_deref(), Some("/k/admin.conf"));
        assert_eq!(mapped("/var/x", &mounts).as_deref(), Some("/host/var/x"));
        assert_eq!(mapped("/var/x", &mounts[1..]), None);
        assert_eq!(mapped("/etc/kubernetes/pki-old/x", &mounts[3..]), None);
    }

    #[test]
    fn file_itself_may_be_mounted() {
        let mounts = [("/etc/kubernetes/scheduler.conf", "/conf/s.conf")];
        assert_eq!(
            mapped("/etc/kubernetes/scheduler.conf", &mounts).as_deref(),
            Some("/conf/s.conf")
        );
        assert_eq!(mapped("/etc/kubernetes/scheduler.conf.old", &mounts), None);
    }

    #[test]
    fn symlinks_of_the_host_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("srv/pki")).unwrap();
        fs::write(base.join("srv/pki/a.crt"), "x").unwrap();
        symlink("srv/pki", base.join("pki")).unwrap();
        symlink("a.crt", base.join("srv/pki/link.crt")).unwrap();
        let at = |name: &str| base.join(name).display().to_string();
        let host = Root::open(Path::new("/")).unwrap();
        let seen = |file: &str, mounts: &[Mount]| {
            inside(&path(&at(file)), mounts, real(&host)).map(|path| path.to_string())
        };
        // The file's directory is a symlink, and the mount has the real name; or the other way
        // round; or the mount is the file.
        assert_eq!(seen("pki/a.crt", &[mount(&at("srv"), "/c")]).as_deref(), Some("/c/pki/a.crt"));
        assert_eq!(seen("srv/pki/a.crt", &[mount(&at("pki"), "/c")]).as_deref(), Some("/c/a.crt"));
        assert_eq!(
            seen("pki/link.crt", &[mount(&at("srv/pki/a.crt"), "/c.crt")]).as_deref(),
            Some("/c.crt")
        );
        assert_eq!(seen("pki/a.crt", &[mount(&at("elsewhere"), "/c")]), None);
    }

    #[test]
    fn file_in_the_process_is_compared_with_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let own = Process::find(&root, std::process::id()).unwrap().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            path(&dir.path().join(name).display().to_string())
        };
        let (first, same, other) = (file("a", "one"), file("b", "one"), file("c", "two"));
        let (none, gone) = (first.sibling("none").unwrap(), first.sibling("gone").unwrap());
        symlink("none", gone.as_path()).unwrap();
        assert_eq!(compare(&root, own, &first, &same), Some(Sees::Same));
        assert_eq!(compare(&root, own, &first, &other), Some(Sees::Another));
        assert_eq!(compare(&root, own, &first, &none), Some(Sees::Nothing));
        assert_eq!(compare(&root, own, &first, &gone), Some(Sees::Nothing));
        assert_eq!(compare(&root, own, &none, &first), Some(Sees::Another));
        assert_eq!(compare(&root, own, &none, &gone), None);
        let ended = Process { start_ticks: own.start_ticks + 1, ..own };
        assert!(matches!(compare(&root, ended, &first, &same), Some(Sees::Unknown(_))));
    }
}
