//! The parser of the journal, for the fuzzer. It may not panic, and an intent that was parsed must
//! be the same after it is written and parsed again.

use super::journal::{Content, decode, encode};

/// Parses arbitrary bytes as a journal.
///
/// # Errors
/// When the intent differs after it is written and parsed again.
pub fn journal(bytes: &[u8]) -> Result<(), String> {
    let Content::Intent(intent) = decode(bytes) else { return Ok(()) };
    let again = decode(&encode(&intent)?);
    if again == Content::Intent(intent) { Ok(()) } else { Err(format!("{again:?}")) }
}

/// Parses arbitrary bytes as a journal's body, with the header that fits: the fuzzer would not
/// find the digest by itself.
///
/// # Errors
/// As [`journal`].
pub fn journal_of(body: &[u8]) -> Result<(), String> {
    journal(&super::journal::with_header(body))
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
        fn arbitrary_bytes_do_not_break_parser(
            bytes in prop::collection::vec(any::<u8>(), 0..400)
        ) {
            prop_assert_eq!(journal(&bytes), Ok(()));
            prop_assert_eq!(journal_of(&bytes), Ok(()));
        }

        #[test]
        fn similar_text_does_not_break_parser(text in SIMILAR) {
            prop_assert_eq!(journal_of(text.as_bytes()), Ok(()));
        }
    }
}
