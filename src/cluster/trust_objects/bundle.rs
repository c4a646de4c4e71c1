//! What becomes of a list of CA certificates in a rotation. Pure: bytes in, bytes out.

use crate::formats::pem::{Block, PemError, blocks};
use crate::formats::x509::Certificate;
use crate::model::{CaFile, RootCa, TrustedRoots};

/// The two roots of a rotation, and those of them that are to be trusted, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootChange {
    /// The root that signs before it.
    pub old: Certificate,
    /// The root that signs after it.
    pub new: Certificate,
    /// What is to be trusted.
    pub wanted: CaFile,
}

/// What a list has of the two roots, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleDecision {
    /// The roots that are in it.
    pub trusts: TrustedRoots,
    /// What is to be done.
    pub need: BundleNeed,
}

/// What is to be done with a list of CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleNeed {
    /// Nothing: it is as it is to be.
    Nothing,
    /// This is to be written.
    Write(Vec<u8>),
    /// Its owner has to add a root first.
    Addition,
}

/// Replaces the roots of a rotation in a list by the wanted ones, once, at the place of the first
/// of them. Every other byte stays. `None` for a list that has neither of the two.
///
/// # Errors
/// When the list is damaged, so that it is not certain what is in it.
pub fn replace_roots(
    bundle: &[u8],
    change: &RootChange,
) -> Result<Option<BundleDecision>, PemError> {
    let blocks = blocks_of(bundle)?;
    let Some(trusts) = change.found(&blocks) else { return Ok(None) };
    let wanted: String = change.wanted().iter().map(|root| root.to_pem()).collect();
    let content =
        without_roots(bundle, &blocks, wanted.as_bytes(), |block| change.root_of(block).is_some());
    let need = need(&blocks, content)?;
    Ok(Some(BundleDecision { trusts, need }))
}

/// Removes the roots from a list that are not wanted, once the wanted ones are in it: for a list to
/// which its owner adds by itself, and from which it removes nothing. `None` for a list that has
/// neither of the two.
///
/// # Errors
/// When the list is damaged, so that it is not certain what is in it.
pub fn reduce_roots(
    bundle: &[u8],
    change: &RootChange,
) -> Result<Option<BundleDecision>, PemError> {
    let blocks = blocks_of(bundle)?;
    let Some(trusts) = change.found(&blocks) else { return Ok(None) };
    let wanted = change.wanted.trust();
    let is_wanted = |root| wanted.has(root);
    let lacks = |root| is_wanted(root) && !trusts.has(root);
    if lacks(RootCa::Old) || lacks(RootCa::New) {
        return Ok(Some(BundleDecision { trusts, need: BundleNeed::Addition }));
    }
    let content = without_roots(bundle, &blocks, &[], |block| {
        change.root_of(block).is_some_and(|root| !is_wanted(root))
    });
    let need = need(&blocks, content)?;
    Ok(Some(BundleDecision { trusts, need }))
}

impl RootChange {
    /// The wanted roots, in their order.
    #[must_use]
    pub fn wanted(&self) -> Vec<&Certificate> {
        let Self { old, new, wanted } = self;
        match wanted {
            CaFile::Old => vec![old],
            CaFile::OldNew => vec![old, new],
            CaFile::NewOld => vec![new, old],
            CaFile::New => vec![new],
        }
    }

    /// Which root a block is. An earlier certificate of the old root counts as that: the root may
    /// have been renewed before, and the list forgotten.
    fn root_of(&self, block: &Block) -> Option<RootCa> {
        if block.label != "CERTIFICATE" {
            return None;
        }
        let der = block.der.expose();
        if der == self.new.der() {
            return Some(RootCa::New);
        }
        let is_earlier =
            || Certificate::from_der(der).is_ok_and(|found| found.is_of_same_ca(&self.old));
        (der == self.old.der() || is_earlier()).then_some(RootCa::Old)
    }

    fn found(&self, blocks: &[Block]) -> Option<TrustedRoots> {
        let has = |root| blocks.iter().any(|block| self.root_of(block) == Some(root));
        match (has(RootCa::Old), has(RootCa::New)) {
            (true, true) => Some(TrustedRoots::Both),
            (true, false) => Some(TrustedRoots::Old),
            (false, true) => Some(TrustedRoots::New),
            (false, false) => None,
        }
    }
}

/// The blocks of a list. A text without any is a list without certificates: some tools write a line
/// break and have another one fill it in later.
fn blocks_of(bundle: &[u8]) -> Result<Vec<Block>, PemError> {
    match blocks(bundle) {
        Err(PemError::Empty | PemError::NoBlock) => Ok(Vec::new()),
        found => found,
    }
}

/// The list without some of its blocks, and with others in place of the first of them.
fn without_roots(
    bundle: &[u8],
    blocks: &[Block],
    instead: &[u8],
    is_removed: impl Fn(&Block) -> bool,
) -> Vec<u8> {
    let part = |start: usize, end: usize| bundle.get(start..end).unwrap_or_default();
    let (mut content, mut kept_to, mut is_first) = (Vec::new(), 0, true);
    for block in blocks.iter().filter(|block| is_removed(block)) {
        content.extend_from_slice(part(kept_to, block.range.start));
        if std::mem::take(&mut is_first) {
            content.extend_from_slice(instead);
        }
        kept_to = block.range.end;
    }
    content.extend_from_slice(part(kept_to, bundle.len()));
    content
}

/// Whether a new content has other certificates than the old one, or others in their places.
fn need(before: &[Block], content: Vec<u8>) -> Result<BundleNeed, PemError> {
    let after = blocks_of(&content)?;
    let same = |(one, other): (&Block, &Block)| one.label == other.label && one.der == other.der;
    let is_same = before.len() == after.len() && before.iter().zip(&after).all(same);
    Ok(if is_same { BundleNeed::Nothing } else { BundleNeed::Write(content) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tls::servers::Authority;
    use crate::formats::x509::{PrivateKey, Terms, random_serial, renew_root};
    use crate::model::days;

    struct Roots {
        old: Certificate,
        new: Certificate,
        others: [Certificate; 2],
    }

    impl Roots {
        fn make() -> Self {
            let [old, new, a, b] =
                ["ca", "ca", "a", "b"].map(|name| Authority::new(name).certificate());
            Self { old, new, others: [a, b] }
        }

        fn change(&self, wanted: CaFile) -> RootChange {
            RootChange { old: self.old.clone(), new: self.new.clone(), wanted }
        }

        fn certificate(&self, name: char) -> &Certificate {
            match name {
                'o' => &self.old,
                'n' => &self.new,
                'a' => &self.others[0],
                _ => &self.others[1],
            }
        }

        fn bundle(&self, names: &str) -> String {
            names.chars().map(|name| self.certificate(name).to_pem()).collect()
        }

        fn names(&self, bundle: &[u8]) -> String {
            let name = |block: &Block| {
                let is = |name: &char| self.certificate(*name).der() == block.der.expose();
                ['o', 'n', 'a', 'b'].into_iter().find(is).unwrap()
            };
            blocks_of(bundle).unwrap().iter().map(name).collect()
        }

        fn replaced(&self, names: &str, wanted: CaFile) -> String {
            let (bundle, change) = (self.bundle(names), self.change(wanted));
            let decision = replace_roots(bundle.as_bytes(), &change).unwrap().unwrap();
            match decision.need {
                BundleNeed::Nothing => names.to_owned(),
                BundleNeed::Write(content) => {
                    let again = replace_roots(&content, &change).unwrap().unwrap();
                    assert_eq!(again.need, BundleNeed::Nothing, "{names}");
                    assert_eq!(again.trusts, wanted.trust());
                    assert_eq!(content, self.bundle(&self.names(&content)).as_bytes());
                    self.names(&content)
                }
                BundleNeed::Addition => panic!("{names}"),
            }
        }
    }

    #[test]
    fn wanted_roots_take_the_place_of_the_first() {
        let roots = Roots::make();
        for (before, wanted, after) in [
            ("o", CaFile::OldNew, "on"),
            ("aob", CaFile::OldNew, "aonb"),
            ("aob", CaFile::NewOld, "anob"),
            ("onab", CaFile::NewOld, "noab"),
            ("aonb", CaFile::OldNew, "aonb"),
            ("oano", CaFile::OldNew, "ona"),
            ("onab", CaFile::New, "nab"),
            ("anbo", CaFile::New, "anb"),
            ("aon", CaFile::Old, "ao"),
            ("n", CaFile::Old, "o"),
            ("aab", CaFile::Old, "aab"),
            ("oo", CaFile::Old, "o"),
        ] {
            if before.contains(['o', 'n']) {
                assert_eq!(roots.replaced(before, wanted), after, "{before}");
            } else {
                let bundle = roots.bundle(before);
                assert_eq!(replace_roots(bundle.as_bytes(), &roots.change(wanted)), Ok(None));
            }
        }
    }

    #[test]
    fn other_bytes_stay() {
        let roots = Roots::make();
        let [old, new, a] = ['o', 'n', 'a'].map(|name| roots.certificate(name).to_pem());
        let a = a.replace('\n', "\r\n");
        let unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let end = "# the end\n-----BEGIN X-----\nAAAA\n-----END X-----";
        let before = format!("# mine\n{a}# old\n{old}\n{unreadable}{end}");
        let after = format!("# mine\n{a}# old\n{old}{new}\n{unreadable}{end}");
        let change = roots.change(CaFile::OldNew);
        let decision = replace_roots(before.as_bytes(), &change).unwrap().unwrap();
        let need = BundleNeed::Write(after.into_bytes());
        assert_eq!(decision, BundleDecision { trusts: TrustedRoots::Old, need });
    }

    #[test]
    fn other_form_of_the_same_certificates_is_no_change() {
        let roots = Roots::make();
        let bundle = roots.bundle("aon");
        for bundle in [bundle.replace('\n', "\r\n"), bundle.trim_end().to_owned()] {
            let decision = replace_roots(bundle.as_bytes(), &roots.change(CaFile::OldNew));
            assert_eq!(decision.unwrap().unwrap().need, BundleNeed::Nothing);
        }
    }

    #[test]
    fn only_the_unwanted_root_is_taken_out() {
        let roots = Roots::make();
        for (before, wanted, after) in [
            ("aonbo", CaFile::New, "anb"),
            ("anb", CaFile::New, "anb"),
            ("noa", CaFile::OldNew, "noa"),
            ("anno", CaFile::Old, "ao"),
        ] {
            let bundle = roots.bundle(before);
            let decision = reduce_roots(bundle.as_bytes(), &roots.change(wanted)).unwrap().unwrap();
            let found = match decision.need {
                BundleNeed::Nothing => before.to_owned(),
                BundleNeed::Write(content) => roots.names(&content),
                BundleNeed::Addition => panic!("{before}"),
            };
            assert_eq!(found, after);
        }
        for (before, wanted) in
            [("ao", CaFile::New), ("o", CaFile::OldNew), ("n", CaFile::Old), ("n", CaFile::NewOld)]
        {
            let bundle = roots.bundle(before);
            let decision = reduce_roots(bundle.as_bytes(), &roots.change(wanted)).unwrap().unwrap();
            assert_eq!(decision.need, BundleNeed::Addition, "{before}");
        }
        let change = roots.change(CaFile::New);
        assert_eq!(reduce_roots(roots.bundle("ab").as_bytes(), &change), Ok(None));
    }

    /// The root was renewed once before, and the list was forgotten; now it is renewed again.
    #[test]
    fn earlier_certificate_of_the_old_root_is_replaced_too() {
        let authority = Authority::new("ca");
        let first = authority.certificate();
        let key = PrivateKey::from_pem(authority.key_pem().as_bytes()).unwrap();
        let [old, new] = [days(400), days(800)].map(|later| {
            let not_before = first.not_before;
            let serial = random_serial().unwrap();
            let terms = Terms { serial, not_before, not_after: first.not_after.plus(later) };
            Certificate::from_der(&renew_root(&first, &key, &terms).unwrap()).unwrap()
        });
        let pem = |roots: &[&Certificate]| roots.iter().map(|one| one.to_pem()).collect::<String>();
        let other = Authority::new("ca").certificate();
        let change = RootChange { old: old.clone(), new: new.clone(), wanted: CaFile::New };
        for (before, after) in [
            (vec![&other, &first], vec![&other, &new]),
            (vec![&first, &old, &other], vec![&new, &other]),
            (vec![&old], vec![&new]),
        ] {
            let decision = replace_roots(pem(&before).as_bytes(), &change).unwrap().unwrap();
            assert_eq!(decision.need, BundleNeed::Write(pem(&after).into_bytes()));
        }
        let reduced = |before: &[&Certificate]| {
            reduce_roots(pem(before).as_bytes(), &change).unwrap().unwrap().need
        };
        assert_eq!(reduced(&[&first, &old]), BundleNeed::Addition);
        let need = BundleNeed::Write(pem(&[&new]).into_bytes());
        assert_eq!(reduced(&[&first, &old, &new]), need);
    }

    #[test]
    fn placeholder_is_no_bundle_and_damaged_one_is_an_error() {
        let roots = Roots::make();
        let change = roots.change(CaFile::OldNew);
        for text in ["", "\n", "none"] {
            assert_eq!(replace_roots(text.as_bytes(), &change), Ok(None));
            assert_eq!(reduce_roots(text.as_bytes(), &change), Ok(None));
        }
        let whole = roots.bundle("on");
        let cut = whole.get(..whole.len() - 40).unwrap();
        assert!(replace_roots(cut.as_bytes(), &change).is_err());
        assert!(reduce_roots(cut.as_bytes(), &change).is_err());
    }
}
