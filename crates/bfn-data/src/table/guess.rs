//! Guesses of what a column holds.

use std::collections::HashSet;

use super::{Cell, ColumnKind, RawTable, RealMap};

/// A guess of what a column holds, based on its cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The kind that it may be modelled as. `None` if it carries no information about other columns, because it is
    /// constant, or a unique text in most rows.
    pub kind: Option<ColumnKind>,
    /// The number of different values.
    pub different: usize,
    /// The number of cells without a value.
    pub missing: usize,
}

/// The widest range of integers that are treated as bins; those of a wider range are treated as numbers.
const MOST_BINS: i64 = 256;

impl RawTable {
    /// Guesses what a column holds: integers of a narrow range, other numbers, classes, or nothing of use.
    ///
    /// # Panics
    ///
    /// Panics if there is no such column.
    #[must_use]
    pub fn guess(&self, column: usize) -> Guess {
        let cells = self.column(column);
        let there = || cells.iter().filter(|cell| **cell != Cell::Missing);
        let count = there().count();
        let different = there().map(Cell::to_string).collect::<HashSet<String>>().len();
        let integers: Option<Vec<i64>> = there().map(Cell::integer).collect();
        let are_numbers = there().all(|cell| cell.number().is_some_and(f64::is_finite));
        let is_narrow = |integers: &Vec<i64>| {
            let (least, greatest) = (integers.iter().min(), integers.iter().max());
            let span = least.zip(greatest).and_then(|(least, greatest)| greatest.checked_sub(*least));
            span.is_some_and(|span| span < MOST_BINS)
        };
        let kind = match integers {
            _ if different < 2 && count == cells.len() || different == 0 => None,
            Some(integers) if is_narrow(&integers) => Some(ColumnKind::Integer { lowest: None, highest: None }),
            _ if are_numbers => Some(ColumnKind::Continuous(RealMap::Quantiles)),
            _ if 2 * different <= count => Some(ColumnKind::Categorical { classes: None }),
            _ => None,
        };
        Guess { kind, different, missing: cells.len() - count }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn guess(cells: &[&str]) -> Guess {
        let text: String =
            std::iter::once("a,b\n".to_owned()).chain(cells.iter().map(|cell| format!("{cell},0\n"))).collect();
        RawTable::parse(Path::new("x.csv"), text.as_bytes(), &[]).unwrap().guess(0)
    }

    #[test]
    fn columns_are_what_they_look_like() {
        let integer = Some(ColumnKind::Integer { lowest: None, highest: None });
        let continuous = Some(ColumnKind::Continuous(RealMap::Quantiles));
        let categorical = Some(ColumnKind::Categorical { classes: None });
        assert_eq!(guess(&["3", "4.0", "", "255"]), Guess { kind: integer.clone(), different: 3, missing: 1 });
        assert_eq!(guess(&["-9223372036854775808", "9223372036854775807"]).kind, continuous);
        assert_eq!(guess(&["0", "256"]).kind, continuous);
        assert_eq!(guess(&["1.5", "2", "1e3"]), Guess { kind: continuous, different: 3, missing: 0 });
        assert_eq!(guess(&["red", "blue", "red", "blue"]).kind, categorical);
        assert_eq!(guess(&["red", "1", "red", "1"]).kind, categorical);
        // A name in every row; always the same; nothing at all.
        assert_eq!(guess(&["Ann", "Bob", "Cid"]), Guess { kind: None, different: 3, missing: 0 });
        assert_eq!(guess(&["7", "7", "7"]).kind, None);
        assert_eq!(guess(&["", "", ""]).kind, None);
        // Whether the value is missing may be informative.
        assert_eq!(guess(&["7", "", "7"]).kind, integer);
    }
}
