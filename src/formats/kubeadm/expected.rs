//! The tree that a change of an extra argument has to lead to.

use super::documents::{ArgumentForm, CONTROLLER_MANAGER, EXTRA_ARGS};
use crate::formats::edit::{entry, node, text_node, text_of, value_mut};
use crate::formats::flag_name::same_flag;
use crate::formats::kubeconfig::tree::{Value, YamlNode};

/// The tree with an argument set, or removed where it has no value.
pub(super) fn with_change(
    mut root: YamlNode,
    form: ArgumentForm,
    name: &str,
    value: Option<&str>,
) -> YamlNode {
    match value {
        Some(value) => set(&mut root, form, name, value),
        None => remove(&mut root, name),
    }
    without_empty(root)
}

/// The tree without an `extraArgs` in which nothing is.
pub(super) fn without_empty(mut root: YamlNode) -> YamlNode {
    if let Some(Value::Map(entries)) = value_mut(&mut root, CONTROLLER_MANAGER).map(content) {
        let is_empty = |value: &Value| match value {
            Value::Map(entries) => entries.is_empty(),
            Value::List(items) => items.is_empty(),
            _ => false,
        };
        entries.retain(|(key, value)| text_of(key) != Some(EXTRA_ARGS) || !is_empty(&value.value));
    }
    root
}

fn content(node: &mut YamlNode) -> &mut Value {
    &mut node.value
}

/// Sets an argument. What is new comes first; `controllerManager` comes behind `kind`.
fn set(root: &mut YamlNode, form: ArgumentForm, name: &str, value: &str) {
    let empty = match form {
        ArgumentForm::Map => Value::Map(Vec::new()),
        ArgumentForm::List => Value::List(Vec::new()),
    };
    add_where_missing(root, CONTROLLER_MANAGER, Value::Map(Vec::new()));
    let Some(component) = value_mut(root, CONTROLLER_MANAGER) else { return };
    add_where_missing(component, EXTRA_ARGS, empty);
    match value_mut(component, EXTRA_ARGS).map(content) {
        Some(Value::Map(entries)) => {
            let mut all = entries.iter_mut();
            match all.find(|(key, _)| is_named(Some(key), name)) {
                Some((_, old)) => *old = text_node(value),
                None => entries.insert(0, (text_node(name), text_node(value))),
            }
        }
        Some(Value::List(items)) => match items.iter_mut().find(|item| is_item(item, name)) {
            Some(item) => {
                if let Some(old) = value_mut(item, "value") {
                    *old = text_node(value);
                }
            }
            None => {
                let pairs = [("name", name), ("value", value)];
                let entries = pairs.map(|(key, value)| (text_node(key), text_node(value)));
                items.insert(0, node(Value::Map(entries.into())));
            }
        },
        _ => {}
    }
}

fn add_where_missing(root: &mut YamlNode, name: &str, value: Value) {
    let Value::Map(entries) = &mut root.value else { return };
    let place = |name| entries.iter().position(|(key, _)| text_of(key) == Some(name));
    if place(name).is_none() {
        let at = if name == CONTROLLER_MANAGER { place("kind").map_or(0, |at| at + 1) } else { 0 };
        entries.insert(at, (text_node(name), node(value)));
    }
}

fn remove(root: &mut YamlNode, name: &str) {
    let component = value_mut(root, CONTROLLER_MANAGER);
    match component.and_then(|component| value_mut(component, EXTRA_ARGS)).map(content) {
        Some(Value::Map(entries)) => entries.retain(|(key, _)| !is_named(Some(key), name)),
        Some(Value::List(items)) => items.retain(|item| !is_item(item, name)),
        _ => {}
    }
}

fn is_item(item: &YamlNode, name: &str) -> bool {
    is_named(entry(item, "name").map(|(_, value)| value), name)
}

fn is_named(found: Option<&YamlNode>, name: &str) -> bool {
    found.and_then(text_of).is_some_and(|found| same_flag(found, name))
}
