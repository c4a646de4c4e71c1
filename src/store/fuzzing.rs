//! The parsers of what lies in the state folder, for the fuzzer: none may panic, and what one
//! understands it writes so that it understands it again. What they return is nobody's business
//! outside.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use super::journal::{Content, decode, encode};
use super::small::parse;
use super::state::{ConfigurationFile, HoldFile};
use crate::model::ServiceMemory;

/// Any bytes may stand in the journal.
///
/// # Errors
/// When what it says is written in another way than it was understood.
pub fn journal(bytes: &[u8]) -> Result<(), String> {
    let Content::Intent(intent) = decode(bytes) else { return Ok(()) };
    let again = decode(&encode(&intent)?);
    if again == Content::Intent(intent) { Ok(()) } else { Err(format!("{again:?}")) }
}

/// The header that fits a body: the fuzzer would never find the digest by itself.
///
/// # Errors
/// As [`journal`].
pub fn journal_of(body: &[u8]) -> Result<(), String> {
    journal(&super::journal::with_header(body))
}

/// Any bytes may stand in a small file.
///
/// # Errors
/// When what it says is written in another way than it was understood.
pub fn small_files(bytes: &[u8]) -> Result<(), String> {
    there_and_back::<State>(bytes)?;
    there_and_back::<HoldFile>(bytes)?;
    there_and_back::<ConfigurationFile>(bytes)?;
    there_and_back::<ServiceMemory>(bytes)
}

/// The same of one kind of them.
///
/// # Errors
/// As [`small_files`].
pub fn there_and_back<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<(), String> {
    let Ok(content) = parse::<T>(bytes) else { return Ok(()) };
    let first = super::small::text(&content).map_err(|e| e.to_string())?;
    let again = super::small::text(&parse::<T>(&first)?).map_err(|e| e.to_string())?;
    if again == first { Ok(()) } else { Err(String::from_utf8_lossy(&again).into_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_the_parsers(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(journal(&bytes), Ok(()));
            prop_assert_eq!(journal_of(&bytes), Ok(()));
            prop_assert_eq!(small_files(&bytes), Ok(()));
        }

        #[test]
        fn no_text_that_looks_like_theirs_breaks_them(text in r#"\{"format": ?1(, ?"(until|files|appeared|last_seen|reason|unfinished)": ?("[0-9TZ:+-]{0,24}"|null|true|\[\]|\{\}|-?[0-9]{1,20})){0,4}\}"#) {
            prop_assert_eq!(small_files(text.as_bytes()), Ok(()));
            prop_assert_eq!(journal_of(text.as_bytes()), Ok(()));
        }
    }
}
