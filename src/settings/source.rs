//! One configuration file as text: reading TOML from it, and saying where in it something stands.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{SettingsError, with_suggestion};
use super::origin::Origin;

/// A file's name and text.
#[derive(Clone, Copy)]
pub(super) struct ConfigSource<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl ConfigSource<'_> {
    /// Reads the whole text.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, SettingsError> {
        toml::from_str(self.text).map_err(|error| self.error(&error))
    }

    /// Where a part of the text stands.
    pub fn origin(self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File { file: self.file.to_owned(), line: line_after(before) }
    }

    fn error(self, error: &toml::de::Error) -> SettingsError {
        let position = self.position(error.span().map_or(0, |span| span.start));
        SettingsError::Text {
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            excerpt: excerpt(position.content),
            message: with_suggestion(error.message()),
        }
    }

    fn position(&self, offset: usize) -> Position<'_> {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: line_after(before),
            column: before.get(begin..).map_or(0, |head| head.chars().count()) + 1,
            content: self
                .text
                .get(begin..)
                .and_then(|rest| rest.lines().next())
                .unwrap_or_default(),
        }
    }
}

/// The number of the line that follows a text. Counts in pieces, because a small counter is much
/// faster, and this is asked for every entry.
fn line_after(text: &str) -> usize {
    let newlines = |piece: &[u8]| -> u8 { piece.iter().map(|byte| u8::from(*byte == b'\n')).sum() };
    text.as_bytes().chunks(255).map(|piece| usize::from(newlines(piece))).sum::<usize>() + 1
}

struct Position<'a> {
    line: usize,
    column: usize,
    content: &'a str,
}

/// The line as it can be shown in a log: trimmed, without control characters and not longer than a
/// line should be.
fn excerpt(line: &str) -> String {
    line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}
