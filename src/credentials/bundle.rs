//! The new content of a combined PEM: certificate and key take the place of the old ones, and every
//! other byte stays, such as comments, DH parameters and further certificates.

use crate::formats::pem::{self, Block};
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, Secret};

/// What becomes of the certificates behind the first one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Further<'c> {
    /// They stay.
    Kept,
    /// These stay, and others go.
    Only(&'c [Certificate]),
    /// The new chain has its own.
    Replaced,
}

/// Why nothing in a combined PEM is replaced, where it holds several private keys.
pub(super) fn several_keys(path: &AbsolutePath, content: &Secret) -> Option<String> {
    let blocks = pem::blocks(content.expose()).unwrap_or_default();
    (blocks.iter().filter(|block| block.is_private_key()).count() > 1).then(|| {
        format!("{path}: holds several private keys, and which of them to replace is not known")
    })
}

/// Composes the new content. Where the old one has no key, it follows the certificate.
pub(super) fn replace(old: &[u8], chain: &str, further: Further<'_>, key: &Secret) -> Secret {
    let blocks = pem::blocks(old).unwrap_or_default();
    let mut new = Lines(Vec::with_capacity(old.len() + chain.len() + key.expose().len() + 2));
    let has_key = blocks.iter().any(Block::is_private_key);
    let chain = [chain.as_bytes(), if has_key { &[] } else { key.expose() }];
    let (mut end, mut has_chain) = (0, false);
    for block in &blocks {
        new.push(old.get(end..block.range.start).unwrap_or_default());
        end = block.range.end;
        match block.label.as_str() {
            "CERTIFICATE" if !has_chain => {
                has_chain = true;
                chain.iter().for_each(|part| new.push(part));
            }
            "CERTIFICATE" if !further.keeps(block) => {}
            // They belong to the old key.
            "EC PARAMETERS" => {}
            _ if block.is_private_key() => new.push(key.expose()),
            _ => new.push(old.get(block.range.clone()).unwrap_or_default()),
        }
    }
    if !has_chain {
        chain.iter().for_each(|part| new.push(part));
    }
    new.push(old.get(end..).unwrap_or_default());
    Secret::new(new.0)
}

impl Further<'_> {
    fn keeps(self, block: &Block) -> bool {
        match self {
            Self::Kept => true,
            Self::Only(kept) => kept.iter().any(|one| one.der() == block.der.expose()),
            Self::Replaced => false,
        }
    }
}

/// Parts of a text, each of which begins a line. The whole length is reserved: growing would leave
/// copies of a key in memory.
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, part: &[u8]) {
        if !part.is_empty() && self.0.last().is_some_and(|last| *last != b'\n') {
            self.0.push(b'\n');
        }
        self.0.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# kept\n-----BEGIN EC PARAMETERS-----\nAQ==\n-----END EC PARAMETERS-----\n\
        -----BEGIN EC PRIVATE KEY-----\nAg==\n-----END EC PRIVATE KEY-----\n# also\n\
        -----BEGIN CERTIFICATE-----\nAw==\n-----END CERTIFICATE-----\n\n\
        -----BEGIN CERTIFICATE-----\nBA==\n-----END CERTIFICATE-----\n\
        -----BEGIN DH PARAMETERS-----\nBQ==\n-----END DH PARAMETERS-----";

    fn replaced(old: &str, further: Further<'_>) -> String {
        let new = replace(old.as_bytes(), "CHAIN\n", further, &Secret::new(b"KEY\n".to_vec()));
        String::from_utf8(new.expose().to_vec()).unwrap()
    }

    #[test]
    fn everything_but_certificate_and_key_stays() {
        let further = "-----BEGIN CERTIFICATE-----\nBA==\n-----END CERTIFICATE-----\n";
        let kept = |further: &str| {
            format!(
                "# kept\nKEY\n# also\nCHAIN\n\n{further}-----BEGIN DH \
                 PARAMETERS-----\nBQ==\n-----END DH PARAMETERS-----"
            )
        };
        assert_eq!(replaced(OLD, Further::Kept), kept(further));
        assert_eq!(replaced(OLD, Further::Replaced), kept(""));
    }

    #[test]
    fn missing_key_follows_the_certificate() {
        let old = "-----BEGIN CERTIFICATE-----\nAw==\n-----END CERTIFICATE-----\n# end\n";
        assert_eq!(replaced(old, Further::Kept), "CHAIN\nKEY\n# end\n");
        assert_eq!(replaced("", Further::Kept), "CHAIN\nKEY\n");
    }
}
