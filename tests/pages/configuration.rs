//! kubecertd.toml(5), from the comments of the shipped configuration.

use super::roff::{escape, fill_template, format_example, format_sentences};

/// A part of the configuration file.
enum Part {
    /// A comment without a key.
    Paragraph(String),
    /// `[section]`
    Section(String),
    /// A key with its default, and the comments right above it.
    Key(String, String),
    /// The lines of an example.
    Example(Vec<String>),
}

/// Generates the page.
pub fn page() -> String {
    let parts = parse_parts(include_str!("../../config/kubecertd.toml"));
    let first_key = parts.iter().position(|part| matches!(part, Part::Key(..))).unwrap();
    let last_key = parts.iter().rposition(|part| matches!(part, Part::Key(..))).unwrap();
    // The first paragraph is the name of the file.
    let description = format_entries(&parts[1..first_key]);
    let keys: String = parts[first_key..=last_key].iter().map(format_key).collect();
    let template = include_str!("../../packaging/man/kubecertd.toml.5.in");
    let keys = format!(".SH KEYS\n{keys}");
    fill_template(
        template,
        &[
            ("DESCRIPTION", &description),
            ("KEYS", &keys),
            ("ENTRIES", &format_entries(&parts[last_key + 1..])),
        ],
    )
}

fn parse_parts(file: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut comment = String::new();
    for line in file.lines().chain([""]) {
        match line.strip_prefix('#') {
            Some(comments) if comments.starts_with("   ") => match parts.last_mut() {
                Some(Part::Example(lines)) if comment == "example" => {
                    lines.push(comments[3..].to_owned())
                }
                _ => {
                    comment = "example".to_owned();
                    parts.push(Part::Example(vec![comments[3..].to_owned()]));
                }
            },
            Some(comments) if comments.starts_with(' ') => comment += comments,
            Some("") | None => {
                let text = std::mem::take(&mut comment);
                if !text.is_empty() && text != "example" {
                    parts.push(Part::Paragraph(text));
                }
                if let Some(name) = line.strip_prefix('[') {
                    parts.push(Part::Section(format!("[{name}")));
                }
            }
            Some(key) => parts.push(Part::Key(key.to_owned(), std::mem::take(&mut comment))),
        }
    }
    parts
}

fn format_key(part: &Part) -> String {
    match part {
        Part::Section(name) => format!(".SS {name}\n"),
        Part::Key(key, comments) => {
            format!(
                ".TP\n\\fB{}\\fR\n{}",
                escape(key),
                format_sentences(&with_installed_paths(comments))
            )
        }
        Part::Paragraph(_) | Part::Example(_) => panic!("between the keys there is nothing else"),
    }
}

/// Formats paragraphs and examples. A paragraph right before an example describes the table that
/// begins the example. Paragraphs about all tables come first.
fn format_entries(parts: &[Part]) -> String {
    let (mut of_all, mut of_one) = (String::new(), String::new());
    for (index, part) in parts.iter().enumerate() {
        match (part, parts.get(index + 1)) {
            (Part::Paragraph(text), Some(Part::Example(lines))) => {
                of_one += &format!(
                    ".SS {}\n{}",
                    escape(&lines[0]),
                    format_sentences(&with_installed_paths(text))
                );
            }
            (Part::Paragraph(text), _) => {
                of_all += &format!(".PP\n{}", format_sentences(&with_installed_paths(text)))
            }
            (Part::Example(lines), _) => {
                of_one += &format_example(lines.iter().map(String::as_str))
            }
            (Part::Section(_) | Part::Key(..), _) => panic!("a key among the entries"),
        }
    }
    // A paragraph needs no macro right after a heading.
    format!("{}{of_one}", of_all.strip_prefix(".PP\n").unwrap_or(&of_all))
}

/// Replaces docs/ by the directory in which the packages install it.
fn with_installed_paths(text: &str) -> String {
    text.replace("docs/", "/usr/share/doc/kubecertd/")
}
