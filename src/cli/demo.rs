//! placeholder
use super::arguments::DemoOptions;
use super::{Exit, Failure};
pub(super) fn run(_options: &DemoOptions) -> Result<Exit, Failure> {
    Ok(Exit::Fine)
}
