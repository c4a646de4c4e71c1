//! Judges whether a file or a server that kubecertd does not manage trusts an authority, or has a
//! certificate that the authority signed.
//!
//! The caller reads the files and connects to the servers.

use crate::formats::kubeconfig::{Kubeconfig, PemSource};
use crate::formats::x509::{Certificate, Chain, certificates, chains};
use crate::model::Timestamp;

/// One finding as text, and whether it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it trusts the authority, or is signed by it, and is valid.
    pub well: bool,
    /// The finding.
    pub text: String,
}

/// The authority that files and servers are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The authority's name.
    pub name: &'a str,
    /// The certificates of its file.
    pub authority: &'a [Certificate],
    /// The time at which certificates have to be valid.
    pub now: Timestamp,
}

impl Question<'_> {
    /// Judges a file: a kubeconfig, or certificates in PEM. `refer` reads the files that a
    /// kubeconfig refers to.
    ///
    /// # Errors
    /// When it is neither, or a file that it refers to can't be read.
    pub fn about_file(
        &self,
        content: &[u8],
        refer: impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<Verdict>, String> {
        let neither = match certificates(content) {
            Ok(found) => return Ok(self.about_certificates(&found)),
            Err(e) => e,
        };
        match Kubeconfig::parse(content) {
            Ok(config) => self.about_kubeconfig(&config, refer),
            Err(e) => {
                Err(format!("it is neither certificates in PEM ({neither}) nor a kubeconfig ({e})"))
            }
        }
    }

    /// Judges the certificate that a server serves, with the intermediates that it serves behind
    /// it.
    #[must_use]
    pub fn about_server(&self, served: &Certificate, intermediates: &[Certificate]) -> Verdict {
        self.signed("the served certificate", served, intermediates)
    }

    fn about_kubeconfig(
        &self,
        config: &Kubeconfig,
        refer: impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<Verdict>, String> {
        let read = |source: &PemSource| match source {
            PemSource::Embedded(bytes) => Ok(Some(bytes.expose().to_vec())),
            PemSource::File(path) => refer(path).map(Some),
            PemSource::Missing => Ok(None),
        };
        let parsed =
            |what: &str, content: &[u8]| certificates(content).map_err(|e| format!("{what}: {e}"));
        let mut verdicts = Vec::new();
        let trusted =
            config.cluster.as_ref().map(|cluster| read(&cluster.authority)).transpose()?.flatten();
        match trusted {
            Some(content) => {
                verdicts.push(self.trusts(&parsed("certificate-authority", &content)?))
            }
            None => verdicts.push(Verdict {
                well: false,
                text: "it has no certificate-authority to verify its server by".to_owned(),
            }),
        }
        // A user may have a token in place of a certificate.
        if let Some(content) = read(&config.user.client.certificate)? {
            let leaf = parsed("client-certificate", &content)?;
            let chain = leaf.split_first();
            verdicts.extend(
                chain.map(|(leaf, behind)| self.signed("its client certificate", leaf, behind)),
            );
        }
        Ok(verdicts)
    }

    /// Judges a chain that begins with a certificate that is no CA as one certificate, and others
    /// each by itself.
    fn about_certificates(&self, found: &[Certificate]) -> Vec<Verdict> {
        let is_chain = found.iter().skip(1).all(|one| one.is_authority);
        match found.split_first() {
            Some((leaf, behind)) if !leaf.is_authority && is_chain => {
                vec![self.signed("it", leaf, behind)]
            }
            _ => found.iter().map(|one| self.about_certificate(one)).collect(),
        }
    }

    fn about_certificate(&self, found: &Certificate) -> Verdict {
        if found.is_authority {
            self.trusts(std::slice::from_ref(found))
        } else {
            self.signed("it", found, &[])
        }
    }

    /// Judges a list of trusted certificates. One certificate with the authority's name and key is
    /// enough to accept everything that the authority signed.
    fn trusts(&self, trusted: &[Certificate]) -> Verdict {
        let name = self.name;
        let same = |one: &Certificate, other: &Certificate| {
            one.subject == other.subject && one.public_key_der() == other.public_key_der()
        };
        let found = trusted.iter().filter(|one| self.authority.iter().any(|own| same(one, own)));
        // A valid one is enough.
        let Some(found) = found.max_by_key(|one| (one.is_valid_at(self.now), one.not_after)) else {
            let others = trusted
                .iter()
                .map(|one| format!("{}, SHA-256 {}", one.subject, one.fingerprint))
                .collect::<Vec<_>>()
                .join("; ");
            return Verdict {
                well: false,
                text: format!("it does not trust {name}, but {others}"),
            };
        };
        match self.validity_problem(found) {
            None => {
                Verdict { well: true, text: format!("it trusts {name} until {}", found.not_after) }
            }
            Some(trouble) => Verdict {
                well: false,
                text: format!("it trusts {name} by a certificate that {trouble}"),
            },
        }
    }

    fn signed(&self, what: &str, leaf: &Certificate, behind: &[Certificate]) -> Verdict {
        let (name, subject) = (self.name, &leaf.subject);
        let is_listed = self.authority.iter().any(|one| one.fingerprint == leaf.fingerprint);
        let found = chains(leaf, behind, self.authority.iter(), Certificate::is_signed_by);
        let chain = found.iter().max_by_key(|chain| chain.rank(self.now));
        let by = match chain {
            Some(Chain { intermediates, .. }) if !intermediates.is_empty() => {
                format!("{name} by way of {}", leaf.issuer)
            }
            None if !is_listed => {
                return Verdict { well: false, text: self.not_signed(what, leaf) };
            }
            _ => name.to_owned(),
        };
        let of_chain = chain.iter().flat_map(|chain| chain.authorities()).find_map(|one| {
            Some(format!("the CA certificate {} {}", one.subject, self.validity_problem(one)?))
        });
        let text = format!("{what} ({subject}) is signed by {by}");
        match self.validity_problem(leaf).or(of_chain) {
            None => {
                Verdict { well: true, text: format!("{text} and valid until {}", leaf.not_after) }
            }
            Some(trouble) => Verdict { well: false, text: format!("{text}, but {trouble}") },
        }
    }

    fn not_signed(&self, what: &str, leaf: &Certificate) -> String {
        let is_named = self.authority.iter().any(|authority| authority.subject == leaf.issuer);
        let but = match is_named {
            true => "another key with the same name".to_owned(),
            false => leaf.issuer.to_string(),
        };
        format!("{what} ({}) is not signed by {}, but by {but}", leaf.subject, self.name)
    }

    fn validity_problem(&self, certificate: &Certificate) -> Option<String> {
        match () {
            () if certificate.not_after < self.now => {
                Some(format!("expired at {}", certificate.not_after))
            }
            () if certificate.not_before > self.now => {
                Some(format!("is valid only from {}", certificate.not_before))
            }
            () => None,
        }
    }
}
