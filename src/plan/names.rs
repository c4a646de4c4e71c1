//! Whether a certificate is valid for the names that it is wanted for.

use std::net::IpAddr;

use crate::model::CredentialName;

/// The wanted names and addresses for which a certificate with these names is not valid. Addresses
/// are compared by value.
#[must_use]
pub fn lacking(wanted: &[String], has: &[String]) -> Vec<String> {
    wanted.iter().filter(|name| !has.iter().any(|own| covers(own, name))).cloned().collect()
}

/// The command that renews a credential with these names besides.
#[must_use]
pub fn with_names(credential: &CredentialName, lacking: &[String]) -> String {
    let names: String = lacking.iter().map(|name| format!(" --add-san {name}")).collect();
    format!("kubecertd renew {credential}{names}")
}

fn covers(own: &str, wanted: &str) -> bool {
    match (own.parse::<IpAddr>(), wanted.parse::<IpAddr>()) {
        (Ok(own), Ok(wanted)) => own == wanted,
        (Err(_), Err(_)) => own.eq_ignore_ascii_case(wanted) || covers_by_wildcard(own, wanted),
        _ => false,
    }
}

/// `*` stands for one label, the first.
fn covers_by_wildcard(own: &str, wanted: &str) -> bool {
    let rest = wanted.split_once('.').map(|(_, rest)| rest);
    own.strip_prefix("*.").zip(rest).is_some_and(|(own, rest)| own.eq_ignore_ascii_case(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_lacking_when_not_covered() {
        let has = ["cp1", "*.example.com", "10.0.0.1", "::1"].map(str::to_owned);
        for (wanted, lacks) in [
            ("CP1", false),
            ("10.0.0.1", false),
            ("0:0:0:0:0:0:0:1", false),
            ("api.example.com", false),
            ("cp2", true),
            ("10.0.0.2", true),
            ("a.b.example.com", true),
            ("example.com", true),
        ] {
            assert_eq!(!lacking(&[wanted.to_owned()], &has).is_empty(), lacks, "{wanted}");
        }
    }
}
