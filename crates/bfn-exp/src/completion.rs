//! Conditional sampling with a network: the unknown variables of data points are drawn given the known ones.

use std::convert::Infallible;

use bfn_core::mixed::PartTheta;
use bfn_core::sampler::{Conditional, Conditioned, Dynamics, Guided, Moment, Observed, Particles, Sampler};
use bfn_core::{NoiseSource, OutputDistribution};
use bfn_nets::{Tensor, Torch};

use crate::conditioning::Conditioning;
use crate::draws::column;
use crate::mixed::Mixed;
use crate::model::Model;
use crate::objective::{Encoding, Stored};

/// Data points of which some variables are known, `[B, D]` in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Bins or classes as whole numbers, real numbers as they are; any value for a variable that is not known.
    pub values: Vec<f64>,
    /// Whether each variable is known.
    pub known: Vec<bool>,
}

/// A method for drawing the unknown variables.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// One sample for each row.
    Sampler(&'a Sampler),
    /// Rows form groups of particles; one particle of each group is drawn.
    Particles(&'a Particles),
}

/// The result of conditional sampling.
#[derive(Debug, Clone)]
pub struct Completed {
    /// All variables, with the known ones unchanged, `[B, D]`; with particles, one row for each group.
    pub values: Vec<f64>,
    /// The number of network evaluations for each row.
    pub evaluations: usize,
    /// The statistics of the particles, for each group; empty without particles.
    pub groups: Vec<Group>,
}

/// The statistics of the particles of one data point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// The smallest effective sample size along the way.
    pub least_effective: f64,
    /// The effective sample size at the end.
    pub last_effective: f64,
    /// The estimate of ln p(known), in nats.
    pub ln_evidence: f64,
}

/// Conditional sampling with a Bayesian flow of any kind.
pub trait Completing {
    /// Draws the unknown variables of a batch; `observe` receives the steps done and their total number.
    /// `conditioning` holds what the network is conditioned on for the batch.
    fn complete(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        way: Way<'_>,
        given: &Given,
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Completed;
}

impl Given {
    /// Repeats each data point of D variables `times` times, one copy after the other.
    #[must_use]
    pub fn repeated(&self, variables: usize, times: usize) -> Self {
        let points = self.values.chunks_exact(variables).zip(self.known.chunks_exact(variables));
        let (mut values, mut known) = (Vec::new(), Vec::new());
        for (point, is_known) in points {
            (0..times).for_each(|_| {
                values.extend_from_slice(point);
                known.extend_from_slice(is_known);
            });
        }
        Self { values, known }
    }

    /// Returns a range of the data points of D variables.
    #[must_use]
    pub fn part(&self, variables: usize, points: std::ops::Range<usize>) -> Self {
        let range = points.start * variables..points.end * variables;
        Self { values: self.values[range.clone()].to_vec(), known: self.known[range].to_vec() }
    }

    fn observed<X>(&self, like: &Tensor, variables: usize, encode: impl Fn(&tch::Tensor) -> X) -> Observed<Torch, X> {
        let shape = [self.values.len() / variables, variables];
        let values = tch::Tensor::from_slice(&self.values).reshape(shape.map(|length| length as i64));
        let known: Vec<f64> = self.known.iter().map(|known| f64::from(u8::from(*known))).collect();
        let on_device = values.to_device(like.array().device());
        Observed { values: encode(&on_device), known: like.from_values_like(&shape, &known) }
    }
}

impl<F> Completing for Stored<F>
where
    F: Dynamics<Torch> + Conditional<Torch>,
    F::Data: Encoding,
    F::Output: Guided,
{
    fn complete(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        way: Way<'_>,
        given: &Given,
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Completed {
        let flow = &self.flow;
        let variables = model.variables();
        let rows = given.values.len() / variables;
        let like = column(&[0.0], model.device()).full(&flow.message_shape(&[rows, variables]), 0.0);
        let observed = given.observed(&like, variables, |stored| F::Data::encode(stored, self.values));
        let predict = |theta: &F::Theta, t: f64| {
            let t = like.full(&[rows], t);
            Conditioning::predict(conditioning, model, &flow.network_input(theta), &t, |network| {
                flow.output(theta, network, &t)
            })
        };
        let decode = |output: &F::Output, _: &mut dyn NoiseSource<Torch>| output.mode().decode(self.values);
        complete(flow, way, given, &observed, &like, noise, predict, observe, decode)
    }
}

/// Mixed data: cells are decided in the same way as those of complete rows.
impl Completing for Mixed {
    fn complete(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        way: Way<'_>,
        given: &Given,
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Completed {
        let flow = self.flow();
        let rows = given.values.len() / flow.variables();
        let like = column(&[0.0], model.device()).full(&[rows, flow.message_width()], 0.0);
        let observed = given.observed(&like, flow.variables(), |stored| self.split(stored));
        let predict = |theta: &Vec<PartTheta<Torch>>, t: f64| {
            let t = like.full(&[rows], t);
            Conditioning::predict(conditioning, model, &flow.network_input(theta), &t, |network| {
                flow.output(theta, network, &t)
            })
        };
        let decode = |output: &_, noise: &mut dyn NoiseSource<Torch>| Self::joined(&self.decide(output, noise), rows);
        complete(flow, way, given, &observed, &like, noise, predict, observe, decode)
    }
}

/// Completes data points with either kind of flow; `decode` takes values from the last prediction, `[rows, D]`.
#[allow(clippy::too_many_arguments, reason = "the parts of a flow's two samplers, each of one use")]
fn complete<F: Conditional<Torch>>(
    flow: &F,
    way: Way<'_>,
    given: &Given,
    observed: &Observed<Torch, <F::Prediction as OutputDistribution<Torch>>::Value>,
    like: &Tensor,
    noise: &mut dyn NoiseSource<Torch>,
    mut predict: impl FnMut(&F::State, f64) -> F::Prediction,
    observe: &mut dyn FnMut(usize, usize),
    decode: impl Fn(&F::Prediction, &mut dyn NoiseSource<Torch>) -> Vec<f64>,
) -> Completed {
    let predict = |theta: &F::State, t: f64| Ok::<_, Infallible>(predict(theta, t));
    let observe = |moment: Moment<'_, F::State, F::Prediction>| {
        observe(moment.step, moment.steps);
        Ok(())
    };
    let known_again = |mut values: Vec<f64>| {
        let places = values.iter_mut().zip(&given.values).zip(&given.known);
        places.filter(|(_, known)| **known).for_each(|((value, truth), _)| *value = *truth);
        values
    };
    match way {
        Way::Sampler(sampler) => {
            let conditioned = Conditioned::new(flow, observed, like);
            let Ok(sample) = sampler.sample(&conditioned, like, noise, predict, observe);
            let values = known_again(decode(&sample.output, noise));
            Completed { values, evaluations: sample.evaluations, groups: Vec::new() }
        }
        Way::Particles(particles) => {
            let Ok(filtered) = particles.sample(flow, observed, like, noise, predict, observe);
            let rows = like.shape()[0];
            let uniform = noise.uniform(&like.full(&[rows], 0.0)).to_values();
            let of_groups: Vec<f64> = uniform.into_iter().step_by(particles.count()).collect();
            let chosen = filtered.draw(&of_groups);
            let values = known_again(decode(&filtered.output, noise));
            let variables = values.len() / rows;
            let values = chosen.iter().flat_map(|row| &values[row * variables..(row + 1) * variables]).copied();
            let group = |(number, ln_evidence): (usize, &f64)| {
                let mut sizes = filtered.effective.iter().map(|sizes| sizes[number]);
                Group {
                    least_effective: sizes.clone().fold(f64::INFINITY, f64::min),
                    last_effective: sizes.next_back().unwrap_or(f64::NAN),
                    ln_evidence: *ln_evidence,
                }
            };
            let groups = filtered.ln_evidence.iter().enumerate().map(group).collect();
            Completed { values: values.collect(), evaluations: filtered.evaluations, groups }
        }
    }
}
