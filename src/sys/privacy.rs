//! What others may see of this process's memory, in which private keys are.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// From now on there is no core dump of this process, not by way of a program that collects them
/// either, and nobody but root may look into its memory.
pub fn keep_memory_private() {
    // Neither can be refused: less is always allowed.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}
