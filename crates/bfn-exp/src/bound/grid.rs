//! The bound on any grid of times, and the costs of steps from which a grid is fitted.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use bfn_core::times::{Step, Steps};
use bfn_core::{Grid, StepCosts};

use super::{Estimator, Sample};
use crate::objective::Term;

impl Estimator<'_> {
    /// Draws one weighted step of the grid for each example, `repeats` times; the mean of the draws is the grid's loss.
    ///
    /// On the uniform grid, these are the draws of [`Term::Step`].
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples or the data set finds a fault in its files.
    pub fn draw_on(&self, grid: &Grid, observe: impl FnMut() -> ControlFlow<()>) -> Result<Option<Vec<Sample>>> {
        let steps = Steps::new(grid.clone());
        let term = Term::Step { n: grid.count() as u32, noisy: false };
        self.draw_by(
            |repeat| self.spread(term, repeat),
            |batch, numbers, repeat| {
                let drawn: Vec<Step> = numbers.into_iter().map(|number| steps.draw(number)).collect();
                let from = drawn.iter().map(|step| step.from).collect();
                let examples = self.prepare(batch, from, term, repeat);
                let loss = self.objective.loss_of_steps(self.model, &examples, &drawn);
                (examples.t.exact().to_vec(), loss)
            },
            observe,
        )
    }

    /// Measures the costs of all steps of a fine grid, in nats per example, with one draw per example.
    ///
    /// # Errors
    ///
    /// Returns an error if the split has no examples, the data set finds a fault in its files, or a cost is not finite.
    pub fn step_costs(&self, fine: &Grid, mut observe: impl FnMut()) -> Result<StepCosts> {
        let _no_gradient = tch::no_grad_guard();
        let count = self.examples();
        let mut sum: Option<StepCosts> = None;
        for batch in self.batches(0)? {
            let batch = batch?;
            // The noise is the same for all times; `n` only affects the number that identifies the draws.
            let examples = self.prepare(&batch, Vec::new(), Term::Step { n: 0, noisy: false }, 0);
            let costs = self.objective.step_costs(self.model, &examples, fine, &mut observe);
            sum = Some(match sum {
                None => costs,
                Some(sum) => sum.plus(&costs),
            });
        }
        let mean = sum.context("there are no examples")?.scaled(1.0 / count as f64);
        StepCosts::new(fine.clone(), mean.costs().to_vec()).context("the network predicts what is not finite")
    }
}
