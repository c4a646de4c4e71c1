//! Finds what Go's YAML reader makes of a text otherwise than YAML 1.2 does.
//!
//! The components read kubeconfigs with sigs.k8s.io/yaml, which is a port of libyaml for YAML 1.1.
//! It refuses some texts that YAML 1.2 allows: a tab where a token could begin, JSON's `\/`,
//! and directives. A text that it refuses is of no use to any component. It
//! also takes more plain words for booleans and numbers. The rules are those of its scanner
//! (`yaml_parser_scan_to_next_token`, `yaml_parser_scan_plain_scalar`) and of its `resolve`.

use std::collections::BTreeSet;

use granit_parser::{Marker, ScalarStyle, Scanner, Span, StrInput, TokenType};

use super::KubeconfigError;

/// The length that Go allows for a key without `?`, in characters.
const MAX_KEY: usize = 1024;

/// How Go reads a text that it can read.
pub(super) struct GoReading {
    /// The first bytes of the plain scalars that are booleans or numbers.
    pub not_strings: BTreeSet<usize>,
}

impl GoReading {
    /// Reads a text that is valid YAML 1.2.
    ///
    /// # Errors
    /// [`KubeconfigError::NotForKubernetes`] when Go refuses the text.
    pub(super) fn of(text: &str) -> Result<Self, KubeconfigError> {
        let mut reader = Reader {
            text,
            flow_depth: 0,
            indents: Vec::new(),
            last: Last::LineBegin,
            end: 0,
            scalar: None,
            key_is_marked: false,
            not_strings: BTreeSet::new(),
        };
        for token in Scanner::new(StrInput::new(text)).map_while(Result::ok) {
            let (span, token) = token.into_parts();
            reader.token(span, &token)?;
        }
        reader.check_gap(text.len())?;
        Ok(Self { not_strings: reader.not_strings })
    }
}

fn refused(text: &str, at: usize, reason: &'static str) -> KubeconfigError {
    let before = text.get(..at).unwrap_or_default();
    let line = 1 + before.matches('\n').count() as u64;
    KubeconfigError::NotForKubernetes { line, reason }
}

/// The last token, as far as it says where tabs are allowed behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A token that a block mapping or sequence may follow in the same line, or none yet.
    LineBegin,
    /// A plain scalar in a block of this indentation. Go looks for its continuation in the next
    /// lines first.
    Plain { indent: usize },
    /// A block scalar, whose content is not looked at.
    Block,
    /// Any other token.
    Inline,
}

struct Reader<'t> {
    text: &'t str,
    flow_depth: usize,
    /// The columns of the open block mappings and sequences.
    indents: Vec<usize>,
    last: Last,
    /// The end of the last token in bytes.
    end: usize,
    /// The start of the last token, if it is a scalar.
    scalar: Option<Marker>,
    /// Whether `?` marks the key that comes before the next colon.
    key_is_marked: bool,
    not_strings: BTreeSet<usize>,
}

impl Reader<'_> {
    fn token(&mut self, span: Span, token: &TokenType<'_>) -> Result<(), KubeconfigError> {
        match token {
            TokenType::BlockSequenceStart | TokenType::BlockMappingStart => {
                self.indents.push(span.start.col());
            }
            TokenType::BlockEnd => drop(self.indents.pop()),
            TokenType::Comment(_) => return Ok(()),
            _ => {}
        }
        let Some(mut range) = span.byte_range() else { return Ok(()) };
        if matches!(token, TokenType::Value) {
            // The scanner gives the place of the colon, without its length.
            range.end = range.end.max(range.start + 1);
        }
        // Tokens that are not written.
        if range.is_empty() {
            return Ok(());
        }
        if matches!(token, TokenType::BlockSequenceStart | TokenType::BlockMappingStart) {
            return Ok(());
        }
        self.check_gap(range.start)?;
        if matches!(token, TokenType::Value) {
            self.check_key(span.start, range.start)?;
        }
        self.end = range.end;
        self.last = Last::Inline;
        self.scalar = matches!(token, TokenType::Scalar(..)).then_some(span.start);
        match token {
            TokenType::Key => self.key_is_marked = true,
            TokenType::Value => self.key_is_marked = false,
            _ => {}
        }
        match token {
            TokenType::VersionDirective(1, 1) => {}
            TokenType::VersionDirective(..) | TokenType::ReservedDirective(..) => {
                let reason = "a directive (%) that is not known to its YAML reader";
                return Err(refused(self.text, range.start, reason));
            }
            TokenType::FlowSequenceStart | TokenType::FlowMappingStart => self.flow_depth += 1,
            TokenType::FlowSequenceEnd | TokenType::FlowMappingEnd => {
                self.flow_depth = self.flow_depth.saturating_sub(1);
            }
            TokenType::BlockEntry | TokenType::Key => self.last = Last::LineBegin,
            TokenType::Scalar(ScalarStyle::Plain, value) => {
                self.last = Last::Plain { indent: self.indents.last().map_or(0, |at| at + 1) };
                if is_other_than_string(value) {
                    self.not_strings.insert(range.start);
                }
                self.check_plain(value, range.start)?;
            }
            TokenType::Scalar(ScalarStyle::DoubleQuoted, _) => self.check_escapes(range.start)?,
            TokenType::Scalar(ScalarStyle::Literal | ScalarStyle::Folded, _) => {
                self.last = Last::Block;
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks the white space and comments between the last token and the next one, or the end.
    fn check_gap(&self, next: usize) -> Result<(), KubeconfigError> {
        let gap = self.text.get(self.end..next).unwrap_or_default();
        if self.last == Last::Block || !gap.contains('\t') {
            return Ok(());
        }
        let in_block = self.flow_depth == 0;
        let mut continued = match self.last {
            Last::Plain { indent } => Some(indent),
            _ => None,
        };
        let mut token_may_begin = in_block && self.last == Last::LineBegin;
        // `None` in the line of the last token.
        let mut column: Option<usize> = None;
        let mut in_comment = false;
        for (at, c) in gap.char_indices() {
            match c {
                '\n' | '\r' => {
                    column = Some(0);
                    token_may_begin = in_block;
                    in_comment = false;
                    continue;
                }
                _ if in_comment => {}
                '\t' => {
                    let is_refused = match (continued, column) {
                        (Some(indent), Some(column)) => column < indent,
                        (Some(_), None) => false,
                        (None, _) => token_may_begin,
                    };
                    if is_refused {
                        let reason = "a tab where YAML allows only spaces";
                        return Err(refused(self.text, self.end + at, reason));
                    }
                }
                ' ' => {}
                c => {
                    continued = None;
                    in_comment = c == '#';
                }
            }
            column = column.map(|column| column + 1);
        }
        Ok(())
    }

    /// Checks that a key is short and in one line with its colon.
    fn check_key(&self, colon: Marker, at: usize) -> Result<(), KubeconfigError> {
        let is_simple = |key: Marker| {
            key.line() == colon.line() && colon.index().saturating_sub(key.index()) <= MAX_KEY
        };
        match self.scalar.filter(|_| !self.key_is_marked) {
            Some(key) if !is_simple(key) => {
                Err(refused(self.text, at, "a key that is too long or not in one line"))
            }
            _ => Ok(()),
        }
    }

    fn check_plain(&self, plain: &str, start: usize) -> Result<(), KubeconfigError> {
        let reason = if is_not_finite(plain) {
            "a number that JSON does not have (quote it)"
        } else if self.flow_depth > 0 && plain.chars().skip(1).any(|c| c == '?') {
            "a question mark in a value inside [] or {} (quote the value)"
        } else {
            return Ok(());
        };
        Err(refused(self.text, start, reason))
    }

    fn check_escapes(&self, start: usize) -> Result<(), KubeconfigError> {
        let scalar = self.text.get(start..self.end).unwrap_or_default();
        let mut characters = scalar.char_indices();
        while let Some((at, c)) = characters.next() {
            if c != '\\' {
                continue;
            }
            let reason = match characters.next() {
                Some((_, '/')) => {
                    "the escape \\/, which its YAML reader does not know (write / alone)"
                }
                Some((at, 'u')) if is_surrogate(scalar.get(at + 1..at + 5)) => {
                    "half a character in an escape \\u (write the character itself)"
                }
                _ => continue,
            };
            return Err(refused(self.text, start + at, reason));
        }
        Ok(())
    }
}

/// Whether Go takes a plain scalar for a boolean or a number that YAML 1.2 takes for a string.
fn is_other_than_string(plain: &str) -> bool {
    let is_word = ["y", "yes", "n", "no", "on", "off"].iter().any(|word| {
        let title = plain.get(..1).is_some_and(|first| first.eq_ignore_ascii_case(&word[..1]))
            && plain.get(1..) == word.get(1..);
        title || plain == word.to_ascii_uppercase()
    });
    is_word || is_number(plain)
}

/// Whether Go takes a plain scalar for infinity or no number, which it can't convert to JSON.
fn is_not_finite(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(plain, ".nan" | ".NaN" | ".NAN")
}

/// Whether four hexadecimal digits are half of a character, in UTF-16.
fn is_surrogate(digits: Option<&str>) -> bool {
    let code = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    code.is_some_and(|code| (0xd800..=0xdfff).contains(&code))
}

/// Numbers may have underscores, and a 0 before them makes them octal.
fn is_number(plain: &str) -> bool {
    if !plain.starts_with(['+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return false;
    }
    let digits = plain.replace('_', "");
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    let with_base = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    match with_base.iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, *base))) {
        Some((rest, base)) => !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)),
        None => {
            digits.contains(|c: char| c.is_ascii_digit())
                && digits.bytes().all(|c| c.is_ascii_digit() || b".eE+-".contains(&c))
                && digits.parse::<f64>().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_in(text: &str) -> Option<u64> {
        GoReading::of(text).err().and_then(|e| e.line())
    }

    /// The results are those of kubectl 1.32.
    #[test]
    fn tab_is_refused_where_go_refuses_it() {
        for (text, line) in [
            ("a: b\n\t\nc: d\n", Some(2)),
            ("a: b\nc: d\n\t\n", Some(3)),
            ("a: b\n\t", Some(2)),
            ("a:\n\t\n  b: c\n", Some(2)),
            ("a: b\n\t# c\nd: e\n", Some(2)),
            ("a: 'b'\n  \t\nc: d\n", Some(2)),
            ("-\ta\n", Some(1)),
            ("a: b\n  \t\nc: d\n", None),
            ("a: b\t\nc:\td\t# e\n", None),
            ("a: {\n\tb: c }\n", None),
            ("{\n\t\"a\": \"b\",\n\t\"c\": [\n\t\ttrue\n\t]\n}\n", None),
            ("# a\tb\na: |\n  b\n\tc: d\n", None),
            ("a: b # c\n\t\nd: e\n", Some(2)),
        ] {
            assert_eq!(refused_in(text), line, "{text:?}");
        }
    }

    #[test]
    fn escapes_keys_and_directives_are_refused_as_by_go() {
        for (text, line) in [
            (r#"{"a": "b\/c"}"#, Some(1)),
            ("a: 1\nb: \"\\/\"\n", Some(2)),
            (r#"{"a": "b\\/c", "d": "\"/"}"#, None),
            ("a: b\\/c\n", None),
            ("a: 'b\\/c'\n", None),
            ("{\"a\nb\": c}\n", Some(2)),
            ("{\"a\"\n: c}\n", Some(2)),
            ("? a\n: c\nd: e\n", None),
            ("%YAML 1.2\n---\na: b\n", Some(1)),
            ("%YAML 1.1\n---\na: b\n", None),
            ("\u{feff}a: ü🔑\n", None),
            (r#"{"a": "\ud83d\ude00"}"#, Some(1)),
            (r#"{"a": "\\ud83d", "b": "\u00e9"}"#, None),
            ("a: {b: https://c/d?e}\n", Some(1)),
            ("a: {b: 'https://c/d?e'}\nf: https://c/d?e\n", None),
            ("a: 1\nb: -.inf\n", Some(2)),
            ("a: .NaN\n", Some(1)),
            ("a: '.inf'\nb: inf\nc: NaN\n", None),
        ] {
            assert_eq!(refused_in(text), line, "{text:?}");
        }
    }

    #[test]
    fn word_is_a_boolean_or_number_as_in_go() {
        for word in ["y", "N", "Yes", "NO", "on", "OFF", "010", "1_000", "0b1", "089", "+1_0.5"] {
            let text = format!("a: {word}\n");
            assert_eq!(GoReading::of(&text).unwrap().not_strings.len(), 1, "{word}");
        }
        for word in ["yEs", "nope", "'on'", "\"010\"", "1:30", "2020-01-01", "10.0.0.1", "_1", "o"]
        {
            let text = format!("a: {word}\n");
            assert!(GoReading::of(&text).unwrap().not_strings.is_empty(), "{word}");
        }
    }
}
