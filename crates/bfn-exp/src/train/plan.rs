//! The plan of a training: the experiment, the folder, and whether to resume.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cli::TrainArgs;
use crate::config::Experiment;
use crate::progress::say;
use crate::run::{Run, has_not_begun};

/// The training that the arguments request.
pub(super) struct Plan {
    pub(super) experiment: Experiment,
    pub(super) folder: PathBuf,
    /// Whether there is a run to resume.
    pub(super) resume: bool,
}

impl Plan {
    pub(super) fn of(args: &TrainArgs) -> Result<Self> {
        let resume = args.resume.is_some();
        let named = args.resume.clone().flatten();
        let (file, folder) = match (args.experiment.clone(), args.out.clone(), named) {
            // `--resume EXPERIMENT.toml --out RUN`: the flag was given before the experiment.
            (None, Some(out), Some(run)) if run.is_dir() => return two_runs(&out, &run),
            (None, Some(out), Some(file)) => (file, out),
            (Some(file), None, Some(run)) => (file, run),
            (Some(_), Some(out), Some(run)) => return two_runs(&out, &run),
            // The run contains its experiment.
            (None, None, Some(run)) => (Run::open(&run)?.path("experiment.toml"), run),
            (Some(_), None, None) if resume => bail!("--resume needs the run to continue: --resume RUN"),
            (Some(file), out, None) => (file.clone(), out.unwrap_or_else(|| default_folder(&file))),
            (None, ..) => bail!("which experiment? bfn train EXPERIMENT.toml, or bfn train --resume RUN"),
        };
        let experiment = Experiment::read(&file, &args.overrides)?;
        // A batch queue can thus use the same command line for the first start and all later ones.
        let begun = !has_not_begun(&folder);
        if resume && !begun {
            say(format_args!("there is no run in {} yet: beginning it", folder.display()));
        }
        Ok(Self { experiment, folder, resume: resume && begun })
    }
}

fn two_runs<T>(out: &Path, run: &Path) -> Result<T> {
    bail!("--out {} and --resume {} name two runs; give one of them", out.display(), run.display())
}

/// Returns `runs/NAME-TIME`, from the name of the experiment and the current time (UTC).
fn default_folder(experiment: &Path) -> PathBuf {
    let name = experiment.file_stem().unwrap_or_default().to_string_lossy();
    // The time includes milliseconds because the jobs of an array start within one second.
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let time = now.trim_end_matches('Z').replace(':', "").replace('T', "-");
    Path::new("runs").join(format!("{name}-{time}"))
}
