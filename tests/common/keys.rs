//! Collects the private keys of a node and searches for them where they must not be, in every form
//! in which a program may disclose one.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Node, STATE, walk};

/// Length in characters of a base64 window that is no coincidence.
const TEXT_WINDOW: usize = 40;
/// Length in bytes of a binary window that is no coincidence.
const BYTE_WINDOW: usize = 16;

/// The private keys of some files, split into windows for the search.
#[derive(Default)]
pub struct Keys {
    /// Number of keys found.
    pub count: usize,
    /// Windows of base64, of base64 of PEM, and of hex.
    texts: HashSet<Vec<u8>>,
    /// Windows of DER and of its secret numbers.
    bytes: HashSet<Vec<u8>>,
    /// The secret numbers as `{:?}` prints bytes.
    lists: HashSet<String>,
    /// Windows of the secret numbers in little-endian order, as a library computes with them.
    limbs: HashSet<Vec<u8>>,
    /// The first key in each form.
    samples: Vec<Vec<u8>>,
}

impl Keys {
    /// Adds all keys of the node's files, those of the CAs included.
    pub fn collect(&mut self, node: &Node) {
        walk(&node.path("etc/kubernetes"), &mut |path| self.add_file(path));
        let kubelet = node.path("var/lib/kubelet/pki");
        if kubelet.is_dir() {
            walk(&kubelet, &mut |path| self.add_file(path));
        }
    }

    fn add_file(&mut self, path: &Path) {
        let Some(text) = path.is_file().then(|| std::fs::read_to_string(path).ok()).flatten()
        else {
            return;
        };
        for data in text.lines().filter_map(|line| Some(line.split_once("client-key-data: ")?.1)) {
            // A value that a test has damaged is not in use.
            let Ok(pem) = BASE64_STANDARD.decode(data.trim()) else { continue };
            self.add_pem_blocks(&String::from_utf8(pem).unwrap());
        }
        self.add_pem_blocks(&text);
    }

    /// Adds the keys of some PEM blocks.
    fn add_pem_blocks(&mut self, text: &str) {
        for block in text.split("-----BEGIN ").skip(1) {
            let Some((label, rest)) =
                block.split_once("-----\n").filter(|(label, _)| label.ends_with("PRIVATE KEY"))
            else {
                continue;
            };
            let body: String =
                rest.lines().take_while(|line| !line.starts_with('-')).map(str::trim).collect();
            // Half a key is secret too, but is not parsed.
            let Ok(der) = BASE64_STANDARD.decode(&body) else { continue };
            let mut parts = DerNumbers::default();
            if !parts.parse(&der) {
                continue;
            }
            let range = |number: &Vec<u8>| {
                let start = der.windows(number.len()).position(|window| window == number).unwrap();
                start..start + number.len()
            };
            let ranges: Vec<_> = parts.secret_numbers().iter().map(range).collect();
            assert!(!ranges.is_empty(), "a key without a secret number");
            for number in parts.secret_numbers() {
                let reversed: Vec<u8> = number.iter().rev().copied().collect();
                self.limbs.extend(reversed.windows(BYTE_WINDOW).map(<[u8]>::to_vec));
                if self.count == 0 {
                    self.samples.extend([number.clone(), reversed]);
                }
            }
            if self.count == 0 {
                self.samples.extend([
                    der.clone(),
                    body.clone().into_bytes(),
                    block.as_bytes().to_vec(),
                    BASE64_STANDARD.encode(block).into_bytes(),
                ]);
            }
            self.add_secret(&der, &ranges);
            // In client-key-data the PEM text is base64-encoded once more.
            let head = format!("-----BEGIN {label}-----\n");
            let offset = |byte: usize| head.len() + byte * 4 / 3 * 65 / 64;
            let texts: Vec<_> =
                ranges.iter().map(|range| offset(range.start)..offset(range.end)).collect();
            self.add_secret(format!("{head}{rest}").as_bytes(), &texts);
            self.count += 1;
        }
    }

    /// Adds the bytes of these ranges in every form. A window with few secret bytes is left out: it
    /// holds what every key has, or what is public.
    fn add_secret(&mut self, bytes: &[u8], ranges: &[Range<usize>]) {
        let is_secret = |from: usize, to: usize| {
            ranges.iter().any(|range| {
                range.end.min(to).saturating_sub(range.start.max(from)) >= BYTE_WINDOW / 2
            })
        };
        self.bytes.extend(
            bytes
                .windows(BYTE_WINDOW)
                .enumerate()
                .filter(|(at, _)| is_secret(*at, at + BYTE_WINDOW))
                .map(|(_, window)| window.to_vec()),
        );
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for hex in [hex.to_uppercase(), hex] {
            self.add_text(&hex, |at| is_secret(at / 2, (at + TEXT_WINDOW) / 2));
        }
        // Base64 may begin at any byte.
        for skipped in 0..3 {
            let base64 = BASE64_STANDARD.encode(&bytes[skipped..]);
            self.add_text(&base64, |at| {
                is_secret(skipped + at * 3 / 4, skipped + (at + TEXT_WINDOW) * 3 / 4)
            });
        }
        for (index, part) in bytes.chunks_exact(BYTE_WINDOW).enumerate() {
            if is_secret(index * BYTE_WINDOW, (index + 1) * BYTE_WINDOW) {
                self.lists.insert(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            }
        }
    }

    fn add_text(&mut self, text: &str, is_secret: impl Fn(usize) -> bool) {
        self.texts.extend(
            text.as_bytes()
                .windows(TEXT_WINDOW)
                .enumerate()
                .filter(|(at, _)| is_secret(*at))
                .map(|(_, window)| window.to_vec()),
        );
    }

    /// Returns the first file of the daemon that holds a part of a key. Backups are left out: they
    /// hold keys on purpose.
    pub fn found_in_files(&self, node: &Node) -> Option<String> {
        let mut found = None;
        let backups = node.path(STATE).join("backups");
        for dir in
            [STATE, "run/kubecertd"].map(|dir| node.path(dir)).iter().filter(|dir| dir.exists())
        {
            walk(dir, &mut |path| {
                if path.is_file() && !path.starts_with(&backups) {
                    let part = match std::fs::read(path) {
                        Ok(content) => self.found_in(&content),
                        // A temporary file that was renamed meanwhile is searched under its new
                        // name.
                        Err(error) => {
                            assert_eq!(
                                error.kind(),
                                std::io::ErrorKind::NotFound,
                                "{}: {error}",
                                path.display()
                            );
                            None
                        }
                    };
                    found = found.take().or(part.map(|part| format!("{}: {part}", path.display())));
                }
            });
        }
        found
    }

    /// The first key in every form that it may have in memory.
    pub fn samples(&self) -> &[Vec<u8>] {
        &self.samples
    }

    /// Prepares a search of large amounts of memory.
    pub fn search(&self) -> Search<'_> {
        let mut begins = vec![false; 1 << 24];
        for window in self.texts.iter().chain(&self.bytes).chain(&self.limbs) {
            begins[prefix_index(window)] = true;
        }
        Search { keys: self, begins }
    }

    /// Returns the first part of a key in `content`.
    pub fn found_in(&self, content: &[u8]) -> Option<String> {
        if let Some(found) =
            content.windows(TEXT_WINDOW).find(|window| self.texts.contains(*window))
        {
            return Some(String::from_utf8_lossy(found).into_owned());
        }
        if let Some(found) =
            content.windows(BYTE_WINDOW).find(|window| self.bytes.contains(*window))
        {
            return Some(format!("{found:02x?}"));
        }
        // Matches one line of `{:?}`, or several of `{:#?}`.
        let text: String =
            String::from_utf8_lossy(content).split_whitespace().collect::<Vec<_>>().join(" ");
        self.lists.iter().find(|list| text.contains(*list)).cloned()
    }
}

/// A search of memory for keys.
pub struct Search<'k> {
    keys: &'k Keys,
    /// Whether any window begins with these three bytes.
    begins: Vec<bool>,
}

fn prefix_index(window: &[u8]) -> usize {
    usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2])
}

impl Search<'_> {
    /// Returns the offset and form of each part of a key in `content`.
    pub fn find(&self, content: &[u8]) -> Vec<String> {
        let Keys { texts, bytes, limbs, .. } = self.keys;
        let mut found: Vec<String> = Vec::new();
        let mut after = 0;
        for (at, begin) in content.windows(3).enumerate() {
            if at < after || !self.begins[prefix_index(begin)] {
                continue;
            }
            let is_in = |set: &HashSet<Vec<u8>>, length: usize| {
                content.get(at..at + length).is_some_and(|window| set.contains(window))
            };
            let forms = [
                ("text", texts, TEXT_WINDOW),
                ("bytes", bytes, BYTE_WINDOW),
                ("limbs", limbs, BYTE_WINDOW),
            ];
            if let Some((form, _, length)) =
                forms.into_iter().find(|(_, set, length)| is_in(set, *length))
            {
                found.push(format!("{form} at {at:#x}"));
                after = at + length;
            }
        }
        found
    }
}

/// The long numbers of a key.
#[derive(Default)]
struct DerNumbers {
    numbers: Vec<Vec<u8>>,
}

impl DerNumbers {
    /// Returns the secret numbers: the scalar of an elliptic curve; or an RSA key's exponent,
    /// primes and the values computed from them. The RSA modulus, which comes first, is public.
    fn secret_numbers(&self) -> &[Vec<u8>] {
        &self.numbers[usize::from(self.numbers.len() > 1)..]
    }

    /// Collects the numbers of DER, also inside octet strings.
    fn parse(&mut self, mut der: &[u8]) -> bool {
        while let Some(tag) = der.first() {
            let Some((value, rest)) = split_value(der) else { return false };
            match tag {
                0x30 if !self.parse(value) => return false,
                0x02 if value.len() >= 32 => {
                    self.numbers.push(value.strip_prefix(&[0]).unwrap_or(value).to_vec())
                }
                0x04 if value.first() == Some(&0x30) && self.parse(value) => {}
                0x04 if value.len() >= 32 => self.numbers.push(value.to_vec()),
                _ => {}
            }
            der = rest;
        }
        true
    }
}

/// Splits DER into its first value and the rest.
fn split_value(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, head) = match *der.get(1)? {
        short @ 0..=127 => (usize::from(short), 2),
        long => {
            let bytes =
                der.get(2..2 + usize::from(long & 0x7f)).filter(|bytes| bytes.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
        }
    };
    der.get(head..)?.split_at_checked(length)
}
