//! Forms of files that are not PEM, and the commands that convert them.

use super::*;

/// Runs the command of an error text with these names, and more options for a passphrase.
fn converted(desk: &Desk, text: &str, names: [&str; 2], options: &str) {
    let (_, text) = text.split_once('(').unwrap();
    let command = [" converts it", " decrypts it"].iter().find_map(|end| text.split_once(end));
    let (command, _) = command.unwrap();
    let [from, to] = names;
    let command = command.replace("FILE.pem", to).replace("NEW", to).replace("FILE", from);
    desk.shell(&format!("{command} {options} 2>&1"));
}

#[test]
fn other_forms_are_recognised_and_converted_by_the_command_that_is_named() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell(
        "openssl pkcs12 -export -in company.crt -inkey company.key -out company.p12 -passout \
         pass:secret
         openssl pkey -in company.key -aes256 -passout pass:secret -out encrypted.key
         openssl pkcs8 -topk8 -in company.key -out plain.key -nocrypt
         openssl x509 -in company.crt -outform DER -out company.der",
    );
    let run = desk.check(&["company.p12"]);
    assert_says(&run, 1, "company.p12: the file is PKCS#12");
    converted(&desk, &run.text, ["company.p12", "company.pem"], "-passin pass:secret");
    let run = desk.check(&["company.pem"]);
    assert!(run.text.ends_with(USABLE) && !run.text.contains("warning"), "{}", run.text);
    assert_eq!(fs::metadata(desk.path("company.pem")).unwrap().mode() & 0o777, 0o600);

    let run = desk.check(&["company.crt", "encrypted.key"]);
    assert_says(&run, 1, "encrypted.key: the private key is encrypted with a passphrase");
    converted(&desk, &run.text, ["encrypted.key", "decrypted.key"], "-passin pass:secret");
    assert_says(&desk.check(&["company.crt", "decrypted.key"]), 0, USABLE);

    assert_says(&desk.check(&["company.der"]), 1, "company.der: the file looks like DER");
    assert_says(&desk.check(&["company.crt", "plain.key"]), 0, USABLE);
    assert_says(
        &desk.check(&["company.crt", "company.crt"]),
        1,
        "company.crt: the file holds no private key",
    );
    assert_says(&desk.check(&["none.crt"]), 1, "none.crt: ");
    assert_says(&desk.check(&["company.key"]), 1, "holds no CERTIFICATE block");
}
