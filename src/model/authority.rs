//! The certificates of an authority: a set of anchors, and at most one of them that signs.
//!
//! The file of an authority may hold several certificates while the authority is replaced. All of
//! them are anchors: a certificate that any of them signed verifies. New certificates are issued by
//! the signer alone.

use super::Timestamp;

/// A certificate with a first and a last valid second.
pub trait Dated {
    /// Its first valid second.
    fn not_before(&self) -> Timestamp;
    /// Its last valid second.
    fn not_after(&self) -> Timestamp;
}

/// The trust anchors of an authority, in the order of its file, and those of them that can be its
/// signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors<C> {
    anchors: Vec<Anchor<C>>,
}

/// A trust anchor of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor<C> {
    /// The certificate.
    pub certificate: C,
    /// Whether it can be the signer: it fits the authority's key. Where there is no usable key:
    /// whether it has the name and the public key of the file's first CA certificate.
    pub can_sign: bool,
}

impl<C: Dated> Anchors<C> {
    /// All anchors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.anchors.iter().map(|anchor| &anchor.certificate)
    }

    /// Those that can sign.
    pub fn signers(&self) -> impl Iterator<Item = &C> {
        self.anchors.iter().filter(|anchor| anchor.can_sign).map(|anchor| &anchor.certificate)
    }

    /// Those that can't sign: they are trusted, and have another key.
    pub fn others(&self) -> impl Iterator<Item = &C> {
        self.anchors.iter().filter(|anchor| !anchor.can_sign).map(|anchor| &anchor.certificate)
    }

    /// The certificate to sign with at a time, or the one whose dates say why nothing is signed. Of
    /// those that can sign it is the one that is valid then and expires last; where none is valid,
    /// the one that expires last. Of two that expire in the same second it is the first one.
    #[must_use]
    pub fn candidate(&self, now: Timestamp) -> Option<&C> {
        self.latest(now, |anchor| anchor.can_sign)
    }

    /// The anchor that is valid at a time and expires last, of those of which this is true: for
    /// example, of those that made a certificate's signature.
    #[must_use]
    pub fn latest_of(&self, now: Timestamp, is_true: impl Fn(&C) -> bool) -> Option<&C> {
        self.latest(now, |anchor| is_true(&anchor.certificate))
    }

    fn latest(&self, now: Timestamp, is_meant: impl Fn(&Anchor<C>) -> bool) -> Option<&C> {
        let meant = self.anchors.iter().filter(|anchor| is_meant(anchor));
        // Of equals max_by_key takes the last.
        meant.rev().map(|anchor| &anchor.certificate).max_by_key(|one| {
            let is_valid = one.not_before() <= now && now <= one.not_after();
            (is_valid, one.not_after())
        })
    }

    /// The same anchors with other facts about each.
    #[must_use]
    pub fn map<D>(&self, other: impl Fn(&C) -> D) -> Anchors<D> {
        let map = |anchor: &Anchor<C>| Anchor {
            certificate: other(&anchor.certificate),
            can_sign: anchor.can_sign,
        };
        Anchors { anchors: self.anchors.iter().map(map).collect() }
    }
}

impl<C> From<Vec<Anchor<C>>> for Anchors<C> {
    fn from(anchors: Vec<Anchor<C>>) -> Self {
        Self { anchors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, and the days from and to which it is valid.
    type Certificate = (&'static str, i64, i64);

    impl Dated for Certificate {
        fn not_before(&self) -> Timestamp {
            Timestamp::from_seconds(self.1)
        }

        fn not_after(&self) -> Timestamp {
            Timestamp::from_seconds(self.2)
        }
    }

    /// A certificate, and whether it can sign.
    type Entry = (Certificate, bool);

    fn signer(anchors: &[Entry]) -> Option<&'static str> {
        let anchor = |(certificate, can_sign): &Entry| Anchor {
            certificate: *certificate,
            can_sign: *can_sign,
        };
        let anchors = Anchors::from(anchors.iter().map(anchor).collect::<Vec<_>>());
        anchors.candidate(Timestamp::from_seconds(100)).map(|certificate| certificate.0)
    }

    #[test]
    fn signer_is_valid_and_expires_last() {
        let (old, new) = (("old", 0, 200), ("new", 50, 300));
        let (expired, future) = (("expired", 0, 99), ("future", 101, 900));
        let cases: [(&[Entry], Option<&str>); 9] = [
            (&[], None),
            (&[(old, false)], None),
            (&[(old, true), (new, true)], Some("new")),
            (&[(new, true), (old, true)], Some("new")),
            (&[(old, true), (new, false)], Some("old")),
            (&[(expired, true), (old, true)], Some("old")),
            (&[(future, true), (old, true)], Some("old")),
            (&[(expired, true), (future, true)], Some("future")),
            (&[(old, true), (("twin", 10, 200), true)], Some("old")),
        ];
        for (anchors, expected) in cases {
            assert_eq!(signer(anchors), expected, "{anchors:?}");
        }
    }
}
