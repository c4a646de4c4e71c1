//! Tests with programs that every system has.

use std::path::Path;
use std::time::Instant as StdInstant;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);

fn argv(words: &[&str]) -> Argv {
    Argv::new(words.iter().copied()).unwrap()
}

fn sh(script: &str) -> Argv {
    argv(&["sh", "-c", script])
}

async fn finished(argv: &Argv) -> Finished {
    run(argv, None, LIMIT).await.unwrap()
}

/// Reads the pid that a script wrote as the first line of its output.
fn pid_in(output: &Output) -> Pid {
    Pid::from_raw(output.to_string().lines().next().unwrap().parse().unwrap())
}

/// Whether a process is dead, or a zombie of another parent.
fn is_dead(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

async fn dies(pid: Pid) -> bool {
    let began = StdInstant::now();
    while !is_dead(pid) && began.elapsed() < LIMIT {
        sleep(Duration::from_millis(10)).await;
    }
    is_dead(pid)
}

#[tokio::test(flavor = "current_thread")]
async fn exit_code_and_both_outputs_are_returned() {
    let finished = finished(&sh("echo one; echo two >&2; echo three; exit 7")).await;
    assert_eq!(
        (finished.ending, finished.output.to_string().as_str()),
        (Ending::Code(7), "one\ntwo\nthree\n")
    );
    assert_eq!(finished.ending.to_string(), "exit code 7");
}

#[tokio::test(flavor = "current_thread")]
async fn terminating_signal_is_returned() {
    let finished = finished(&sh("kill -USR1 $$")).await;
    assert_eq!(finished.ending, Ending::Signal(Signal::SIGUSR1 as i32));
    assert_eq!(finished.ending.to_string(), "signal SIGUSR1");
}

#[tokio::test(flavor = "current_thread")]
async fn arguments_are_passed_literally() {
    let finished = finished(&argv(&["echo", "$HOME", "*", "; exit 3", "`id`", ""])).await;
    assert_eq!(
        (finished.ending, finished.output.to_string().as_str()),
        (Ending::Code(0), "$HOME * ; exit 3 `id` \n")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn only_intended_state_is_inherited() {
    let mut environment: Vec<_> =
        finished(&argv(&["env"])).await.output.to_string().lines().map(str::to_owned).collect();
    environment.sort_unstable();
    assert_eq!(environment, ["LANG=C.UTF-8".to_owned(), format!("PATH={SEARCH_PATH}")]);
    assert_eq!(finished(&argv(&["/bin/pwd"])).await.output.to_string(), "/\n");
    let group = finished(&sh("cut -d' ' -f1,5 /proc/$$/stat")).await.output.to_string();
    let (pid, group) = group.trim().split_once(' ').unwrap();
    assert_eq!(pid, group, "it does not lead a group of its own");
}

#[tokio::test(flavor = "current_thread")]
async fn ten_megabytes_of_output_keep_both_ends() {
    let finished =
        finished(&sh("echo begin; head -c 10000000 /dev/zero | tr '\\0' x; echo end")).await;
    let text = finished.output.to_string();
    assert_eq!(finished.ending, Ending::Code(0));
    assert!(text.starts_with("begin\nxxx") && text.ends_with("xxxend\n") && text.len() < 8300);
    assert_eq!(finished.output.omitted(), 10_000_010 - 8192);
}

#[tokio::test(flavor = "current_thread")]
async fn program_gets_its_input_and_end_of_file() {
    let input = b"line\n".repeat(100_000);
    let finished = run(&argv(&["wc", "-c"]), Some(&input), LIMIT).await.unwrap();
    assert_eq!(finished.output.to_string(), "500000\n");
    assert_eq!(run(&argv(&["cat"]), None, LIMIT).await.unwrap().output.to_string(), "");
}

#[tokio::test(flavor = "current_thread")]
async fn unread_input_does_not_block() {
    let input = vec![b'x'; 1_000_000];
    let finished = run(&sh("echo done; exit 5"), Some(&input), LIMIT).await.unwrap();
    assert_eq!(
        (finished.ending, finished.output.to_string().as_str()),
        (Ending::Code(5), "done\n")
    );
    let error = run(&argv(&["sleep", "60"]), Some(&input), SHORT).await.unwrap_err();
    assert!(matches!(error, CommandError::Limit { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn program_with_closed_outputs_is_waited_for() {
    let began = StdInstant::now();
    let finished = finished(&sh("exec >&- 2>&-; sleep 1; exit 4")).await;
    assert_eq!(finished.ending, Ending::Code(4));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "current_thread")]
async fn timeout_terminates_the_program_and_keeps_its_output() {
    let script = "trap 'echo asked; exit' TERM; echo begun; while :; do sleep 0.1; done";
    let began = StdInstant::now();
    let error = run(&sh(script), None, SHORT).await.unwrap_err();
    assert_eq!(error.to_string(), "sh did not finish within 1 s and was killed");
    let CommandError::Limit { output, .. } = error else { panic!("{error}") };
    let text = output.to_string();
    assert!(text.starts_with("begun\n") && text.ends_with("asked\n"), "{text}");
    assert!(began.elapsed() < SHORT + TERMINATION_GRACE, "it was waited for longer than needed");
}

#[tokio::test(flavor = "current_thread")]
async fn program_ignoring_sigterm_is_killed_with_its_children() {
    let script = "trap '' TERM; sleep 600 & echo $!; wait";
    let began = StdInstant::now();
    let CommandError::Limit { output, .. } = run(&sh(script), None, SHORT).await.unwrap_err()
    else {
        panic!()
    };
    assert!(began.elapsed() >= SHORT + TERMINATION_GRACE && began.elapsed() < LIMIT);
    assert!(dies(pid_in(&output)).await);
}

#[tokio::test(flavor = "current_thread")]
async fn child_ignoring_sigterm_is_killed() {
    let script = "(trap '' TERM; sleep 600) & echo $!; sleep 600";
    let CommandError::Limit { output, .. } = run(&sh(script), None, SHORT).await.unwrap_err()
    else {
        panic!()
    };
    assert!(dies(pid_in(&output)).await);
}

#[tokio::test(flavor = "current_thread")]
async fn surviving_child_with_the_pipe_is_not_waited_for() {
    let began = StdInstant::now();
    let finished = finished(&sh("sleep 600 & echo $!; exit 3")).await;
    assert_eq!(finished.ending, Ending::Code(3));
    assert!(began.elapsed() < Duration::from_secs(5));
    let child = pid_in(&finished.output);
    assert!(!is_dead(child));
    nix::sys::signal::kill(child, Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn child_outside_the_group_does_not_block() {
    let began = StdInstant::now();
    let script = "setsid sleep 600 & echo $!; sleep 600";
    let CommandError::Limit { output, .. } = run(&sh(script), None, SHORT).await.unwrap_err()
    else {
        panic!()
    };
    assert!(began.elapsed() < LIMIT);
    nix::sys::signal::kill(pid_in(&output), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn cancelled_run_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("echo $$ > {}; sleep 600 & wait", file.display());
    let argv = sh(&script);
    let pid = tokio::select! {
        _ = run(&argv, None, LIMIT) => panic!("it ended"),
        pid = written(&file) => pid,
    };
    assert!(dies(pid).await);
}

async fn written(file: &Path) -> Pid {
    loop {
        sleep(Duration::from_millis(10)).await;
        if let Some(pid) =
            std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok())
        {
            return Pid::from_raw(pid);
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn missing_and_not_executable_programs_are_distinguished() {
    for name in ["no-such-program", "/no/such/program"] {
        let error = run(&argv(&[name]), None, LIMIT).await.unwrap_err();
        assert!(matches!(&error, CommandError::NotFound(program) if program == name), "{error}");
    }
    let error = run(&argv(&["/etc/passwd"]), None, LIMIT).await.unwrap_err();
    let CommandError::Start { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn invalid_arguments_are_refused() {
    assert_eq!(Argv::new(Vec::<String>::new()), Err(InvalidArgv::NoProgram));
    assert_eq!(Argv::new(["", "a"]), Err(InvalidArgv::NoProgram));
    assert_eq!(Argv::new(["a", "b\0c"]), Err(InvalidArgv::ZeroByte));
}
