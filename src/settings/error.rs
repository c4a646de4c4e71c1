//! The errors of the configuration and of profiles. Every message names the position and the
//! expected value.

use std::path::PathBuf;

use super::moments::Pause;
use super::origin::Origin;

/// An error in the configuration or a profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The text is not TOML, or a key or value is not one of ours.
    #[error("{}:{line}:{column}: {}{message}", file.display(), quoted(excerpt))]
    Text {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The character in the line, counted from 1.
        column: usize,
        /// The line itself.
        excerpt: String,
        /// The error, and what was expected.
        message: String,
    },
    /// Nothing would ever be renewed in time.
    #[error("{0} is too short: a certificate has to be renewed before it expires")]
    NeverDue(Stated),
    /// The urgent stage would begin before the due one.
    #[error(
        "{urgent} is longer than {due}: a certificate is due first and urgent later, so it may be \
         at most as long"
    )]
    UrgentBeforeDue {
        /// `renewal.urgent_before`.
        urgent: Box<Stated>,
        /// `renewal.renew_before`.
        due: Box<Stated>,
    },
    /// A renewed certificate would be due again at once.
    #[error(
        "{validity} is too short for {due}: the validity has to be longer than that by more than \
         a day, or each pass would renew again"
    )]
    RenewsForEver {
        /// `renewal.validity`.
        validity: Box<Stated>,
        /// `renewal.renew_before`.
        due: Box<Stated>,
    },
    /// A certificate could expire between two passes.
    #[error(
        "{cron} is too rare for {due}: it makes no pass between {} and {}, so a certificate can be \
         fresh at one pass and expired at the next; make passes more often, or renew earlier",
        pause.from.strftime("%F %T"),
        pause.to.strftime("%F %T")
    )]
    TooRare {
        /// `schedule.cron`.
        cron: Box<Stated>,
        /// `renewal.renew_before`.
        due: Box<Stated>,
        /// A pause of the schedule that is too long.
        pause: Pause,
    },
    /// The start of a renewed certificate would lie further back than any clock needs.
    #[error(
        "{0} is too long: it covers small differences between clocks, and may be at most \"1d\""
    )]
    BackdateTooLong(Stated),
    /// A program would be given no time, or a pass's worth of it.
    #[error("{stated} can't be: give a time from \"1s\" to {most:?}")]
    Timeout {
        /// The setting.
        stated: Box<Stated>,
        /// The longest.
        most: &'static str,
    },
    /// kubelet would run what lies in the state directory.
    #[error(
        "{state} is in {manifests}: kubelet runs every file there; choose a directory that \
         nothing else reads"
    )]
    StateAmongManifests {
        /// `paths.state`.
        state: Box<Stated>,
        /// `paths.manifests`.
        manifests: Box<Stated>,
    },
    /// An entry is incomplete or contradicts itself.
    #[error("{origin}: {entry}: {problem}")]
    Entry {
        /// Where the entry begins.
        origin: Origin,
        /// Which entry.
        entry: Entry,
        /// The problem.
        problem: EntryProblem,
    },
    /// Two entries of one kind have the same name.
    #[error("{second}: {entry} has the name of the one at {first}: give each its own name")]
    Duplicate {
        /// Which entry.
        entry: Entry,
        /// Where the name is used first.
        first: Origin,
        /// Where it is used again.
        second: Origin,
    },
    /// The file was made for another kubecertd.
    #[error(
        "{origin}: format = {found} is not the one that this kubecertd reads ({known}): a newer \
         format needs a newer kubecertd"
    )]
    UnknownFormat {
        /// Where the format is said.
        origin: Origin,
        /// The format of the file.
        found: u32,
        /// The format that can be read.
        known: u32,
    },
    /// There is no such profile.
    #[error("{stated}: there is no such profile: this kubecertd brings {known}; another one is \
        read from {}", place.display())]
    UnknownProfile {
        /// `profile`.
        stated: Stated,
        /// The names of the profiles that come with this program.
        known: &'static str,
        /// The file that would hold the profile.
        place: PathBuf,
    },
}

/// A setting as an error message shows it: key, value and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) origin: Origin,
}

impl std::fmt::Display for Stated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.origin)
    }
}

/// An entry of a list: its table and, when it has one, its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `authority`, `credential`, `copy`, `service` or `alarms.command`.
    pub table: &'static str,
    /// The name in it.
    pub name: Option<String>,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "[[{}]] {name:?}", self.table),
            None => write!(f, "[[{}]]", self.table),
        }
    }
}

/// A problem of an entry.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryProblem {
    /// A key that every such entry has is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It says nothing about where the credential lives.
    #[error("its files are missing: give certificate and key, or kubeconfig, or bundle")]
    NoLocation,
    /// It says more than one thing about where the credential lives.
    #[error(
        "it has more than one location: give either certificate and key, or kubeconfig, or bundle"
    )]
    ManyLocations,
    /// It says that it is more than one kind of thing.
    #[error("it is more than one kind of service: give one of pod, unit, pid_file and command")]
    ManyKinds,
    /// A key that means nothing here.
    #[error("{key} does not go with {other}")]
    NotWith {
        /// The key.
        key: &'static str,
        /// The key that it does not go with.
        other: &'static str,
    },
    /// Words that can't be run.
    #[error(
        "command is no command: give the program with its full path and its arguments as a list of \
         words, such as [\"/usr/bin/thing\", \"reload\"]"
    )]
    NoCommand,
    /// Not the name of a unit that can be restarted.
    #[error("unit is no service's unit: give its full name, such as \"haproxy.service\"")]
    NoUnit,
    /// Nothing that can be asked.
    #[error("health is no URL: give one that begins with http:// or https://")]
    NoUrl,
    /// Words that can't be run from anywhere.
    #[error(
        "run is no command: give the program with its full path and its arguments as a list of \
         words, such as [\"/usr/bin/thing\", \"--now\"]"
    )]
    NoProgram,
    /// A length of time that is none, or longer than anything should take.
    #[error("{key} has to be from \"1s\" to {most:?}")]
    NotWithin {
        /// The key.
        key: &'static str,
        /// The longest.
        most: &'static str,
    },
    /// A length of time that a pass would not wait.
    #[error("{key} is too long: it may be at most {most:?}")]
    TooLong {
        /// The key.
        key: &'static str,
        /// The longest.
        most: &'static str,
    },
    /// A template that does not say whom the credential is for.
    #[error(
        "template.subjects has to be some of the subjects, one of them without \"from\" and one \
         with \"if_unknown\""
    )]
    Template,
    /// Only of kubeconfigs is there one for each user.
    #[error("only the path of a kubeconfig may have * for a name")]
    Star,
    /// It names the same thing twice.
    #[error("{key} names {name:?} twice")]
    Twice {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// It refers to an entry that is not there.
    #[error("{key} = {name:?} names nothing that is listed here")]
    Unknown {
        /// The key with the reference.
        key: &'static str,
        /// The name that is not there.
        name: String,
    },
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!("`{excerpt}`: ") }
}

/// Keys that have another name now, and that name.
const RENAMED: [(&str, &str); 3] = [
    ("authority", "ca"),
    ("authority_expires_within", "ca_expires_within"),
    ("root_authority_expires_within", "root_ca_expires_within"),
];

/// Adds "did you mean" to serde's message about an unknown key, which quotes that key first and the
/// known ones after it.
pub(super) fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let meant = match quoted.next() {
        Some(wrong) if message.starts_with("unknown field") => {
            let renamed = RENAMED.iter().find(|(old, _)| *old == wrong).map(|(_, new)| *new);
            let near = quoted
                .map(|known| (distance(wrong, known), known))
                .min()
                .filter(|(distance, _)| distance * 3 <= wrong.len().max(3));
            renamed.or(near.map(|(_, known)| known))
        }
        _ => None,
    };
    match meant {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// The number of characters to insert, delete or replace to make one word of the other
/// (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut diagonal = line;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            left = (left + 1).min(*cell + 1).min(diagonal + usize::from(a != b));
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_name_of_a_key_suggests_its_new_name() {
        for (old, new) in RENAMED {
            let message = format!("unknown field `{old}`, expected `root_ca_expires_within`");
            assert!(with_suggestion(&message).ends_with(&format!("; did you mean `{new}`?")));
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (one, other, edits) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("key", "key", 0),
            ("keep", "kep", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }

    #[test]
    fn only_similar_key_is_suggested() {
        let message =
            |wrong| format!("unknown field `{wrong}`, expected one of `renew_before`, `validity`");
        assert!(
            with_suggestion(&message("renew_befor")).ends_with("; did you mean `renew_before`?")
        );
        assert_eq!(with_suggestion(&message("colour")), message("colour"));
        assert_eq!(with_suggestion("invalid `x` `x`"), "invalid `x` `x`");
    }
}
