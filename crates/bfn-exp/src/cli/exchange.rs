//! Arguments of the commands that exchange weights with the published code.

use std::path::PathBuf;

use clap::Args;

use crate::hub::HubFile;
use crate::run::Which;

/// Arguments of `bfn import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The configuration file of the published code, in YAML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The weights: a state dict made by torch.save (.pt), or .safetensors with the same names.
    #[arg(long, value_name = "FILE", required_unless_present = "hub", conflicts_with = "hub")]
    pub weights: Option<PathBuf>,
    /// Download the weights from the Hugging Face hub first.
    #[arg(long, value_name = "OWNER/REPO/FILE")]
    pub hub: Option<HubFile>,
    /// The folder for the run.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
}

/// Arguments of `bfn export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// The file to write: .pt for torch.load, or .safetensors.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which network to write.
    #[command(flatten)]
    pub which: Which,
}
