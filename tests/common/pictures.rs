//! The texts of the pictures of docs/, which packaging/pictures makes.

use std::path::Path;

/// Returns the text of a picture, to be compared.
pub fn picture_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.svg"));
    let svg = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, drawn) = svg.split_once("<text").unwrap();
    // Each piece is what is between < and >, and the text that follows.
    let text: String =
        drawn.split('<').filter_map(|piece| piece.split_once('>')).map(|p| p.1).collect();
    comparable(&text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// Removes white space, as lines are wrapped in pictures, and numbers, as dates change.
pub fn comparable(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_ascii_digit()).collect()
}
