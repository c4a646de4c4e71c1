//! Entries of the operator in the place of those of the profile.

/// Removes and returns the operator's entry that replaces one of the profile's.
pub(super) fn take<'e, T>(
    own: &mut Vec<&'e T>,
    takes_its_place: impl Fn(&T) -> bool,
) -> Option<&'e T> {
    own.iter().position(|entry| takes_its_place(entry)).map(|index| own.remove(index))
}
