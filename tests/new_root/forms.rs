//! Forms of files that are not PEM, and the commands that convert them.

use super::*;

/// Runs the command of an error text with these names, and more options for a passphrase.
fn converted(desk: &Desk, text: &str, names: [&str; 2], options: &str) {
    let (_, text) = text.split_once('(').unwrap();
    let command =
        [" converts it", " decrypts it", " removes it"].iter().find_map(|end| text.split_once(end));
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

/// A file of a company's Windows, of OpenSSL's own trust store, and of a PKI's web page.
#[test]
fn rarer_forms_are_converted_by_the_command_that_is_named() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell(
        r"cat company.crt company.key >both.pem
          for file in company.crt company.key both.pem; do
            (printf '\357\273\277'; cat $file) >bom-$file
          done
          openssl x509 -in company.crt -trustout -addtrust serverAuth -out trusted.crt
          openssl crl2pkcs7 -nocrl -certfile company.crt -out company.p7b
          openssl crl2pkcs7 -nocrl -certfile company.crt -outform DER -out company.p7c",
    );
    for (file, words) in [
        ("bom-company.crt", "the file begins with a byte order mark"),
        ("bom-both.pem", "the file begins with a byte order mark"),
        ("trusted.crt", "the file holds a TRUSTED CERTIFICATE block"),
        ("company.p7b", "the file is PKCS#7"),
        ("company.p7c", "the file is PKCS#7"),
    ] {
        let run = desk.check(&[file, "company.key"]);
        assert_says(&run, 1, &format!("{file}: {words}"));
        converted(&desk, &run.text, [file, "new.pem"], "");
        let run = desk.check(&["new.pem", "company.key"]);
        assert!(run.text.ends_with(USABLE) && !run.text.contains("warning"), "{}", run.text);
        fs::remove_file(desk.path("new.pem")).unwrap();
    }
    let run = desk.check(&["company.crt", "bom-company.key"]);
    assert_says(&run, 1, "bom-company.key: the file begins with a byte order mark");
    converted(&desk, &run.text, ["bom-company.key", "new.key"], "");
    assert_eq!(fs::metadata(desk.path("new.key")).unwrap().mode() & 0o777, 0o600);
    assert_says(&desk.check(&["company.crt", "new.key"]), 0, USABLE);
}

#[test]
fn pipes_and_large_files_are_refused_without_a_wait() {
    require!("openssl");
    let desk = Desk::new();
    desk.root("company", &[BASIC, USAGE, IDENTIFIER]);
    desk.shell("mkfifo pipe; (cat company.crt; head -c 1048576 /dev/zero) >large.crt");
    let refusal = "is a pipe, not a file: save what it gives in a file first, with umask 077";
    // Without a writer, a pipe would be waited for without end.
    for (arguments, words) in [
        (["pipe", "company.key"], refusal),
        (["company.crt", "pipe"], refusal),
        (["/dev/zero", "company.key"], "is a device, not a file"),
        ([".", "company.key"], "is a directory, not a file"),
        (["large.crt", "company.key"], "is larger than 1048576 bytes"),
    ] {
        assert_says(&desk.check(&arguments), 1, words);
    }
    let bash = Command::new("bash")
        .args(["-c", r#""$1" ca check company.crt <(cat company.key)"#, "bash"])
        .arg(env!("CARGO_BIN_EXE_kubecertd"))
        .current_dir(desk.path("."))
        .output()
        .unwrap();
    let text = String::from_utf8(bash.stderr).unwrap();
    assert!(bash.status.code() == Some(1) && text.contains(refusal), "{text}");
}
