//! Planners with a mistake, each of which the model has to catch.

use kubecertd::model::{
    BridgeHolder, Bridges, CaFile, RootCa, RotationFacts, RotationLevel, RotationStep, SigningFiles,
};
use kubecertd::plan::next_step;

use super::node::{Model, Planner};
use super::safety::{BOTH_WAYS, FORTH, NO_BRIDGE, fault, real, trust_at};
use RootCa::{New, Old};
use RotationLevel as L;

/// The planner that sees something else than there is.
fn seeing(
    node: &RotationFacts,
    level: L,
    bridges: Bridges,
    change: fn(&mut RotationFacts, L),
) -> Option<RotationStep> {
    let mut seen = *node;
    change(&mut seen, level);
    next_step(&seen, level, bridges)
}

fn instead(
    node: &RotationFacts,
    level: L,
    bridges: Bridges,
    (of, other): (L, L),
) -> Option<RotationStep> {
    next_step(node, if level == of { other } else { level }, bridges)
}

const MISTAKES: &[(&str, Planner)] = &[
    ("kube-controller-manager gets no files of its own", |node, level, bridges| {
        seeing(node, level, bridges, |seen, level| {
            let root = if level >= L::Clients { New } else { Old };
            seen.control_plane.iter_mut().for_each(|facts| {
                facts.signing = SigningFiles::Own(root);
                facts.signing_is_loaded = true;
            });
        })
    }),
    ("ca.crt before the files to sign with", |node, level, bridges| {
        match instead(node, level, bridges, (L::Staged, L::Trusted)) {
            Some(RotationStep::Sign(_)) if node.ca == CaFile::Old && level == L::Staged => {
                Some(RotationStep::WriteCa(CaFile::OldNew))
            }
            step => step,
        }
    }),
    ("the old flags are loaded still", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            seen.control_plane.iter_mut().for_each(|facts| facts.signing_is_loaded = true);
        })
    }),
    ("no level at which everything trusts both", |node, level, bridges| {
        instead(node, level, bridges, (L::Trusted, L::Clients))
    }),
    ("servers together with clients", |node, level, bridges| {
        instead(node, level, bridges, (L::Clients, L::Servers))
    }),
    ("the old root is distrusted with the servers", |node, level, bridges| {
        instead(node, level, bridges, (L::Servers, L::Distrusted))
    }),
    ("on the way back trust goes with the clients", |node, level, bridges| {
        instead(node, level, bridges, (L::Trusted, L::Rest))
    }),
    ("kubelet is not restarted", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            seen.kubelet.trust = seen.kubelet_trust;
            seen.kubelet.client = seen.kubelet_client;
            seen.kubelet_server.iter_mut().for_each(|one| one.shows = one.file);
        })
    }),
    ("kube-scheduler is not restarted", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            seen.control_plane.iter_mut().for_each(|facts| {
                facts.scheduler.trust = facts.kubeconfigs;
                facts.scheduler.client = facts.clients;
            });
        })
    }),
    ("kube-controller-manager is not restarted for ca.crt", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            seen.control_plane.iter_mut().for_each(|facts| facts.root_ca = seen.ca);
            if let Some(facts) = &mut seen.control_plane {
                facts.controller_manager = facts.scheduler;
            }
        })
    }),
    ("kube-apiserver is not restarted for the CA of kubelets", |node, level, bridges| {
        seeing(node, level, bridges, |seen, level| {
            seen.control_plane.iter_mut().for_each(|facts| {
                let known = &mut facts.api_server.kubelet_ca;
                *known = known.map(|_| trust_at(level));
            });
        })
    }),
    ("kubelet.conf is forgotten", |node, level, bridges| {
        seeing(node, level, bridges, |seen, level| {
            seen.kubelet_trust = trust_at(level);
            seen.kubelet.trust = trust_at(level);
        })
    }),
    ("the kubeconfigs are forgotten", |node, level, bridges| {
        seeing(node, level, bridges, |seen, level| {
            seen.control_plane.iter_mut().for_each(|facts| {
                facts.kubeconfigs = trust_at(level);
                facts.controller_manager.trust = trust_at(level);
                facts.scheduler.trust = trust_at(level);
            });
        })
    }),
    ("the API server is not waited for", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            seen.control_plane.iter_mut().for_each(|facts| {
                facts.api_server.accepts = seen.ca.trust();
                facts.api_server.shows = facts.server;
                facts.api_server.kubelet_client = facts.clients;
            });
        })
    }),
    ("the certificate that the API server shows is not waited for", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            let all = seen.control_plane.iter_mut();
            all.for_each(|facts| facts.api_server.shows = facts.server);
        })
    }),
    ("its connections to kubelets are not waited for", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| {
            let all = seen.control_plane.iter_mut();
            all.for_each(|facts| facts.api_server.kubelet_client = facts.clients);
        })
    }),
    ("kubelet is not waited for", |node, level, bridges| {
        seeing(node, level, bridges, |seen, _| seen.kubelet_accepts = seen.ca.trust())
    }),
    ("the new root signs before it is trusted", |node, level, bridges| {
        let facts = node.control_plane.filter(|_| level == L::Staged);
        match facts {
            Some(facts) if facts.signing != SigningFiles::Own(New) => {
                Some(RotationStep::Sign(SigningFiles::Own(New)))
            }
            Some(_) => seeing(node, level, bridges, |seen, _| {
                let all = seen.control_plane.iter_mut();
                all.for_each(|facts| facts.signing = SigningFiles::Own(Old));
            }),
            None => next_step(node, level, bridges),
        }
    }),
    ("the old root signs for clients of the new one", |node, level, bridges| {
        match (next_step(node, level, bridges), level) {
            (Some(RotationStep::Sign(SigningFiles::Own(New))), L::Servers) => {
                seeing(node, level, bridges, |seen, _| {
                    let all = seen.control_plane.iter_mut();
                    all.for_each(|facts| facts.signing = SigningFiles::Own(New));
                })
            }
            (step, L::Clients) => match step {
                Some(RotationStep::Sign(SigningFiles::Own(New))) => {
                    seeing(node, level, bridges, |seen, _| {
                        let all = seen.control_plane.iter_mut();
                        all.for_each(|facts| facts.signing = SigningFiles::Own(New));
                    })
                }
                step => step,
            },
            (step, _) => step,
        }
    }),
    ("the key is swapped without ca.crt", |node, level, bridges| {
        match next_step(node, level, bridges) {
            Some(RotationStep::SwapCa(_, key)) => Some(RotationStep::SwapCa(node.ca, key)),
            step => step,
        }
    }),
    ("the bridge is dropped with the servers", |node, level, bridges| {
        let server = node.control_plane.filter(|facts| facts.server.bridge && bridges.forth);
        match server {
            Some(facts) if level == L::Servers && facts.server.issuer == New => {
                Some(RotationStep::DropBridge(BridgeHolder::Server))
            }
            _ => next_step(node, level, bridges),
        }
    }),
    ("no bridge is put behind the server's certificate", |node, level, bridges| {
        match next_step(node, level, bridges) {
            Some(RotationStep::AddBridge(BridgeHolder::Server)) => None,
            Some(RotationStep::IssueServer(_)) if bridges.back => {
                seeing(node, level, bridges, |seen, _| {
                    seen.control_plane.iter_mut().for_each(|facts| {
                        facts.server = facts.api_server.shows;
                    });
                })
            }
            step => step,
        }
    }),
];

fn models(planner: Planner) -> impl Iterator<Item = Model> {
    [(NO_BRIDGE, false), (NO_BRIDGE, true), (FORTH, false), (BOTH_WAYS, false)].into_iter().map(
        move |(bridges, verifies_kubelets)| Model { planner, verifies_kubelets, ..real(bridges) },
    )
}

/// How the model catches a planner: a request fails, or a level is never reached.
fn caught(planner: Planner) -> Option<String> {
    models(planner).find_map(|model| {
        let phases = model.reached().len();
        let is_stuck = phases < 2 * L::ALL.len() - 1;
        fault(&model).or_else(|| is_stuck.then(|| format!("only {phases} phases are reached")))
    })
}

#[test]
fn every_mistake_is_caught() {
    assert_eq!(caught(next_step), None, "without a mistake");
    let mut missed = Vec::new();
    for (mistake, planner) in MISTAKES {
        match caught(*planner) {
            Some(fault) => println!("{mistake}: {fault}"),
            None => missed.push(*mistake),
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}

/// Levels that are begun before all nodes have the one before, or before all have made sure of it.
#[test]
fn cluster_that_does_not_wait_is_caught() {
    for bridges in [NO_BRIDGE, FORTH] {
        let hasty = Model { waits_for_all: false, last: L::Clients, ..real(bridges) };
        assert!(fault(&hasty).is_some());
        let unsure = Model { makes_sure: false, ..real(bridges) };
        assert!(fault(&unsure).is_some());
    }
}
