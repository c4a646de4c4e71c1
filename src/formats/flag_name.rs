//! Names of flags.

/// Whether two names are of the same flag. The components of Kubernetes accept `_` for `-` in them.
pub(super) fn same_flag(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one
            .chars()
            .zip(other.chars())
            .all(|(a, b)| a == b || (matches!(a, '-' | '_') && matches!(b, '-' | '_')))
}
