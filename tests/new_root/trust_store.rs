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
