//! An accuracy schedule of one's own: β(t) = β(1) t^p, and which power p the entropy asks for.
//!
//! `cargo run -p bfn-core --example own_schedule`

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use bfn_core::{DiscreteFlow, Error, Grid, Real, Schedule, entropy};

/// β(t) = β(1) t^p with p > 1.
#[derive(Debug, Clone, Copy)]
struct Power {
    beta_1: f64,
    p: f64,
}

/// One body for the numbers of a step grid and for the tensors of a batch.
impl<R: Real> Schedule<R> for Power {
    fn beta(&self, t: &R) -> R {
        (t.ln() * self.p).exp() * self.beta_1
    }
    fn alpha(&self, t: &R) -> R {
        (t.ln() * (self.p - 1.0)).exp() * (self.p * self.beta_1)
    }
    fn time(&self, beta: &R) -> R {
        ((beta.clone() / self.beta_1).ln() / self.p).exp()
    }
}

fn main() -> Result<(), Error> {
    let text = entropy::Categorical::new(27)?;
    println!("β(t) = 0.75 t^p for 27 classes: distance of the entropy from a straight line, in shares of its fall");
    for p in [1.5, 2.0, 2.25, 2.5, 3.0] {
        let schedule = Power { beta_1: 0.75, p };
        println!("  p = {p:<4}  {:.3}", entropy::nonlinearity(|beta| text.at(beta), &schedule, 100));
    }

    // The schedule goes into a flow, and with it into every loss and sampler.
    let flow = DiscreteFlow::with_schedule(27, Power { beta_1: 0.75, p: 2.25 })?;
    let accuracies = Grid::uniform(10)?.steps().map(|step| flow.step_accuracy(step.from, step.to)).sum::<f64>();
    println!("the accuracies of ten steps sum to {accuracies:.6}");
    Ok(())
}
