//! Server addresses, and the TCP connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rustls::pki_types::{DnsName, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{ProbeError, Stage};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(DnsName<'static>),
}

impl Endpoint {
    /// Parses `host:port`, with an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, ProbeError> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.ok_or_else(|| ProbeError::Address(text.to_owned()))?;
        Self::new(host, port)
    }

    /// Builds it from the two parts, with an IPv6 address in brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, ProbeError> {
        let host =
            Host::parse(host).ok_or_else(|| ProbeError::Address(format!("{host}:{port}")))?;
        Ok(Self { host, port })
    }

    /// The name that the server's certificate must be for.
    pub fn server_name(&self) -> ServerName<'static> {
        match &self.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::DnsName(name.clone()),
        }
    }

    /// Connects; where a name has several addresses, to the first one that accepts.
    pub async fn connect(&self, deadline: Instant) -> Result<TcpStream, ProbeError> {
        timeout_at(deadline, self.try_to_connect())
            .await
            .map_err(|_| ProbeError::TimedOut(Stage::Connection))?
    }

    async fn try_to_connect(&self) -> Result<TcpStream, ProbeError> {
        let addresses = self.addresses().await?;
        TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|e| ProbeError::from_stream(e, Stage::Connection))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ProbeError> {
        let name = match &self.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(name) => name.as_ref(),
        };
        let found = tokio::net::lookup_host((name, self.port)).await;
        found
            .map(Iterator::collect)
            .map_err(|source| ProbeError::Name { name: name.to_owned(), source })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|address| Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return address.is_ipv4().then_some(Self::Address(address));
        }
        DnsName::try_from(text.to_owned()).ok().map(Self::Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<(String, u16)> {
        let endpoint = Endpoint::parse(text).ok()?;
        Some((endpoint.server_name().to_str().into_owned(), endpoint.port))
    }

    #[test]
    fn hosts_and_ports_are_parsed() {
        assert_eq!(name("127.0.0.1:6443"), Some(("127.0.0.1".into(), 6443)));
        assert_eq!(name("[fd00::1]:2379"), Some(("fd00::1".into(), 2379)));
        assert_eq!(name("controller-0.example:80"), Some(("controller-0.example".into(), 80)));
    }

    #[test]
    fn invalid_address_is_refused() {
        for text in [
            "",
            ":80",
            "host",
            "host:",
            "host:65536",
            "host:http",
            "fd00::1:2379",
            "[fd00::1]",
            "[host]:80",
            "a b:80",
            "[127.0.0.1]:80",
        ] {
            assert_eq!(name(text), None, "{text}");
        }
    }
}
