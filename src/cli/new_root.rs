//! `kubecertd ca check` and `kubecertd ca install`: a root CA of the operator's own.

use std::fmt::Write as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::arguments::NewRootOptions;
use super::ca_certificate::describe;
use super::input::{MAX_PEM_BYTES, read_file};
use super::out::{self, BAD, GOOD, SOON, paint};
use super::words::count;
use super::{Exit, Failure};
use crate::credentials::{SuppliedRoot, SuppliedRootError};
use crate::model::{AbsolutePath, Timestamp};
use crate::observe::Node;
use crate::pass::new_root::{self, InstalledRoot};
use crate::plan::RootJudgement;

fn read(options: &NewRootOptions) -> Result<SuppliedRoot, Failure> {
    read_root(&options.certificate, options.key.as_deref())
}

/// Reads the certificate and its key from paths on this machine, independent of `--root`.
pub(super) fn read_root(certificate: &Path, key: Option<&Path>) -> Result<SuppliedRoot, Failure> {
    let failed = |path: &Path, e: SuppliedRootError| {
        Failure::SuppliedRoot(format!("{}: {e}", path.display()))
    };
    let root = SuppliedRoot::read(&content(certificate)?).map_err(|e| failed(certificate, e))?;
    match key {
        Some(key) => root.with_key(&content(key)?).map_err(|e| failed(key, e)),
        None => Ok(root),
    }
}

pub(super) fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_file(path, MAX_PEM_BYTES)
        .map_err(|e| Failure::SuppliedRoot(format!("{}: {e}", path.display())))
}

/// Shows whether it can be the root CA of a cluster.
pub(super) fn check(
    node: &Node,
    options: &NewRootOptions,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let judged = new_root::judge(node, read(options)?, options.allow_trusted_root, now)?;
    let heading = options.certificate.display().to_string();
    let text = describe(&heading, &judged.root.certificate, now);
    out::print(&format!("{text}\n{}", findings(&judged.judgement)));
    Ok(if judged.judgement.is_usable() { Exit::Fine } else { Exit::Attention })
}

fn findings(judgement: &RootJudgement) -> String {
    let mut text = String::new();
    for fault in &judgement.faults {
        let _ = writeln!(text, "{}  {fault}", paint(BAD, "refused"));
    }
    for warning in &judgement.warnings {
        let _ = writeln!(text, "{}  {warning}", paint(SOON, "warning"));
    }
    let _ = match judgement.faults.len() {
        0 => writeln!(text, "{}   it can be the root CA of a cluster", paint(GOOD, "usable")),
        faults => {
            writeln!(text, "It can't be the root CA of a cluster: {}.", count(faults, "reason"))
        }
    };
    text
}

/// Installs it, before there is a cluster.
pub(super) fn install(
    node: &Node,
    options: &NewRootOptions,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let installed = new_root::install(node, read(options)?, options.allow_trusted_root, now)?;
    let InstalledRoot { certificate, certificate_file, key_file, written, notes } = installed;
    let mut text = describe(&certificate_file.to_string(), &certificate, now);
    text.push('\n');
    for note in notes {
        let _ = writeln!(text, "{}  {note}", paint(SOON, "warning"));
    }
    let source = options.key.as_ref().unwrap_or(&options.certificate).display();
    let files = [&certificate_file, &key_file].into_iter().filter(|file| written.contains(file));
    let files: Vec<_> = files.map(ToString::to_string).collect();
    let _ = if files.is_empty() {
        writeln!(text, "{certificate_file} and {key_file} are this CA already.")
    } else {
        writeln!(
            text,
            "{} {}: {} Keep a copy of the key in a safe place, and remove {source} from this \
             machine.",
            paint(GOOD, "installed"),
            files.join(" and "),
            use_by_kubeadm([&certificate_file, &key_file])
        )
    };
    out::print(&text);
    Ok(Exit::Fine)
}

/// The files of the root CA where kubeadm's configuration names no other directory.
const KUBEADMS: [&str; 2] = ["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.key"];

fn use_by_kubeadm(files: [&AbsolutePath; 2]) -> &'static str {
    if files.map(AbsolutePath::as_path) == KUBEADMS.map(Path::new) {
        "kubeadm uses them from now on."
    } else {
        "kubeadm uses ca.crt and ca.key in /etc/kubernetes/pki, or in the certificatesDir of its \
         configuration."
    }
}
