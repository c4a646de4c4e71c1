//! A model of a disk that loses undurable changes with the power. Recorded calls are its input.
//!
//! A file's content is durable after its fsync, a directory's entries after the directory's fsync.
//! Of the rest, any part may survive: each created, renamed or removed entry independently and in
//! any order; and of a file's content the old, the new, or a mixture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::walk;
use crate::strace::Call;

type Id = usize;

/// A file, directory or link of the model.
#[derive(Clone, Debug)]
struct Inode {
    mode: u32,
    owner: (u32, u32),
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File { durable: Arc<Vec<u8>>, present: Arc<Vec<u8>> },
    Dir { durable: BTreeMap<PathBuf, Id>, present: BTreeMap<PathBuf, Id> },
    Link(PathBuf),
}

/// A change of an entry that is not durable yet: `from` is removed, `to` is added.
#[derive(Clone, Debug)]
struct Pending {
    dir: Id,
    from: Option<PathBuf>,
    to: Option<(PathBuf, Id)>,
}

/// The part of un-synced content that survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survival {
    Nothing,
    All,
    Beginning,
    End,
    /// The size survives, the content does not.
    Zeros,
}

const SURVIVALS: [Survival; 5] =
    [Survival::Nothing, Survival::All, Survival::Beginning, Survival::End, Survival::Zeros];

/// Up to this number of pending entries every subset is tried.
const MAX_EXHAUSTIVE: usize = 5;

pub struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
    pending: Vec<Pending>,
    /// The offset of the next write, by descriptor.
    positions: HashMap<String, usize>,
}

/// A possible content of the disk after a power loss: files by their paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskState {
    files: BTreeMap<PathBuf, (u32, (u32, u32), RemainingKind)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum RemainingKind {
    File(Arc<Vec<u8>>),
    Dir,
    Link(PathBuf),
}

impl DiskState {
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    /// Writes the files below a directory.
    pub fn write_to(&self, root: &Path) {
        for (path, (mode, owner, what)) in &self.files {
            let path = root.join(path);
            match what {
                RemainingKind::File(content) => fs::write(&path, &**content).unwrap(),
                RemainingKind::Dir if path == root.join("") => {}
                RemainingKind::Dir => fs::create_dir(&path).unwrap(),
                RemainingKind::Link(target) => {
                    symlink(target, &path).unwrap();
                    continue;
                }
            }
            chown(&path, Some(owner.0), Some(owner.1)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

impl Disk {
    /// Reads a directory; everything is durable.
    pub fn read(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            inodes: Vec::new(),
            pending: Vec::new(),
            positions: HashMap::new(),
        };
        walk(root, &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            let kind = if found.is_dir() {
                Kind::Dir { durable: BTreeMap::new(), present: BTreeMap::new() }
            } else if found.is_symlink() {
                Kind::Link(fs::read_link(path).unwrap())
            } else {
                let content = Arc::new(fs::read(path).unwrap());
                Kind::File { durable: Arc::clone(&content), present: content }
            };
            let id = disk.add(found.mode() & 0o7777, kind);
            disk.inodes[id].owner = (found.uid(), found.gid());
            if path != root {
                let (dir, name) = disk.parent_and_name(path);
                let Kind::Dir { durable, present } = &mut disk.inodes[dir].kind else {
                    panic!("no directory")
                };
                durable.insert(name.clone(), id);
                present.insert(name, id);
            }
        });
        disk
    }

    fn add(&mut self, mode: u32, kind: Kind) -> Id {
        self.inodes.push(Inode { mode, owner: (0, 0), kind });
        self.inodes.len() - 1
    }

    /// Returns the directory and the name of an entry.
    fn parent_and_name(&self, path: &Path) -> (Id, PathBuf) {
        (self.find(path.parent().unwrap()).unwrap(), path.file_name().unwrap().into())
    }

    fn find(&self, path: &Path) -> Option<Id> {
        let below = path
            .strip_prefix(&self.root)
            .unwrap_or_else(|_| panic!("{} is not below the root", path.display()));
        below.components().try_fold(0, |dir, name| match &self.inodes[dir].kind {
            Kind::Dir { present, .. } => present.get(Path::new(name.as_os_str())).copied(),
            _ => None,
        })
    }

    /// Changes the entries of a directory; the change is not durable yet.
    fn change_entry(&mut self, dir: Id, from: Option<PathBuf>, to: Option<(PathBuf, Id)>) {
        let Kind::Dir { present, .. } = &mut self.inodes[dir].kind else { panic!("no directory") };
        apply_entry_change(present, from.as_deref(), to.as_ref());
        self.pending.push(Pending { dir, from, to });
    }

    fn content_mut(&mut self, path: &Path) -> &mut Vec<u8> {
        let id = self.find(path).unwrap_or_else(|| panic!("{} is not there", path.display()));
        match &mut self.inodes[id].kind {
            Kind::File { present, .. } => Arc::make_mut(present),
            _ => panic!("{} is no file", path.display()),
        }
    }

    /// Applies a recorded call.
    pub fn apply(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => {
                let path = call.opened.clone().unwrap();
                self.positions.insert(call.result.to_string(), 0);
                if call.creates() && self.find(&path).is_none() {
                    let kind = Kind::File { durable: Arc::default(), present: Arc::default() };
                    let id = self.add(u32::try_from(call.number(3)).unwrap(), kind);
                    let (dir, name) = self.parent_and_name(&path);
                    self.change_entry(dir, None, Some((name, id)));
                }
            }
            "mkdirat" => {
                let kind = Kind::Dir { durable: BTreeMap::new(), present: BTreeMap::new() };
                let id = self.add(u32::try_from(call.number(2)).unwrap(), kind);
                let (dir, name) = self.parent_and_name(&call.entry(0));
                self.change_entry(dir, None, Some((name, id)));
            }
            "write" => {
                let descriptor = call.arguments[0].split('<').next().unwrap().to_owned();
                let at = self.positions[&descriptor];
                let length = self.write(call, at);
                self.positions.insert(descriptor, at + length);
            }
            "pwrite64" => drop(self.write(call, usize::try_from(call.number(3)).unwrap())),
            "ftruncate" => {
                self.content_mut(&call.file(0)).resize(usize::try_from(call.number(1)).unwrap(), 0)
            }
            "fallocate" => {
                let end = usize::try_from(call.number(2) + call.number(3)).unwrap();
                let content = self.content_mut(&call.file(0));
                content.resize(content.len().max(end), 0);
            }
            "fchmod" => {
                let id = self.find(&call.file(0)).unwrap();
                self.inodes[id].mode = u32::try_from(call.number(1)).unwrap();
            }
            "fchown" => {
                let id = self.find(&call.file(0)).unwrap();
                self.inodes[id].owner = (
                    u32::try_from(call.number(1)).unwrap(),
                    u32::try_from(call.number(2)).unwrap(),
                );
            }
            "renameat" => {
                let (dir, from) = self.parent_and_name(&call.entry(0));
                let (to_dir, to) = self.parent_and_name(&call.entry(2));
                assert_eq!(
                    dir, to_dir,
                    "the model knows no renames from one directory to another: {call:?}"
                );
                let id = self.find(&call.entry(0)).unwrap();
                self.change_entry(dir, Some(from), Some((to, id)));
            }
            "unlinkat" => {
                let (dir, name) = self.parent_and_name(&call.entry(0));
                self.change_entry(dir, Some(name), None);
            }
            "fsync" | "fdatasync" => self.sync(&call.file(0)),
            "flock" | "fsetxattr" | "fremovexattr" => {}
            other => panic!("the model does not know {other}"),
        }
    }

    fn write(&mut self, call: &Call, at: usize) -> usize {
        let length = usize::try_from(call.result).unwrap();
        let bytes = call.bytes(1);
        let content = self.content_mut(&call.file(0));
        content.resize(content.len().max(at + length), 0);
        content[at..at + length].copy_from_slice(&bytes[..length]);
        length
    }

    fn sync(&mut self, path: &Path) {
        let id = self.find(path).unwrap();
        match &mut self.inodes[id].kind {
            Kind::File { durable, present } => *durable = Arc::clone(present),
            Kind::Dir { durable, present } => {
                *durable = present.clone();
                self.pending.retain(|pending| pending.dir != id);
            }
            Kind::Link(_) => panic!("a link is not synced"),
        }
    }

    /// Returns all states that a power loss at this moment may leave.
    pub fn possible_states(&self) -> Vec<DiskState> {
        let dirty: Vec<Id> = (0..self.inodes.len())
            .filter(|id| match &self.inodes[*id].kind {
                Kind::File { durable, present } => durable != present,
                _ => false,
            })
            .collect();
        let mut states = Vec::new();
        for entries in subsets(self.pending.len()) {
            let dirs = self.entries_with(&entries);
            for contents in survival_choices(&dirty) {
                let mut files = BTreeMap::new();
                self.collect_files(0, PathBuf::new(), &dirs, &contents, &mut files);
                states.push(DiskState { files });
            }
        }
        states
    }

    /// Returns the directories' entries with these pending changes durable.
    fn entries_with(&self, entries: &BTreeSet<usize>) -> BTreeMap<Id, BTreeMap<PathBuf, Id>> {
        let mut dirs: BTreeMap<Id, BTreeMap<PathBuf, Id>> = BTreeMap::new();
        for (id, inode) in self.inodes.iter().enumerate() {
            if let Kind::Dir { durable, .. } = &inode.kind {
                dirs.insert(id, durable.clone());
            }
        }
        for Pending { dir, from, to } in entries.iter().map(|at| &self.pending[*at]) {
            apply_entry_change(dirs.get_mut(dir).unwrap(), from.as_deref(), to.as_ref());
        }
        dirs
    }

    fn collect_files(
        &self,
        id: Id,
        path: PathBuf,
        dirs: &BTreeMap<Id, BTreeMap<PathBuf, Id>>,
        contents: &BTreeMap<Id, Survival>,
        files: &mut BTreeMap<PathBuf, (u32, (u32, u32), RemainingKind)>,
    ) {
        let Inode { mode, owner, kind } = &self.inodes[id];
        let what = match kind {
            Kind::File { durable, present } => {
                RemainingKind::File(contents.get(&id).map_or_else(
                    || Arc::clone(durable),
                    |survival| survival.apply(durable, present),
                ))
            }
            Kind::Dir { .. } => RemainingKind::Dir,
            Kind::Link(target) => RemainingKind::Link(target.clone()),
        };
        files.insert(path.clone(), (*mode, *owner, what));
        for (name, id) in dirs.get(&id).into_iter().flatten() {
            self.collect_files(*id, path.join(name), dirs, contents, files);
        }
    }
}

impl Survival {
    fn apply(self, old: &Arc<Vec<u8>>, new: &Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        // A sector is written as a whole. A small file has only one, so it is torn in its middle.
        let middle = if new.len() > 1024 { 512 } else { new.len() / 2 };
        let old_at =
            |range: std::ops::Range<usize>| range.map(|at| old.get(at).copied().unwrap_or(0));
        match self {
            Self::Nothing => Arc::clone(old),
            Self::All => Arc::clone(new),
            Self::Zeros if old.is_empty() => Arc::new(vec![0; new.len()]),
            Self::Zeros => Arc::clone(old),
            Self::Beginning if old.is_empty() => Arc::new(new[..middle].to_vec()),
            Self::Beginning => {
                Arc::new(new[..middle].iter().copied().chain(old_at(middle..new.len())).collect())
            }
            Self::End => Arc::new(old_at(0..middle).chain(new[middle..].iter().copied()).collect()),
        }
    }
}

fn apply_entry_change(
    entries: &mut BTreeMap<PathBuf, Id>,
    from: Option<&Path>,
    to: Option<&(PathBuf, Id)>,
) {
    if let Some(from) = from {
        entries.remove(from);
    }
    if let Some((name, id)) = to {
        entries.insert(name.clone(), *id);
    }
}

/// Returns subsets of `count` things: all subsets of a few; else none, all, each alone, all but
/// each, and all before each.
fn subsets(count: usize) -> BTreeSet<BTreeSet<usize>> {
    if count <= MAX_EXHAUSTIVE {
        return (0..1usize << count)
            .map(|bits| (0..count).filter(|at| bits >> at & 1 == 1).collect())
            .collect();
    }
    let one = |at: usize| {
        [BTreeSet::from([at]), (0..count).filter(|other| *other != at).collect(), (0..at).collect()]
    };
    (0..count).flat_map(one).chain([(0..count).collect()]).collect()
}

/// Returns the same choice for all files; and each file different from the rest.
fn survival_choices(dirty: &[Id]) -> Vec<BTreeMap<Id, Survival>> {
    let all =
        |survival: Survival| dirty.iter().map(|id| (*id, survival)).collect::<BTreeMap<_, _>>();
    let mut found: Vec<_> = SURVIVALS.into_iter().map(all).collect();
    if dirty.len() > 1 {
        for (rest, one) in [(Survival::All, Survival::Nothing), (Survival::Nothing, Survival::All)]
        {
            found
                .extend(dirty.iter().map(|id| all(rest).into_iter().chain([(*id, one)]).collect()));
        }
    }
    found.dedup();
    found
}
