//! The CAs that a rotation is about.

use crate::cli::words::date;
use crate::formats::rotation_intent::RotationIntent;
use crate::formats::x509::Certificate;

/// Formats the old and the new root CA, and those that are renewed with it, one in each line.
pub(super) fn roots(
    RotationIntent { old, new, others, front_proxy, .. }: &RotationIntent,
) -> String {
    let line = |what: &str, ca: &Certificate| {
        format!("{what:<13} {}, until {}\n", ca.subject, date(ca.not_after))
    };
    let others = others.iter().map(|ca| line("Also renewed:", ca));
    let front_proxy = front_proxy.iter().map(|pair| line("Front proxy:", &pair.new));
    let other_cas = others.chain(front_proxy).collect::<String>();
    line("Old root CA:", old) + &line("New root CA:", new) + &other_cas
}
