//! An alarm as JSON, the same for `kubecertd alarms -o json` and for the commands of a site.

use serde::Serialize;

use crate::model::Alarm;

/// The fields of an alarm; `docs/alarms.md` explains each.
#[derive(Serialize)]
pub struct AlarmJson<'a> {
    id: &'a str,
    number: Option<&'a str>,
    severity: &'a str,
    /// Set where alarms of several hosts are collected.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    entity: &'a str,
    about: &'a [String],
    text: &'a str,
    reason: &'a str,
    repair: &'a str,
    raised: String,
}

impl<'a> AlarmJson<'a> {
    /// The JSON of one alarm, with its host if the reader needs it.
    #[must_use]
    pub fn new(alarm: &'a Alarm, host: Option<&'a str>) -> Self {
        Self {
            id: alarm.kind.id(),
            number: alarm.kind.number(),
            severity: alarm.kind.severity().as_str(),
            host,
            entity: &alarm.entity,
            about: &alarm.about,
            text: &alarm.text,
            reason: &alarm.reason,
            repair: &alarm.repair,
            raised: alarm.raised.to_string(),
        }
    }
}
