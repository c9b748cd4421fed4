//! Mixed data: a flow for the columns of a table, each with its own kind.

use std::convert::Infallible;

use anyhow::{Context, Result, bail};
use bfn_core::continuous::Reconstruction;
use bfn_core::mixed::{self, MixedFlow, MixedValues, Part, PartValues, Predicted};
use bfn_core::sampler::{Motion, Sampler};
use bfn_core::times::Step;
use bfn_core::{
    ContinuousFlow, DiscreteFlow, DiscretisedFlow, Grid, Interval, NoiseSource, OutputDistribution, StepCosts,
    VariableKind,
};
use bfn_data::table::Columns;
use bfn_nets::networks::Mode;
use bfn_nets::{Indices, Tensor, Torch};
use tch::{Device, Kind};

use crate::conditioning::Conditioning;
use crate::config::FlowConfig;
use crate::draws::column;
use crate::examples::Examples;
use crate::generative::{Drawn, Generative, View};
use crate::gridded::Gridded;
use crate::model::Model;
use crate::objective::{Objective, Term};
use crate::task::Arithmetic;

/// The network's prediction for rows.
type Output = Predicted<Torch, ContinuousFlow, DiscretisedFlow, DiscreteFlow>;

/// The flow of all variables in a row.
#[derive(Debug)]
pub struct Mixed {
    flow: MixedFlow<Torch>,
}

impl Mixed {
    /// Creates one part for each run of adjacent variables of the same kind, with the settings of `[flow.mixed]`.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting that a column needs is missing, or if a setting is outside its domain.
    pub fn new(config: FlowConfig, columns: &Columns, arithmetic: Arithmetic) -> Result<Self> {
        let FlowConfig::Mixed { sigma_1, sigma_1_in_bins, beta_1_times_classes, readout } = config else {
            bail!("the data are a table; use [flow.mixed] for it");
        };
        let needed = |key: &str, what: &str, value: Option<f64>| {
            value.with_context(|| format!("flow.mixed.{key} is needed: the table has columns of {what}"))
        };
        let kinds: Vec<VariableKind> = columns.variables().iter().map(|variable| variable.kind).collect();
        let mut parts = Vec::new();
        for run in kinds.chunk_by(|a, b| a == b) {
            let variables = run.len();
            parts.push(match run[0] {
                VariableKind::Continuous => {
                    let sigma_1 = needed("sigma_1", "real numbers", sigma_1)?;
                    let reconstruction = Reconstruction::Density { deviation: sigma_1 };
                    Part::Continuous { variables, flow: ContinuousFlow::new(sigma_1, reconstruction)? }
                }
                VariableKind::Discretised { bins } => {
                    let sigma_1 = needed("sigma_1_in_bins", "integers", sigma_1_in_bins)? * 2.0 / bins as f64;
                    let flow = DiscretisedFlow::new(bins, sigma_1)?.with_probability(arithmetic.probability);
                    Part::Discretised { variables, flow }
                }
                VariableKind::Discrete { classes } => {
                    let beta_1 = needed("beta_1_times_classes", "classes", beta_1_times_classes)? / classes as f64;
                    let flow = DiscreteFlow::new(classes, beta_1)?.with_readout(readout.into());
                    Part::Discrete { variables, flow: flow.with_receiver(arithmetic.receiver) }
                }
            });
        }
        Ok(Self { flow: MixedFlow::new(parts)? })
    }

    /// Returns the flow itself.
    pub(crate) fn flow(&self) -> &MixedFlow<Torch> {
        &self.flow
    }

    /// Returns how many numbers represent a row in the network's input.
    pub fn input_width(&self) -> usize {
        self.flow.input_width(&column(&[0.0], Device::Cpu))
    }

    /// Returns the number of network outputs for a row.
    pub fn output_width(&self) -> usize {
        self.flow.output_width()
    }

    /// Splits rows `[B, D]` into their parts.
    pub(crate) fn split(&self, rows: &tch::Tensor) -> MixedValues<Torch> {
        let mut start = 0;
        let parts = self.flow.parts().iter().map(|part| {
            let variables = part.variables() as i64;
            let values = rows.narrow(1, start, variables);
            start += variables;
            match part {
                Part::Continuous { .. } => PartValues::Reals(Tensor::new(values.to_kind(Kind::Float))),
                _ => PartValues::Indices(Indices::new(values.to_kind(Kind::Int64))),
            }
        });
        MixedValues(parts.collect())
    }

    /// Joins parts into rows `[B, D]`, in row-major order.
    pub(crate) fn joined(values: &MixedValues<Torch>, rows: usize) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = values
            .0
            .iter()
            .map(|part| match part {
                PartValues::Reals(values) => values.to_values(),
                PartValues::Indices(values) => values.to_vec().into_iter().map(|index| index as f64).collect(),
            })
            .collect();
        let of_row = |row: usize| {
            parts.iter().flat_map(move |part| {
                let width = part.len() / rows;
                part[row * width..(row + 1) * width].iter().copied()
            })
        };
        (0..rows).flat_map(of_row).collect()
    }

    /// Turns the last prediction into rows, each column according to its kind.
    ///
    /// Classes are drawn, so that classes not determined by the other columns keep their shares. For bins, the result
    /// is the bin nearest to the mean: the continuous-time loss depends only on the mean of an output distribution
    /// and leaves its standard deviation to chance. A draw, or the mode, of a value in the middle could therefore be
    /// the first or the last bin.
    pub(crate) fn decide(&self, output: &Output, noise: &mut dyn NoiseSource<Torch>) -> MixedValues<Torch> {
        let (drawn, nearest) = (OutputDistribution::<Torch>::draw(output, noise), self.flow.nearest(output));
        let parts = self.flow.parts().iter().zip(drawn.0.into_iter().zip(nearest.0));
        let values = parts.map(|(part, (drawn, nearest))| match part {
            Part::Discretised { .. } => nearest,
            Part::Continuous { .. } | Part::Discrete { .. } => drawn,
        });
        MixedValues(values.collect())
    }

    /// Returns the noise of θ and the noise of the step's message.
    fn message(examples: &Examples) -> (Tensor, Tensor) {
        let flow_noise = Tensor::new(examples.noise.shallow_clone());
        let sender_noise = match &examples.sender_noise {
            Some(noise) => Tensor::new(noise.shallow_clone()),
            None => flow_noise.full_like(0.0),
        };
        (flow_noise, sender_noise)
    }

    /// Returns the output distribution for θ ~ p_F(θ | x; t).
    fn predict(
        &self,
        model: &Model,
        examples: &Examples,
        x: &MixedValues<Torch>,
        t: &Tensor,
        flow_noise: &Tensor,
        mode: Mode,
    ) -> Output {
        let theta = self.flow.flow(x, t, flow_noise);
        let input = self.flow.network_input(&theta);
        let network_output = model.predict(&input, t, examples.condition.as_ref(), mode);
        self.flow.output(&theta, &network_output, t)
    }
}

impl Objective for Mixed {
    /// Returns a row's outputs per variable, rounded up: the network predicts the row as a whole.
    fn outputs_per_variable(&self) -> usize {
        self.flow.output_width().div_ceil(self.flow.variables())
    }

    fn message_width(&self, _variables: usize) -> usize {
        self.flow.message_width()
    }

    fn loss(&self, model: &Model, examples: &Examples, term: Term, mode: Mode) -> Tensor {
        let flow = &self.flow;
        let x = self.split(&examples.x);
        let t = examples.t.on_device();
        let (flow_noise, sender_noise) = Self::message(examples);
        let output = self.predict(model, examples, &x, &t, &flow_noise, mode);
        match term {
            Term::ContinuousTime => flow.loss_continuous_time(&x, &output, &t).per_variable(),
            Term::Reconstruction => flow.loss_reconstruction(&x, &output).per_variable(),
            Term::Step { n, .. } => {
                let n = f64::from(n);
                let from = examples.t.exact();
                let to: Vec<f64> = from.iter().map(|t| t + 1.0 / n).collect();
                flow.loss_step(&x, &output, from, &to, &sender_noise).per_variable() * n
            }
        }
    }
}

/// Draws rows of a table; how each column is decided depends on its kind (`decide`).
impl Generative for Mixed {
    fn sample(
        &self,
        model: &Model,
        conditioning: Option<&Conditioning>,
        sampler: &Sampler,
        shape: [usize; 2],
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(View<'_>) -> Result<()>,
    ) -> Result<Drawn> {
        let flow = &self.flow;
        let like = column(&[0.0], model.device()).full(&[shape[0], flow.message_width()], 0.0);
        let predict = |theta: &Vec<mixed::PartTheta<Torch>>, t: f64| {
            let t = like.full(&[shape[0]], t);
            let input = flow.network_input(theta);
            anyhow::Ok(Conditioning::predict(conditioning, model, &input, &t, |network| {
                flow.output(theta, network, &t)
            }))
        };
        let sample = sampler.sample(flow, &like, noise, predict, |moment| {
            let belief = || flow.network_input(moment.theta);
            let prediction = || flow.mean_signal(moment.output);
            let (step, steps, t) = (moment.step, moment.steps, moment.t);
            observe(View { step, steps, t, belief: &belief, prediction: &prediction })
        })?;
        let values = Self::joined(&self.decide(&sample.output, noise), shape[0]);
        Ok(Drawn { values, evaluations: sample.evaluations })
    }
}

impl Gridded for Mixed {
    fn entropy_grid(&self, start: f64, steps: usize) -> Result<Grid, bfn_core::Error> {
        self.flow.entropy_grid(start, steps)
    }

    fn loss_of_steps(&self, model: &Model, examples: &Examples, steps: &[Step]) -> Tensor {
        let number = |number: fn(&Step) -> f64| steps.iter().map(number).collect::<Vec<f64>>();
        let (from, to, weight) = (number(|step| step.from), number(|step| step.to), number(|step| step.weight));
        let (flow_noise, sender_noise) = Self::message(examples);
        let x = self.split(&examples.x);
        let t = column(&from, model.device());
        let output = self.predict(model, examples, &x, &t, &flow_noise, Mode::Evaluate);
        let loss = self.flow.loss_step(&x, &output, &from, &to, &sender_noise).per_variable();
        column(&weight, model.device()).unsqueeze_last() * loss
    }

    fn step_costs(&self, model: &Model, examples: &Examples, fine: &Grid, observe: &mut dyn FnMut()) -> StepCosts {
        let (flow_noise, sender_noise) = Self::message(examples);
        let x = self.split(&examples.x);
        let all = |t: f64| vec![t; examples.x.size()[0] as usize];
        let output = |t: f64| {
            observe();
            let t = column(&all(t), model.device());
            Ok::<_, Infallible>(self.predict(model, examples, &x, &t, &flow_noise, Mode::Evaluate))
        };
        let Ok(costs) = StepCosts::measured_by(fine, output, |output, Interval { from, to }| {
            self.flow.loss_step(&x, output, &all(from), &all(to), &sender_noise).per_variable()
        });
        costs
    }
}

#[cfg(test)]
mod tests {
    use bfn_core::distribution::{DiscretisedNormal, Probability};
    use bfn_core::mixed::{MixedOutput, PartOutput};
    use bfn_data::Seed;

    use super::*;
    use crate::draws::SampleNoise;

    /// Nearly all the mass of a wide normal lies in the first and last bins, but its mean lies in neither.
    #[test]
    fn the_bin_of_the_mean_is_decided_for_however_wide_the_output_is() {
        let part = Part::Discretised { variables: 1, flow: DiscretisedFlow::new(5, 0.1).expect("a flow") };
        let mixed = Mixed { flow: MixedFlow::new(vec![part]).expect("one part") };
        let mean = column(&[-0.79, 0.03, 0.41], Device::Cpu).unsqueeze_last();
        let deviation = mean.full_like(3.0);
        let wide = DiscretisedNormal { mean, deviation, bins: 5, probability: Probability::Exact };
        let narrow = DiscretisedNormal { deviation: wide.mean.full_like(0.01), ..wide.clone() };
        let mut noise = SampleNoise::new(Seed(0), vec![0, 1, 2]);
        let [wide, narrow] = [wide, narrow].map(|output| {
            Mixed::joined(&mixed.decide(&MixedOutput(vec![PartOutput::Discretised(output)]), &mut noise), 3)
        });
        assert_eq!(narrow, [0.0, 2.0, 3.0]);
        // Mass beyond the ends counts towards the end bins, so the means of wide distributions lie near the middle.
        assert_eq!(wide, [2.0, 2.0, 2.0]);
    }
}
