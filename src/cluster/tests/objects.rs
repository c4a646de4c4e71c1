//! The parts of the API server for lists, patches and deletions, and for what other clients do.

use super::*;

/// What another client does.
pub(super) type OtherWrite = Box<dyn FnOnce(&Objects)>;

impl Objects {
    /// How often any object was written or deleted.
    pub(crate) fn writes(&self) -> u64 {
        self.version.get()
    }

    /// Puts an object of the API at its path.
    pub(crate) fn put_at(&self, path: &str, mut object: Value) {
        let name = path.rsplit('/').next().unwrap();
        object["metadata"]["name"] = json!(name);
        if let Some((_, rest)) = path.split_once("/namespaces/")
            && let Some((namespace, _)) = rest.split_once('/')
        {
            object["metadata"]["namespace"] = json!(namespace);
        }
        self.put(path.to_owned(), object);
    }

    /// The object at a path.
    pub(crate) fn at(&self, path: &str) -> Option<Value> {
        self.by_path.borrow().get(path).cloned()
    }

    /// Has everything about these paths answered with this status.
    pub(crate) fn refuse(&self, prefix: &str, code: u16) {
        *self.refused.borrow_mut() = Some((prefix.to_owned(), code));
    }

    /// Has another client do this before the next write.
    pub(crate) fn before_write(&self, write: impl FnOnce(&Objects) + 'static) {
        *self.before_write.borrow_mut() = Some(Box::new(write));
    }

    pub(super) fn refused_at(&self, path: &str) -> Option<u16> {
        let refused = self.refused.borrow();
        refused.as_ref().filter(|(prefix, _)| path.starts_with(prefix)).map(|(_, code)| *code)
    }

    pub(super) fn write_of_other(&self) {
        let write = self.before_write.borrow_mut().take();
        if let Some(write) = write {
            write(self);
        }
    }

    /// The objects of a kind, in one namespace, in all, or without one: at most two at a time, so
    /// that there are several pages.
    pub(super) fn list(&self, path: &str, query: Option<&str>) -> Value {
        let parameter = |name: &str| {
            let all = query.unwrap_or_default().split('&');
            let value = all.filter_map(|one| one.split_once('=')).find(|(key, _)| *key == name)?.1;
            Some(value.replace("%2F", "/").replace("%3D", "="))
        };
        let label = parameter("labelSelector");
        let field = parameter("fieldSelector");
        let is_selected = |object: &&Value| {
            let has_label = |label: &String| !object["metadata"]["labels"][label].is_null();
            let has_field = |field: &String| {
                let (name, value) = field.split_once('=').unwrap();
                let pointer = format!("/{}", name.replace('.', "/"));
                object.pointer(&pointer).and_then(Value::as_str) == Some(value)
            };
            label.iter().all(has_label) && field.iter().all(has_field)
        };
        let (api, kind) = path.rsplit_once('/').unwrap();
        let is_of_list = |one: &str| {
            let Some((collection, _)) = one.rsplit_once('/') else { return false };
            let in_namespace = collection.strip_prefix(api).is_some_and(|rest| {
                matches!(rest.split('/').collect::<Vec<_>>()[..],
                    ["", "namespaces", _, of] if of == kind)
            });
            collection == path || in_namespace
        };
        let objects = self.by_path.borrow();
        let of_list = objects.iter().filter(|(one, _)| is_of_list(one));
        let found: Vec<_> = of_list.map(|(_, object)| object).filter(is_selected).collect();
        let from = parameter("continue").map_or(0, |from| from.parse::<usize>().unwrap());
        let to = from + parameter("limit").unwrap().parse::<usize>().unwrap().min(2);
        let next = if found.len() > to { to.to_string() } else { String::new() };
        let page: Vec<_> = found.iter().skip(from).take(to - from).collect();
        json!({"metadata": {"continue": next}, "items": page})
    }

    /// A merge patch of annotations, or a JSON patch of texts.
    pub(super) fn patch(&self, path: &str, mut found: Value, body: &[u8]) -> (u16, Value) {
        match serde_json::from_slice(body).unwrap() {
            Value::Array(operations) => {
                for operation in operations {
                    let pointer = operation["path"].as_str().unwrap();
                    let Some(field) = found.pointer_mut(pointer) else {
                        return failed(422, "Invalid");
                    };
                    match operation["op"].as_str().unwrap() {
                        "test" if *field == operation["value"] => {}
                        "test" => return failed(422, "Invalid"),
                        "replace" => *field = operation["value"].clone(),
                        other => panic!("{other}"),
                    }
                }
            }
            patch => {
                for (name, value) in patch["metadata"]["annotations"].as_object().unwrap() {
                    found["metadata"]["annotations"][name] = value.clone();
                }
            }
        }
        (200, self.put(path.to_owned(), found))
    }

    pub(super) fn delete(&self, path: &str, found: &Value, body: &[u8]) -> (u16, Value) {
        let parameters: Value = serde_json::from_slice(body).unwrap_or_default();
        let version = &parameters["preconditions"]["resourceVersion"];
        if !version.is_null() && *version != found["metadata"]["resourceVersion"] {
            return failed(409, "Conflict");
        }
        self.version.set(self.version.get() + 1);
        self.by_path.borrow_mut().remove(path);
        (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }
}
