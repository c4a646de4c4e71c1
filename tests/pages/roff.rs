//! A little of the language of manual pages.

/// Text, with what would be read as something else escaped.
pub fn text(text: &str) -> String {
    let mut escaped = String::new();
    let mut code = false;
    for letter in text.chars() {
        match letter {
            // What stands between backquotes is typed as it is.
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

/// Text as paragraphs have it: each sentence on a line of its own.
pub fn sentences(paragraph: &str) -> String {
    let mut lines = String::new();
    for word in paragraph.split_whitespace() {
        lines.push_str(&text(word));
        lines.push(if word.ends_with(['.', ':']) && !word.ends_with("..") { '\n' } else { ' ' });
    }
    lines.trim_end().to_owned() + "\n"
}

/// What is typed or shown as it is.
pub fn example<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<_> = lines.into_iter().map(text).collect();
    format!(".PP\n.in +4n\n.EX\n{}\n.EE\n.in\n", lines.join("\n"))
}

/// A page with what was made in its place.
pub fn filled(template: &str, made: &[(&str, &str)]) -> String {
    let newest = include_str!("../../packaging/debian/changelog")
        .lines()
        .find(|line| line.starts_with(" -- "))
        .unwrap();
    let date =
        jiff::fmt::rfc2822::parse(newest.split_once(">  ").unwrap().1).unwrap().date().to_string();
    let known = [("DATE", date.as_str()), ("VERSION", env!("CARGO_PKG_VERSION"))];
    let mut page = template.to_owned();
    for (name, text) in known.iter().chain(made) {
        let mark = format!("@{name}@");
        assert!(page.contains(&mark), "no {mark} in the template");
        page = page.replace(&mark, text.trim_end());
    }
    page
}
