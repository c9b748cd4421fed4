//! The three kinds of variable a Bayesian Flow Network models.

/// The kind of one variable of a data point.
///
/// A crate that reads data uses this type to describe what its numbers mean; a crate that trains uses it to choose
/// the flow that models them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VariableKind {
    /// A real number, normalised to [−1, 1].
    Continuous,
    /// A real number in [−1, 1], known only to lie in one of `bins` equal bins; stored as the bin's index.
    Discretised {
        /// The number of bins, K ≥ 2.
        bins: usize,
    },
    /// One of `classes` unordered classes; stored as the class's index.
    Discrete {
        /// The number of classes, K ≥ 2.
        classes: usize,
    },
}
