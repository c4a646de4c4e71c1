//! Scripts for `sh -c` in manifests: the commands in them, with their words as a shell makes them.
//!
//! Read are quotes, comments, continued lines, chains of commands, redirections, here-documents,
//! and variables and arguments that the manifest or the script itself sets. A part that only a run
//! could show, such as the output of a command, or a value that is set under a condition, makes its
//! word unknown. Nothing is run.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::words::{Environment, MAX_LINE_BYTES, MAX_WORD_BYTES, Word};

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Words that stand before a command and say whether it is run.
const BRANCHES: &[&str] = &[
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac",
    "function",
];

/// Words that stand before a command and change nothing here.
const GROUPS: &[&str] = &["{", "}", "!", "time"];

/// About what a command of a script takes in memory besides its variables, in bytes.
const COMMAND_BYTES: usize = 64;

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

/// Whether a word is a shell.
pub(super) fn is_shell(word: &Word) -> bool {
    SHELLS.contains(&word.base_name())
}

/// The script in a command line, and the words after it: `$0` first.
pub(super) fn script_of(line: &[Word]) -> Option<(&Word, &[Word])> {
    let (_, options) = line.split_first().filter(|(shell, _)| is_shell(shell))?;
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
        arguments: arguments.get(1..).unwrap_or_default().to_vec(),
        variables: environment.clone(),
        exported: environment.keys().cloned().collect(),
        exports_all: false,
        assigned: Vec::new(),
        words: Vec::new(),
        word: None,
        is_target: false,
        documents: Vec::new(),
        chain: Chain::default(),
        room: MAX_LINE_BYTES,
        script: Script { commands: Vec::new(), branches: false, reads_more: false },
    };
    reader.read();
    reader.script
}

struct Reader<'s> {
    rest: Peekable<Chars<'s>>,
    /// The words for `$@`.
    arguments: Vec<Word>,
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
    /// The last lines of the here-documents that follow the present line.
    documents: Vec<String>,
    chain: Chain,
    /// How many bytes variables and arguments may still add.
    room: usize,
    script: Script,
}

/// The present chain of commands, with `&&` and `||` between them.
#[derive(Default)]
struct Chain {
    /// Whether it has a command that may fail.
    may_fail: bool,
    /// Whether the present command is run only where one before it succeeded, or failed.
    conditional: bool,
    /// Whether it is run only where one before it failed.
    alternative: bool,
    /// The variables that are set only where a command before succeeded.
    assigned: Vec<String>,
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
                '\n' | ';' | '|' | '&' => self.operator(c),
                '(' | ')' => {
                    self.script.branches = true;
                    self.end_command();
                }
                '<' | '>' => self.redirection(c),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    /// The end of a command.
    fn operator(&mut self, c: char) {
        let is_doubled = matches!(c, '|' | '&') && self.rest.next_if_eq(&c).is_some();
        self.end_command();
        match (c, is_doubled) {
            ('&', true) => self.chain.conditional |= self.chain.may_fail,
            ('|', true) => {
                self.forget_assigned();
                self.chain.conditional = true;
                self.chain.alternative = true;
            }
            ('|', false) => {}
            _ => {
                self.forget_assigned();
                self.chain = Chain::default();
            }
        }
        if c == '\n' {
            self.skip_documents();
        }
    }

    /// What was set in a chain may not be set after it.
    fn forget_assigned(&mut self) {
        for name in std::mem::take(&mut self.chain.assigned) {
            self.variables.entry(name).and_modify(|word| word.known = false);
        }
    }

    fn skip_documents(&mut self) {
        for last in std::mem::take(&mut self.documents) {
            while self.rest.peek().is_some() {
                let mut line = String::new();
                while let Some(c) = self.rest.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                if line.trim_start_matches('\t') == last {
                    break;
                }
            }
        }
    }

    /// Whether there is room for so many more bytes, which it takes then.
    fn takes(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or(self.room);
        left.is_some()
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
        let value = self.variables.get(name).filter(|word| word.known);
        let added = value.map_or(0, |word| word.text.len());
        match value.cloned() {
            Some(word) if length + added <= MAX_WORD_BYTES && self.takes(added) => {
                for c in word.text.chars() {
                    if c.is_ascii_whitespace() && !quoted { self.end_word() } else { self.push(c) }
                }
            }
            _ => self.push_unknown(shown),
        }
    }

    fn all_arguments(&mut self) {
        let added = self.arguments.iter().map(|argument| argument.text.len() + 1).sum();
        if !self.takes(added) {
            return self.push_unknown("$@");
        }
        for (at, argument) in self.arguments.clone().iter().enumerate() {
            if at > 0 {
                self.end_word();
            }
            let word = self.word();
            word.text.push_str(&argument.text);
            word.known &= argument.known;
        }
    }

    /// The number before it is that of a file descriptor.
    fn redirection(&mut self, first: char) {
        let is_number = |word: &Word| word.text.chars().all(|c| c.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        let mut operator = String::from(first);
        while let Some(c) = self.rest.next_if(|c| matches!(c, '<' | '>' | '&' | '|')) {
            operator.push(c);
        }
        if operator == "<<" {
            self.rest.next_if_eq(&'-');
            self.documents.push(String::new());
        }
        self.is_target = true;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.is_target) {
            let pending = self.documents.last_mut().filter(|last| last.is_empty());
            pending.into_iter().for_each(|last| last.clone_from(&word.text));
            return;
        }
        if self.words.is_empty() {
            if BRANCHES.contains(&word.text.as_str()) {
                self.script.branches = true;
                return;
            }
            if GROUPS.contains(&word.text.as_str()) {
                self.script.branches |= self.chain.conditional;
                return;
            }
            if let Some((name, value)) = self.assignment(&word) {
                self.assigned.push((name, value));
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
        let operands = words.get(1..).unwrap_or_default();
        match words.first().map(|word| word.text.as_str()) {
            None => assigned.into_iter().for_each(|(name, word)| self.assign(name, word)),
            Some("export" | "declare" | "typeset" | "readonly") => {
                operands.iter().for_each(|word| self.export(word))
            }
            Some("unset") => {
                for word in operands {
                    self.assign(word.text.clone(), Word::unknown(format!("${}", word.text)));
                }
            }
            Some("set") => self.set(operands),
            Some("shift") => {
                let count = operands.first().map_or(Some(1), |word| word.text.parse().ok());
                let rest = count.and_then(|count: usize| self.arguments.get(count..));
                self.replace_arguments(rest.map(<[Word]>::to_vec));
            }
            Some("." | "source" | "eval" | "read") => {
                self.chain.may_fail = true;
                self.read_more();
            }
            Some(_) => {
                self.chain.may_fail = true;
                self.add_command(words, assigned);
            }
        }
    }

    /// Adds a command with the variables that it is given. A script for which there is no room is
    /// not read on.
    fn add_command(&mut self, words: Vec<Word>, assigned: Vec<(String, Word)>) {
        let is_given = |name: &String| self.exports_all || self.exported.contains(name);
        let given = self.variables.iter().filter(|(name, _)| is_given(name));
        let bytes = given.clone().map(|(name, word)| name.len() + word.text.len()).sum::<usize>();
        let mut environment: Environment = Environment::new();
        if bytes + COMMAND_BYTES <= self.room {
            environment.extend(given.map(|(name, word)| (name.clone(), word.clone())));
            environment.extend(assigned);
            self.room -= bytes + COMMAND_BYTES;
            self.script.commands.push(Command { words, environment });
        } else {
            self.script.reads_more = true;
            self.rest = "".chars().peekable();
        }
    }

    /// A name to export, or an assignment. Other words come from elsewhere.
    fn export(&mut self, word: &Word) {
        match self.assignment(word) {
            Some((name, value)) => {
                self.assign(name.clone(), value);
                self.exported.insert(name);
            }
            None if word.known => {
                self.exported.insert(word.text.clone());
            }
            None => self.read_more(),
        }
    }

    /// Options, and new arguments.
    fn set(&mut self, operands: &[Word]) {
        let is_all = |word: &Word| matches!(word.text.as_str(), "-a" | "-ea" | "-ae");
        self.exports_all |= operands.iter().any(is_all);
        let mut rest = operands;
        while let Some((word, after)) = rest.split_first() {
            if word.text == "--" {
                return self.replace_arguments(Some(after.to_vec()));
            }
            if !word.text.starts_with(['-', '+']) {
                return self.replace_arguments(Some(rest.to_vec()));
            }
            // "-o" is followed by the name of an option.
            rest =
                if word.text.ends_with('o') { after.get(1..).unwrap_or_default() } else { after };
        }
    }

    /// Sets the words for `$@`. Without new ones, or under a condition, they are not known.
    fn replace_arguments(&mut self, arguments: Option<Vec<Word>>) {
        let is_certain = arguments.is_some() && !self.is_conditional();
        self.arguments = arguments.unwrap_or_else(|| std::mem::take(&mut self.arguments));
        self.arguments.iter_mut().for_each(|word| word.known &= is_certain);
        self.script.reads_more |= !is_certain;
    }

    fn read_more(&mut self) {
        self.script.reads_more = true;
        self.variables.values_mut().for_each(|word| word.known = false);
    }

    fn is_conditional(&self) -> bool {
        self.script.branches || self.chain.conditional
    }

    /// A value that is set under a condition is not known; where a command before has to succeed,
    /// only the rest of the chain knows it.
    fn assign(&mut self, name: String, word: Word) {
        let known = word.known && !self.script.branches && !self.chain.alternative;
        if self.chain.conditional {
            self.chain.assigned.push(name.clone());
        }
        self.variables.insert(name, Word { known, ..word });
    }

    /// `NAME=value`, or `NAME+=value`.
    fn assignment(&self, word: &Word) -> Option<(String, Word)> {
        let (name, value) = assignment(word)?;
        let Some(name) = name.strip_suffix('+') else { return Some((name, value)) };
        let before = self.variables.get(name).cloned().unwrap_or_else(|| Word::known(""));
        let known =
            before.known && value.known && before.text.len() + value.text.len() <= MAX_WORD_BYTES;
        let text = if known { before.text + &value.text } else { value.text };
        Some((name.to_owned(), Word { text, known }))
    }
}

/// `NAME=value`, or `NAME+=value`; the name with its `+`.
pub(super) fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.text.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && name.strip_suffix('+').unwrap_or(name).chars().all(is_name))
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
            ("A=1; [ -f /x ] && A=2; etcd --a=$A", &["etcd", "<--a=$A>"]),
            ("A=1; [ -f /x ] || A=2; etcd --a=$A", &["etcd", "<--a=$A>"]),
            ("[ -f /x ] && { B=2; A=2; }; etcd --a=$A", &["etcd", "<--a=$A>"]),
            ("x && A=1 || etcd --a=$A", &["etcd", "<--a=$A>"]),
            ("x && A=1 && etcd --a=$A", &["etcd", "--a=1"]),
            ("export A=1 && B=2 && x; etcd --a=$A --b=$B", &["etcd", "--a=1", "--b=2"]),
            ("A=1; A+=2; export A+=3; etcd --a=$A", &["etcd", "--a=123"]),
            ("A=1; unset A; etcd --a=$A", &["etcd", "<--a=$A>"]),
            (
                "set -e -o pipefail -- --a=1 \"$@\"; etcd $@",
                &["etcd", "--a=1", "--one", "two words"],
            ),
            ("shift; etcd $@", &["etcd", "two words"]),
            ("[ -f /x ] && shift; etcd $@", &["etcd", "<two words>"]),
            ("cat <<EOF >/x\ndon't; etcd -b\n EOF\nEOF\netcd --a=1", &["etcd", "--a=1"]),
            ("cat <<-'A' <<B; x\na '\n\tA\nb '\nB\netcd --a=1", &["etcd", "--a=1"]),
            ("x <<<\"it's\"\netcd --a=1", &["etcd", "--a=1"]),
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
            ("export $(cat x)", false, true),
            ("x || set -- a", false, true),
            ("set -- a; shift", false, false),
        ] {
            let found = parse(script, &Environment::new(), &[]);
            assert_eq!((found.branches, found.reads_more), (branches, reads_more), "{script}");
        }
    }

    /// A manifest is short, and its script can name long variables many times.
    #[test]
    fn script_is_read_as_far_as_linux_could_start_its_programs() {
        let long = Environment::from([("A".to_owned(), Word::known("x ".repeat(40_000)))]);
        let bytes = |script: &Script| {
            let words = script.commands.iter().flat_map(|command| &command.words);
            let values = script.commands.iter().flat_map(|command| command.environment.values());
            words.chain(values).map(|word| word.text.len()).sum::<usize>()
        };
        let found = parse(&format!("etcd {}", "$A ".repeat(9_000)), &long, &[]);
        assert!(bytes(&found) < 2 * MAX_LINE_BYTES, "{}", bytes(&found));
        let found = parse(&format!("{}etcd", "a;".repeat(9_000)), &long, &[]);
        assert!(found.reads_more && bytes(&found) < 2 * MAX_LINE_BYTES, "{}", bytes(&found));
        let arguments = known(&["sh", &"x".repeat(80_000)]);
        let found =
            parse(&format!("etcd {}", "$@ ".repeat(9_000)), &Environment::new(), &arguments);
        assert!(bytes(&found) < 2 * MAX_LINE_BYTES, "{}", bytes(&found));
    }

    proptest! {
        #[test]
        fn reader_never_panics(
            script in concat!(
                "([ab ='\"\\\\$(){}`<>&|;#\n@]|A=|if |<<|&&|\\|\\|",
                "|set |A\\+=){0,40}",
            )
        ) {
            let _ = parse(&script, &Environment::new(), &[]);
        }
    }
}
