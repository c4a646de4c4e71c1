//! `kubecertd ca renew` and `kubecertd ca trust`: CAs that are renewed with their own keys.

use std::fmt::Write as _;
use std::path::Path;

use super::arguments::RenewCaOptions;
use super::ca_certificate::describe;
use super::new_root::content;
use super::out::{self, GOOD, SOON, paint};
use super::words::date;
use super::{Exit, Failure};
use crate::formats::x509::certificates;
use crate::model::Timestamp;
use crate::observe::Node;
use crate::pass::ca_renewal::{self, RenewedCa, RenewedCas};

const NEXT: &str = "\
Next: kubecertd renew, on this node. It signs again what has expired, and restarts the services that
use it or read CA certificates only when they start.
";

const AFTER_RENEWAL: &str = "\
Then put the same certificates in place on every other node, workers included: copy this file there,
and run kubecertd ca trust cas.pem, and kubecertd renew.
";

/// Renews the CAs of this node.
pub(super) fn renew(
    node: &Node,
    options: &RenewCaOptions,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let renewed = ca_renewal::renew(node, options.trust_clock, now)?;
    let files: Vec<_> = renewed.cas.iter().map(|ca| ca.file.to_string()).collect();
    let file = format!("  cat {} >cas.pem\n", files.join(" "));
    out::print(&(show("renewed", &renewed, now) + NEXT + AFTER_RENEWAL + &file));
    Ok(Exit::Fine)
}

/// Puts the CAs that another node renewed in place, from a path on this machine.
pub(super) fn trust(node: &Node, file: &Path, now: Timestamp) -> Result<Exit, Failure> {
    let failed = |e| Failure::SuppliedRoot(format!("{}: {e}", file.display()));
    let found = certificates(&content(file)?).map_err(failed)?;
    let renewed = ca_renewal::trust(node, &found, now)?;
    let next = if renewed.has_written() { NEXT } else { "" };
    out::print(&(show("in place", &renewed, now) + next));
    Ok(Exit::Fine)
}

fn show(word: &str, renewed: &RenewedCas, now: Timestamp) -> String {
    let RenewedCas { cas, backup, notes } = renewed;
    let mut text = String::new();
    for RenewedCa { name, certificate, before, written, .. } in cas {
        text.push_str(&describe(name.as_str(), certificate, now));
        if written.is_empty() {
            text.push_str("  It was in place already.\n\n");
            continue;
        }
        let (word, until) = (paint(GOOD, word), date(certificate.not_after));
        let files: Vec<_> = written.iter().map(ToString::to_string).collect();
        let (before, files) = (date(*before), files.join(", "));
        let _ = writeln!(text, "  {word} until {until} (before: {before}): {files}\n");
    }
    for note in notes {
        let _ = writeln!(text, "{}  {note}", paint(SOON, "note"));
    }
    if let Some(backup) = backup {
        let _ = writeln!(text, "The replaced files are in the backup {backup}.\n");
    }
    text
}
