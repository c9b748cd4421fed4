//! Mixed data: data points whose variables are of different kinds.
//!
//! A row of a table may hold a measurement, a rounded number and a few choices. Bayesian flows combine directly:
//! input distributions are independent over the variables, the network sees all of them together, and the loss of a
//! message is the sum over the variables. [`MixedFlow`] holds one flow per *part*, a group of variables of one kind
//! that share a schedule.
//!
//! # Shapes
//!
//! Every tensor that passes between the flow and a network is flat, `[B, …]`, with the parts one after the other and
//! the variables of each part in row-major order:
//!
//! | tensor | width |
//! | --- | --- |
//! | noise, messages | [`message_width`](MixedFlow::message_width): per variable 1, or K for discrete data |
//! | network input | [`input_width`](MixedFlow::input_width): per variable 1, or K for more than two classes |
//! | network output | [`output_width`](MixedFlow::output_width): per variable the outputs that its flow needs |
//!
//! Each part has its own accuracies. Messages and step losses therefore take the two *times* of a step, where a
//! [`BayesianFlow`] of one kind takes the accuracy.

mod conditional;
mod motion;
mod part;
mod sampler;
mod values;

pub use part::Part;
pub use sampler::ancestral;
pub use values::{MixedLoss, MixedOutput, MixedValues, PartKind, PartLoss, PartOutput, PartTheta, PartValues};

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::error::{Error, check};
use crate::{Backend, BayesianFlow, ContinuousFlow, DiscreteFlow, DiscretisedFlow};
use crate::{Indices, Nd, Tensor};

/// The Bayesian flow of data points with variables of different kinds.
///
/// Schedules, heads and numbers of bins or classes may differ from part to part. If the types differ from the
/// defaults, name the types `C`, `X` and `D` of the three kinds of flow.
///
/// # Examples
///
/// One real number and two variables of three classes, two examples:
///
/// ```
/// use bfn_core::continuous::Reconstruction;
/// use bfn_core::mixed::{MixedFlow, MixedValues, Part, PartValues};
/// use bfn_core::{ContinuousFlow, DiscreteFlow, Nd, Tensor};
///
/// let flow: MixedFlow<Nd> = MixedFlow::new(vec![
///     Part::Continuous { variables: 1, flow: ContinuousFlow::new(0.1, Reconstruction::Density { deviation: 0.1 })? },
///     Part::Discrete { variables: 2, flow: DiscreteFlow::new(3, 2.0)? },
/// ])?;
/// let like: Tensor = Tensor::from_nd(ndarray::ArrayD::zeros(vec![1]));
/// let x = MixedValues(vec![
///     PartValues::Reals(like.from_values_like(&[2, 1], &[0.5, -0.25])),
///     PartValues::Indices(like.indices_like(&[2, 2], &[0, 2, 1, 1])),
/// ]);
/// let t = like.full(&[2], 0.5);
/// let theta = flow.flow(&x, &t, &like.full(&[2, flow.message_width()], 0.0));
/// let net = like.full(&[flow.network_input(&theta).shape()[0], flow.output_width()], 0.0);
/// let loss = flow.loss_continuous_time(&x, &flow.output(&theta, &net, &t), &t);
/// assert_eq!(loss.per_variable().shape(), [2, 3]);
/// # Ok::<(), bfn_core::Error>(())
/// ```
///
/// Source: Graves et al. 2023, section 3, which does not require variables of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct MixedFlow<B: Backend = Nd, C = ContinuousFlow, X = DiscretisedFlow, D = DiscreteFlow> {
    parts: Vec<Part<C, X, D>>,
    backend: PhantomData<fn() -> B>,
}

/// The output distributions that a [`MixedFlow`] of these flows predicts.
pub type Predicted<B, C, X, D> =
    MixedOutput<<C as BayesianFlow<B>>::Output, <X as BayesianFlow<B>>::Output, <D as BayesianFlow<B>>::Output>;

/// The output distribution that one part of a [`MixedFlow`] predicts.
type PartPredicted<B, C, X, D> =
    PartOutput<<C as BayesianFlow<B>>::Output, <X as BayesianFlow<B>>::Output, <D as BayesianFlow<B>>::Output>;

/// Evaluates an expression for the flow of a part of any kind.
macro_rules! with_flow {
    ($part:expr, $variables:ident, $flow:ident => $value:expr) => {
        match $part {
            Part::Continuous { variables: $variables, flow: $flow } => $value,
            Part::Discretised { variables: $variables, flow: $flow } => $value,
            Part::Discrete { variables: $variables, flow: $flow } => $value,
        }
    };
}

/// Evaluates an expression for the flow of a part and its data, in the data type of the part.
macro_rules! with_values {
    ($part:expr, $values:expr, $flow:ident, $x:ident => $value:expr) => {
        match $part {
            Part::Continuous { flow: $flow, .. } => {
                let $x = $values.reals();
                $value
            }
            Part::Discretised { flow: $flow, .. } => {
                let $x = $values.indices();
                $value
            }
            Part::Discrete { flow: $flow, .. } => {
                let $x = $values.indices();
                $value
            }
        }
    };
}

/// Evaluates an expression for the flow of a part, its data and its output distribution.
macro_rules! with_output {
    ($part:expr, $values:expr, $output:expr, $flow:ident, $x:ident, $o:ident => $value:expr) => {
        match ($part, $output) {
            (Part::Continuous { flow: $flow, .. }, PartOutput::Continuous($o)) => {
                let $x = $values.reals();
                $value
            }
            (Part::Discretised { flow: $flow, .. }, PartOutput::Discretised($o)) => {
                let $x = $values.indices();
                $value
            }
            (Part::Discrete { flow: $flow, .. }, PartOutput::Discrete($o)) => {
                let $x = $values.indices();
                $value
            }
            (part, _) => part.panic_at_other_kind(),
        }
    };
}

impl<B, C, X, D> MixedFlow<B, C, X, D>
where
    B: Backend,
    C: BayesianFlow<B, Data = Tensor<B>, Theta = Belief<B>>,
    X: BayesianFlow<B, Data = Indices<B>, Theta = Belief<B>>,
    D: BayesianFlow<B, Data = Indices<B>, Theta = Logits<B>>,
{
    /// Creates the flow of data points made of these parts, in this order.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless there is at least one part and each part has at least one variable.
    pub fn new(parts: Vec<Part<C, X, D>>) -> Result<Self, Error> {
        check("parts", parts.len() as f64, "at least 1", !parts.is_empty())?;
        for part in &parts {
            check("variables", part.variables() as f64, "at least 1", part.variables() > 0)?;
        }
        Ok(Self { parts, backend: PhantomData })
    }

    /// Returns the parts.
    pub fn parts(&self) -> &[Part<C, X, D>] {
        &self.parts
    }

    /// Returns D, the number of variables of a data point.
    pub fn variables(&self) -> usize {
        self.parts.iter().map(Part::variables).sum()
    }

    /// Returns the number of values in a message about one data point, and in its noise.
    pub fn message_width(&self) -> usize {
        self.parts.iter().map(Self::part_width).sum()
    }

    /// Returns the number of network inputs computed from θ of one data point; `like` sets the precision.
    pub fn input_width(&self, like: &Tensor<B>) -> usize {
        let theta = self.prior(&like.full(&[1, self.message_width()], 0.0));
        self.network_input(&theta).shape()[1]
    }

    /// Returns the number of network outputs for one data point.
    pub fn output_width(&self) -> usize {
        self.parts.iter().map(|part| with_flow!(part, variables, flow => variables * flow.outputs_per_variable())).sum()
    }

    /// Returns θ₀ of every part, for messages in the shape of `like`, `[B, W]`.
    pub fn prior(&self, like: &Tensor<B>) -> Vec<PartTheta<B>> {
        self.split_message(like)
            .zip(&self.parts)
            .map(|(like, part)| match part {
                Part::Continuous { flow, .. } => PartTheta::Belief(flow.prior(&like)),
                Part::Discretised { flow, .. } => PartTheta::Belief(flow.prior(&like)),
                Part::Discrete { flow, .. } => PartTheta::Logits(flow.prior(&like)),
            })
            .collect()
    }

    /// Draws θ ~ p_F(θ | x; t) from standard normal `noise` `[B, W]`, each part under its own schedule.
    ///
    /// `t` is one number per example, `[B]`.
    pub fn flow(&self, x: &MixedValues<B>, t: &Tensor<B>, noise: &Tensor<B>) -> Vec<PartTheta<B>> {
        self.split_message(noise)
            .zip(&self.parts)
            .zip(self.split_values(x))
            .map(|((noise, part), x)| match part {
                Part::Continuous { flow, .. } => PartTheta::Belief(flow.flow(x.reals(), t, &noise)),
                Part::Discretised { flow, .. } => PartTheta::Belief(flow.flow(x.indices(), t, &noise)),
                Part::Discrete { flow, .. } => PartTheta::Logits(flow.flow(x.indices(), t, &noise)),
            })
            .collect()
    }

    /// Converts θ into the network input `[B, input_width]`: the inputs of all parts, flat, one after the other.
    pub fn network_input(&self, theta: &[PartTheta<B>]) -> Tensor<B> {
        let inputs = self.parts.iter().zip(theta).map(|(part, theta)| match part {
            Part::Continuous { flow, .. } => flow.network_input(theta.belief()),
            Part::Discretised { flow, .. } => flow.network_input(theta.belief()),
            Part::Discrete { flow, .. } => flow.network_input(theta.logits()),
        });
        join(inputs)
    }

    /// Returns p_O(· | θ; t) of every part, from network output of shape `[B, output_width]`.
    ///
    /// # Panics
    ///
    /// Panics if the network output has another width.
    pub fn output(&self, theta: &[PartTheta<B>], network_output: &Tensor<B>, t: &Tensor<B>) -> Predicted<B, C, X, D> {
        let widths =
            self.parts.iter().map(|part| with_flow!(part, variables, flow => variables * flow.outputs_per_variable()));
        let slices = split("network output", network_output, widths);
        let outputs = self.parts.iter().zip(theta).zip(slices).map(|((part, theta), net)| {
            let batch = net.shape()[0];
            let net = net.reshape(&[batch, part.variables(), net.shape()[1] / part.variables()]);
            match part {
                Part::Continuous { flow, .. } => PartOutput::Continuous(flow.output(theta.belief(), &net, t)),
                Part::Discretised { flow, .. } => PartOutput::Discretised(flow.output(theta.belief(), &net, t)),
                Part::Discrete { flow, .. } => PartOutput::Discrete(flow.output(theta.logits(), &net, t)),
            }
        });
        MixedOutput(outputs.collect())
    }

    /// Draws the message y ~ p_S(y | x; α_p) `[B, W]` from standard normal `noise` `[B, W]`.
    ///
    /// α_p is the accuracy of each part between the times `from` and `to`.
    pub fn send(&self, x: &MixedValues<B>, from: f64, to: f64, noise: &Tensor<B>) -> Tensor<B> {
        let messages =
            self.split_message(noise).zip(&self.parts).zip(self.split_values(x)).map(|((noise, part), x)| {
                with_values!(part, x, flow, x => {
                    let alpha = noise.full(&[1], flow.step_accuracy(from, to));
                    flow.send(x, &alpha, &noise)
                })
            });
        join(messages)
    }

    /// Computes θ' = h(θ, y, α_p), the Bayesian update with a message y `[B, W]` sent between `from` and `to`.
    pub fn update(&self, theta: &[PartTheta<B>], y: &Tensor<B>, from: f64, to: f64) -> Vec<PartTheta<B>> {
        self.split_message(y)
            .zip(&self.parts)
            .zip(theta)
            .map(|((y, part), theta)| {
                let alpha = with_flow!(part, _variables, flow => flow.step_accuracy(from, to));
                match part {
                    Part::Continuous { flow, .. } => PartTheta::Belief(flow.update(theta.belief(), &y, alpha)),
                    Part::Discretised { flow, .. } => PartTheta::Belief(flow.update(theta.belief(), &y, alpha)),
                    Part::Discrete { flow, .. } => PartTheta::Logits(flow.update(theta.logits(), &y, alpha)),
                }
            })
            .collect()
    }

    /// Computes the integrand of L^∞(x) at the times `t` `[B]`, in nats.
    pub fn loss_continuous_time(
        &self,
        x: &MixedValues<B>,
        output: &Predicted<B, C, X, D>,
        t: &Tensor<B>,
    ) -> MixedLoss<B> {
        self.losses(x, output, |_, part, x, output| {
            with_output!(part, x, output, flow, x, output => flow.loss_continuous_time(x, output, t))
        })
    }

    /// Computes KL(p_S ‖ p_R) of the message sent between the times `from` and `to`, in nats.
    ///
    /// `from` and `to` hold one number per example each. The loss is the mean over standard normal `noise` `[B, W]`
    /// and its mirror image, [`BayesianFlow::loss_step_steady`] of every part.
    ///
    /// # Panics
    ///
    /// Panics if `from` and `to` hold different numbers of times.
    pub fn loss_step(
        &self,
        x: &MixedValues<B>,
        output: &Predicted<B, C, X, D>,
        from: &[f64],
        to: &[f64],
        noise: &Tensor<B>,
    ) -> MixedLoss<B> {
        assert_eq!(from.len(), to.len(), "a step has two times: {} starts, {} ends", from.len(), to.len());
        let noise: Vec<Tensor<B>> = self.split_message(noise).collect();
        self.losses(x, output, |index, part, x, output| {
            let noise = &noise[index];
            with_output!(part, x, output, flow, x, output => {
                let accuracies: Vec<f64> = from.iter().zip(to).map(|(s, t)| flow.step_accuracy(*s, *t)).collect();
                flow.loss_step_steady(x, output, &noise.from_values_like(&[from.len()], &accuracies), noise)
            })
        })
    }

    /// Computes the integrand of L^r(x), in nats; `output` is the prediction at t = 1.
    pub fn loss_reconstruction(&self, x: &MixedValues<B>, output: &Predicted<B, C, X, D>) -> MixedLoss<B> {
        self.losses(
            x,
            output,
            |_, part, x, output| with_output!(part, x, output, flow, x, output => flow.loss_reconstruction(x, output)),
        )
    }

    fn losses(
        &self,
        x: &MixedValues<B>,
        output: &Predicted<B, C, X, D>,
        loss: impl Fn(usize, &Part<C, X, D>, &PartValues<B>, &PartPredicted<B, C, X, D>) -> Tensor<B>,
    ) -> MixedLoss<B> {
        assert_eq!(output.0.len(), self.parts.len(), "outputs and parts");
        let parts = self.parts.iter().zip(self.split_values(x)).zip(&output.0).enumerate();
        let losses = parts
            .map(|(index, ((part, x), output))| PartLoss { kind: part.kind(), nats: loss(index, part, x, output) });
        MixedLoss(losses.collect())
    }

    fn part_width(part: &Part<C, X, D>) -> usize {
        with_flow!(part, variables, flow => flow.message_shape(&[*variables]).iter().product())
    }

    /// Splits a message into the parts, each in the shape of its flow's messages.
    fn split_message<'a>(&'a self, message: &Tensor<B>) -> impl Iterator<Item = Tensor<B>> + use<'a, B, C, X, D> {
        let slices = split("message", message, self.parts.iter().map(Self::part_width));
        slices.into_iter().zip(&self.parts).map(|(slice, part)| {
            let batch = slice.shape()[0];
            slice.reshape(&with_flow!(part, variables, flow => flow.message_shape(&[batch, *variables])))
        })
    }

    fn split_values<'a>(&self, x: &'a MixedValues<B>) -> std::slice::Iter<'a, PartValues<B>> {
        assert_eq!(x.0.len(), self.parts.len(), "parts of the data, parts of the flow");
        for (part, values) in self.parts.iter().zip(&x.0) {
            let shape = values.shape();
            assert_eq!(shape.last(), Some(&part.variables()), "variables of a part with data of shape {shape:?}");
        }
        x.0.iter()
    }
}

/// Splits the last axis of `[B, Σ widths]` into consecutive parts.
fn split<B: Backend>(what: &str, tensor: &Tensor<B>, widths: impl Iterator<Item = usize>) -> Vec<Tensor<B>> {
    let widths: Vec<usize> = widths.collect();
    let shape = tensor.shape();
    let total: usize = widths.iter().sum();
    assert!(shape.len() == 2 && shape[1] == total, "{what}: expected shape [B, {total}], found shape {shape:?}");
    let starts = widths.iter().scan(0, |start, width| {
        *start += width;
        Some(*start - width)
    });
    starts.zip(&widths).map(|(start, width)| tensor.slice_last(start, *width)).collect()
}

/// Flattens tensors `[B, …]` and joins them: `[B, Σ widths]`.
fn join<B: Backend>(tensors: impl Iterator<Item = Tensor<B>>) -> Tensor<B> {
    let flat: Vec<Tensor<B>> = tensors
        .map(|tensor| {
            let shape = tensor.shape();
            tensor.reshape(&[shape[0], shape[1..].iter().product()])
        })
        .collect();
    Tensor::concat_last(&flat.iter().collect::<Vec<_>>())
}
