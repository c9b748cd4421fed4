//! Computes the losses of a run for given random draws, to compare them with those of another program.
//!
//! ```text
//! cargo run --release -p bfn-exp --example given_draws -- RUN DRAWS.safetensors LOSSES.safetensors [DEVICE]
//! ```
//!
//! DRAWS holds `x` [B, D] (bins or classes, i64), `t` [B] in f64, `t_step` [B] in f64 (multiples of 1/n), `steps` (n,
//! i64), and standard normal numbers `noise`, `noise_step`, `noise_reconstruction` and `sender_noise` [B, W] in f32,
//! with W = D for real numbers and D·K for K classes. LOSSES receives `continuous_time`, `step` and `reconstruction`
//! [B, D], in nats, with the published receiver and floor, and `gradient_norm`, the norm of the gradient of the mean
//! continuous-time loss with respect to all weights. DEVICE is `cpu` if not given.

use std::path::Path;

use anyhow::{Context, Result};
use bfn_core::discrete::Receiver;
use bfn_core::distribution::Probability;
use bfn_exp::checkpoints::Choice;
use bfn_exp::examples::{Column, Examples};
use bfn_exp::objective::Term;
use bfn_exp::run::{Trained, Weights, Which};
use bfn_exp::task::Arithmetic;
use bfn_nets::networks::Mode;
use bfn_nets::{Checkpoint, DeviceChoice, NamedTensor, Snapshot};
use tch::{Kind, Tensor};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (run, draws, losses, choice) = match &arguments[..] {
        [run, draws, losses] => (run, draws, losses, DeviceChoice::Cpu),
        [run, draws, losses, device] => (run, draws, losses, device.parse()?),
        _ => anyhow::bail!("three arguments or four: RUN DRAWS.safetensors LOSSES.safetensors [DEVICE]"),
    };
    let arithmetic = Arithmetic { receiver: Receiver::Factorised, probability: Probability::Floor };
    let which = Which { checkpoint: Choice::Last, weights: Weights::Ema };
    let trained = Trained::load(Path::new(run), which, choice, arithmetic)?;
    let draws = Checkpoint::read_foreign(Path::new(draws))?;
    let n = u32::try_from(draws.tensor("steps")?.int64_value(&[])).context("steps")?;

    let loss = |name: &str, term: Term, t: Vec<f64>, noise: &str| -> Result<NamedTensor> {
        let x = draws.tensor("x")?;
        let sender_noise = Some(draws.tensor("sender_noise")?);
        let t = Column::new(t);
        let examples = Examples { x, t, weights: None, noise: draws.tensor(noise)?, sender_noise, condition: None };
        let examples = examples.on(trained.model.device());
        let loss = trained.task.objective.loss(&trained.model, &examples, term, Mode::Evaluate);
        Ok(NamedTensor::new(name, loss.array()))
    };
    let times = |name: &str| -> Result<Vec<f64>> { Ok(Vec::try_from(draws.tensor(name)?)?) };
    let ones = vec![1.0; times("t")?.len()];
    let continuous_time = loss("continuous_time", Term::ContinuousTime, times("t")?, "noise")?;
    continuous_time.tensor.mean(Kind::Float).backward();
    let weights = trained.model.parameters().iter().map(|weight| weight.tensor.grad()).filter(Tensor::defined);
    let squares: Vec<Tensor> = weights.map(|gradient| gradient.square().sum(Kind::Float)).collect();
    let gradient_norm = Tensor::stack(&squares, 0).sum(Kind::Float).sqrt();

    let _no_gradient = tch::no_grad_guard();
    let mut snapshot = Snapshot::new();
    snapshot.add(
        "",
        &[
            NamedTensor::new("continuous_time", &continuous_time.tensor.detach()),
            NamedTensor::new("gradient_norm", &gradient_norm.detach()),
            loss("step", Term::Step { n, noisy: true }, times("t_step")?, "noise_step")?,
            loss("reconstruction", Term::Reconstruction, ones, "noise_reconstruction")?,
        ],
    )?;
    Ok(snapshot.write(Path::new(losses))?)
}
