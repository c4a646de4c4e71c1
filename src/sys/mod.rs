//! The system: the file system below a root directory, the clock, and the cores.
//!
//! All other modules use the file system and the clock only through this one, so that a test can
//! give them a directory and a time of its own.

mod asynchronous;
mod clock;
mod cores;
mod dir;
mod error;
mod matching;
mod ownership;
mod privacy;
mod root;
mod uptime;
mod walk;

pub use asynchronous::block_on;

pub use clock::{Clock, FixedClock, SystemClock, local_stamp};
pub use cores::on_all_cores;
pub use dir::{Dir, Identity};
pub use error::{FileError, FileProblem};
pub use matching::MAX_MATCHES;
pub use ownership::Ownership;
pub(crate) use ownership::check_root_only;
pub use privacy::keep_memory_private;
pub(crate) use root::read_regular;
pub use root::{FileContent, Place, Root};

pub use uptime::uptime;
pub use walk::{MAX_SYMLINKS, Step, Walk};
