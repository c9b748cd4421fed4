//! `bfn export`: writes the weights of a run under the names of the published code.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bfn_nets::published::{state_dict, write_state_dict};
use bfn_nets::{DeviceChoice, Snapshot, parameter};

use crate::cli::ExportArgs;
use crate::outputs::check_file;
use crate::progress::say;
use crate::run::Trained;
use crate::task::Arithmetic;

/// Writes the weights of a run to a file that PyTorch and the published code can read.
///
/// # Errors
///
/// Returns an error if the run does not exist or is not complete, or if the file is of another kind or not writable.
pub fn command(args: &ExportArgs) -> Result<()> {
    let format = Format::of(&args.out)?;
    check_file(&args.out).context("in --out")?;
    let trained = Trained::load(&args.run, args.which, DeviceChoice::Cpu, Arithmetic::default())?;
    let model = &trained.model;
    let state = state_dict(model.network(), &parameter::named(model.parameters()));
    match format {
        Format::StateDict => write_state_dict(&args.out, &state)?,
        Format::Safetensors => {
            let mut snapshot = Snapshot::new();
            snapshot.add("", &state)?;
            snapshot.write(&args.out)?;
        }
    }
    say(format_args!("{} tensors: {}", state.len(), args.out.display()));
    Ok(())
}

/// A file format for weights.
#[derive(Debug, Clone, Copy)]
enum Format {
    StateDict,
    Safetensors,
}

impl Format {
    /// Chooses the format by the path's ending, before anything is read.
    fn of(path: &Path) -> Result<Self> {
        match path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_ref() {
            "pt" | "pth" | "bin" => Ok(Self::StateDict),
            "safetensors" => Ok(Self::Safetensors),
            _ => bail!("{}: weights go to .pt, .pth or .bin (PyTorch) or .safetensors", path.display()),
        }
    }
}
