//! Checks that the tests named by the threat model exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "tests read the sources")]

use std::path::Path;

/// Appends all sources of tests to one text.
fn append_sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            append_sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Whether a test of this name exists, or a case of the real nodes.
fn exists(sources: &str, name: &str) -> bool {
    let is_test = |before: &str| {
        before
            .trim_end()
            .lines()
            .rev()
            .take(3)
            .any(|line| line.contains("#[test]") || line.contains("#[tokio::test"))
    };
    let function = format!("fn {name}(");
    let mut found = sources.match_indices(&function).map(|(at, _)| &sources[..at]);
    found.any(is_test) || sources.contains(&format!("\n        {name} = crate::"))
}

#[test]
fn tests_named_by_threat_model_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut all = String::new();
    ["src", "tests"].iter().for_each(|dir| append_sources(&root.join(dir), &mut all));
    assert!(!exists(&all, "nonexistent_test_name") && !exists(&all, "append_sources"));

    let (mut claims, mut named) = (0, 0);
    let part = page.split("## What happens when").nth(1).unwrap().split("\n## ").next().unwrap();
    let paragraphs: Vec<_> = part.split("\n\n").skip(1).collect();
    for paragraph in &paragraphs {
        let lists = paragraph.starts_with("- `");
        claims += usize::from(!lists);
        let names = paragraph
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| lists && word.contains('_') && !word.contains(['/', '.', '=']));
        for name in names {
            named += 1;
            assert!(exists(&all, name), "docs/threat-model.md names {name}, which is no test");
        }
    }
    let lists = paragraphs.iter().filter(|paragraph| paragraph.starts_with("- `")).count();
    assert_eq!(claims, lists, "each claim has its tests");
    assert!(claims > 12 && named > 40, "{claims} {named}");
}
