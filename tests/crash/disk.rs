//! A disk that loses, with the power, what was not made durable: a model, fed with recorded calls.
//!
//! What is durable: the content of a file after its fsync, the entries of a folder after the
//! folder's. Of the rest, any part may be there: each entry that was made, renamed or removed, on
//! its own, in whatever order; of a file's content the old, the new, or a mixture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::walk;
use crate::strace::Call;

type Id = usize;

/// A file or folder.
#[derive(Clone, Debug)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File { durable: Arc<Vec<u8>>, present: Arc<Vec<u8>> },
    Folder { durable: BTreeMap<PathBuf, Id>, present: BTreeMap<PathBuf, Id> },
    Link(PathBuf),
}

/// An entry that was changed and is not durable yet: `from` is gone, `to` is there.
#[derive(Clone, Debug)]
struct Pending {
    folder: Id,
    from: Option<PathBuf>,
    to: Option<(PathBuf, Id)>,
}

/// What is left of the un-synced content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    All,
    Beginning,
    End,
    /// The size is there, the content is not.
    Zeros,
}

const KINDS: [Left; 5] = [Left::Nothing, Left::All, Left::Beginning, Left::End, Left::Zeros];

/// With so many open entries or fewer, every part of them is tried.
const FEW: usize = 5;

pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    pending: Vec<Pending>,
    /// Where the next write goes, by descriptor.
    positions: HashMap<String, usize>,
}

/// What the disk may hold after the power came back: files by their paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remains {
    files: BTreeMap<PathBuf, (u32, (u32, u32), What)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum What {
    File(Arc<Vec<u8>>),
    Folder,
    Link(PathBuf),
}

impl Remains {
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    /// Makes it real.
    pub fn put(&self, root: &Path) {
        for (path, (mode, owner, what)) in &self.files {
            let path = root.join(path);
            match what {
                What::File(content) => fs::write(&path, &**content).unwrap(),
                What::Folder if path == root.join("") => {}
                What::Folder => fs::create_dir(&path).unwrap(),
                What::Link(target) => {
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
    /// What is there when all is durable.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            nodes: Vec::new(),
            pending: Vec::new(),
            positions: HashMap::new(),
        };
        walk(root, &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            let kind = if found.is_dir() {
                Kind::Folder { durable: BTreeMap::new(), present: BTreeMap::new() }
            } else if found.is_symlink() {
                Kind::Link(fs::read_link(path).unwrap())
            } else {
                let content = Arc::new(fs::read(path).unwrap());
                Kind::File { durable: Arc::clone(&content), present: content }
            };
            let id = disk.add(found.mode() & 0o7777, kind);
            disk.nodes[id].owner = (found.uid(), found.gid());
            if path != root {
                let (folder, name) = disk.place(path);
                let Kind::Folder { durable, present } = &mut disk.nodes[folder].kind else {
                    panic!("no folder")
                };
                durable.insert(name.clone(), id);
                present.insert(name, id);
            }
        });
        disk
    }

    fn add(&mut self, mode: u32, kind: Kind) -> Id {
        self.nodes.push(Node { mode, owner: (0, 0), kind });
        self.nodes.len() - 1
    }

    /// The folder and the name of an entry.
    fn place(&self, path: &Path) -> (Id, PathBuf) {
        (self.find(path.parent().unwrap()).unwrap(), path.file_name().unwrap().into())
    }

    fn find(&self, path: &Path) -> Option<Id> {
        let below = path
            .strip_prefix(&self.root)
            .unwrap_or_else(|_| panic!("{} is not below the root", path.display()));
        below.components().try_fold(0, |folder, name| match &self.nodes[folder].kind {
            Kind::Folder { present, .. } => present.get(Path::new(name.as_os_str())).copied(),
            _ => None,
        })
    }

    /// Changes the entries of a folder, for now.
    fn change(&mut self, folder: Id, from: Option<PathBuf>, to: Option<(PathBuf, Id)>) {
        let Kind::Folder { present, .. } = &mut self.nodes[folder].kind else {
            panic!("no folder")
        };
        apply(present, from.as_deref(), to.as_ref());
        self.pending.push(Pending { folder, from, to });
    }

    fn content(&mut self, path: &Path) -> &mut Vec<u8> {
        let id = self.find(path).unwrap_or_else(|| panic!("{} is not there", path.display()));
        match &mut self.nodes[id].kind {
            Kind::File { present, .. } => Arc::make_mut(present),
            _ => panic!("{} is no file", path.display()),
        }
    }

    /// Does what a call did.
    pub fn apply(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => {
                let path = call.opened.clone().unwrap();
                self.positions.insert(call.result.to_string(), 0);
                if call.creates() && self.find(&path).is_none() {
                    let kind = Kind::File { durable: Arc::default(), present: Arc::default() };
                    let id = self.add(u32::try_from(call.number(3)).unwrap(), kind);
                    let (folder, name) = self.place(&path);
                    self.change(folder, None, Some((name, id)));
                }
            }
            "mkdirat" => {
                let kind = Kind::Folder { durable: BTreeMap::new(), present: BTreeMap::new() };
                let id = self.add(u32::try_from(call.number(2)).unwrap(), kind);
                let (folder, name) = self.place(&call.entry(0));
                self.change(folder, None, Some((name, id)));
            }
            "write" => {
                let descriptor = call.arguments[0].split('<').next().unwrap().to_owned();
                let at = self.positions[&descriptor];
                let length = self.write(call, at);
                self.positions.insert(descriptor, at + length);
            }
            "pwrite64" => drop(self.write(call, usize::try_from(call.number(3)).unwrap())),
            "ftruncate" => {
                self.content(&call.file(0)).resize(usize::try_from(call.number(1)).unwrap(), 0)
            }
            "fallocate" => {
                let end = usize::try_from(call.number(2) + call.number(3)).unwrap();
                let content = self.content(&call.file(0));
                content.resize(content.len().max(end), 0);
            }
            "fchmod" => {
                let id = self.find(&call.file(0)).unwrap();
                self.nodes[id].mode = u32::try_from(call.number(1)).unwrap();
            }
            "fchown" => {
                let id = self.find(&call.file(0)).unwrap();
                self.nodes[id].owner = (
                    u32::try_from(call.number(1)).unwrap(),
                    u32::try_from(call.number(2)).unwrap(),
                );
            }
            "renameat" => {
                let (folder, from) = self.place(&call.entry(0));
                let (to_folder, to) = self.place(&call.entry(2));
                assert_eq!(
                    folder, to_folder,
                    "the model knows no renames from one folder to another: {call:?}"
                );
                let id = self.find(&call.entry(0)).unwrap();
                self.change(folder, Some(from), Some((to, id)));
            }
            "unlinkat" => {
                let (folder, name) = self.place(&call.entry(0));
                self.change(folder, Some(name), None);
            }
            "fsync" | "fdatasync" => self.sync(&call.file(0)),
            "flock" | "fsetxattr" | "fremovexattr" => {}
            other => panic!("the model does not know {other}"),
        }
    }

    fn write(&mut self, call: &Call, at: usize) -> usize {
        let length = usize::try_from(call.result).unwrap();
        let bytes = call.bytes(1);
        let content = self.content(&call.file(0));
        content.resize(content.len().max(at + length), 0);
        content[at..at + length].copy_from_slice(&bytes[..length]);
        length
    }

    fn sync(&mut self, path: &Path) {
        let id = self.find(path).unwrap();
        match &mut self.nodes[id].kind {
            Kind::File { durable, present } => *durable = Arc::clone(present),
            Kind::Folder { durable, present } => {
                *durable = present.clone();
                self.pending.retain(|pending| pending.folder != id);
            }
            Kind::Link(_) => panic!("a link is not synced"),
        }
    }

    /// All that the disk may hold when the power goes now.
    pub fn remains(&self) -> Vec<Remains> {
        let dirty: Vec<Id> = (0..self.nodes.len())
            .filter(|id| matches!(&self.nodes[*id].kind, Kind::File { durable, present } if durable != present))
            .collect();
        let mut remains = Vec::new();
        for entries in parts(self.pending.len()) {
            let folders = self.folders(&entries);
            for contents in contents(&dirty) {
                let mut files = BTreeMap::new();
                self.collect(0, PathBuf::new(), &folders, &contents, &mut files);
                remains.push(Remains { files });
            }
        }
        remains
    }

    /// The folders' entries when these of the pending ones are durable.
    fn folders(&self, entries: &BTreeSet<usize>) -> BTreeMap<Id, BTreeMap<PathBuf, Id>> {
        let mut folders: BTreeMap<Id, BTreeMap<PathBuf, Id>> = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Kind::Folder { durable, .. } = &node.kind {
                folders.insert(id, durable.clone());
            }
        }
        for Pending { folder, from, to } in entries.iter().map(|at| &self.pending[*at]) {
            apply(folders.get_mut(folder).unwrap(), from.as_deref(), to.as_ref());
        }
        folders
    }

    fn collect(
        &self,
        id: Id,
        path: PathBuf,
        folders: &BTreeMap<Id, BTreeMap<PathBuf, Id>>,
        contents: &BTreeMap<Id, Left>,
        files: &mut BTreeMap<PathBuf, (u32, (u32, u32), What)>,
    ) {
        let Node { mode, owner, kind } = &self.nodes[id];
        let what = match kind {
            Kind::File { durable, present } => What::File(
                contents
                    .get(&id)
                    .map_or_else(|| Arc::clone(durable), |left| left.of(durable, present)),
            ),
            Kind::Folder { .. } => What::Folder,
            Kind::Link(target) => What::Link(target.clone()),
        };
        files.insert(path.clone(), (*mode, *owner, what));
        for (name, id) in folders.get(&id).into_iter().flatten() {
            self.collect(*id, path.join(name), folders, contents, files);
        }
    }
}

impl Left {
    fn of(self, old: &Arc<Vec<u8>>, new: &Arc<Vec<u8>>) -> Arc<Vec<u8>> {
        // Sectors are written whole, but a small file has one only: it is torn anywhere.
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

fn apply(entries: &mut BTreeMap<PathBuf, Id>, from: Option<&Path>, to: Option<&(PathBuf, Id)>) {
    if let Some(from) = from {
        entries.remove(from);
    }
    if let Some((name, id)) = to {
        entries.insert(name.clone(), *id);
    }
}

/// Parts of so many things: all parts of a few; else none, all, each alone, all but each, and the
/// first ones up to each.
fn parts(count: usize) -> BTreeSet<BTreeSet<usize>> {
    if count <= FEW {
        return (0..1usize << count)
            .map(|bits| (0..count).filter(|at| bits >> at & 1 == 1).collect())
            .collect();
    }
    let one = |at: usize| {
        [BTreeSet::from([at]), (0..count).filter(|other| *other != at).collect(), (0..at).collect()]
    };
    (0..count).flat_map(one).chain([(0..count).collect()]).collect()
}

/// All files alike; and each of them otherwise than the rest.
fn contents(dirty: &[Id]) -> Vec<BTreeMap<Id, Left>> {
    let all = |left: Left| dirty.iter().map(|id| (*id, left)).collect::<BTreeMap<_, _>>();
    let mut found: Vec<_> = KINDS.into_iter().map(all).collect();
    if dirty.len() > 1 {
        for (rest, one) in [(Left::All, Left::Nothing), (Left::Nothing, Left::All)] {
            found
                .extend(dirty.iter().map(|id| all(rest).into_iter().chain([(*id, one)]).collect()));
        }
    }
    found.dedup();
    found
}
