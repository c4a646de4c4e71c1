//! PEM, the text form of certificates and keys: reads the blocks of a file and writes a block.
//!
//! This module knows only the armour. [`super::x509`] reads the content of a block.
//!
//! Files written by people and scripts are accepted: text around the blocks, carriage returns,
//! several blocks. An incomplete block is an error and not skipped: Go, which reads these files in
//! the end, would continue with the next block and so might use another certificate than the
//! intended one.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::model::Secret;

/// Ignores the bits after the last whole byte, as Go does.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// That of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The length of a line of base64.
const LINE_LENGTH: usize = 64;

/// One `-----BEGIN ...-----` to `-----END ...-----`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The label, such as `CERTIFICATE` or `RSA PRIVATE KEY`.
    pub label: String,
    /// The decoded content.
    pub der: Secret,
    /// Whether the content is encrypted with a passphrase, by its label or by the older `Proc-Type`
    /// header.
    pub encrypted: bool,
    /// Its range in the file, from the `-` of BEGIN to the end of the END line.
    pub range: Range<usize>,
}

impl Block {
    /// Whether the label is that of a private key, in any form.
    #[must_use]
    pub fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

/// Why a file is not PEM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Nothing but white space.
    #[error("the file is empty")]
    Empty,
    /// The binary form of a certificate or key.
    #[error(
        "the file looks like DER, the binary form; PEM is needed (openssl x509 -inform DER, or \
         openssl pkey -inform DER, converts it)"
    )]
    LooksLikeDer,
    /// A binary file with certificates and keys (RFC 7292).
    #[error(
        "the file is PKCS#12, which holds certificates and keys in binary form; PEM is needed \
         (umask 077; openssl pkcs12 -nodes -in FILE -out FILE.pem converts it)"
    )]
    LooksLikePkcs12,
    /// Certificates in the binary form of PKCS#7 (RFC 2315).
    #[error("{}", pkcs7("openssl pkcs7 -inform DER"))]
    LooksLikePkcs7,
    /// A mark of Windows before the first line, by which Go does not know that line.
    #[error(
        "the file begins with a byte order mark, so that Go does not find its first block (umask \
         077; tail -c +4 FILE >FILE.pem removes it)"
    )]
    ByteOrderMark,
    /// Bytes that no text contains. A power failure can leave a file of zeros.
    #[error("the file is not text; it is damaged, or it is no PEM file")]
    NotText,
    /// Text without a block.
    #[error("the file holds no PEM block: no line starts with -----BEGIN")]
    NoBlock,
    /// No END line, or another BEGIN before it.
    #[error(
        "the {label} block that begins on line {line} has no end; the file is cut off or damaged"
    )]
    Truncated {
        /// The label of the block.
        label: String,
        /// The line on which the block begins.
        line: usize,
    },
    /// The END line has another label.
    #[error("the {label} block that begins on line {line} ends as {end:?}")]
    WrongEnd {
        /// The label of the BEGIN line.
        label: String,
        /// The label of the END line.
        end: String,
        /// The line on which the block begins.
        line: usize,
    },
    /// Content that is not base64.
    #[error("the content of the {label} block that begins on line {line} is not base64")]
    BadBase64 {
        /// The label of the block.
        label: String,
        /// The line on which the block begins.
        line: usize,
    },
}

/// The text about a file of PKCS#7, with the command that reads it.
pub(super) fn pkcs7(command: &str) -> String {
    format!(
        "the file is PKCS#7, which holds certificates in another form; PEM is needed ({command} \
         -print_certs -in FILE -out FILE.pem converts it)"
    )
}

/// Returns the blocks of a file in their order, at least one.
///
/// # Errors
/// When the file contains no block, or an incomplete one; or when Go does not find its first one.
pub fn blocks(file: &[u8]) -> Result<Vec<Block>, PemError> {
    if file.strip_prefix(BYTE_ORDER_MARK).is_some_and(|text| text.starts_with(b"-----BEGIN ")) {
        return Err(PemError::ByteOrderMark);
    }
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    let mut end = 0;
    for (number, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let start = end;
        end += line.len();
        open = match (open, Boundary::of(line)) {
            (None, Some(Boundary::Begin(label))) => {
                Some(Open { label, line: number + 1, start, content: end })
            }
            (None, _) => None,
            (Some(block), None) => Some(block),
            (Some(block), Some(Boundary::Begin(_))) => return Err(block.truncated()),
            (Some(block), Some(Boundary::End(label))) => {
                blocks.push(block.close(file, start..end, label)?);
                None
            }
        };
    }
    match open {
        Some(block) => Err(block.truncated()),
        None if blocks.is_empty() => Err(guess_format(file)),
        None => Ok(blocks),
    }
}

/// Encodes a block as Go does: 64 columns, line feeds, and one at the end.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = Zeroizing::new(BASE64_STANDARD.encode(der));
    // Reserves the whole length: growing would leave copies of a key in memory.
    let mut text =
        String::with_capacity(base64.len() + base64.len() / LINE_LENGTH + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----");
    for (column, character) in base64.chars().enumerate() {
        if column % LINE_LENGTH == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// A line that begins or ends a block, with its label.
enum Boundary {
    Begin(Vec<u8>),
    End(Vec<u8>),
}

/// The longest label that is shown.
const MAX_LABEL: usize = 40;

/// A label as it is shown and compared. What can't be one is left out: in a file of one line, or
/// with other line ends, it is the content of the block.
fn shown(label: &[u8]) -> String {
    let is_usual = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let usual = label.iter().copied().take_while(is_usual).take(MAX_LABEL).map(char::from);
    let mut text: String = usual.collect();
    if text.len() < label.len() {
        text.push('\u{2026}');
    }
    text
}

impl Boundary {
    fn of(line: &[u8]) -> Option<Self> {
        let marked = line.trim_ascii_end().strip_prefix(b"-----")?.strip_suffix(b"-----")?;
        let label = |bytes: &[u8]| bytes.to_vec();
        match (marked.strip_prefix(b"BEGIN "), marked.strip_prefix(b"END ")) {
            (Some(begun), _) => Some(Self::Begin(label(begun))),
            (_, Some(ended)) => Some(Self::End(label(ended))),
            (None, None) => None,
        }
    }
}

/// A block without its END line so far.
struct Open {
    label: Vec<u8>,
    line: usize,
    start: usize,
    content: usize,
}

impl Open {
    fn close(self, file: &[u8], end_line: Range<usize>, end: Vec<u8>) -> Result<Block, PemError> {
        let label = shown(&self.label);
        if end != self.label {
            return Err(PemError::WrongEnd { label, end: shown(&end), line: self.line });
        }
        let content = file.get(self.content..end_line.start).unwrap_or_default();
        let (encrypted_by_header, base64) = split_headers(content);
        match LENIENT.decode(base64.as_slice()) {
            Ok(der) => Ok(Block {
                encrypted: encrypted_by_header || label == "ENCRYPTED PRIVATE KEY",
                label,
                der: Secret::new(der),
                range: self.start..end_line.end,
            }),
            Err(_) => Err(PemError::BadBase64 { label, line: self.line }),
        }
    }

    fn truncated(self) -> PemError {
        PemError::Truncated { label: shown(&self.label), line: self.line }
    }
}

/// Splits the content of a block into headers and base64 without white space, and returns whether a
/// header says that it is encrypted.
///
/// Base64 has no colon, so any line with one is a header.
fn split_headers(content: &[u8]) -> (bool, Zeroizing<Vec<u8>>) {
    let mut encrypted = false;
    let mut base64 = Zeroizing::new(Vec::with_capacity(content.len()));
    for line in content.split(|byte| *byte == b'\n') {
        if line.contains(&b':') {
            let header = String::from_utf8_lossy(line);
            encrypted |= header.starts_with("Proc-Type:") && header.contains("ENCRYPTED");
        } else {
            base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
    }
    (encrypted, base64)
}

/// Whether it begins as PKCS#12 does: a SEQUENCE of version 3 and a SEQUENCE that names the type of
/// what it holds, plain (`data`) or signed (`signedData`).
fn is_pkcs12(file: &[u8]) -> bool {
    let content = || content_type(in_sequence(file)?.strip_prefix(b"\x02\x01\x03")?);
    matches!(content(), Some(1 | 2))
}

/// The last number of a SEQUENCE's type in PKCS#7: 1 is `data`, 2 `signedData`.
fn content_type(bytes: &[u8]) -> Option<u8> {
    let kind = in_sequence(bytes)?.strip_prefix(b"\x06\x09")?;
    kind.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07")?.first().copied()
}

/// What follows the length of a SEQUENCE, which may be one of BER, without an end.
fn in_sequence(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x30, length, ..] if *length > 0x80 => bytes.get(2 + usize::from(*length - 0x80)..),
        [0x30, _, rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Guesses the format of a file without any block.
fn guess_format(file: &[u8]) -> PemError {
    match file.trim_ascii() {
        [] => PemError::Empty,
        pfx if is_pkcs12(pfx) => PemError::LooksLikePkcs12,
        signed if content_type(signed) == Some(2) => PemError::LooksLikePkcs7,
        // A SEQUENCE with a length of one or two more bytes: every certificate and nearly every
        // key.
        [0x30, 0x81 | 0x82, ..] => PemError::LooksLikeDer,
        // A short SEQUENCE with the length of the file: a key of a small curve.
        [0x30, length, rest @ ..] if usize::from(*length) == rest.len() && *length >= 0x20 => {
            PemError::LooksLikeDer
        }
        text if text.iter().any(|byte| *byte < b'\t' || *byte == 0x7f) => PemError::NotText,
        text if std::str::from_utf8(text).is_err() => PemError::NotText,
        _ => PemError::NoBlock,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_BLOCKS: &str =
        "-----BEGIN A-----\nAQID\n-----END A-----\n-----BEGIN B C-----\nBAUG\n-----END B C-----\n";

    fn contents(file: &str) -> Vec<(String, Vec<u8>)> {
        blocks(file.as_bytes())
            .unwrap()
            .into_iter()
            .map(|block| (block.label, block.der.expose().to_vec()))
            .collect()
    }

    fn both() -> Vec<(String, Vec<u8>)> {
        vec![("A".to_owned(), vec![1, 2, 3]), ("B C".to_owned(), vec![4, 5, 6])]
    }

    #[test]
    fn blocks_keep_order_and_position() {
        assert_eq!(contents(TWO_BLOCKS), both());
        let ranges: Vec<&str> = blocks(TWO_BLOCKS.as_bytes())
            .unwrap()
            .iter()
            .map(|block| &TWO_BLOCKS[block.range.clone()])
            .collect();
        assert_eq!(ranges.concat(), TWO_BLOCKS);
        assert!(ranges[1].starts_with("-----BEGIN B C"));
    }

    #[test]
    fn surrounding_text_and_white_space_are_ignored() {
        assert_eq!(contents(&TWO_BLOCKS.replace('\n', "\r\n")), both());
        assert_eq!(contents(&TWO_BLOCKS.replace('\n', "  \t\n")), both());
        assert_eq!(contents(&format!("subject=CN = x\n\n{TWO_BLOCKS}\n\n# the end\n")), both());
        assert_eq!(contents(TWO_BLOCKS.trim_end()), both());
        assert_eq!(
            contents("-----BEGIN A-----\nAQ\nID\n\n-----END A-----"),
            [("A".to_owned(), vec![1, 2, 3])]
        );
        assert_eq!(
            blocks(&[b"\xe9t\xe9\n", TWO_BLOCKS.as_bytes()].concat()).unwrap().len(),
            2,
            "a Latin-1 comment"
        );
    }

    #[test]
    fn encrypted_blocks_are_recognised_by_label_and_header() {
        let header = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
            AES-256-CBC,00\n\nAQID\n-----END RSA PRIVATE KEY-----\n";
        let block = &blocks(header.as_bytes()).unwrap()[0];
        assert!(block.encrypted);
        assert_eq!(block.der.expose(), [1, 2, 3]);
        let label = encode("ENCRYPTED PRIVATE KEY", &[1]);
        assert!(blocks(label.as_bytes()).unwrap()[0].encrypted);
        assert!(!blocks(TWO_BLOCKS.as_bytes()).unwrap()[0].encrypted);
    }

    #[test]
    fn file_without_pem_is_distinguished() {
        assert_eq!(blocks(b""), Err(PemError::Empty));
        assert_eq!(blocks(b" \r\n\n"), Err(PemError::Empty));
        assert_eq!(blocks(&[0; 512]), Err(PemError::NotText));
        assert_eq!(blocks(b"\x7fELF\x02\x01"), Err(PemError::NotText));
        assert_eq!(blocks(b"apiVersion: v1\n"), Err(PemError::NoBlock));
        assert_eq!(blocks(b"0 is not DER"), Err(PemError::NoBlock));
        let block = &blocks(include_bytes!(
            "../../tests/fixtures/kubeadm-1.20-rsa2048/etc/kubernetes/pki/ca.crt"
        ))
        .unwrap()[0];
        assert_eq!(blocks(block.der.expose()), Err(PemError::LooksLikeDer));
        let block = &blocks(include_bytes!(
            "../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/pki/ca.key"
        ))
        .unwrap()[0];
        assert_eq!(blocks(block.der.expose()), Err(PemError::LooksLikeDer));
    }

    /// That the commands of these texts work is tested with openssl, in tests/new_root.
    #[test]
    fn byte_order_mark_is_an_error_where_it_hides_a_block() {
        let marked = |text: &str| blocks(&[BYTE_ORDER_MARK, text.as_bytes()].concat());
        assert_eq!(marked(TWO_BLOCKS), Err(PemError::ByteOrderMark));
        assert_eq!(marked(&format!("a comment\n{TWO_BLOCKS}")).unwrap().len(), 2);
        assert_eq!(marked("apiVersion: v1\n"), Err(PemError::NoBlock));
    }

    #[test]
    fn pkcs7_is_recognised_with_lengths_of_der_and_of_ber() {
        let kind = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";
        for start in [b"\x30\x82\x01\x00".as_slice(), b"\x30\x20", b"\x30\x80"] {
            let file = |number: u8| [start, kind, &[number, 0xa0, 0x80, 0xff]].concat();
            assert_eq!(blocks(&file(2)), Err(PemError::LooksLikePkcs7));
            assert_ne!(blocks(&file(3)), Err(PemError::LooksLikePkcs7));
        }
    }

    #[test]
    fn incomplete_block_is_an_error() {
        let truncated =
            |label: &str, line| Err(PemError::Truncated { label: label.to_owned(), line });
        assert_eq!(blocks(TWO_BLOCKS.get(..80).unwrap().as_bytes()), truncated("B C", 4));
        assert_eq!(
            blocks(b"-----BEGIN A-----\nAQID\n-----BEGIN A-----\nAQID\n-----END A-----\n"),
            truncated("A", 1)
        );
        assert_eq!(blocks(b"-----BEGIN A-----"), truncated("A", 1));
        assert!(matches!(
            blocks(b"-----BEGIN A-----\nAQID\n-----END B-----\n"),
            Err(PemError::WrongEnd { line: 1, .. })
        ));
        let glued = TWO_BLOCKS.replace("-----END A-----\n", "-----END A-----");
        assert!(
            matches!(blocks(glued.as_bytes()), Err(PemError::WrongEnd { .. })),
            "files put together without a line feed"
        );
        for bad in ["AQ*D", "AQI", "AQID=", "A"] {
            let file = format!("x\n-----BEGIN A-----\n{bad}\n-----END A-----\n");
            assert_eq!(
                blocks(file.as_bytes()),
                Err(PemError::BadBase64 { label: "A".to_owned(), line: 2 }),
                "{bad}"
            );
        }
    }

    #[test]
    fn trailing_bits_are_ignored_as_in_go() {
        assert_eq!(
            contents("-----BEGIN A-----\nAR==\n-----END A-----\n"),
            [("A".to_owned(), vec![1])]
        );
    }

    #[test]
    fn encoding_wraps_at_64_columns_as_in_go() {
        let file =
            include_str!("../../tests/fixtures/kubeadm-1.20-rsa2048/etc/kubernetes/pki/ca.crt");
        assert_eq!(encode("CERTIFICATE", blocks(file.as_bytes()).unwrap()[0].der.expose()), file);
        let full_line = encode("A", &[0; 48]);
        assert_eq!(full_line, format!("-----BEGIN A-----\n{}\n-----END A-----\n", "A".repeat(64)));
    }

    #[test]
    fn control_characters_in_label_are_left_out() {
        let error = blocks(b"-----BEGIN CERTIFICATE\x1b[2J-----\n").unwrap_err();
        assert!(error.to_string().contains("the CERTIFICATE\u{2026} block"), "{error}");
    }

    /// A file that lost its line ends, or has those of an old Macintosh: everything in it is on the
    /// line of BEGIN.
    #[test]
    fn content_on_the_line_of_a_label_is_never_shown() {
        let key =
            include_str!("../../tests/fixtures/kubeadm-1.36-ecdsa-p256/etc/kubernetes/pki/ca.key");
        let content = key.lines().nth(1).unwrap();
        let marked = |label: &str| format!("-----BEGIN {label}-----\nAQID\n-----END A-----\n");
        for file in [
            key.replace('\n', ""),
            key.replace('\n', "\r"),
            key.replace('\n', " ") + "\n",
            format!("{}\n{key}", key.replace('\n', "")),
            marked(content),
            format!("-----BEGIN A-----\nAQID\n-----END {content}-----\n"),
            format!("-----BEGIN {content}-----\nAQID\n-----END {content}-----\n"),
        ] {
            let shown = format!("{:?}", blocks(file.as_bytes()));
            let is_shown = |part: &[u8]| shown.contains(std::str::from_utf8(part).unwrap());
            assert!(!content.as_bytes().windows(12).any(is_shown), "{shown}");
            let shown = crate::formats::x509::PrivateKey::from_pem(file.as_bytes());
            let shown = format!(
                "{:?} {}",
                shown,
                shown.as_ref().map_or_else(ToString::to_string, |_| String::new(),)
            );
            let is_shown = |part: &[u8]| shown.contains(std::str::from_utf8(part).unwrap());
            assert!(!content.as_bytes().windows(12).any(is_shown), "{shown}");
        }
    }

    #[test]
    fn errors_never_show_block_content() {
        let file = b"-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0*\n-----END RSA PRIVATE KEY-----\n";
        let error = blocks(file).unwrap_err();
        assert!(!error.to_string().contains("c2Vj") && !format!("{error:?}").contains("c2Vj"));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(400)
        })]

        #[test]
        fn arbitrary_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = blocks(&bytes);
            let armoured = [b"-----BEGIN A-----\n", bytes.as_slice(), b"\n-----END \
                A-----\n"].concat();
            let _ = blocks(&armoured);
        }

        #[test]
        fn encoded_block_is_read_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &der);
            prop_assert_eq!(contents(&text), vec![("CERTIFICATE".to_owned(), der)]);
        }
    }
}
