//! The certificate that a service serves: read at its address, and used only when the socket is the
//! service's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::limit::QUERY_TIMEOUT;
use super::look::{Observer, RunningService};
use super::refused::explain;
use super::together::run_blocking;
use crate::credentials::{Loaded, identity_of, load};
use crate::drivers::processes::{Process, owners_of};
use crate::drivers::sockets::{Listener, listeners};
use crate::drivers::tls::{ClientIdentity, served};
use crate::model::{CredentialName, Serves};
use crate::sys::Root;

/// Probes an address, and finds the owner of the socket.
pub(super) async fn serves(
    look: &Observer,
    running: &Arc<RunningService>,
    credential: &CredentialName,
    address: &str,
) -> Serves {
    let identity = identity(look, credential);
    let served = match served(address, identity.as_ref(), QUERY_TIMEOUT).await {
        Ok(served) => served,
        Err(e) => return Serves::Nothing(format!("{address}: {e}")),
    };
    let (root, running, peer) = (Arc::clone(&look.root), Arc::clone(running), served.peer);
    match run_blocking(move || foreign_owner(&root, &running, peer)).await {
        Ok(None) => {
            let (fingerprint, serial) =
                (served.certificate.fingerprint, served.certificate.serial.to_string());
            Serves::Certificate { fingerprint, serial }
        }
        Ok(Some(text)) => Serves::NotItsOwn(format!(
            "{address}: {text}, so the served certificate says nothing about it"
        )),
        Err(reason) => {
            Serves::Nothing(format!("{address}: whose socket it is can't be found out: {reason}"))
        }
    }
}

/// Returns the credential that is served there as a client's, where it is one for clients too: a
/// member of etcd admits its peers by it.
fn identity(look: &Observer, credential: &CredentialName) -> Option<ClientIdentity> {
    let Loaded::Whole(stored) = load(&*look.root, look.credential(credential)?) else {
        return None;
    };
    let usage = stored.certificate.extended_key_usage.as_ref()?;
    usage.client_auth.then(|| identity_of(&stored).ok())?
}

/// Returns another owner of the socket that accepted the connection; `None` where it is the
/// service's own.
fn foreign_owner(
    root: &Root,
    running: &RunningService,
    peer: SocketAddr,
) -> Result<Option<String>, String> {
    let found = listeners(peer.port()).map_err(|e| e.to_string())?;
    let reached = reached(peer, &found);
    if reached.is_empty() {
        return Ok(Some(
            "nothing on this node listens there: connections are forwarded elsewhere".to_owned(),
        ));
    }
    for listener in reached {
        let owners = owners_of(root, listener.inode).map_err(|e| explain(&e.into()))?;
        if owners.is_empty() {
            return Ok(Some("no process that can be seen from here has the socket".to_owned()));
        }
        if let Some(other) = owners.into_iter().find(|owner| !running.has(root, *owner)) {
            return Ok(Some(format!("the socket is that of {}", told(root, other))));
        }
    }
    Ok(None)
}

fn told(root: &Root, process: Process) -> String {
    let name = process.name(root).unwrap_or_else(|_| "another process".to_owned());
    format!("{name} (process {})", process.pid)
}

/// Returns the listeners that may have accepted a connection to an address: those at that very
/// address, else those at every address, else those at every IPv6 address that accept IPv4 too. All
/// of a kind, since several may share a port.
fn reached(peer: SocketAddr, listeners: &[Listener]) -> Vec<&Listener> {
    let peer = peer.ip().to_canonical();
    let at = |wanted: &dyn Fn(IpAddr) -> bool| {
        listeners.iter().filter(|one| wanted(one.local.ip().to_canonical())).collect::<Vec<_>>()
    };
    let every = |ip: IpAddr| ip.is_unspecified();
    let ways = [
        at(&|ip| ip == peer),
        at(&|ip| every(ip) && ip.is_ipv4() == peer.is_ipv4()),
        at(&|ip| every(ip) && peer.is_ipv4()),
    ];
    ways.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;
    use std::time::Duration;

    use super::super::look::Group;
    use super::*;
    use crate::model::{BootId, Instance, Timestamp, Uptime};

    fn listener(local: &str) -> Listener {
        Listener { local: local.parse().unwrap(), inode: 0, cookie: 0 }
    }

    fn reached_by(peer: &str, listening: &[&str]) -> Vec<String> {
        let listening: Vec<_> = listening.iter().map(|local| listener(local)).collect();
        reached(peer.parse().unwrap(), &listening).iter().map(|one| one.local.to_string()).collect()
    }

    #[test]
    fn most_specific_listener_gets_the_connection() {
        assert_eq!(
            reached_by("127.0.0.1:1", &["0.0.0.0:1", "127.0.0.1:1", "[::]:1"]),
            ["127.0.0.1:1"]
        );
        assert_eq!(
            reached_by("127.0.0.1:1", &["[::]:1", "0.0.0.0:1", "10.0.0.1:1"]),
            ["0.0.0.0:1"]
        );
        assert_eq!(reached_by("127.0.0.1:1", &["[::]:1", "10.0.0.1:1"]), ["[::]:1"]);
        assert_eq!(reached_by("[fd00::1]:1", &["0.0.0.0:1", "[::]:1"]), ["[::]:1"]);
        assert_eq!(reached_by("[fd00::1]:1", &["0.0.0.0:1", "[fd00::2]:1"]), Vec::<String>::new());
        assert_eq!(reached_by("[::ffff:10.0.0.1]:1", &["10.0.0.1:1"]), ["10.0.0.1:1"]);
        assert_eq!(reached_by("127.0.0.1:1", &["127.0.0.1:1", "127.0.0.1:1"]).len(), 2);
        assert_eq!(reached_by("127.0.0.1:1", &[]), Vec::<String>::new());
    }

    fn running(process: Option<Process>) -> RunningService {
        let started = Uptime { boot: BootId("b".to_owned()), since_boot: Duration::ZERO };
        let instance = Instance {
            id: "i".to_owned(),
            pid: None,
            started,
            started_at: Timestamp::MIN,
            age: Duration::ZERO,
        };
        RunningService { instance, process, group: Group::Container("0".repeat(64)), mounts: None }
    }

    #[test]
    fn socket_of_another_process_is_detected() {
        let root = Root::open(Path::new("/")).unwrap();
        let own = Process::find(&root, std::process::id()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = socket.local_addr().unwrap();
        assert_eq!(foreign_owner(&root, &running(own), peer), Ok(None));
        let found = foreign_owner(&root, &running(None), peer).unwrap().unwrap();
        let expected = format!(
            "the socket is that of {} (process {})",
            own.unwrap().name(&root).unwrap(),
            std::process::id()
        );
        assert_eq!(found, expected);
        drop(socket);
        let found = foreign_owner(&root, &running(own), peer).unwrap().unwrap();
        assert_eq!(
            found,
            "nothing on this node listens there: connections are forwarded \
            elsewhere"
        );
    }
}
