//! The memory of services: `services.json`.

use super::file::StateFile;
use crate::model::{AbsolutePath, ServiceMemory};
use crate::sys::{FileError, Root};

const FILE: StateFile = StateFile::new("services.json", "the history of services is lost");

/// Reads the memory of services. The text is the problem with the file, if there is one.
#[must_use]
pub fn read_service_memory(root: &Root, state: &AbsolutePath) -> (ServiceMemory, Option<String>) {
    FILE.read_or_default(root, state)
}

/// Writes the memory of services.
///
/// # Errors
/// When the file can't be written; it keeps its earlier content then.
pub fn write_service_memory(
    root: &Root,
    state: &AbsolutePath,
    memory: &ServiceMemory,
) -> Result<(), FileError> {
    FILE.write(root, state, memory)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::model::{
        Appeared, BootId, ContentName, CredentialName, Earlier, EtcdPeer, MemberId, Membership,
        NotedConnections, Restarted, ServiceName, Timestamp, Told, Uptime,
    };

    fn membership() -> Membership {
        let urls = |text: &str| vec![text.parse().unwrap()];
        Membership {
            id: MemberId::new(u64::MAX),
            urls: urls("https://10.0.0.1:2380"),
            others: vec![
                EtcdPeer { urls: urls("https://[fd00::2]:2380") },
                EtcdPeer { urls: Vec::new() },
            ],
        }
    }

    fn memory() -> ServiceMemory {
        let boot = BootId("6bc0a1f2".to_owned());
        let at = Uptime { boot: boot.clone(), since_boot: Duration::from_nanos(4_711_000_000_001) };
        let now = Timestamp::from_seconds(1_800_000_000);
        let (service, credential) = (
            ServiceName::new("kube-apiserver").unwrap(),
            CredentialName::new("etcd/server").unwrap(),
        );
        let at_first = at.clone();
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
            content: credential.clone().into(),
            fingerprint: "02".to_owned(),
        }];
        let file = AbsolutePath::constant("/etc/kubernetes/pki/ca.crt");
        let content = ContentName::CaCertificates(file);
        let credentials = (credential.clone().into(), appeared.clone());
        ServiceMemory {
            told,
            etcd_members: Some(3),
            etcd_rank: 1,
            membership: Some(membership()),
            other_api_servers: 2,
            without_lease: Some(at_first),
            first_requests: BTreeMap::from([(credential.clone(), fingerprint.clone())]),
            appeared: BTreeMap::from([credentials, (content.clone(), appeared)]),
            stopped: BTreeMap::from([(service.clone(), "abc".to_owned())]),
            restarted: vec![Restarted { service, content, fingerprint, at: now }],
            connections: vec![note],
        }
    }

    #[test]
    fn service_memory_round_trips_and_newer_format_is_refused() {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let state = AbsolutePath::constant("/var/lib/kubecertd");
        assert_eq!(read_service_memory(&root, &state), (ServiceMemory::default(), None));
        write_service_memory(&root, &state, &memory()).unwrap();
        assert_eq!(read_service_memory(&root, &state), (memory(), None));
        std::fs::write(disk.path().join("var/lib/kubecertd/services.json"), "{\"format\": 2}")
            .unwrap();
        let note = "/var/lib/kubecertd/services.json: has format 2, and this version knows format \
            1; the history of services is lost";
        assert_eq!(
            read_service_memory(&root, &state),
            (ServiceMemory::default(), Some(note.to_owned()))
        );
    }

    /// Returns what is read of a file with this text.
    fn read(text: &str) -> (ServiceMemory, Option<String>) {
        let disk = tempfile::tempdir().unwrap();
        let root = Root::open(disk.path()).unwrap();
        let state = AbsolutePath::constant("/var/lib/kubecertd");
        write_service_memory(&root, &state, &memory()).unwrap();
        std::fs::write(disk.path().join("var/lib/kubecertd/services.json"), text).unwrap();
        read_service_memory(&root, &state)
    }

    #[test]
    fn file_from_before_the_membership_was_noted_is_read() {
        let (memory, note) = read("{\"format\": 1, \"etcd_members\": 3, \"etcd_rank\": 2}");
        assert_eq!((memory.etcd_members, memory.membership, note), (Some(3), None, None));
    }

    #[test]
    fn membership_with_invalid_id_or_url_is_not_read() {
        let with = |id: &str, url: &str| {
            format!(
                "{{\"format\": 1, \"membership\": {{\"id\": {id}, \"urls\": [], \"others\": \
                 [{{\"urls\": [\"{url}\"]}}]}}}}"
            )
        };
        let valid = "https://10.0.0.2:2380";
        assert!(read(&with("7", valid)).0.membership.is_some());
        for text in [
            with("-1", valid),
            with("18446744073709551616", valid),
            with("\"7\"", valid),
            with("7", "http://10.0.0.2:2380"),
            with("7", "https://10.0.0.2:2380/../x"),
        ] {
            let (memory, note) = read(&text);
            assert_eq!(memory, ServiceMemory::default(), "{text}");
            assert!(note.is_some_and(|note| note.contains("the history of services is lost")));
        }
    }
}
