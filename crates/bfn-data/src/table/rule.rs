//! The rules for modelling the columns of a table.

use crate::error::DataError;

use super::RawTable;

/// A rule for modelling some columns.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnRule {
    /// The names of the columns; one `*` in a name stands for anything.
    pub names: Vec<String>,
    /// What the columns are modelled as.
    pub kind: ColumnKind,
}

/// The kind of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// Real numbers, mapped to [−1, 1].
    Continuous(RealMap),
    /// Integers, each a bin.
    Integer {
        /// The least value; if absent, that of the data.
        lowest: Option<i64>,
        /// The greatest value; if absent, that of the data.
        highest: Option<i64>,
    },
    /// Classes, by name.
    Categorical {
        /// All classes in their order; if absent, those of the data, sorted.
        classes: Option<Vec<String>>,
    },
}

/// The way in which real numbers are mapped to [−1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RealMap {
    /// The mean is subtracted and the result divided by `clip` standard deviations; numbers farther out are clipped.
    Standardised {
        /// The number of standard deviations between the mean and 1.
        clip: f64,
    },
    /// The numbers are mapped by rank, so that they are uniform on [−1, 1].
    Quantiles,
}

impl ColumnRule {
    /// Returns the columns of a table that have a rule, in the table's order, each with the first rule that names it.
    pub(super) fn matched<'a>(raw: &RawTable, rules: &'a [ColumnRule]) -> Result<Vec<(usize, &'a Self)>, DataError> {
        let is_named = |rule: &Self, name: &str| rule.names.iter().any(|pattern| fits(pattern, name));
        for pattern in rules.iter().flat_map(|rule| &rule.names) {
            if !raw.names.iter().any(|name| fits(pattern, name)) {
                let expected = format!("the name of a column of {}: {:?}", raw.path.display(), raw.names);
                return Err(DataError::invalid("column", expected, format!("{pattern:?}")));
            }
        }
        let rule = |name: &str| rules.iter().find(|rule| is_named(rule, name));
        let columns = raw.names.iter().enumerate();
        let matched: Vec<_> = columns.filter_map(|(column, name)| Some((column, rule(name)?))).collect();
        if matched.is_empty() {
            return Err(DataError::invalid("columns", "at least one", "none"));
        }
        Ok(matched)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}
