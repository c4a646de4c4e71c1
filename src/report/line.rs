//! One line of the journal: words for an operator, and the same as fields for programs.
//!
//! Where there is a journal it gets both; as plain text only the words are shown, which therefore
//! say everything. Who writes the lines where is no concern of this module.

use std::fmt;

use tracing::Level;

use super::Message;
use crate::model::{Alarm, AuthorityName, CredentialName, ServiceName, Timestamp};

/// The fields that a line may have besides its message id.
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

/// Tells one pass from every other, on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassId(u128);

impl PassId {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = [0_u8; 16];
        // Without random numbers there is no key and no pass worth finding again.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self(u128::from_ne_bytes(bytes))
    }
}

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A line that is not said yet.
#[derive(Clone, Debug)]
#[must_use = "it is not said yet"]
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

    /// Something is wrong.
    pub fn error(message: Message) -> Self {
        Self::new(message, Level::ERROR)
    }

    /// Something may become wrong.
    pub fn warn(message: Message) -> Self {
        Self::new(message, Level::WARN)
    }

    /// Something was done.
    pub fn info(message: Message) -> Self {
        Self::new(message, Level::INFO)
    }

    /// Something that is only of interest to whoever looks for a fault.
    pub fn debug(message: Message) -> Self {
        Self::new(message, Level::DEBUG)
    }

    /// The pass that it belongs to.
    pub fn pass(mut self, pass: PassId) -> Self {
        self.pass = Some(pass.to_string());
        self
    }

    /// The credential that it is about, and its authority, as far as that is known.
    pub fn credential(mut self, name: &CredentialName, authority: Option<&AuthorityName>) -> Self {
        self.credential = Some(name.to_string());
        self.authority = authority.map(ToString::to_string);
        self
    }

    /// The new certificate: its serial number in hex, and its end.
    pub fn certificate(mut self, serial: &str, not_after: Timestamp) -> Self {
        self.serial = Some(serial.to_owned());
        self.not_after = Some(not_after.to_string());
        self
    }

    /// The service that it is about.
    pub fn service(mut self, name: &ServiceName) -> Self {
        self.service = Some(name.to_string());
        self
    }

    /// Why it is so.
    pub fn reason(mut self, reason: impl fmt::Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// The alarm that it is about.
    pub fn alarm(mut self, alarm: &Alarm) -> Self {
        self.alarm = Some(alarm.kind.id());
        self.entity = Some(alarm.entity.clone());
        self.reason(&alarm.reason)
    }

    /// Says it, in these words.
    pub fn say(&self, words: impl fmt::Display) {
        macro_rules! say {
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
                    "{words}"
                )
            };
        }
        // The level of a place in the code is fixed.
        match self.level {
            Level::ERROR => say!(ERROR),
            Level::WARN => say!(WARN),
            Level::INFO => say!(INFO),
            _ => say!(DEBUG),
        }
    }
}

/// Says something that an operator should know besides.
pub fn note(words: impl fmt::Display) {
    Line::warn(Message::Note).say(words);
}

/// Says something that should be impossible.
pub fn fault(words: impl fmt::Display) {
    Line::error(Message::Fault).reason(&words).say(&words);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;
    use crate::model::AlarmKind;

    /// What the journal would be given.
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

    fn said(say: impl FnOnce()) -> BTreeMap<String, String> {
        let journal = Journal::default();
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(journal.clone()),
            say,
        );
        let mut lines = journal.0.lock().unwrap();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    fn map<const N: usize>(fields: [(&str, &str); N]) -> BTreeMap<String, String> {
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn a_line_has_the_fields_that_were_given_and_no_other() {
        let (name, authority) =
            (CredentialName::new("etcd/peer").unwrap(), AuthorityName::new("etcd-ca").unwrap());
        let line = Line::info(Message::Renewed)
            .credential(&name, Some(&authority))
            .certificate("4f", Timestamp::default());
        assert_eq!(
            said(|| line.reason("it ends soon").say("two\nlines")),
            map([
                ("level", "INFO"),
                ("message", "two\nlines"),
                ("MESSAGE_ID", Message::Renewed.id()),
                ("KUBECERTD_CREDENTIAL", "etcd/peer"),
                ("KUBECERTD_AUTHORITY", "etcd-ca"),
                ("KUBECERTD_SERIAL", "4f"),
                ("KUBECERTD_NOT_AFTER", "1970-01-01T00:00:00Z"),
                ("KUBECERTD_REASON", "it ends soon"),
            ])
        );
    }

    #[test]
    fn every_field_can_be_there() {
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
        let fields = said(|| line.say(""));
        assert_eq!(fields["KUBECERTD_ALARM"], "renewal-failed");
        assert_eq!(
            (fields["level"].as_str(), fields.len()),
            ("ERROR", FIELDS.len() + 3),
            "{fields:?}"
        );
        assert!(FIELDS.iter().all(|field| fields.contains_key(*field)), "{fields:?}");
    }

    #[test]
    fn passes_are_told_apart() {
        let (one, other) = (PassId::new().to_string(), PassId::new().to_string());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
    }
}
