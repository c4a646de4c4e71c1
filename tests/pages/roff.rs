//! The subset of roff that the manual pages need.

/// Escapes the special characters of text.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut code = false;
    for letter in text.chars() {
        match letter {
            // Text between backquotes is typed literally.
            '`' => {
                code = !code;
                escaped.push_str(if code { "\\fB" } else { "\\fR" });
            }
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            letter => escaped.push(letter),
        }
    }
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

/// Formats a paragraph: each sentence on a line of its own.
pub fn format_sentences(paragraph: &str) -> String {
    let mut lines = String::new();
    for word in paragraph.split_whitespace() {
        lines.push_str(&escape(word));
        lines.push(if word.ends_with(['.', ':']) && !word.ends_with("..") { '\n' } else { ' ' });
    }
    lines.trim_end().to_owned() + "\n"
}

/// Formats literal lines.
pub fn format_example<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<_> = lines.into_iter().map(escape).collect();
    format!(".PP\n.in +4n\n.EX\n{}\n.EE\n.in\n", lines.join("\n"))
}

/// Replaces the marks of a template by generated text.
pub fn fill_template(template: &str, made: &[(&str, &str)]) -> String {
    let version = ("VERSION", env!("CARGO_PKG_VERSION"));
    let mut page = template.to_owned();
    for (name, text) in made.iter().chain([&version]) {
        let mark = format!("@{name}@");
        assert!(page.contains(&mark), "no {mark} in the template");
        page = page.replace(&mark, text.trim_end());
    }
    page
}
