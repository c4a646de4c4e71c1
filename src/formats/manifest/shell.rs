//! Scripts for `sh -c` in manifests: the commands in them, with their words as a shell makes them.
//!
//! Read are quotes, comments, continued lines, chains of commands, redirections, and variables that
//! the manifest or the script itself sets. A part that only a run could show, such as the output of
//! a command, makes its word unknown. Nothing is run.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::words::{Environment, MAX_WORD_BYTES, Word};

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Words that stand before a command and say whether it is run.
const BRANCHES: &[&str] = &[
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
    "function",
];

/// Words that stand before a command and change nothing here.
const GROUPS: &[&str] = &["{", "}", "!", "time"];

/// A command of a script.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Its words, the program first.
    pub words: Vec<Word>,
    /// Its variables.
    pub environment: Environment,
}

/// The commands of a script.
#[derive(Debug)]
pub(super) struct Script {
    /// In the order of the text.
    pub commands: Vec<Command>,
    /// Whether some of it is run under a condition only.
    pub branches: bool,
    /// Whether it takes words or variables from files or other commands as a whole.
    pub reads_more: bool,
}

/// The script in a command line, and the words after it: `$0` first.
pub(super) fn script_of(line: &[Word]) -> Option<(&Word, &[Word])> {
    let (shell, options) = line.split_first()?;
    if !SHELLS.contains(&shell.base_name()) {
        return None;
    }
    let mut has_script = false;
    let mut rest = options;
    while let Some((word, after)) = rest.split_first() {
        let Some(letters) = word.text.strip_prefix(['-', '+']).filter(|text| !text.is_empty())
        else {
            break;
        };
        rest = after;
        if word.text == "--" {
            break;
        }
        let is_long = letters.starts_with('-');
        has_script |= !is_long && word.text.starts_with('-') && letters.contains('c');
        // "-o" is followed by the name of an option.
        if !is_long && letters.ends_with(['o', 'O']) {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    rest.split_first().filter(|_| has_script)
}

/// Reads a script. `arguments` are the words after it, `$0` first.
pub(super) fn parse(script: &str, environment: &Environment, arguments: &[Word]) -> Script {
    let mut reader = Reader {
        rest: script.chars().peekable(),
        arguments: arguments.get(1..).unwrap_or_default(),
        variables: environment.clone(),
        exported: environment.keys().cloned().collect(),
        exports_all: false,
        assigned: Vec::new(),
        words: Vec::new(),
        word: None,
        is_target: false,
        script: Script { commands: Vec::new(), branches: false, reads_more: false },
    };
    reader.read();
    reader.script
}

struct Reader<'s> {
    rest: Peekable<Chars<'s>>,
    /// The words for `$@`.
    arguments: &'s [Word],
    variables: Environment,
    /// The names of the variables that commands are given.
    exported: BTreeSet<String>,
    exports_all: bool,
    /// The assignments before the present command.
    assigned: Vec<(String, Word)>,
    /// The present command.
    words: Vec<Word>,
    word: Option<Word>,
    /// Whether the present word is the file of a redirection.
    is_target: bool,
    script: Script,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '\'' => self.single_quoted(),
                '"' => self.double_quoted(),
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(c) => self.push(c),
                },
                '$' => self.variable(false),
                '`' => self.backquoted(),
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                ' ' | '\t' | '\r' => self.end_word(),
                '&' if self.rest.peek() == Some(&'>') => self.end_word(),
                '\n' | ';' | '|' | '&' => self.end_command(),
                '(' | ')' => {
                    self.script.branches = true;
                    self.end_command();
                }
                '<' | '>' => self.redirection(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word::known(""))
    }

    fn push(&mut self, c: char) {
        self.word().text.push(c);
    }

    fn push_unknown(&mut self, text: &str) {
        let word = self.word();
        word.text.push_str(text);
        word.known = false;
    }

    fn single_quoted(&mut self) {
        self.word();
        while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
            self.push(c);
        }
    }

    fn double_quoted(&mut self) {
        self.word();
        while let Some(c) = self.rest.next().filter(|c| *c != '"') {
            match c {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                '$' => self.variable(true),
                '`' => self.backquoted(),
                c => self.push(c),
            }
        }
    }

    fn backquoted(&mut self) {
        let mut text = String::from("`");
        while let Some(c) = self.rest.next().filter(|c| *c != '`') {
            text.push(c);
        }
        text.push('`');
        self.push_unknown(&text);
    }

    /// What follows a `$`.
    fn variable(&mut self, quoted: bool) {
        let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        match self.rest.peek().copied() {
            Some('(') => {
                let text = self.bracketed();
                self.push_unknown(&format!("${text}"));
            }
            Some('{') => {
                self.rest.next();
                let mut name = String::new();
                while let Some(c) = self.rest.next().filter(|c| *c != '}') {
                    name.push(c);
                }
                self.value(&name, &format!("${{{name}}}"), quoted);
            }
            Some('@' | '*') => {
                self.rest.next();
                self.all_arguments();
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.rest.next_if(is_name) {
                    name.push(c);
                }
                self.value(&name, &format!("${name}"), quoted);
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '$' | '?' | '!' | '#' | '-') => {
                self.rest.next();
                self.push_unknown(&format!("${c}"));
            }
            // A string with escapes, and one for translation.
            Some('\'' | '"') if !quoted => {}
            _ => self.push('$'),
        }
    }

    /// Text in round brackets, with those in it.
    fn bracketed(&mut self) -> String {
        let (mut text, mut depth) = (String::new(), 0_usize);
        for c in self.rest.by_ref() {
            text.push(c);
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        text
    }

    /// The value of a variable, which is split at blanks unless it is quoted.
    fn value(&mut self, name: &str, shown: &str, quoted: bool) {
        let length = self.word.as_ref().map_or(0, |word| word.text.len());
        match self.variables.get(name).filter(|word| word.known).cloned() {
            Some(word) if length + word.text.len() <= MAX_WORD_BYTES => {
                for c in word.text.chars() {
                    if c.is_ascii_whitespace() && !quoted { self.end_word() } else { self.push(c) }
                }
            }
            _ => self.push_unknown(shown),
        }
    }

    fn all_arguments(&mut self) {
        for (at, argument) in self.arguments.iter().enumerate() {
            if at > 0 {
                self.end_word();
            }
            let word = self.word();
            word.text.push_str(&argument.text);
            word.known &= argument.known;
        }
    }

    /// The number before it is that of a file descriptor.
    fn redirection(&mut self) {
        let is_number = |word: &Word| word.text.chars().all(|c| c.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        while self.rest.next_if(|c| matches!(c, '<' | '>' | '&' | '|')).is_some() {}
        self.is_target = true;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.is_target) {
            return;
        }
        if self.words.is_empty() {
            if BRANCHES.contains(&word.text.as_str()) {
                self.script.branches = true;
                return;
            }
            if GROUPS.contains(&word.text.as_str()) {
                return;
            }
            if let Some(assignment) = assignment(&word) {
                self.assigned.push(assignment);
                return;
            }
        }
        self.words.push(word);
    }

    fn end_command(&mut self) {
        self.end_word();
        self.is_target = false;
        let (words, assigned) =
            (std::mem::take(&mut self.words), std::mem::take(&mut self.assigned));
        match words.first().map(|word| word.text.as_str()) {
            None => assigned.into_iter().for_each(|(name, word)| self.assign(name, word)),
            Some("export" | "declare" | "typeset" | "readonly") => {
                for word in words.iter().skip(1) {
                    let name = match assignment(word) {
                        Some((name, value)) => {
                            self.assign(name.clone(), value);
                            name
                        }
                        None => word.text.clone(),
                    };
                    self.exported.insert(name);
                }
            }
            Some("set") => {
                let is_all = |word: &Word| matches!(word.text.as_str(), "-a" | "-ea" | "-ae");
                self.exports_all |= words.iter().any(is_all);
            }
            Some("." | "source" | "eval" | "read") => {
                self.script.reads_more = true;
                self.variables.values_mut().for_each(|word| word.known = false);
            }
            Some(_) => {
                let is_given = |name: &String| self.exports_all || self.exported.contains(name);
                let mut environment = self.variables.clone();
                environment.retain(|name, _| is_given(name));
                environment.extend(assigned);
                self.script.commands.push(Command { words, environment });
            }
        }
    }

    /// A value that is set under a condition is not known.
    fn assign(&mut self, name: String, word: Word) {
        let known = word.known && !self.script.branches;
        self.variables.insert(name, Word { known, ..word });
    }
}

/// `NAME=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.text.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && name.chars().all(is_name))
        .then(|| (name.to_owned(), Word { text: value.to_owned(), known: word.known }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(words: &[&str]) -> Vec<Word> {
        words.iter().map(|word| Word::known(*word)).collect()
    }

    /// The words of the last command; unknown ones in angle brackets.
    fn last(script: &str) -> Vec<String> {
        let environment = Environment::from([
            ("DIR".to_owned(), Word::known("/pki")),
            ("FLAGS".to_owned(), Word::known("--a=1  --b=2")),
            ("NODE".to_owned(), Word::unknown("$(NODE)")),
        ]);
        let arguments = known(&["sh", "--one", "two words"]);
        let script = parse(script, &environment, &arguments);
        let last = script.commands.last().map(|command| command.words.clone()).unwrap_or_default();
        last.into_iter()
            .map(|word| if word.known { word.text } else { format!("<{}>", word.text) })
            .collect()
    }

    #[test]
    fn words_are_made_as_a_shell_makes_them() {
        for (script, expected) in [
            ("exec etcd --a=1 --b '2 3'", &["exec", "etcd", "--a=1", "--b", "2 3"][..]),
            ("etcd \\\n  --a=1 \\\n  --b=\"2 \\\"3\"\n", &["etcd", "--a=1", "--b=2 \"3"]),
            ("set -e; mkdir -p /x && exec etcd --a=1", &["exec", "etcd", "--a=1"]),
            ("true || false | tee x & etcd", &["etcd"]),
            ("# etcd --old\netcd --a=1 # --b=2", &["etcd", "--a=1"]),
            ("etcd --a=x#y", &["etcd", "--a=x#y"]),
            ("etcd --a=1 1>>/var/log/etcd.log 2>&1", &["etcd", "--a=1"]),
            ("etcd --a=1 &>/dev/null", &["etcd", "--a=1"]),
            ("etcd </dev/null --a=1", &["etcd", "--a=1"]),
            ("etcd --a=$DIR/x --b=\"${DIR}/y\"", &["etcd", "--a=/pki/x", "--b=/pki/y"]),
            ("etcd $FLAGS", &["etcd", "--a=1", "--b=2"]),
            ("etcd \"$FLAGS\"", &["etcd", "--a=1  --b=2"]),
            ("etcd '$DIR' \\$DIR", &["etcd", "$DIR", "$DIR"]),
            ("A=/x; etcd --a=$A/y", &["etcd", "--a=/x/y"]),
            ("exec etcd \"$@\"", &["exec", "etcd", "--one", "two words"]),
            ("etcd --a=$NODE --b=$OTHER", &["etcd", "<--a=$NODE>", "<--b=$OTHER>"]),
            ("etcd --a=$(hostname -i | (cat))/x", &["etcd", "<--a=$(hostname -i | (cat))/x>"]),
            ("etcd --a=`hostname`", &["etcd", "<--a=`hostname`>"]),
            ("etcd ${MORE:---a=1}", &["etcd", "<${MORE:---a=1}>"]),
            ("if true; then A=1; fi; etcd --a=$A", &["etcd", "<--a=$A>"]),
            (". /etc/env; etcd --a=$DIR", &["etcd", "<--a=$DIR>"]),
            ("etcd ''", &["etcd", ""]),
            ("etcd 'open", &["etcd", "open"]),
            ("", &[]),
        ] {
            assert_eq!(last(script), expected, "{script}");
        }
    }

    #[test]
    fn variables_of_a_command_are_those_it_is_given() {
        let of = |script: &str| {
            let environment = Environment::from([("A".to_owned(), Word::known("a"))]);
            let script = parse(script, &environment, &[]);
            let last = script.commands.last().unwrap();
            let pairs = last.environment.iter();
            pairs.map(|(name, word)| format!("{name}={}", word.text)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("B=b etcd"), "A=a B=b");
        assert_eq!(of("B=b; etcd"), "A=a");
        assert_eq!(of("export B=b; A=c; etcd"), "A=c B=b");
        assert_eq!(of("set -a; B=b; etcd"), "A=a B=b");
        assert_eq!(of("B=b; export B; etcd"), "A=a B=b");
    }

    #[test]
    fn script_is_the_word_after_the_options() {
        for (line, expected) in [
            (&["sh", "-c", "x"][..], Some("x")),
            (&["/bin/bash", "-ec", "x", "a"], Some("x")),
            (&["bash", "-e", "-o", "pipefail", "-c", "x"], Some("x")),
            (&["bash", "-euxo", "pipefail", "-c", "x"], Some("x")),
            (&["bash", "--norc", "-lc", "--", "x"], Some("x")),
            (&["sh", "/run.sh", "-c", "x"], None),
            (&["etcd", "-c", "x"], None),
            (&["sh", "-c"], None),
            (&["sh"], None),
            (&[], None),
        ] {
            let line = known(line);
            let found = script_of(&line).map(|(script, _)| script.text.as_str());
            assert_eq!(found, expected, "{line:?}");
        }
    }

    #[test]
    fn conditions_and_files_are_noticed() {
        for (script, branches, reads_more) in [
            ("a && b; c", false, false),
            ("if a; then b; fi", true, false),
            ("(a)", true, false),
            ("source x", false, true),
        ] {
            let found = parse(script, &Environment::new(), &[]);
            assert_eq!((found.branches, found.reads_more), (branches, reads_more), "{script}");
        }
    }

    proptest! {
        #[test]
        fn reader_never_panics(script in "([ab ='\"\\\\$(){}`<>&|;#\n@]|A=|if ){0,40}") {
            let _ = parse(&script, &Environment::new(), &[]);
        }
    }
}
