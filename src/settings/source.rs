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
        Origin::File { file: self.file.to_owned(), line: self.position(span.start).line }
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
            line: before.matches('\n').count() + 1,
            column: before.get(begin..).map_or(0, |head| head.chars().count()) + 1,
            content: self
                .text
                .get(begin..)
                .and_then(|rest| rest.lines().next())
                .unwrap_or_default(),
        }
    }
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
