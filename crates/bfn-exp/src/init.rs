//! `bfn init`: writes a commented experiment to start from.

use std::io::Write as _;
use std::path::PathBuf;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};
use bfn_data::Root;
use bfn_data::table::{Guess, RawTable};
use clap::{Args, ValueEnum};
use toml_edit::{DocumentMut, Item, value};

use crate::config::{ColumnKindConfig, ColumnsConfig, RealMapConfig, usual_marks};
use crate::progress::say;

/// The part that all templates share.
const TRAINING: &str = include_str!("../templates/training.toml");

/// Arguments of `bfn init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The kind of data.
    pub kind: Kind,
    /// The file or folder that holds your own data.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// The file to write, or - for stdout. By default KIND.toml in the working folder.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A kind of data that has an experiment template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The embedded 8×8 digits.
    Digits,
    /// MNIST.
    Mnist,
    /// CIFAR-10.
    Cifar10,
    /// text8.
    Text8,
    /// Your own text.
    Text,
    /// A folder of images.
    Images,
    /// A table in CSV or Parquet.
    Table,
    /// A NumPy array.
    Array,
}

/// Writes the experiment.
///
/// # Errors
///
/// Returns an error if the output file already exists or cannot be written, if a path is given for data that do not
/// take one, if the data are missing, or if the table is invalid.
pub fn command(args: &InitArgs) -> Result<()> {
    let kind = args.kind;
    let mut text = kind.experiment(args.data.as_deref().map(|path| path.to_string_lossy()).as_deref())?;
    if let Some(data) = &args.data {
        let path = Root::new(None).file("the data", data)?;
        ensure!(
            path.is_dir() == (kind == Kind::Images),
            "{} is {}",
            path.display(),
            match kind {
                Kind::Images => "no folder; name the one that the images are in",
                _ => "a folder; name the file",
            }
        );
        if kind == Kind::Table {
            text = with_columns(&text, &RawTable::read(&path, &usual_marks())?)?;
        }
    }
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", kind.name())));
    if out.as_os_str() == "-" {
        return io::stdout().write_all(text.as_bytes()).context("cannot write to stdout");
    }
    let shown = out.display();
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&out);
    ensure!(
        !file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists),
        "{shown} exists already and is not overwritten; choose another --out"
    );
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("cannot write {shown}"))?;
    let edit =
        if kind.place().is_some() && args.data.is_none() { "state in it where the data are, then: " } else { "" };
    say(format_args!("wrote {shown}\nnext: {edit}bfn check {shown}    bfn train {shown}"));
    Ok(())
}

/// Returns the experiment with a rule for each kind of column in the table.
fn with_columns(template: &str, table: &RawTable) -> Result<String> {
    let (start, end) = (template.find("[[data.table.columns]]"), template.find("[flow.mixed]"));
    let (before, after) =
        start.zip(end).map(|(start, end)| (&template[..start], &template[end..])).context("no rules")?;
    let guesses: Vec<(&String, Guess)> = table.names().iter().zip((0..).map(|column| table.guess(column))).collect();
    let mut rules = String::new();
    for (kind, comment) in [
        (ColumnKindConfig::Continuous { map: RealMapConfig::Quantiles }, "real numbers by their rank"),
        (
            ColumnKindConfig::Integer { lowest: None, highest: None },
            "one bin per integer, from the smallest to the largest",
        ),
        (ColumnKindConfig::Categorical { classes: None }, "classes by name, as they occur in the data"),
    ] {
        let of_kind = guesses.iter().filter(|(_, guess)| guess.kind == Some(kind.kind()));
        let names: Vec<&String> = of_kind.map(|(name, _)| *name).collect();
        if !names.is_empty() {
            let columns = ColumnsConfig { names: names.into_iter().cloned().collect(), kind };
            let table = toml::Value::try_from(&columns).context("no TOML")?;
            let entry = |key: &str| table.get(key).map(toml::Value::to_string).unwrap_or_default();
            rules += &format!(
                "[[data.table.columns]]\nnames = {}\nkind = {}    # {comment}\n\n",
                entry("names"),
                entry("kind")
            );
        }
    }
    for (name, Guess { different, .. }) in guesses.iter().filter(|(_, guess)| guess.kind.is_none()) {
        rules += &match different {
            0 | 1 => format!("# Left out: {name:?}, which is always the same.\n"),
            _ => format!("# Left out: {name:?}, which has {different} different texts.\n"),
        };
    }
    ensure!(rules.contains("[["), "no column of the table can be modelled: each is constant or different in every row");
    Ok(format!("{before}{}\n\n{after}", rules.trim_end()))
}

impl Kind {
    /// Returns the text of an experiment for data at the given path, or with a path to be filled in.
    ///
    /// # Errors
    ///
    /// Returns an error if a path is given for data that are known by name.
    pub fn experiment(self, data: Option<&str>) -> Result<String> {
        let template = match self {
            Self::Digits => include_str!("../templates/digits.toml"),
            Self::Mnist => include_str!("../templates/mnist.toml"),
            Self::Cifar10 => include_str!("../templates/cifar10.toml"),
            Self::Text8 => include_str!("../templates/text8.toml"),
            Self::Text => include_str!("../templates/text.toml"),
            Self::Images => include_str!("../templates/images.toml"),
            Self::Table => include_str!("../templates/table.toml"),
            Self::Array => include_str!("../templates/array.toml"),
        };
        let text = format!("{template}{TRAINING}");
        let Some(data) = data else { return Ok(text) };
        let name = self.name();
        let Some(key) = self.place() else {
            bail!("{name} is known by name and has no path of its own; data.root says in which folder it lies");
        };
        let mut document: DocumentMut = text.parse().context("the template is no TOML")?;
        let entry = document.get_mut("data").and_then(|item| item.get_mut(name)).and_then(|item| item.get_mut(key));
        if let Some(Item::Value(old)) = entry {
            let comment = old.decor().clone();
            *old = value(data).into_value().unwrap_or_else(|_| data.into());
            *old.decor_mut() = comment;
        }
        Ok(document.to_string())
    }

    /// Returns the name on the command line and in `[data.…]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Mnist => "mnist",
            Self::Cifar10 => "cifar10",
            Self::Text8 => "text8",
            Self::Text => "text",
            Self::Images => "images",
            Self::Table => "table",
            Self::Array => "array",
        }
    }

    /// Returns the key that holds the path, for the user's own data.
    fn place(self) -> Option<&'static str> {
        match self {
            Self::Text | Self::Table | Self::Array => Some("file"),
            Self::Images => Some("folder"),
            Self::Digits | Self::Mnist | Self::Cifar10 | Self::Text8 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bfn_data::{Alphabet, Seed};
    use tch::Device;

    use super::*;
    use crate::config::Experiment;
    use crate::form::{Arrangement, Form, Variable};
    use crate::model::Model;
    use crate::task::{Arithmetic, Task};

    /// Returns the form of data that are unavailable in a test; the other forms are tested with real data.
    fn form(kind: Kind) -> Form {
        let image = |side, channels, variable| {
            let arrangement = Arrangement::Image { height: side, width: side, channels };
            Form { arrangement, variable }
        };
        let text = Arrangement::Text { length: 64, alphabet: Alphabet::text8().to_string() };
        match kind {
            Kind::Digits => image(8, 1, Variable::Discretised(17)),
            Kind::Mnist => image(28, 1, Variable::Discrete(2)),
            Kind::Cifar10 => image(32, 3, Variable::Discretised(256)),
            Kind::Images => image(32, 3, Variable::Discretised(256)),
            Kind::Text8 | Kind::Text => Form { arrangement: text, variable: Variable::Discrete(27) },
            Kind::Array | Kind::Table => {
                Form { arrangement: Arrangement::Sequence { length: 12 }, variable: Variable::Continuous }
            }
        }
    }

    #[test]
    fn every_template_is_an_experiment_whose_network_can_be_built() {
        for kind in Kind::value_variants() {
            let text = kind.experiment(None).expect("a template");
            let experiment = Experiment::parse(&text).unwrap_or_else(|error| panic!("{}: {error:#}", kind.name()));
            assert_eq!(experiment.data.name(), format!("data.{}", kind.name()));
            if *kind == Kind::Table {
                continue;
            }
            let task = Task::new(&experiment, form(*kind), Arithmetic::default()).expect("the flow fits");
            let precision = experiment.training.precision;
            let model = Model::new(&experiment.network, &task.variables, Device::Cpu, precision, Seed(0));
            assert!(model.expect("the network fits").parameter_count() > 10_000);
        }
    }

    #[test]
    fn a_path_is_filled_in_and_the_comments_stay() {
        for kind in Kind::value_variants() {
            let with_path = kind.experiment(Some("my \"own\" data"));
            if kind.place().is_none() {
                assert!(with_path.is_err());
                continue;
            }
            let text = with_path.expect("a template");
            let without = kind.experiment(None).expect("a template");
            let differing = text.lines().zip(without.lines()).filter(|(a, b)| a != b).count();
            assert_eq!((differing, text.lines().count()), (1, without.lines().count()), "{text}");
            let table: toml::Table = text.parse().expect("TOML");
            let place = table["data"][kind.name()][kind.place().expect("a path")].as_str();
            assert_eq!(place, Some("my \"own\" data"));
        }
    }
}
