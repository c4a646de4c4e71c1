//! The parsers of the state files, for the fuzzer. No parser may panic, and content that was
//! parsed must be the same after it is written and parsed again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PassMemory;
use super::configuration::ConfigurationContent;
use super::file::{parse, to_json};
use super::hold::HoldContent;
use crate::model::ServiceMemory;

/// Parses arbitrary bytes as each kind of state file.
///
/// # Errors
/// When the content differs after it is written and parsed again.
pub fn state_files(bytes: &[u8]) -> Result<(), String> {
    round_trip::<PassMemory>(bytes)?;
    round_trip::<HoldContent>(bytes)?;
    round_trip::<ConfigurationContent>(bytes)?;
    round_trip::<ServiceMemory>(bytes)
}

/// Parses arbitrary bytes as one kind of state file.
///
/// # Errors
/// As [`state_files`].
pub fn round_trip<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<(), String> {
    let Ok(content) = parse::<T>(bytes) else { return Ok(()) };
    let first = to_json(&content).map_err(|e| e.to_string())?;
    let again = to_json(&parse::<T>(&first)?).map_err(|e| e.to_string())?;
    if again == first { Ok(()) } else { Err(String::from_utf8_lossy(&again).into_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text with the keys and values of these files.
    const SIMILAR: &str = concat!(
        r#"\{"format": ?1"#,
        r#"(, ?"(until|files|appeared|last_seen|reason|unfinished)": ?"#,
        r#"("[0-9TZ:+-]{0,24}"|null|true|\[\]|\{\}|-?[0-9]{1,20})){0,4}\}"#,
    );

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_break_parsers(
            bytes in prop::collection::vec(any::<u8>(), 0..400)
        ) {
            prop_assert_eq!(state_files(&bytes), Ok(()));
        }

        #[test]
        fn similar_text_does_not_break_parsers(text in SIMILAR) {
            prop_assert_eq!(state_files(text.as_bytes()), Ok(()));
        }
    }
}
