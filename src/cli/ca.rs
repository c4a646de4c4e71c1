//! `kubecertd ca`: shows and exports the certificate of an authority, and verifies that others
//! trust it. For a root CA of the operator's own see [`super::new_root`].

use std::path::Path;
use std::time::Duration;

use super::arguments::{CaCommand, CaOptions};
use super::ca_certificate::describe;
use super::out::{self, GOOD, SOON, paint};
use super::{Exit, Failure, ca_renewal, new_root, rotate};
use crate::credentials::{Files, LoadedAuthority, LoadedKey, Question, Verdict, load_authority};
use crate::drivers::tls::served;
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, Authority, Timestamp};
use crate::observe::Node;
use crate::sys::{Clock, block_on};

/// How long a server may take to show its certificate.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(node: &Node, command: &CaCommand, clock: &dyn Clock) -> Result<Exit, Failure> {
    match command {
        CaCommand::Show(options) => {
            let (authority, loaded) = find(node, options)?;
            out::print(&show(authority, &loaded, clock.now()));
            Ok(Exit::Fine)
        }
        CaCommand::Export(options) => {
            let (_, loaded) = find(node, options)?;
            out::print(&loaded.anchors().map(Certificate::to_pem).collect::<String>());
            Ok(Exit::Fine)
        }
        CaCommand::Check(options) => new_root::check(node, options, clock.now()),
        CaCommand::Renew(options) => ca_renewal::renew(node, options, clock.now()),
        CaCommand::Rotate { command } => rotate::run(node, command, clock.now()),
        CaCommand::Trust { file } => ca_renewal::trust(node, file, clock.now()),
        CaCommand::Install(options) => new_root::install(node, options, clock.now()),
        CaCommand::Verify { target, options } => {
            let (authority, loaded) = find(node, options)?;
            let certificates: Vec<_> = loaded.anchors().cloned().collect();
            let question = Question {
                name: authority.name.as_str(),
                authority: &certificates,
                now: clock.now(),
            };
            let verdicts = verify(node, target, question)
                .map_err(|reason| Failure::Authority(format!("{target}: {reason}")))?;
            out::print(&verdict_lines(target, &verdicts));
            Ok(if verdicts.iter().all(|verdict| verdict.well) {
                Exit::Fine
            } else {
                Exit::Attention
            })
        }
    }
}

/// Finds the authority by its name; without a name, the cluster's root CA.
fn find<'n>(
    node: &'n Node,
    options: &CaOptions,
) -> Result<(&'n Authority, LoadedAuthority), Failure> {
    let authorities = &node.catalog.authorities;
    let is_meant = |one: &&Authority| {
        options.authority.as_ref().map_or(one.root, |name| one.name.as_str() == name)
    };
    let Some(authority) = authorities.iter().find(is_meant) else {
        let known =
            authorities.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
        let asked = options.authority.as_deref().unwrap_or("the cluster's root CA");
        return Err(Failure::UnknownAuthority { name: asked.to_owned(), known });
    };
    match load_authority(&node.root, authority) {
        loaded @ LoadedAuthority::Present { .. } => Ok((authority, loaded)),
        LoadedAuthority::Absent => Err(Failure::Authority(format!(
            "{}: there is no such file on this node",
            authority.certificate
        ))),
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            Err(Failure::Authority(reason))
        }
    }
}

fn show(authority: &Authority, loaded: &LoadedAuthority, now: Timestamp) -> String {
    let heading = format!("{} ({})", authority.name, authority.certificate);
    let paragraph = |certificate: &Certificate| {
        let signs = format!("  Signs:           {}\n", signs(loaded, certificate, now));
        describe(&heading, certificate, now) + &signs
    };
    loaded.anchors().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// Whether new certificates are signed with it, and if not, why.
fn signs(loaded: &LoadedAuthority, certificate: &Certificate, now: Timestamp) -> String {
    let LoadedAuthority::Present { anchors, key, key_file } = loaded else { return String::new() };
    let is_signer = anchors.candidate(now).is_some_and(|one| one == certificate);
    let fits = anchors.signers().any(|one| one == certificate);
    match key {
        LoadedKey::Absent => "no, its key is not on this node".to_owned(),
        LoadedKey::Unusable(reason) => format!("no: {reason}"),
        LoadedKey::Usable(_) if is_signer && certificate.is_valid_at(now) => {
            format!("yes, with {key_file}")
        }
        LoadedKey::Usable(_) if is_signer => "no, it is not valid now".to_owned(),
        LoadedKey::Usable(_) if fits => {
            format!("no, another certificate of {key_file} is valid for longer")
        }
        LoadedKey::Usable(_) => format!("no, {key_file} is not its key"),
    }
}

fn verify(node: &Node, target: &str, question: Question<'_>) -> Result<Vec<Verdict>, String> {
    let file = absolute(target)?;
    match Files::read(&node.root, &file).map_err(|e| e.to_string())? {
        Some(content) => question.about_file(content.expose(), |name| referred(node, &file, name)),
        None if is_address(target) => {
            let served = block_on(served(target, None, PROBE_TIMEOUT))
                .map_err(|e| e.to_string())?
                .map_err(|e| e.to_string())?;
            Ok(vec![question.about_server(&served.certificate, &served.intermediates)])
        }
        None => {
            Err("there is no such file, and it is not an address of the form host:port".to_owned())
        }
    }
}

fn referred(node: &Node, kubeconfig: &AbsolutePath, name: &str) -> Result<Vec<u8>, String> {
    let file = kubeconfig.sibling(name).map_err(|e| e.to_string())?;
    let content = Files::read(&node.root, &file).map_err(|e| e.to_string())?;
    content
        .map(|content| content.expose().to_vec())
        .ok_or_else(|| format!("it refers to {file}, which does not exist"))
}

fn absolute(target: &str) -> Result<AbsolutePath, String> {
    let path = std::path::absolute(Path::new(target)).map_err(|e| e.to_string())?;
    AbsolutePath::new(path).map_err(|e| e.to_string())
}

fn is_address(target: &str) -> bool {
    target.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    })
}

fn verdict_lines(target: &str, verdicts: &[Verdict]) -> String {
    let line = |verdict: &Verdict| {
        let word = if verdict.well { paint(GOOD, "yes") } else { paint(SOON, "no ") };
        format!("{word}   {target}: {}\n", verdict.text)
    };
    verdicts.iter().map(line).collect()
}
