//! Sets and removes flags in the text of a manifest, and leaves every other byte as it is.
//!
//! Nothing is guessed: an item of the command has to be a whole flag, `--name=value`, on its line
//! or between the commas of its list. Another form is refused, with its line.

use std::ops::Range;

use super::program::{DirectCommand, direct_command};
use super::{ManifestError, Pod};
use crate::formats::edit::{
    self, EditError, EditObstacle, Replacement, editable_tree, line_before, line_from, literal,
    refuse_special, replaced, scalar,
};
use crate::formats::flag_name::same_flag;
use crate::formats::kubeconfig::tree::{Value, YamlNode};

/// Returns the manifest with these flags of a component set, or removed where they have no value;
/// `None` where nothing changes.
///
/// A value takes the place of the old one, with its quotes. A new flag comes behind the one whose
/// name is before its own in the alphabet, as in what kubeadm writes.
///
/// # Errors
/// [`EditError`], when the text can't be read, when a flag is not written as `--name=value` in the
/// list of the command or of its arguments, or when it is not certain that nothing else changes.
pub fn with_flags(
    text: &str,
    component: &str,
    flags: &[(&str, Option<&str>)],
) -> Result<Option<String>, EditError> {
    let mut after = text.to_owned();
    for (flag, value) in flags {
        if let Some(edited) = with_flag(&after, component, flag, *value)? {
            after = edited;
        }
    }
    Ok((after != text).then_some(after))
}

fn with_flag(
    text: &str,
    component: &str,
    flag: &str,
    value: Option<&str>,
) -> Result<Option<String>, EditError> {
    let pod = pod_of(text, component)?;
    if has(&pod, flag, value) {
        return Ok(None);
    }
    let object = format!("--{flag}");
    refuse_special(&object, value)?;
    let mut root = editable_tree(text)?;
    let items = items(&root, pod.main);
    let command = pod.container().and_then(|container| direct_command(container, component));
    let command = command
        .filter(|command| command.words.len() == items.len())
        .ok_or_else(|| EditError::NoProgram { component: component.to_owned() })?;
    if let Some(reason) = pod.doubt() {
        let (component, reason) = (component.to_owned(), reason.to_owned());
        return Err(EditError::UnknownFlags { component, reason });
    }
    let editor = Editor { text, root: &root, items, command };
    let edit = editor.edit(flag, value).map_err(|(line, obstacle)| EditError::Refused {
        line,
        object: object.clone(),
        obstacle,
    })?;
    let after = replaced(text, vec![edit.replacement]);
    let expected = list_mut(&mut root, pod.main, edit.list);
    if let Some(list) = expected {
        list.splice(edit.items, edit.item.map(|item| edit::text_node(&item)));
    }
    let is_same = pod_of(&after, component).is_ok_and(|pod| has(&pod, flag, value))
        && editable_tree(&after).is_ok_and(|after| after == root);
    if is_same { Ok(Some(after)) } else { Err(EditError::NotTheSame { object }) }
}

fn pod_of(text: &str, component: &str) -> Result<Pod, ManifestError> {
    Pod::parse(text).map(|pod| pod.of_component(component))
}

/// Whether a flag is there once, with this value; or not at all.
fn has(pod: &Pod, flag: &str, value: Option<&str>) -> bool {
    let found = pod.program.flag(flag);
    let is_it = match (found.as_slice(), value) {
        ([], None) => true,
        ([Some(found)], Some(value)) => found.known && found.text == value,
        _ => false,
    };
    is_it && pod.doubt().is_none()
}

const LISTS: [&str; 2] = ["command", "args"];

/// An item of command or args.
#[derive(Clone, Copy)]
struct Item<'n> {
    /// The list's name, and the list.
    list: &'static str,
    holder: &'n YamlNode,
    /// All items of the list.
    all: &'n [YamlNode],
    /// Its place among them.
    at: usize,
    node: &'n YamlNode,
}

fn items(root: &YamlNode, container: usize) -> Vec<Item<'_>> {
    let value = |node, name| edit::entry(node, name).map(|(_, value)| value);
    let containers = value(root, "spec").and_then(|spec| value(spec, "containers"));
    let Some(Value::List(containers)) = containers.map(|node| &node.value) else {
        return Vec::new();
    };
    let Some(container) = containers.get(container) else { return Vec::new() };
    let lists = LISTS.into_iter().filter_map(|list| Some((list, value(container, list)?)));
    let items = lists.flat_map(|(list, holder)| {
        let all = match &holder.value {
            Value::List(all) => all.as_slice(),
            _ => &[],
        };
        all.iter().enumerate().map(move |(at, node)| Item { list, all, holder, at, node })
    });
    items.collect()
}

fn list_mut<'n>(
    root: &'n mut YamlNode,
    container: usize,
    list: &str,
) -> Option<&'n mut Vec<YamlNode>> {
    let containers = edit::value_mut(edit::value_mut(root, "spec")?, "containers")?;
    let Value::List(containers) = &mut containers.value else { return None };
    let list = edit::value_mut(containers.get_mut(container)?, list)?;
    match &mut list.value {
        Value::List(items) => Some(items),
        _ => None,
    }
}

/// A change of one list.
struct ListEdit {
    replacement: Replacement,
    list: &'static str,
    /// The items of the list that are replaced.
    items: Range<usize>,
    /// The item in their place.
    item: Option<String>,
}

/// The line and the reason of a refusal.
type Refusal = (u64, EditObstacle);

struct Editor<'n> {
    text: &'n str,
    root: &'n YamlNode,
    /// One for each word of the command.
    items: Vec<Item<'n>>,
    command: DirectCommand,
}

impl Editor<'_> {
    fn edit(&self, flag: &str, value: Option<&str>) -> Result<ListEdit, Refusal> {
        let found = self.find(flag)?;
        let (item, edit) = match (found, value) {
            (Some(item), Some(value)) => (item, self.set(item, value)),
            (Some(item), None) => (item, self.remove(item)),
            (None, value) => {
                let item = self.neighbour(flag).ok_or((0, EditObstacle::Layout))?;
                (item, self.insert(item, format!("--{flag}={}", value.unwrap_or_default())))
            }
        };
        edit.map_err(|obstacle| (item.node.line, obstacle))
    }

    /// The items that are flags, with their words.
    fn flags(&self) -> impl Iterator<Item = (Item<'_>, &str)> {
        let words = self.command.words.iter().map(|word| word.text.as_str());
        let all = self.items.iter().copied().zip(words).skip(self.command.program + 1);
        all.take_while(|(_, word)| *word != "--")
    }

    /// The item of a flag, where it is written as `--name=value`.
    fn find(&self, flag: &str) -> Result<Option<Item<'_>>, Refusal> {
        let mut found = None;
        for (item, word) in self.flags() {
            let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                continue;
            };
            let name = rest.split('=').next().unwrap_or_default();
            if !same_flag(name, flag) {
                continue;
            }
            let written = edit::text_of(item.node).unwrap_or_default();
            let obstacle = if found.is_some() {
                Some(EditObstacle::Repeated)
            } else if !word.starts_with("--") {
                Some(EditObstacle::OneDash)
            } else if !rest.contains('=') {
                Some(EditObstacle::SeparateValue)
            } else if written.split('=').next() != word.split('=').next() {
                Some(EditObstacle::Variable)
            } else {
                None
            };
            if let Some(obstacle) = obstacle {
                return Err((item.node.line, obstacle));
            }
            found = Some(item);
        }
        Ok(found)
    }

    /// The item behind which a new flag comes. It is the program or one with a value of its own:
    /// the item behind another may be its value.
    fn neighbour(&self, flag: &str) -> Option<Item<'_>> {
        let program = self.items.get(self.command.program).copied();
        let is_before = |word: &str| {
            let named = word.strip_prefix("--").and_then(|rest| rest.split_once('='));
            named.is_some_and(|(name, _)| name < flag)
        };
        let before = self.flags().filter(|(_, word)| is_before(word)).last();
        before.map(|(item, _)| item).or(program)
    }

    fn set(&self, item: Item<'_>, value: &str) -> Result<ListEdit, EditObstacle> {
        let range = literal(self.text, self.root, item.node)?;
        self.place(item)?;
        let written = self.text.get(range.clone()).unwrap_or_default();
        let (name, _) = written.split_once('=').ok_or(EditObstacle::SeparateValue)?;
        let start = range.start + name.len() + 1;
        Ok(ListEdit {
            replacement: (start..range.end, value.to_owned()),
            list: item.list,
            items: item.at..item.at + 1,
            item: Some(format!("{name}={value}")),
        })
    }

    fn insert(&self, before: Item<'_>, item: String) -> Result<ListEdit, EditObstacle> {
        let range = scalar(self.text, self.root, before.node)?;
        let replacement = match self.place(before)? {
            Place::InBrackets => (range.end..range.end, format!(", {item}")),
            Place::OnLine => {
                edit::refuse_more(line_from(self.text, range.end))?;
                let line = format!("{}{item}", line_before(self.text, range.start));
                edit::lines_after(self.text, range.start, &[line])
            }
        };
        let at = before.at + 1;
        Ok(ListEdit { replacement, list: before.list, items: at..at, item: Some(item) })
    }

    fn remove(&self, item: Item<'_>) -> Result<ListEdit, EditObstacle> {
        let range = scalar(self.text, self.root, item.node)?;
        if item.all.len() == 1 {
            return Err(EditObstacle::OnlyItem);
        }
        let replacement = match self.place(item)? {
            Place::InBrackets => (self.with_comma(item, range)?, String::new()),
            Place::OnLine => {
                edit::refuse_any(line_from(self.text, range.end))?;
                edit::without_line(self.text, range.start)
            }
        };
        Ok(ListEdit { replacement, list: item.list, items: item.at..item.at + 1, item: None })
    }

    /// The bytes of an item with the comma before it; for the first one, with that behind it.
    fn with_comma(
        &self,
        item: Item<'_>,
        range: Range<usize>,
    ) -> Result<Range<usize>, EditObstacle> {
        let other = |at: usize| {
            let node = item.all.get(at).ok_or(EditObstacle::OnlyItem)?;
            scalar(self.text, self.root, node)
        };
        let (between, all) = match item.at.checked_sub(1) {
            Some(before) => {
                let before = other(before)?;
                (before.end..range.start, before.end..range.end)
            }
            None => {
                let behind = other(1)?;
                (range.end..behind.start, range.start..behind.start)
            }
        };
        let between = self.text.get(between).unwrap_or_default().trim();
        if between == "," { Ok(all) } else { Err(EditObstacle::Layout) }
    }

    /// How an item is written.
    fn place(&self, item: Item<'_>) -> Result<Place, EditObstacle> {
        if edit::is_in_brackets(self.text, item.holder) {
            return Ok(Place::InBrackets);
        }
        let start = item.node.defined.as_ref().map(|range| range.start);
        let before = start.map(|start| line_before(self.text, start));
        if before.is_some_and(edit::is_dash) {
            Ok(Place::OnLine)
        } else {
            Err(EditObstacle::Layout)
        }
    }
}

enum Place {
    /// Between the commas of a list in brackets.
    InBrackets,
    /// On a line of its own, behind a dash.
    OnLine,
}

#[cfg(test)]
mod tests;
