//! Who has a copy in his hands, and means no good.

use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::common::{Entry, RSA, Snapshot};
use super::*;

/// A node with a copy of Alice's, and a file of root's beside the originals that she would like to
/// have written or read.
fn with_alice() -> Node {
    let node = Node::due();
    let admin = node.text(ADMIN);
    give(&node, ALICE, alices(&admin), ALICES, 0o600);
    // As good a copy as hers.
    give(&node, "root/.kube/config", &admin, 0, 0o600);
    // Beside one of hers it would be swept away.
    give(&node, "root/.kube/.config.kubecertd-0badcafe", "of root's", 0, 0o600);
    configured(node, HOMES)
}

fn victims(node: &Node) -> Vec<(String, Entry)> {
    let Snapshot(all) = Node::at(node.path("root")).snapshot();
    // A hard link changes nothing else.
    all.into_iter().map(|(path, entry)| (path.display().to_string(), entry)).collect()
}

fn renewed(node: &Node) -> usize {
    let whole = node.whole().into_values();
    whole
        .filter(|stored| stored.certificate.not_after.seconds_since(common::now()) > 300 * 86_400)
        .count()
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

#[test]
fn what_a_user_puts_in_the_place_of_his_copy_leads_nowhere_and_holds_up_nothing() {
    if !is_root() {
        return;
    }
    type Plant = fn(&Path, &Path);
    let own = |path: &Path| lchown(path, Some(ALICES), Some(ALICES)).unwrap();
    let cases: [(&str, &str, Plant); 9] = [
        (
            "a symlink to a file of root's",
            "is a symlink, which is not followed here",
            |_, config| symlink("/root/.kube/config", config).unwrap(),
        ),
        (
            "a symlink to a file of her own",
            "is a symlink, which is not followed here",
            |root, config| {
                fs::copy(root.join("root/.kube/config"), root.join("home/alice/mine")).unwrap();
                symlink("/home/alice/mine", config).unwrap();
            },
        ),
        ("a folder that is a symlink", "is a symlink, which is not followed here", |_, config| {
            fs::remove_dir(config.parent().unwrap()).unwrap();
            symlink("/root/.kube", config.parent().unwrap()).unwrap();
        }),
        ("a symlink far up", "is a symlink, which is not followed here", |_, config| {
            symlink("../../../../../../etc/shadow", config).unwrap()
        }),
        ("a hard link to a file of root's", "has 2 names (hard links)", |root, config| {
            fs::hard_link(root.join("root/.kube/config"), config).unwrap();
        }),
        ("a pipe", "is a pipe, not a file", |_, config| {
            nix::unistd::mkfifo(config, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("a folder", "is a directory, not a file", |_, config| fs::create_dir(config).unwrap()),
        ("a socket", "cannot read", |_, config| {
            drop(std::os::unix::net::UnixListener::bind(config).unwrap())
        }),
        ("a file without end", "is larger than 1048576 bytes", |_, config| {
            fs::File::create(config).unwrap().set_len(1 << 40).unwrap();
        }),
    ];
    for (what, says, plant) in cases {
        let node = with_alice();
        fs::remove_file(node.path(ALICE)).unwrap();
        plant(node.root(), &node.path(ALICE));
        if fs::symlink_metadata(node.path("home/alice/.kube")).unwrap().is_symlink() {
            own(&node.path("home/alice/.kube"));
        } else if !what.contains("hard") {
            own(&node.path(ALICE));
        }
        let before = victims(&node);
        let began = Instant::now();
        let run = node.run(&["renew"]);
        assert_eq!((run.code, renewed(&node)), (0, 11), "{what}: {}", run.text);
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        let check = node.run(&["check"]);
        assert!(check.code == 3 && check.text.contains(says), "{what}: {}", check.text);
        assert!(check.text.contains("/home/alice/.kube"), "{what}: {}", check.text);
        let drop_in = node.run(&["config", "check"]).text;
        assert!(
            drop_in.ends_with(
                "[Service]\nProtectHome=no\nReadOnlyPaths=-/root\n\
                ReadOnlyPaths=-/run/user\nReadWritePaths=-/home\n"
            ),
            "{what}: {drop_in}"
        );
        // Nor does the drop-in for this one file alone.
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
        assert_eq!(victims(&node), before, "{what}");
        assert_ne!(admins(&node), embedded(&node, "root/.kube/config"));
    }
}

#[test]
fn a_mount_in_a_users_folder_is_not_entered() {
    if !is_root() {
        return;
    }
    let node = with_alice();
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
    if text.contains("ermission denied") || text.contains("not permitted") {
        println!("SKIPPED: nothing can be mounted here: {text}");
        return;
    }
    assert!(
        text.contains(
            "/home/alice/.kube: is a mount in a directory that other users own or can write, which is \
             not entered"
        ),
        "{text}"
    );
}

/// Everything that is put there at random moments while copies follow.
#[test]
fn a_copy_that_is_swapped_for_links_while_it_follows_leads_nowhere_else() {
    if !is_root() {
        return;
    }
    for (what, file, target) in [
        ("the file", ALICE, "/root/.kube/config"),
        ("its folder", "home/alice/.kube", "/root/.kube"),
    ] {
        let node = with_alice();
        let old = alices(&node.text(ADMIN));
        let before = victims(&node);
        let (path, done) = (node.path(file), AtomicBool::new(false));
        let mut follows = 0;
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
            while began.elapsed() < Duration::from_secs(6) {
                let run = node.run(&["renew", "--force", "admin.conf"]);
                assert!(
                    [0, 4].contains(&run.code) && !run.text.contains("panicked"),
                    "{}: {}",
                    run.code,
                    run.text
                );
                follows += usize::from(run.text.contains("1 copy brought up to date"));
            }
            done.store(true, Ordering::Relaxed);
        });
        println!("{what}: it followed {follows} times");
        assert!(follows > 0, "{what}: nothing was tried");
        assert_eq!(victims(&node), before, "{what}");
        // With everything in its place it follows again.
        if !node.path(ALICE).exists() {
            give(&node, ALICE, &old, ALICES, 0o600);
        }
        assert_eq!(node.run(&["renew", "--force", "admin.conf"]).code, 0);
        assert!(line(&node, "home/alice/.kube/config").contains("in step"), "{what}");
        let owner = fs::metadata(node.path(ALICE)).unwrap();
        assert_eq!((owner.uid(), owner.mode() & 0o7777), (ALICES, 0o600), "{what}");
        assert_eq!(left_in_homes(&node), [""; 0], "{what}");
    }
}

/// What is staged, and was left behind where users have their folders.
fn left_in_homes(node: &Node) -> Vec<String> {
    let staged = node.dot_files().into_iter().filter(|path| path.starts_with(node.path("home")));
    staged
        .map(|path| path.to_str().unwrap().to_owned())
        .filter(|path| path.contains("kubecertd-"))
        .collect()
}

/// Killed at each rename of a pass; and by the next start a user has put somebody else's folder in
/// the place of his own.
#[test]
fn what_is_finished_after_a_crash_is_finished_in_the_same_folder_or_not_at_all() {
    if !is_root() {
        return;
    }
    let mut finished = [0, 0];
    for hostile in [false, true] {
        for at in 1..60 {
            let node = with_alice();
            let bob = node.text("root/.kube/config");
            give(&node, "home/bob/.kube/config", &bob, 1002, 0o600);
            // Everything else is fresh, so that there is not much to be killed at.
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
                lchown(node.path("home/alice/.kube"), Some(ALICES), None).unwrap();
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
                        || embedded(&node, "home/bob/.kube/config") == admins(&node)),
                "{at}"
            );
            embedded(&node, "home/bob/.kube/config");
            if hostile {
                fs::remove_file(node.path("home/alice/.kube")).unwrap();
                fs::rename(node.path("home/alice/away"), node.path("home/alice/.kube")).unwrap();
            }
            let alice = embedded(&node, ALICE);
            assert_eq!(apart(&node.text(ALICE)).1, apart(&alices(&bob)).1, "{at}: whole");
            let run = node.run(&["renew", "admin.conf"]);
            assert_eq!(run.code, 0, "{at}: {}", run.text);
            assert_eq!(
                [embedded(&node, ALICE), embedded(&node, "home/bob/.kube/config")],
                [admins(&node); 2],
                "{at}: {alice:?} {}",
                run.text
            );
            assert_eq!(left_in_homes(&node), [""; 0], "{at}");
        }
    }
    assert!(
        finished.iter().all(|times| *times > 0),
        "it was never killed in between: {finished:?}"
    );
}

#[test]
fn nothing_that_a_copy_holds_is_told_to_anybody_else() {
    let secrets = [
        "s3cret-token",
        "alices-context",
        "alices-user",
        "alices-cluster",
        "far.example.com",
        "AliceSubject",
    ];
    let other = Node::fresh(RSA);
    let (values, _) = apart(&other.text(ADMIN));
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
            let node = configured(
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
            let said: String = commands.iter().map(|command| node.run(command).text).collect();
            assert!(said.contains("/srv/copy"), "{number} {location}: {said}");
            let metrics = if once.len() == 2 { node.text("srv/m.prom") } else { String::new() };
            let said = said + &metrics;
            for secret in secrets.iter().copied().chain(["CN=kubernetes,"]) {
                assert!(!said.contains(secret), "{number} {location}: {secret}: {said}");
            }
            let serial = other.certificate("admin.conf").serial.to_string();
            assert!(!said.contains(&serial), "{number} {location}: {said}");
            assert_eq!(node.text("srv/copy"), *text);
        }
    }
}

/// What is in others' hands is not watched: whoever writes to it without end keeps nobody at work.
/// And what is said of it in the journal is said once.
#[test]
fn a_name_can_not_be_made_up_by_who_owns_the_folder() {
    let node = Node::due();
    for folder in ["a b", "a_b", "\u{1b}[31m", "..x"] {
        node.write(&format!("home/{folder}/.kube/config"), node.text(ADMIN));
    }
    let node = configured(node, HOMES);
    let check = node.run(&["check"]);
    assert!(
        check.text.contains("home/a_b/.kube/config ")
            && check.text.contains("home/a_b/.kube/config-2 "),
        "{}",
        check.text
    );
    assert!(!check.text.contains("[31m/") && !check.text.contains("..x"), "{}", check.text);
}
