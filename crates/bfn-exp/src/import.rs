//! `bfn import`: turns a checkpoint of the published code into a run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bfn_nets::published::{fill, parse_state_dict};
use bfn_nets::{Checkpoint, NamedTensor};
use sha2::{Digest, Sha256};
use tch::Device;

use crate::cli::ImportArgs;
use crate::config::Experiment;
use crate::hub;
use crate::model::Model;
use crate::outputs::{check_folder, write_whole_folder};
use crate::progress::{say, tell};
use crate::published::{self, Translation};
use crate::run::{Origin, Record, Run};
use crate::task::{Arithmetic, Task};

/// Creates a run from a published configuration and its weights.
///
/// # Errors
///
/// Returns an error if the configuration is not understood, if the weights are damaged or do not fit its network, or
/// if the folder already exists. Nothing is left behind in these cases.
pub fn command(args: &ImportArgs) -> Result<()> {
    let Translation { experiment, form, notes } = read_config(&args.config)?;
    ensure!(!args.out.exists(), "{} exists already and is not overwritten; choose another --out", args.out.display());
    check_folder(&args.out).context("in --out")?;
    let task = Task::new(&experiment, form, Arithmetic::default())?;
    let weights = match (&args.weights, &args.hub) {
        (Some(path), _) => path.clone(),
        (None, Some(file)) => hub::download(file)?,
        (None, None) => anyhow::bail!("--weights FILE or --hub OWNER/REPO/FILE is needed"),
    };
    let (state, sha256) = read_weights(&weights)?;
    let model = Model::of(&experiment, &task.variables, Device::Cpu)?;
    fill(&weights, model.network(), model.parameters(), &state)?;

    let origin = Origin::Imported { weights: shown(&weights), sha256, config: shown(&args.config) };
    let record = Record::imported(&model, &task, origin);
    write_whole_folder(&args.out, |folder| {
        let (run, _lock) = Run::create(folder, &experiment)?;
        run.write_record(&record)?;
        run.save_weights(&model)
    })?;
    notes.iter().for_each(|note| tell(format_args!("note: {note}")));
    let folder = args.out.display();
    say(format_args!("imported {} parameters; the run is in {folder}", model.parameter_count()));
    say(format_args!(
        "next: bfn evaluate {folder}    bfn sample {folder}    bfn train {folder}/experiment.toml --from {folder}"
    ));
    Ok(())
}

fn read_config(path: &Path) -> Result<Translation> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let translation = published::read(&text).with_context(|| format!("in {}", path.display()))?;
    // The run's experiment file must be a valid experiment.
    Experiment::parse(&translation.experiment.to_toml()?).with_context(|| format!("in {}", path.display()))?;
    Ok(translation)
}

/// Returns the tensors of a `.safetensors` file or of one written by `torch.save`, and the file's SHA-256.
fn read_weights(path: &Path) -> Result<(Vec<NamedTensor>, String)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the weights {}", path.display()))?;
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    say(format_args!("{}: SHA-256 {sha256}", path.display()));
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        let checkpoint = Checkpoint::read_foreign(path)?;
        let named = checkpoint.names().map(|name| Ok(NamedTensor::new(name, &checkpoint.tensor(name)?)));
        return Ok((named.collect::<Result<_>>()?, sha256));
    }
    Ok((parse_state_dict(&bytes, path)?, sha256))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
