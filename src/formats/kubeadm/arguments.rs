//! Sets and removes extra arguments of kube-controller-manager in the text of a
//! ClusterConfiguration, and leaves every other byte as it is.
//!
//! kubeadm writes `controllerManager: {}` where nothing is set, and one field a line elsewhere.
//! `extraArgs` is a mapping up to v1beta3, and a list of names and values in v1beta4. Another form
//! is refused, with its line.

use super::documents::{ArgumentForm, CONTROLLER_MANAGER, ClusterConfiguration, EXTRA_ARGS};
use super::expected::{with_change, without_empty};
use crate::formats::edit::{
    self, EditError, EditObstacle, Replacement, entry, is_in_brackets, line_before, line_from,
    lines_after, literal, refuse_any, refuse_more, refuse_special, replaced, scalar, text_of,
    without_line,
};
use crate::formats::flag_name::same_flag;
use crate::formats::kubeconfig::tree::{Value, YamlNode};

/// Returns the value of an extra argument of kube-controller-manager, by a text with a
/// ClusterConfiguration, alone or among other documents.
///
/// # Errors
/// [`EditError`], when there is none, when it can't be read, or when the argument is there more
/// than once.
pub fn controller_manager_argument(text: &str, name: &str) -> Result<Option<String>, EditError> {
    let configuration = ClusterConfiguration::find(text)?;
    let found = Arguments::of(&configuration).find(name);
    let found = found.map_err(|refusal| refused(name, refusal))?;
    Ok(found.and_then(|one| text_of(one.value)).map(str::to_owned))
}

/// Returns the text with these extra arguments of kube-controller-manager set, or removed where
/// they have no value; `None` where nothing changes.
///
/// A new argument comes first. With the last one, `extraArgs` is removed as well.
///
/// # Errors
/// [`EditError`], when the text can't be read, when it has another form than kubeadm's, or when it
/// is not certain that nothing else changes.
pub fn with_controller_manager_arguments(
    text: &str,
    arguments: &[(&str, Option<&str>)],
) -> Result<Option<String>, EditError> {
    let mut after = text.to_owned();
    // Each new one comes before those that are there.
    for (name, value) in arguments.iter().rev() {
        if let Some(edited) = with_argument(&after, name, *value)? {
            after = edited;
        }
    }
    Ok((after != text).then_some(after))
}

fn with_argument(text: &str, name: &str, value: Option<&str>) -> Result<Option<String>, EditError> {
    if controller_manager_argument(text, name)?.as_deref() == value {
        return Ok(None);
    }
    let object = format!("{name} of {CONTROLLER_MANAGER}");
    refuse_special(&object, value)?;
    let before = ClusterConfiguration::find(text)?;
    before.refuse_brackets()?;
    let arguments = Arguments::of(&before);
    let edits = match (arguments.find(name), value) {
        (Err(refusal), _) => Err(refusal),
        (Ok(Some(argument)), Some(value)) => arguments.replace(&argument, value),
        (Ok(Some(argument)), None) => arguments.remove(&argument),
        (Ok(None), value) => arguments.add(name, value.unwrap_or_default()),
    };
    let edits = edits.map_err(|refusal| refused(name, refusal))?;
    let after = before.with_text(&replaced(&before.text, edits));
    let expected = with_change(before.root, before.form, name, value);
    let is_same = controller_manager_argument(&after, name)
        .is_ok_and(|new| new.as_deref() == value)
        && ClusterConfiguration::find(&after)
            .is_ok_and(|after| without_empty(after.root) == expected);
    if is_same { Ok(Some(after)) } else { Err(EditError::NotTheSame { object }) }
}

/// The line and the reason of a refusal.
type Refusal = (u64, EditObstacle);

fn refused(name: &str, (line, obstacle): Refusal) -> EditError {
    EditError::Refused { line, object: format!("{name} of {CONTROLLER_MANAGER}"), obstacle }
}

/// The extra arguments of kube-controller-manager in a configuration.
struct Arguments<'c> {
    text: &'c str,
    root: &'c YamlNode,
    form: ArgumentForm,
}

type Entry = (YamlNode, YamlNode);

/// What adding an argument replaces.
type Added = Result<Vec<Replacement>, EditObstacle>;

/// One of them.
struct Argument<'c> {
    name: &'c str,
    value: &'c YamlNode,
    /// The entries that are written for it: one, or those of its item.
    entries: &'c [Entry],
}

impl<'c> Arguments<'c> {
    fn of(configuration: &'c ClusterConfiguration<'_>) -> Self {
        let ClusterConfiguration { text, root, form, .. } = configuration;
        Self { text, root, form: *form }
    }

    /// All of them.
    fn all(&self) -> Result<Vec<Argument<'c>>, Refusal> {
        let Some((_, component)) = entry(self.root, CONTROLLER_MANAGER) else {
            return Ok(Vec::new());
        };
        if !matches!(component.value, Value::Map(_) | Value::Null) {
            return Err((component.line, EditObstacle::Form));
        }
        let Some((_, arguments)) = entry(component, EXTRA_ARGS) else { return Ok(Vec::new()) };
        let all: Option<Vec<_>> = match (&arguments.value, self.form) {
            (Value::Null, _) => Some(Vec::new()),
            (Value::Map(all), ArgumentForm::Map) => all.chunks(1).map(Argument::of).collect(),
            (Value::List(all), ArgumentForm::List) => all.iter().map(Argument::of_item).collect(),
            _ => None,
        };
        all.ok_or((arguments.line, EditObstacle::Form))
    }

    fn find(&self, name: &str) -> Result<Option<Argument<'c>>, Refusal> {
        let mut all = self.all()?.into_iter().filter(|one| same_flag(one.name, name));
        let found = all.next();
        if let Some(second) = all.next() {
            return Err((second.value.line, EditObstacle::Repeated));
        }
        match found {
            Some(one) if text_of(one.value).is_none() => Err((one.value.line, EditObstacle::Form)),
            found => Ok(found),
        }
    }

    fn replace(&self, argument: &Argument<'_>, value: &str) -> Result<Vec<Replacement>, Refusal> {
        let range = literal(self.text, self.root, argument.value);
        let range = range.map_err(|obstacle| (argument.value.line, obstacle))?;
        Ok(vec![(range, value.to_owned())])
    }

    /// Adds an argument before the others: behind the line of the key that holds them, where
    /// nothing else can be.
    fn add(&self, name: &str, value: &str) -> Result<Vec<Replacement>, Refusal> {
        let component = entry(self.root, CONTROLLER_MANAGER);
        let arguments = component.and_then(|(_, component)| entry(component, EXTRA_ARGS));
        let ((key, _), edits) = match (component, arguments) {
            (Some(component), Some(arguments)) => {
                let (key, _) = component;
                self.first_of(component).map_err(|it| (key.line, it))?;
                (arguments, self.add_argument(arguments, name, value))
            }
            (Some(component), None) => (component, self.add_section(component, name, value)),
            (None, _) => {
                let kind = entry(self.root, "kind").ok_or((0, EditObstacle::Form))?;
                (kind, self.add_component(kind, name, value))
            }
        };
        edits.map_err(|obstacle| (key.line, obstacle))
    }

    /// Adds one to `extraArgs`.
    fn add_argument(&self, all: &Entry, name: &str, value: &str) -> Added {
        let (key, arguments) = all;
        let indent = self.indent(key)?;
        if let Some(opened) = self.opened(key, arguments)? {
            let lines = self.argument(&self.below(indent), name, value);
            return Ok(vec![opened, lines_after(self.text, start(key), &lines)]);
        }
        let before = line_before(self.text, start(self.first_of(all)?));
        let lines = match self.form {
            ArgumentForm::Map if edit::is_blank(before) => self.argument(before, name, value),
            ArgumentForm::List if edit::is_dash(before) => item(before, name, value),
            _ => return Err(EditObstacle::Layout),
        };
        Ok(vec![lines_after(self.text, start(key), &lines)])
    }

    /// Adds `extraArgs` to `controllerManager`.
    fn add_section(&self, all: &Entry, name: &str, value: &str) -> Added {
        let (key, component) = all;
        let opened = self.opened(key, component)?;
        let indent = match opened {
            Some(_) => format!("{}  ", self.indent(key)?),
            None => self.indent(self.first_of(all)?)?.to_owned(),
        };
        let lines = self.section(&indent, name, value);
        let added = lines_after(self.text, start(key), &lines);
        Ok(opened.into_iter().chain([added]).collect())
    }

    /// Adds `controllerManager` behind `kind`.
    fn add_component(&self, (key, kind): &Entry, name: &str, value: &str) -> Added {
        let indent = self.indent(key)?;
        refuse_more(line_from(self.text, scalar(self.text, self.root, kind)?.end))?;
        let mut lines = vec![format!("{indent}{CONTROLLER_MANAGER}:")];
        lines.extend(self.section(&format!("{indent}  "), name, value));
        Ok(vec![lines_after(self.text, start(key), &lines)])
    }

    fn remove(&self, argument: &Argument<'_>) -> Result<Vec<Replacement>, Refusal> {
        let mut edits = self.lines_of(argument).map_err(|it| (argument.value.line, it))?;
        if self.all()?.len() > 1 {
            return Ok(edits);
        }
        let Some((key, component)) = entry(self.root, CONTROLLER_MANAGER) else {
            return Ok(edits);
        };
        let Some((inner, _)) = entry(component, EXTRA_ARGS) else { return Ok(edits) };
        self.indent(inner).map_err(|it| (inner.line, it))?;
        match refuse_any(self.behind_colon(inner).map_err(|it| (inner.line, it))?) {
            Ok(()) => edits.push(without_line(self.text, start(inner))),
            // The comment stays, and with it the line.
            Err(EditObstacle::Comment) => {
                let empty = match self.form {
                    ArgumentForm::Map => " {}",
                    ArgumentForm::List => " []",
                };
                edits.push((end(inner) + 1..end(inner) + 1, empty.to_owned()));
                return Ok(edits);
            }
            Err(obstacle) => return Err((inner.line, obstacle)),
        }
        if matches!(&component.value, Value::Map(entries) if entries.len() == 1) {
            self.refuse_value_on_line(key).map_err(|it| (key.line, it))?;
            edits.push((end(key) + 1..end(key) + 1, " {}".to_owned()));
        }
        Ok(edits)
    }

    /// The removal of the lines of an argument.
    fn lines_of(&self, argument: &Argument<'_>) -> Result<Vec<Replacement>, EditObstacle> {
        let mut edits: Vec<Replacement> = Vec::new();
        for (key, value) in argument.entries {
            let before = line_before(self.text, start(key));
            let is_first = edits.is_empty();
            let is_right = match self.form {
                ArgumentForm::List if is_first => edit::is_dash(before),
                _ => edit::is_blank(before),
            };
            let value = scalar(self.text, self.root, value)?;
            let edit = without_line(self.text, start(key));
            let follows = edits.last().is_none_or(|(last, _)| last.end == edit.0.start);
            if !is_right || !follows || !edit.0.contains(&value.start) {
                return Err(EditObstacle::Layout);
            }
            refuse_any(line_from(self.text, value.end))?;
            edits.push(edit);
        }
        Ok(edits)
    }

    /// The lines of `extraArgs` with one argument.
    fn section(&self, indent: &str, name: &str, value: &str) -> Vec<String> {
        let mut lines = vec![format!("{indent}{EXTRA_ARGS}:")];
        lines.extend(self.argument(&self.below(indent), name, value));
        lines
    }

    /// The indentation of the arguments below that of `extraArgs`, as kubeadm writes it.
    fn below(&self, indent: &str) -> String {
        match self.form {
            ArgumentForm::Map => format!("{indent}  "),
            ArgumentForm::List => indent.to_owned(),
        }
    }

    /// The lines of an argument.
    fn argument(&self, indent: &str, name: &str, value: &str) -> Vec<String> {
        match self.form {
            ArgumentForm::Map => vec![format!("{indent}{name}: {value}")],
            ArgumentForm::List => item(&format!("{indent}- "), name, value),
        }
    }

    /// What is before a key that is the first on its line.
    fn indent(&self, key: &YamlNode) -> Result<&'c str, EditObstacle> {
        let before = line_before(self.text, start(key));
        if edit::is_blank(before) { Ok(before) } else { Err(EditObstacle::Layout) }
    }

    /// What is on the line behind the colon of a key.
    fn behind_colon(&self, key: &YamlNode) -> Result<&'c str, EditObstacle> {
        line_from(self.text, end(key)).strip_prefix(':').ok_or(EditObstacle::Layout)
    }

    /// Refuses a key whose value begins on its line, or that has an anchor there.
    fn refuse_value_on_line(&self, key: &YamlNode) -> Result<(), EditObstacle> {
        refuse_more(self.behind_colon(key)?)
    }

    /// The removal of the brackets of an empty value.
    fn opened(
        &self,
        key: &YamlNode,
        value: &YamlNode,
    ) -> Result<Option<Replacement>, EditObstacle> {
        let brackets = match &value.value {
            Value::Map(entries) if entries.is_empty() => ['{', '}'],
            Value::List(items) if items.is_empty() => ['[', ']'],
            _ => return Ok(None),
        };
        let rest = self.behind_colon(key)?;
        let [open, close] = brackets;
        let inner = rest.trim_start_matches(' ').strip_prefix(open);
        let behind = inner.and_then(|inner| inner.trim_start_matches(' ').strip_prefix(close));
        let behind = behind.ok_or(EditObstacle::Layout)?;
        refuse_more(behind)?;
        let from = end(key) + 1;
        Ok(Some((from..from + rest.len() - behind.len(), String::new())))
    }

    /// The first key of the mapping or the first item of the list that an entry holds, where it has
    /// lines of its own.
    fn first_of<'n>(&self, (key, node): &'n Entry) -> Result<&'n YamlNode, EditObstacle> {
        let first = match &node.value {
            Value::Map(entries) => entries.first().map(|(key, _)| key),
            Value::List(items) => items.first(),
            _ => None,
        };
        let first = first.ok_or(EditObstacle::Form)?;
        if !node.in_place || !first.in_place {
            return Err(EditObstacle::Shared);
        }
        if is_in_brackets(self.text, node) {
            return Err(EditObstacle::Form);
        }
        self.refuse_value_on_line(key)?;
        Ok(first)
    }
}

impl<'c> Argument<'c> {
    fn of(entries: &'c [Entry]) -> Option<Self> {
        let (name, value) = entries.first()?;
        Some(Self { name: text_of(name)?, value, entries })
    }

    fn of_item(item: &'c YamlNode) -> Option<Self> {
        let Value::Map(entries) = &item.value else { return None };
        let (_, name) = entry(item, "name")?;
        let (_, value) = entry(item, "value")?;
        Some(Self { name: text_of(name)?, value, entries })
    }
}

/// The lines of an item behind this indentation and dash.
fn item(dash: &str, name: &str, value: &str) -> Vec<String> {
    vec![format!("{dash}name: {name}"), format!("{}value: {value}", " ".repeat(dash.len()))]
}

fn start(node: &YamlNode) -> usize {
    node.defined.as_ref().map_or(0, |range| range.start)
}

fn end(node: &YamlNode) -> usize {
    node.defined.as_ref().map_or(0, |range| range.end)
}

#[cfg(test)]
mod tests;
