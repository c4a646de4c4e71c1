//! The addresses of this machine.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// Returns the addresses of this machine's network interfaces, without those that every machine
/// has.
///
/// # Errors
/// When the system does not list them.
pub fn own_addresses() -> Result<Vec<IpAddr>, String> {
    let found = getifaddrs()
        .map_err(|e| format!("the addresses of this machine can't be listed: {}", e.desc()))?;
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|one| IpAddr::from(one.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|one| IpAddr::from(one.ip())))
    };
    let all = found.filter_map(|one| address(one.address?));
    Ok(all.filter(|one| !one.is_loopback()).collect())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn addresses_are_those_that_can_be_bound_without_loopback() {
        let found = own_addresses().unwrap();
        assert!(found.iter().all(|one| !one.is_loopback()), "{found:?}");
        for one in found.iter().filter(|one| one.is_ipv4()) {
            UdpSocket::bind((*one, 0)).unwrap();
        }
        // The one that leads to the rest of the network, where there is one. Nothing is sent.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            let own = socket.local_addr().unwrap().ip();
            assert!(found.contains(&own), "{own} {found:?}");
        }
    }
}
