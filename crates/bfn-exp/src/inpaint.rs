//! `bfn inpaint`: draws the missing parts of an image, a text or rows of a table.

mod given;
mod shown;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bfn_core::sampler::{Particles, Passes, Sampler};
use bfn_data::Seed;
use bfn_nets::device::DeviceChoice;
use clap::Args;

use self::given::{Task, read};
use crate::completion::{Given, Group, Way};
use crate::conditioning::{ConditionArgs, Conditions};
use crate::draws::SampleNoise;
use crate::form::Arrangement;
use crate::mask::MaskArgs;
use crate::progress::{Progress, say};
use crate::run::{Trained, Which};
use crate::solver::{GridName, LastName, SolverArgs, SolverName};
use crate::target::{Target, texts};
use crate::task::Arithmetic;

/// Arguments of `bfn inpaint`.
#[derive(Debug, Args)]
pub struct InpaintArgs {
    /// The folder of the run.
    pub run: PathBuf,
    /// An image of the size that the run was trained on, of which a part is filled in; or a .csv or .parquet file
    /// with the table's columns, whose empty cells are filled in.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Use this example of the test split, counted from 0, instead of an image file.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["input", "text"])]
    pub example: Option<u64>,
    #[command(flatten)]
    pub mask: MaskArgs,
    /// Text with blanks, such as "the c__ sat". A text shorter than the run's texts is continued.
    #[arg(long, conflicts_with = "input")]
    pub text: Option<String>,
    /// The character that stands for a blank.
    #[arg(long, default_value_t = '_', value_name = "CHARACTER")]
    pub blank: char,
    /// How many completions to draw for each image, text or row.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// The number of sampling steps n.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    #[command(flatten)]
    pub solver: SolverArgs,
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// How often each stretch of steps is run. More than one pass makes the known and the drawn parts fit together
    /// better.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub passes: u32,
    /// The number of steps in a stretch.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub stretch: u32,
    /// Sequential Monte Carlo: draw each completion from this many particles, weighted by how well they predicted the
    /// known part.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub particles: Option<u32>,
    /// How many samples, or particles, to draw in one batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// The seed of all draws.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The output file: .png for a picture of the known part, the mask, the completions and the input; otherwise as
    /// for `bfn sample`. By default inpainted.png, inpainted.txt or inpainted.csv in RUN.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub which: Which,
    /// Where to compute: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Draws and writes completions, and prints statistics of the particles.
///
/// # Errors
///
/// Returns an error if the run is missing or incomplete, if the input does not fit it, or if the file's extension
/// does not fit the data.
pub fn command(args: &InpaintArgs) -> Result<()> {
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    let conditions = Conditions::new(&args.condition, &trained, args.count as usize)?;
    let form = &trained.task.form;
    let path = args.out.clone().unwrap_or_else(|| Target::default_path(&args.run, "inpainted", &form.arrangement));
    let target = Target::new(&path, &form.arrangement)?;
    let Task { given, whole, table } = read(args, &trained)?;
    let way = Drawing::new(args, &trained)?;

    let drawn = way.draw(args, &trained, &conditions, &given)?;
    let variables = form.dimensions();
    match (&form.arrangement, path.extension()) {
        (Arrangement::Image { .. }, Some(ending)) if ending.eq_ignore_ascii_case("png") => {
            shown::picture(&given, &drawn.values, &whole, form)?.write(&path)?;
        }
        _ => target.write_filled(&drawn.values, form, table.as_ref().map(|raw| (raw, args.count as usize)))?,
    }
    if form.arrangement.is_text() {
        print_texts(&texts(&drawn.values, form)?);
    }
    let hidden = given.known.iter().filter(|known| !**known).count();
    say(format_args!(
        "{} completions of {hidden} unknown among {} variables, in {} evaluations of the network each: {}",
        drawn.values.len() / variables,
        given.values.len(),
        drawn.evaluations,
        path.display()
    ));
    print_groups(&drawn.groups, args);
    Ok(())
}

/// All completions.
struct AllDrawn {
    values: Vec<f64>,
    evaluations: usize,
    groups: Vec<Group>,
}

/// The sampler that the arguments select.
enum Drawing {
    Sampler(Sampler),
    Particles(Particles),
}

impl Drawing {
    fn new(args: &InpaintArgs, trained: &Trained) -> Result<Self> {
        let steps = args.steps as usize;
        let Some(count) = args.particles else {
            let passes = Passes::new(args.passes as usize, args.stretch as usize)?;
            return Ok(Self::Sampler(args.solver.sampler(trained, steps)?.with_passes(passes)));
        };
        let plain = SolverArgs {
            solver: SolverName::Ancestral,
            start_time: None,
            temperature: 1.0,
            choice: None,
            last: LastName::Evaluate,
            grid: args.solver.grid,
        };
        ensure!(
            args.solver == plain && args.passes == 1,
            "--particles are weighed under the ancestral sampler; leave out --solver, --start-time, --temperature, \
             --choice, --last and --passes"
        );
        let grid = GridName::of(args.solver.grid, trained, 0.0, steps)?;
        Ok(Self::Particles(Particles::new(grid, count as usize).context("in --grid")?))
    }

    fn draw(&self, args: &InpaintArgs, trained: &Trained, conditions: &Conditions, given: &Given) -> Result<AllDrawn> {
        let _no_gradient = tch::no_grad_guard();
        let (variables, count) = (trained.task.form.dimensions(), args.count as usize);
        let (way, rows_each, steps) = match self {
            Self::Sampler(sampler) => (Way::Sampler(sampler), 1, sampler.steps()),
            Self::Particles(particles) => (Way::Particles(particles), particles.count(), particles.grid().count()),
        };
        let wanted = given.repeated(variables, count);
        let all = wanted.values.len() / variables;
        let together = (args.batch as usize / rows_each).max(1);
        let mut progress = Progress::new("filling in", 0, (all.div_ceil(together) * steps) as u64);
        let mut drawn = AllDrawn { values: Vec::new(), evaluations: 0, groups: Vec::new() };
        for (number, first) in (0..all).step_by(together).enumerate() {
            let points = first..all.min(first + together);
            let rows: Vec<u64> = (points.start * rows_each..points.end * rows_each).map(|row| row as u64).collect();
            // All particles of a completion have the same condition.
            let completions: Vec<u64> = rows.iter().map(|row| row / rows_each as u64).collect();
            let conditioning = conditions.of(&completions, trained.model.device());
            let given = wanted.part(variables, points).repeated(variables, rows_each);
            let mut noise = SampleNoise::new(Seed(args.seed), rows);
            let mut observe = |step: usize, _steps: usize| progress.message((number * steps + step) as u64, "steps");
            let completed = trained.task.objective.complete(
                &trained.model,
                conditioning.as_ref(),
                way,
                &given,
                &mut noise,
                &mut observe,
            );
            drawn.values.extend(completed.values);
            drawn.groups.extend(completed.groups);
            drawn.evaluations = completed.evaluations * rows_each * conditions.calls();
        }
        progress.finish();
        Ok(drawn)
    }
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print_texts(texts: &[Vec<u8>]) {
    texts.iter().for_each(|text| println!("{}", String::from_utf8_lossy(text)));
}

#[allow(clippy::print_stdout, reason = "results are what this command is for")]
fn print_groups(groups: &[Group], args: &InpaintArgs) {
    let Some(particles) = args.particles.filter(|_| !groups.is_empty()) else { return };
    let mean = |of: fn(&Group) -> f64| groups.iter().map(of).sum::<f64>() / groups.len() as f64;
    let least = groups.iter().map(|group| group.least_effective).fold(f64::INFINITY, f64::min);
    println!(
        "effective particles of {particles}: {:.1} at the end, {:.1} at the worst step (means); {least:.1} at the very \
         worst",
        mean(|group| group.last_effective),
        mean(|group| group.least_effective)
    );
    for (input, groups) in groups.chunks(args.count as usize).enumerate() {
        // The mean of the estimates of p is unbiased; the mean of their logarithms is not.
        let peak = groups.iter().map(|group| group.ln_evidence).fold(f64::NEG_INFINITY, f64::max);
        let share = groups.iter().map(|group| (group.ln_evidence - peak).exp()).sum::<f64>() / groups.len() as f64;
        println!("input {input}: ln p(known) = {:.3} nats", peak + share.ln());
    }
}
