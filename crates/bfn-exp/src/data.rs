//! `bfn data`: what data there are, getting them, checking them, looking at them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bfn_core::VariableKind;
use bfn_data::{
    CifarRecords, Dataset, Download, Draw, Fetched, Idx, KNOWN, KnownDataset, Layout, NpyArray, Root, Seed, Split,
    Symbols, Text, Values, Verdict, Windows, decode_image, table,
};
use clap::{Args, Subcommand};

use crate::config::{
    Cifar10Config, DataConfig, DigitsConfig, Experiment, FlipConfig, MnistConfig, PixelsConfig, Text8Config,
};
use crate::form::{Arrangement, Form};
use crate::picture::{self, Format};
use crate::progress::Progress;
use crate::run::write_file;
use crate::task::Source;

/// What `bfn data` does.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Say what is known by name: where it was looked for, what is there, sizes, licences, addresses.
    List(RootArgs),
    /// Get a data set from public sources, checked before it takes its name.
    Fetch {
        /// mnist, cifar10 or text8.
        name: String,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Check the files of a data set, or one file of any kind that is known.
    Verify {
        /// digits, mnist, cifar10 or text8, or a path.
        what: String,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Count, average and show examples of a data set.
    Show(ShowArgs),
}

/// Where data lie.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// The folder to look in first, before $BFN_DATA and the cache folder; what is fetched goes there.
    #[arg(long, value_name = "FOLDER")]
    pub root: Option<PathBuf>,
}

/// Arguments of `bfn data show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// digits, mnist, cifar10 or text8, or an experiment file, whose [data] is shown.
    pub what: String,
    /// .png for images, .txt for text, .csv for tables.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How many examples to write.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    #[command(flatten)]
    pub root: RootArgs,
}

/// Carries out the command; results go to stdout.
///
/// # Errors
///
/// A name or path that is not known, files that are missing or not sound, a source that does not answer.
pub fn command(command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::List(root) => list(&root.root()),
        DataCommand::Fetch { name, root } => fetch(name, &root.root()),
        DataCommand::Verify { what, root } => verify(what, &root.root()),
        DataCommand::Show(args) => show(args),
    }
}

impl RootArgs {
    fn root(&self) -> Root {
        Root::new(self.root.clone())
    }
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn list(root: &Root) -> Result<()> {
    let places: Vec<String> = root.places().iter().map(|place| place.display().to_string()).collect();
    println!("looked for in {}\n", places.join(", "));
    for known in &KNOWN {
        println!("{}: {}", known.name, known.title);
        println!("  licence: {}", known.licence);
        let (found, missing) = known.found(root);
        for path in &found {
            let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
            println!("  there:   {} ({})", path.display(), size(bytes));
        }
        for file in &missing {
            println!("  missing: {} (at most {})", file.path, size(file.most_bytes));
            for address in file.addresses {
                println!("           {address} (untried; from {})", known.source);
            }
        }
        if !missing.is_empty() {
            println!("  to get it: bfn data fetch {}", known.name);
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn fetch(name: &str, root: &Root) -> Result<()> {
    let known = known(name)?;
    ensure!(!known.files.is_empty(), "{name} is part of the program; there is nothing to fetch");
    let place = root.places().first().context("no folder for data is known; give one with --root")?;
    for file in known.files {
        let download = Download::of(file, place);
        let mut progress = Progress::new("fetching", 0, file.most_bytes);
        let fetched = download.fetch(|at| {
            progress.set(at.bytes);
            progress.message(at.bytes, file.path);
        });
        progress.finish();
        let word = match fetched? {
            Fetched::New => "fetched",
            Fetched::Present => "already there",
        };
        println!("{word}, its SHA-256 is right: {}", download.path.display());
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static KnownDataset> {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    KnownDataset::of_name(name).with_context(|| format!("{name:?} is not known by name; {} are", names.join(", ")))
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn verify(what: &str, root: &Root) -> Result<()> {
    let path = Path::new(what);
    let Some(known) = KnownDataset::of_name(what) else {
        ensure!(path.exists(), "{what:?} is neither a data set that is known by name nor a file that is there");
        let checked = KNOWN.iter().map(|known| known.check(path)).collect::<Result<Vec<_>, _>>()?;
        if let Some(checked) = checked.into_iter().flatten().next() {
            if let Verdict::Different { expected, found } = &checked.verdict {
                eprintln!("{what} is not the published file of this name: its SHA-256 is {found}, not {expected}");
            } else {
                println!("{what}: whole, {}: its SHA-256 is the published one", size(checked.bytes));
                return Ok(());
            }
        }
        println!("{what}: {}", described(path)?);
        return Ok(());
    };
    if known.files.is_empty() {
        for split in SPLITS {
            println!("{what}, {split}: {} examples", bfn_data::digits(split)?.len());
        }
        return Ok(());
    }
    let (found, missing) = known.found(root);
    let mut wrong: Vec<String> = missing.iter().map(|file| format!("{} is missing", file.path)).collect();
    for path in found {
        let shown = path.display();
        match known.check(&path)? {
            None => println!("{shown}: {} (no SHA-256 is published for it)", described(&path)?),
            Some(checked) => match checked.verdict {
                Verdict::Whole => println!("{shown}: whole, {}", size(checked.bytes)),
                Verdict::Different { expected, found } => {
                    wrong.push(format!("the SHA-256 of {shown} is {found}, not {expected}"));
                }
            },
        }
    }
    ensure!(wrong.is_empty(), "{what} is not whole: {}", wrong.join("; "));
    Ok(())
}

/// What a file of any kind holds, all of it read.
fn described(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if name.contains("-idx") {
        return Ok(format!("IDX, bytes of the shape {:?}", Idx::parse(path, &bytes)?.shape));
    }
    if ends(&[".bin"]) {
        return Ok(format!("{} records of CIFAR-10", CifarRecords::parse(path, &bytes)?.labels.len()));
    }
    if ends(&[".npy"]) {
        return Ok(format!("an array of the shape {:?}", NpyArray::parse(path, &bytes)?.shape));
    }
    if ends(&[".csv", ".csv.gz", ".parquet"]) {
        let raw = table::RawTable::parse(path, &bytes, &[])?;
        return Ok(format!("a table of {} rows and the columns {:?}", raw.rows(), raw.names()));
    }
    if ends(&[".png", ".jpg", ".jpeg", ".webp"]) {
        let options = bfn_data::FolderOptions {
            height: 8,
            width: 8,
            colour: bfn_data::Colour::Rgb,
            bins: 256,
            flip: bfn_data::Flip::Never,
            shares: bfn_data::Shares::default(),
        };
        decode_image(path, &bytes, &options)?;
        return Ok("an image".to_owned());
    }
    let text = Text::parse(&[(path, &bytes)], &Symbols::FromText)?;
    Ok(format!("a text of {} characters, {} different ones", text.symbols(), text.vocabulary().classes()))
}

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn show(args: &ShowArgs) -> Result<()> {
    let data = data_of(args)?;
    let mut first = None;
    for split in SPLITS {
        let source = data.open(split, Windows::InOrder)?;
        println!("{}, {split}: {} examples", source.title, source.dataset.len());
        summarise(source.dataset.as_ref())?;
        first.get_or_insert(source);
    }
    match (&args.out, first) {
        (Some(path), Some(source)) => write(path, &source, args.count as usize),
        _ => Ok(()),
    }
}

/// The data that are asked for by name or by an experiment.
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

/// Prints counts and means: of all, of the channels of images, of the examples of each class, of the symbols of texts.
#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn summarise(data: &dyn Dataset) -> Result<()> {
    let variables = data.layout().variables();
    // As many means as an image has channels, or a table columns.
    let groups = match data.layout() {
        Layout::Image { channels, .. } => *channels,
        Layout::Table { columns } => columns.variables().len(),
        _ => 1,
    };
    let names = data.label_names();
    let (mut sums, mut of_class) = (vec![0.0; groups], vec![(0_u64, 0.0); names.len()]);
    let symbols = match (data.layout(), data.kind(0)) {
        (Layout::Text { .. }, VariableKind::Discrete { classes }) => classes,
        _ => 0,
    };
    let mut counts = vec![0_u64; symbols];
    let mut example = Values::zeros(data.storage(), 1, variables);
    for index in 0..data.len() {
        data.read(index, DRAW, example.row_mut(0))?;
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
        for (variable, sum) in columns.variables().iter().zip(&sums) {
            let name = &columns.columns()[variable.column].name;
            println!("  {name}, {:?}, {:?}: mean {:.4}", variable.role, variable.kind, sum / per_group);
        }
        return Ok(());
    }
    let means: Vec<String> = sums.iter().map(|sum| format!("{:.3}", sum / per_group)).collect();
    println!("  {variables} variables, {:?}; mean {}", data.kind(0), means.join(", "));
    for (name, (count, sum)) in names.iter().zip(of_class) {
        println!("  class {name}: {count} examples, mean {:.3}", sum / count.max(1) as f64);
    }
    Ok(())
}

const DRAW: Draw = Draw { seed: Seed(0), epoch: 0 };

/// Writes the first examples of a split.
fn write(path: &Path, source: &Source, count: usize) -> Result<()> {
    let data = source.dataset.as_ref();
    let form = Form::of(data)?;
    let variables = form.dimensions();
    let mut values = Vec::new();
    let mut example = Values::zeros(data.storage(), 1, variables);
    for index in 0..count.min(data.len()) {
        data.read(index, DRAW, example.row_mut(0))?;
        values.extend((0..variables).map(|variable| example.at(0, variable)));
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let wrong = |what: &str, right: &str| {
        let shown = path.display();
        anyhow::anyhow!("{shown}: these data are {what}; use {right}")
    };
    match &form.arrangement {
        Arrangement::Image { height, width, channels } => {
            ensure!(ending == "png", wrong("images", ".png"));
            let levels = form.values();
            let whole = |value: &f64| if levels > 1 { *value as usize } else { ((value + 1.0) * 127.5) as usize };
            let pixels: Vec<usize> = values.iter().map(whole).collect();
            let levels = if levels > 1 { levels } else { 256 };
            picture::write_grid(path, &pixels, Format { height: *height, width: *width, channels: *channels, levels })
        }
        Arrangement::Table { columns } => {
            ensure!(ending == "csv", wrong("rows of a table", ".csv"));
            write_file(path, &columns.to_csv(values.chunks_exact(variables))?)
        }
        Arrangement::Sequence { .. } => Err(wrong("sequences", "none: they are numbers in your own file")),
        _ => {
            ensure!(ending == "txt", wrong("text", ".txt"));
            let vocabulary = form.vocabulary()?.context("text has a vocabulary")?;
            let mut text = Vec::new();
            for window in values.chunks_exact(variables) {
                let classes: Vec<usize> = window.iter().map(|class| *class as usize).collect();
                text.extend(vocabulary.decode(&classes));
                text.push(b'\n');
            }
            write_file(path, &text)
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
