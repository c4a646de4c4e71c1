//! Standard output and standard error. Colours and the progress line appear on a terminal only.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, TableStyle};

/// Nothing is wrong.
pub(super) const PLAIN: Style = Style::new();
/// Done, or well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Somebody should look, and there is time.
pub(super) const SOON: Style = AnsiColor::Yellow.on_default();
/// Somebody should look now.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// Not worth a look.
pub(super) const QUIET: Style = Style::new().dimmed();
/// A heading.
pub(super) const HEADING: Style = Style::new().bold();

/// Writes to standard output. A reader that went away is no reason to fail.
pub(super) fn say(text: &str) {
    tell(text);
}

/// The same, and whether it was taken.
pub(super) fn tell(text: &str) -> bool {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Says on standard error what went wrong.
pub(super) fn complain(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{BAD}kubecertd:{BAD:#} {text}");
}

/// Says on standard error what is worth knowing besides what standard output is for.
pub(super) fn inform(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Text in a style.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns under a heading, each row in its style.
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

/// A line that tells how many keys are made, and goes away when all are.
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
