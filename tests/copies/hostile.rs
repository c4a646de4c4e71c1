//! Hostile owners of copies.

use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::common::{Entry, RSA, Snapshot};
use super::*;

/// Makes a node with a copy of Alice's, and with files of root beside the originals, which she must
/// not be able to read or replace.
fn node_with_alice() -> Node {
    let node = Node::due();
    let admin = node.text(ADMIN);
    write_owned(&node, ALICE_CONFIG, alice_kubeconfig(&admin), ALICE_UID, 0o600);
    // A copy like hers.
    write_owned(&node, "root/.kube/config", &admin, 0, 0o600);
    // Beside one of her files it would be removed.
    write_owned(&node, "root/.kube/.config.kubecertd-0badcafe", "of root's", 0, 0o600);
    with_configuration(node, HOME_COPIES)
}

fn root_files(node: &Node) -> Vec<(String, Entry)> {
    let Snapshot(all) = Node::at(node.path("root")).snapshot();
    // A hard link changes nothing else.
    all.into_iter().map(|(path, entry)| (path.display().to_string(), entry)).collect()
}

fn count_renewed(node: &Node) -> usize {
    let whole = node.usable_credentials().into_values();
    whole
        .filter(|stored| stored.certificate.not_after.seconds_since(common::now()) > 300 * 86_400)
        .count()
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

#[test]
fn hostile_object_in_place_of_copy_is_not_followed() {
    require!(ROOT);
    type Plant = fn(&Path, &Path);
    let own = |path: &Path| lchown(path, Some(ALICE_UID), Some(ALICE_UID)).unwrap();
    let cases: [(&str, &str, Plant); 9] = [
        (
            "a symlink to a file of root's",
            "is a symlink that others than root may have set",
            |_, config| symlink("/root/.kube/config", config).unwrap(),
        ),
        (
            "a symlink to a file of her own",
            "is a symlink that others than root may have set",
            |root, config| {
                fs::copy(root.join("root/.kube/config"), root.join("home/alice/mine")).unwrap();
                symlink("/home/alice/mine", config).unwrap();
            },
        ),
        (
            "a directory that is a symlink",
            "is a symlink that others than root may have set",
            |_, config| {
                fs::remove_dir(config.parent().unwrap()).unwrap();
                symlink("/root/.kube", config.parent().unwrap()).unwrap();
            },
        ),
        ("a symlink far up", "is a symlink that others than root may have set", |_, config| {
            symlink("../../../../../../etc/shadow", config).unwrap()
        }),
        ("a hard link to a file of root's", "has 2 names (hard links)", |root, config| {
            fs::hard_link(root.join("root/.kube/config"), config).unwrap();
        }),
        ("a pipe", "is a pipe, not a file", |_, config| {
            nix::unistd::mkfifo(config, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("a directory", "is a directory, not a file", |_, config| fs::create_dir(config).unwrap()),
        ("a socket", "cannot read", |_, config| {
            drop(std::os::unix::net::UnixListener::bind(config).unwrap())
        }),
        ("a file without end", "is larger than 1048576 bytes", |_, config| {
            fs::File::create(config).unwrap().set_len(1 << 40).unwrap();
        }),
    ];
    for (what, reported, plant) in cases {
        let node = node_with_alice();
        fs::remove_file(node.path(ALICE_CONFIG)).unwrap();
        plant(node.root(), &node.path(ALICE_CONFIG));
        if fs::symlink_metadata(node.path("home/alice/.kube")).unwrap().is_symlink() {
            own(&node.path("home/alice/.kube"));
        } else if !what.contains("hard") {
            own(&node.path(ALICE_CONFIG));
        }
        let before = root_files(&node);
        let began = Instant::now();
        let run = node.run(&["renew"]);
        assert_eq!((run.code, count_renewed(&node)), (0, 11), "{what}: {}", run.text);
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        let check = node.run(&["check"]);
        assert!(check.code == 3 && check.text.contains(reported), "{what}: {}", check.text);
        assert!(check.text.contains("/home/alice/.kube"), "{what}: {}", check.text);
        let drop_in = node.run(&["config", "check"]).text;
        assert!(
            drop_in.ends_with(
                "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\n\
                ReadOnlyPaths=-/run/user\nReadWritePaths=-/home\n"
            ),
            "{what}: {drop_in}"
        );
        // A drop-in for this one file does not include it either.
        node.write(
            "etc/kubecertd/kubecertd.toml",
            "[[copy]]\nof = 'admin.conf'\nkubeconfig = '/home/alice/.kube/config'\n",
        );
        let drop_in = node.run(&["config", "check"]).text;
        assert!(
            drop_in.ends_with("[Service]\nReadWritePaths=-/home/alice\n")
                || !drop_in.contains("ReadWritePaths"),
            "{what}: {drop_in}"
        );
        assert_eq!(root_files(&node), before, "{what}");
        assert_ne!(admin_fingerprint(&node), embedded_fingerprint(&node, "root/.kube/config"));
    }
}

#[test]
fn mount_in_user_directory_is_not_entered() {
    require!(MOUNTS);
    let node = node_with_alice();
    let script = format!(
        "mount -t tmpfs -o size=1m none '{0}' && cp '{1}' '{0}/config' && exec '{2}' --root '{3}' \
         check",
        node.path("home/alice/.kube").display(),
        node.path("root/.kube/config").display(),
        env!("CARGO_BIN_EXE_kubecertd"),
        node.root().display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        text.contains(
            "/home/alice/.kube: is a mount in a directory that other users own or can write, which \
             is not entered"
        ),
        "{text}"
    );
}

/// The file or its directory is replaced at random moments while copies are updated.
#[test]
fn copy_swapped_for_symlink_writes_nothing_elsewhere() {
    require!(ROOT);
    for (what, file, target) in [
        ("the file", ALICE_CONFIG, "/root/.kube/config"),
        ("its directory", "home/alice/.kube", "/root/.kube"),
    ] {
        let node = node_with_alice();
        let old = alice_kubeconfig(&node.text(ADMIN));
        let before = root_files(&node);
        let (path, done) = (node.path(file), AtomicBool::new(false));
        let mut updated = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut swaps = 0_u64;
                let away = path.with_extension("away");
                while !done.load(Ordering::Relaxed) {
                    let moved = fs::rename(&path, &away).is_ok();
                    let _ = symlink(target, &path);
                    std::thread::sleep(Duration::from_micros(300));
                    remove(&path);
                    if moved {
                        let _ = fs::rename(&away, &path);
                    }
                    swaps += 1;
                    std::thread::sleep(Duration::from_micros(swaps * 37 % 9_000));
                }
            });
            let began = Instant::now();
            // On a busy machine the moments between two swaps are rare.
            while began.elapsed() < Duration::from_secs(6)
                || (updated == 0 && began.elapsed() < Duration::from_secs(300))
            {
                let run = node.run(&["renew", "--force", "admin.conf"]);
                assert!(
                    [0, 4].contains(&run.code) && !run.text.contains("panicked"),
                    "{}: {}",
                    run.code,
                    run.text
                );
                updated += usize::from(run.text.contains("1 copy updated"));
            }
            done.store(true, Ordering::Relaxed);
        });
        println!("{what}: updated {updated} times");
        assert!(updated > 0, "{what}: nothing was tried");
        assert_eq!(root_files(&node), before, "{what}");
        // With everything in its place it is updated again.
        if !node.path(ALICE_CONFIG).exists() {
            write_owned(&node, ALICE_CONFIG, &old, ALICE_UID, 0o600);
        }
        assert_eq!(node.run(&["renew", "--force", "admin.conf"]).code, 0);
        assert!(check_line(&node, "home/alice/.kube/config").contains("in step"), "{what}");
        let owner = fs::metadata(node.path(ALICE_CONFIG)).unwrap();
        assert_eq!((owner.uid(), owner.mode() & 0o7777), (ALICE_UID, 0o600), "{what}");
        assert_eq!(staged_files_in_homes(&node), [""; 0], "{what}");
    }
}

/// Returns staged files that were left in users' directories.
fn staged_files_in_homes(node: &Node) -> Vec<String> {
    let staged = node.dot_files().into_iter().filter(|path| path.starts_with(node.path("home")));
    staged
        .map(|path| path.to_str().unwrap().to_owned())
        .filter(|path| path.contains("kubecertd-"))
        .collect()
}

/// Kills a pass at each rename. Before the next start, a user replaces the directory by a link to
/// another user's directory.
#[test]
fn recovery_writes_copy_only_into_same_directory() {
    require!(ROOT, "strace");
    let mut finished = [0, 0];
    for hostile in [false, true] {
        for at in 1..60 {
            let node = node_with_alice();
            let bob = node.text("root/.kube/config");
            write_owned(&node, "home/bob/.kube/config", &bob, 1002, 0o600);
            // Everything else is fresh, which limits the number of renames.
            assert_eq!(node.run(&["renew", "scheduler.conf"]).code, 0);
            let kill = format!("inject=renameat,renameat2,rename:signal=KILL:when={at}");
            let program = [
                env!("CARGO_BIN_EXE_kubecertd"),
                "--root",
                node.root().to_str().unwrap(),
                "renew",
                "admin.conf",
            ];
            let mut trace = Command::new("strace");
            trace
                .args([
                    "-f",
                    "-q",
                    "-o",
                    "/dev/null",
                    "-e",
                    "trace=renameat,renameat2,rename",
                    "-e",
                    &kill,
                ])
                .args(program);
            if trace.output().unwrap().status.success() {
                assert!(at > 6, "it was never killed");
                break;
            }
            let before = fs::metadata(node.path("home/bob/.kube/config")).unwrap().ino();
            if hostile {
                fs::rename(node.path("home/alice/.kube"), node.path("home/alice/away")).unwrap();
                symlink("/home/bob/.kube", node.path("home/alice/.kube")).unwrap();
                lchown(node.path("home/alice/.kube"), Some(ALICE_UID), None).unwrap();
            }
            let run = node.run(&["renew", "scheduler.conf"]);
            assert!(run.code == 0, "{at}: {}", run.text);
            finished[usize::from(hostile)] +=
                usize::from(run.text.contains("home/alice/.kube/config"));
            let bobs = fs::metadata(node.path("home/bob/.kube/config")).unwrap();
            assert!(
                bobs.uid() == 1002
                    && (!hostile
                        || bobs.ino() == before
                        || embedded_fingerprint(&node, "home/bob/.kube/config")
                            == admin_fingerprint(&node)),
                "{at}"
            );
            embedded_fingerprint(&node, "home/bob/.kube/config");
            if hostile {
                fs::remove_file(node.path("home/alice/.kube")).unwrap();
                fs::rename(node.path("home/alice/away"), node.path("home/alice/.kube")).unwrap();
            }
            let alice = embedded_fingerprint(&node, ALICE_CONFIG);
            assert_eq!(
                split_client_data(&node.text(ALICE_CONFIG)).1,
                split_client_data(&alice_kubeconfig(&bob)).1,
                "{at}: whole"
            );
            let run = node.run(&["renew", "admin.conf"]);
            assert_eq!(run.code, 0, "{at}: {}", run.text);
            assert_eq!(
                [
                    embedded_fingerprint(&node, ALICE_CONFIG),
                    embedded_fingerprint(&node, "home/bob/.kube/config")
                ],
                [admin_fingerprint(&node); 2],
                "{at}: {alice:?} {}",
                run.text
            );
            assert_eq!(staged_files_in_homes(&node), [""; 0], "{at}");
        }
    }
    assert!(
        finished.iter().all(|times| *times > 0),
        "no transaction was interrupted: {finished:?}"
    );
}

#[test]
fn content_of_copy_is_never_disclosed() {
    let secrets = [
        "s3cret-token",
        "alices-context",
        "alices-user",
        "alices-cluster",
        "far.example.com",
        "AliceSubject",
    ];
    let other = Node::fresh(RSA);
    let (values, _) = split_client_data(&other.text(ADMIN));
    let foreign = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: alices-context\nclusters: [{{name: \
         alices-cluster, cluster: {{server: 'https://far.example.com'}}}}]\n\
         users:\n- name: alices-user\n  user: {{token: s3cret-token, client-certificate-data: {}, \
         client-key-data: {}}}\n",
        BASE64_STANDARD.encode(&values[0]),
        BASE64_STANDARD.encode(&values[1]),
    );
    let bad = [
        foreign.clone(),
        foreign.replace("users:", "s3cret-token: alices-user: far.example.com"),
        foreign.replace("name: alices-user", "name: [alices-user"),
        foreign.replace("kind: Config", "kind: s3cret-token"),
        foreign.replace("client-certificate-data: ", "client-certificate-data: s3cret-token"),
        format!("{foreign}- name: alices-user\n  user: {{}}\n"),
        "-----BEGIN s3cret-token-----\nAliceSubject\n".to_owned(),
        "\u{1}AliceSubject".to_owned(),
    ];
    for (number, text) in bad.iter().enumerate() {
        for location in [
            "kubeconfig = '/srv/copy'",
            "bundle = '/srv/copy'",
            "certificate = '/srv/copy'\nkey = '/srv/copy.key'",
        ] {
            let node = Node::due();
            node.write("srv/copy", text);
            node.write("srv/copy.key", text);
            let node = with_configuration(
                node,
                &format!(
                    "[[copy]]\nname = 'copy'\nof = 'admin.conf'\n{location}\n[metrics]\ntextfile = \
                     '/srv/m.prom'\n"
                ),
            );
            let once: &[&str] =
                if location.starts_with("kube") { &["run", "--once"] } else { &["renew"] };
            let commands = [
                &["check", "-o", "wide"],
                &["check", "-o", "json"],
                once,
                &["status"],
                &["alarms", "-o", "json"],
            ];
            let output: String = commands.iter().map(|command| node.run(command).text).collect();
            assert!(output.contains("/srv/copy"), "{number} {location}: {output}");
            let metrics = if once.len() == 2 { node.text("srv/m.prom") } else { String::new() };
            let output = output + &metrics;
            for secret in secrets.iter().copied().chain(["CN=kubernetes,"]) {
                assert!(!output.contains(secret), "{number} {location}: {secret}: {output}");
            }
            let serial = other.certificate("admin.conf").serial.to_string();
            assert!(!output.contains(&serial), "{number} {location}: {output}");
            assert_eq!(node.text("srv/copy"), *text);
        }
    }
}

/// A file name in a user's directory can not forge the name of another copy, nor control the
/// terminal.
#[test]
fn copy_names_are_sanitised_and_unique() {
    let node = Node::due();
    for dir in ["a b", "a_b", "\u{1b}[31m", "..x"] {
        node.write(&format!("home/{dir}/.kube/config"), node.text(ADMIN));
    }
    let node = with_configuration(node, HOME_COPIES);
    let check = node.run(&["check"]);
    assert!(
        check.text.contains("home/a_b/.kube/config ")
            && check.text.contains("home/a_b/.kube/config-2 "),
        "{}",
        check.text
    );
    assert!(!check.text.contains("[31m/") && !check.text.contains("..x"), "{}", check.text);
}
