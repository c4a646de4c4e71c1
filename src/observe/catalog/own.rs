//! Entries of the operator in the place of those of the profile.

/// The operator's entry that takes the place of one of the profile's; it is gone from the list
/// then.
pub(super) fn take<'e, T>(
    own: &mut Vec<&'e T>,
    takes_its_place: impl Fn(&T) -> bool,
) -> Option<&'e T> {
    own.iter().position(|entry| takes_its_place(entry)).map(|index| own.remove(index))
}
