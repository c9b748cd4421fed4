//! Convergence L^n → L^∞ at rate 1/n, with a fixed imperfect predictor and exact expectations.

use bfn_core::continuous::{Belief, Reconstruction};
use bfn_core::distribution::{Categorical, Delta, DiscretisedNormal, Probability};
use bfn_core::{BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow, Grid, Interval, Nd, Tensor};

use crate::statistics::{Node, normal_nodes, order, unit_nodes};
use crate::{indices, row, tensor};

/// A flow with a predictor that is wrong in a fixed way, and noise that spans everything its losses depend on.
struct Game<'a, F: BayesianFlow<Nd>> {
    flow: F,
    x: F::Data,
    predict: &'a dyn Fn(&F::Theta) -> F::Output,
    /// The noise of one message as a function of one standard normal number.
    noise: &'a dyn Fn(f64) -> Vec<f64>,
}

impl<F: BayesianFlow<Nd>> Game<'_, F> {
    /// Computes L^n: Σ_i E_θ E_y of the loss of one step.
    fn n_step(&self, n: usize) -> f64 {
        let step = |Interval { from, to }| {
            let alpha = self.flow.step_accuracy(from, to);
            self.expect(from, |output, message| self.flow.loss_step(&self.x, output, &row(&[alpha]), message))
        };
        Grid::uniform(n).unwrap().steps().map(step).sum()
    }

    /// Computes L^∞: ∫ dt E_θ of the continuous-time loss.
    fn continuous_time(&self) -> f64 {
        let integrand = |t: f64| {
            let loss = |output: &F::Output, _: &Tensor| self.flow.loss_continuous_time(&self.x, output, &row(&[t]));
            self.expect(t, loss)
        };
        unit_nodes(400).iter().map(|node| node.weight * integrand(node.at)).sum()
    }

    /// Computes the expectation of a loss over θ ~ p_F at time t and over the message's noise.
    ///
    /// The batch holds every pair of a node for θ and a node for the message.
    fn expect(&self, t: f64, loss: impl Fn(&F::Output, &Tensor) -> Tensor) -> f64 {
        let nodes: Vec<Node> = normal_nodes().into_iter().step_by(2).collect();
        let pairs: Vec<[Node; 2]> = nodes.iter().flat_map(|a| nodes.iter().map(|b| [*a, *b])).collect();
        let noise = |which: usize| -> Tensor {
            let values: Vec<f64> = pairs.iter().flat_map(|pair| (self.noise)(pair[which].at)).collect();
            let mut shape = vec![pairs.len(), values.len() / pairs.len()];
            shape.retain(|length| *length > 1);
            tensor(&shape, &values)
        };
        let theta = self.flow.flow(&self.x, &row(&[t]), &noise(0));
        let losses = loss(&(self.predict)(&theta), &noise(1)).to_values();
        // Only every second node of the trapezoidal rule is used, so its step doubles.
        losses.iter().zip(&pairs).map(|(loss, [a, b])| loss * 4.0 * a.weight * b.weight).sum()
    }

    fn assert_order_one(&self) {
        let limit = self.continuous_time();
        let errors: Vec<(f64, f64)> =
            [16, 32, 64, 128].iter().map(|n| (*n as f64, (self.n_step(*n) - limit).abs())).collect();
        let found = order(&errors);
        assert!(errors[3].1 < 0.05 * limit, "L^128 is {} from L^∞ = {limit}", errors[3].1);
        assert!((found + 1.0).abs() < 0.1, "order {found}, errors {errors:?}, L^∞ = {limit}");
    }
}

const PAIRS: usize = 61 * 61;

#[test]
fn continuous_data() {
    let flow = ContinuousFlow::new(0.3, Reconstruction::Density { deviation: 0.3 }).unwrap();
    let x = tensor(&[PAIRS], &[0.7; PAIRS]);
    let predict = |theta: &Belief<Nd>| Delta { x_hat: &theta.mu * 0.5 + 0.1 };
    Game { flow, x, predict: &predict, noise: &|z| vec![z] }.assert_order_one();
}

#[test]
fn discretised_data() {
    let flow = DiscretisedFlow::new(4, 0.4).unwrap();
    let x = indices(&[PAIRS], &[2; PAIRS]);
    let predict = |theta: &Belief<Nd>| DiscretisedNormal {
        mean: &theta.mu * 0.5 - 0.2,
        deviation: theta.mu.full_like(0.7),
        bins: 4,
        probability: Probability::Exact,
    };
    Game { flow, x, predict: &predict, noise: &|z| vec![z] }.assert_order_one();
}

#[test]
fn discrete_data() {
    let flow = DiscreteFlow::new(2, 0.8).unwrap();
    let x = indices(&[PAIRS], &[1; PAIRS]);
    let predict = |theta: &bfn_core::discrete::Logits<Nd>| Categorical::from_logits(&(&theta.0 * 0.5));
    // Only the difference of the two logits matters; its noise is √2 times a standard normal.
    let half = 0.5_f64.sqrt();
    Game { flow, x, predict: &predict, noise: &|z| vec![-half * z, half * z] }.assert_order_one();
}
