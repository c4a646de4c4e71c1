//! The trial: a new client certificate is shown to the server that looks at it, before it takes the
//! place of the old one.
//!
//! Only a server that refuses the new one and accepts the old one proves anything. Whatever else
//! happens (it is down, it hangs, it refuses both, something stands in between) must not keep a
//! credential from being renewed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::job::Job;
use crate::credentials::{Server, Stored, identity, identity_of, server};
use crate::drivers::http::{self, Call, HttpError, Trust};
use crate::drivers::tls::ClientIdentity;
use crate::formats::x509::{Certificate, PrivateKey};
use crate::model::{Credential, CredentialName, Location, Material, TrialAt};
use crate::sys::{Root, block_on};

/// How long one answer is waited for.
const LIMIT: Duration = Duration::from_secs(3);
/// How long all of them are.
const LIMIT_FOR_ALL: Duration = Duration::from_secs(5);

/// The header in which a front proxy names the user that it authenticated: what kubeadm's manifest
/// has the API server look at.
const REMOTE_USER: &str = "X-Remote-User";

/// What a server says of a new certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trial {
    /// It accepts it.
    Accepted,
    /// It said nothing that proves anything: the reason.
    NotTried(String),
    /// It refuses it, and accepts the old one: what it said.
    Refused(String),
}

/// A new certificate, the old one, and where they are shown. What can't be tried is one too, so
/// that it is told.
#[derive(Debug)]
pub(super) struct Candidate {
    server: String,
    ready: Result<Ready, String>,
}

#[derive(Debug)]
struct Ready {
    place: Place,
    new: ClientIdentity,
    old: ClientIdentity,
}

/// Where a certificate is shown.
#[derive(Debug)]
struct Place {
    server: String,
    url: String,
    user: Option<String>,
    trust: Trust,
    /// What "forbidden" means there: who it is was seen, and may not. The API server says so to
    /// those that it does not know.
    forbidden_is_known: bool,
}

impl Candidate {
    /// `None` for what is not tried anywhere. Without an old one that works there is nothing to
    /// lose, and nothing to compare with.
    pub fn new(
        root: &Root,
        job: &Job,
        stored: &Stored,
        certificate: &Certificate,
        key: &PrivateKey,
    ) -> Option<Self> {
        let at = job.trial.as_ref()?;
        if job.facts.backup.is_some() || !matches!(job.facts.material, Material::Whole(_)) {
            return None;
        }
        Some(Self::staged(root, at, &job.facts.credential.location, (certificate, key), stored))
    }

    /// One that is to take the place of another.
    fn staged(
        root: &Root,
        at: &TrialAt,
        location: &Location,
        new: (&Certificate, &PrivateKey),
        old: &Stored,
    ) -> Self {
        Self::of(root, at, location, || Ok((identity(new.0, new.1)?, identity_of(old)?)))
    }

    /// One that is in place already, and the one that it took the place of.
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
        let place = match place(root, at, location) {
            Ok(place) => place,
            Err(reason) => return Self { server: "its server".to_owned(), ready: Err(reason) },
        };
        let server = place.server.clone();
        let ready = identities().map(|(new, old)| Ready { place, new, old });
        Self { server, ready }
    }
}

fn place(root: &Root, at: &TrialAt, location: &Location) -> Result<Place, String> {
    match (at, location) {
        (TrialAt::Url { url, user }, _) => Ok(Place {
            server: server_of(url).to_owned(),
            url: url.clone(),
            user: user.clone(),
            // It is on this machine, and is sent nothing that is secret.
            trust: Trust::AnyCertificate,
            forbidden_is_known: true,
        }),
        (TrialAt::Kubeconfig(path), Location::Kubeconfig(file)) => {
            let Server { url, trust } = server(root, file)?;
            let (server, url) = (server_of(&url).to_owned(), format!("{url}{path}"));
            Ok(Place { server, url, user: None, trust, forbidden_is_known: false })
        }
        (TrialAt::Kubeconfig(_), Location::Pair { .. } | Location::Bundle(_)) => {
            Err("it is not in a kubeconfig, so that its server is not known".to_owned())
        }
    }
}

/// `https://host:port` of an URL.
fn server_of(url: &str) -> &str {
    let rest = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(rest..).and_then(|after| after.find('/')).map_or(url.len(), |at| rest + at);
    url.get(..end).unwrap_or(url)
}

/// What became of all trials.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    /// The certificates that must not take the place of the old ones.
    pub refused: BTreeMap<CredentialName, Refusal>,
    /// What an operator should know besides: one for each server and reason.
    pub notes: Vec<String>,
}

/// Who refused a certificate, and with what answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The server.
    pub server: String,
    /// What it said.
    pub answer: String,
}

/// Shows one new certificate that is checked and not in place yet; the old one works. What an
/// operator should know besides. To be called from a thread that may wait.
///
/// # Errors
/// The refusal: it must not take the place of the old one.
pub fn try_one(
    root: &Root,
    at: &TrialAt,
    credential: &Credential,
    new: (&Certificate, &PrivateKey),
    old: &Stored,
) -> Result<Vec<String>, Refusal> {
    let candidate = Candidate::staged(root, at, &credential.location, new, old);
    let mut verdicts = try_out(vec![(credential.name.clone(), candidate)]);
    verdicts.refused.remove(&credential.name).map_or(Ok(verdicts.notes), Err)
}

/// Tries all of them at the same time. To be called from a thread that may wait.
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
        || Trial::NotTried(format!("no answer within {} seconds", LIMIT_FOR_ALL.as_secs()));
    named
        .into_iter()
        .enumerate()
        .map(|(at, (name, server))| (name, server, trials.remove(&at).unwrap_or_else(missing)))
        .collect()
}

async fn until_the_limit(asked: Vec<Asked>) -> BTreeMap<usize, Trial> {
    let deadline = Instant::now() + LIMIT_FOR_ALL;
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

/// What one answer says.
enum Answer {
    Accepted,
    Refused(String),
    Nothing(String),
}

impl Ready {
    async fn trial(&self) -> Trial {
        let refused = match self.place.show(&self.new).await {
            Answer::Accepted => return Trial::Accepted,
            Answer::Nothing(reason) => return Trial::NotTried(reason),
            Answer::Refused(answer) => answer,
        };
        match self.place.show(&self.old).await {
            Answer::Accepted => Trial::Refused(refused),
            Answer::Refused(_) => {
                Trial::NotTried(format!("it refuses the old certificate too ({refused})"))
            }
            Answer::Nothing(reason) => Trial::NotTried(format!(
                "it said {refused}, and of the old certificate nothing: {reason}"
            )),
        }
    }
}

impl Place {
    async fn show(&self, identity: &ClientIdentity) -> Answer {
        let headers: Vec<_> = self.user.iter().map(|user| (REMOTE_USER, user.as_str())).collect();
        let call = Call { url: &self.url, headers: &headers, json: None };
        match http::call(call, &self.trust, Some(identity), LIMIT).await.map(|answer| answer.status)
        {
            Ok(200..=299) => Answer::Accepted,
            Ok(403) if self.forbidden_is_known => Answer::Accepted,
            Ok(status @ 401) => Answer::Refused(format!("status {status}")),
            Ok(403) => Answer::Nothing("it answers as to an unknown user (status 403)".to_owned()),
            Ok(status) => Answer::Nothing(format!("it answers with status {status}")),
            Err(HttpError::CertificateRefused(alert)) => {
                Answer::Refused(format!("TLS alert {alert:?}"))
            }
            Err(e) => Answer::Nothing(e.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
pub(super) mod tests;
