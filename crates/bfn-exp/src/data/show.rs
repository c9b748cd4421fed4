//! `bfn data show`: counts, means and examples.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use bfn_core::VariableKind;
use bfn_data::table::{Cell, Column, Columns};
use bfn_data::{Dataset, Draw, KNOWN, Layout, Seed, Split, Values, Windows};

use super::ShowArgs;
use crate::config::{
    Cifar10Config, DataConfig, DigitsConfig, Experiment, FlipConfig, MnistConfig, PixelsConfig, Text8Config,
};
use crate::form::Form;
use crate::target::Target;

/// All splits, in the order in which they are shown.
pub(super) const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// Shows all splits of the data, and writes the first training examples.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
pub(super) fn show(args: &ShowArgs) -> Result<()> {
    let data = data_of(args)?;
    let mut written = None;
    for split in SPLITS {
        let source = data.open(split, Windows::InOrder)?;
        if let (Split::Train, Some(path)) = (split, &args.out) {
            // An output that cannot be written is refused before the counting, which may take long.
            let form = Form::of(source.dataset.as_ref())?;
            written = Some((Target::new(path, &form.arrangement)?, source.values(0..args.count as usize)?, form));
        }
        println!("{}, {split}: {} examples", source.title, source.dataset.len());
        summarise(source.dataset.as_ref())?;
    }
    written.map_or(Ok(()), |(target, values, form)| target.write(&values, &form))
}

/// Returns the data that are requested by name or by an experiment file.
fn data_of(args: &ShowArgs) -> Result<DataConfig> {
    let none = DataConfig { root: args.root.root.clone(), ..DataConfig::default() };
    Ok(match args.what.as_str() {
        "digits" => DataConfig { digits: Some(DigitsConfig {}), ..none },
        "mnist" => DataConfig { mnist: Some(MnistConfig { pixels: PixelsConfig::Grey { bins: 256 } }), ..none },
        "cifar10" => DataConfig { cifar10: Some(Cifar10Config { bins: 256, flip: FlipConfig::Never }), ..none },
        "text8" => DataConfig { text8: Some(Text8Config { length: 256 }), ..none },
        path if Path::new(path).is_file() => {
            let data = Experiment::read(Path::new(path), &[])?.data;
            DataConfig { root: args.root.root.clone().or(data.root.clone()), ..data }
        }
        other => {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            bail!("{other:?} is neither known by name ({}) nor an experiment file that is there", names.join(", "))
        }
    })
}

/// Prints counts and means: of all examples, of image channels, of each class, of the symbols of texts.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn summarise(data: &dyn Dataset) -> Result<()> {
    let variables = data.layout().variables();
    // An image has one mean for each channel.
    let groups = match data.layout() {
        Layout::Image { channels, .. } => *channels,
        _ => 1,
    };
    let names = data.label_names();
    let (mut sums, mut of_class) = (vec![0.0; groups], vec![(0_u64, 0.0); names.len()]);
    let symbols = match (data.layout(), data.kind(0)) {
        (Layout::Text { .. }, VariableKind::Discrete { classes }) => classes,
        _ => 0,
    };
    let mut counts = vec![0_u64; symbols];
    let mut of_column = Vec::new();
    let mut example = Values::zeros(data.storage(), 1, variables);
    for index in 0..data.len() {
        data.read(index, Draw { seed: Seed(0), epoch: 0 }, example.row_mut(0))?;
        if let Layout::Table { columns } = data.layout() {
            let row: Vec<f64> = (0..variables).map(|variable| example.at(0, variable)).collect();
            of_column.resize_with(columns.columns().len(), Seen::default);
            of_column.iter_mut().zip(columns.decode(&row)).for_each(|(seen, cell)| seen.add(cell));
        }
        let mut total = 0.0;
        for variable in 0..variables {
            let value = example.at(0, variable);
            sums[variable % groups] += value;
            total += value;
            if let Some(count) = counts.get_mut(value as usize) {
                *count += 1;
            }
        }
        if let Some((count, sum)) = data.label(index).and_then(|label| of_class.get_mut(label as usize)) {
            *count += 1;
            *sum += total / variables as f64;
        }
    }
    let per_group = (data.len() * variables / groups) as f64;
    if let Layout::Text { vocabulary, .. } = data.layout() {
        let total: u64 = counts.iter().sum();
        let mut order: Vec<usize> = (0..symbols).collect();
        order.sort_by_key(|class| std::cmp::Reverse(counts[*class]));
        let share = |class: &usize| {
            let symbol = String::from_utf8_lossy(&vocabulary.decode(&[*class])).into_owned();
            format!("{symbol:?} {:.2} %", 100.0 * counts[*class] as f64 / total.max(1) as f64)
        };
        let most: Vec<String> = order.iter().take(12).map(share).collect();
        println!("  {symbols} symbols; the most frequent: {}", most.join(", "));
        return Ok(());
    }
    if let Layout::Table { columns } = data.layout() {
        print_columns(columns, &of_column, data.len());
        return Ok(());
    }
    let means: Vec<String> = sums.iter().map(|sum| format!("{:.3}", sum / per_group)).collect();
    println!("  {variables} variables, {:?}; mean {}", data.kind(0), means.join(", "));
    for (name, (count, sum)) in names.iter().zip(of_class) {
        println!("  class {name}: {count} examples, mean {:.3}", sum / count.max(1) as f64);
    }
    Ok(())
}

/// The statistics of a table column.
#[derive(Debug, Default)]
struct Seen {
    missing: u64,
    /// The count of numbers; `sum` is their sum.
    numbers: u64,
    sum: f64,
    classes: BTreeMap<String, u64>,
}

impl Seen {
    fn add(&mut self, cell: Cell) {
        let mut number = |number: f64| {
            self.numbers += 1;
            self.sum += number;
        };
        match cell {
            Cell::Missing => self.missing += 1,
            Cell::Real(value) => number(value),
            Cell::Integer(value) => number(value as f64),
            Cell::Text(class) => *self.classes.entry(class.into()).or_default() += 1,
        }
    }
}

/// Prints the columns: means of numbers, the most frequent classes, shares of missing values.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print_columns(columns: &Columns, seen: &[Seen], rows: usize) {
    const SHOWN: usize = 5;
    let share = |what: &str, count: u64| format!("{what} {:.1} %", 100.0 * count as f64 / rows.max(1) as f64);
    for (Column { name, transform, .. }, Seen { missing, numbers, sum, classes }) in columns.columns().iter().zip(seen)
    {
        let mut parts = Vec::new();
        if *numbers > 0 {
            parts.push(format!("mean {:.4}", sum / *numbers as f64));
        }
        let mut order: Vec<(&String, &u64)> = classes.iter().collect();
        order.sort_by_key(|(_, count)| Reverse(**count));
        parts.extend(order.iter().take(SHOWN).map(|(class, count)| share(class, **count)));
        if *missing > 0 {
            parts.push(share("missing", *missing));
        }
        println!("  {name}, {transform}: {}", parts.join(", "));
    }
}
