//! `kubecertd ca renew` and `kubecertd ca trust`: a root CA that is renewed with its own key.

use std::fmt::Write as _;
use std::path::Path;

use super::arguments::RenewRootOptions;
use super::ca_certificate::describe;
use super::new_root::content;
use super::out::{self, GOOD, SOON, paint};
use super::words::date;
use super::{Exit, Failure};
use crate::credentials::SuppliedRoot;
use crate::model::Timestamp;
use crate::observe::Node;
use crate::pass::root_renewal::{self, RenewedRoot};

const AFTER_RENEWAL: &str = "\
Next: kubecertd renew, on this node. It signs again what has expired, and restarts the services that
use it or read CA certificates only when they start. Then copy ca.crt to every other node, workers
included, and run kubecertd ca trust FILE there.
";

const AFTER_TRUST: &str = "\
Next: kubecertd renew, on this node. It signs again what has expired, and restarts the services that
use it or read CA certificates only when they start.
";

/// Renews the root CA on this node.
pub(super) fn renew(
    node: &Node,
    options: &RenewRootOptions,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let renewed = root_renewal::renew(node, options.trust_clock, now)?;
    out::print(&show("renewed", &renewed, AFTER_RENEWAL, now));
    Ok(Exit::Fine)
}

/// Puts a root CA that another node renewed in place, from a path on this machine.
pub(super) fn trust(node: &Node, file: &Path, now: Timestamp) -> Result<Exit, Failure> {
    let failed = |e| Failure::SuppliedRoot(format!("{}: {e}", file.display()));
    let SuppliedRoot { certificate, .. } = SuppliedRoot::read(&content(file)?).map_err(failed)?;
    let renewed = root_renewal::trust(node, certificate, now)?;
    out::print(&show("in place", &renewed, AFTER_TRUST, now));
    Ok(Exit::Fine)
}

fn show(word: &str, renewed: &RenewedRoot, next: &str, now: Timestamp) -> String {
    let RenewedRoot { certificate, before, files, backup, notes } = renewed;
    let mut text = describe("root CA", certificate, now);
    text.push('\n');
    for note in notes {
        let _ = writeln!(text, "{}  {note}", paint(SOON, "note"));
    }
    if files.is_empty() {
        text.push_str("It was in place already, here and in the kubeconfigs.\n");
        return text;
    }
    let _ = write!(
        text,
        "{} until {} (before: {}): {}",
        paint(GOOD, word),
        date(certificate.not_after),
        date(*before),
        files.join(", ")
    );
    let _ = match backup {
        Some(backup) => writeln!(text, "; the replaced files are in the backup {backup}."),
        None => writeln!(text, "."),
    };
    text.push('\n');
    text.push_str(next);
    text
}
