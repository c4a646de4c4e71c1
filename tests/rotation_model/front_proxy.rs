//! The CA of the front proxy, on API servers whose root CA has the level already. Each shows its
//! client certificate to aggregated API servers, which trust at least what both levels of the
//! agreement do: each API server adds its own file to their list, and only what the level to which
//! the nodes work does not trust is taken out of it.

use std::collections::BTreeSet;

use kubecertd::model::{
    CaFile, FrontProxyFacts, ReloadingProgram, RootCa, RotationFacts, RotationLevel, RotationStep,
};
use kubecertd::plan::{ca_file_at, next_step, trust_in_objects};

use super::node::{Kind, Planner, after, at_rest};
use super::safety::BOTH_WAYS;
use RootCa::{New, Old};

const LEVELS: [RotationLevel; 6] = RotationLevel::ALL;

/// An API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    ca: CaFile,
    ca_key: RootCa,
    client: RootCa,
    /// The issuer of what it shows.
    shown: RootCa,
    /// What it has read of the file of the CA, and publishes.
    publishes: CaFile,
    /// Whether it has had the time to read what is there.
    has_read: bool,
}

const AT_REST: Server = Server {
    ca: CaFile::Old,
    ca_key: Old,
    client: Old,
    shown: Old,
    publishes: CaFile::Old,
    has_read: true,
};

impl Server {
    fn facts(self) -> FrontProxyFacts {
        let Self { ca, ca_key, client, .. } = self;
        FrontProxyFacts { ca, ca_key, client, shows: self.has_read.then_some(client) }
    }

    /// Its next step to a level. A certificate of the CA that is not to be trusted has the node go
    /// to the level before: then the steps of the root CA come first.
    fn next(self, planner: Planner, level: RotationLevel) -> Option<RotationStep> {
        let mut node = with_level(level);
        node.control_plane.as_mut().unwrap().front_proxy = Some(self.facts());
        for _ in 0..20 {
            match planner(&node, level, BOTH_WAYS)? {
                step @ (RotationStep::WriteFrontProxyCa(_)
                | RotationStep::SwapFrontProxyCa(..)
                | RotationStep::IssueFrontProxyClient(_)) => return Some(step),
                step @ RotationStep::Await(ReloadingProgram::ApiServer) if !self.has_read => {
                    return Some(step);
                }
                step => node = after(&node, step, BOTH_WAYS),
            }
        }
        panic!("{level}: {self:?}: no step of the front proxy")
    }

    fn after(self, step: RotationStep) -> Self {
        match step {
            RotationStep::WriteFrontProxyCa(ca) => Self { ca, ..self.unread() },
            RotationStep::SwapFrontProxyCa(ca, ca_key) => Self { ca, ca_key, ..self.unread() },
            RotationStep::IssueFrontProxyClient(client) => Self { client, ..self.unread() },
            RotationStep::Await(ReloadingProgram::ApiServer) => self.read(),
            step => panic!("{step:?} is not of the front proxy"),
        }
    }

    fn read(self) -> Self {
        Self { shown: self.client, publishes: self.ca, has_read: true, ..self }
    }

    fn unread(self) -> Self {
        Self { has_read: false, ..self }
    }

    /// What can happen to it at any time: it reads one of its files or both, it is not known
    /// whether it has, or kubeadm issues its certificate.
    fn events(self) -> [Self; 5] {
        [
            self.read(),
            Self { shown: self.client, ..self },
            Self { publishes: self.ca, ..self },
            self.unread(),
            Self { client: self.ca_key, ..self.unread() },
        ]
    }
}

/// A node whose root CA has a level.
fn with_level(level: RotationLevel) -> RotationFacts {
    let mut node = at_rest(Kind { is_control_plane: true, verifies_kubelets: false });
    for below in LEVELS.into_iter().take_while(|one| *one <= level) {
        while let Some(step) = next_step(&node, below, BOTH_WAYS) {
            node = after(&node, step, BOTH_WAYS);
        }
    }
    node
}

/// All states of a server while the nodes are between two levels, from those that have one of them.
fn reached(
    planner: Planner,
    from: &BTreeSet<Server>,
    levels: [RotationLevel; 2],
) -> BTreeSet<Server> {
    let mut all = from.clone();
    let mut open: Vec<_> = from.iter().copied().collect();
    while let Some(server) = open.pop() {
        let steps = levels.into_iter().filter_map(|level| server.next(planner, level));
        let next = steps.map(|step| server.after(step)).chain(server.events());
        open.extend(next.filter(|one| all.insert(*one)));
    }
    all
}

/// The first thing that goes wrong.
fn fault(planner: Planner) -> Option<String> {
    let mut with = LEVELS.map(|_| BTreeSet::new());
    with[0].insert(AT_REST);
    loop {
        let before = with.clone();
        for low in 0..LEVELS.len() - 1 {
            let levels = [LEVELS[low], LEVELS[low + 1]];
            let from = with[low].union(&with[low + 1]).copied().collect();
            let all = reached(planner, &from, levels);
            let [a, b] = levels.map(trust_in_objects);
            for server in &all {
                let is_trusted = a.has(server.shown) && b.has(server.shown);
                if !is_trusted || !server.ca.trust().has(server.client) {
                    return Some(format!("{levels:?}: {server:?}"));
                }
            }
            for (at, level) in [(low, levels[0]), (low + 1, levels[1])] {
                let done = all.iter().filter(|one| one.next(planner, level).is_none());
                for server in done {
                    // It would add what is taken out of the list.
                    if server.publishes.trust() != trust_in_objects(level) {
                        return Some(format!("done with {level}: {server:?}"));
                    }
                    with[at].insert(*server);
                }
            }
        }
        if with == before {
            return None;
        }
    }
}

#[test]
fn front_proxy_client_is_always_trusted() {
    assert_eq!(fault(next_step), None);
}

/// Whatever it begins with, a server gets what a level is to have.
#[test]
fn front_proxy_goes_to_each_level_from_anywhere() {
    let roots = [Old, New];
    let mut states = 0;
    for ca in CaFile::ALL {
        for (ca_key, client) in roots.into_iter().flat_map(|key| roots.map(|one| (key, one))) {
            for level in LEVELS {
                let mut server =
                    Server { ca, ca_key, client, shown: client, publishes: ca, has_read: false };
                let mut steps = 0;
                while let Some(step) = server.next(next_step, level) {
                    server = server.after(step);
                    steps += 1;
                    assert!(steps < 10, "{level}: {server:?}");
                }
                let signer = if level < RotationLevel::Servers { Old } else { New };
                let ca = ca_file_at(level);
                let wanted = Server {
                    ca,
                    ca_key: signer,
                    client: signer,
                    shown: signer,
                    publishes: ca,
                    has_read: true,
                };
                assert_eq!(server, wanted, "{level}");
                states += 1;
            }
        }
    }
    assert_eq!(states, 96);
}

#[test]
fn planners_with_a_mistake_are_caught() {
    let planners: [(&str, Planner); 3] = [
        ("signs too early", |node, level, bridges| match next_step(node, level, bridges) {
            Some(RotationStep::WriteFrontProxyCa(CaFile::OldNew)) => {
                Some(RotationStep::SwapFrontProxyCa(CaFile::NewOld, New))
            }
            step => step,
        }),
        ("waits for nothing", |node, level, bridges| {
            let mut node = *node;
            if let Some(one) = node.control_plane.as_mut().unwrap().front_proxy.as_mut() {
                one.shows = Some(one.client);
            }
            next_step(&node, level, bridges)
        }),
        ("keeps the certificate", |node, level, bridges| match next_step(node, level, bridges) {
            Some(RotationStep::IssueFrontProxyClient(_)) => None,
            step => step,
        }),
    ];
    for (mistake, planner) in planners {
        assert!(fault(planner).is_some(), "{mistake}");
    }
}
