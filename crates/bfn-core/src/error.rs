//! Errors for parameters that the caller supplies.

/// A parameter that the mathematics does not allow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number outside its domain.
    #[error("{parameter} must be {expected}, not {value}")]
    Parameter {
        /// The parameter's name, as in the paper.
        parameter: &'static str,
        /// The value that was given.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// A grid that does not increase strictly.
    #[error("{grid} must increase strictly, but entry {index} is {value} after {previous}")]
    Grid {
        /// The name of the grid.
        grid: &'static str,
        /// The first entry that does not increase, counted from 0.
        index: usize,
        /// The value of that entry.
        value: f64,
        /// The value of the entry before it.
        previous: f64,
    },
}

/// Returns `value` if it is `allowed`, else an error that names the parameter.
pub(crate) fn check(parameter: &'static str, value: f64, expected: &'static str, allowed: bool) -> Result<f64, Error> {
    if allowed { Ok(value) } else { Err(Error::Parameter { parameter, value, expected }) }
}

/// Checks that a number of classes or bins is at least two.
pub(crate) fn check_count(parameter: &'static str, count: usize) -> Result<usize, Error> {
    check(parameter, count as f64, "at least 2", count >= 2)?;
    Ok(count)
}

/// Checks that each number is above the one before it.
pub(crate) fn check_increasing(grid: &'static str, values: &[f64]) -> Result<(), Error> {
    let increases = |pair: &[f64]| pair[1] > pair[0];
    match values.windows(2).position(|pair| !increases(pair)) {
        None => Ok(()),
        Some(i) => Err(Error::Grid { grid, index: i + 1, value: values[i + 1], previous: values[i] }),
    }
}
