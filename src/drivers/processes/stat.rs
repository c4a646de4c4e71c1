//! Parses the one line of /proc/PID/stat, and the users in /proc/PID/status.

use std::time::Duration;

/// The fields in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'l> {
    /// The name of the process: up to 15 bytes, which it can set itself.
    pub name: &'l [u8],
    /// Whether it is a zombie or dead.
    pub ended: bool,
    /// When it was started, in clock ticks after boot.
    pub start_ticks: u64,
}

/// Parses `4711 (a name) S 1 ...`: the name may contain any byte, also brackets, spaces and line
/// ends; only numbers follow it.
pub fn parse(line: &[u8]) -> Option<Stat<'_>> {
    let begin = line.iter().position(|byte| *byte == b'(')?;
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(line.get(end + 1..)?).ok()?;
    // The state is the third field of the line, the start the 22nd.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    let name = line.get(begin + 1..end)?;
    Some(Stat { name, ended: matches!(state, "Z" | "X"), start_ticks })
}

/// Parses the line `Uid:` of /proc/PID/status: the real, effective, saved and file system user.
/// The name of the process, which it can set itself, stands above it with its line ends escaped.
pub fn users(status: &str) -> Option<[u32; 4]> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users: Result<Vec<u32>, _> = line.split_ascii_whitespace().map(str::parse).collect();
    users.ok()?.try_into().ok()
}

/// Converts ticks after boot to a duration, by the number of ticks per second.
pub fn since_boot(ticks: u64, a_second: u32) -> Duration {
    let a_second = u64::from(a_second.max(1));
    let parts = Duration::from_secs(ticks % a_second)
        .checked_div(u32::try_from(a_second).unwrap_or(u32::MAX));
    Duration::from_secs(ticks / a_second).saturating_add(parts.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str =
        "1 17 17 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 10 18446744073709551615";

    #[test]
    fn start_time_is_found_after_any_name() {
        for name in ["sleep", "a b", ")", "(", ") Z 1 (", "x) R 1 2", "\u{fffd}\n"] {
            let line = format!("17 ({name}) S {REST}");
            assert_eq!(
                parse(line.as_bytes()),
                Some(Stat { name: name.as_bytes(), ended: false, start_ticks: 4242 }),
                "{name}"
            );
        }
        assert_eq!(
            parse(&[b"17 (\xff) R ", REST.as_bytes()].concat()),
            Some(Stat { name: b"\xff", ended: false, start_ticks: 4242 })
        );
    }

    #[test]
    fn exited_process_is_recognised() {
        for state in ["Z", "X"] {
            assert_eq!(
                parse(format!("17 (x) {state} {REST}").as_bytes()).map(|stat| stat.ended),
                Some(true)
            );
        }
    }

    #[test]
    fn invalid_stat_line_is_none() {
        for line in [
            "",
            "17",
            "17 (x)",
            "17 (x) S 1 2 3",
            "17 (x) S 1 17 17 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 soon",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn users_are_found_or_none() {
        let status = |line: &str| format!("Name:\tUid: 7 7 7 7\nUmask:\t0022\n{line}\nGid:\t1\n");
        assert_eq!(users(&status("Uid:\t1000\t0\t1000\t5")), Some([1000, 0, 1000, 5]));
        for line in ["", "Uid:", "Uid:\t1\t2\t3", "Uid:\t1\t2\t3\t4\t5", "Uid:\t1\t2\t3\troot"] {
            assert_eq!(users(&status(line)), None, "{line}");
        }
    }

    #[test]
    fn clock_ticks_are_converted_to_time() {
        assert_eq!(since_boot(12_345, 100), Duration::from_millis(123_450));
        assert_eq!(since_boot(1, 1000), Duration::from_millis(1));
        assert_eq!(since_boot(u64::MAX, 1), Duration::from_secs(u64::MAX));
    }
}
