//! `kubecertd csr` and `kubecertd install`: certificates of an external CA.

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use super::arguments::{CsrOptions, InstallOptions};
use super::input::{MAX_PEM_BYTES, read_file};
use super::out::{self, GOOD, paint};
use super::renew::{names, services};
use super::words::date;
use super::{Exit, Failure};
use crate::drivers::timedate;
use crate::model::CredentialName;
use crate::observe::Node;
use crate::pass::requests::{self, Installed, externally_signed, requests};
use crate::pass::{self, Orders};
use crate::plan::{Request, Trigger};
use crate::sys::Clock;

/// Writes the requests to standard output and notes to standard error: `kubecertd csr apiserver >
/// apiserver.csr`.
pub(super) fn csr(node: &Node, options: &CsrOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let names: Vec<CredentialName> = if options.all {
        externally_signed(node)
    } else {
        names(node, &options.names)?.into_iter().collect()
    };
    if names.is_empty() {
        let text = if options.all {
            "there is nothing to request: no credential that kubecertd renews here has an external \
             CA"
        } else {
            "name a credential: kubecertd csr NAME, or --all for every credential of an external CA"
        };
        return Err(Failure::Request(text.to_owned()));
    }
    let made = requests(node, &names, clock.now())?;
    let mut failed = 0;
    for (name, result) in &made {
        match result {
            Ok(requested) => {
                let again = if requested.again {
                    "; it is for the key of the earlier request, which is still open"
                } else {
                    ""
                };
                out::print_note(&format!(
                    "{name}: the request is also in {}, with its key beside it{again}",
                    requested.file.display()
                ));
                out::print(&requested.request);
            }
            Err(e) => {
                failed += 1;
                out::print_error(&format!("{name}: {e}"));
            }
        }
    }
    Ok(match failed {
        0 => Exit::Fine,
        failed if failed < made.len() => Exit::Partly,
        _ => Exit::Failed,
    })
}

pub(super) fn install(
    node: &Node,
    options: &InstallOptions,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let asked = names(node, std::slice::from_ref(&options.name))?;
    let Some(name) = asked.into_iter().next() else { return Ok(Exit::Usage) };
    let answer = read_file(&options.certificate, MAX_PEM_BYTES)
        .map_err(|e| Failure::Request(format!("{}: {e}", options.certificate.display())))?;
    match requests::install(node, &name, &answer, clock.now())? {
        Ok(installed) => {
            out::print(&show(&name, &installed));
            Ok(refresh(node, name, clock))
        }
        Err(e) => {
            out::print_error(&format!("{name}: {e}"));
            Ok(Exit::Failed)
        }
    }
}

fn show(name: &CredentialName, installed: &Installed) -> String {
    let mut text = format!(
        "{} {name}: valid until {}, serial {}",
        paint(GOOD, "installed"),
        date(installed.not_after),
        installed.serial
    );
    let _ = match &installed.backup {
        Some(backup) => writeln!(text, "; the replaced files are in the backup {backup}."),
        None => writeln!(text, "."),
    };
    for note in installed.recovered.notes.iter().chain(&installed.notes) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Runs a pass, which finds this credential fresh and its services stale.
fn refresh(node: &Node, name: CredentialName, clock: &dyn Clock) -> Exit {
    if !node.root.is_host() {
        return Exit::Fine;
    }
    let request = Request { only: [name].into(), ..Request::default() };
    let orders = Orders {
        request: &request,
        trigger: Trigger::Asked,
        clock,
        synchronised: timedate::synchronised_now(timedate::LIMIT),
        trust_clock: false,
        reasons: &[],
        remember: None,
        stop: &AtomicBool::new(false),
        progress: &out::progress,
        emit: &|_| {},
    };
    match pass::run(node, &orders) {
        Ok(report) => {
            out::print(&services(&report));
            if report.failed() { Exit::Partly } else { Exit::Fine }
        }
        Err(e) => {
            out::print_error(&format!(
                "the services could not be observed: {e}; kubecertd renew tries again"
            ));
            Exit::Partly
        }
    }
}
