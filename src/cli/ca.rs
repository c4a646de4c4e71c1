//! `kubecertd ca`: shows and exports the certificate of an authority, and verifies that others
//! trust it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::arguments::{CaCommand, CaOptions};
use super::out::{self, BAD, GOOD, HEADING, PLAIN, SOON, paint};
use super::words::{date, left};
use super::{Exit, Failure};
use crate::credentials::{Files, LoadedAuthority, Question, Verdict, load_authority};
use crate::drivers::tls::served;
use crate::formats::x509::Certificate;
use crate::model::{AbsolutePath, Authority, Digest, Timestamp};
use crate::observe::Node;
use crate::sys::{Clock, block_on};

/// How long a server may take to show its certificate.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(node: &Node, command: &CaCommand, clock: &dyn Clock) -> Result<Exit, Failure> {
    match command {
        CaCommand::Show(options) => {
            let (authority, certificates) = find(node, options)?;
            out::print(&show(authority, &certificates, clock.now()));
            Ok(Exit::Fine)
        }
        CaCommand::Export(options) => {
            let (_, certificates) = find(node, options)?;
            out::print(&certificates.iter().map(Certificate::to_pem).collect::<String>());
            Ok(Exit::Fine)
        }
        CaCommand::Verify { target, options } => {
            let (authority, certificates) = find(node, options)?;
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
) -> Result<(&'n Authority, Vec<Certificate>), Failure> {
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
        LoadedAuthority::Present { anchors, .. } => {
            Ok((authority, anchors.iter().cloned().collect()))
        }
        LoadedAuthority::Absent => Err(Failure::Authority(format!(
            "{}: there is no such file on this node",
            authority.certificate
        ))),
        LoadedAuthority::Unreadable(reason) | LoadedAuthority::NotARoot(reason) => {
            Err(Failure::Authority(reason))
        }
    }
}

fn show(authority: &Authority, certificates: &[Certificate], now: Timestamp) -> String {
    let paragraph = |certificate: &Certificate| {
        let mut text = String::new();
        let style = if certificate.is_valid_at(now) { PLAIN } else { BAD };
        let _ = writeln!(
            text,
            "{}",
            paint(HEADING, &format!("{} ({})", authority.name, authority.certificate))
        );
        let _ = writeln!(text, "  Subject:         {}", certificate.subject);
        let _ = writeln!(text, "  Serial number:   {}", certificate.serial);
        let _ = writeln!(
            text,
            "  Valid:           {} to {}",
            date(certificate.not_before),
            date(certificate.not_after)
        );
        let _ = writeln!(
            text,
            "  Left:            {}",
            paint(style, &left(now, certificate.not_after))
        );
        let _ = writeln!(text, "  Key:             {}", certificate.key_algorithm);
        let _ = writeln!(text, "  SHA-256:         {}", colon_separated(certificate.fingerprint));
        let _ = writeln!(text, "  Discovery hash:  {}", discovery_hash(certificate));
        text
    };
    certificates.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// Formats a fingerprint as openssl and browsers do.
fn colon_separated(digest: Digest) -> String {
    let hex = digest.to_string().to_uppercase();
    let bytes: Vec<_> = hex.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    bytes.join(":")
}

/// Computes the value for `kubeadm join --discovery-token-ca-cert-hash`: the digest of the public
/// key alone (RFC 7469, section 2.4).
fn discovery_hash(certificate: &Certificate) -> String {
    format!("sha256:{}", Digest::of(certificate.public_key_der()))
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
