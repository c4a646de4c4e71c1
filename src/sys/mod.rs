//! The machine: the file system below a root folder, and the clock.
//!
//! These are the only doors to the machine for everything above, so that a test can put a folder or a time of its own
//! behind them.

mod clock;
mod dir;
mod error;
mod root;

pub use clock::{Clock, FixedClock, SystemClock};
pub use dir::{Dir, Identity};
pub use error::{FileError, FileProblem};
pub(crate) use root::read_regular;
pub use root::{FileContent, Place, Root};
