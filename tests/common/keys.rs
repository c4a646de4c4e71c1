//! Private keys, and the search for them where they must not be: in every form in which a program may let one slip.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Node, walk};

/// So many characters of base64 in a row are no accident.
const TEXT: usize = 40;
/// So many bytes in a row neither.
const BYTES: usize = 16;

/// The private keys in some files, cut up for the search.
#[derive(Default)]
pub struct Keys {
    /// How many keys were found.
    pub count: usize,
    /// Windows of base64, of PEM and of `client-key-data`, and of hex.
    texts: BTreeMap<usize, HashSet<Vec<u8>>>,
    /// Windows of DER and of the secret numbers in it.
    bytes: HashSet<Vec<u8>>,
    /// The secret numbers as `{:?}` shows bytes.
    lists: HashSet<String>,
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
        let Some(text) = path.is_file().then(|| std::fs::read_to_string(path).ok()).flatten() else { return };
        for line in text.lines() {
            if let Some((_, data)) = line.split_once("client-key-data: ") {
                self.windows(TEXT, data.as_bytes());
                self.pems(&String::from_utf8(BASE64_STANDARD.decode(data.trim()).unwrap()).unwrap());
            }
        }
        self.pems(&text);
    }

    /// The keys among some PEM blocks.
    pub fn pems(&mut self, text: &str) {
        for block in text
            .split("-----BEGIN ")
            .skip(1)
            .filter(|block| block.split("-----").next().is_some_and(|label| label.ends_with("PRIVATE KEY")))
        {
            let body: String = block.lines().skip(1).take_while(|line| !line.starts_with('-')).map(str::trim).collect();
            let der = BASE64_STANDARD.decode(&body).unwrap();
            let mut parts = Parts::default();
            assert!(parts.take_apart(&der) && !parts.secret().is_empty(), "a key without a secret number");
            self.secret(&der, &parts.public());
            parts.secret().iter().for_each(|number| self.secret(number, &[]));
            self.count += 1;
        }
    }

    /// In every form, but for the windows that lie in something public, which a certificate has too.
    fn secret(&mut self, bytes: &[u8], public: &[Vec<u8>]) {
        let place = |part: &Vec<u8>| bytes.windows(part.len()).position(|window| window == part).map(|start| (start, start + part.len()));
        let public: Vec<_> = public.iter().filter_map(place).collect();
        let hidden = |from: usize, to: usize| !public.iter().any(|(start, end)| *start <= from && to <= *end);
        let starts = 0..=bytes.len().saturating_sub(BYTES);
        self.bytes.extend(starts.filter(|at| hidden(*at, at + BYTES)).map(|at| bytes[at..at + BYTES].to_vec()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let texts = self.texts.entry(TEXT).or_default();
        for hex in [hex.to_uppercase(), hex] {
            let shown = hex.as_bytes().windows(TEXT).enumerate();
            texts.extend(shown.filter(|(at, _)| hidden(at / 2, (at + TEXT).div_ceil(2))).map(|(_, text)| text.to_vec()));
        }
        // A text may begin at any byte.
        for skipped in 0..3 {
            let base64 = BASE64_STANDARD.encode(&bytes[skipped..]);
            let shown = base64.as_bytes().windows(TEXT).enumerate();
            let range = |at: usize| (skipped + at * 3 / 4, skipped + ((at + TEXT) * 3).div_ceil(4));
            texts.extend(shown.filter(|(at, _)| hidden(range(*at).0, range(*at).1)).map(|(_, text)| text.to_vec()));
        }
        for (index, part) in bytes.chunks_exact(BYTES).enumerate() {
            if hidden(index * BYTES, (index + 1) * BYTES) {
                self.lists.insert(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            }
        }
    }

    fn windows(&mut self, length: usize, text: &[u8]) {
        self.texts.entry(length).or_default().extend(text.windows(length).map(<[u8]>::to_vec));
    }

    /// A part of a key that is in there, if one is.
    pub fn found_in(&self, content: &[u8]) -> Option<String> {
        for (length, texts) in &self.texts {
            if let Some(found) = content.windows(*length).find(|window| texts.contains(*window)) {
                return Some(String::from_utf8_lossy(found).into_owned());
            }
        }
        if let Some(found) = content.windows(BYTES).find(|window| self.bytes.contains(*window)) {
            return Some(format!("{found:02x?}"));
        }
        // One line of `{:?}`, or one of `{:#?}`.
        let text: String = String::from_utf8_lossy(content).split_whitespace().collect::<Vec<_>>().join(" ");
        self.lists.iter().find(|list| text.contains(*list)).cloned()
    }
}

/// The long values in a key.
#[derive(Default)]
struct Parts {
    numbers: Vec<Vec<u8>>,
    points: Vec<Vec<u8>>,
}

impl Parts {
    /// An RSA key has several; its modulus, which comes first, is public.
    fn is_rsa(&self) -> bool {
        self.numbers.len() > 1
    }

    /// The scalar of an elliptic curve; or exponent, primes and what is computed from them.
    fn secret(&self) -> &[Vec<u8>] {
        &self.numbers[usize::from(self.is_rsa())..]
    }

    fn public(&self) -> Vec<Vec<u8>> {
        [&self.points[..], &self.numbers[..usize::from(self.is_rsa())]].concat()
    }

    /// Takes apart what is DER, also where it is wrapped in an octet string.
    fn take_apart(&mut self, mut der: &[u8]) -> bool {
        while let Some(tag) = der.first() {
            let Some((value, rest)) = value(der) else { return false };
            match tag {
                // Sequences, and what is tagged explicitly: the public key of an elliptic one.
                0x30 | 0xa0 | 0xa1 => {
                    self.take_apart(value);
                }
                0x02 if value.len() >= 32 => self.numbers.push(value.strip_prefix(&[0]).unwrap_or(value).to_vec()),
                0x03 if value.len() >= 32 => self.points.push(value[1..].to_vec()),
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
            let bytes = der.get(2..2 + usize::from(long & 0x7f)).filter(|bytes| bytes.len() <= 4)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
        }
    };
    der.get(head..)?.split_at_checked(length)
}
