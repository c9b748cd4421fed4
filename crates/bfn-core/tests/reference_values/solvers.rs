//! The solvers, compared step by step.

use std::convert::Infallible;

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::discrete::Logits;
use bfn_core::distribution::Categorical;
use bfn_core::sampler::{Dynamics, Sampler, Solver};
use bfn_core::{BayesianFlow, ContinuousFlow, DiscreteFlow, Grid, Nd, NoiseSource, Tensor};

use crate::assert_close;
use crate::file::Reference;

const ETA: f64 = 1e-5;

/// Noise from the file: first that of the start, then that of each step.
struct Recorded(std::vec::IntoIter<Tensor>);

impl NoiseSource<Nd> for Recorded {
    fn normal(&mut self, like: &Tensor) -> Tensor {
        let noise = self.0.next().expect("the file holds noise for every step");
        assert_eq!(noise.shape(), like.shape());
        noise
    }

    fn uniform(&mut self, _like: &Tensor) -> Tensor {
        panic!("no solver of the file draws values")
    }
}

/// Compares a solver's path with that in the file.
fn check<F: Dynamics<Nd>>(
    reference: &Reference,
    solver: Solver,
    flow: &F,
    predict: impl Fn(&F::Theta, f64) -> F::Output,
    state: impl Fn(&F::Theta) -> Tensor,
) {
    for setting in [r#""eta": 1e-05"#, r#""n_steps": 6"#] {
        assert!(reference.text("config").contains(setting), "the file was not made with {setting}");
    }
    let start = reference.tensor("start");
    // The start is its noise times a number that the flow knows.
    let deviation = state(&flow.start(ETA, &start.full_like(1.0)));
    let noise = [vec![&start / deviation], reference.rows("noise")].concat();
    let sampler = Sampler::new(solver, Grid::uniform_from(ETA, 6).unwrap()).unwrap();
    let mut path = Vec::new();
    let predict = |theta: &F::Theta, t: f64| Ok::<_, Infallible>(predict(theta, t));
    let Ok(_) = sampler.sample(flow, &start, &mut Recorded(noise.into_iter()), predict, |moment| {
        path.push(state(moment.theta));
        Ok(())
    });
    let trajectory = reference.rows("trajectory");
    assert_eq!(path.len(), trajectory.len() + 1);
    for (step, (found, expected)) in path[1..].iter().zip(&trajectory).enumerate() {
        assert_eq!(found.shape(), expected.shape());
        for (found, expected) in found.to_values().into_iter().zip(expected.to_values()) {
            let difference = (found - expected).abs();
            assert!(difference <= 1e-9, "{solver}, step {step}: {found}, the reference {expected}");
        }
    }
    assert_close("start", &path[0], &start, 1e-12);
}

fn continuous(name: &str, solver: Solver) {
    let reference = Reference::open(&format!("solvers/continuous_{name}"));
    assert!(reference.text("config").contains(r#""sigma1_squared": 1e-06"#));
    let flow = ContinuousFlow::new(1e-3, Reconstruction::Density { deviation: 1e-3 }).unwrap();
    let (a, b, c) = (reference.tensor("a"), reference.tensor("b"), reference.tensor("c"));
    let predict = |theta: &Belief<Nd>, t: f64| {
        let epsilon_hat = &a * &theta.mu + &b * t + &c;
        flow.output(theta, &epsilon_hat.unsqueeze_last(), &a.full(&[1], t))
    };
    check(&reference, solver, &flow, predict, |theta| theta.mu.clone());
}

fn discrete(name: &str, solver: Solver) {
    let reference = Reference::open(&format!("solvers/discrete_{name}"));
    for setting in [r#""classes": 27"#, r#""beta1": 0.5625"#] {
        assert!(reference.text("config").contains(setting), "the file was not made with {setting}");
    }
    let flow = DiscreteFlow::new(27, 0.5625).unwrap();
    let (a, b) = (reference.tensor("A"), reference.tensor("b"));
    let predict = |theta: &Logits<Nd>, t: f64| {
        // A matrix-vector product: [27, 27] · [2, 3, 1, 27] summed over the last axis.
        let shown = (theta.probabilities() * 2.0 - 1.0).reshape(&[2, 3, 1, 27]);
        Categorical::from_logits(&((&a * shown).sum_last() + &b * t))
    };
    check(&reference, solver, &flow, predict, |theta| theta.0.clone());
}

#[test]
fn continuous_solvers_follow_the_published_paths() {
    continuous("ode_bfnsolver1", Solver::Ode1);
    continuous("ode_bfnsolver2_multi_step", Solver::Ode2);
    continuous("sde_bfnsolver2_multi_step", Solver::Sde2);
    continuous("sde_euler", Solver::SdeEuler);
}

#[test]
fn discrete_solvers_follow_the_published_paths() {
    discrete("ode_bfnsolver1", Solver::Ode1);
    discrete("ode_bfnsolver2_multi_step", Solver::Ode2);
    discrete("ode_bfnsolver2_single_step", Solver::Ode2SingleStep);
    discrete("ode_euler", Solver::OdeEuler);
    discrete("sde_bfnsolver1", Solver::Sde1);
    discrete("sde_bfnsolver2_multi_step", Solver::Sde2);
    discrete("sde_euler", Solver::SdeEuler);
}
