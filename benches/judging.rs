//! How fast credentials are judged: ten thousand at once, from the facts alone and from the files
//! on.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use kubecertd::demo::{self, Life, NodePlan};
use kubecertd::formats::x509::KeyAlgorithm;
use kubecertd::observe::{Config, Node, observe};
use kubecertd::pass::{policy, survey};
use kubecertd::plan::judge;
use kubecertd::sys::{Clock, Root, SystemClock};

const MANY: usize = 10_000;

/// A node with ten thousand pairs of its own, each in files of its own, due and signed by the
/// cluster's authority.
fn many(folder: &Path, key: KeyAlgorithm) -> Node {
    demo::DemoNode::build(
        folder,
        SystemClock.now(),
        &NodePlan::everything(Life::Days(10)).with_key(key),
    )
    .unwrap();
    let pki = folder.join("etc/kubernetes/pki");
    let pairs = folder.join("etc/pairs");
    std::fs::create_dir_all(&pairs).unwrap();
    let drop_ins = folder.join("etc/kubecertd/kubecertd.d");
    std::fs::create_dir_all(&drop_ins).unwrap();
    for number in 0..MANY {
        for kind in ["crt", "key"] {
            std::fs::copy(
                pki.join(format!("apiserver.{kind}")),
                pairs.join(format!("{number}.{kind}")),
            )
            .unwrap();
        }
    }
    // No configuration file may be as large as all of them together.
    for (part, numbers) in (0..MANY).collect::<Vec<_>>().chunks(1_000).enumerate() {
        let entry = |number: &usize| {
            format!(
                "[[credential]]\nname = \"pair-{number}\"\nauthority = \"ca\"\ncertificate = \
                 \"/etc/pairs/{number}.crt\"\nkey = \"/etc/pairs/{number}.key\"\n"
            )
        };
        std::fs::write(
            drop_ins.join(format!("{part}.toml")),
            numbers.iter().map(entry).collect::<String>(),
        )
        .unwrap();
    }
    Node::open(Root::open(folder).unwrap(), &Config::Usual).unwrap()
}

fn judging(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let node = many(folder.path(), KeyAlgorithm::EcdsaP256);
    let (now, policy) = (SystemClock.now(), policy(&node));
    let facts = observe(&node.root, &node.catalog, &node.settings.paths.state);
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
    let rsa_folder = tempfile::tempdir().unwrap();
    let rsa = many(rsa_folder.path(), KeyAlgorithm::Rsa2048);
    group.bench_function("read and judged, RSA-2048", |bencher| {
        bencher.iter(|| black_box(survey(&rsa, now)))
    });
    group.finish();
}

criterion_group!(benches, judging);
criterion_main!(benches);
