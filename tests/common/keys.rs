//! Private keys, and the search for them where they must not be: in every form in which a program
//! may let one slip.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Node, STATE, walk};

/// So many characters of base64 in a row are no accident.
const TEXT: usize = 40;
/// So many bytes in a row neither.
const BYTES: usize = 16;

/// The private keys in some files, cut up for the search.
#[derive(Default)]
pub struct Keys {
    /// How many keys were found.
    pub count: usize,
    /// Windows of base64, also of base64 of PEM, and of hex.
    texts: HashSet<Vec<u8>>,
    /// Windows of DER and of the secret numbers in it.
    bytes: HashSet<Vec<u8>>,
    /// The secret numbers as `{:?}` shows bytes.
    lists: HashSet<String>,
    /// Windows of the secret numbers as a library computes with them: the last byte first.
    limbs: HashSet<Vec<u8>>,
    /// The first key in each form.
    samples: Vec<Vec<u8>>,
}

impl Keys {
    /// Takes all keys that are in the node's files now, authorities' too.
    pub fn collect(&mut self, node: &Node) {
        walk(&node.path("etc/kubernetes"), &mut |path| self.file(path));
        let kubelet = node.path("var/lib/kubelet/pki");
        if kubelet.is_dir() {
            walk(&kubelet, &mut |path| self.file(path));
        }
    }

    fn file(&mut self, path: &Path) {
        let Some(text) = path.is_file().then(|| std::fs::read_to_string(path).ok()).flatten()
        else {
            return;
        };
        for data in text.lines().filter_map(|line| Some(line.split_once("client-key-data: ")?.1)) {
            // One that a test has spoilt is not in use.
            let Ok(pem) = BASE64_STANDARD.decode(data.trim()) else { continue };
            self.pems(&String::from_utf8(pem).unwrap());
        }
        self.pems(&text);
    }

    /// The keys among some PEM blocks.
    fn pems(&mut self, text: &str) {
        for block in text.split("-----BEGIN ").skip(1) {
            let Some((label, rest)) =
                block.split_once("-----\n").filter(|(label, _)| label.ends_with("PRIVATE KEY"))
            else {
                continue;
            };
            let body: String =
                rest.lines().take_while(|line| !line.starts_with('-')).map(str::trim).collect();
            // Half a key is a secret too, but is not taken apart.
            let Ok(der) = BASE64_STANDARD.decode(&body) else { continue };
            let mut parts = Parts::default();
            if !parts.take_apart(&der) {
                continue;
            }
            let place = |number: &Vec<u8>| {
                let start = der.windows(number.len()).position(|window| window == number).unwrap();
                start..start + number.len()
            };
            let places: Vec<_> = parts.secret().iter().map(place).collect();
            assert!(!places.is_empty(), "a key without a secret number");
            for number in parts.secret() {
                let turned: Vec<u8> = number.iter().rev().copied().collect();
                self.limbs.extend(turned.windows(BYTES).map(<[u8]>::to_vec));
                if self.count == 0 {
                    self.samples.extend([number.clone(), turned]);
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
            self.secret(&der, &places);
            // As client-key-data has it: a text in base64 once more.
            let head = format!("-----BEGIN {label}-----\n");
            let shown = |byte: usize| head.len() + byte * 4 / 3 * 65 / 64;
            let texts: Vec<_> =
                places.iter().map(|place| shown(place.start)..shown(place.end)).collect();
            self.secret(format!("{head}{rest}").as_bytes(), &texts);
            self.count += 1;
        }
    }

    /// What is at these places among other bytes, in every form. A window that has little of it has
    /// only what every key has, or what is public.
    fn secret(&mut self, bytes: &[u8], places: &[Range<usize>]) {
        let tells = |from: usize, to: usize| {
            places
                .iter()
                .any(|place| place.end.min(to).saturating_sub(place.start.max(from)) >= BYTES / 2)
        };
        self.bytes.extend(
            bytes
                .windows(BYTES)
                .enumerate()
                .filter(|(at, _)| tells(*at, at + BYTES))
                .map(|(_, window)| window.to_vec()),
        );
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for hex in [hex.to_uppercase(), hex] {
            self.text(&hex, |at| tells(at / 2, (at + TEXT) / 2));
        }
        // A text may begin at any byte.
        for skipped in 0..3 {
            let base64 = BASE64_STANDARD.encode(&bytes[skipped..]);
            self.text(&base64, |at| tells(skipped + at * 3 / 4, skipped + (at + TEXT) * 3 / 4));
        }
        for (index, part) in bytes.chunks_exact(BYTES).enumerate() {
            if tells(index * BYTES, (index + 1) * BYTES) {
                self.lists.insert(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            }
        }
    }

    fn text(&mut self, text: &str, tells: impl Fn(usize) -> bool) {
        self.texts.extend(
            text.as_bytes()
                .windows(TEXT)
                .enumerate()
                .filter(|(at, _)| tells(*at))
                .map(|(_, window)| window.to_vec()),
        );
    }

    /// A file of the daemon that has a part of a key in it, if one has; but for the backups, which
    /// hold keys on purpose.
    pub fn found_in_files(&self, node: &Node) -> Option<String> {
        let mut found = None;
        let backups = node.path(STATE).join("backups");
        for folder in [STATE, "run/kubecertd"]
            .map(|folder| node.path(folder))
            .iter()
            .filter(|folder| folder.exists())
        {
            walk(folder, &mut |path| {
                if path.is_file() && !path.starts_with(&backups) {
                    let part = match std::fs::read(path) {
                        Ok(content) => self.found_in(&content),
                        // What was written beside a file, and renamed over it by now, is looked at
                        // there.
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

    /// One key in every form in which it may be in memory.
    pub fn samples(&self) -> &[Vec<u8>] {
        &self.samples
    }

    /// For the search of memory, of which there is much.
    pub fn search(&self) -> Search<'_> {
        let mut begins = vec![false; 1 << 24];
        for window in self.texts.iter().chain(&self.bytes).chain(&self.limbs) {
            begins[start(window)] = true;
        }
        Search { keys: self, begins }
    }

    /// A part of a key that is in there, if one is.
    pub fn found_in(&self, content: &[u8]) -> Option<String> {
        if let Some(found) = content.windows(TEXT).find(|window| self.texts.contains(*window)) {
            return Some(String::from_utf8_lossy(found).into_owned());
        }
        if let Some(found) = content.windows(BYTES).find(|window| self.bytes.contains(*window)) {
            return Some(format!("{found:02x?}"));
        }
        // One line of `{:?}`, or one of `{:#?}`.
        let text: String =
            String::from_utf8_lossy(content).split_whitespace().collect::<Vec<_>>().join(" ");
        self.lists.iter().find(|list| text.contains(*list)).cloned()
    }
}

/// The search of memory for keys.
pub struct Search<'k> {
    keys: &'k Keys,
    /// Whether anything that is looked for begins with these three bytes.
    begins: Vec<bool>,
}

fn start(window: &[u8]) -> usize {
    usize::from(window[0]) << 16 | usize::from(window[1]) << 8 | usize::from(window[2])
}

impl Search<'_> {
    /// Where in some memory parts of keys are, and in which form.
    pub fn find(&self, content: &[u8]) -> Vec<String> {
        let Keys { texts, bytes, limbs, .. } = self.keys;
        let mut found: Vec<String> = Vec::new();
        let mut after = 0;
        for (at, begin) in content.windows(3).enumerate() {
            if at < after || !self.begins[start(begin)] {
                continue;
            }
            let is_in = |set: &HashSet<Vec<u8>>, length: usize| {
                content.get(at..at + length).is_some_and(|window| set.contains(window))
            };
            let forms = [("text", texts, TEXT), ("bytes", bytes, BYTES), ("limbs", limbs, BYTES)];
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

/// The long values in a key.
#[derive(Default)]
struct Parts {
    numbers: Vec<Vec<u8>>,
}

impl Parts {
    /// The scalar of an elliptic curve; or an RSA key's exponent, primes and what is computed from
    /// them. Its modulus, which comes first, is public.
    fn secret(&self) -> &[Vec<u8>] {
        &self.numbers[usize::from(self.numbers.len() > 1)..]
    }

    /// Takes apart what is DER, also where it is wrapped in an octet string.
    fn take_apart(&mut self, mut der: &[u8]) -> bool {
        while let Some(tag) = der.first() {
            let Some((value, rest)) = value(der) else { return false };
            match tag {
                0x30 if !self.take_apart(value) => return false,
                0x02 if value.len() >= 32 => {
                    self.numbers.push(value.strip_prefix(&[0]).unwrap_or(value).to_vec())
                }
                0x04 if value.first() == Some(&0x30) && self.take_apart(value) => {}
                0x04 if value.len() >= 32 => self.numbers.push(value.to_vec()),
                _ => {}
            }
            der = rest;
        }
        true
    }
}

/// The value that DER begins with, and what comes behind it.
fn value(der: &[u8]) -> Option<(&[u8], &[u8])> {
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
