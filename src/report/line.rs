//! One line of the journal: a text for operators, and the same as fields for programs.
//!
//! The journal gets both; elsewhere only the text is shown, which therefore is complete.
//! `cli/log.rs` decides where the lines go.

use std::fmt;

use tracing::Level;

use super::Message;
use crate::model::{Alarm, AuthorityName, CredentialName, ServiceName, Timestamp};

/// The fields of a line besides its message id.
pub const FIELDS: [&str; 9] = [
    "KUBECERTD_PASS_ID",
    "KUBECERTD_CREDENTIAL",
    "KUBECERTD_AUTHORITY",
    "KUBECERTD_SERIAL",
    "KUBECERTD_NOT_AFTER",
    "KUBECERTD_SERVICE",
    "KUBECERTD_REASON",
    "KUBECERTD_ALARM",
    "KUBECERTD_ENTITY",
];

/// The id of a pass, unique on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassId(u128);

impl PassId {
    /// Makes a new one.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = [0_u8; 16];
        // Without random numbers no key can be made either.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self(u128::from_ne_bytes(bytes))
    }
}

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A line that is not logged yet.
#[derive(Clone, Debug)]
#[must_use = "it is not logged yet"]
pub struct Line {
    message: Message,
    level: Level,
    pass: Option<String>,
    credential: Option<String>,
    authority: Option<String>,
    serial: Option<String>,
    not_after: Option<String>,
    service: Option<String>,
    reason: Option<String>,
    alarm: Option<&'static str>,
    entity: Option<String>,
}

impl Line {
    fn new(message: Message, level: Level) -> Self {
        Self {
            message,
            level,
            pass: None,
            credential: None,
            authority: None,
            serial: None,
            not_after: None,
            service: None,
            reason: None,
            alarm: None,
            entity: None,
        }
    }

    /// A line about a failure.
    pub fn error(message: Message) -> Self {
        Self::new(message, Level::ERROR)
    }

    /// A line about a possible failure.
    pub fn warn(message: Message) -> Self {
        Self::new(message, Level::WARN)
    }

    /// A line about an action.
    pub fn info(message: Message) -> Self {
        Self::new(message, Level::INFO)
    }

    /// A line for debugging.
    pub fn debug(message: Message) -> Self {
        Self::new(message, Level::DEBUG)
    }

    /// Adds the pass.
    pub fn pass(mut self, pass: PassId) -> Self {
        self.pass = Some(pass.to_string());
        self
    }

    /// Adds the credential, and its authority if that is known.
    pub fn credential(mut self, name: &CredentialName, authority: Option<&AuthorityName>) -> Self {
        self.credential = Some(name.to_string());
        self.authority = authority.map(ToString::to_string);
        self
    }

    /// Adds the new certificate: its serial number in hex, and its expiry.
    pub fn certificate(mut self, serial: &str, not_after: Timestamp) -> Self {
        self.serial = Some(serial.to_owned());
        self.not_after = Some(not_after.to_string());
        self
    }

    /// Adds the service.
    pub fn service(mut self, name: &ServiceName) -> Self {
        self.service = Some(name.to_string());
        self
    }

    /// Adds the reason.
    pub fn reason(mut self, reason: impl fmt::Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// Adds the alarm.
    pub fn alarm(mut self, alarm: &Alarm) -> Self {
        self.alarm = Some(alarm.kind.id());
        self.entity = Some(alarm.entity.clone());
        self.reason(&alarm.reason)
    }

    /// Logs it with this text.
    pub fn log(&self, text: impl fmt::Display) {
        macro_rules! log {
            ($level:ident) => {
                tracing::event!(
                    target: "kubecertd",
                    Level::$level,
                    MESSAGE_ID = self.message.id(),
                    KUBECERTD_PASS_ID = self.pass.as_deref(),
                    KUBECERTD_CREDENTIAL = self.credential.as_deref(),
                    KUBECERTD_AUTHORITY = self.authority.as_deref(),
                    KUBECERTD_SERIAL = self.serial.as_deref(),
                    KUBECERTD_NOT_AFTER = self.not_after.as_deref(),
                    KUBECERTD_SERVICE = self.service.as_deref(),
                    KUBECERTD_REASON = self.reason.as_deref(),
                    KUBECERTD_ALARM = self.alarm,
                    KUBECERTD_ENTITY = self.entity.as_deref(),
                    "{text}"
                )
            };
        }
        // `tracing` needs a constant level at each call.
        match self.level {
            Level::ERROR => log!(ERROR),
            Level::WARN => log!(WARN),
            Level::INFO => log!(INFO),
            _ => log!(DEBUG),
        }
    }
}

/// Logs a note for operators.
pub fn log_note(text: impl fmt::Display) {
    Line::warn(Message::Note).log(text);
}

/// Logs a bug in kubecertd itself.
pub fn log_fault(text: impl fmt::Display) {
    Line::error(Message::Fault).reason(&text).log(&text);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;
    use crate::model::AlarmKind;

    /// Records events as the journal would.
    #[derive(Clone, Default)]
    struct Journal(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

    struct Fields(BTreeMap<String, String>);

    impl Visit for Fields {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.to_owned());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Journal {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields =
                Fields([("level".to_owned(), event.metadata().level().to_string())].into());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }

    fn logged(log: impl FnOnce()) -> BTreeMap<String, String> {
        let journal = Journal::default();
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(journal.clone()),
            log,
        );
        let mut lines = journal.0.lock().unwrap();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    fn map<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn line_has_only_the_given_fields() {
        let (name, authority) =
            (CredentialName::new("etcd/peer").unwrap(), AuthorityName::new("etcd-ca").unwrap());
        let line = Line::info(Message::Renewed)
            .credential(&name, Some(&authority))
            .certificate("4f", Timestamp::default());
        assert_eq!(
            logged(|| line.reason("it expires soon").log("two\nlines")),
            map([
                ("level", "INFO"),
                ("message", "two\nlines"),
                ("MESSAGE_ID", Message::Renewed.id()),
                ("KUBECERTD_CREDENTIAL", "etcd/peer"),
                ("KUBECERTD_AUTHORITY", "etcd-ca"),
                ("KUBECERTD_SERIAL", "4f"),
                ("KUBECERTD_NOT_AFTER", "1970-01-01T00:00:00Z"),
                ("KUBECERTD_REASON", "it expires soon"),
            ])
        );
    }

    #[test]
    fn line_can_have_every_field() {
        let name = CredentialName::new("apiserver").unwrap();
        let alarm = Alarm {
            kind: AlarmKind::RenewalFailed,
            entity: "host=cp1".to_owned(),
            about: Vec::new(),
            text: String::new(),
            reason: "damaged".to_owned(),
            repair: String::new(),
            raised: Timestamp::default(),
        };
        let line = Line::error(Message::AlarmRaised)
            .pass(PassId::new())
            .service(&ServiceName::new("etcd").unwrap())
            .alarm(&alarm);
        let line = line
            .credential(&name, Some(&AuthorityName::new("ca").unwrap()))
            .certificate("4f", Timestamp::default());
        let fields = logged(|| line.log(""));
        assert_eq!(fields["KUBECERTD_ALARM"], "renewal-failed");
        assert_eq!(
            (fields["level"].as_str(), fields.len()),
            ("ERROR", FIELDS.len() + 3),
            "{fields:?}"
        );
        assert!(FIELDS.iter().all(|field| fields.contains_key(*field)), "{fields:?}");
    }

    #[test]
    fn pass_ids_differ() {
        let (one, other) = (PassId::new().to_string(), PassId::new().to_string());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
    }
}
