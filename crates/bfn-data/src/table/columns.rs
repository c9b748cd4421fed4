//! All modelled columns of a table, and their variables.

use std::collections::HashMap;

use bfn_core::VariableKind;
use csv::Writer;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

use super::{Cell, Column, ColumnRule, RawTable};

/// The modelled columns of a table.
///
/// Their variables are ordered by kind, so that those of one kind are adjacent: real numbers, then bins from few to
/// many, then classes from few to many; within a kind, in the order of the columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Column>", into = "Vec<Column>")]
pub struct Columns {
    columns: Vec<Column>,
    variables: Vec<TableVariable>,
}

/// A variable of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableVariable {
    /// The column it belongs to, counted from 0.
    pub column: usize,
    /// The role that it plays for the column.
    pub role: Role,
    /// The values that it can take.
    pub kind: VariableKind,
}

/// The role of a variable for its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The column's value.
    Value,
    /// Whether the value is missing: class 1 if so.
    Mark,
}

impl From<Vec<Column>> for Columns {
    fn from(columns: Vec<Column>) -> Self {
        let mut variables = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            variables.push(TableVariable { column: place, role: Role::Value, kind: column.kind() });
            if column.has_mark() {
                let kind = VariableKind::Discrete { classes: 2 };
                variables.push(TableVariable { column: place, role: Role::Mark, kind });
            }
        }
        variables.sort_by_key(|variable| match variable.kind {
            VariableKind::Continuous => (0, 0),
            VariableKind::Discretised { bins } => (1, bins),
            VariableKind::Discrete { classes } => (2, classes),
        });
        Self { columns, variables }
    }
}

impl From<Columns> for Vec<Column> {
    fn from(columns: Columns) -> Self {
        columns.columns
    }
}

impl Columns {
    /// Learns from a table what the rules leave open; for real numbers, from the training rows alone.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Cell`] if a cell is not what its column's rule states; [`DataError::Invalid`] if the
    /// rules make no sense.
    pub fn fit(raw: &RawTable, rules: &[ColumnRule], training: &[usize]) -> Result<Self, DataError> {
        let fit = |(column, rule): (usize, &ColumnRule)| Column::fit(raw, column, &rule.kind, training);
        let columns = ColumnRule::matched(raw, rules)?.into_iter().map(fit);
        Ok(columns.collect::<Result<Vec<Column>, _>>()?.into())
    }

    /// Returns the columns, in the table's order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the variables of a row, in their order.
    #[must_use]
    pub fn variables(&self) -> &[TableVariable] {
        &self.variables
    }

    /// Returns the values of a row of a table that has these columns: a real number, or the index of a bin or class.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Cell`] if no value stands for a cell; [`DataError::Invalid`] if the table lacks a column.
    pub fn encode(&self, raw: &RawTable, row: usize) -> Result<Vec<f64>, DataError> {
        self.reader(raw)?.row(row)
    }

    /// Returns the known values of a row that is to be filled in.
    ///
    /// `None` stands for the value of a missing cell. All marks are 0, since the filled row will have no missing
    /// values.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::encode`], except those for missing cells.
    pub fn encode_known(&self, raw: &RawTable, row: usize) -> Result<Vec<Option<f64>>, DataError> {
        let reader = self.reader(raw)?;
        let known = |variable: &TableVariable| {
            Ok(match variable.role {
                Role::Mark => Some(0.0),
                Role::Value if *reader.cell(variable, row) == Cell::Missing => None,
                Role::Value => Some(reader.value(variable, row)?),
            })
        };
        self.variables.iter().map(known).collect()
    }

    /// Returns a reader of rows for a table that has these columns.
    pub(super) fn reader<'a>(&'a self, raw: &'a RawTable) -> Result<Reader<'a>, DataError> {
        let there: HashMap<&str, usize> = raw.names.iter().map(String::as_str).zip(0..).collect();
        let source = |column: &'a Column| {
            let place = there.get(column.name.as_str()).copied().ok_or_else(|| {
                let expected = format!("the column {:?} in {}", column.name, raw.path.display());
                DataError::invalid("column", expected, "none of that name")
            })?;
            Ok(Source { column, place, classes: column.places() })
        };
        let sources = self.columns.iter().map(source).collect::<Result<_, _>>()?;
        Ok(Reader { variables: &self.variables, raw, sources })
    }

    /// Returns the cells that values stand for, in the order of the columns: the reverse of [`Self::encode`].
    ///
    /// # Shapes
    ///
    /// `values`: `[D]`
    ///
    /// # Panics
    ///
    /// Panics if the number of values is not D.
    #[must_use]
    pub fn decode(&self, values: &[f64]) -> Vec<Cell> {
        let (expected, found) = (self.variables.len(), values.len());
        assert_eq!(expected, found, "expected {expected} values, found {found}");
        let mut cells = vec![Cell::Missing; self.columns.len()];
        let mut marked = vec![false; self.columns.len()];
        for (variable, value) in self.variables.iter().zip(values) {
            match variable.role {
                Role::Value => cells[variable.column] = self.columns[variable.column].decode(*value),
                Role::Mark => marked[variable.column] = *value >= 0.5,
            }
        }
        cells.iter_mut().zip(marked).filter(|(_, marked)| *marked).for_each(|(cell, _)| *cell = Cell::Missing);
        cells
    }

    /// Decodes values that a network has drawn in f32, with no more digits than f32 has.
    fn drawn(&self, values: &[f64]) -> Vec<Cell> {
        let rounded = |cell| match cell {
            Cell::Real(value) if (value as f32).is_finite() => {
                Cell::Real((value as f32).to_string().parse().unwrap_or(value))
            }
            other => other,
        };
        self.decode(values).into_iter().map(rounded).collect()
    }

    /// Writes rows of values `[N, D]` as CSV, with the names of the columns in the first line.
    ///
    /// # Errors
    ///
    /// Returns no error at present, since the CSV is written to memory.
    pub fn to_csv<'a>(&self, rows: impl IntoIterator<Item = &'a [f64]>) -> Result<Vec<u8>, DataError> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        csv(names, rows.into_iter().map(|row| self.drawn(row)))
    }

    /// Writes rows of a table as CSV, each with values `[D]` that fill its missing cells.
    ///
    /// All other cells (including those of columns that are not modelled) and the order of columns are the table's.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if the table lacks a column.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn filled_csv<'a>(
        &self,
        raw: &RawTable,
        rows: impl IntoIterator<Item = (usize, &'a [f64])>,
    ) -> Result<Vec<u8>, DataError> {
        let reader = self.reader(raw)?;
        let filled = rows.into_iter().map(|(row, values)| {
            let mut cells: Vec<Cell> = raw.columns.iter().map(|column| column[row].clone()).collect();
            for (source, drawn) in reader.sources.iter().zip(self.drawn(values)) {
                let cell = &mut cells[source.place];
                if *cell == Cell::Missing {
                    *cell = drawn;
                }
            }
            cells
        });
        csv(raw.names.iter().map(String::as_str), filled)
    }

    /// Returns the numbers that are clipped because they lie outside the range of their column.
    ///
    /// Each item is a row and a text with the column's name, the number and the range.
    ///
    /// # Errors
    ///
    /// Returns [`DataError::Invalid`] if the table lacks a column.
    pub fn cut_off(&self, raw: &RawTable) -> Result<Vec<(usize, String)>, DataError> {
        let reader = self.reader(raw)?;
        let cut = |row: usize, source: &Source<'_>| {
            let (number, (low, high)) = (raw.columns[source.place][row].number()?, source.column.transform.range()?);
            (!(low..=high).contains(&number))
                .then(|| (row, format!("{} = {number}, known from {low} to {high}", source.column.name)))
        };
        let of_row = |row| reader.sources.iter().filter_map(move |source| cut(row, source));
        Ok((0..raw.rows).flat_map(of_row).collect())
    }
}

fn csv<'a>(names: impl Iterator<Item = &'a str>, rows: impl Iterator<Item = Vec<Cell>>) -> Result<Vec<u8>, DataError> {
    let unwritable = |error: csv::Error| DataError::unwritable("the table".as_ref(), error.into());
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(names).map_err(unwritable)?;
    for row in rows {
        writer.write_record(row.iter().map(Cell::to_string)).map_err(unwritable)?;
    }
    writer.into_inner().map_err(|error| DataError::unwritable("the table".as_ref(), error.into_error()))
}

/// [`Columns`] together with a table that has them; names are looked up once for all rows.
pub(super) struct Reader<'a> {
    variables: &'a [TableVariable],
    raw: &'a RawTable,
    /// The source of each column.
    sources: Vec<Source<'a>>,
}

struct Source<'a> {
    column: &'a Column,
    /// The index of the column in the table.
    place: usize,
    classes: HashMap<&'a str, usize>,
}

impl Reader<'_> {
    /// Does the work of [`Columns::encode`].
    pub(super) fn row(&self, row: usize) -> Result<Vec<f64>, DataError> {
        let value = |variable: &TableVariable| match variable.role {
            Role::Mark => Ok(f64::from(u8::from(*self.cell(variable, row) == Cell::Missing))),
            Role::Value => self.value(variable, row),
        };
        self.variables.iter().map(value).collect()
    }

    fn cell(&self, variable: &TableVariable, row: usize) -> &Cell {
        &self.raw.columns[self.sources[variable.column].place][row]
    }

    fn value(&self, variable: &TableVariable, row: usize) -> Result<f64, DataError> {
        let Source { column, place, classes } = &self.sources[variable.column];
        column
            .encode(self.cell(variable, row), classes)
            .ok_or_else(|| self.raw.wrong(*place, row, column.transform.to_string()))
    }
}
