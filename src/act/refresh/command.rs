//! A command, for what nothing else reaches: the site's own, so it is run outside of what confines
//! this process.

use std::time::Duration;

use super::RefreshError;
use crate::drivers::command::{Argv, Ending};
use crate::drivers::outside::{Purpose, Runner};

/// Runs it to its end, successful or not: it is never left halfway, because it is not known what it
/// does there.
///
/// # Errors
/// When it can't be run, is not over in time, or ends badly.
pub async fn run(words: &[String], limit: Duration) -> Result<(), RefreshError> {
    let argv = Argv::new(words.iter().cloned())?;
    let finished = Runner::of_this_machine().run(&argv, Purpose::Refresh, &[], limit).await?;
    match finished.ending {
        Ending::Code(0) => Ok(()),
        ending => Err(RefreshError::CommandFailed {
            program: argv.program().to_owned(),
            ending,
            output: Box::new(finished.output),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_words(words: &[&str]) -> Result<(), RefreshError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        run(&words, Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn only_exit_code_0_is_good() {
        run_words(&["/bin/true"]).await.unwrap();
        let error = run_words(&["/bin/sh", "-c", "echo one; echo '\u{1b}two' >&2; exit 3"])
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "its command /bin/sh failed with exit code 3: one two");
        let error = run_words(&["/bin/false"]).await.unwrap_err();
        assert_eq!(error.to_string(), "its command /bin/false failed with exit code 1");
    }

    #[tokio::test]
    async fn long_output_is_cut_to_its_end() {
        let error =
            run_words(&["/bin/sh", "-c", "seq 1 2000; exit 1"]).await.unwrap_err().to_string();
        assert!(
            error.starts_with("its command /bin/sh failed with exit code 1: ...")
                && error.ends_with(" 1999 2000"),
            "{error}"
        );
        assert!(error.len() < 400);
    }

    #[tokio::test]
    async fn slow_command_is_killed() {
        let error = run_words(&["/bin/sleep", "60"]).await.unwrap_err();
        assert_eq!(error.to_string(), "/bin/sleep did not finish within 1 s and was killed");
    }
}
