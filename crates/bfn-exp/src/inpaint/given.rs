//! The known part: images with masks, texts with blanks, rows with empty cells.

use anyhow::{Context, Result, bail, ensure};
use bfn_data::table::{Columns, RawTable};
use bfn_data::{Split, Vocabulary, Windows};

use super::InpaintArgs;
use crate::completion::Given;
use crate::form::{Arrangement, Form, Variable};
use crate::picture::pixels;
use crate::progress::tell;
use crate::run::Trained;
use crate::target::image_format;

/// The input of `bfn inpaint`.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) given: Given,
    /// The values of an input image, including the hidden part; otherwise empty.
    pub(super) whole: Vec<f64>,
    /// The input table, if the input is a table.
    pub(super) table: Option<RawTable>,
}

/// Reads the input that the arguments name, in the form of the run's data.
pub(super) fn read(args: &InpaintArgs, trained: &Trained) -> Result<Task> {
    let form = &trained.task.form;
    let mut table = None;
    let mut given = match &form.arrangement {
        Arrangement::Image { .. } => {
            refuse(args.text.is_some(), "--text", "images")?;
            return image(args, trained);
        }
        Arrangement::Table { columns } => {
            refuse(args.text.is_some(), "--text", "rows of a table")?;
            refuse(args.example.is_some(), "--example", "rows of a table")?;
            refuse_masks(args, "rows of a table")?;
            let missing = "give the rows as --input ROWS.csv, with empty cells where they are to be filled";
            let path = args.input.as_ref().context(missing)?;
            let blank = trained.experiment.data.table.as_ref().map(|table| table.missing.clone()).unwrap_or_default();
            let raw = RawTable::read(path, &blank)?;
            let given = rows(&raw, columns)?;
            table = Some(raw);
            given
        }
        Arrangement::Sequence { .. } => bail!("bfn inpaint fills in images, texts and tables, not sequences"),
        _ => {
            refuse(args.input.is_some(), "--input", "texts")?;
            refuse(args.example.is_some(), "--example", "texts")?;
            refuse_masks(args, "texts")?;
            let missing = format!("give the text as --text \"…\", with {:?} for each blank", args.blank);
            text(args.text.as_ref().context(missing)?, args.blank, form)?
        }
    };
    let hidden = given.known.iter().filter(|known| !**known).count();
    ensure!(hidden > 0, "nothing is to be filled: the input has no blank or empty cell");
    // The values of blanks are never read, so any class will do.
    given.values.iter_mut().zip(&given.known).filter(|(_, known)| !**known).for_each(|(value, _)| *value = 0.0);
    Ok(Task { given, whole: Vec::new(), table })
}

fn refuse(is_given: bool, option: &str, data: &str) -> Result<()> {
    ensure!(!is_given, "the run was trained on {data}; {option} is for other data");
    Ok(())
}

fn refuse_masks(args: &InpaintArgs, data: &str) -> Result<()> {
    refuse(args.mask.mask.is_some(), "--mask", data)?;
    refuse(args.mask.hide.is_some(), "--hide", data)
}

fn image(args: &InpaintArgs, trained: &Trained) -> Result<Task> {
    let form = &trained.task.form;
    let format = image_format(form)?;
    let whole = match (&args.input, args.example) {
        (Some(path), _) => {
            let hint = format!("the run was trained on {}×{}: scale or cut it first", format.width, format.height);
            let bytes = pixels(path, format, &hint)?;
            bytes.into_iter().map(|byte| value(byte, form)).collect()
        }
        (None, Some(number)) => example(number, trained)?,
        (None, None) => bail!("which image? --input FILE, or --example NUMBER for one of the test split"),
    };
    let missing = "which part is to be filled? --mask FILE, an image that is white there, or --hide \
                   left|right|top|bottom|centre";
    let hidden = args.mask.hidden(format)?.context(missing)?;
    let known = hidden.iter().flat_map(|hidden| vec![!hidden; format.channels]).collect();
    Ok(Task { given: Given { values: whole.clone(), known }, whole, table: None })
}

/// Returns the value that `bfn sample` writes as this byte, or the nearest one.
fn value(byte: u8, form: &Form) -> f64 {
    match form.variable {
        Variable::Discretised(levels) | Variable::Discrete(levels) => {
            (f64::from(byte) * (levels as f64 - 1.0) / 255.0).round()
        }
        Variable::Continuous | Variable::Mixed => f64::from(byte) / 127.5 - 1.0,
    }
}

fn example(number: u64, trained: &Trained) -> Result<Vec<f64>> {
    let source = trained.open(Split::Test, Windows::InOrder)?;
    let (index, examples) = (number as usize, source.dataset.len());
    ensure!(
        number < examples as u64,
        "--example {number}: the test split of {} has {examples} examples, counted from 0",
        source.title
    );
    source.values(index..index + 1)
}

fn text(text: &str, blank: char, form: &Form) -> Result<Given> {
    let length = form.dimensions();
    let class: Box<dyn Fn(char) -> Option<f64>> = match form.vocabulary()? {
        Some(Vocabulary::Characters(alphabet)) => {
            ensure!(
                alphabet.class(blank).is_none(),
                "{blank:?} is a letter of the run's alphabet and cannot stand for a blank; choose another with --blank"
            );
            Box::new(move |symbol| alphabet.class(symbol).map(f64::from))
        }
        Some(Vocabulary::Bytes) => Box::new(|symbol| u8::try_from(symbol).ok().filter(u8::is_ascii).map(f64::from)),
        _ => {
            bail!("the run was trained on tokens, which are not letters; bfn inpaint fills blanks in letters and bytes")
        }
    };
    let mut given = Given { values: vec![0.0; length], known: vec![false; length] };
    let symbols: Vec<char> = text.chars().collect();
    ensure!(
        symbols.len() <= length,
        "--text has {} characters; the run was trained on texts of {length}: shorten it",
        symbols.len()
    );
    for (place, symbol) in symbols.into_iter().enumerate().filter(|(_, symbol)| *symbol != blank) {
        given.values[place] = class(symbol).with_context(|| {
            format!(
                "--text: {symbol:?}, character {} of it, is not in the run's alphabet; use its letters, and {blank:?} \
                 for blanks",
                place + 1
            )
        })?;
        given.known[place] = true;
    }
    Ok(given)
}

fn rows(raw: &RawTable, columns: &Columns) -> Result<Given> {
    let mut given = Given { values: Vec::new(), known: Vec::new() };
    for row in 0..raw.rows() {
        for value in columns.encode_known(raw, row)? {
            given.values.push(value.unwrap_or(0.0));
            given.known.push(value.is_some());
        }
    }
    for (row, cut) in columns.cut_off(raw)? {
        tell(format_args!("warning: row {}: {cut}; the network gets the nearest number in its range", row + 1));
    }
    Ok(given)
}
