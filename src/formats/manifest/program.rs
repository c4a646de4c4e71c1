//! The program that a container runs, and its arguments.

use super::shape::Container;
use super::shell::{self, Command};
use super::words::{Environment, Word, base_name, command_line, environment};
use crate::formats::flag_name::same_flag;

/// Programs that run the program named after them.
const WRAPPERS: &[&str] = &[
    "exec",
    "env",
    "nohup",
    "command",
    "nice",
    "ionice",
    "chrt",
    "taskset",
    "setsid",
    "timeout",
    "stdbuf",
    "tini",
    "dumb-init",
    "go-runner",
    "flock",
    "su-exec",
    "gosu",
    "sudo",
    "hyperkube",
    "busybox",
];

/// Those with one more word before the program: a file, a user, or a mask.
const WITH_OPERAND: &[&str] = &["flock", "su-exec", "gosu", "taskset"];

/// The arguments and the variables of a program, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    arguments: Vec<Word>,
    pub environment: Environment,
    /// Why the arguments may not be all of those that it is started with.
    pub doubt: Option<String>,
}

impl Program {
    /// The program of a component in a container; without the component in it, its first one.
    pub fn of(container: &Container, component: &str) -> Self {
        let environment = environment(container);
        let line = command_line(container, &environment);
        let Some((script, arguments)) = script_of(&line) else {
            return match program_at(&line, component) {
                Some(at) => Self::at(&line, at, environment),
                None => {
                    let skipped = usize::from(has_command(container));
                    Self::new(line.get(skipped..).unwrap_or_default(), environment)
                }
            };
        };
        let script = shell::parse(&script.text, &environment, arguments);
        let runs = |command: &&Command| program_at(&command.words, component).is_some();
        let starts = script.commands.iter().filter(runs).count();
        let last = script.commands.iter().rfind(runs).or(script.commands.last());
        let program = last.map(|command| {
            let at = program_at(&command.words, component).unwrap_or(0);
            Self::at(&command.words, at, command.environment.clone())
        });
        let mut program = program.unwrap_or_default();
        let doubt = if starts > 1 {
            Some(format!("its script starts {component} at {starts} places"))
        } else if script.reads_more {
            Some("its script uses words or variables that are set elsewhere".to_owned())
        } else {
            None
        };
        program.doubt = doubt.or(program.doubt);
        program
    }

    /// The program at a place of a command. `env` before it sets variables.
    fn at(words: &[Word], at: usize, mut environment: Environment) -> Self {
        let before = words.get(..at).unwrap_or_default();
        if before.iter().any(|word| word.base_name() == "env") {
            environment.extend(before.iter().filter_map(shell::assignment));
        }
        let mut program = Self::new(words.get(at + 1..).unwrap_or_default(), environment);
        program.doubt = doubt(before).or(program.doubt);
        program
    }

    fn new(arguments: &[Word], environment: Environment) -> Self {
        Self { arguments: arguments.to_vec(), environment, doubt: doubt(arguments) }
    }

    /// The values of a flag, one for each time that it is there. `None` is one without a value.
    pub fn flag(&self, name: &str) -> Vec<Option<Value<'_>>> {
        let mut words = self.arguments.iter().take_while(|word| word.text != "--").peekable();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            let text = &word.text;
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                continue;
            };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(Value { text: value, known: word.known })),
                None => {
                    let next = words.next_if(|next| !next.text.starts_with('-'));
                    (flag, next.map(Value::of))
                }
            };
            if same_flag(flag, name) {
                found.push(value);
            }
        }
        found
    }
}

/// The value of a flag or variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'p> {
    pub text: &'p str,
    pub known: bool,
}

impl<'p> Value<'p> {
    pub fn of(word: &'p Word) -> Self {
        Self { text: &word.text, known: word.known }
    }
}

/// Why words may be more than they seem.
fn doubt(words: &[Word]) -> Option<String> {
    let whole = words.iter().find(|word| !word.known && !word.text.starts_with('-'))?;
    Some(format!("the value of {} is not known here", whole.text))
}

/// Whether a container runs a component: as its program, or by its image where no program is named.
pub(super) fn runs(container: &Container, component: &str) -> bool {
    let environment = environment(container);
    let line = command_line(container, &environment);
    if let Some((script, arguments)) = script_of(&line) {
        let script = shell::parse(&script.text, &environment, arguments);
        return script.commands.iter().any(|one| program_at(&one.words, component).is_some());
    }
    program_at(&line, component).is_some()
        || (!has_command(container) && is_image_of(container, component))
}

/// Whether a container runs a tool for a component, such as etcdctl.
pub(super) fn runs_tool_of(container: &Container, component: &str) -> bool {
    let environment = environment(container);
    let line = command_line(container, &environment);
    let is_tool = |words: &[Word]| {
        let name = words.first().map(Word::base_name);
        let rest = name.and_then(|name| name.strip_prefix(component));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    match script_of(&line) {
        Some((script, arguments)) => shell::parse(&script.text, &environment, arguments)
            .commands
            .iter()
            .any(|command| is_tool(&command.words)),
        None => is_tool(&line),
    }
}

/// The words of the commands in a container's script, and those of its variables.
pub(super) fn script_words(container: &Container) -> Vec<Word> {
    let environment = environment(container);
    let line = command_line(container, &environment);
    let Some((script, arguments)) = script_of(&line) else { return Vec::new() };
    let commands = shell::parse(&script.text, &environment, arguments).commands.into_iter();
    commands.flat_map(|one| one.words.into_iter().chain(one.environment.into_values())).collect()
}

/// Whether the image is one of a component, such as `registry.k8s.io/etcd:3.6.6-0`.
pub(super) fn is_image_of(container: &Container, component: &str) -> bool {
    let image = container.image.as_deref().unwrap_or_default();
    let image = image.split('@').next().unwrap_or_default();
    let name = base_name(image).split(':').next().unwrap_or_default();
    let machine = name.strip_prefix(component);
    machine.is_some_and(|rest| {
        matches!(rest, "" | "-amd64" | "-arm64" | "-arm" | "-ppc64le" | "-s390x")
    })
}

fn has_command(container: &Container) -> bool {
    container.command.as_ref().is_some_and(|command| !command.is_empty())
}

/// How a container is started, as far as its words are flags of a component's program.
pub(super) struct DirectCommand {
    /// The words of command and args, one for each item of the two lists.
    pub words: Vec<Word>,
    /// The place of the program among them.
    pub program: usize,
}

/// The command of a container that starts the program of a component without a shell.
pub(super) fn direct_command(container: &Container, component: &str) -> Option<DirectCommand> {
    let words = command_line(container, &environment(container));
    let program = if script_of(&words).is_some() { None } else { program_at(&words, component) };
    program.map(|program| DirectCommand { words, program })
}

/// The script of a shell that a command line runs, and the words after it.
fn script_of(line: &[Word]) -> Option<(&Word, &[Word])> {
    shell::script_of(line.get(place(line, shell::is_shell)?..)?)
}

/// The place of a component's program in a command.
fn program_at(words: &[Word], component: &str) -> Option<usize> {
    place(words, |word| word.base_name() == component)
}

/// The place of a program in a command: at its beginning, or after programs that run the one named
/// after them, and their options.
fn place(words: &[Word], is_it: impl Fn(&Word) -> bool) -> Option<usize> {
    // Whether one more word may belong to what is before it.
    let mut takes_one = false;
    for (at, word) in words.iter().enumerate() {
        let text = word.text.as_str();
        if is_it(word) {
            return Some(at);
        } else if WRAPPERS.contains(&word.base_name()) {
            takes_one = WITH_OPERAND.contains(&word.base_name());
        } else if at == 0 || matches!(text, "-v" | "-V") {
            // "command -v" only says where a program is.
            return None;
        } else if text.starts_with('-') {
            takes_one |= text != "--" && !text.contains('=');
        } else if !text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('=') {
            // What is not known may be anything.
            takes_one = (takes_one || !word.known).then_some(false)?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(text: &str) -> Container {
        serde_saphyr::from_str(&format!("{{name: x, {text}}}")).unwrap()
    }

    fn flag(text: &str) -> Option<String> {
        let program = Program::of(&container(text), "etcd");
        let found = program.flag("cert-file");
        found.last().copied().flatten().map(|value| value.text.to_owned())
    }

    #[test]
    fn flags_are_found_behind_shells_and_wrappers() {
        for text in [
            "command: [etcd, --cert-file=/a]",
            "command: [/usr/local/bin/etcd], args: [--cert-file, /a]",
            "args: [--cert-file=/a]",
            "args: [etcd, --cert-file=/a]",
            "command: [/go-runner, --cert-file=/log, /usr/local/bin/etcd, --cert-file=/a]",
            "command: [tini, --, etcd, --cert-file=/a]",
            "command: [flock, -w, '5', /run/lock, nice, -n, '5', etcd, --cert-file=/a]",
            "command: [gosu, member, etcd, --cert-file=/a]",
            "command: [sudo, -u, etcd, etcd, --cert-file=/a]",
            "command: [tini, -g, --, sh, -c, 'exec etcd --cert-file=/a']",
            "command: [/usr/bin/env, A=1, bash, -ec, 'exec etcd --cert-file=/a']",
            "command: [busybox, sh, -c, 'etcd --cert-file=/a | tee -a /log']",
            "command: [/own-wrapper.sh, --cert-file=/a]",
            "command: [sh, -c], args: ['exec etcd --cert-file=/a']",
            "args: [/bin/sh, -c, 'exec etcd --cert-file=/a']",
            "command: [sh, -c, 'chown etcd /x; exec etcd --cert-file=/a; echo --cert-file=/b']",
            "command: [sh, -c, 'exec etcd \"$@\"', sh], args: ['--cert-file=/a']",
            "command: [sh, -c, '/own-wrapper.sh --cert-file=/a']",
        ] {
            assert_eq!(flag(text).as_deref(), Some("/a"), "{text}");
        }
    }

    #[test]
    fn variables_are_those_of_env_too() {
        let text = "command: [env, ETCD_CERT_FILE=/a, etcd], env: [{name: ETCD_X, value: x}]";
        let program = Program::of(&container(text), "etcd");
        let of = |name: &str| program.environment.get(name).map(|word| word.text.as_str());
        assert_eq!((of("ETCD_CERT_FILE"), of("ETCD_X")), (Some("/a"), Some("x")));
    }

    #[test]
    fn doubts_are_named() {
        for (text, doubt) in [
            ("command: [etcd, $(MORE)]", Some("the value of $(MORE) is not known here")),
            (
                "command: [sh, -c, 'exec etcd --cert-file=/a $MORE']",
                Some("the value of $MORE is not known here"),
            ),
            (
                "command: [sh, -c, 'if x; then etcd -a; else etcd -b; fi']",
                Some("its script starts etcd at 2 places"),
            ),
            (
                "command: [sh, -c, '. /etc/env; etcd']",
                Some("its script uses words or variables that are set elsewhere"),
            ),
            (
                "command: [sh, -c, '. /etc/env; eval exec etcd']",
                Some("its script uses words or variables that are set elsewhere"),
            ),
            (
                "command: [sh, -c, 'exec env $(cat /etc/env) etcd']",
                Some("the value of $(cat /etc/env) is not known here"),
            ),
            ("command: [sh, -c, 'command -v etcd && exec etcd']", None),
            ("command: [etcd, --name=$(NODE)]", None),
        ] {
            assert_eq!(Program::of(&container(text), "etcd").doubt.as_deref(), doubt, "{text}");
        }
    }

    #[test]
    fn component_is_recognised_by_program_or_image() {
        for (text, expected) in [
            ("command: [/usr/bin/etcd]", true),
            ("command: [sh, -c, 'exec etcd']", true),
            ("args: [etcd]", true),
            ("image: 'registry.k8s.io/etcd:3.6.6-0'", true),
            ("image: 'localhost:5000/etcd-amd64@sha256:0'", true),
            ("image: 'registry.k8s.io/etcd:3.6.6-0', command: [etcdctl, snapshot]", false),
            ("image: 'example.org/etcd-manager:1'", false),
            ("command: [sh, -c, 'mkdir -p /var/lib/etcd; chown etcd /x']", false),
            ("command: [nice, -n, '5', tar, czf, /backup.tgz, /var/lib/etcd]", false),
            ("command: [sh, -c, 'exec rsync -a /var/lib/etcd /backup']", false),
            ("command: [sh, -c, 'command -v etcd']", false),
        ] {
            assert_eq!(runs(&container(text), "etcd"), expected, "{text}");
        }
    }
}
