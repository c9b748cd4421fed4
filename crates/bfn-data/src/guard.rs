//! A guard for libraries that panic on damaged files.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::DataError;

/// Returns the result of `read` or, if it panics, an error that the file is not what was `expected`.
///
/// For libraries that have been found to panic on mutated files. Nothing that `read` has touched is used afterwards.
pub(crate) fn guarded<T>(
    path: &Path,
    expected: &str,
    read: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let found = format!("what its reader could not bear ({})", said.unwrap_or("no reason given"));
        Err(DataError::malformed(path, 0, expected, found))
    })
}
