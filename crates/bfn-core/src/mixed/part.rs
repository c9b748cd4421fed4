//! Groups of variables of one kind.

use super::PartKind;
use crate::{ContinuousFlow, DiscreteFlow, DiscretisedFlow};

/// A group of variables of one kind that share a flow, and therefore a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<C = ContinuousFlow, X = DiscretisedFlow, D = DiscreteFlow> {
    /// Real numbers.
    Continuous {
        /// The number of variables.
        variables: usize,
        /// Their flow.
        flow: C,
    },
    /// Bins of [−1, 1].
    Discretised {
        /// The number of variables.
        variables: usize,
        /// Their flow, which fixes the number of bins.
        flow: X,
    },
    /// Classes.
    Discrete {
        /// The number of variables.
        variables: usize,
        /// Their flow, which fixes the number of classes.
        flow: D,
    },
}

impl<C, X, D> Part<C, X, D> {
    /// Returns the kind of the variables.
    pub fn kind(&self) -> PartKind {
        match self {
            Self::Continuous { .. } => PartKind::Continuous,
            Self::Discretised { .. } => PartKind::Discretised,
            Self::Discrete { .. } => PartKind::Discrete,
        }
    }

    /// Returns the number of variables.
    pub fn variables(&self) -> usize {
        let (Self::Continuous { variables, .. }
        | Self::Discretised { variables, .. }
        | Self::Discrete { variables, .. }) = self;
        *variables
    }

    /// Panics because this part was given the output distribution of another kind.
    pub(super) fn panic_at_other_kind(&self) -> ! {
        panic!("the output of another kind was given for the {:?} part", self.kind())
    }
}
