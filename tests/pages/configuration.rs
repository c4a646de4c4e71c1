//! kubecertd.toml(5), from the comments of the configuration that is shipped.

use super::roff::{example, filled, sentences, text};

/// What the file is made of.
enum Part {
    /// Comments that stand for themselves.
    Paragraph(String),
    /// `[section]`
    Section(String),
    /// A key with its default, and the comments right above it.
    Key(String, String),
    /// Lines of an example.
    Example(Vec<String>),
}

/// The page.
pub fn page() -> String {
    let parts = parts(include_str!("../../config/kubecertd.toml"));
    let first_key = parts.iter().position(|part| matches!(part, Part::Key(..))).unwrap();
    let last_key = parts.iter().rposition(|part| matches!(part, Part::Key(..))).unwrap();
    // The first paragraph is the name of the file.
    let description = entries(&parts[1..first_key]);
    let keys: String = parts[first_key..=last_key].iter().map(key).collect();
    let template = include_str!("../../packaging/man/kubecertd.toml.5.in");
    let keys = format!(".SH KEYS\n{keys}");
    filled(
        template,
        &[
            ("DESCRIPTION", &description),
            ("KEYS", &keys),
            ("ENTRIES", &entries(&parts[last_key + 1..])),
        ],
    )
}

fn parts(file: &str) -> Vec<Part> {
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
                let said = std::mem::take(&mut comment);
                if !said.is_empty() && said != "example" {
                    parts.push(Part::Paragraph(said));
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

fn key(part: &Part) -> String {
    match part {
        Part::Section(name) => format!(".SS {name}\n"),
        Part::Key(key, comments) => {
            format!(".TP\n\\fB{}\\fR\n{}", text(key), sentences(&installed(comments)))
        }
        Part::Paragraph(_) | Part::Example(_) => panic!("between the keys there is nothing else"),
    }
}

/// Paragraphs and examples. A paragraph right before an example is about the table that the example
/// begins with, and what is about all of them comes first.
fn entries(parts: &[Part]) -> String {
    let (mut of_all, mut of_one) = (String::new(), String::new());
    for (index, part) in parts.iter().enumerate() {
        match (part, parts.get(index + 1)) {
            (Part::Paragraph(said), Some(Part::Example(lines))) => {
                of_one += &format!(".SS {}\n{}", text(&lines[0]), sentences(&installed(said)));
            }
            (Part::Paragraph(said), _) => {
                of_all += &format!(".PP\n{}", sentences(&installed(said)))
            }
            (Part::Example(lines), _) => of_one += &example(lines.iter().map(String::as_str)),
            (Part::Section(_) | Part::Key(..), _) => panic!("a key among the entries"),
        }
    }
    // A paragraph needs no beginning right after a heading.
    format!("{}{of_one}", of_all.strip_prefix(".PP\n").unwrap_or(&of_all))
}

/// Where the packages put what the source has in docs/.
fn installed(said: &str) -> String {
    said.replace("docs/", "/usr/share/doc/kubecertd/")
}
