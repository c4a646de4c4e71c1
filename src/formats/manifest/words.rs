//! The words that a container is started with, and its environment, as kubelet makes them.

use std::collections::BTreeMap;

use super::shape::{Container, EnvironmentVariable};

/// The longest word that Linux passes to a program (`MAX_ARG_STRLEN`), in bytes. Variables that
/// name others could make longer ones without end.
pub(super) const MAX_WORD_BYTES: usize = 128 * 1024;

/// How many bytes of arguments and variables Linux passes to a program by default.
pub(super) const MAX_LINE_BYTES: usize = 2 * 1024 * 1024;

/// A word of a command line, or the value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// The text. A part that is not known has the form that it has in the manifest.
    pub text: String,
    /// Whether the whole text is known.
    pub known: bool,
}

impl Word {
    pub fn known(text: impl Into<String>) -> Self {
        Self { text: text.into(), known: true }
    }

    pub fn unknown(text: impl Into<String>) -> Self {
        Self { text: text.into(), known: false }
    }

    /// The file name of a program, for a word that is its path.
    pub fn base_name(&self) -> &str {
        base_name(&self.text)
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The variables of a container by their names.
pub(super) type Environment = BTreeMap<String, Word>;

/// The variables that the manifest gives to a container. A value may use those before it; one that
/// is taken from elsewhere (`valueFrom`) is not known.
pub(super) fn environment(container: &Container) -> Environment {
    let mut all = Environment::new();
    let mut room = MAX_LINE_BYTES;
    for EnvironmentVariable { name, value, value_from } in container.env.iter().flatten() {
        let word = match value {
            _ if value_from.is_some() => Word::unknown(format!("$({name})")),
            Some(value) => expanded(value, &all, &mut room),
            None => Word::known(""),
        };
        all.insert(name.clone(), word);
    }
    all
}

/// The words of command and args, in which kubelet replaces `$(NAME)`.
pub(super) fn command_line(container: &Container, environment: &Environment) -> Vec<Word> {
    let command = container.command.iter().flatten();
    let words = command.chain(container.args.iter().flatten());
    let mut room = MAX_LINE_BYTES;
    words.map(|word| expanded(word, environment, &mut room)).collect()
}

/// Replaces `$(NAME)` by the variable, and `$$` by `$`, as kubelet does. A variable that the
/// manifest does not name stays: kubelet adds some of its own, which are not known here. `room` is
/// how many bytes the variables may still add.
fn expanded(text: &str, environment: &Environment, room: &mut usize) -> Word {
    let (mut found, mut known) = (String::new(), true);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        found.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            found.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        {
            match environment.get(name) {
                Some(word)
                    if found.len() + word.text.len() <= MAX_WORD_BYTES
                        && word.text.len() <= *room =>
                {
                    *room -= word.text.len();
                    found.push_str(&word.text);
                    known &= word.known;
                }
                _ => {
                    found.push_str(&format!("$({name})"));
                    known = false;
                }
            }
            rest = after;
        } else {
            found.push('$');
        }
    }
    found.push_str(rest);
    Word { text: found, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(text: &str) -> Container {
        serde_saphyr::from_str(&format!("{{name: x, {text}}}")).unwrap()
    }

    fn words(text: &str) -> Vec<(String, bool)> {
        let container = container(text);
        let words = command_line(&container, &environment(&container));
        words.into_iter().map(|word| (word.text, word.known)).collect()
    }

    #[test]
    fn variables_are_replaced_as_kubelet_does() {
        let env = r#"env: [{name: DIR, value: /pki}, {name: FILE, value: "$(DIR)/a.crt"},
            {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: EMPTY}]"#;
        for (word, expected, known) in [
            ("--cert-file=$(FILE)", "--cert-file=/pki/a.crt", true),
            ("$(DIR)$(EMPTY)$(DIR)", "/pki/pki", true),
            ("$$(DIR) $$ $x $", "$(DIR) $ $x $", true),
            ("$(DIR", "$(DIR", true),
            ("/$(NODE).crt", "/$(NODE).crt", false),
            ("$(OTHER)", "$(OTHER)", false),
        ] {
            let found = words(&format!("{env}, command: [x], args: ['{word}']"));
            assert_eq!(found[1], (expected.to_owned(), known), "{word}");
        }
    }

    #[test]
    fn variables_that_double_each_other_end_at_the_longest_word() {
        let more = (0..60).map(|at| format!("{{name: V{}, value: $(V{at})$(V{at})}}", at + 1));
        let all: Vec<_> =
            ["{name: V0, value: 0123456789}".to_owned()].into_iter().chain(more).collect();
        let container = container(&format!("env: [{}]", all.join(", ")));
        let last = environment(&container).remove("V60").unwrap();
        assert!(!last.known && last.text.len() <= 2 * MAX_WORD_BYTES, "{}", last.text.len());
    }

    #[test]
    fn words_take_no_more_than_linux_passes_to_a_program() {
        let text = "x".repeat(100_000);
        let more = (0..300).map(|at| format!(", {{name: W{at}, value: $(V)}}"));
        let env = format!("env: [{{name: V, value: {text}}}{}]", more.collect::<String>());
        let container = container(&format!("{env}, args: [{}]", "$(V), ".repeat(300)));
        let environment = environment(&container);
        let bytes = |all: &mut dyn Iterator<Item = &Word>| -> usize {
            all.map(|word| word.text.len()).sum()
        };
        assert!(bytes(&mut environment.values()) < 2 * MAX_LINE_BYTES);
        assert!(bytes(&mut command_line(&container, &environment).iter()) < 2 * MAX_LINE_BYTES);
    }

    #[test]
    fn later_variables_are_not_used_by_earlier_ones() {
        let container = container("env: [{name: A, value: $(B)}, {name: B, value: b}]");
        assert_eq!(environment(&container).get("A"), Some(&Word::unknown("$(B)")));
    }
}
