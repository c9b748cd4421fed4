//! Shapes that must agree exactly, where broadcasting would hide a mistake.

/// Panics, naming both shapes, unless the two shapes are equal.
///
/// Operators broadcast, so noise of shape `[B, 1]` would silently be shared by all variables.
#[track_caller]
pub(crate) fn assert_same(what: &str, expected: &[usize], found: &[usize]) {
    assert!(expected == found, "{what}: expected shape {expected:?}, found shape {found:?}");
}

/// Returns `shape` with one more axis, of the given length, at the end.
pub(crate) fn with_last(shape: &[usize], length: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape.push(length);
    shape
}
