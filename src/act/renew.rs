//! Renewal: makes new keys and certificates for everything that is due, and checks them before any
//! file is replaced.
//!
//! Keys are made on all cores at once; every call to the file system is made by one thread, in an
//! order that does not vary. A failure affects only its own credential.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::job::{Job, Progress, RenewError, RenewOutcome, Renewal, Renewed};
use super::trial::{self, Candidate, Refusal, Verdicts};
use super::trust::{KubeconfigFile, NewIssuer, trust_besides, trust_in_renewals};
use super::{kubelet, lost};
use crate::credentials::{Backup, Composed, Files, LoadedAuthority, Stored, load, load_authority};
use crate::formats::x509::{self, Certificate, KeyAlgorithm, PrivateKey};
use crate::model::{
    AbsolutePath, AuthorityName, BackupFacts, Credential, CredentialName, Digest, KeyChoice,
    Material, Secret, Signer, Timestamp, Urgency,
};
use crate::store::{self, Backups, Change, Checked, Store, StoreError};
use crate::sys::{FileError, Root, on_all_cores};

/// The results so far.
type Results = BTreeMap<CredentialName, Result<Renewed, RenewError>>;

/// A new certificate and its files' new contents, not on disk yet.
struct Prepared<'j> {
    job: &'j Job,
    stored: Stored,
    issuer: &'j Certificate,
    /// The issuer, where another CA of its file issued the old certificate.
    new_issuer: Option<NewIssuer<'j>>,
    certificate: Certificate,
    change: Change,
    /// What is left out of the files, for the operator.
    dropped: Option<String>,
}

/// Renews all credentials of the jobs. The kubeconfigs are those that have to trust another CA when
/// a credential gets one. Returns the outcome of each job, in order, and notes for the operator.
///
/// Several users of one kubeconfig are renewed one after the other, each in a transaction of its
/// own, since each one changes the whole file.
pub fn renew(
    root: &Root,
    store: &mut Store<'_>,
    jobs: &[Job],
    kubeconfigs: &[KubeconfigFile],
    renewal: Renewal,
    progress: Progress<'_>,
) -> (Vec<RenewOutcome>, Vec<String>) {
    let (mut outcomes, mut notes) = (Vec::new(), Vec::new());
    for round in rounds(jobs) {
        let (renewed, more) = renew_round(root, store, &round, kubeconfigs, renewal, progress);
        outcomes.extend(renewed);
        notes.extend(more);
    }
    let at = |name: &CredentialName| jobs.iter().position(|job| job.facts.credential.name == *name);
    outcomes.sort_by_key(|(name, _)| at(name));
    (outcomes, notes)
}

/// Divides the jobs so that no two in a round have the same kubeconfig.
fn rounds(jobs: &[Job]) -> Vec<Vec<Job>> {
    let mut rounds: Vec<Vec<Job>> = Vec::new();
    let kubeconfig = |job: &Job| job.facts.credential.location.kubeconfig().cloned();
    for job in jobs {
        let own = kubeconfig(job);
        let is_free =
            |round: &&mut Vec<Job>| own.is_none() || round.iter().all(|job| kubeconfig(job) != own);
        match rounds.iter_mut().find(is_free) {
            Some(round) => round.push(job.clone()),
            None => rounds.push(vec![job.clone()]),
        }
    }
    rounds
}

fn renew_round(
    root: &Root,
    store: &mut Store<'_>,
    jobs: &[Job],
    kubeconfigs: &[KubeconfigFile],
    renewal: Renewal,
    progress: Progress<'_>,
) -> (Vec<RenewOutcome>, Vec<String>) {
    let authorities = load_authorities(root, jobs);
    let backups = store.backups();
    let mut results = create_dirs(root, jobs, renewal.stop);
    let possible: Vec<&Job> =
        jobs.iter().filter(|job| !results.contains_key(&job.facts.credential.name)).collect();
    let done = AtomicUsize::new(0);
    let prepared = on_all_cores(&possible, |job| {
        let prepared = prepare(root, &backups, job, &authorities, renewal);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, possible.len());
        prepared
    });
    let mut ready = Vec::new();
    for (job, prepared) in possible.into_iter().zip(prepared) {
        match prepared.unwrap_or(Err(RenewError::Fault)) {
            Ok(prepared) => ready.push(prepared),
            Err(e) => drop(results.insert(job.facts.credential.name.clone(), Err(e))),
        }
    }
    let mut issuers = new_issuers(&mut ready);
    let mut changes: Vec<_> = ready.iter_mut().map(|one| &mut one.change).collect();
    let mut trusts = trust_in_renewals(root, &issuers, &mut changes, kubeconfigs);
    let mut staged = Vec::new();
    let mut taken = BTreeMap::new();
    for prepared in ready {
        let name = prepared.job.facts.credential.name.clone();
        match stage(root, store, prepared, renewal.now, &mut taken) {
            Ok(one) => staged.push(one),
            Err(e) => drop(results.insert(name, Err(e))),
        }
    }
    let (accepted, mut notes) = try_out(staged, &mut results);
    let names: Vec<_> = accepted.iter().map(|(renewed, _)| renewed.credential.clone()).collect();
    // What is not renewed after all trusts the new issuers all the same.
    trusts.retain(|trust| names.contains(trust.credential()));
    issuers.retain(|issuer| issuer.credentials.iter().any(|name| names.contains(name)));
    // They come first: clients have to trust another CA before its certificates are in place.
    let mut checked = Vec::new();
    for (trust, change) in trust_besides(root, store, &issuers, kubeconfigs, &trusts) {
        checked.extend(change);
        trusts.push(trust);
    }
    for (renewed, change) in accepted {
        results.insert(renewed.credential.clone(), Ok(renewed));
        checked.push(change);
    }
    let commit = store.commit(checked, renewal.now, renewal.backups);
    let mut failed: BTreeMap<CredentialName, StoreError> = commit
        .outcomes
        .into_iter()
        .filter_map(|outcome| Some((outcome.credential, outcome.result.err()?)))
        .collect();
    for trust in trusts {
        let problem = failed.get(trust.credential()).map(ToString::to_string);
        notes.extend(trust.notes(problem));
    }
    for name in names {
        if let Some(e) = failed.remove(&name) {
            results.insert(name, Err(e.into()));
        }
    }
    let order = jobs.iter().map(|job| &job.facts.credential.name);
    notes.extend(commit.notes);
    (order.filter_map(|name| results.remove_entry(name)).collect(), notes)
}

/// The CAs that issue what other CAs issued before, each once.
fn new_issuers<'j>(prepared: &mut [Prepared<'j>]) -> Vec<NewIssuer<'j>> {
    let mut issuers: Vec<NewIssuer<'j>> = Vec::new();
    for issuer in prepared.iter_mut().filter_map(|one| one.new_issuer.take()) {
        let is_same =
            |known: &&mut NewIssuer<'_>| known.signer.fingerprint == issuer.signer.fingerprint;
        match issuers.iter_mut().find(is_same) {
            Some(known) => known.credentials.extend(issuer.credentials),
            None => issuers.push(issuer),
        }
    }
    issuers
}

/// A new certificate whose checked files are staged beside their targets.
struct StagedOne {
    renewed: Renewed,
    change: Checked,
    trial: Option<Candidate>,
    dropped: Option<String>,
}

/// Tries the new client certificates at the servers that verify them. The staged files of a refused
/// certificate are removed.
fn try_out(
    mut staged: Vec<StagedOne>,
    results: &mut Results,
) -> (Vec<(Renewed, Checked)>, Vec<String>) {
    let candidates = staged
        .iter_mut()
        .filter_map(|one| Some((one.renewed.credential.clone(), one.trial.take()?)))
        .collect();
    let Verdicts { refused, mut notes } = trial::try_out(candidates);
    let mut accepted = Vec::new();
    for StagedOne { renewed, change, dropped, .. } in staged {
        match refused.get(&renewed.credential).cloned() {
            None => {
                notes.extend(dropped.map(|text| format!("{}: {text}", renewed.credential)));
                accepted.push((renewed, change));
            }
            Some(Refusal { server, answer }) => {
                results.insert(renewed.credential, Err(RenewError::RefusedBy { server, answer }));
            }
        }
    }
    (accepted, notes)
}

/// Creates the missing directories of credentials that are not there, as kubelet does for its own.
/// Returns the credentials for which that failed. Only where root alone can write.
fn create_dirs(root: &Root, jobs: &[Job], stop: &AtomicBool) -> Results {
    let is_lost =
        |job: &&Job| job.facts.material == Material::Absent && job.facts.other_writers.is_none();
    let mut failed = Results::new();
    for job in jobs.iter().filter(is_lost).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let Credential { name, location, .. } = &job.facts.credential;
        if let Err(e) = location.files().try_for_each(|file| root.create_dir_of(file)) {
            failed.insert(name.clone(), Err(e.into()));
        }
    }
    failed
}

fn load_authorities(root: &Root, jobs: &[Job]) -> BTreeMap<AuthorityName, LoadedAuthority> {
    let mut loaded = BTreeMap::new();
    for authority in jobs.iter().map(|job| &job.authority) {
        loaded.entry(authority.name.clone()).or_insert_with(|| load_authority(root, authority));
    }
    loaded
}

fn prepare<'j>(
    root: &Root,
    backups: &Backups,
    job: &'j Job,
    authorities: &'j BTreeMap<AuthorityName, LoadedAuthority>,
    renewal: Renewal<'j>,
) -> Result<Prepared<'j>, RenewError> {
    if renewal.stop.load(Ordering::Relaxed) {
        return Err(RenewError::Stopped);
    }
    let cannot_sign = || RenewError::Authority { name: job.authority.name.clone() };
    let authority = authorities.get(&job.authority.name).ok_or_else(cannot_sign)?;
    let (signing, authority_key) = match renewal.issuer {
        Some(issuer) => (issuer.certificate, issuer.key),
        None => authority.signer(renewal.now).ok_or_else(cannot_sign)?,
    };
    let kubelets = job.facts.kubelet.as_ref();
    let template = job.facts.template.as_ref().and_then(|template| template.as_ref().ok());
    let mut stored = match (kubelets, template) {
        (Some(client), _) => kubelet::original(root, &job.facts, client, authority)?,
        (None, Some(template)) => lost::original(root, job, template)?,
        (None, None) => original(root, backups, job)?,
    };
    let is_own = authority.signer_of(&stored.certificate) == Signer::Authority;
    // No CA has signed a template.
    if kubelets.is_none() && template.is_none() && !is_own {
        return Err(RenewError::Changed);
    }
    // A CA certificate by which the old one does not verify is another CA to the clients. The plan
    // keeps such a change to what is urgent.
    let changes_issuer =
        renewal.issuer.is_none() && is_own && !stored.certificate.verifies_by(signing);
    let is_accepted = || {
        let mut anchors = authority.anchors();
        anchors.any(|one| one.is_valid_at(renewal.now) && stored.certificate.verifies_by(one))
    };
    if changes_issuer && kubelets.is_none() && job.urgency <= Urgency::Due && is_accepted() {
        return Err(RenewError::Changed);
    }
    // What is made by the profile had an issuer that is not known: perhaps another CA of the file.
    let may_change_issuer = template.is_some() && !is_own && has_several_cas(authority, signing);
    let new_issuer = (changes_issuer || may_change_issuer).then(|| NewIssuer {
        signer: signing,
        anchors: authority.anchors().collect(),
        file: &job.authority.certificate,
        credentials: vec![job.facts.credential.name.clone()],
    });
    let choice = match (renewal.key, template) {
        (KeyChoice::Keep, Some(template)) => template.key,
        (choice, _) => choice,
    };
    let key = PrivateKey::generate(&algorithm(choice, &stored.certificate))?;
    if !job.names.is_empty() {
        stored.certificate = x509::with_names(&stored.certificate, &job.names)?;
    }
    let old = &stored.certificate;
    let terms = x509::Terms {
        serial: x509::random_serial()?,
        not_before: job.terms.not_before,
        not_after: job.terms.not_after,
    };
    let certificate =
        Certificate::from_der(&x509::reissue(old, signing, authority_key, &key, &terms)?)?;
    let key = key.to_pem()?;
    let Composed { mut files, dropped } = match template {
        Some(template) => lost::compose(&stored, template, authority, &certificate, &key)?,
        None => match renewal.issuer {
            Some(issuer) => stored.compose_chain(&certificate, issuer.behind, &key)?,
            None => stored.compose(&certificate, &key)?,
        },
    };
    if job.facts.backup.is_some() {
        // The contents came from a backup; what is replaced is what is there now.
        for file in &mut files {
            file.old = digest(root, &file.path)?;
        }
    }
    let mut link = None;
    if let Some(client) = kubelets {
        let location = &job.facts.credential.location;
        kubelet::Replacing { files, link } =
            kubelet::files(root, location, client, authority, files, renewal.now)?;
    }
    // Where only root could write when it was judged, the evidence for files of others was not
    // asked for.
    let mut targets = files.iter().map(|file| &file.path).chain(link.iter().map(|link| &link.path));
    if job.facts.other_writers.is_none()
        && targets.any(|path| root.is_writable_by_others(path).unwrap_or(true))
    {
        return Err(RenewError::Changed);
    }
    let change =
        Change { credential: job.facts.credential.name.clone(), files, link, backup: backup(job) };
    Ok(Prepared { job, stored, issuer: signing, new_issuer, certificate, change, dropped })
}

/// Whether the file of an authority has another CA than the signer.
fn has_several_cas(authority: &LoadedAuthority, signer: &Certificate) -> bool {
    let identifier = |one: &Certificate| one.subject_key_identifier.clone();
    let is_same =
        |one: &Certificate| one.is_of_same_ca(signer) && identifier(one) == identifier(signer);
    authority.anchors().any(|one| !is_same(one))
}

/// Whether the change needs a backup. An urgent credential is replaced even where the disk has no
/// room for one. But a key that does not fit, or a damaged file, may be the only copy of something
/// else, so its backup is required.
fn backup(job: &Job) -> store::Backup {
    let worthless = matches!(
        job.facts.material,
        Material::Whole(_) | Material::KeyMissing(..) | Material::Absent
    );
    if worthless && job.urgency > Urgency::Due {
        store::Backup::Wanted
    } else {
        store::Backup::Required
    }
}

/// Loads the credential to renew: the judged one, or its backup where the plan says so.
fn original(root: &Root, backups: &Backups, job: &Job) -> Result<Stored, RenewError> {
    let loaded = match &job.facts.backup {
        None => load(root, &job.facts.credential),
        Some(BackupFacts { name, location, .. }) => {
            let generation = backups
                .generations()
                .into_iter()
                .find(|generation| generation.to_string() == *name);
            let generation = generation.ok_or(RenewError::Changed)?;
            let credential =
                Credential { location: location.clone(), ..job.facts.credential.clone() };
            load(&Backup { backups, generation }, &credential)
        }
    };
    let stored = loaded.stored().ok_or(RenewError::Changed)?;
    let judged = match &job.facts.backup {
        None => job.facts.material.leaf().map(|leaf| leaf.fingerprint),
        Some(backup) => Some(backup.fingerprint),
    };
    // Nothing is issued for another certificate than the one that was judged.
    if judged == Some(stored.certificate.fingerprint) {
        Ok(stored)
    } else {
        Err(RenewError::Changed)
    }
}

/// The algorithm of the new key, by the configured choice and the old certificate.
#[must_use]
pub fn algorithm(choice: KeyChoice, old: &Certificate) -> KeyAlgorithm {
    match choice {
        KeyChoice::Keep => old.key_algorithm.clone(),
        KeyChoice::Rsa2048 => KeyAlgorithm::Rsa2048,
        KeyChoice::Rsa3072 => KeyAlgorithm::Rsa3072,
        KeyChoice::Rsa4096 => KeyAlgorithm::Rsa4096,
        KeyChoice::EcdsaP256 => KeyAlgorithm::EcdsaP256,
        KeyChoice::EcdsaP384 => KeyAlgorithm::EcdsaP384,
    }
}

fn digest(root: &Root, path: &AbsolutePath) -> Result<Option<Digest>, FileError> {
    Ok(Files::read(root, path)?.map(|content| Digest::of(content.expose())))
}

/// Stages the new files beside the old ones, reads them back, and checks them.
fn stage(
    root: &Root,
    store: &Store<'_>,
    prepared: Prepared<'_>,
    now: Timestamp,
    taken: &mut BTreeMap<AbsolutePath, CredentialName>,
) -> Result<StagedOne, RenewError> {
    let Prepared { job, stored, issuer, certificate, change, dropped, .. } = prepared;
    let name = job.facts.credential.name.clone();
    let link = change.link.iter().map(|link| link.path.clone());
    let files: Vec<AbsolutePath> =
        link.chain(change.files.iter().map(|file| file.path.clone())).collect();
    if let Some((path, other)) = files.iter().find_map(|path| taken.get_key_value(path)) {
        return Err(RenewError::Shared { path: path.clone(), other: other.clone() });
    }
    let mut trial = None;
    let change = store.stage(change)?.check(|contents| {
        let key = check(&stored, issuer, contents, now)?;
        trial = Candidate::new(root, job, &stored, contents, &key);
        Ok::<_, RenewError>(())
    })?;
    taken.extend(files.iter().map(|path| (path.clone(), name.clone())));
    let renewed = Renewed {
        credential: name,
        serial: certificate.serial.to_string(),
        not_after: certificate.not_after,
        key_algorithm: certificate.key_algorithm.to_string(),
        fingerprint: certificate.fingerprint,
        files,
    };
    Ok(StagedOne { renewed, change, trial, dropped })
}

/// Checks what was read back from the disk, and returns its key.
fn check(
    stored: &Stored,
    issuer: &Certificate,
    contents: &[Secret],
    now: Timestamp,
) -> Result<PrivateKey, RenewError> {
    let (certificate, key) = stored.read_back(contents)?;
    if !key.fits(&certificate) {
        return Err(RenewError::KeyDoesNotFit);
    }
    x509::verify_renewed(&certificate, &stored.certificate, issuer, now)?;
    Ok(key)
}
