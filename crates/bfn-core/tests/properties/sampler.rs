//! The distribution of the samples from the ancestral sampler.

use std::cell::Cell;
use std::convert::Infallible;

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::discrete::Logits;
use bfn_core::distribution::{Categorical, Delta, DiscretisedNormal, Probability};
use bfn_core::sampler::{Moment, Observed, Particles, Sampler, Solver, ancestral};
use bfn_core::special::normal_cdf;
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Error, Grid, Nd, OutputDistribution, Schedule,
};

use crate::statistics::{assert_follows, assert_frequencies, source};
use crate::{row, tensor};

const COUNT: usize = 20_000;

#[test]
fn discrete_samples_follow_the_mixture_of_an_exact_predictor() {
    let weights = [0.1, 0.25, 0.05, 0.6];
    let flow = DiscreteFlow::new(4, 1.5).unwrap();
    let ln_weights = row(&weights).ln();
    for steps in [1, 7] {
        let like = tensor(&[COUNT, 4], &vec![0.0; 4 * COUNT]);
        // p(x = k | θ) ∝ p(k) e^(z_k).
        let predict =
            |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(Categorical::from_logits(&(&theta.0 + &ln_weights)));
        let mut noise = source(41);
        let output = ancestral(&flow, &like, &Grid::uniform(steps).unwrap(), &mut noise, predict, |_| Ok(())).unwrap();
        assert_frequencies(&output.draw(&mut noise).to_vec(), &weights);
    }
}

#[test]
fn discretised_samples_follow_the_mixture_of_an_exact_predictor() {
    // The two parameters of a normal discretised to three bins can give any distribution over the bins.
    let weights = [0.5, 0.2, 0.3];
    let flow = DiscretisedFlow::new(3, 0.5).unwrap();
    let predict = |theta: &Belief<Nd>, _: f64| {
        let rho = theta.rho.to_values()[0];
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for mu in theta.mu.to_values() {
            let terms: Vec<f64> = [-2.0 / 3.0, 0.0, 2.0 / 3.0]
                .iter()
                .zip(&weights)
                .map(|(k_c, p)| p * (rho * mu * k_c - 0.5 * (rho - 1.0) * k_c * k_c).exp())
                .collect();
            let total: f64 = terms.iter().sum();
            let low = quantile(terms[0] / total);
            let high = quantile((terms[0] + terms[1]) / total);
            deviation.push(2.0 / 3.0 / (high - low));
            mean.push(1.0 / 3.0 - high * deviation[deviation.len() - 1]);
        }
        let probability = Probability::Exact;
        Ok::<_, Infallible>(DiscretisedNormal { mean: row(&mean), deviation: row(&deviation), bins: 3, probability })
    };
    let like = tensor(&[COUNT], &vec![0.0; COUNT]);
    let mut noise = source(42);
    let output = ancestral(&flow, &like, &Grid::uniform(5).unwrap(), &mut noise, predict, |_| Ok(())).unwrap();
    assert_frequencies(&output.draw(&mut noise).to_vec(), &weights);
}

/// Computes Φ⁻¹ by bisection.
fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[test]
fn a_certain_predictor_leads_along_the_flow_distribution() {
    let flow = ContinuousFlow::new(0.2, Reconstruction::Density { deviation: 0.2 }).unwrap();
    let like = tensor(&[COUNT], &vec![0.0; COUNT]);
    let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(Delta { x_hat: theta.mu.full_like(0.4) });
    let grid = Grid::new(vec![0.0, 0.3, 0.5, 0.9, 1.0]).unwrap();
    ancestral(&flow, &like, &grid, &mut source(43), predict, |moment| {
        let gamma = flow.schedule().gamma(&moment.t);
        let deviation = (gamma * (1.0 - gamma)).sqrt();
        if moment.step > 0 {
            let mu = moment.theta.mu.to_values();
            assert_follows(&mu, |mu| normal_cdf((mu - gamma * 0.4) / deviation));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_observer_sees_every_step_and_the_last_prediction() {
    let flow = DiscreteFlow::new(3, 1.0).unwrap();
    let like = tensor(&[2, 3], &[0.0; 6]);
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(Categorical::from_logits(&theta.0));
    let mut seen = Vec::new();
    ancestral(&flow, &like, &Grid::uniform(4).unwrap(), &mut source(44), predict, |moment| {
        assert_eq!(moment.steps, 4);
        seen.push((moment.step, moment.t));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]);
}

#[test]
fn the_same_noise_gives_the_same_sample() {
    let flow = DiscreteFlow::new(3, 1.0).unwrap();
    let like = tensor(&[5, 3], &[0.0; 15]);
    let sample = |seed| {
        let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(Categorical::from_logits(&theta.0));
        let output =
            ancestral(&flow, &like, &Grid::uniform(6).unwrap(), &mut source(seed), predict, |_| Ok(())).unwrap();
        bfn_core::FiniteDistribution::probabilities(&output).to_values()
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
}

#[test]
fn a_predictors_error_ends_the_loop() {
    let flow = DiscreteFlow::new(3, 1.0).unwrap();
    let like = tensor(&[2, 3], &[0.0; 6]);
    let failure = Error::Parameter { parameter: "network", value: 0.5, expected: "present" };
    let predict = |theta: &Logits<Nd>, t: f64| {
        if t < 0.5 { Ok(Categorical::from_logits(&theta.0)) } else { Err(failure.clone()) }
    };
    let mut observed = 0;
    let result = ancestral(&flow, &like, &Grid::uniform(4).unwrap(), &mut source(45), predict, |_| {
        observed += 1;
        Ok(())
    });
    assert_eq!(result.unwrap_err(), failure);
    assert_eq!(observed, 2);
}

/// This holds for all loops: of the paper's sampler, of the solvers and of particles.
#[test]
fn an_observers_error_ends_the_loop() {
    let flow = ContinuousFlow::new(0.2, Reconstruction::Density { deviation: 0.2 }).unwrap();
    let (like, grid) = (tensor(&[2, 3], &[0.0; 6]), Grid::uniform(4).unwrap());
    let evaluations = Cell::new(0);
    let predict = |theta: &Belief<Nd>, _: f64| {
        evaluations.set(evaluations.get() + 1);
        Ok::<_, usize>(Delta { x_hat: theta.mu.clone() })
    };
    for last in 0..=4 {
        let ended = |error: Result<(), usize>| {
            assert_eq!(error, Err(last));
            assert_eq!(evaluations.take(), last + 1);
        };
        let observe =
            |moment: Moment<'_, Belief<Nd>, Delta<Nd>>| if moment.step < last { Ok(()) } else { Err(moment.step) };
        ended(ancestral(&flow, &like, &grid, &mut source(46), predict, observe).map(drop));
        let sampler = Sampler::new(Solver::Sde2, grid.clone()).unwrap();
        ended(sampler.sample(&flow, &like, &mut source(46), predict, observe).map(drop));
        let observed = Observed { values: like.clone(), known: like.full_like(0.0) };
        let particles = Particles::new(grid.clone(), 2).unwrap();
        ended(particles.sample(&flow, &observed, &like, &mut source(46), predict, observe).map(drop));
    }
}

#[test]
fn message_shapes() {
    let data = [8, 5];
    let continuous = ContinuousFlow::new(0.2, Reconstruction::Density { deviation: 0.2 }).unwrap();
    assert_eq!(BayesianFlow::<Nd>::message_shape(&continuous, &data), [8, 5]);
    let discretised = DiscretisedFlow::new(16, 0.2).unwrap();
    assert_eq!(BayesianFlow::<Nd>::message_shape(&discretised, &data), [8, 5]);
    let discrete = DiscreteFlow::new(2, 1.0).unwrap();
    assert_eq!(BayesianFlow::<Nd>::message_shape(&discrete, &data), [8, 5, 2]);
}
