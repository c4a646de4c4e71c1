//! The command line of a systemd service, as its unit file and drop-ins give it.
//!
//! Only the settings that decide about it are read: `ExecStart=`, `Environment=` and
//! `EnvironmentFile=` (systemd.service(5), systemd.exec(5)). Specifiers (`%n`) stay as they are.

use std::collections::BTreeMap;

/// What a service is started with, by the files read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceUnit {
    start: Option<String>,
    environment: BTreeMap<String, String>,
    environment_files: Vec<String>,
}

impl ServiceUnit {
    /// Reads a unit file, or a drop-in of it. An empty value resets a setting, and of several
    /// commands the last one counts.
    pub fn read(&mut self, text: &str) {
        let mut in_service = false;
        for line in joined_lines(text) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| in_service) else { continue };
            self.set(key.trim_end(), value.trim_start());
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "ExecStart" => self.start = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "Environment" if value.is_empty() => self.environment.clear(),
            "Environment" => self.environment.extend(
                split_words(value)
                    .iter()
                    .filter_map(|word| word.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
            "EnvironmentFile" if value.is_empty() => self.environment_files.clear(),
            "EnvironmentFile" => {
                self.environment_files.push(value.strip_prefix('-').unwrap_or(value).to_owned());
            }
            _ => {}
        }
    }

    /// Whether a file says what is started.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// The files with variables, in the order in which they are read.
    #[must_use]
    pub fn environment_files(&self) -> &[String] {
        &self.environment_files
    }

    /// Adds the variables of such a file. They take precedence over those of the unit.
    pub fn read_environment(&mut self, text: &str) {
        self.environment.extend(joined_lines(text).iter().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = value.trim();
            let value = match value.starts_with(['"', '\'']) {
                true => split_words(value).into_iter().next().unwrap_or_default(),
                false => value.to_owned(),
            };
            Some((name.trim().to_owned(), value))
        }));
    }

    /// The words that the service is started with, the program first; none when no file says.
    #[must_use]
    pub fn command_line(&self) -> Vec<String> {
        let words = split_words(self.start.as_deref().unwrap_or_default());
        let expand = |word: String| match word.strip_prefix('$') {
            // A word of its own becomes as many words as its value has.
            Some(name) if is_variable(name) => split_words(self.variable(name)),
            _ => vec![self.filled_in(&word)],
        };
        words.into_iter().flat_map(expand).collect()
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A word with `${NAME}` replaced.
    fn filled_in(&self, word: &str) -> String {
        let mut parts = word.split("${");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once('}') {
                Some((name, rest)) if is_variable(name) => {
                    text += self.variable(name);
                    text += rest;
                }
                _ => {
                    text += "${";
                    text += part;
                }
            }
        }
        text
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The lines without comments and blanks; a backslash at the end joins a line with the next one.
fn joined_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) || (line.is_empty() && !goes_on) {
            continue;
        }
        let (line, ends) = match line.strip_suffix('\\') {
            Some(line) => (line, false),
            None => (line, true),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
        goes_on = !ends;
    }
    lines
}

/// Splits at spaces, except in quotes; quotes are removed, and a backslash stands for the character
/// after it.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            '\\' if quote != Some('\'') => word.get_or_insert_default().extend(letters.next()),
            _ if letter.is_whitespace() && quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(texts: &[&str], environment: &[&str]) -> String {
        let mut unit = ServiceUnit::default();
        texts.iter().for_each(|text| unit.read(text));
        environment.iter().for_each(|text| unit.read_environment(text));
        unit.command_line().join("|")
    }

    #[test]
    fn drop_in_of_kubeadm_gives_the_command_line() {
        let unit = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/kubelet\n";
        let drop_in = "# Note\n[Service]\n\
            Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
            EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\n\
            EnvironmentFile=-/etc/default/kubelet\n\
            ExecStart=\n\
            ExecStart=/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $UNKNOWN\n";
        assert_eq!(started(&[unit], &[]), "/usr/bin/kubelet");
        assert_eq!(
            started(&[unit, drop_in], &["KUBELET_KUBEADM_ARGS=\"--a=1 --b 2\"\n"]),
            "/usr/bin/kubelet|--config=/var/lib/kubelet/config.yaml|--a=1|--b|2"
        );
        let mut read = ServiceUnit::default();
        read.read(drop_in);
        let files = ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet"];
        assert_eq!(read.environment_files(), files);
        read.read("[Service]\nEnvironmentFile=\n");
        assert_eq!(read.environment_files(), [""; 0]);
    }

    #[test]
    fn lines_quotes_and_variables_are_those_of_systemd() {
        let unit = "[Service]\nEnvironment=DIR=/srv 'MORE=--x --y'\n\
            ExecStart=/usr/bin/kubelet \\\n  # a comment between\n  --cert-dir=${DIR}/pki \\\n  \
            \"--node-labels=a b\" $MORE\n[Install]\nExecStart=/bin/false\n";
        assert_eq!(
            started(&[unit], &[]),
            "/usr/bin/kubelet|--cert-dir=/srv/pki|--node-labels=a b|--x|--y"
        );
        assert_eq!(
            started(&[unit], &["# DIR=/no\nDIR=/etc\nMORE=--z --w\n"]),
            "/usr/bin/kubelet|--cert-dir=/etc/pki|--node-labels=a b|--z|--w",
            "a file takes precedence over the unit"
        );
    }

    #[test]
    fn text_without_command_starts_nothing() {
        for text in ["", "[Service]\n", "ExecStart=/bin/x\n", "\\\n\\", "[Service]\nExecStart=\"\\"]
        {
            let mut unit = ServiceUnit::default();
            unit.read(text);
            assert!(unit.command_line().concat().is_empty(), "{text:?}");
        }
    }
}
