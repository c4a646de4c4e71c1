//! The machine: the file system below a root folder, the clock, and the cores.
//!
//! The first two are the only doors to the machine for everything above, so that a test can put a
//! folder or a time of its own behind them.

mod asynchronous;
mod clock;
mod cores;
mod dir;
mod error;
mod matching;
mod privacy;
mod root;
mod trust;
mod uptime;

pub use asynchronous::block_on;

pub use clock::{Clock, FixedClock, SystemClock, local_stamp};
pub use cores::on_all_cores;
pub use dir::{Dir, Identity};
pub use error::{FileError, FileProblem};
pub use matching::MOST_MATCHES;
pub use privacy::keep_memory_private;
pub(crate) use root::read_regular;
pub use root::{FileContent, Place, Root};
pub(crate) use trust::trusted;
pub use uptime::uptime;
