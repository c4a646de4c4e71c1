//! Standard output and standard error. Colours and the progress line appear on a terminal only.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, TableStyle};

/// The style of text without a problem.
pub(super) const PLAIN: Style = Style::new();
/// The style of success.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// The style of a problem that is not urgent.
pub(super) const SOON: Style = AnsiColor::Yellow.on_default();
/// The style of an urgent problem.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// The style of details.
pub(super) const QUIET: Style = Style::new().dimmed();
/// The style of a heading.
pub(super) const HEADING: Style = Style::new().bold();

/// Writes to standard output. A reader that closed the pipe is no reason to fail.
pub(super) fn print(text: &str) {
    try_print(text);
}

/// Does the same, and returns whether it succeeded.
pub(super) fn try_print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    let text = match anstream::AutoStream::choice(&out) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    };
    // In one piece: the stream of the library writes the text around each style by itself.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Writes an error to standard error.
pub(super) fn print_error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{BAD}kubecertd:{BAD:#} {text}");
}

/// Writes a note to standard error.
pub(super) fn print_note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Formats text in a style.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Formats columns under a heading, each row in its style.
pub(super) fn columns(heading: &[&str], rows: &[(Style, Vec<String>)]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.iter().copied());
    table.add_rows(rows.iter().map(|(_, cells)| cells));
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let styles = std::iter::once(HEADING).chain(rows.iter().map(|(style, _)| *style));
    let lines = table.lines().zip(styles).map(|(line, style)| paint(style, line.trim_end()) + "\n");
    lines.collect()
}

/// Shows how many keys are generated, and clears the line when all are.
pub(super) fn progress(done: usize, all: usize) {
    let mut err = std::io::stderr().lock();
    if err.is_terminal() {
        let line = if done < all {
            format!("\r\x1b[Kmaking keys: {done} of {all}")
        } else {
            "\r\x1b[K".to_owned()
        };
        let _ = err.write_all(line.as_bytes()).and_then(|()| err.flush());
    }
}
