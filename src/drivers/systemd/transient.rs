//! Runs a program once, by systemd, in a unit of its own: outside of its caller's confinement.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use zbus::{Fd, OwnedObjectPath, Variant};

use super::{Systemd, SystemdError};

/// How long a program over its limit may take to exit after SIGTERM, before systemd kills it with
/// all its children.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// How much longer than the program itself systemd may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A program to be run once.
#[derive(Debug)]
pub struct OneShot<'o> {
    /// The unit's full name, which must be unique.
    pub unit: &'o str,
    /// The purpose, as systemctl shows it.
    pub description: &'o str,
    /// The program, with its full path, and its arguments.
    pub words: &'o [String],
    /// The input.
    pub stdin: OwnedFd,
    /// Both outputs.
    pub output: OwnedFd,
    /// The time limit.
    pub limit: Duration,
}

/// How a program that systemd ran exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitResult {
    /// systemd's result: `success`, `exit-code`, `signal`, `timeout`, and others.
    pub result: String,
    /// The exit code, or the number of the signal that killed it.
    pub status: i32,
}

impl Systemd {
    /// Runs a program once and waits until it exits. The descriptors are closed on this side as
    /// soon as systemd has them.
    ///
    /// # Errors
    /// [`SystemdError`], when systemd can't be called, refuses, or does not answer for longer than
    /// the program may take. An exit code other than 0 is no error.
    pub async fn run_once(&self, once: OneShot<'_>) -> Result<UnitResult, SystemdError> {
        let (unit, limit) = (once.unit.to_owned(), once.limit + TERMINATION_GRACE + REPLY_TIMEOUT);
        let unfinished = || SystemdError::Unfinished { job: "the start", unit, limit };
        tokio::time::timeout(limit, self.start_and_follow(once))
            .await
            .unwrap_or_else(|_| Err(unfinished()))
    }

    async fn start_and_follow(&self, once: OneShot<'_>) -> Result<UnitResult, SystemdError> {
        let unit = once.unit.to_owned();
        // Of type oneshot: its start job finishes when the program exits. The reference keeps the
        // unit loaded until then.
        self.start(once).await?;
        let path: OwnedObjectPath =
            self.call_manager("GetUnit", &unit).await?.body().deserialize()?;
        let mut service = self.properties(&path, "org.freedesktop.systemd1.Service").await?;
        Ok(UnitResult { result: service.take("Result")?, status: service.take("ExecMainStatus")? })
    }

    async fn start(&self, once: OneShot<'_>) -> Result<(), SystemdError> {
        let program = once.words.first().cloned().unwrap_or_default();
        let microseconds =
            |length: Duration| Variant::from(u64::try_from(length.as_micros()).unwrap_or(u64::MAX));
        let properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", once.description.into()),
            ("Type", "oneshot".into()),
            // Otherwise systemd would replace `$$` and `${NAME}` in a word.
            (
                "ExecStartEx",
                vec![(program, once.words.to_vec(), vec!["no-env-expand".to_owned()])].into(),
            ),
            ("TimeoutStartUSec", microseconds(once.limit)),
            ("TimeoutStopUSec", microseconds(TERMINATION_GRACE)),
            ("CollectMode", "inactive-or-failed".into()),
            ("AddRef", true.into()),
            ("StandardInputFileDescriptor", Fd::from(once.stdin.as_fd()).into()),
            ("StandardOutputFileDescriptor", Fd::from(once.output.as_fd()).into()),
            ("StandardErrorFileDescriptor", Fd::from(once.output.as_fd()).into()),
        ];
        type NoOthers<'v> = Vec<(&'v str, Vec<(&'v str, Variant<'v>)>)>;
        // The descriptors have to stay open until systemd has them, which its answer and the
        // finished job show.
        self.job("StartTransientUnit", &(once.unit, "fail", properties, Vec::new() as NoOthers<'_>))
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::{Read as _, Write as _};
    use std::sync::{Arc, Mutex};

    use zbus::{Message, OwnedVariant};

    use super::super::{MANAGER, NAME, PATH};
    use super::*;
    use crate::drivers::test_bus::{Bus, LIMIT, Served};

    const UNIT: &str = "kubecertd-alarm-1.service";

    type Asked =
        (String, String, Vec<(String, OwnedVariant)>, Vec<(String, Vec<(String, OwnedVariant)>)>);

    /// A stand-in for systemd: it "runs" a program that writes a word, and returns this result.
    async fn serve(mut served: Served, result: &'static str, told: Arc<Mutex<Vec<String>>>) {
        while let Some(call) = served.next().await {
            let member = call.header().member().map(ToString::to_string).unwrap_or_default();
            let (connection, header) = (&served.connection, call.header());
            match member.as_str() {
                "Subscribe" => connection.reply(&header, &()).await.unwrap(),
                "StartTransientUnit" => start(&served, &call, &told).await,
                "GetUnit" => connection
                    .reply(&header, &OwnedObjectPath::try_from(format!("{PATH}/unit/one")).unwrap())
                    .await
                    .unwrap(),
                "GetAll" => {
                    let properties: HashMap<&str, Variant<'_>> = HashMap::from([
                        ("Result", result.into()),
                        ("ExecMainStatus", 3_i32.into()),
                    ]);
                    connection.reply(&header, &properties).await.unwrap();
                }
                _ => {}
            }
        }
    }

    async fn start(served: &Served, call: &Message, told: &Arc<Mutex<Vec<String>>>) {
        let body = call.body();
        let (unit, mode, properties, _): Asked = body.deserialize().unwrap();
        assert_eq!((unit.as_str(), mode.as_str()), (UNIT, "fail"));
        let mut names = told.lock().unwrap().clone();
        for (name, value) in properties {
            if name == "StandardOutputFileDescriptor" {
                let Variant::Fd(fd) = &*value else { panic!("{value:?}") };
                std::fs::File::from(fd.as_fd().try_clone_to_owned().unwrap())
                    .write_all(b"a word")
                    .unwrap();
            }
            names.push(name);
        }
        *told.lock().unwrap() = names;
        let job = OwnedObjectPath::try_from(format!("{PATH}/job/7")).unwrap();
        served.connection.reply(&call.header(), &job).await.unwrap();
        served
            .connection
            .emit_signal(None::<&str>, PATH, MANAGER, "JobRemoved", &(7_u32, job, UNIT, "failed"))
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn program_runs_in_a_separate_unit() {
        let Some(bus) = Bus::start().await else { return };
        let told = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(bus.serve(NAME).await, "exit-code", Arc::clone(&told)));
        let systemd = Systemd::connect_to(bus.builder(), LIMIT).await.unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let words = ["/usr/bin/thing".to_owned(), "a b".to_owned()];
        let stdin = std::fs::File::open("/dev/null").unwrap().into();
        let once = OneShot {
            unit: UNIT,
            description: "a thing",
            words: &words,
            stdin,
            output: writer.into(),
            limit: LIMIT,
        };
        let ended = systemd.run_once(once).await.unwrap();
        assert_eq!(ended, UnitResult { result: "exit-code".to_owned(), status: 3 });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a word", "and no process holds its output open");
        let expected = [
            "Description",
            "Type",
            "ExecStartEx",
            "TimeoutStartUSec",
            "TimeoutStopUSec",
            "CollectMode",
            "AddRef",
        ];
        assert_eq!(told.lock().unwrap()[..7], expected);
    }
}
