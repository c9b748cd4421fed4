//! Every solver on data whose exact prediction is known: evaluations of the predictor against the
//! distance of the samples from the truth.
//!
//! ```sh
//! cargo run --release -p bfn-core --example solvers
//! ```
//!
//! The data are one number at −½ or ½, each blurred by a normal. Samples are compared with that mixture by
//! the largest difference of the distribution functions; with 20,000 samples chance alone leaves about 0.006.
#![allow(clippy::print_stdout, reason = "the table is what the example is for")]

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::distribution::Delta;
use bfn_core::sampler::{Last, Sampler, Solver};
use bfn_core::special::normal_cdf;
use bfn_core::{ContinuousFlow, Error, Grid, Nd, RngNoise, Tensor};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

const MODES: [f64; 2] = [-0.5, 0.5];
const DEVIATION: f64 = 0.1;
const SAMPLES: usize = 20_000;

fn main() -> Result<(), Error> {
    let flow = ContinuousFlow::new(0.02, Reconstruction::Density { deviation: 0.02 })?;
    let like: Tensor = Tensor::from_nd(ndarray::ArrayD::zeros(vec![SAMPLES, 1]));
    println!("{:<12} {:>11} {:>9} {:>9} {:>9} {:>9}", "solver", "evaluations", "5", "10", "20", "40");
    for solver in Solver::ALL {
        print!("{solver:<12} {:>11}", if solver == Solver::Ode2SingleStep { "2n − 1" } else { "n" });
        for n in [5, 10, 20, 40] {
            let sampler = Sampler::new(solver, Grid::uniform_in_lambda(flow.schedule(), 1e-3, n)?)?;
            let mut noise = RngNoise(Xoshiro256PlusPlus::seed_from_u64(1));
            let sampler = sampler.with_last(Last::Prediction);
            let sample = sampler.sample(&flow, &like, &mut noise, |theta, _| predict(theta), |_| Ok(()))?;
            print!(" {:>9.4}", distance(sample.output.x_hat.to_values()));
        }
        println!();
    }
    Ok(())
}

/// The exact mean of the data given θ: what a perfect network would say.
fn predict(theta: &Belief<Nd>) -> Result<Delta<Nd>, Error> {
    let rho = theta.rho.to_values()[0];
    let precision = DEVIATION.powi(-2);
    let total = precision + rho - 1.0;
    let x_hat: Vec<f64> = theta
        .mu
        .to_values()
        .iter()
        .map(|mu| {
            let [low, high] = MODES.map(|mode| (mode * precision + rho * mu) / total);
            // The modes' evidence differs by this much in its logarithm.
            let odds = 0.5 * total * (high * high - low * low);
            let p_high = 1.0 / (1.0 + (-odds).exp());
            low + (high - low) * p_high
        })
        .collect();
    Ok(Delta { x_hat: theta.mu.from_values_like(&theta.mu.shape(), &x_hat) })
}

/// The Kolmogorov–Smirnov distance of the samples from the data's distribution.
fn distance(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let count = samples.len() as f64;
    let cdf = |x: f64| MODES.iter().map(|mode| 0.5 * normal_cdf((x - mode) / DEVIATION)).sum::<f64>();
    samples.iter().enumerate().fold(0.0, |largest: f64, (i, x)| {
        let p = cdf(*x);
        largest.max(p - i as f64 / count).max((i + 1) as f64 / count - p)
    })
}
