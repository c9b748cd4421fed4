//! Repeated passes over stretches of a grid.

use crate::error::{Error, check};
use crate::{Grid, Interval};

/// The number of passes through each stretch of a grid.
///
/// If some variables are known, the first pass through a stretch predicts the others before the known ones have sent
/// much information. Between two passes, θ returns to the beginning of the stretch
/// ([`Motion::retreat`](super::Motion::retreat)), where it retains part of what it has learnt. The next pass predicts
/// from there. Passes bring samples closer to the conditional distribution; only [`Particles`](super::Particles)
/// reach it.
///
/// Source: Lugmayr et al. 2022 (RePaint, arXiv:2201.09865), for diffusion models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    count: usize,
    stretch: usize,
}

/// A section of a sampler's path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leg {
    /// A step of the solver.
    Advance(Interval),
    /// A return from a later time to an earlier one, taking messages back.
    Retreat(Interval),
}

impl Passes {
    /// One pass through each stretch.
    pub(super) const ONCE: Self = Self { count: 1, stretch: 1 };

    /// Requests `count` passes through each stretch of `stretch` steps; the last stretch may be shorter.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless both are at least 1.
    pub fn new(count: usize, stretch: usize) -> Result<Self, Error> {
        check("passes", count as f64, "at least 1", count > 0)?;
        check("steps of a stretch", stretch as f64, "at least 1", stretch > 0)?;
        Ok(Self { count, stretch })
    }

    /// Returns the path along the first `steps` steps of a grid.
    pub(super) fn legs(self, grid: &Grid, steps: usize) -> impl Iterator<Item = Leg> + '_ {
        let Self { count, stretch } = self;
        let times = &grid.times()[..=steps];
        (0..steps).step_by(stretch).flat_map(move |first| {
            let times = &times[first..=steps.min(first + stretch)];
            (0..count).flat_map(move |pass| {
                let back = Interval { from: times[times.len() - 1], to: times[0] };
                let advance = |pair: &[f64]| Leg::Advance(Interval { from: pair[0], to: pair[1] });
                (pass > 0).then_some(Leg::Retreat(back)).into_iter().chain(times.windows(2).map(advance))
            })
        })
    }
}
