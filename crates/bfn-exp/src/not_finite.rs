//! Handling of losses and gradients that are NaN or infinite.

use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};
use bfn_nets::networks::Condition;
use bfn_nets::{NamedTensor, Snapshot};
use tch::Tensor;

use crate::config::NotFinite;
use crate::engine::Trainer;
use crate::run::Run;
use crate::tally::Readings;

/// The number of consecutive broken steps after which no sound step is expected.
const MOST_IN_A_ROW: usize = 20;

/// Checks whether training must stop after these steps.
///
/// It stops at the first broken step or, if such steps are skipped, after twenty consecutive ones. The check runs
/// where the losses are read: at log lines and at checkpoints.
pub fn must_stop(readings: &Readings, policy: NotFinite) -> bool {
    match policy {
        NotFinite::Stop => !readings.broken().is_empty(),
        NotFinite::Skip => readings.longest_broken() >= MOST_IN_A_ROW,
    }
}

/// Returns the error that ends the run, and writes the batch of the first broken step to the run's folder.
///
/// If the batch cannot be written, the error states that too.
pub fn report(run: &Run, trainer: &Trainer, readings: &Readings, policy: NotFinite) -> Error {
    let broken = readings.broken();
    let step = broken.first().copied().unwrap_or(readings.first);
    let place = (step - readings.first) as usize;
    // The cause must be reported whatever happens to the batch.
    let batch = match keep_batch(run, trainer, step, readings) {
        Ok(path) => format!("the batch is in {}", path.display()),
        Err(error) => format!("the batch could not be kept ({error:#})"),
    };
    let limit = match policy {
        NotFinite::Stop => "",
        NotFinite::Skip => ", but not twenty of them in a row",
    };
    let before: Vec<String> = readings.before(place).iter().map(f64::to_string).collect();
    anyhow!(
        "in step {} the loss is {} nats per variable and the norm of the gradient {}; {}. {} of the {} steps since the \
         last line of the log are so; none of them has changed a weight. Training stops, the last checkpoint stays, and \
         {batch}. A lower optimiser.learning_rate or training.clip may help; training.not_finite = \"skip\" passes such \
         steps over{limit}",
        step + 1,
        readings.losses[place],
        readings.norms[place],
        match before.as_slice() {
            [] => "it is the first".to_owned(),
            before => format!("the losses before it are {}", before.join(", ")),
        },
        broken.len(),
        readings.losses.len(),
    )
}

/// Writes the batch of a step, and the losses and norms around it, for inspection.
fn keep_batch(run: &Run, trainer: &Trainer, step: u64, readings: &Readings) -> Result<PathBuf> {
    let mut snapshot = Snapshot::new();
    for (part, examples) in trainer.examples(step)?.iter().enumerate() {
        let condition = examples.condition.as_ref();
        let small = condition.and_then(Condition::low_resolution);
        let tensors = [
            ("x", Some(examples.x.shallow_clone())),
            ("t", Some(Tensor::from_slice(examples.t.exact()))),
            ("weights", examples.weights.as_ref().map(|weights| Tensor::from_slice(weights.exact()))),
            ("noise", Some(examples.noise.shallow_clone())),
            ("labels", condition.and_then(Condition::labels).map(Tensor::shallow_clone)),
            ("low_resolution", small.map(|small| small.values.shallow_clone())),
            ("low_resolution_given", small.map(|small| small.given.shallow_clone())),
        ];
        let named: Vec<NamedTensor> =
            tensors.iter().filter_map(|(name, tensor)| Some(NamedTensor::new(*name, tensor.as_ref()?))).collect();
        snapshot.add(&format!("part-{part}"), &named)?;
    }
    // Numbers are written as strings, since JSON has no NaN or infinity.
    let shown = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>();
    snapshot.set_metadata("step", &(step + 1));
    snapshot.set_metadata("first_reading", &(readings.first + 1));
    snapshot.set_metadata("losses_before_nats_per_dim", &shown(&readings.recent));
    snapshot.set_metadata("losses_nats_per_dim", &shown(&readings.losses));
    snapshot.set_metadata("gradient_norms", &shown(&readings.norms));
    let path = run.path(&format!("not-finite-step-{:010}.safetensors", step + 1));
    snapshot.write(&path)?;
    Ok(path)
}
