//! Protection of this process's memory, which holds private keys.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// Disables core dumps of this process, those of a collecting program included, and lets only root
/// read its memory.
pub fn keep_memory_private() {
    // Neither can be refused: lower limits are always allowed.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}
