//! Connections that still carry an old client certificate: they are closed, so that the next ones
//! carry the new one.
//!
//! Which ones those are was noted when the certificate was replaced. Here they are found again
//! among those that are open now, by the cookie that the kernel gives to each socket once and never
//! again until the next boot.

use std::collections::BTreeSet;

use crate::drivers::sockets::{Destroyed, SocketError, destroy, established};

/// The result of closing the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// None of them is open any more; so many had to be closed.
    Closed(usize),
    /// They can't be closed here.
    Impossible(&'static str),
}

/// Closes those of the connections to a remote port that are among the noted ones.
///
/// # Errors
/// When the kernel does not say which there are, or what became of one.
pub fn close(remote_port: u16, noted: &BTreeSet<u64>) -> Result<Closing, SocketError> {
    let mut closed = 0;
    for connection in
        established(remote_port)?.iter().filter(|connection| noted.contains(&connection.cookie))
    {
        match destroy(connection)? {
            Destroyed::Destroyed => closed += 1,
            Destroyed::AlreadyGone => {}
            Destroyed::Unsupported => {
                return Ok(Closing::Impossible(
                    "this kernel can't close connections (CONFIG_INET_DIAG_DESTROY)",
                ));
            }
            Destroyed::NotPermitted => {
                return Ok(Closing::Impossible(
                    "kubecertd may not close connections (it lacks CAP_NET_ADMIN)",
                ));
            }
        }
    }
    Ok(Closing::Closed(closed))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::common::requirements::skip;

    /// Two connections to one listener, and the cookies of both in the order in which they were
    /// made.
    fn two() -> (TcpListener, [TcpStream; 2], [u64; 2]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let streams = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let all = established(port(&listener)).unwrap();
        let cookie = |stream: &TcpStream| {
            all.iter().find(|one| one.local == stream.local_addr().unwrap()).unwrap().cookie
        };
        let cookies = [cookie(&streams[0]), cookie(&streams[1])];
        (listener, streams, cookies)
    }

    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    fn open(listener: &TcpListener) -> Vec<u64> {
        established(port(listener))
            .unwrap()
            .into_iter()
            .map(|connection| connection.cookie)
            .collect()
    }

    #[test]
    fn only_noted_connections_are_closed() {
        let (listener, _streams, [old, new]) = two();
        let closing = close(port(&listener), &BTreeSet::from([old, 1])).unwrap();
        if let Closing::Impossible(reason) = closing {
            return skip(&format!("needs root, and a kernel that destroys connections: {reason}"));
        }
        assert_eq!(closing, Closing::Closed(1));
        assert_eq!(open(&listener), [new]);
    }

    #[test]
    fn closed_connection_is_not_counted() {
        let (listener, streams, [first, second]) = two();
        drop(streams);
        drop(listener.accept().unwrap());
        drop(listener.accept().unwrap());
        let closing = close(port(&listener), &BTreeSet::from([first, second])).unwrap();
        assert!(matches!(closing, Closing::Closed(0) | Closing::Impossible(_)), "{closing:?}");
    }

    #[test]
    fn no_noted_connection_closes_nothing() {
        let (listener, _streams, cookies) = two();
        assert_eq!(close(port(&listener), &BTreeSet::new()).unwrap(), Closing::Closed(0));
        assert_eq!(open(&listener).len(), cookies.len());
    }
}
