//! New root CAs: a renewal with the same key, a replacement with another key, and the bridge
//! between an old root and its replacement.
//!
//! Go compares names byte for byte, and OpenSSL compares the identifiers of keys: where either is
//! built again instead of copied, half of all clients are lost. So what has to stay is copied, and
//! each result is read by the other library and compared before it is returned.
//!
//! Nothing here reads the clock or a file, and none of the old certificates is checked against a
//! time, except that an expired root gets no bridge.

mod alternative_names;
mod bridge;
mod facts;
mod renewal;
mod replacement;
mod strict;
mod subject;

#[cfg(test)]
mod bridge_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod renewal_tests;
#[cfg(test)]
mod replacement_tests;

pub use bridge::{BridgeError, bridge};
pub use renewal::{LeafLoss, RenewRootError, lost_leaves, renew_root};
pub use replacement::{NewRoot, NewRootError, RootLifetime, new_root};
pub use subject::{NamePart, SubjectError};
