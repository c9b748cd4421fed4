//! Data, input distributions, predictions and losses of data points with several parts.

use crate::continuous::Belief;
use crate::discrete::Logits;
use crate::{Backend, Indices, NoiseSource, OutputDistribution, Tensor};

/// The kind of a part's variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// Real numbers.
    Continuous,
    /// Bins of [−1, 1].
    Discretised,
    /// Classes.
    Discrete,
}

/// A batch of one part's values, `[B, D]` for D variables.
#[derive(Debug, Clone)]
pub enum PartValues<B: Backend> {
    /// Values of continuous data.
    Reals(Tensor<B>),
    /// Values of discretised and discrete data.
    Indices(Indices<B>),
}

/// A batch of mixed data: the values of every part, in order.
#[derive(Debug, Clone)]
pub struct MixedValues<B: Backend>(pub Vec<PartValues<B>>);

/// The parameters θ of one part's input distribution.
#[derive(Debug, Clone)]
pub enum PartTheta<B: Backend> {
    /// The parameters for continuous and discretised data.
    Belief(Belief<B>),
    /// The parameters for discrete data.
    Logits(Logits<B>),
}

/// The output distribution of one part.
#[derive(Debug, Clone)]
pub enum PartOutput<C, X, D> {
    /// The output distribution of continuous data.
    Continuous(C),
    /// The output distribution of discretised data.
    Discretised(X),
    /// The output distribution of discrete data.
    Discrete(D),
}

/// The output distributions of all parts, in order, which are independent of each other.
#[derive(Debug, Clone)]
pub struct MixedOutput<C, X, D>(pub Vec<PartOutput<C, X, D>>);

/// The loss of one part.
#[derive(Debug, Clone)]
pub struct PartLoss<B: Backend> {
    /// The kind of the part's variables.
    pub kind: PartKind,
    /// The loss of each variable in nats, `[B, D]`.
    pub nats: Tensor<B>,
}

/// A loss of mixed data: the losses of all parts, in order.
#[derive(Debug, Clone)]
pub struct MixedLoss<B: Backend>(pub Vec<PartLoss<B>>);

impl<B: Backend> PartValues<B> {
    /// Returns the real numbers.
    ///
    /// # Panics
    ///
    /// Panics if these are indices.
    pub fn reals(&self) -> &Tensor<B> {
        match self {
            Self::Reals(values) => values,
            Self::Indices(_) => panic!("a continuous part holds real numbers, not indices"),
        }
    }

    /// Returns the bins or classes.
    ///
    /// # Panics
    ///
    /// Panics if these are real numbers.
    pub fn indices(&self) -> &Indices<B> {
        match self {
            Self::Indices(values) => values,
            Self::Reals(_) => panic!("a discretised or discrete part holds indices, not real numbers"),
        }
    }

    /// Returns the lengths of the axes.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Reals(values) => values.shape(),
            Self::Indices(values) => values.shape(),
        }
    }
}

impl<B: Backend> PartTheta<B> {
    /// Returns the normal belief.
    ///
    /// # Panics
    ///
    /// Panics if this is the belief about discrete data.
    pub fn belief(&self) -> &Belief<B> {
        match self {
            Self::Belief(belief) => belief,
            Self::Logits(_) => panic!("the belief about continuous or discretised data is normal, not categorical"),
        }
    }

    /// Returns the logits.
    ///
    /// # Panics
    ///
    /// Panics if this is the belief about continuous or discretised data.
    pub fn logits(&self) -> &Logits<B> {
        match self {
            Self::Logits(logits) => logits,
            Self::Belief(_) => panic!("the belief about discrete data is categorical, not normal"),
        }
    }
}

impl<B, C, X, D> OutputDistribution<B> for MixedOutput<C, X, D>
where
    B: Backend,
    C: OutputDistribution<B, Value = Tensor<B>>,
    X: OutputDistribution<B, Value = Indices<B>>,
    D: OutputDistribution<B, Value = Indices<B>>,
{
    type Value = MixedValues<B>;

    fn mode(&self) -> MixedValues<B> {
        let modes = self.0.iter().map(|part| match part {
            PartOutput::Continuous(output) => PartValues::Reals(output.mode()),
            PartOutput::Discretised(output) => PartValues::Indices(output.mode()),
            PartOutput::Discrete(output) => PartValues::Indices(output.mode()),
        });
        MixedValues(modes.collect())
    }

    /// Returns the log-probabilities of all variables, the parts one after the other along the last axis.
    fn log_prob(&self, x: &MixedValues<B>) -> Tensor<B> {
        assert_eq!(self.0.len(), x.0.len(), "parts of the output, parts of the data");
        let parts: Vec<Tensor<B>> = self
            .0
            .iter()
            .zip(&x.0)
            .map(|(part, x)| match part {
                PartOutput::Continuous(output) => output.log_prob(x.reals()),
                PartOutput::Discretised(output) => output.log_prob(x.indices()),
                PartOutput::Discrete(output) => output.log_prob(x.indices()),
            })
            .collect();
        Tensor::concat_last(&parts.iter().collect::<Vec<_>>())
    }

    fn draw(&self, noise: &mut dyn NoiseSource<B>) -> MixedValues<B> {
        let draws = self.0.iter().map(|part| match part {
            PartOutput::Continuous(output) => PartValues::Reals(output.draw(noise)),
            PartOutput::Discretised(output) => PartValues::Indices(output.draw(noise)),
            PartOutput::Discrete(output) => PartValues::Indices(output.draw(noise)),
        });
        MixedValues(draws.collect())
    }
}

impl<B: Backend> MixedLoss<B> {
    /// Returns the loss of each variable in nats, `[B, D]`, the parts one after the other.
    pub fn per_variable(&self) -> Tensor<B> {
        let parts: Vec<&Tensor<B>> = self.0.iter().map(|part| &part.nats).collect();
        Tensor::concat_last(&parts)
    }

    /// Returns the loss of each example in nats, `[B]`, summed over all variables.
    pub fn total(&self) -> Tensor<B> {
        self.per_variable().sum_last()
    }

    /// Returns the loss of each example in nats, `[B]`, summed over the variables of one kind; `None` without any.
    pub fn of_kind(&self, kind: PartKind) -> Option<Tensor<B>> {
        let parts: Vec<&Tensor<B>> = self.0.iter().filter(|part| part.kind == kind).map(|part| &part.nats).collect();
        if parts.is_empty() { None } else { Some(Tensor::concat_last(&parts).sum_last()) }
    }
}
