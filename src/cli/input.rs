//! Files that an operator names on the command line: they are of this system, whatever `--root` is.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// The largest size of certificates and a key.
pub(super) const MAX_PEM_BYTES: usize = 1 << 20;

/// Reads a regular file of at most this many bytes. It may hold a key: nothing of it is left in
/// memory.
///
/// # Errors
/// When it can't be read, is not a regular file, or is larger. A pipe is refused without a wait.
pub(super) fn read_file(path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return read_limited(file, limit);
    }
    Err(io::Error::other(if kind.is_dir() {
        "is a directory, not a file"
    } else if kind.is_fifo() {
        "is a pipe, not a file: save what it gives in a file first, with umask 077"
    } else {
        "is a device, not a file"
    }))
}

/// Reads a source of at most this many bytes. It may hold a key: nothing of it is left in memory.
///
/// # Errors
/// When it can't be read, or is larger.
pub(super) fn read_limited(source: impl Read, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Reserves enough: growing would leave copies of a key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    source.take(u64::try_from(limit + 1).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("is larger than {limit} bytes")));
    }
    Ok(bytes)
}
