//! The bound of any grid, and the costs of steps from which a grid is fitted.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result};
use bfn_core::times::{Step, Steps};
use bfn_core::{Grid, StepCosts};
use bfn_data::{Draw, InOrder, Prefetch};
use tch::Kind;

use super::{Estimator, Sample};
use crate::objective::Term;

impl Estimator<'_> {
    /// Draws for each example one step of the grid with its weight, `repeats` times: their mean is the grid's loss.
    ///
    /// For the uniform grid these are the draws of [`Term::Step`].
    ///
    /// # Errors
    ///
    /// A split without examples.
    pub fn draw_on(&self, grid: &Grid, mut observe: impl FnMut() -> ControlFlow<()>) -> Result<Option<Vec<Sample>>> {
        let _no_gradient = tch::no_grad_guard();
        let count = self.examples();
        let steps = Steps::new(grid.times()).context("the grid has no steps")?;
        let term = Term::Step { n: grid.count() as u32 };
        let mut samples = Vec::with_capacity(count * self.repeats as usize);
        for repeat in 0..u64::from(self.repeats) {
            let draw = Draw { seed: self.seed, epoch: repeat };
            let batches = InOrder::new(Arc::clone(&self.dataset), draw, self.batch)?.limited(count)?;
            let total = batches.batches();
            let spread = self.spread(term, repeat);
            for batch in Prefetch::new(0..total, 1, 2, move |number| batches.batch(number)) {
                let batch = batch?;
                let drawn: Vec<Step> = batch.indices.iter().map(|index| steps.draw(spread[*index as usize])).collect();
                let from = drawn.iter().map(|step| step.from).collect();
                let examples = self.prepare(&batch, from, term, repeat);
                let loss = self.objective.loss_of_steps(self.model, &examples, &drawn);
                let nats =
                    Vec::<f64>::try_from(loss.array().to_kind(Kind::Double).sum_dim_intlist(-1_i64, false, None))?;
                let drawn = batch.indices.iter().zip(&examples.t).zip(nats);
                samples.extend(drawn.map(|((index, t), nats)| Sample { example: *index as usize, t: *t, nats }));
                if observe().is_break() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(samples))
    }

    /// The costs of all steps of a fine grid, in nats per example, each example drawn once.
    ///
    /// # Errors
    ///
    /// A split without examples, costs that are not finite.
    pub fn step_costs(&self, fine: &Grid, mut observe: impl FnMut()) -> Result<StepCosts> {
        let _no_gradient = tch::no_grad_guard();
        let count = self.examples();
        let draw = Draw { seed: self.seed, epoch: 0 };
        let batches = InOrder::new(Arc::clone(&self.dataset), draw, self.batch)?.limited(count)?;
        let total = batches.batches();
        let mut sum = vec![0.0; fine.count() * (fine.count() + 1) / 2];
        for batch in Prefetch::new(0..total, 1, 2, move |number| batches.batch(number)) {
            let batch = batch?;
            // The same noise for all times: `n` only gives the draws a number of their own.
            let examples = self.prepare(&batch, Vec::new(), Term::Step { n: 0 }, 0);
            let costs = self.objective.step_costs(self.model, &examples, fine, &mut observe);
            sum.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost / count as f64);
        }
        StepCosts::new(fine.clone(), sum).context("the network predicts what is not finite")
    }
}
