//! Files that an operator names on the command line: they are of this system, whatever `--root` is.

use std::io::{self, Read};

use zeroize::Zeroizing;

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
