//! Measures how fast ten thousand credentials are judged, from observed facts alone and from the
//! files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use kubecertd::credentials::ObservedFiles;
use kubecertd::demo::{self, Life, NodePlan};
use kubecertd::formats::x509::KeyAlgorithm;
use kubecertd::observe::{Config, Node, observe};
use kubecertd::pass::{policy, survey};
use kubecertd::plan::judge;
use kubecertd::sys::{Clock, Root, SystemClock};

const PAIR_COUNT: usize = 10_000;

/// Makes a node with ten thousand own pairs, each in files of its own, due and signed by the
/// cluster's CA.
fn node_with_pairs(dir: &Path, key: KeyAlgorithm) -> Node {
    demo::DemoNode::build(
        dir,
        SystemClock.now(),
        &NodePlan::everything(Life::Days(10)).with_key(key),
    )
    .unwrap();
    let pki = dir.join("etc/kubernetes/pki");
    let pairs = dir.join("etc/pairs");
    std::fs::create_dir_all(&pairs).unwrap();
    let drop_ins = dir.join("etc/kubecertd/kubecertd.d");
    std::fs::create_dir_all(&drop_ins).unwrap();
    for number in 0..PAIR_COUNT {
        for kind in ["crt", "key"] {
            std::fs::copy(
                pki.join(format!("apiserver.{kind}")),
                pairs.join(format!("{number}.{kind}")),
            )
            .unwrap();
        }
    }
    // The entries are split, since the size of one configuration file is limited.
    for (part, numbers) in (0..PAIR_COUNT).collect::<Vec<_>>().chunks(1_000).enumerate() {
        let entry = |number: &usize| {
            format!(
                "[[credential]]\nname = \"pair-{number}\"\nca = \"ca\"\ncertificate = \
                 \"/etc/pairs/{number}.crt\"\nkey = \"/etc/pairs/{number}.key\"\n"
            )
        };
        std::fs::write(
            drop_ins.join(format!("{part}.toml")),
            numbers.iter().map(entry).collect::<String>(),
        )
        .unwrap();
    }
    Node::open(Root::open(dir).unwrap(), &Config::Usual).unwrap()
}

fn judging(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_pairs(dir.path(), KeyAlgorithm::EcdsaP256);
    let (now, policy) = (SystemClock.now(), policy(&node));
    let facts = observe(&ObservedFiles::of(&node.root), &node.catalog, &node.settings.paths.state);
    let mut group = criterion.benchmark_group("10,000 credentials");
    group.sample_size(10);
    group.bench_function("judged, from facts", |bencher| {
        bencher.iter(|| {
            for one in &facts.credentials {
                let authority =
                    one.credential.authority.as_ref().and_then(|name| facts.authority(name));
                black_box(judge(one, authority, &policy, now));
            }
        });
    });
    group.bench_function("read and judged, ECDSA-P256", |bencher| {
        bencher.iter(|| black_box(survey(&node, now)))
    });
    let rsa_dir = tempfile::tempdir().unwrap();
    let rsa = node_with_pairs(rsa_dir.path(), KeyAlgorithm::Rsa2048);
    group.bench_function("read and judged, RSA-2048", |bencher| {
        bencher.iter(|| black_box(survey(&rsa, now)))
    });
    group.finish();
}

criterion_group!(benches, judging);
criterion_main!(benches);
