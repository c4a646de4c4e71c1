//! Commands that receive alarms.

use serde::Deserialize;
use toml::Spanned;

use super::error::{EntryProblem, SettingsError};
use super::fragment::wrong;
use super::origin::Origin;
use super::source::ConfigSource;
use super::values::Period;
use crate::model::{AbsolutePath, SinkName};

/// A command that receives alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmCommand {
    /// Its name: the alarms delivered to it are remembered under it.
    pub name: SinkName,
    /// The program, with its full path, and its arguments.
    pub run: Vec<String>,
    /// How long it may take.
    pub timeout: Period,
    /// Where it is listed.
    pub origin: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct AlarmCommandFragment {
    name: Option<SinkName>,
    run: Option<Vec<String>>,
    timeout: Option<Period>,
}

/// The longest timeout of a delivery.
const LONGEST: Period = Period::from_minutes(5);
pub(super) const LONGEST_WORDS: &str = "5m";

impl AlarmCommand {
    /// The timeout of a delivery where none is configured.
    pub const USUAL_TIMEOUT: Period = Period::from_seconds(30);

    pub(super) fn new(
        entry: Spanned<AlarmCommandFragment>,
        source: ConfigSource<'_>,
    ) -> Result<Self, SettingsError> {
        let origin = source.origin(&entry.span());
        let AlarmCommandFragment { name, run, timeout } = entry.into_inner();
        let entry_name = name.as_ref().map(ToString::to_string);
        let wrong = |problem| wrong("alarms.command", entry_name.clone(), origin.clone(), problem);
        let timeout = timeout.unwrap_or(Self::USUAL_TIMEOUT);
        if !is_sensible(timeout) {
            return Err(wrong(EntryProblem::NotWithin { key: "timeout", most: LONGEST_WORDS }));
        }
        let name = name.ok_or_else(|| wrong(EntryProblem::Missing("name")))?;
        let run = run.ok_or_else(|| wrong(EntryProblem::Missing("run")))?;
        // systemd, which starts it, looks for no program in any list of directories.
        let program = run.first().is_some_and(|program| AbsolutePath::new(program).is_ok());
        if !program || run.iter().any(|word| word.contains('\0')) {
            return Err(wrong(EntryProblem::NoProgram));
        }
        Ok(Self { name, run, timeout, origin })
    }
}

pub(super) fn is_sensible(timeout: Period) -> bool {
    (Period::from_seconds(1)..=LONGEST).contains(&timeout)
}
