//! The faults that the cases put into files, and the keys that they use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::common::{ECDSA, Node, fixture};
use super::{Expected, FRONT_CA_CRT};

/// A name, a function that breaks a file, and the text that is reported about it.
pub type Fault = (&'static str, fn(&Path), &'static str);

/// Objects in the place of a file that can't be read. Such a file is never replaced, as its content
/// may be intact.
pub const UNREADABLE: &[Fault] = &[
    ("a directory", |path| fs::create_dir(free_path(path)).unwrap(), "is a directory, not a file"),
    (
        "a dangling symlink",
        |path| symlink("/nowhere/to/be/found", free_path(path)).unwrap(),
        "is a symlink to /nowhere/to/be/found, which does not exist",
    ),
    (
        "a looping symlink",
        |path| symlink(path.file_name().unwrap(), free_path(path)).unwrap(),
        "is a symlink that leads in a circle",
    ),
    (
        "a pipe",
        |path| nix::unistd::mkfifo(free_path(path), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "is a pipe, not a file",
    ),
    (
        "a socket",
        |path| drop(std::os::unix::net::UnixListener::bind(free_path(path)).unwrap()),
        "cannot read",
    ),
    (
        "200 MB",
        |path| fs::File::create(path).unwrap().set_len(200_000_000).unwrap(),
        "is larger than 1048576 bytes",
    ),
];

pub fn free_path(path: &Path) -> &Path {
    fs::remove_file(path).unwrap();
    path
}

/// Contents of a PEM file that are no PEM.
pub const NOT_PEM: &[Fault] = &[
    ("empty", |path| fs::write(path, "").unwrap(), "the file is empty"),
    ("white space", |path| fs::write(path, " \r\n\n").unwrap(), "the file is empty"),
    (
        "zeros, as after a power failure",
        |path| fs::write(path, [0; 600]).unwrap(),
        "the file is not text",
    ),
    (
        "binary",
        |path| fs::write(path, (0..=255).rev().collect::<Vec<u8>>()).unwrap(),
        "the file is not text",
    ),
    (
        "prose",
        |path| fs::write(path, "to be copied here later\n").unwrap(),
        "the file holds no PEM block",
    ),
    (
        "truncated",
        |path| edit_text(path, |text| text[..text.len() / 2].to_owned()),
        "has no end; the file is cut off or damaged",
    ),
    (
        "another end",
        |path| edit_text(path, |text| text.replace("-----END ", "-----END SOME ")),
        "block that begins on line 1 ends as",
    ),
    ("no base64", |path| edit_text(path, |text| text.replacen('M', "%", 1)), "is not base64"),
    ("DER", |path| fs::write(path, read_der(path)).unwrap(), "the file looks like DER"),
];

pub fn edit_text(path: &Path, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed);
    fs::write(path, changed).unwrap();
}

/// Returns the DER of the only block of a PEM file.
pub fn read_der(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(base64).unwrap()
}

/// Breaks a file in each of these ways, each on a new node.
pub fn check_faults(faults: &[&[Fault]], file: &str, expected: &Expected<'_>) {
    for (name, damage, reason) in faults.iter().copied().flatten() {
        let node = Node::due();
        damage(&node.path(file));
        let path = format!("/{file}");
        let reported = [expected.reported, &[*reason, path.as_str()]].concat();
        Expected { reported: &reported, ..*expected }.assert(&format!("{file}: {name}"), &node);
    }
}

/// Keys that can not be used for the certificate beside them.
pub const WRONG_KEYS: &[Fault] = &[
    (
        "another key",
        |path| fs::write(path, OTHER_KEY).unwrap(),
        "the key does not fit the certificate",
    ),
    (
        "a certificate",
        |path| fs::write(path, certificate_pem()).unwrap(),
        "the file holds no private key",
    ),
    (
        "two keys",
        |path| fs::write(path, [OTHER_KEY, OTHER_KEY].concat()).unwrap(),
        "the file holds 2 private keys",
    ),
    (
        "garbage in armour",
        |path| fs::write(path, wrap_in_pem("EC PRIVATE KEY")).unwrap(),
        "the private key is damaged",
    ),
    (
        "a DSA key",
        |path| fs::write(path, wrap_in_pem("DSA PRIVATE KEY")).unwrap(),
        "private keys of the kind DSA are not supported",
    ),
    (
        "encrypted, PKCS#8",
        |path| fs::write(path, ENCRYPTED_KEY).unwrap(),
        "encrypted with a passphrase",
    ),
    (
        "encrypted, as openssl did it once",
        |path| fs::write(path, LEGACY_ENCRYPTED_KEY).unwrap(),
        "encrypted with a passphrase",
    ),
    (
        "some other curve",
        |path| fs::write(path, UNSUPPORTED_CURVE_KEY).unwrap(),
        "private keys of the kind 1.3.132.0.10 are not supported",
    ),
];

pub fn wrap_in_pem(label: &str) -> String {
    format!(
        "-----BEGIN {label}-----\nbm90aGluZyB0aGF0IGFueWJvZHkgY291bGQgcmVhZA==\n-----END \
         {label}-----\n"
    )
}

pub fn certificate_pem() -> Vec<u8> {
    fixture(ECDSA)[FRONT_CA_CRT].clone()
}

/// A key that fits no certificate.
pub const OTHER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMgsOSdONQVxf1TTR
jax4jTSKfibI4YF4YPsF05if2GShRANCAARmRBBsClKlbaa+ImCh08SYMJ4jTP2P
h36iZ96X2tkotVMMfVglHuK6H6HRKLU/hFG97w0PiJJLNPhKFAxKE+c3
-----END PRIVATE KEY-----
";

/// The same key, encrypted with a passphrase.
pub const ENCRYPTED_KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjUFzSo7WIEAAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJBlaznW9EHfcvqD4ps4BZUEgZCZ
5+NyGAqCYiXGmg726rlxWqcWZPeerYQ1IRMj60M/wIKIO7QMBr++ZOm6xS/J7AVQ
RyyhmYEAPgLBQovODRCWcOU7kKYMwvUhYB0qJ+Oh/UdLzzq0iBPdYo265odNixZu
kXDSdPTg31cF2lN1j/G3gtVtCtPkIggYuJ4lQ7FS008dYcUFQk8f1Tdl+VFLe6Y=
-----END ENCRYPTED PRIVATE KEY-----
";

/// The same key, encrypted in the legacy OpenSSL form.
pub const LEGACY_ENCRYPTED_KEY: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,83E65310D2823A8CEFBCA9BDAFC179A2

oXdM4n1gjuRo7M1H8r+SFiB56SAG8x4zVCnQwX58SHL5gm4SmB2sUZT9AWYMlB0Q
WWDHn/AufF5JZjyn/YQqBTz1r4bVoJ971uvpCy3Js284hgdRK2h9j6kOb4NXomQO
TvN4UJZWTzC2aPevM0XmvgCPupgAKpOFdq+5hNt/aKI=
-----END EC PRIVATE KEY-----
";

/// A key on a curve that no component supports.
pub const UNSUPPORTED_CURVE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgrMs9Nm6NCo9iBmgDAOE1
Xatncm42h3h4aFpTyCVkJyShRANCAAT2e6yMp3rtJi9XoQCQFGyxADySy7C75zE0
OpUyf3MVvU8BLK8HuxDRmuQZJXSoJLVlPBSdjeYV0wYkw3HSPUHD
-----END PRIVATE KEY-----
";

/// Returns a text up to some part of it.
pub fn text_before(text: &str, part: &str) -> String {
    text.split(part).next().unwrap().to_owned()
}
