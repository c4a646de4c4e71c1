//! A new file takes over what belongs to the old one besides its bytes: owner, mode, ACL, security
//! label, user attributes.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode};
use nix::unistd::{Gid, Uid};
use xattr::FileExt;

use crate::sys::FileError;

const ACL: &str = "system.posix_acl_access";

const LABEL: &str = "security.selinux";

/// The attributes that go over. Not security.ima and security.evm: they sign the content, and the
/// old signature would be wrong for the new one. Not security.capability: it makes no sense on
/// these files.
fn goes_over(name: &[u8]) -> bool {
    name == ACL.as_bytes() || name == LABEL.as_bytes() || name.starts_with(b"user.")
}

/// Gives `new` (still empty, and readable by its owner alone) the owner, mode and attributes of
/// `old`.
///
/// The order matters: owner first, since changing it clears mode bits; then the ACL, since the
/// group bits of a mode are the owning group's only where there is none; then the mode. At no
/// moment is access wider than the old file's.
pub(super) fn copy(old: &File, stat: &FileStat, new: &File, path: &Path) -> Result<(), FileError> {
    let own = nix::sys::stat::fstat(new).map_err(|e| FileError::from_errno(path, "examine", e))?;
    if (own.st_uid, own.st_gid) != (stat.st_uid, stat.st_gid) {
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        nix::unistd::fchown(new, Some(owner), Some(group))
            .map_err(|e| FileError::from_errno(path, "keep the owner", e))?;
    }
    copy_attributes(old, new)
        .map_err(|e| FileError::from_io(path, "keep the ACL and attributes", e))?;
    let set = |mode| nix::sys::stat::fchmod(new, Mode::from_bits_truncate(mode));
    let set = match set(stat.st_mode & 0o7777) {
        // The bits for programs mean nothing on these files, and the daemon's unit may not set
        // them.
        Err(Errno::EPERM) if stat.st_mode & 0o6000 != 0 => set(stat.st_mode & 0o1777),
        result => result,
    };
    set.map_err(|e| FileError::from_errno(path, "keep the mode", e))
}

fn copy_attributes(old: &File, new: &File) -> io::Result<()> {
    let names = match old.list_xattr() {
        Ok(names) => names,
        Err(e) if unsupported(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    let names: Vec<_> = names.collect();
    if !names.iter().any(|name| name == ACL) {
        remove_inherited_acl(new)?;
    }
    for name in names.into_iter().filter(|name| goes_over(name.as_encoded_bytes())) {
        let value = old.get_xattr(&name)?;
        // A label that the folder's policy gave already need not be set, which may not be allowed.
        if let Some(value) =
            value.filter(|value| new.get_xattr(&name).ok().flatten().as_ref() != Some(value))
        {
            match new.set_xattr(&name, &value) {
                // Where nothing reads labels, none can be given without CAP_SYS_ADMIN, which the
                // daemon's unit does not have.
                Err(e)
                    if name == LABEL
                        && e.raw_os_error().map(Errno::from_raw) == Some(Errno::EPERM) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// A folder may give its new files an ACL that the old one does not have.
fn remove_inherited_acl(new: &File) -> io::Result<()> {
    match new.get_xattr(ACL) {
        Ok(Some(_)) => new.remove_xattr(ACL),
        Err(e) if !unsupported(&e) => Err(e),
        _ => Ok(()),
    }
}

fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::ENOSYS))
}
