//! The trial: a new client certificate is presented to the server that verifies it, before it
//! replaces the old one.
//!
//! Only a server that refuses the new certificate and accepts the old one proves anything. Every
//! other result (the server is down, hangs, refuses both, or a proxy answers) must not prevent the
//! renewal of a credential.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::job::Job;
use crate::credentials::{Server, Stored, identity, identity_in, identity_of, server};
use crate::drivers::http::{self, Call, Trust};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::{Certificate, PrivateKey};
use crate::model::{Credential, CredentialName, Location, Material, Secret, TrialAt};
use crate::sys::{Root, block_on};

/// The time limit of one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit of all trials together.
const TRIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The header in which a front proxy names the user that it authenticated. kubeadm's manifest
/// configures the API server to read it.
const REMOTE_USER: &str = "X-Remote-User";

/// A new certificate, the chain behind it, and its key.
pub type New<'n> = (&'n Certificate, &'n [Certificate], &'n PrivateKey);

/// The result of the trial of a new certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    /// The server accepts it.
    Accepted,
    /// The trial proved nothing, for this reason.
    NotTried(String),
    /// The server refuses it with this answer, and accepts the old one.
    Refused(String),
}

/// A new certificate, the old one, and the server of the trial. A certificate that can't be tried
/// is a candidate too, so that the reason is reported.
#[derive(Debug)]
pub(super) struct Candidate {
    server: String,
    ready: Result<Ready, String>,
}

#[derive(Debug)]
struct Ready {
    target: TrialTarget,
    new: ClientIdentity,
    old: ClientIdentity,
}

/// The server and request of a trial.
#[derive(Debug)]
struct TrialTarget {
    server: String,
    url: String,
    user: Option<String>,
    trust: Trust,
    /// Whether status 403 means that the client was authenticated and may not do this. The API
    /// server answers 403 also to a client that it does not know.
    forbidden_is_known: bool,
}

impl Candidate {
    /// Makes the candidate of a job from the new contents of its files and the key in them; `None`
    /// where there is no trial. Without a usable old certificate there is nothing to compare with.
    pub fn new(
        root: &Root,
        job: &Job,
        stored: &Stored,
        contents: &[Secret],
        key: &PrivateKey,
    ) -> Option<Self> {
        let at = job.trial.as_ref()?;
        if job.facts.backup.is_some() || !matches!(job.facts.material, Material::Whole(_)) {
            return None;
        }
        Some(Self::of(root, at, &job.facts.credential.location, || {
            Ok((identity_in(stored, contents, key)?, identity_of(stored)?))
        }))
    }

    /// Makes a candidate whose new certificate is not in place yet.
    fn staged(
        root: &Root,
        at: &TrialAt,
        location: &Location,
        (certificate, chain, key): New<'_>,
        old: &Stored,
    ) -> Self {
        let identities = || Ok((identity(certificate, chain, key)?, identity_of(old)?));
        Self::of(root, at, location, identities)
    }

    /// Makes a candidate whose new certificate is in place already.
    pub fn in_place(
        root: &Root,
        at: &TrialAt,
        location: &Location,
        new: &Stored,
        old: &Stored,
    ) -> Self {
        Self::of(root, at, location, || Ok((identity_of(new)?, identity_of(old)?)))
    }

    fn of(
        root: &Root,
        at: &TrialAt,
        location: &Location,
        identities: impl FnOnce() -> Result<(ClientIdentity, ClientIdentity), String>,
    ) -> Self {
        let target = match target(root, at, location) {
            Ok(target) => target,
            Err(reason) => return Self { server: "its server".to_owned(), ready: Err(reason) },
        };
        let server = target.server.clone();
        let ready = identities().map(|(new, old)| Ready { target, new, old });
        Self { server, ready }
    }
}

fn target(root: &Root, at: &TrialAt, location: &Location) -> Result<TrialTarget, String> {
    match (at, location) {
        (TrialAt::Url { url, user }, _) => Ok(TrialTarget {
            server: server_of(url).to_owned(),
            url: url.clone(),
            user: user.clone(),
            // The server is on this node, and nothing secret is sent to it.
            trust: Trust::AnyCertificate,
            forbidden_is_known: true,
        }),
        (
            TrialAt::Kubeconfig(path),
            Location::Kubeconfig(file) | Location::KubeconfigUser { file, .. },
        ) => {
            let Server { url, trust, .. } = server(root, file)?;
            let (server, url) = (server_of(&url).to_owned(), format!("{url}{path}"));
            Ok(TrialTarget { server, url, user: None, trust, forbidden_is_known: false })
        }
        (TrialAt::Kubeconfig(_), Location::Pair { .. } | Location::Bundle(_)) => {
            Err("it is not in a kubeconfig, so its server is not known".to_owned())
        }
    }
}

/// `https://host:port` of an URL.
fn server_of(url: &str) -> &str {
    let rest = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(rest..).and_then(|after| after.find('/')).map_or(url.len(), |at| rest + at);
    url.get(..end).unwrap_or(url)
}

/// The results of all trials.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    /// The certificates that must not replace the old ones.
    pub refused: BTreeMap<CredentialName, Refusal>,
    /// Notes for the operator: one for each server and reason.
    pub notes: Vec<String>,
}

/// A server's refusal of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The server.
    pub server: String,
    /// Its answer.
    pub answer: String,
}

/// Tries one new certificate that is checked and not in place yet, and returns notes for the
/// operator. The old certificate must be usable. Blocks the calling thread.
///
/// # Errors
/// The refusal: the certificate must not replace the old one.
pub fn try_one(
    root: &Root,
    at: &TrialAt,
    credential: &Credential,
    new: New<'_>,
    old: &Stored,
) -> Result<Vec<String>, Refusal> {
    let candidate = Candidate::staged(root, at, &credential.location, new, old);
    let mut verdicts = try_out(vec![(credential.name.clone(), candidate)]);
    verdicts.refused.remove(&credential.name).map_or(Ok(verdicts.notes), Err)
}

/// Tries all candidates at the same time. Blocks the calling thread.
pub(super) fn try_out(candidates: Vec<(CredentialName, Candidate)>) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut not_tried: BTreeMap<(String, String), Vec<CredentialName>> = BTreeMap::new();
    let mut asked = Vec::new();
    for (name, Candidate { server, ready }) in candidates {
        match ready {
            Ok(ready) => asked.push((name, server, ready)),
            Err(reason) => not_tried.entry((server, reason)).or_default().push(name),
        }
    }
    for (name, server, trial) in ask_all(asked) {
        match trial {
            Trial::Accepted => {}
            Trial::NotTried(reason) => not_tried.entry((server, reason)).or_default().push(name),
            Trial::Refused(answer) => {
                drop(verdicts.refused.insert(name, Refusal { server, answer }))
            }
        }
    }
    verdicts.notes = not_tried
        .into_iter()
        .map(|((server, reason), names)| note(&server, &reason, &names))
        .collect();
    verdicts
}

fn note(server: &str, reason: &str, names: &[CredentialName]) -> String {
    let names: Vec<&str> = names.iter().map(CredentialName::as_str).collect();
    format!("renewed without a trial at {server}: {}; {reason}", names.join(", "))
}

type Asked = (CredentialName, String, Ready);
type Answered = (CredentialName, String, Trial);

fn ask_all(asked: Vec<Asked>) -> Vec<Answered> {
    if asked.is_empty() {
        return Vec::new();
    }
    let named: Vec<_> =
        asked.iter().map(|(name, server, _)| (name.clone(), server.clone())).collect();
    let mut trials = block_on(until_the_limit(asked)).unwrap_or_default();
    let missing =
        || Trial::NotTried(format!("no answer within {} seconds", TRIALS_TIMEOUT.as_secs()));
    named
        .into_iter()
        .enumerate()
        .map(|(at, (name, server))| (name, server, trials.remove(&at).unwrap_or_else(missing)))
        .collect()
}

async fn until_the_limit(asked: Vec<Asked>) -> BTreeMap<usize, Trial> {
    let deadline = Instant::now() + TRIALS_TIMEOUT;
    let mut tasks = JoinSet::new();
    for (at, (_, _, ready)) in asked.into_iter().enumerate() {
        tasks.spawn(async move { (at, ready.trial().await) });
    }
    let mut trials = BTreeMap::new();
    while let Ok(Some(ended)) = timeout_at(deadline, tasks.join_next()).await {
        trials.extend(ended);
    }
    trials
}

/// The meaning of one answer of a server.
enum TrialReply {
    Accepted,
    Refused(String),
    Nothing(String),
}

impl Ready {
    async fn trial(&self) -> Trial {
        let refused = match self.target.show(&self.new).await {
            TrialReply::Accepted => return Trial::Accepted,
            TrialReply::Nothing(reason) => return Trial::NotTried(reason),
            TrialReply::Refused(answer) => answer,
        };
        match self.target.show(&self.old).await {
            TrialReply::Accepted => Trial::Refused(refused),
            TrialReply::Refused(_) => {
                Trial::NotTried(format!("it refuses the old certificate too ({refused})"))
            }
            TrialReply::Nothing(reason) => Trial::NotTried(format!(
                "it answered {refused}, and did not answer with the old certificate: {reason}"
            )),
        }
    }
}

impl TrialTarget {
    async fn show(&self, identity: &ClientIdentity) -> TrialReply {
        let headers: Vec<_> = self.user.iter().map(|user| (REMOTE_USER, user.as_str())).collect();
        let call = Call { url: &self.url, headers: &headers, ..Call::default() };
        let answer = http::call(call, &self.trust, Some(identity), ANSWER_TIMEOUT).await;
        if let Some(refusal) = http::refusal(&answer) {
            return TrialReply::Refused(refusal);
        }
        match answer.map(|answer| answer.status) {
            Ok(200..=299) => TrialReply::Accepted,
            Ok(403) if self.forbidden_is_known => TrialReply::Accepted,
            Ok(403) => {
                TrialReply::Nothing("it answers as to an unknown user (status 403)".to_owned())
            }
            Ok(status) => TrialReply::Nothing(format!("it answers with status {status}")),
            Err(e) => TrialReply::Nothing(e.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
pub(super) mod tests;
