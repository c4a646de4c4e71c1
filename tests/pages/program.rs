//! kubecertd(8), from the definitions of the command line.

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_mangen::Man;
use kubecertd::cli::Arguments;

use super::roff::{escape, fill_template, format_example, format_sentences};

/// Generates the page.
pub fn page() -> String {
    let program = Arguments::command().disable_help_subcommand(true);
    let commands = leaf_commands(&program, "");
    let synopsis: Vec<_> =
        commands.iter().map(|(name, command)| format_synopsis(name, command)).collect();
    let described: String =
        commands.iter().map(|(name, command)| format_command(name, command)).collect();
    let status = format_exit_status(&program.get_after_help().unwrap().to_string());
    let template = include_str!("../../packaging/man/kubecertd.8.in");
    fill_template(
        template,
        &[
            ("SYNOPSIS", &synopsis.join(".br\n")),
            ("OPTIONS", &format_options(&program)),
            ("COMMANDS", &described),
            ("EXIT_STATUS", &status),
        ],
    )
}

/// Returns the commands without subcommands, with their full names.
fn leaf_commands(command: &Command, name: &str) -> Vec<(String, Command)> {
    let mut found = Vec::new();
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name());
        if below.has_subcommands() {
            found.extend(leaf_commands(below, &name));
        } else {
            found.push((name.trim_start().to_owned(), below.clone().disable_help_flag(true)));
        }
    }
    found
}

fn format_synopsis(name: &str, command: &Command) -> String {
    let (names, options): (Vec<_>, Vec<_>) =
        command.get_arguments().partition(|argument| argument.is_positional());
    let arguments: String = options.into_iter().chain(names).map(format_argument).collect();
    format!("\\fBkubecertd {}\\fR{arguments}\n", escape(name))
}

fn format_argument(argument: &Arg) -> String {
    let value = || argument.get_value_names().unwrap_or_default().join(" ");
    let more = if matches!(argument.get_action(), ArgAction::Append) { " ..." } else { "" };
    let option = match (argument.get_short(), argument.get_long()) {
        (Some(short), _) => format!("\\fB\\-{short}\\fR"),
        (None, Some(long)) => format!("\\fB{}\\fR", escape(&format!("--{long}"))),
        (None, None) if argument.is_required_set() => return format!(" \\fI{}\\fR{more}", value()),
        (None, None) => return format!(" [\\fI{}\\fR{more}]", value()),
    };
    if argument.get_action().takes_values() {
        format!(" [{option} \\fI{}\\fR]{more}", value())
    } else {
        format!(" [{option}]")
    }
}

fn format_command(name: &str, command: &Command) -> String {
    let mut text = format!(
        ".SS {}\n{}",
        escape(name),
        format_sentences(&format!("{}.", command.get_about().unwrap()))
    );
    text.push_str(&format_options(command));
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for part in more.split("\n\n").filter(|part| !part.is_empty()) {
        if part.starts_with("  ") {
            text.push_str(&format_example(part.lines().map(str::trim)));
        } else {
            text.push_str(".PP\n");
            text.push_str(&format_sentences(part));
        }
    }
    text
}

/// Formats the options of a command without the heading, with possible values right below their
/// description.
fn format_options(command: &Command) -> String {
    let mut page = Vec::new();
    Man::new(command.clone()).render_options_section(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    let options = page.split_once(".SH OPTIONS\n").map_or("", |(_, options)| options);
    let plain = [
        (".br\n\n.br\n\\fIPossible values:\\fR\n.RS 14\n", ".RS\n"),
        ("\\fI<", "\\fI"),
        (">\\fR", "\\fR"),
        ("\\*(Aq", "\\(aq"),
    ];
    plain.iter().fold(options.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Formats the exit codes, which the help text has as one sentence: `Exit codes: 0 this; 1 that.`
fn format_exit_status(sentence: &str) -> String {
    let list =
        sentence.strip_prefix("Exit codes: ").and_then(|list| list.strip_suffix('.')).unwrap();
    let of = |entry: &str| {
        let (code, meaning) = entry.split_once(' ').unwrap();
        assert!(code.parse::<u8>().is_ok(), "{entry}");
        format!(".TP 5\n.B {code}\n{}", format_sentences(meaning))
    };
    list.split("; ").map(of).collect()
}
