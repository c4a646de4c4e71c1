//! The program on a node of a test as on its own host: it asks the services of this machine.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "tests run other programs")]

use std::process::{Command, Output};

use super::Node;

/// Runs a line of shell with the node's root directory as `/`, so that kubecertd asks the servers
/// of this machine.
pub fn at_the_root_of(node: &Node, line: &str) -> Output {
    for dir in ["dev", "proc", "usr"] {
        std::fs::create_dir_all(node.path(dir)).unwrap();
    }
    for link in ["bin", "lib", "lib64"] {
        let _ = std::os::unix::fs::symlink(format!("usr/{link}"), node.path(link));
    }
    std::fs::copy(env!("CARGO_BIN_EXE_kubecertd"), node.path("kubecertd")).unwrap();
    let enter =
        "set -e; mount --rbind /proc $0/proc; mount --rbind /dev $0/dev; mount --bind /usr $0/usr
        exec chroot $0 sh -c \"$1\"";
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-c", enter])
        .arg(node.root())
        .arg(line)
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .output()
        .unwrap()
}
