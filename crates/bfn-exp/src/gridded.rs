//! Grids of times applied to a network.

use std::convert::Infallible;

use bfn_core::sampler::Dynamics;
use bfn_core::times::{Step, loss_of_steps};
use bfn_core::{Grid, StepCosts};
use bfn_nets::networks::Mode;
use bfn_nets::{Tensor, Torch};

use crate::examples::Examples;
use crate::model::Model;
use crate::objective::{Encoding, Stored};

/// The grids of a Bayesian flow of any kind.
pub trait Gridded {
    /// Returns steps from `start` to 1 that reduce the expected entropy of the input distribution by equal amounts.
    ///
    /// # Errors
    ///
    /// Returns an error if the start is outside [0, 1) or the steps are too small to be distinguished.
    fn entropy_grid(&self, start: f64, steps: usize) -> Result<Grid, bfn_core::Error>;

    /// Computes the weighted loss of one step for each example, in nats per variable, `[B, D]`.
    fn loss_of_steps(&self, model: &Model, examples: &Examples, steps: &[Step]) -> Tensor;

    /// Measures the costs of all steps of a fine grid in nats, summed over the examples.
    /// `observe` is called for each fine time but the last.
    fn step_costs(&self, model: &Model, examples: &Examples, fine: &Grid, observe: &mut dyn FnMut()) -> StepCosts;
}

impl<F> Gridded for Stored<F>
where
    F: Dynamics<Torch>,
    F::Data: Encoding,
{
    fn entropy_grid(&self, start: f64, steps: usize) -> Result<Grid, bfn_core::Error> {
        self.flow.entropy_grid(start, steps)
    }

    fn loss_of_steps(&self, model: &Model, examples: &Examples, steps: &[Step]) -> Tensor {
        let flow = &self.flow;
        let Message { flow_noise, sender_noise } = self.message(examples);
        let x = F::Data::encode(&examples.x, self.values);
        let predict = |theta: &F::Theta, t: &Tensor| {
            let network_output =
                model.predict(&flow.network_input(theta), t, examples.condition.as_ref(), Mode::Evaluate);
            Ok::<_, Infallible>(flow.output(theta, &network_output, t))
        };
        let Ok(loss) = loss_of_steps(flow, &x, steps, &flow_noise, &sender_noise, predict);
        loss
    }

    fn step_costs(&self, model: &Model, examples: &Examples, fine: &Grid, observe: &mut dyn FnMut()) -> StepCosts {
        let flow = &self.flow;
        let Message { flow_noise, sender_noise } = self.message(examples);
        let x = F::Data::encode(&examples.x, self.values);
        let count = examples.x.size()[0] as usize;
        let predict = |theta: &F::Theta, t: f64| {
            observe();
            let t = flow_noise.full(&[count], t);
            let network_output =
                model.predict(&flow.network_input(theta), &t, examples.condition.as_ref(), Mode::Evaluate);
            Ok::<_, Infallible>(flow.output(theta, &network_output, &t))
        };
        let Ok(costs) = StepCosts::measured(flow, &x, fine, &flow_noise, &sender_noise, predict);
        costs
    }
}

/// The noise of a loss in the shape of a message.
struct Message {
    flow_noise: Tensor,
    sender_noise: Tensor,
}

impl<F> Stored<F>
where
    F: Dynamics<Torch>,
{
    fn message(&self, examples: &Examples) -> Message {
        let shape: Vec<usize> = examples.x.size().iter().map(|length| *length as usize).collect();
        let message = self.flow.message_shape(&shape);
        let as_message = |noise: &tch::Tensor| Tensor::new(noise.shallow_clone()).reshape(&message);
        let flow_noise = as_message(&examples.noise);
        let sender_noise = examples.sender_noise.as_ref().map_or_else(|| flow_noise.full_like(0.0), as_message);
        Message { flow_noise, sender_noise }
    }
}
