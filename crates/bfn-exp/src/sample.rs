//! `bfn sample`: draws samples from a trained network.

use anyhow::Result;
use bfn_core::sampler::Sampler;
use bfn_data::Seed;

use crate::cli::SampleArgs;
use crate::conditioning::{Conditions, rounded_up};
use crate::draws::SampleNoise;
use crate::generative::View;
use crate::model::Model;
use crate::progress::{Progress, say};
use crate::run::Trained;
use crate::target::Target;
use crate::task::{Arithmetic, Task};
use crate::trajectory::Trajectory;

/// Draws samples and writes them to a file.
///
/// # Errors
///
/// Returns an error if the run is missing or incomplete, or if the file's extension does not fit the data.
pub fn command(args: &SampleArgs) -> Result<()> {
    let trained = Trained::load(&args.run, args.which, args.device, Arithmetic::default())?;
    let conditions = Conditions::new(&args.condition, &trained, args.count as usize)?;
    let count = rounded_up(args.count as usize, conditions.images());
    let task = &trained.task;
    let path = args.out.clone().unwrap_or_else(|| Target::default_path(&args.run, "samples", &task.form.arrangement));
    let target = Target::new(&path, &task.form.arrangement)?;
    let mut trajectory = args.trajectory.as_ref().map(|path| Trajectory::new(path, &task.form)).transpose()?;
    let sampler = args.solver.sampler(&trained, args.steps as usize)?;

    let (model, seed) = (&trained.model, Seed(args.seed));
    let draws = Draws { task, model, conditions: &conditions, sampler: &sampler, seed, batch: args.batch };
    let samples = draws.draw(count, &mut |batch, view| {
        // The samples that are shown are in the first batch.
        match trajectory.as_mut().filter(|_| batch == 0) {
            Some(trajectory) => trajectory.record(view),
            None => Ok(()),
        }
    })?;
    target.write_conditioned(&samples.values, &task.form, conditions.images())?;
    say(format_args!("{count} samples in {} evaluations of the network each: {}", samples.evaluations, path.display()));
    if let Some(trajectory) = trajectory {
        let paths: Vec<String> = trajectory.write()?.iter().map(|path| path.display().to_string()).collect();
        say(format_args!("the flow through time: {}", paths.join(", ")));
    }
    Ok(())
}

/// A way to draw any number of samples in batches; sample s always uses the same noise.
#[derive(Debug, Clone, Copy)]
pub struct Draws<'a> {
    /// The flow and the form of the data.
    pub task: &'a Task,
    /// The network.
    pub model: &'a Model,
    /// The conditions of the samples.
    pub conditions: &'a Conditions,
    /// The sampler.
    pub sampler: &'a Sampler,
    /// The seed of all noise.
    pub seed: Seed,
    /// The number of samples per batch; at least 1.
    pub batch: u32,
}

/// Samples, and the number of evaluations they took.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Bins or classes as whole numbers, real numbers as they are, `[count, D]` in row-major order.
    pub values: Vec<f64>,
    /// Evaluations of the network for each sample.
    pub evaluations: usize,
}

impl Draws<'_> {
    /// Draws samples and passes every step of every batch to `observe`, with the batch's number.
    ///
    /// # Errors
    ///
    /// Returns the first error that `observe` returns.
    pub fn draw(&self, count: usize, observe: &mut dyn FnMut(usize, &View<'_>) -> Result<()>) -> Result<Samples> {
        let _no_gradient = tch::no_grad_guard();
        let (batch, variables) = (self.batch as usize, self.task.form.dimensions());
        let batches = count.div_ceil(batch);
        let steps = self.sampler.grid().count();
        let mut progress = Progress::new("sampling", 0, (batches * steps) as u64);
        let mut samples = Samples { values: Vec::with_capacity(count * variables), evaluations: 0 };
        for number in 0..batches {
            let members: Vec<u64> =
                (number * batch..count.min((number + 1) * batch)).map(|sample| sample as u64).collect();
            let shape = [members.len(), variables];
            let conditioning = self.conditions.of(&members, self.model.device());
            let mut noise = SampleNoise::new(self.seed, members);
            let mut show = |view: View<'_>| {
                progress.message((number * steps + view.step) as u64, "steps");
                observe(number, &view)
            };
            let drawn = self.task.objective.sample(
                self.model,
                conditioning.as_ref(),
                self.sampler,
                shape,
                &mut noise,
                &mut show,
            )?;
            samples.values.extend(drawn.values);
            samples.evaluations = drawn.evaluations * self.conditions.calls();
        }
        progress.finish();
        Ok(samples)
    }
}
