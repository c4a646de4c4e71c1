//! The output of a program: its beginning and its end.

use std::collections::VecDeque;
use std::fmt;

/// How many bytes are kept from the beginning, and from the end.
const KEPT_BYTES: usize = 4096;

/// The first and the last bytes that a program wrote to both its outputs, in their order; the rest
/// is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    first: Vec<u8>,
    last: VecDeque<u8>,
    omitted: u64,
}

impl Output {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) =
            bytes.split_at_checked(KEPT_BYTES - self.first.len()).unwrap_or((bytes, &[]));
        self.first.extend_from_slice(first);
        self.last.extend(rest);
        let surplus = self.last.len().saturating_sub(KEPT_BYTES);
        self.last.drain(..surplus);
        self.omitted = self.omitted.saturating_add(surplus as u64);
    }

    /// How many bytes are omitted in the middle.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The end of the output, on one line and without control characters, for quoting in an error;
    /// `None` where nothing was written.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        const SHOWN: usize = 300;
        let text = self.to_string();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = line.chars().count().saturating_sub(SHOWN);
        let end: String = line.chars().skip(skipped).filter(|c| !c.is_control()).collect();
        let dots = if skipped == 0 { "" } else { "..." };
        (!end.is_empty()).then(|| format!("{dots}{end}"))
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// Shows the text, with a note where something is omitted. Control characters of the program are
/// kept.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last: Vec<u8> = self.last.iter().copied().collect();
        if self.omitted == 0 {
            return f.write_str(&String::from_utf8_lossy(&[self.first.as_slice(), &last].concat()));
        }
        let (first, last) = (String::from_utf8_lossy(&self.first), String::from_utf8_lossy(&last));
        write!(f, "{first}\n[{} bytes left out]\n{last}", self.omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8], by: usize) -> Output {
        let mut output = Output::default();
        bytes.chunks(by).for_each(|chunk| output.push(chunk));
        output
    }

    #[test]
    fn output_up_to_the_limit_is_kept() {
        let text = "aä\n".repeat(2048);
        for by in [1, 7, 4096, 9000] {
            assert_eq!(text.len(), 2 * KEPT_BYTES);
            assert_eq!(
                (of(text.as_bytes(), by).to_string(), of(text.as_bytes(), by).omitted()),
                (text.clone(), 0)
            );
        }
    }

    #[test]
    fn long_output_keeps_both_ends_and_counts_the_rest() {
        let text: Vec<u8> =
            [vec![b'a'; KEPT_BYTES], vec![b'x'; 5000], vec![b'z'; KEPT_BYTES]].concat();
        for by in [1, 7, 4096, 20_000] {
            let expected = format!(
                "{}\n[5000 bytes left out]\n{}",
                "a".repeat(KEPT_BYTES),
                "z".repeat(KEPT_BYTES)
            );
            assert_eq!(of(&text, by).to_string(), expected);
        }
    }

    #[test]
    fn empty_output_is_empty() {
        assert!(Output::default().is_empty());
        assert!(!of(b"\n", 1).is_empty());
    }
}
