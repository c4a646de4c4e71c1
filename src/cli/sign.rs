//! `kubecertd sign`: kubelet's client certificate for another node of the cluster.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::arguments::SignOptions;
use super::input::{read_file, read_limited};
use super::out;
use super::words::date;
use super::{Exit, Failure};
use crate::observe::Node;
use crate::pass::sign::sign;
use crate::sys::Clock;

/// The largest size of a request.
const MAX_REQUEST_BYTES: usize = 1 << 16;

/// Writes the certificate to standard output and a note to standard error.
pub(super) fn run(node: &Node, options: &SignOptions, clock: &dyn Clock) -> Result<Exit, Failure> {
    let request = read(options.request.as_deref())?;
    match sign(node, &options.node, &request, clock.now()) {
        Ok(certificate) => {
            out::print_note(&format!(
                "{}: valid until {}, serial {}; copy it there, and run kubecertd install \
                 kubelet-client FILE on that node",
                certificate.subject,
                date(certificate.not_after),
                certificate.serial
            ));
            out::print(&certificate.to_pem());
            Ok(Exit::Fine)
        }
        Err(e) => {
            out::print_error(&e.to_string());
            Ok(Exit::Failed)
        }
    }
}

/// Reads the request from the path on this machine, independent of `--root`.
fn read(path: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = path.map_or("standard input".into(), Path::to_string_lossy);
    let failed = |e: io::Error| Failure::Request(format!("{name}: {e}"));
    let read = match path {
        Some(path) => read_file(path, MAX_REQUEST_BYTES),
        None if io::stdin().is_terminal() => {
            let text = "name the file of the request: kubecertd sign --node NAME REQUEST";
            return Err(Failure::Request(text.to_owned()));
        }
        None => read_limited(io::stdin(), MAX_REQUEST_BYTES),
    };
    read.map_err(failed)
}
