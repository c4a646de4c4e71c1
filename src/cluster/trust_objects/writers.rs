//! The record that an object keeps of its writers (`managedFields`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::cluster::error::shown;

/// The client that last wrote a field, or where no record is of that field, the object. The steps
/// lead to the field, in the form of the record.
pub(super) fn last_writer(records: &[ManagedFieldsEntry], steps: &[String]) -> Option<String> {
    let of_field = records.iter().filter(|record| has_field(record, steps));
    let last = of_field.max_by_key(|record| record.time.clone());
    let last = last.or_else(|| records.iter().max_by_key(|record| record.time.clone()));
    last?.manager.as_deref().map(shown).filter(|name| !name.is_empty())
}

/// Whether a record is of this field, or of the whole of something that it is in.
fn has_field(record: &ManagedFieldsEntry, steps: &[String]) -> bool {
    let Some(fields) = &record.fields_v1 else { return false };
    let mut found = &fields.0;
    for step in steps {
        let Some(inner) = found.get(step) else { return false };
        if inner.as_object().is_some_and(|inner| inner.is_empty()) {
            return true;
        }
        found = inner;
    }
    *found != Value::Null
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn records(all: &[(&str, &str, Value)]) -> Vec<ManagedFieldsEntry> {
        let record = |(manager, time, fields): &(&str, &str, Value)| {
            let record = json!({"manager": manager, "time": time, "fieldsV1": fields});
            serde_json::from_value(record).unwrap()
        };
        all.iter().map(record).collect()
    }

    fn steps() -> Vec<String> {
        ["f:spec", "f:caBundle"].map(str::to_owned).to_vec()
    }

    #[test]
    fn last_writer_of_field_is_found() {
        let of_field = json!({"f:spec": {"f:caBundle": {}, "f:group": {}}});
        let of_other = json!({"f:spec": {"f:group": {}}});
        let all = records(&[
            ("first", "2026-01-01T00:00:00Z", of_field.clone()),
            ("injector\u{1b}", "2026-01-02T00:00:00Z", of_field),
            ("other", "2026-01-03T00:00:00Z", of_other),
        ]);
        assert_eq!(last_writer(&all, &steps()).as_deref(), Some("injector"));
        assert_eq!(last_writer(&all[2..], &steps()).as_deref(), Some("other"), "of the object");
        assert_eq!(last_writer(&[], &steps()), None);
    }

    #[test]
    fn record_of_whole_part_is_of_its_fields() {
        let all = records(&[
            ("whole", "2026-01-01T00:00:00Z", json!({"f:spec": {}})),
            ("odd", "2026-01-03T00:00:00Z", json!([1])),
            ("odd", "2026-01-03T00:00:00Z", Value::Null),
        ]);
        assert_eq!(last_writer(&all, &steps()).as_deref(), Some("whole"));
    }
}
