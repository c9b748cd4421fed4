//! The solvers for data points of mixed kinds: each part has its own schedule, all are predicted together.

use super::{MixedFlow, MixedOutput, MixedValues, Part, PartOutput, PartTheta, PartValues, Predicted, join};
use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::sampler::{Advance, Dynamics, Motion, Other};
use crate::{Backend, BayesianFlow, Error, Grid, Indices, Schedule, Tensor, entropy};

/// States and signals are those of the parts; signals, noise and messages are flat, `[B, W]`.
impl<B, C, X, D> Motion<B> for MixedFlow<B, C, X, D>
where
    B: Backend,
    C: Dynamics<B> + BayesianFlow<B, Data = Tensor<B>, Theta = Belief<B>>,
    X: Dynamics<B> + BayesianFlow<B, Data = Indices<B>, Theta = Belief<B>>,
    D: Dynamics<B> + BayesianFlow<B, Data = Indices<B>, Theta = Logits<B>>,
{
    type State = Vec<PartTheta<B>>;
    type Prediction = Predicted<B, C, X, D>;

    fn mean_signal(&self, output: &Predicted<B, C, X, D>) -> Tensor<B> {
        join(self.parts.iter().zip(&output.0).map(|(part, output)| match (part, output) {
            (Part::Continuous { flow, .. }, PartOutput::Continuous(output)) => flow.mean_signal(output),
            (Part::Discretised { flow, .. }, PartOutput::Discretised(output)) => flow.mean_signal(output),
            (Part::Discrete { flow, .. }, PartOutput::Discrete(output)) => flow.mean_signal(output),
            (part, _) => part.panic_at_other_kind(),
        }))
    }

    fn signal(&self, x: &MixedValues<B>, like: &Tensor<B>) -> Tensor<B> {
        let parts = self.split_message(like).zip(&self.parts).zip(self.split_values(x));
        join(parts.map(|((like, part), x)| match part {
            Part::Continuous { flow, .. } => flow.signal(x.reals(), &like),
            Part::Discretised { flow, .. } => flow.signal(x.indices(), &like),
            Part::Discrete { flow, .. } => flow.signal(x.indices(), &like),
        }))
    }

    fn nearest(&self, output: &Predicted<B, C, X, D>) -> MixedValues<B> {
        let values = self.parts.iter().zip(&output.0).map(|(part, output)| match (part, output) {
            (Part::Continuous { flow, .. }, PartOutput::Continuous(output)) => PartValues::Reals(flow.nearest(output)),
            (Part::Discretised { flow, .. }, PartOutput::Discretised(output)) => {
                PartValues::Indices(flow.nearest(output))
            }
            (Part::Discrete { flow, .. }, PartOutput::Discrete(output)) => PartValues::Indices(flow.nearest(output)),
            (part, _) => part.panic_at_other_kind(),
        });
        MixedValues(values.collect())
    }

    fn tempered(&self, output: Predicted<B, C, X, D>, temperature: f64) -> Predicted<B, C, X, D> {
        let outputs = self.parts.iter().zip(output.0).map(|(part, output)| match (part, output) {
            (Part::Continuous { flow, .. }, PartOutput::Continuous(output)) => {
                PartOutput::Continuous(flow.tempered(output, temperature))
            }
            (Part::Discretised { flow, .. }, PartOutput::Discretised(output)) => {
                PartOutput::Discretised(flow.tempered(output, temperature))
            }
            (Part::Discrete { flow, .. }, PartOutput::Discrete(output)) => {
                PartOutput::Discrete(flow.tempered(output, temperature))
            }
            (part, _) => part.panic_at_other_kind(),
        });
        MixedOutput(outputs.collect())
    }

    fn start(&self, t: f64, noise: &Tensor<B>) -> Vec<PartTheta<B>> {
        let parts = self.split_message(noise).zip(&self.parts).map(|(noise, part)| match part {
            Part::Continuous { flow, .. } => PartTheta::Belief(flow.start(t, &noise)),
            Part::Discretised { flow, .. } => PartTheta::Belief(flow.start(t, &noise)),
            Part::Discrete { flow, .. } => PartTheta::Logits(flow.start(t, &noise)),
        });
        parts.collect()
    }

    fn advance(&self, theta: &Vec<PartTheta<B>>, step: &Advance<'_, B>) -> Vec<PartTheta<B>> {
        let split = |tensor: &Tensor<B>| self.split_message(tensor).collect::<Vec<_>>();
        let (signals, noises) = (split(step.signal), step.noise.map(split));
        let others = step.other.map(|other| split(&other.signal));
        let parts = self.parts.iter().zip(theta).enumerate().map(|(i, (part, theta))| {
            let (noise, t) = (noises.as_ref().map(|noises| &noises[i]), step.other.map(|other| other.t));
            let other = others.as_ref().zip(t).map(|(others, t)| Other { t, signal: others[i].clone() });
            let step = Advance { signal: &signals[i], other: other.as_ref(), noise, ..*step };
            match part {
                Part::Continuous { flow, .. } => PartTheta::Belief(flow.advance(theta.belief(), &step)),
                Part::Discretised { flow, .. } => PartTheta::Belief(flow.advance(theta.belief(), &step)),
                Part::Discrete { flow, .. } => PartTheta::Logits(flow.advance(theta.logits(), &step)),
            }
        });
        parts.collect()
    }

    fn retreat(&self, theta: &Vec<PartTheta<B>>, from: f64, to: f64, noise: &Tensor<B>) -> Vec<PartTheta<B>> {
        let parts = self.split_message(noise).zip(&self.parts).zip(theta).map(|((noise, part), theta)| match part {
            Part::Continuous { flow, .. } => PartTheta::Belief(flow.retreat(theta.belief(), from, to, &noise)),
            Part::Discretised { flow, .. } => PartTheta::Belief(flow.retreat(theta.belief(), from, to, &noise)),
            Part::Discrete { flow, .. } => PartTheta::Logits(flow.retreat(theta.logits(), from, to, &noise)),
        });
        parts.collect()
    }

    /// Returns the mean of the parts' middles; their order of accuracy is the same for any time between the two.
    fn middle(&self, from: f64, to: f64) -> f64 {
        let middles = self.parts.iter().map(|part| match part {
            Part::Continuous { flow, .. } => flow.middle(from, to),
            Part::Discretised { flow, .. } => flow.middle(from, to),
            Part::Discrete { flow, .. } => flow.middle(from, to),
        });
        middles.sum::<f64>() / self.parts.len() as f64
    }

    fn expected_entropy<'a>(&'a self) -> Result<Box<dyn Fn(f64) -> f64 + 'a>, Error> {
        let of_part = |part: &'a Part<C, X, D>| -> Result<Box<dyn Fn(f64) -> f64 + 'a>, Error> {
            let (variables, entropy) = match part {
                Part::Continuous { variables, flow } => (*variables, flow.expected_entropy()?),
                Part::Discretised { variables, flow } => (*variables, flow.expected_entropy()?),
                Part::Discrete { variables, flow } => (*variables, flow.expected_entropy()?),
            };
            Ok(Box::new(move |t| variables as f64 * entropy(t)))
        };
        let parts = self.parts.iter().map(of_part).collect::<Result<Vec<_>, Error>>()?;
        Ok(Box::new(move |t| parts.iter().map(|entropy| entropy(t)).sum()))
    }

    fn entropy_grid(&self, eta: f64, steps: usize) -> Result<Grid, Error> {
        entropy::grid(self.expected_entropy()?, &TimeItself, eta, steps)
    }
}

/// The schedule β(t) = t, for an entropy given as a function of time, since each part has its own schedule.
#[derive(Debug)]
struct TimeItself;

impl Schedule for TimeItself {
    fn beta(&self, t: &f64) -> f64 {
        *t
    }

    fn alpha(&self, _t: &f64) -> f64 {
        1.0
    }

    fn time(&self, beta: &f64) -> f64 {
        *beta
    }
}
