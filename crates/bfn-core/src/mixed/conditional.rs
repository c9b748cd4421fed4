//! Rows with some known cells: every part weighs its own messages.

use super::{MixedFlow, MixedValues, Part, PartOutput, PartTheta, Predicted, join, split};
use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::sampler::{Conditional, Dynamics};
use crate::{Backend, BayesianFlow, Indices, Tensor};

/// Weights and masks of known variables are `[B, D]`, the parts one after the other.
impl<B, C, X, D> Conditional<B> for MixedFlow<B, C, X, D>
where
    B: Backend,
    C: Conditional<B> + Dynamics<B> + BayesianFlow<B, Data = Tensor<B>, Theta = Belief<B>>,
    X: Conditional<B> + Dynamics<B> + BayesianFlow<B, Data = Indices<B>, Theta = Belief<B>>,
    D: Conditional<B> + Dynamics<B> + BayesianFlow<B, Data = Indices<B>, Theta = Logits<B>>,
{
    fn spread(&self, per_variable: &Tensor<B>, like: &Tensor<B>) -> Tensor<B> {
        let numbers = split("numbers per variable", per_variable, self.parts.iter().map(Part::variables));
        join(self.split_message(like).zip(&self.parts).zip(&numbers).map(|((like, part), numbers)| match part {
            Part::Continuous { flow, .. } => flow.spread(numbers, &like),
            Part::Discretised { flow, .. } => flow.spread(numbers, &like),
            Part::Discrete { flow, .. } => flow.spread(numbers, &like),
        }))
    }

    fn message_weight(
        &self,
        x: &MixedValues<B>,
        output: &Predicted<B, C, X, D>,
        from: f64,
        to: f64,
        noise: &Tensor<B>,
    ) -> Tensor<B> {
        let parts = self.split_message(noise).zip(&self.parts).zip(self.split_values(x)).zip(&output.0);
        join(parts.map(|(((noise, part), x), output)| match (part, output) {
            (Part::Continuous { flow, .. }, PartOutput::Continuous(output)) => {
                flow.message_weight(x.reals(), output, from, to, &noise)
            }
            (Part::Discretised { flow, .. }, PartOutput::Discretised(output)) => {
                flow.message_weight(x.indices(), output, from, to, &noise)
            }
            (Part::Discrete { flow, .. }, PartOutput::Discrete(output)) => {
                flow.message_weight(x.indices(), output, from, to, &noise)
            }
            (part, _) => part.panic_at_other_kind(),
        }))
    }

    fn last_weight(&self, x: &MixedValues<B>, output: &Predicted<B, C, X, D>) -> Tensor<B> {
        -self.loss_reconstruction(x, output).per_variable()
    }

    fn steer(&self, gradient: &Tensor<B>, t: f64) -> Tensor<B> {
        join(self.split_message(gradient).zip(&self.parts).map(|(gradient, part)| match part {
            Part::Continuous { flow, .. } => flow.steer(&gradient, t),
            Part::Discretised { flow, .. } => flow.steer(&gradient, t),
            Part::Discrete { flow, .. } => flow.steer(&gradient, t),
        }))
    }

    fn select(&self, theta: &Vec<PartTheta<B>>, examples: &[usize]) -> Vec<PartTheta<B>> {
        let parts = self.parts.iter().zip(theta).map(|(part, theta)| match part {
            Part::Continuous { flow, .. } => PartTheta::Belief(flow.select(theta.belief(), examples)),
            Part::Discretised { flow, .. } => PartTheta::Belief(flow.select(theta.belief(), examples)),
            Part::Discrete { flow, .. } => PartTheta::Logits(flow.select(theta.logits(), examples)),
        });
        parts.collect()
    }
}
