//! What is remembered of services: a small file that may be deleted at any time without harm.

use super::small::{read, write};
use crate::model::{AbsolutePath, ServiceMemory};
use crate::sys::{FileError, Root};

const SERVICES: &str = "services.json";

/// Reads what is remembered of services. The text says what is wrong with the file, if something
/// is.
#[must_use]
pub fn read_services(root: &Root, state: &AbsolutePath) -> (ServiceMemory, Option<String>) {
    let (found, note) = read(root, state, SERVICES, "nothing is remembered of services");
    (found.unwrap_or_default(), note)
}

/// Writes what is to be remembered of services.
///
/// # Errors
/// When the state folder can't be written to; the file is what it was then.
pub fn write_services(
    root: &Root,
    state: &AbsolutePath,
    memory: &ServiceMemory,
) -> Result<(), FileError> {
    write(root, state, SERVICES, memory)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::model::{
        Appeared, BootId, CredentialName, Earlier, NotedConnections, Restarted, ServiceName,
        Timestamp, Told, Uptime,
    };

    fn memory() -> ServiceMemory {
        let boot = BootId("6bc0a1f2".to_owned());
        let at = Uptime { boot: boot.clone(), since_boot: Duration::from_nanos(4_711_000_000_001) };
        let now = Timestamp::from_seconds(1_800_000_000);
        let (service, credential) = (
            ServiceName::new("kube-apiserver").unwrap(),
            CredentialName::new("etcd/server").unwrap(),
        );
        let earlier = Earlier { fingerprint: "00".to_owned(), not_after: now, until: at.clone() };
        let fingerprint = "01".to_owned();
        let (seen, seen_at, earlier) = (at.clone(), now, vec![earlier]);
        let appeared = Appeared {
            fingerprint: fingerprint.clone(),
            at,
            not_after: now,
            ours: true,
            seen,
            seen_at,
            earlier,
        };
        let note = NotedConnections {
            service: service.clone(),
            credential: credential.clone(),
            fingerprint: fingerprint.clone(),
            cookies: vec![u64::MAX],
            boot,
            end: None,
        };
        let told = vec![Told {
            service: service.clone(),
            credential: credential.clone(),
            fingerprint: "02".to_owned(),
        }];
        ServiceMemory {
            told,
            etcd_members: Some(3),
            appeared: BTreeMap::from([(credential.clone(), appeared)]),
            stopped: BTreeMap::from([(service.clone(), "abc".to_owned())]),
            restarted: vec![Restarted { service, credential, fingerprint, at: now }],
            connections: vec![note],
        }
    }

    #[test]
    fn the_memory_goes_out_and_comes_back_and_may_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let state = AbsolutePath::constant("/var/lib/kubecertd");
        assert_eq!(read_services(&root, &state), (ServiceMemory::default(), None));
        write_services(&root, &state, &memory()).unwrap();
        assert_eq!(read_services(&root, &state), (memory(), None));
        std::fs::write(folder.path().join("var/lib/kubecertd/services.json"), "{\"format\": 2}")
            .unwrap();
        let note = "/var/lib/kubecertd/services.json: has format 2, and this version knows format \
            1; nothing is remembered of services";
        assert_eq!(read_services(&root, &state), (ServiceMemory::default(), Some(note.to_owned())));
    }
}
