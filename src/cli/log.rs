//! Log output of the daemon: to the journal, with fields, where standard error is connected to it;
//! else to standard error, as text.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FieldFn, Format, Writer, debug_fn};
use tracing_subscriber::fmt::{Layer, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::report::line::FIELDS;

/// Only warnings of other crates are shown. tokio_cron_scheduler logs an error when it is called
/// less often than it could be, and kube one for each answer that is none: the caller reports it.
const LOG_FILTER: &str = "warn,kubecertd=info,tokio_cron_scheduler=off,kube_client=off";

/// Starts logging.
pub(super) fn start() {
    let filter =
        EnvFilter::try_from_env("KUBECERTD_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let stderr = std::io::stderr();
    let connected = is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref(), &stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // A test may have set it already.
    let _ = match connected.then(tracing_journald::layer) {
        Some(Ok(journal)) => registry.with(journal_layer(journal)).try_init(),
        // The journal records the time itself.
        Some(Err(_)) => registry.with(text(std::io::stderr).without_time()).try_init(),
        // Colours are for terminals only.
        None => registry.with(text(std::io::stderr).with_ansi(stderr.is_terminal())).try_init(),
    };
}

/// Whether this is the stream that systemd connected to the journal. systemd names it by device and
/// inode, because standard error may have been redirected since.
fn is_journal(stream: Option<&str>, file: impl AsFd) -> bool {
    let said = stream
        .and_then(|stream| stream.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let found = fstat(file).ok().map(|found| (found.st_dev, found.st_ino));
    said.is_some() && said == found
}

fn journal_layer(journal: tracing_journald::Layer) -> tracing_journald::Layer {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    };
    // The fields of this program have their full names already.
    journal
        .with_field_prefix(None)
        .with_syslog_identifier("kubecertd".to_owned())
        .with_priority_mappings(priorities)
}

/// Formats a field.
type Words = fn(&mut Writer<'_>, &Field, &dyn fmt::Debug) -> fmt::Result;

fn text<S, W>(writer: W) -> Layer<S, FieldFn<Words>, Format, W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    tracing_subscriber::fmt::layer()
        .fmt_fields(debug_fn(words as Words))
        .with_writer(writer)
        .with_target(false)
}

/// Writes the message without this program's fields, which repeat it for programs. For other
/// crates, their fields follow the message.
fn words(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if name == "MESSAGE_ID" || FIELDS.contains(&name) => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::{CredentialName, Timestamp};
    use crate::report::{Line, Message, PassId};

    #[test]
    fn journal_stream_is_recognised_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let found = file.metadata().unwrap();
        let (device, inode) = (found.dev(), found.ino());
        assert!(is_journal(Some(&format!("{device}:{inode}")), &file));
        for other in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            format!("{device}"),
            String::new(),
        ] {
            assert!(!is_journal(Some(&other), &file), "{other:?}");
        }
        assert!(!is_journal(None, &file));
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_has_the_message_without_journal_fields() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::registry()
            .with(text(move || writer.clone()).without_time().with_ansi(false));
        tracing::subscriber::with_default(log, || {
            let name = CredentialName::new("apiserver").unwrap();
            let line = Line::info(Message::Renewed).pass(PassId::new()).credential(&name, None);
            line.certificate("4f", Timestamp::default())
                .reason("expires")
                .log("apiserver: renewed");
            tracing::warn!(answer = 42, "a library speaks");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " INFO apiserver: renewed\n WARN a library speaks answer=42\n");
    }
}
