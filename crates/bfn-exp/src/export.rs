//! `bfn export`: the weights of a run under the names of the published code.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bfn_nets::published::{state_dict, write_state_dict};
use bfn_nets::{DeviceChoice, Snapshot, parameter};

use crate::cli::ExportArgs;
use crate::outputs::check_file;
use crate::progress::say;
use crate::run::Trained;
use crate::task::Arithmetic;

/// Writes the weights of a run to a file that PyTorch and the published code read.
///
/// # Errors
///
/// A run that is not there or not complete, a file of another kind or that cannot be written.
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

/// The kinds of file that weights go to.
#[derive(Debug, Clone, Copy)]
enum Format {
    StateDict,
    Safetensors,
}

impl Format {
    /// By the path's ending, checked before anything is read.
    fn of(path: &Path) -> Result<Self> {
        match path.extension().unwrap_or_default().to_string_lossy().to_lowercase().as_ref() {
            "pt" | "pth" | "bin" => Ok(Self::StateDict),
            "safetensors" => Ok(Self::Safetensors),
            _ => bail!("{}: weights go to .pt, .pth or .bin (PyTorch) or .safetensors", path.display()),
        }
    }
}
