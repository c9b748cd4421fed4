//! Properties that hold for every solver.

use std::convert::Infallible;

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::discrete::Logits;
use bfn_core::distribution::{Categorical, Delta};
use bfn_core::sampler::{Choice, Dynamics, Last, Motion, Sample, Sampler, Solver, ancestral};
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Element, Error, FiniteDistribution, Grid, Nd,
    OutputDistribution, Schedule, Tensor,
};

use crate::statistics::source;
use crate::{assert_close, like, row, tensor};

pub(crate) const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// A mixture of normals that serves as a data set with a known exact posterior mean.
pub(crate) struct Mixture {
    pub(crate) weights: Vec<f64>,
    pub(crate) means: Vec<f64>,
    pub(crate) deviations: Vec<f64>,
}

impl Mixture {
    /// Returns a mixture of two modes that overlap.
    pub(crate) fn two() -> Self {
        Self { weights: vec![0.4, 0.6], means: vec![-0.5, 0.4], deviations: vec![0.25, 0.35] }
    }

    /// Computes E[x | θ], not clipped, where ρ is the precision of θ.
    pub(crate) fn x_hat(&self, mu: f64, rho: f64) -> f64 {
        let beta = rho - 1.0;
        let parts: Vec<[f64; 2]> = (0..self.weights.len())
            .map(|k| {
                let precision = self.deviations[k].powi(-2);
                let known = self.means[k] * precision + rho * mu;
                let ln_evidence = self.weights[k].ln() - 0.5 * self.means[k].powi(2) * precision
                    + 0.5 * (precision / (precision + beta)).ln()
                    + 0.5 * known * known / (precision + beta);
                [ln_evidence, known / (precision + beta)]
            })
            .collect();
        let peak = parts.iter().fold(f64::NEG_INFINITY, |peak, part| peak.max(part[0]));
        let total: f64 = parts.iter().map(|part| (part[0] - peak).exp()).sum();
        parts.iter().map(|part| (part[0] - peak).exp() / total * part[1]).sum()
    }

    pub(crate) fn predict(&self, theta: &Belief<Nd>) -> Delta<Nd> {
        let rho = theta.rho.to_values()[0];
        let x_hat: Vec<f64> = theta.mu.to_values().iter().map(|mu| self.x_hat(*mu, rho)).collect();
        Delta { x_hat: tensor(&theta.mu.shape(), &x_hat) }
    }
}

/// Computes the posterior of one variable: p(k) ∝ weight_k e^(z_k).
pub(crate) fn posterior(theta: &Logits<Nd>, ln_weights: &Tensor) -> Categorical<Nd> {
    Categorical::from_logits(&(&theta.0 + ln_weights))
}

/// Runs a sampler whose predictor cannot fail.
pub(crate) fn run<F: Dynamics<Nd>>(
    sampler: &Sampler,
    flow: &F,
    like: &Tensor,
    seed: u64,
    predict: impl Fn(&F::Theta) -> F::Output,
) -> Sample<F::Theta, F::Output> {
    let predict = |theta: &F::Theta, _: f64| Ok::<_, Infallible>(predict(theta));
    let Ok(sample) = sampler.sample(flow, like, &mut source(seed), predict, |_| Ok(()));
    sample
}

#[test]
fn sde_1_of_continuous_data_is_the_ancestral_sampler() {
    let flow = ContinuousFlow::new(0.05, DENSITY).unwrap();
    let like = tensor(&[50], &[0.0; 50]);
    let mixture = Mixture::two();
    let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(mixture.predict(theta));
    let mut expected = Vec::new();
    let Ok(_) = ancestral(&flow, &like, &Grid::uniform(20).unwrap(), &mut source(5), predict, |moment| {
        expected.push([moment.theta.mu.clone(), moment.theta.rho.clone()]);
        Ok(())
    });
    for solver in [Solver::Sde1, Solver::Ancestral] {
        let sampler = Sampler::new(solver, Grid::uniform(20).unwrap()).unwrap();
        let mut found = Vec::new();
        let Ok(_) = sampler.sample(&flow, &like, &mut source(5), predict, |moment| {
            found.push([moment.theta.mu.clone(), moment.theta.rho.clone()]);
            Ok(())
        });
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert_close(&found.to_values(), &expected.to_values(), 1e-11);
        }
    }
}

#[test]
fn the_ancestral_solver_is_the_ancestral_sampler_for_finite_data() {
    let discrete = DiscreteFlow::new(3, 2.0).unwrap();
    let ln_weights = row(&[0.2, 0.3, 0.5]).ln();
    let like = tensor(&[50, 3], &[0.0; 150]);
    let predict = |theta: &Logits<Nd>, _: f64| Ok::<_, Infallible>(posterior(theta, &ln_weights));
    let Ok(expected) = ancestral(&discrete, &like, &Grid::uniform(9).unwrap(), &mut source(6), predict, |_| Ok(()));
    let sampler = Sampler::new(Solver::Ancestral, Grid::uniform(9).unwrap()).unwrap();
    let Ok(found) = sampler.sample(&discrete, &like, &mut source(6), predict, |_| Ok(()));
    assert_close(&found.output.probabilities().to_values(), &expected.probabilities().to_values(), 1e-11);

    let discretised = DiscretisedFlow::new(16, 0.1).unwrap();
    let like = tensor(&[50], &[0.0; 50]);
    let network = tensor(&[50, 2], &[0.3; 100]);
    let predict = |theta: &Belief<Nd>, t: f64| Ok::<_, Infallible>(discretised.output(theta, &network, &row(&[t])));
    let Ok(expected) = ancestral(&discretised, &like, &Grid::uniform(9).unwrap(), &mut source(7), predict, |_| Ok(()));
    let Ok(found) = sampler.sample(&discretised, &like, &mut source(7), predict, |_| Ok(()));
    assert_close(&found.output.mean().to_values(), &expected.mean().to_values(), 1e-11);
}

#[test]
fn a_constant_prediction_needs_one_step_of_an_exact_rule() {
    // Rules that are exact for a constant prediction give the same result in one step and in many.
    let flow = ContinuousFlow::new(0.05, DENSITY).unwrap();
    let like = row(&[0.0, 0.0]);
    for solver in [Solver::Ode1, Solver::Ode2, Solver::Ode2SingleStep, Solver::FixedNoise] {
        let end = |n| {
            let sampler = Sampler::new(solver, Grid::uniform_from(0.1, n).unwrap()).unwrap();
            run(&sampler, &flow, &like, 3, |theta| Delta { x_hat: theta.mu.full_like(0.4) }).theta.mu.to_values()
        };
        assert_close(&end(1), &end(13), 1e-12);
    }
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let like = tensor(&[1, 3], &[0.0; 3]);
    for solver in [Solver::Ode1, Solver::Ode2, Solver::Ode2SingleStep, Solver::FixedNoise] {
        let end = |n| {
            let sampler = Sampler::new(solver, Grid::uniform_from(0.1, n).unwrap()).unwrap();
            let constant = |_: &Logits<Nd>| Categorical::from_logits(&tensor(&[1, 3], &[0.0, 1.0, 2.0]));
            run(&sampler, &flow, &like, 3, constant).theta.0.to_values()
        };
        assert_close(&end(1), &end(13), 1e-12);
    }
}

#[test]
fn the_last_step_may_be_the_prediction_itself() {
    let flow = ContinuousFlow::new(0.05, DENSITY).unwrap();
    let mixture = Mixture::two();
    for (solver, per_step) in [(Solver::Ode1, 1), (Solver::Sde2, 1), (Solver::Ode2SingleStep, 2)] {
        let sampler = Sampler::new(solver, Grid::uniform_from(0.1, 5).unwrap()).unwrap();
        let sample =
            |last| run(&sampler.clone().with_last(last), &flow, &row(&[0.0]), 3, |theta| mixture.predict(theta));
        let (whole, short) = (sample(Last::Evaluate), sample(Last::Prediction));
        assert_eq!((whole.evaluations, whole.t), (5 * per_step + 1, 1.0));
        assert_eq!((short.evaluations, short.t), (4 * per_step + 1, sampler.grid().times()[4]));
        assert_close(&short.output.x_hat.to_values(), &mixture.predict(&short.theta).x_hat.to_values(), 1e-15);
    }
}

#[test]
fn choices_stand_for_the_prediction() {
    let flow = DiscretisedFlow::new(4, 0.1).unwrap();
    let like = row(&[0.0]);
    // For a broad prediction to the right of the middle, the mean lies in bin 2 and the mode is the last bin.
    let network = tensor(&[1, 2], &[-0.6, 0.0]);
    let end = |choice| {
        let sampler = Sampler::new(Solver::Redraw, Grid::new(vec![0.0, 0.5]).unwrap()).unwrap().with_choice(choice);
        let predict = |theta: &Belief<Nd>, _: f64| {
            Ok::<_, Infallible>(flow.output(
                &Belief { mu: theta.mu.full_like(0.0), ..theta.clone() },
                &network,
                &row(&[0.2]),
            ))
        };
        let Ok(sample) = sampler.sample(&flow, &like, &mut source(9), predict, |_| Ok(()));
        let noise = bfn_core::NoiseSource::<Nd>::normal(&mut source(9), &like).to_values()[0];
        let gamma: f64 = Schedule::<f64>::gamma(flow.schedule(), &0.5);
        ((sample.theta.mu.to_values()[0] - (gamma * (1.0 - gamma)).sqrt() * noise) / gamma, sample.output)
    };
    let (mean, output) = end(Choice::Mean);
    assert_close(&[mean], &output.mean().to_values(), 1e-12);
    assert_close(&[end(Choice::Mode).0], &[0.75], 1e-12);
    assert_close(&[end(Choice::Nearest).0], &[0.25], 1e-12);
    assert_eq!(Motion::<Nd>::nearest(&flow, &output).to_vec(), [2]);
}

#[test]
fn temperature_divides_logits_and_scales_noise() {
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let like = tensor(&[1, 3], &[0.0; 3]);
    let logits = tensor(&[1, 3], &[0.0, 1.0, 2.0]);
    let grid = Grid::new(vec![0.0, 1.0]).unwrap();
    let sampler =
        |temperature| Sampler::new(Solver::Sde1, grid.clone()).unwrap().with_temperature(temperature).unwrap();
    let (hot, cold) = (
        run(&sampler(4.0), &flow, &like, 2, |_| Categorical::from_logits(&logits)),
        run(&sampler(1.0), &flow, &like, 2, |_| Categorical::from_logits(&(&logits / 4.0))),
    );
    let (hot_p, cold_p) = (hot.output.probabilities().to_values(), cold.output.probabilities().to_values());
    assert_close(&hot_p, &cold_p, 1e-12);
    // The drift β(1)(K ê − 1) is the same, and the noise is twice as large.
    let drift: Vec<f64> = cold_p.iter().map(|p| 2.0 * (3.0 * p - 1.0)).collect();
    let noise =
        |theta: &Logits<Nd>| -> Vec<f64> { theta.0.to_values().iter().zip(&drift).map(|(z, d)| z - d).collect() };
    let doubled: Vec<f64> = noise(&cold.theta).iter().map(|z| 2.0 * z).collect();
    assert_close(&noise(&hot.theta), &doubled, 1e-12);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let result = Sampler::new(Solver::Sde1, grid.clone()).unwrap().with_temperature(temperature);
        assert!(matches!(result, Err(Error::Parameter { parameter: "temperature", .. })));
    }
}

#[test]
fn ordinary_equations_do_not_start_at_zero() {
    for solver in Solver::ALL {
        let result = Sampler::new(solver, Grid::uniform(3).unwrap());
        assert_eq!(result.is_ok(), solver.starts_at_zero(), "{solver}");
        assert!(Sampler::new(solver, Grid::uniform_from(1e-5, 3).unwrap()).is_ok());
    }
}

#[test]
fn fixed_noise_is_drawn_once() {
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
    let like = row(&[0.0, 0.0]);
    let epsilon = bfn_core::NoiseSource::<Nd>::normal(&mut source(4), &like).to_values();
    let sampler = Sampler::new(Solver::FixedNoise, Grid::uniform(4).unwrap()).unwrap();
    let predict = |theta: &Belief<Nd>, _: f64| Ok::<_, Infallible>(Delta { x_hat: theta.mu.full_like(0.4) });
    let Ok(_) = sampler.sample(&flow, &like, &mut source(4), predict, |moment| {
        let gamma: f64 = Schedule::<f64>::gamma(flow.schedule(), &moment.t);
        let expected: Vec<f64> = epsilon
            .iter()
            .map(|epsilon| if moment.step == 0 { 0.0 } else { 0.4 * gamma + (gamma * (1.0 - gamma)).sqrt() * epsilon })
            .collect();
        assert_close(&moment.theta.mu.to_values(), &expected, 1e-12);
        Ok(())
    });
}

#[test]
#[should_panic(expected = "expected shape [2, 3], found shape [3]")]
fn a_prediction_of_another_shape_is_a_mistake() {
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap();
    let sampler = Sampler::new(Solver::Sde1, Grid::uniform(4).unwrap()).unwrap();
    run(&sampler, &flow, &tensor(&[2, 3], &[0.0; 6]), 1, |_| Delta { x_hat: row(&[0.0; 3]) });
}

/// Panics unless the results of all solvers are finite for the given network output.
fn stays_finite<F: Element, G: Dynamics<Nd<F>>>(
    what: &str,
    flow: &G,
    network: &Tensor<Nd<F>>,
    state: impl Fn(&G::Theta) -> Tensor<Nd<F>>,
) {
    let like = like::<F>();
    let message = like.full(&flow.message_shape(&[5]), 0.0);
    for solver in Solver::ALL {
        for eta in [0.0, 1e-5, 0.5] {
            for n in [1, 50] {
                let Ok(sampler) = Sampler::new(solver, Grid::uniform_from(eta, n).unwrap()) else { continue };
                let predict =
                    |theta: &G::Theta, t: f64| Ok::<_, Infallible>(flow.output(theta, network, &like.full(&[1], t)));
                let Ok(sample) = sampler.sample(flow, &message, &mut source(8), predict, |_| Ok(()));
                let values = state(&sample.theta).to_values();
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{what}, {solver}, η = {eta}, n = {n}: {values:?}"
                );
            }
        }
    }
}

fn all_stay_finite<F: Element>() {
    let like = like::<F>();
    let extremes = [-1e3, -1.0, 0.0, 1.0, 1e3];
    for sigma_1 in [1e-4, 0.03, 0.999] {
        let flow = ContinuousFlow::new(sigma_1, DENSITY).unwrap();
        let what = format!("σ₁ = {sigma_1}");
        stays_finite(&what, &flow, &like.from_values_like(&[5, 1], &extremes), |theta: &Belief<Nd<F>>| {
            theta.mu.clone()
        });
        let flow = DiscretisedFlow::new(256, sigma_1).unwrap();
        let network: Vec<f64> = extremes.iter().flat_map(|mean| [*mean, -mean]).collect();
        stays_finite(&what, &flow, &like.from_values_like(&[5, 2], &network), |theta: &Belief<Nd<F>>| theta.mu.clone());
    }
    for (classes, beta_1) in [(2, 3.0), (27, 1e6), (1000, 0.75)] {
        let flow = DiscreteFlow::new(classes, beta_1).unwrap();
        let per_variable = flow.outputs_per_variable();
        let network: Vec<f64> = (0..5 * per_variable).map(|i| extremes[(7 * i + i / 5) % 5]).collect();
        let network = like.from_values_like(&[5, per_variable], &network);
        let what = format!("K = {classes}, β(1) = {beta_1}");
        stays_finite(&what, &flow, &network, |theta: &Logits<Nd<F>>| theta.probabilities());
    }
}

#[test]
fn solvers_stay_finite() {
    all_stay_finite::<f64>();
    all_stay_finite::<f32>();
}

#[test]
fn the_nearest_class_is_the_mode() {
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let output = Categorical::from_logits(&tensor(&[2, 3], &[0.0, 2.0, 1.0, 5.0, 0.0, 0.0]));
    assert_eq!(Motion::<Nd>::nearest(&flow, &output).to_vec(), output.mode().to_vec());
}
