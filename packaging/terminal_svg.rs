//! Renders what a program printed to a terminal as SVG, from standard input to standard output.
//! For packaging/pictures.

use std::io::{Read as _, Write as _};

use anstyle::RgbColor;
use anstyle_svg::{Palette, Term, VGA};

/// The width at which the terminal wraps lines.
const COLUMNS: usize = 120;

const BACKGROUND: RgbColor = RgbColor(0x0d, 0x11, 0x17);
const TEXT: RgbColor = RgbColor(0xe6, 0xed, 0xf3);

/// The colours of a terminal, of which the program uses three: each is readable on the background.
const PALETTE: Palette = {
    let mut colors = VGA.0;
    colors[1] = RgbColor(0xff, 0x7b, 0x72);
    colors[2] = RgbColor(0x56, 0xd3, 0x64);
    colors[3] = RgbColor(0xe3, 0xb3, 0x41);
    Palette(colors)
};

fn main() -> std::io::Result<()> {
    let mut output = String::new();
    std::io::stdin().read_to_string(&mut output)?;
    let terminal = Term::new().palette(PALETTE).fg_color(TEXT.into()).bg_color(BACKGROUND.into());
    std::io::stdout().write_all(terminal.render_svg(&wrap(&output)).as_bytes())
}

/// Breaks lines as the terminal does. Colours take no column: they are sequences from ESC to `m`.
fn wrap(output: &str) -> String {
    let mut wrapped = String::new();
    let (mut column, mut in_sequence) = (0, false);
    for letter in output.chars() {
        if letter == '\n' {
            column = 0;
        } else if letter == '\x1b' {
            in_sequence = true;
        } else if in_sequence {
            in_sequence = letter != 'm';
        } else {
            if column == COLUMNS {
                wrapped.push('\n');
                column = 0;
            }
            column += 1;
        }
        wrapped.push(letter);
    }
    wrapped
}
