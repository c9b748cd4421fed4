//! What can be wrong with a parameter from outside.

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
        /// Which grid.
        grid: &'static str,
        /// The first entry that does not increase, counted from 0.
        index: usize,
        /// That entry.
        value: f64,
        /// The entry before it.
        previous: f64,
    },
}

/// Accepts `value` if `allowed`, else names the parameter.
pub(crate) fn check(parameter: &'static str, value: f64, expected: &'static str, allowed: bool) -> Result<f64, Error> {
    if allowed { Ok(value) } else { Err(Error::Parameter { parameter, value, expected }) }
}

/// Accepts a number of classes or bins, at least two.
pub(crate) fn check_count(parameter: &'static str, count: usize) -> Result<usize, Error> {
    check(parameter, count as f64, "at least 2", count >= 2)?;
    Ok(count)
}

/// Accepts numbers of which each is above the one before it.
pub(crate) fn check_increasing(grid: &'static str, values: &[f64]) -> Result<(), Error> {
    let increases = |pair: &[f64]| pair[1] > pair[0];
    match values.windows(2).position(|pair| !increases(pair)) {
        None => Ok(()),
        Some(i) => Err(Error::Grid { grid, index: i + 1, value: values[i + 1], previous: values[i] }),
    }
}
