//! kubelet's configuration, as its command line and its files say.
//!
//! The order of precedence is kubelet's: the flags, the drop-ins (`--config-dir`, since 1.28), the
//! file (`--config`). kubeadm's instance-config.yaml is none of kubelet's: kubeadm merges it into
//! config.yaml, and kubelet reads only that. Where the serving certificate comes from is decided as
//! in `NewMainKubelet` and `InitializeTLS` of kubelet's source: `serverTLSBootstrap`, else the
//! files that the configuration names, else a pair that kubelet signs itself.
//!
//! Files that others than root can write say nothing here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{PROCESS, UNIT, processes_of_unit, read_root_only};
use crate::formats::kubelet::{KubeletConfig, Setting, flag};
use crate::formats::unit::ServiceUnit;
use crate::model::{AbsolutePath, Location};
use crate::observe::catalog::{KubeletServing, KubeletSettings};
use crate::sys::{FileError, FileProblem, Root};

/// Where systemd looks for units; an earlier directory takes precedence.
const UNIT_DIRS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// kubelet's unit as kubeadm's packages make it, for a node without one.
const KUBEADM_UNIT: &str = "[Service]\n\
    Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
    EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\n\
    EnvironmentFile=-/etc/sysconfig/kubelet\n\
    EnvironmentFile=-/etc/default/kubelet\n\
    ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS \
    $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n";

/// What systemd allows before the path of a program (systemd.service(5)).
const PROGRAM_PREFIXES: [char; 6] = ['@', '-', ':', '+', '!', '|'];

/// kubelet's default for `--cert-dir`, which has no key in the configuration file.
const CERTIFICATES_DIR: &str = "/var/lib/kubelet/pki";

const DEFAULT_PORT: u16 = 10_250;

/// Limits for the directory of drop-ins.
const MAX_DROP_INS: usize = 256;
const MAX_DEPTH: usize = 8;

/// What was found of kubelet's configuration.
#[derive(Debug, Default)]
pub(in crate::observe) struct FoundSettings {
    /// The configuration; `None` where it is not known.
    pub settings: Option<KubeletSettings>,
    /// What an operator should know about it.
    pub notes: Vec<String>,
}

/// Reads kubelet's configuration.
pub(in crate::observe) fn settings(root: &Root) -> FoundSettings {
    let mut notes = Vec::new();
    match read(root, &mut notes) {
        Ok(settings) => FoundSettings { settings, notes },
        Err(reason) => {
            let note = format!(
                "{reason}; so kubelet's configuration is not known, and the files in \
                 {CERTIFICATES_DIR} decide which certificate it serves"
            );
            FoundSettings { settings: None, notes: vec![note] }
        }
    }
}

fn read(root: &Root, notes: &mut Vec<String>) -> Result<Option<KubeletSettings>, String> {
    let CommandLine { words, is_known } = command_line(root)?;
    let mut config = KubeletConfig::default();
    let mut is_there = is_known;
    if let Some(file) = file_flag(&words, "config")? {
        match merge(root, &file, &mut config) {
            Ok(()) => {
                is_there = true;
                notes.extend(differing_instance(root, &file, &config));
            }
            // A node whose kubelet does not run yet, or files of which these are no part.
            Err(MergeError::File(e)) if e.is_not_found() => is_there = false,
            Err(e) => return Err(e.to_string()),
        }
    }
    if let Some(dir) = file_flag(&words, "config-dir")? {
        for file in drop_ins(root, dir.as_path(), 0)? {
            read_into(root, &file, &mut config).map_err(|e| e.to_string())?;
        }
    }
    let before = config.clone();
    config.apply_flags(&words);
    if !is_there && config == before {
        return Ok(None);
    }
    let dir =
        file_flag(&words, "cert-dir")?.unwrap_or_else(|| AbsolutePath::constant(CERTIFICATES_DIR));
    Ok(Some(KubeletSettings {
        serving: serving(&config, &dir)?,
        rotation_off: rotation_off(&config),
        address: address(&config),
        runtime: runtime(&config),
        kubeconfig: file_flag(&words, "kubeconfig")?,
        bootstrap: file_flag(&words, "bootstrap-kubeconfig")?,
    }))
}

/// The words that kubelet is started with.
struct CommandLine {
    words: Vec<String>,
    /// Whether the process or a unit says them.
    is_known: bool,
}

/// The process's own command line, where kubelet runs on this machine; else the unit's.
fn command_line(root: &Root) -> Result<CommandLine, String> {
    if let Some(words) = root.is_host().then(|| words_of_process(root)).flatten() {
        return Ok(CommandLine { words, is_known: true });
    }
    let mut texts = unit_files(root).map_err(|e| e.to_string())?;
    let read_all = |texts: &[String]| {
        let mut unit = ServiceUnit::default();
        texts.iter().for_each(|text| unit.read(text));
        unit
    };
    let mut unit = read_all(&texts);
    let is_known = unit.has_start();
    if !is_known {
        texts.insert(0, KUBEADM_UNIT.to_owned());
        unit = read_all(&texts);
    }
    for file in unit.environment_files().to_vec() {
        let Ok(file) = AbsolutePath::new(file) else { continue };
        match read_root_only(root, &file) {
            Ok(text) => unit.read_environment(&text),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    let words = unit.command_line();
    let program = words.first().map_or("", |word| word.trim_start_matches(PROGRAM_PREFIXES));
    if Path::new(program).file_name() != Some(OsStr::new(PROCESS)) {
        return Err(format!(
            "{UNIT} starts {program:?}, so that kubelet's flags can be read only while it runs"
        ));
    }
    Ok(CommandLine { words, is_known })
}

fn words_of_process(root: &Root) -> Option<Vec<String>> {
    let process = processes_of_unit(root).into_iter().next()?;
    let line = process.command_line(root).ok()?;
    Some(line.split_terminator('\0').map(str::to_owned).collect())
}

/// The unit file and its drop-ins, in the order in which systemd reads them.
fn unit_files(root: &Root) -> Result<Vec<String>, FileError> {
    let mut texts = Vec::new();
    for dir in UNIT_DIRS {
        let text = optional(read_root_only(root, &below(dir, UNIT)))?;
        if let Some(text) = text {
            texts.push(text);
            break;
        }
    }
    for file in unit_drop_ins(root)? {
        texts.extend(optional(read_root_only(root, &file))?);
    }
    Ok(texts)
}

/// Of several drop-ins of the same name the first one counts; they are read in the order of their
/// names.
fn unit_drop_ins(root: &Root) -> Result<Vec<AbsolutePath>, FileError> {
    let mut files: Vec<(String, AbsolutePath)> = Vec::new();
    for dir in UNIT_DIRS {
        let dir = format!("{dir}/{UNIT}.d");
        for name in names(root, Path::new(&dir))?.into_iter().filter(|name| name.ends_with(".conf"))
        {
            if !files.iter().any(|(known, _)| *known == name) {
                let file = below(&dir, &name);
                files.push((name, file));
            }
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// The drop-ins of kubelet's configuration, in kubelet's order: directories are entered, links to
/// directories are not, and other names than `*.conf` are not read.
fn drop_ins(root: &Root, dir: &Path, depth: usize) -> Result<Vec<AbsolutePath>, String> {
    let here = match root.trusted_dir(dir) {
        Ok(here) => here,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e.to_string()),
    };
    let mut files = Vec::new();
    for name in here.names().map_err(|e| e.to_string())? {
        let Ok(path) = AbsolutePath::new(dir.join(&name)) else { continue };
        if here.open_dir(&name).is_ok() {
            if depth >= MAX_DEPTH {
                return Err(format!("{path}: is below too many directories"));
            }
            files.extend(drop_ins(root, path.as_path(), depth + 1)?);
        } else if name.as_encoded_bytes().ends_with(b".conf") {
            files.push(path);
        }
        if files.len() > MAX_DROP_INS {
            return Err(format!("{}: has more than {MAX_DROP_INS} drop-ins", dir.display()));
        }
    }
    Ok(files)
}

/// The names in a directory that only root can write, sorted; none where there is no directory.
fn names(root: &Root, dir: &Path) -> Result<Vec<String>, FileError> {
    let names = match root.trusted_dir(dir).and_then(|dir| dir.names()) {
        Ok(names) => names,
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names: Vec<String> =
        names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn below(dir: &str, name: &str) -> AbsolutePath {
    let path = Path::new(dir).join(name);
    AbsolutePath::new(path).unwrap_or_else(|_| AbsolutePath::constant(CERTIFICATES_DIR))
}

/// A file that is not there, or is no file (a masked unit is a link to a device), is none.
fn optional(read: Result<String, FileError>) -> Result<Option<String>, FileError> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.is_not_found() || matches!(e.problem, FileProblem::NotAFile(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A path in the flags. systemd starts kubelet in `/`, which a relative one is below.
fn file_flag(words: &[String], name: &str) -> Result<Option<AbsolutePath>, String> {
    let Some(value) = flag(words, name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let path = AbsolutePath::new(Path::new("/").join(value));
    path.map(Some).map_err(|e| format!("--{name} in kubelet's flags: {e}"))
}

#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}: it can't be read as a KubeletConfiguration: {1}")]
    Format(AbsolutePath, String),
}

/// Merges a file. A relative path in it stays one.
fn read_into(
    root: &Root,
    file: &AbsolutePath,
    config: &mut KubeletConfig,
) -> Result<(), MergeError> {
    let text = read_root_only(root, file)?;
    config.merge(&text, file).map_err(|reason| MergeError::Format(file.clone(), reason))
}

/// Merges the file of `--config`, in which relative paths are those beside it. kubelet leaves those
/// in drop-ins as they are.
fn merge(root: &Root, file: &AbsolutePath, config: &mut KubeletConfig) -> Result<(), MergeError> {
    read_into(root, file, config)?;
    for setting in [&mut config.tls_cert_file, &mut config.tls_private_key_file] {
        if let Some(setting) = setting.as_mut().filter(|one| !one.value.is_empty()) {
            let path = file.sibling(&setting.value);
            setting.value = path.map_or_else(|_| setting.value.clone(), |path| path.to_string());
        }
    }
    Ok(())
}

/// What instance-config.yaml says otherwise than the file that kubelet reads.
fn differing_instance(root: &Root, file: &AbsolutePath, config: &KubeletConfig) -> Option<String> {
    let instance_file = file.sibling("instance-config.yaml").ok()?;
    let mut instance = KubeletConfig::default();
    merge(root, &instance_file, &mut instance).ok()?;
    let differing = instance
        .about_certificates()
        .into_iter()
        .zip(config.about_certificates())
        .find(|((_, wanted), (_, used))| wanted.is_some() && wanted != used);
    let ((name, _), _) = differing?;
    Some(format!(
        "{instance_file} sets {name} otherwise than {file}: kubelet reads only {file}, and kubeadm \
         writes the other value there when it upgrades this node; set both alike, and restart \
         kubelet"
    ))
}

fn serving(config: &KubeletConfig, dir: &AbsolutePath) -> Result<KubeletServing, String> {
    let named = named_pair(config);
    if config.server_tls_bootstrap.as_ref().is_some_and(|setting| setting.value) {
        let before = named.ok().flatten().map(|(location, _)| location);
        return Ok(KubeletServing::Requested {
            bundle: inside(dir, "kubelet-server-current.pem")?,
            before,
        });
    }
    Ok(match named? {
        Some((location, by)) => KubeletServing::Named { location, by },
        None => KubeletServing::SelfSigned(Location::Pair {
            certificate: inside(dir, "kubelet.crt")?,
            key: inside(dir, "kubelet.key")?,
        }),
    })
}

/// The endpoint is `unix:///path`, or the path alone, as in older versions.
fn runtime(config: &KubeletConfig) -> Option<PathBuf> {
    let endpoint = &config.container_runtime_endpoint.as_ref()?.value;
    let path = Path::new(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
    path.is_absolute().then(|| path.to_owned())
}

fn inside(dir: &AbsolutePath, name: &str) -> Result<AbsolutePath, String> {
    dir.join(name).map_err(|e| e.to_string())
}

/// The pair of files that the configuration names, and the setting that does.
fn named_pair(config: &KubeletConfig) -> Result<Option<(Location, String)>, String> {
    let is_set = |setting: &Option<Setting<String>>| {
        setting.clone().filter(|setting| !setting.value.is_empty())
    };
    let path = |setting: &Setting<String>| {
        AbsolutePath::new(Path::new("/").join(&setting.value))
            .map_err(|e| format!("{}: {e}", setting.by))
    };
    match (is_set(&config.tls_cert_file), is_set(&config.tls_private_key_file)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let (file, key) = (path(&certificate)?, path(&key)?);
            let location = if file == key {
                Location::Bundle(file)
            } else {
                Location::Pair { certificate: file, key }
            };
            Ok(Some((location, certificate.by)))
        }
        (Some(half), None) | (None, Some(half)) => Err(format!(
            "{} is set, and not the other one of tlsCertFile and tlsPrivateKeyFile: kubelet serves \
             no certificate; set both, or none",
            half.by
        )),
    }
}

/// kubelet's default is not to renew it; kubeadm's configuration switches it on.
fn rotation_off(config: &KubeletConfig) -> Option<String> {
    match &config.rotate_certificates {
        Some(Setting { value: true, .. }) => None,
        Some(Setting { by, .. }) => Some(format!("{by} is false")),
        None => Some("rotateCertificates is not set in its configuration".to_owned()),
    }
}

/// Where it can be reached from this node.
fn address(config: &KubeletConfig) -> String {
    let port = config.port.as_ref().map_or(DEFAULT_PORT, |setting| setting.value);
    let host = config.address.as_ref().and_then(|setting| setting.value.parse().ok());
    let host = host.filter(|host: &std::net::IpAddr| !host.is_unspecified());
    let host = host.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    std::net::SocketAddr::new(host, port).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A disk with files of root.
    struct Disk(tempfile::TempDir);

    const CONFIG: &str = "/var/lib/kubelet/config.yaml";
    const ENV: &str = "/var/lib/kubelet/kubeadm-flags.env";
    const PAIR: &str = "tlsCertFile: /srv/a.crt\ntlsPrivateKeyFile: /srv/a.key\n";

    impl Disk {
        fn with(files: &[(&str, &str)]) -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            for (file, text) in files {
                let path = disk.path(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            disk
        }

        fn path(&self, file: &str) -> PathBuf {
            self.0.path().join(file.trim_start_matches('/'))
        }

        fn found(&self) -> FoundSettings {
            settings(&Root::open(self.0.path()).unwrap())
        }

        /// What is served: the kind, and the certificate's file.
        fn serving(&self) -> String {
            let FoundSettings { settings, notes } = self.found();
            assert_eq!(notes, Vec::<String>::new());
            shown(settings)
        }
    }

    fn shown(settings: Option<KubeletSettings>) -> String {
        match settings.map(|settings| settings.serving) {
            None => "not known".to_owned(),
            Some(KubeletServing::Requested { bundle, before }) => {
                let before = before.map(|pair| format!(", before {pair}")).unwrap_or_default();
                format!("requested {bundle}{before}")
            }
            Some(KubeletServing::Named { location, by }) => format!("{location} by {by}"),
            Some(KubeletServing::SelfSigned(location)) => format!("itself {location}"),
        }
    }

    #[test]
    fn nothing_is_known_without_configuration() {
        assert_eq!(Disk::with(&[]).serving(), "not known");
        assert_eq!(Disk::with(&[(ENV, "KUBELET_KUBEADM_ARGS=\"--v=2\"\n")]).serving(), "not known");
    }

    #[test]
    fn file_decides_which_certificate_is_served() {
        let own = "itself /var/lib/kubelet/pki/kubelet.crt";
        let bundle = "requested /var/lib/kubelet/pki/kubelet-server-current.pem";
        let bootstrap = "serverTLSBootstrap: true\n";
        for (text, expected) in [
            ("kind: KubeletConfiguration\n", own.to_owned()),
            ("serverTLSBootstrap: false\n", own.to_owned()),
            ("tlsCertFile: \"\"\ntlsPrivateKeyFile: \"\"\n", own.to_owned()),
            (PAIR, format!("/srv/a.crt by tlsCertFile in {CONFIG}")),
            (
                "tlsCertFile: tls/a.crt\ntlsPrivateKeyFile: tls/a.key\n",
                format!("/var/lib/kubelet/tls/a.crt by tlsCertFile in {CONFIG}"),
            ),
            (bootstrap, bundle.to_owned()),
            // The cluster's certificate takes precedence over the named one.
            (&format!("{bootstrap}{PAIR}"), format!("{bundle}, before /srv/a.crt")),
        ] {
            assert_eq!(Disk::with(&[(CONFIG, text)]).serving(), expected, "{text}");
        }
    }

    #[test]
    fn flags_take_precedence_over_drop_ins_and_these_over_the_file() {
        let unit = "/etc/systemd/system/kubelet.service";
        let start = |flags: &str| format!("[Service]\nExecStart=/usr/bin/kubelet {flags}\n");
        let dir = "/etc/kubernetes/kubelet.conf.d";
        let with_dir = start(&format!("--config={CONFIG} --config-dir={dir}"));
        let second = "tlsCertFile: /srv/2.crt\ntlsPrivateKeyFile: /srv/2.key\n";
        let first = (&*format!("{dir}/10-a.conf"), PAIR);
        let files = [
            (unit, &*with_dir),
            (CONFIG, "serverTLSBootstrap: true\n"),
            first,
            (&*format!("{dir}/20/b.conf"), second),
            (&*format!("{dir}/30-c.conf"), "serverTLSBootstrap: false\n"),
            (&*format!("{dir}/40-d.yaml"), "tlsCertFile: /srv/not-read.crt\n"),
        ];
        let by = format!("/srv/2.crt by tlsCertFile in {dir}/20/b.conf");
        assert_eq!(Disk::with(&files).serving(), by);
        let more = "/etc/systemd/system/kubelet.service.d/20-tls.conf";
        let flags = "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet \
            --tls-cert-file=/srv/3.crt --tls-private-key-file /srv/3.key --cert-dir=/srv/pki";
        let disk = Disk::with(&[&files[..], &[(more, flags)]].concat());
        let by = "/srv/3.crt by --tls-cert-file in kubelet's flags";
        assert_eq!(disk.serving(), by, "and no file is read without --config");
        let flags = (ENV, "KUBELET_KUBEADM_ARGS=\"--rotate-server-certificates=true\"\n");
        let bundle = "requested /var/lib/kubelet/pki/kubelet-server-current.pem, before /srv/a.crt";
        assert_eq!(Disk::with(&[(CONFIG, PAIR), flags]).serving(), bundle, "kubeadm's unit");
        let disk = Disk::with(&[(unit, &*start("--cert-dir=/srv/pki"))]);
        assert_eq!(disk.serving(), "itself /srv/pki/kubelet.crt");
    }

    /// By Go's `filepath.Ext` a file that is named `.conf` has this extension; and `10.conf` comes
    /// before `9.conf`, and `B.conf` before `a.conf`.
    #[test]
    fn drop_ins_are_ordered_by_the_bytes_of_their_names() {
        let dir = "/etc/kubernetes/kubelet.conf.d";
        let env = format!("KUBELET_KUBEADM_ARGS=\"--config-dir={dir}\"\n");
        let socket = |names: &[&str]| {
            let files: Vec<_> = names
                .iter()
                .map(|name| {
                    let text = format!("containerRuntimeEndpoint: unix:///run/{name}.sock\n");
                    (format!("{dir}/{name}"), text)
                })
                .collect();
            let files = files.iter().map(|(file, text)| (&**file, &**text));
            let usual = [(ENV, &*env), (CONFIG, "port: 1\n")];
            let disk = Disk::with(&usual.into_iter().chain(files).collect::<Vec<_>>());
            disk.found().settings.unwrap().runtime.map(|path| path.display().to_string())
        };
        let read = |name: &str| Some(format!("/run/{name}.sock"));
        assert_eq!(socket(&["9.conf", "10.conf"]), read("9.conf"));
        assert_eq!(socket(&["a.conf", "B.conf"]), read("a.conf"));
        assert_eq!(socket(&[".conf"]), read(".conf"));
        assert_eq!(socket(&["5.conf", "6.yaml", "7.conf.bak", "8.CONF", "9conf"]), read("5.conf"));
    }

    /// kubelet walks the directory as Go's `filepath.WalkDir` does.
    #[test]
    fn drop_ins_are_found_as_kubelet_finds_them() {
        let dir = "/etc/kubernetes/kubelet.conf.d";
        let env = format!("KUBELET_KUBEADM_ARGS=\"--config-dir={dir}\"\n");
        let relative = "tlsCertFile: tls/a.crt\ntlsPrivateKeyFile: tls/a.key\n";
        let drop_in = format!("{dir}/10.conf");
        let disk = Disk::with(&[(ENV, &env), (CONFIG, ""), (&drop_in, relative)]);
        fs::write(disk.path(CONFIG), "port: 1\n").unwrap();
        let by = format!("/tls/a.crt by tlsCertFile in {drop_in}");
        assert_eq!(disk.serving(), by, "kubelet runs in /, and makes it no path beside the file");
        // A link to a directory is not entered.
        let other = "/srv/other/10.conf";
        let disk = Disk::with(&[(ENV, &env), (CONFIG, "port: 1\n"), (other, PAIR)]);
        fs::create_dir_all(disk.path(dir)).unwrap();
        std::os::unix::fs::symlink("/srv/other", disk.path(dir).join("20")).unwrap();
        std::os::unix::fs::symlink(".", disk.path(dir).join("30")).unwrap();
        assert_eq!(disk.serving(), "itself /var/lib/kubelet/pki/kubelet.crt");
        // Something that counts for kubelet and can't be read here makes all unknown.
        let inner = format!("{dir}/20/b.conf");
        let disk = Disk::with(&[(ENV, &env), (CONFIG, "port: 1\n"), (&inner, PAIR)]);
        assert_eq!(disk.serving(), format!("/srv/a.crt by tlsCertFile in {inner}"));
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(disk.path(dir).join("20"), mode).unwrap();
        let FoundSettings { settings, notes } = disk.found();
        assert!(settings.is_none() && notes[0].contains("has mode 0777"), "{notes:?}");
        let many: Vec<String> = (0..=MAX_DROP_INS).map(|n| format!("{dir}/{n}.conf")).collect();
        let many: Vec<_> = many.iter().map(|file| (&**file, PAIR)).collect();
        let disk = Disk::with(&[&[(ENV, &*env), (CONFIG, "port: 1\n")], &many[..]].concat());
        let FoundSettings { settings, notes } = disk.found();
        assert!(settings.is_none() && notes[0].contains("has more than 256 drop-ins"), "{notes:?}");
    }

    #[test]
    fn flags_behind_another_program_are_not_known() {
        let unit = "/etc/systemd/system/kubelet.service";
        for program in ["/usr/local/bin/start-kubelet", "/bin/sh -c \"exec kubelet\""] {
            let text = format!("[Service]\nExecStart={program}\n");
            let disk = Disk::with(&[(unit, &*text), (CONFIG, "rotateCertificates: true\n")]);
            let FoundSettings { settings, notes } = disk.found();
            assert_eq!(settings, None, "{program}");
            let program = program.split(' ').next().unwrap();
            let note = format!("kubelet.service starts \"{program}\", so that kubelet's flags can");
            assert!(notes.len() == 1 && notes[0].starts_with(&note), "{notes:?}");
        }
        let text = "[Service]\nExecStart=-@/opt/bin/kubelet kubelet --cert-dir=/srv/pki\n";
        let disk = Disk::with(&[(unit, text)]);
        assert_eq!(disk.serving(), "itself /srv/pki/kubelet.crt");
    }

    #[test]
    fn one_file_for_both_halves_is_a_bundle() {
        let text = PAIR.replace("a.crt", "a.pem").replace("a.key", "a.pem");
        let found = Disk::with(&[(CONFIG, &text)]).found().settings.unwrap().serving;
        let file = AbsolutePath::constant("/srv/a.pem");
        assert!(
            matches!(&found, KubeletServing::Named { location, .. }
                if *location == Location::Bundle(file)),
            "{found:?}"
        );
    }

    #[test]
    fn instance_configuration_is_kubeadms() {
        let instance = "/var/lib/kubelet/instance-config.yaml";
        let disk = Disk::with(&[(CONFIG, "rotateCertificates: true\n"), (instance, PAIR)]);
        let FoundSettings { settings, notes } = disk.found();
        assert_eq!(shown(settings), "itself /var/lib/kubelet/pki/kubelet.crt");
        let expected = format!("{instance} sets tlsCertFile otherwise than {CONFIG}: ");
        assert!(notes.len() == 1 && notes[0].starts_with(&expected), "{notes:?}");
        let merged = Disk::with(&[(CONFIG, PAIR), (instance, PAIR)]);
        assert_eq!(merged.serving(), format!("/srv/a.crt by tlsCertFile in {CONFIG}"));
        let usual = "containerRuntimeEndpoint: \"unix:///run/containerd/containerd.sock\"\n";
        assert!(Disk::with(&[(CONFIG, PAIR), (instance, usual)]).found().notes.is_empty());
    }

    #[test]
    fn files_that_do_not_count_are_noted_and_nothing_is_known() {
        let unit = "/etc/systemd/system/kubelet.service";
        let files = [(CONFIG, PAIR), (ENV, "A=\n"), (unit, "[Service]\n")];
        for file in [CONFIG, ENV, unit] {
            let disk = Disk::with(&files);
            let mode = fs::Permissions::from_mode(0o666);
            fs::set_permissions(disk.path(file), mode).unwrap();
            let FoundSettings { settings, notes } = disk.found();
            assert_eq!(settings, None, "{file}");
            assert!(notes.len() == 1 && notes[0].contains("has mode 0666"), "{notes:?}");
        }
        for text in ["- a\n", "tlsCertFile: /srv/a.crt\n", "tlsPrivateKeyFile: /srv/a.key\n"] {
            let FoundSettings { settings, notes } = Disk::with(&[(CONFIG, text)]).found();
            assert_eq!((settings, notes.len()), (None, 1), "{text}");
        }
    }

    #[test]
    fn runtime_is_read_from_flags_and_files() {
        let dir = "/etc/kubernetes/kubelet.conf.d";
        let socket = |files: &[(&str, &str)]| {
            let found = Disk::with(files).found().settings?.runtime?;
            Some(found.display().to_string())
        };
        let config = "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n";
        assert_eq!(socket(&[(CONFIG, config)]).as_deref(), Some("/run/crio/crio.sock"));
        let env = format!("KUBELET_KUBEADM_ARGS=\"--config-dir={dir}\"\n");
        let drop_in = (&*format!("{dir}/10.conf"), "containerRuntimeEndpoint: /run/a.sock\n");
        let files = [(CONFIG, config), (ENV, &*env), drop_in];
        assert_eq!(socket(&files).as_deref(), Some("/run/a.sock"));
        for (flag, found) in [
            ("=unix:///run/b.sock", "/run/b.sock"),
            (" unix:///run/b.sock", "/run/b.sock"),
            ("=/run/c.sock --x=y", "/run/c.sock"),
        ] {
            let env = format!("KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint{flag}\"\n");
            let files = [(CONFIG, config), (ENV, &*env)];
            assert_eq!(socket(&files).as_deref(), Some(found), "{flag}");
        }
        let extra = "KUBELET_EXTRA_ARGS=--container-runtime-endpoint=/run/d.sock\n";
        let kubeadm = "KUBELET_KUBEADM_ARGS=--container-runtime-endpoint=/run/e.sock\n";
        let files = [(ENV, kubeadm), ("/etc/default/kubelet", extra)];
        assert_eq!(socket(&files).as_deref(), Some("/run/d.sock"), "the later one counts");
        for none in
            ["port: 1\n", "containerRuntimeEndpoint: ''\n", "containerRuntimeEndpoint: npipe://x\n"]
        {
            assert_eq!(socket(&[(CONFIG, none)]), None, "{none}");
        }
    }

    #[test]
    fn rotation_and_address_are_read() {
        let found = |text: &str| Disk::with(&[(CONFIG, text)]).found().settings.unwrap();
        let settings = found("rotateCertificates: true\naddress: 0.0.0.0\n");
        assert_eq!((settings.rotation_off, &*settings.address), (None, "127.0.0.1:10250"));
        let settings = found("rotateCertificates: false\naddress: fd00::1\nport: 10251\n");
        assert_eq!(
            settings.rotation_off.unwrap(),
            format!("rotateCertificates in {CONFIG} is false")
        );
        assert_eq!(settings.address, "[fd00::1]:10251");
        assert!(found("port: 1\n").rotation_off.unwrap().contains("is not set"));
    }
}
