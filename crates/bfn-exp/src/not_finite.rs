//! A loss or gradient that is NaN or infinite.

use std::path::PathBuf;

use anyhow::{Error, Result, anyhow};
use bfn_nets::networks::Condition;
use bfn_nets::{NamedTensor, Snapshot};
use tch::Tensor;

use crate::config::NotFinite;
use crate::engine::Trainer;
use crate::run::Run;
use crate::tally::Readings;

/// How many broken steps in a row say that no other will come.
const MOST_IN_A_ROW: usize = 20;

/// Whether training must not go on after these steps: at the first broken one, or, where such steps are to be skipped,
/// when twenty in a row have been broken. It is looked at where the losses are read: at the lines of the log and at
/// checkpoints.
pub fn must_stop(readings: &Readings, policy: NotFinite) -> bool {
    match policy {
        NotFinite::Stop => !readings.broken().is_empty(),
        NotFinite::Skip => readings.longest_broken() >= MOST_IN_A_ROW,
    }
}

/// The error that ends the run, with the batch of the first broken step written into the folder of the run.
///
/// Where it cannot be written, the error says so too.
pub fn report(run: &Run, trainer: &Trainer, readings: &Readings, policy: NotFinite) -> Error {
    let broken = readings.broken();
    let step = broken.first().copied().unwrap_or(readings.first);
    let place = (step - readings.first) as usize;
    // The cause is to be told whatever becomes of the batch.
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

/// Writes the batch of a step, and the losses and norms around it, to be looked at.
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
            ("low_resolution_told", small.map(|small| small.told.shallow_clone())),
        ];
        let named: Vec<NamedTensor> =
            tensors.iter().filter_map(|(name, tensor)| Some(NamedTensor::new(*name, tensor.as_ref()?))).collect();
        snapshot.add(&format!("part-{part}"), &named)?;
    }
    // As words, since JSON has no number that is none.
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
