//! Every solver ends in the distribution of the exact flow.

use bfn_core::continuous::Belief;
use bfn_core::discrete::Logits;
use bfn_core::sampler::{Choice, Sampler, Solver};
use bfn_core::special::normal_cdf;
use bfn_core::{ContinuousFlow, DiscreteFlow, Grid, Nd, OutputDistribution, Schedule};

use crate::solvers::{DENSITY, Mixture, posterior, run};
use crate::statistics::{assert_follows, assert_frequencies, source};
use crate::{row, tensor};

const COUNT: usize = 4000;

/// The solvers that follow the differential equations; the others only approach them or do not discretise them.
const EQUATIONS: [Solver; 7] = [
    Solver::Sde1,
    Solver::Sde2,
    Solver::SdeEuler,
    Solver::Ode1,
    Solver::Ode2,
    Solver::Ode2SingleStep,
    Solver::OdeEuler,
];

#[test]
fn continuous_solvers_end_in_the_flow_distribution() {
    let flow = ContinuousFlow::new(0.2, DENSITY).unwrap();
    let mixture = Mixture::two();
    let like = row(&[0.0; COUNT]);
    let gamma: f64 = Schedule::<f64>::gamma(flow.schedule(), &1.0);
    let cdf = |mu: f64| -> f64 {
        (0..2)
            .map(|k| {
                let variance = (gamma * mixture.deviations[k]).powi(2) + gamma * (1.0 - gamma);
                mixture.weights[k] * normal_cdf((mu - gamma * mixture.means[k]) / variance.sqrt())
            })
            .sum()
    };
    for solver in EQUATIONS {
        let grid = Grid::uniform_in_lambda(flow.schedule(), 1e-4, 150).unwrap();
        let sampler = Sampler::new(solver, grid).unwrap();
        let sample = run(&sampler, &flow, &like, 31, |theta: &Belief<Nd>| mixture.predict(theta));
        assert_follows(&sample.theta.mu.to_values(), cdf);
    }
}

#[test]
fn discrete_solvers_end_in_the_flow_distribution() {
    let weights = [0.2, 0.3, 0.5];
    let flow = DiscreteFlow::new(3, 2.0).unwrap();
    let ln_weights = row(&weights).ln();
    let like = tensor(&[COUNT, 3], &[0.0; 3 * COUNT]);
    // Given the class, z_0 − z_1 is normal with mean ±Kβ or 0 and variance 2Kβ.
    let (drift, deviation) = (6.0, 12.0_f64.sqrt());
    let cdf = |z: f64| -> f64 {
        [drift, -drift, 0.0].iter().zip(&weights).map(|(mean, w)| w * normal_cdf((z - mean) / deviation)).sum()
    };
    let drawn = [(Solver::Ancestral, Choice::Draw), (Solver::Redraw, Choice::Draw)];
    for (solver, choice) in EQUATIONS.map(|solver| (solver, Choice::Mean)).into_iter().chain(drawn) {
        let sampler = Sampler::new(solver, Grid::uniform_from(1e-3, 150).unwrap()).unwrap().with_choice(choice);
        let sample = run(&sampler, &flow, &like, 32, |theta: &Logits<Nd>| posterior(theta, &ln_weights));
        let z = &sample.theta.0;
        assert_follows(&(z.select_last(0) - z.select_last(1)).to_values(), cdf);
        assert_frequencies(&sample.output.draw(&mut source(33)).to_vec(), &weights);
    }
}
