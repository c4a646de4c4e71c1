//! The intent of a root CA's rotation: what is to become of the root CA, and the level that the
//! nodes of the cluster work to.
//!
//! It is an object in the cluster, which many may edit. So it is signed with the keys of the roots
//! that it is about: a node uses nothing of it that no root of its own `ca.crt` has signed.

mod ca_pair;
mod roots;

pub use self::ca_pair::CaPair;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::x509::{Certificate, KeyError, PrivateKey, ReadError, certificates};
use crate::model::{Agreement, RootRelation, RotationLevel, Timestamp};

const FORMAT: u32 = 1;

/// What stands before the text in the message that is signed, so that the signature is good for
/// nothing else.
const CONTEXT: &[u8] = b"kubecertd rotation intent\0";

/// The intent of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationIntent {
    /// The UID of the namespace `kube-system`, which tells one cluster from another.
    pub cluster: String,
    /// The root that is replaced.
    pub old: Certificate,
    /// The root that replaces it.
    pub new: Certificate,
    /// A certificate for the new root's key that the old root signed.
    pub bridge: Option<Certificate>,
    /// A certificate for the old root's key that the new root signed.
    pub bridge_back: Option<Certificate>,
    /// The renewed certificates of other CAs of the control plane, in a renewal.
    pub others: Vec<Certificate>,
    /// The CA of the front proxy, where it is replaced too.
    pub front_proxy: Option<CaPair>,
    /// The level that the nodes work to now.
    pub agreement: Agreement,
    /// The level that they are to reach in the end.
    pub goal: RotationLevel,
    /// Whether an operator orders each level.
    pub is_stepwise: bool,
    /// Why it is paused, where it is.
    pub paused: Option<String>,
    /// The nodes that are left out, at an operator's word.
    pub without: Vec<String>,
    /// When it was started.
    pub started: Timestamp,
    /// The user and host that started it.
    pub operator: String,
}

/// An intent as it is kept in the cluster and on the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIntent {
    /// The text that is signed.
    pub document: String,
    /// The signatures, in base64, each by the key of a root that the intent is about.
    pub signatures: Vec<String>,
}

/// Why an intent is not used, or can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// It may be by any user that may edit objects of the cluster.
    #[error("no CA certificate of this node verifies its signature")]
    NotSigned,
    /// A root of this node signed it, and it is about others.
    #[error("the CA that signed it is neither the old nor the new one")]
    OtherSigner,
    /// It is not in the form of this version.
    #[error("it can't be read: {0}")]
    Malformed(String),
    /// A newer version wrote it.
    #[error("it has format {0}, and this version of kubecertd knows format {FORMAT}: update it")]
    Format(u32),
    /// A certificate in it can't be read.
    #[error("its certificate {name} can't be read: {reason}")]
    Certificate {
        /// Which one.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// Both roots have one key, and the new one can't take the place of the old one.
    #[error("its new CA has the key of the old one, and is no renewal of it")]
    NoRenewal,
    /// Other CAs come along with a new root, or the root is among them.
    #[error("it renews other CAs, which belong to a renewal of the root CA")]
    OtherCas,
    /// The CA of the front proxy is replaced without a new root, by one with its own key, or it is
    /// one of the roots.
    #[error("it replaces the CA of the front proxy, and names no two CAs of its own for that")]
    FrontProxy,
    /// A bridge is another certificate.
    #[error("its {0} does not connect its two CAs")]
    Bridge(&'static str),
    /// The levels are not beside one another, or not those of this kind of rotation.
    #[error("it goes from one level to another that is not next to it")]
    Levels,
    /// The library failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The text of an intent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster: String,
    generation: u64,
    from: RotationLevel,
    to: RotationLevel,
    goal: RotationLevel,
    stepwise: bool,
    paused: Option<String>,
    without: Vec<String>,
    started: Timestamp,
    operator: String,
    old: String,
    new: String,
    bridge: Option<String>,
    bridge_back: Option<String>,
    others: Vec<String>,
    front_proxy: Option<CaPairText>,
}

/// The certificates of a CA that is replaced.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaPairText {
    old: String,
    new: String,
}

/// The first thing that is read of a text.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl RotationIntent {
    /// Signs the intent with these keys: those of the two roots, as far as they are at hand.
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign(&self, keys: &[&PrivateKey]) -> Result<SignedIntent, IntentError> {
        let document = serde_json::to_string_pretty(&Document::from(self))
            .map_err(|e| IntentError::Malformed(e.to_string()))?;
        let message = message(&document);
        let sign = |key: &&PrivateKey| Ok(BASE64_STANDARD.encode(key.sign(&message)?));
        let signatures = keys.iter().map(sign).collect::<Result<_, KeyError>>()?;
        Ok(SignedIntent { document, signatures })
    }

    fn check(self) -> Result<Self, IntentError> {
        let Self { old, new, bridge, bridge_back, agreement: Agreement { from, to, .. }, .. } =
            &self;
        let is_renewal = self.is_renewal();
        let fits = new.relation_to_root(old, &[]) == RootRelation::Renewed;
        if is_renewal && !(fits && bridge.is_none() && bridge_back.is_none()) {
            return Err(IntentError::NoRenewal);
        }
        let connects = |bridge: &Option<Certificate>, of: &Certificate, by: &Certificate| {
            bridge.iter().all(|bridge| {
                bridge.public_key_der() == of.public_key_der()
                    && bridge.subject == of.subject
                    && bridge.is_signed_by(by)
            })
        };
        if !self.others.is_empty()
            && (!is_renewal || self.others.iter().any(|ca| ca.is_of_same_ca(old)))
        {
            return Err(IntentError::OtherCas);
        }
        let of_roots = [old, new].map(Certificate::public_key_der);
        let is_other_ca = |pair: &CaPair| {
            let keys = [&pair.old, &pair.new].map(Certificate::public_key_der);
            keys.iter().all(|key| !of_roots.contains(key)) && !pair.new.is_of_same_ca(&pair.old)
        };
        if self.front_proxy.as_ref().is_some_and(|pair| is_renewal || !is_other_ca(pair)) {
            return Err(IntentError::FrontProxy);
        }
        if !connects(bridge, new, old) {
            return Err(IntentError::Bridge("bridge"));
        }
        if !connects(bridge_back, old, new) {
            return Err(IntentError::Bridge("bridge back"));
        }
        let is_level = |level: RotationLevel| match is_renewal {
            true => matches!(level, RotationLevel::Rest | RotationLevel::Renewed),
            false => level != RotationLevel::Renewed,
        };
        if from.towards(*to) != *to || ![*from, *to, self.goal].into_iter().all(is_level) {
            return Err(IntentError::Levels);
        }
        Ok(self)
    }
}

impl SignedIntent {
    /// Reads the intent, where a root that this node trusts has signed it, and where that is one of
    /// the two that it is about.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn verify(&self, trusted: &[Certificate]) -> Result<RotationIntent, IntentError> {
        let message = message(&self.document);
        let signatures: Vec<_> =
            self.signatures.iter().filter_map(|one| BASE64_STANDARD.decode(one).ok()).collect();
        let signed = |root: &&Certificate| {
            signatures.iter().any(|signature| root.verifies_message(&message, signature))
        };
        let signers: Vec<_> = trusted.iter().filter(signed).collect();
        if signers.is_empty() {
            return Err(IntentError::NotSigned);
        }
        let intent = parse(&self.document)?;
        let is_about = |root: &&Certificate| {
            [&intent.old, &intent.new].iter().any(|one| one.is_of_same_ca(root))
        };
        if !signers.iter().any(is_about) {
            return Err(IntentError::OtherSigner);
        }
        intent.check()
    }
}

fn message(document: &str) -> Vec<u8> {
    [CONTEXT, document.as_bytes()].concat()
}

fn parse(document: &str) -> Result<RotationIntent, IntentError> {
    let malformed = |e: serde_json::Error| IntentError::Malformed(e.to_string());
    let Version { format } = serde_json::from_str(document).map_err(malformed)?;
    if format != FORMAT {
        return Err(IntentError::Format(format));
    }
    let text: Document = serde_json::from_str(document).map_err(malformed)?;
    let optional = |name, pem: Option<String>| pem.map(|pem| certificate(name, &pem)).transpose();
    Ok(RotationIntent {
        cluster: text.cluster,
        old: certificate("old", &text.old)?,
        new: certificate("new", &text.new)?,
        bridge: optional("bridge", text.bridge)?,
        bridge_back: optional("bridge_back", text.bridge_back)?,
        others: text
            .others
            .iter()
            .map(|pem| certificate("others", pem))
            .collect::<Result<_, _>>()?,
        front_proxy: text.front_proxy.as_ref().map(ca_pair).transpose()?,
        agreement: Agreement { generation: text.generation, from: text.from, to: text.to },
        goal: text.goal,
        is_stepwise: text.stepwise,
        paused: text.paused,
        without: text.without,
        started: text.started,
        operator: text.operator,
    })
}

fn ca_pair(text: &CaPairText) -> Result<CaPair, IntentError> {
    let certificate = |pem: &str| certificate("front_proxy", pem);
    Ok(CaPair { old: certificate(&text.old)?, new: certificate(&text.new)? })
}

fn certificate(name: &'static str, pem: &str) -> Result<Certificate, IntentError> {
    let failed = |reason: String| IntentError::Certificate { name, reason };
    let found = certificates(pem.as_bytes()).map_err(|e: ReadError| failed(e.to_string()))?;
    match <[Certificate; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(other) => Err(failed(format!("{} certificates in place of one", other.len()))),
    }
}

impl From<&RotationIntent> for Document {
    fn from(intent: &RotationIntent) -> Self {
        let Agreement { generation, from, to } = intent.agreement;
        Self {
            format: FORMAT,
            cluster: intent.cluster.clone(),
            generation,
            from,
            to,
            goal: intent.goal,
            stepwise: intent.is_stepwise,
            paused: intent.paused.clone(),
            without: intent.without.clone(),
            started: intent.started,
            operator: intent.operator.clone(),
            old: intent.old.to_pem(),
            new: intent.new.to_pem(),
            bridge: intent.bridge.as_ref().map(Certificate::to_pem),
            bridge_back: intent.bridge_back.as_ref().map(Certificate::to_pem),
            others: intent.others.iter().map(Certificate::to_pem).collect(),
            front_proxy: intent
                .front_proxy
                .as_ref()
                .map(|CaPair { old, new }| CaPairText { old: old.to_pem(), new: new.to_pem() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::x509::{
        DistinguishedName, KeyAlgorithm, NamePart, NewRoot, RootLifetime, Terms, bridge, new_root,
        random_serial, renew_root,
    };
    use crate::model::days;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn root(name: &str, algorithm: &KeyAlgorithm) -> NewRoot {
        let name = DistinguishedName::from_parts(&[(NamePart::CommonName, name)]).unwrap();
        let lifetime = RootLifetime { now: NOW, tolerated_skew: days(0), validity: days(3650) };
        new_root(&name, algorithm, &lifetime).unwrap()
    }

    fn bridge_of(new: &NewRoot, old: &NewRoot) -> Certificate {
        let terms = Terms {
            serial: random_serial().unwrap(),
            not_before: NOW,
            not_after: NOW.plus(days(9)),
        };
        let der = bridge(&new.certificate, &old.certificate, &old.key, &terms, NOW).unwrap();
        Certificate::from_der(&der).unwrap()
    }

    fn pair_of(old: &NewRoot, new: &NewRoot) -> CaPair {
        CaPair { old: old.certificate.clone(), new: new.certificate.clone() }
    }

    fn intent(old: &NewRoot, new: &NewRoot) -> RotationIntent {
        RotationIntent {
            cluster: "1e5b".to_owned(),
            old: old.certificate.clone(),
            new: new.certificate.clone(),
            bridge: Some(bridge_of(new, old)),
            bridge_back: Some(bridge_of(old, new)),
            others: Vec::new(),
            front_proxy: None,
            agreement: Agreement {
                generation: 7,
                from: RotationLevel::Staged,
                to: RotationLevel::Trusted,
            },
            goal: RotationLevel::Servers,
            is_stepwise: true,
            paused: Some("because".to_owned()),
            without: vec!["w7".to_owned()],
            started: NOW,
            operator: "root@cp1".to_owned(),
        }
    }

    #[test]
    fn intent_is_read_where_either_root_is_trusted() {
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
            let (old, new) = (root("old", &algorithm), root("new", &KeyAlgorithm::EcdsaP256));
            let intent = intent(&old, &new);
            let signed = intent.sign(&[&old.key, &new.key]).unwrap();
            for trusted in [
                vec![old.certificate.clone()],
                vec![new.certificate.clone()],
                vec![root("third", &algorithm).certificate, old.certificate.clone()],
            ] {
                assert_eq!(signed.verify(&trusted), Ok(intent.clone()));
            }
            let third = [root("third", &algorithm).certificate];
            assert_eq!(signed.verify(&third), Err(IntentError::NotSigned));
            // A node that was off when the new root was announced trusts the old one alone.
            let by_new = intent.sign(&[&new.key]).unwrap();
            let trusted = [old.certificate.clone()];
            assert_eq!(by_new.verify(&trusted), Err(IntentError::NotSigned));
        }
    }

    #[test]
    fn renewal_has_one_level_and_no_bridge() {
        let old = root("old", &KeyAlgorithm::EcdsaP256);
        let other = root("other", &KeyAlgorithm::EcdsaP256);
        let terms = Terms {
            serial: random_serial().unwrap(),
            not_before: NOW,
            not_after: NOW.plus(days(7_300)),
        };
        let der = renew_root(&old.certificate, &old.key, &terms).unwrap();
        let new = Certificate::from_der(&der).unwrap();
        let to = RotationLevel::Renewed;
        let good = RotationIntent {
            new,
            bridge: None,
            bridge_back: None,
            others: Vec::new(),
            agreement: Agreement { generation: 7, from: RotationLevel::Rest, to },
            goal: to,
            ..intent(&old, &other)
        };
        assert!(good.is_renewal());
        let read = |intent: &RotationIntent| {
            intent.sign(&[&old.key]).unwrap().verify(std::slice::from_ref(&old.certificate))
        };
        assert_eq!(read(&good), Ok(good.clone()));
        let trusted = [good.new.clone()];
        assert_eq!(good.sign(&[&old.key]).unwrap().verify(&trusted), Ok(good.clone()));
        let bridge = Some(bridge_of(&other, &old));
        let with_bridge = RotationIntent { bridge, ..good.clone() };
        assert_eq!(read(&with_bridge), Err(IntentError::NoRenewal));
        // Other CAs are renewed with the root, and never replaced with it.
        let with_others =
            |others, intent: &RotationIntent| RotationIntent { others, ..intent.clone() };
        let both = with_others(vec![other.certificate.clone()], &good);
        assert_eq!(read(&both), Ok(both.clone()));
        let twice = with_others(vec![good.new.clone()], &good);
        assert_eq!(read(&twice), Err(IntentError::OtherCas));
        let front_proxy = pair_of(&other, &root("more", &KeyAlgorithm::EcdsaP256));
        let renewed = RotationIntent { front_proxy: Some(front_proxy), ..good.clone() };
        assert_eq!(read(&renewed), Err(IntentError::FrontProxy));
        let replaced = with_others(vec![other.certificate.clone()], &intent(&old, &other));
        assert_eq!(read(&replaced), Err(IntentError::OtherCas));
        let goal = RotationLevel::Servers;
        assert_eq!(read(&RotationIntent { goal, ..good.clone() }), Err(IntentError::Levels));
        let replacement = RotationIntent { goal: to, ..intent(&old, &other) };
        assert_eq!(read(&replacement), Err(IntentError::Levels));
    }

    #[test]
    fn changed_intent_is_refused() {
        let (old, new) =
            (root("old", &KeyAlgorithm::EcdsaP256), root("new", &KeyAlgorithm::EcdsaP256));
        let signed = intent(&old, &new).sign(&[&old.key]).unwrap();
        let trusted = [old.certificate.clone()];
        for (from, to) in [
            ("\"generation\": 7", "\"generation\": 8"),
            ("\"trusted\"", "\"clients\""),
            ("\"w7\"", "\"cp2\""),
            ("root@cp1", "root@cp2"),
        ] {
            assert!(signed.document.contains(from), "{from}: {}", signed.document);
            let changed =
                SignedIntent { document: signed.document.replace(from, to), ..signed.clone() };
            assert_eq!(changed.verify(&trusted), Err(IntentError::NotSigned), "{from}");
        }
        let none = SignedIntent { signatures: Vec::new(), ..signed.clone() };
        assert_eq!(none.verify(&trusted), Err(IntentError::NotSigned));
        // The signature of the bare text is another one.
        let bare = BASE64_STANDARD.encode(old.key.sign(signed.document.as_bytes()).unwrap());
        let bare = SignedIntent { signatures: vec![bare], ..signed };
        assert_eq!(bare.verify(&trusted), Err(IntentError::NotSigned));
    }

    /// The holder of a key may still not order what makes no sense.
    #[test]
    fn intent_that_makes_no_sense_is_refused() {
        let [old, new, third] =
            ["old", "new", "third"].map(|name| root(name, &KeyAlgorithm::EcdsaP256));
        let trusted = [old.certificate.clone(), third.certificate.clone()];
        let good = intent(&old, &new);
        let verify = |intent: &RotationIntent, key| intent.sign(&[key]).unwrap().verify(&trusted);
        assert_eq!(verify(&good, &third.key), Err(IntentError::OtherSigner));
        let agreement = Agreement { to: RotationLevel::Servers, ..good.agreement };
        let changes: [(RotationIntent, IntentError); 4] = [
            (RotationIntent { new: good.old.clone(), ..good.clone() }, IntentError::NoRenewal),
            (
                RotationIntent { bridge: Some(bridge_of(&third, &old)), ..good.clone() },
                IntentError::Bridge("bridge"),
            ),
            (
                RotationIntent { bridge_back: Some(bridge_of(&old, &third)), ..good.clone() },
                IntentError::Bridge("bridge back"),
            ),
            (RotationIntent { agreement, ..good.clone() }, IntentError::Levels),
        ];
        for (changed, expected) in changes {
            assert_eq!(verify(&changed, &old.key), Err(expected));
        }
        let pair = |old: &NewRoot, new: &NewRoot| Some(pair_of(old, new));
        let fourth = root("fourth", &KeyAlgorithm::EcdsaP256);
        let with = RotationIntent { front_proxy: pair(&third, &fourth), ..good.clone() };
        assert_eq!(verify(&with, &old.key), Ok(with.clone()));
        // It has a CA of its own, and another one after that.
        for front_proxy in [pair(&third, &third), pair(&old, &fourth), pair(&third, &new)] {
            let changed = RotationIntent { front_proxy, ..good.clone() };
            assert_eq!(verify(&changed, &old.key), Err(IntentError::FrontProxy));
        }
        let signed = good.sign(&[&old.key]).unwrap();
        for (from, to, expected) in [
            ("\"format\": 1", "\"format\": 2", IntentError::Format(2)),
            ("\"format\": 1", "\"more\": 1, \"format\": 1", IntentError::Malformed(String::new())),
        ] {
            let document = signed.document.replace(from, to);
            let signature = BASE64_STANDARD.encode(old.key.sign(&message(&document)).unwrap());
            let found = SignedIntent { document, signatures: vec![signature] }.verify(&trusted);
            let same = std::mem::discriminant(&found.clone().unwrap_err());
            assert_eq!(same, std::mem::discriminant(&expected), "{found:?}");
        }
    }
}
