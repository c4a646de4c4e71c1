//! The subject alternative name as Go reads it. One that it can't read has it refuse the whole
//! certificate, although no verifier looks at these names of a root.

use std::net::Ipv6Addr;

use der::asn1::Any;
use der::{Decode as _, Tag, Tagged as _};

/// Reads the extension as strictly as any version of Go does. A URI is read more strictly: it has a
/// scheme (RFC 5280, 4.2.1.6), and no escapes in its host.
///
/// # Errors
/// The first name that is wrong, as a text.
pub(super) fn check_alternative_names(value: &[u8]) -> Result<(), String> {
    let names = Vec::<Any>::from_der(value).map_err(|_| "it is not strict DER".to_owned())?;
    names.iter().try_for_each(check_name)
}

fn check_name(name: &Any) -> Result<(), String> {
    let Tag::ContextSpecific { constructed: false, number } = name.tag() else { return Ok(()) };
    let bytes = name.value();
    let text = || std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    let (kind, is_read) = match number.value() {
        1 => ("an e-mail address", text().is_some()),
        2 => ("a DNS name", text().is_some()),
        6 => ("a URI", text().is_some_and(is_uri)),
        7 => ("an IP address", is_ip_address(bytes)),
        _ => return Ok(()),
    };
    let readable = || String::from_utf8_lossy(bytes).escape_debug().to_string();
    if is_read { Ok(()) } else { Err(format!("\"{}\" is not {kind}", readable())) }
}

/// Newer versions of Go refuse addresses of IPv4 in the form of IPv6.
fn is_ip_address(bytes: &[u8]) -> bool {
    let is_v6 = |bytes| Ipv6Addr::from(bytes).to_ipv4_mapped().is_none();
    bytes.len() == 4 || <[u8; 16]>::try_from(bytes).is_ok_and(is_v6)
}

fn is_uri(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    let is_in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_in_scheme);
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
    is_scheme
        && !uri.bytes().any(|byte| byte.is_ascii_control())
        && has_whole_escapes(rest)
        && authority.is_none_or(is_authority)
}

/// Whether two hexadecimal digits follow each percent sign.
fn has_whole_escapes(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(is_hex)
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_in_user =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    user.bytes().all(is_in_user) && is_host(host)
}

/// Whether it is a host with or without a port, or nothing.
fn is_host(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else { return false };
        let is_v6 = |address: Ipv6Addr| address.to_ipv4_mapped().is_none();
        return address.parse().is_ok_and(is_v6)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let is_in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~!$&'()*+,;=".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_in_host);
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    host.is_empty() || (host.len() <= 253 && name.split('.').all(is_label) && is_port(port))
}
