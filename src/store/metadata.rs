//! Copies the metadata of an old file to the new one: owner, mode, ACL, security label, user
//! attributes.

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

/// Whether an attribute is copied. Not security.ima and security.evm: they sign the content, and
/// the old signature would be wrong for the new one. Not security.capability: it makes no sense on
/// these files.
fn is_copied(name: &[u8]) -> bool {
    name == ACL.as_bytes() || name == LABEL.as_bytes() || name.starts_with(b"user.")
}

/// Gives `new` (still empty, and readable by its owner alone) the owner, mode and attributes of
/// `old`.
///
/// The order matters: the owner first, because changing it clears mode bits; then the ACL, because
/// the group bits of a mode are the owning group's only where there is no ACL; then the mode.
/// Access is never wider than the old file's.
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
        // The set-user-ID and set-group-ID bits mean nothing on these files, and the daemon's unit
        // is not allowed to set them.
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
    for name in names.into_iter().filter(|name| is_copied(name.as_encoded_bytes())) {
        let value = old.get_xattr(&name)?;
        // A label that the policy gave already is not set again, which may not be allowed.
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

/// Removes an ACL that the new file inherited from its directory and the old file does not have.
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
