//! `bfn data`: lists, fetches, verifies and shows data.

mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bfn_data::{
    CifarRecords, Dataset, Download, Fetched, Idx, KNOWN, KnownDataset, NpyArray, Root, Symbols, Text, Verdict,
    decode_image, table,
};
use clap::{Args, Subcommand};

use self::show::{SPLITS, show};
use crate::progress::{Progress, tell};

/// The subcommands of `bfn data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the data sets that are known by name: folders searched, files found, sizes, licences, addresses.
    List(RootArgs),
    /// Download a data set from public sources; each file is checked before it gets its name.
    Fetch {
        /// The name of the data set: mnist, cifar10 or text8.
        name: String,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Check the files of a data set, or one file of any known kind.
    Verify {
        /// The name of the data set (digits, mnist, cifar10 or text8), or a path.
        what: String,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Count, average and show the examples of a data set.
    Show(ShowArgs),
}

/// The location of data.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// The folder to search first, before $BFN_DATA and the cache folder; downloads are stored there.
    #[arg(long, value_name = "FOLDER")]
    pub root: Option<PathBuf>,
}

/// Arguments of `bfn data show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The name of the data set (digits, mnist, cifar10 or text8), or an experiment file, whose `[data]` is shown.
    pub what: String,
    /// Write the first training examples to this file: .png for images (without an ending a folder of PNG files), .txt
    /// for text, .csv for tables, .npz or .safetensors for any data.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Number of examples to write.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    #[command(flatten)]
    pub root: RootArgs,
}

/// Carries out the command and prints its results to stdout.
///
/// # Errors
///
/// Returns an error if a name or path is unknown, a file is missing or damaged, or a source does not respond.
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
                tell(format_args!(
                    "{what} is not the published file of this name: its SHA-256 is {found}, not {expected}"
                ));
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

/// Reads a whole file of any known kind and describes its content.
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
    if ends(&[".npz"]) {
        let shape = |name: &String| -> Result<String> {
            Ok(format!("{name} of the shape {:?}", NpyArray::parse_file(path, &bytes, Some(name))?.shape))
        };
        let shapes = NpyArray::names(path, &bytes)?.iter().map(shape).collect::<Result<Vec<_>>>()?;
        ensure!(!shapes.is_empty(), "{} holds no array", path.display());
        return Ok(format!("arrays: {}", shapes.join(", ")));
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

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
