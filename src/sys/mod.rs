//! The system: the file system below a root directory, the clock, and the cores.
//!
//! All other modules use the file system and the clock only through this one, so that a test can
//! give them a directory and a time of its own.

mod access;
mod asynchronous;
mod checked_access;
mod clock;
mod cores;
mod dir;
mod error;
mod file_content;
mod kept;
mod matching;
mod ownership;
mod place;
mod privacy;
mod root;
mod uptime;
mod walk;

pub use asynchronous::block_on;

pub use clock::{Clock, FixedClock, SystemClock, local_stamp};
pub use cores::on_all_cores;
pub use dir::{Dir, Identity};
pub use error::{FileError, FileProblem};
pub use file_content::FileContent;
pub(crate) use file_content::read_regular;
pub use matching::MAX_MATCHES;
pub use ownership::{Ownership, WritableByOthers};
pub(crate) use ownership::{check_root_only, is_dir_writable_by_others};
pub use place::Place;
pub use privacy::keep_memory_private;
pub use root::Root;

pub use uptime::uptime;
pub use walk::{MAX_SYMLINKS, Step, Walk};
