//! Texts of others, made harmless where they are shown.

/// Returns the beginning of a text, without the characters that are not shown or change how others
/// are.
#[must_use]
pub fn plain_text(text: &str, max_chars: usize) -> String {
    text.chars().filter(|c| is_shown(*c)).take(max_chars).collect()
}

fn is_shown(c: char) -> bool {
    let changes_direction = matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !changes_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_short_and_without_hidden_characters() {
        assert_eq!(plain_text("\u{1b}[31mred\u{202e}\n\u{200b}green\u{2066}", 100), "[31mredgreen");
        assert_eq!(plain_text("\u{202e}äöü", 2), "äö");
    }
}
