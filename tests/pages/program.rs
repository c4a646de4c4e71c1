//! kubecertd(8), from the definitions of the command line.

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_mangen::Man;
use kubecertd::cli::Arguments;

use super::roff::{example, filled, sentences, text};

/// The page.
pub fn page() -> String {
    let program = Arguments::command().disable_help_subcommand(true);
    let commands = leaves(&program, "");
    let synopsis: Vec<_> = commands.iter().map(|(name, command)| synopsis(name, command)).collect();
    let described: String =
        commands.iter().map(|(name, command)| described(name, command)).collect();
    let status = exit_status(&program.get_after_help().unwrap().to_string());
    let template = include_str!("../../packaging/man/kubecertd.8.in");
    filled(
        template,
        &[
            ("SYNOPSIS", &synopsis.join(".br\n")),
            ("OPTIONS", &options(&program)),
            ("COMMANDS", &described),
            ("EXIT_STATUS", &status),
        ],
    )
}

/// The commands that do something, with their whole names.
fn leaves(command: &Command, name: &str) -> Vec<(String, Command)> {
    let mut found = Vec::new();
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name());
        if below.has_subcommands() {
            found.extend(leaves(below, &name));
        } else {
            found.push((name.trim_start().to_owned(), below.clone().disable_help_flag(true)));
        }
    }
    found
}

fn synopsis(name: &str, command: &Command) -> String {
    let (names, options): (Vec<_>, Vec<_>) =
        command.get_arguments().partition(|argument| argument.is_positional());
    let arguments: String = options.into_iter().chain(names).map(argument).collect();
    format!("\\fBkubecertd {}\\fR{arguments}\n", text(name))
}

fn argument(argument: &Arg) -> String {
    let value = || argument.get_value_names().unwrap_or_default().join(" ");
    let more = if matches!(argument.get_action(), ArgAction::Append) { " ..." } else { "" };
    let option = match (argument.get_short(), argument.get_long()) {
        (Some(short), _) => format!("\\fB\\-{short}\\fR"),
        (None, Some(long)) => format!("\\fB{}\\fR", text(&format!("--{long}"))),
        (None, None) if argument.is_required_set() => return format!(" \\fI{}\\fR{more}", value()),
        (None, None) => return format!(" [\\fI{}\\fR{more}]", value()),
    };
    if argument.get_action().takes_values() {
        format!(" [{option} \\fI{}\\fR]{more}", value())
    } else {
        format!(" [{option}]")
    }
}

fn described(name: &str, command: &Command) -> String {
    let mut said =
        format!(".SS {}\n{}", text(name), sentences(&format!("{}.", command.get_about().unwrap())));
    said.push_str(&options(command));
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for part in more.split("\n\n").filter(|part| !part.is_empty()) {
        if part.starts_with("  ") {
            said.push_str(&example(part.lines().map(str::trim)));
        } else {
            said.push_str(".PP\n");
            said.push_str(&sentences(part));
        }
    }
    said
}

/// The options of a command, without the heading and what comes before it, and with the values that
/// are possible closer to what is said of them.
fn options(command: &Command) -> String {
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

/// The list that the help text has as one sentence: `Exit codes: 0 this; 1 that.`
fn exit_status(sentence: &str) -> String {
    let list =
        sentence.strip_prefix("Exit codes: ").and_then(|list| list.strip_suffix('.')).unwrap();
    let of = |entry: &str| {
        let (code, meaning) = entry.split_once(' ').unwrap();
        assert!(code.parse::<u8>().is_ok(), "{entry}");
        format!(".TP 5\n.B {code}\n{}", sentences(meaning))
    };
    list.split("; ").map(of).collect()
}
