//! Roots that are in the system's trust store.

use super::*;

#[test]
fn root_of_the_trust_store_needs_the_operators_word() {
    require!("openssl");
    let (desk, node) = (Desk::new(), Node::empty());
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    let store = format!("# Trusted\n{}\n{}", desk.text("other.crt"), desk.text("company.crt"));
    node.write("etc/ssl/certs/ca-certificates.crt", store);
    let run = check_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 3, "it is in the system's trust store (/etc/ssl/certs/ca-certificates.crt)");
    let run = install_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 1, "it can't be the root CA of a cluster: it is in the system's trust store");
    let allowed = check_on(&node, &desk, &["company.crt", "company.key", "--allow-trusted-root"]);
    assert_says(&allowed, 0, USABLE);
}

/// Go and OpenSSL read the files of the directories too, whatever the bundle holds.
#[test]
fn root_in_a_directory_of_the_trust_store_is_found() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    for (file, link) in [
        ("etc/ssl/certs/company.pem", Some("etc/ssl/certs/0a1b2c3d.0")),
        ("usr/local/share/ca-certificates/company.crt", Some("etc/ssl/certs/company.pem")),
        ("etc/pki/tls/certs/company.crt", None),
        ("etc/pki/tls/cert.pem", None),
        ("usr/lib/ssl/cert.pem", None),
    ] {
        let node = Node::empty();
        node.write("etc/ssl/certs/ca-certificates.crt", desk.text("other.crt"));
        node.write(file, desk.text("company.crt"));
        if let Some(link) = link {
            std::os::unix::fs::symlink(format!("/{file}"), node.path(link)).unwrap();
        }
        let run = check_on(&node, &desk, &["company.crt", "company.key"]);
        assert_says(&run, 3, "it is in the system's trust store (/");
        assert_says(&run, 3, "1 reason.");
        let run = check_on(&node, &desk, &["other.crt", "other.key"]);
        assert_says(&run, 3, "it is in the system's trust store (/etc/ssl/certs/ca-certificates");
    }
}

#[test]
fn trust_store_that_cannot_be_read_is_a_warning() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    let other = desk.text("other.crt");
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let damaged: [(&str, Vec<u8>, &str); 5] = [
        (bundle, vec![0; 4096], "the file is not text"),
        (bundle, other[..200].into(), "has no end; the file is cut off"),
        (bundle, other.replace('M', "*").into(), "is not base64"),
        (bundle, other.replace("MII", "AAA").into(), "can't be read"),
        ("etc/pki/tls/certs/other.crt", other[..200].into(), "has no end; the file is cut off"),
    ];
    for (file, content, reason) in damaged {
        let node = Node::empty();
        node.write(file, content);
        let run = check_on(&node, &desk, &["company.crt", "company.key"]);
        assert_says(&run, 0, "warning  the system's trust store could not be read whole, so ");
        assert_says(&run, 0, reason);
        assert_says(&run, 0, &format!("(/{file}: "));
        // What the rest of it holds is found.
        node.write("etc/ssl/cert.pem", desk.text("company.crt"));
        let run = check_on(&node, &desk, &["company.crt", "company.key"]);
        assert_says(&run, 3, "it is in the system's trust store (/etc/ssl/cert.pem)");
    }
    let node = Node::empty();
    fs::create_dir_all(node.path(bundle)).unwrap();
    let run = check_on(&node, &desk, &["company.crt", "company.key"]);
    assert_says(&run, 0, "(/etc/ssl/certs/ca-certificates.crt: is a directory, not a file)");
}

/// What such directories hold besides certificates, and a store without any.
#[test]
fn trust_store_without_damage_is_no_warning() {
    require!("openssl");
    let (desk, node) = (Desk::new(), Node::empty());
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.root("other", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell("openssl x509 -in other.crt -outform DER -out other.der");
    node.write("etc/ssl/certs/ca-certificates.crt", "");
    node.write("etc/ssl/certs/java/cacerts", [0; 64]);
    node.write("etc/ssl/certs/README", "Certificates\n");
    node.write("etc/ssl/certs/other.der", fs::read(desk.path("other.der")).unwrap());
    // Longer than a file of Kubernetes may be.
    node.write("etc/pki/tls/certs/ca-bundle.crt", desk.text("other.crt").repeat(6000));
    for link in ["etc/ssl/certs/removed.pem", "etc/ssl/cert.pem"] {
        std::os::unix::fs::symlink("/none", node.path(link)).unwrap();
    }
    let run = check_on(&node, &desk, &["company.crt", "company.key"]);
    assert!(run.text.ends_with(USABLE) && !run.text.contains("warning"), "{}", run.text);
}
