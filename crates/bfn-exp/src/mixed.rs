//! Mixed data: the flow of a table's columns, each as what it is.

use std::convert::Infallible;

use anyhow::{Context, Result, bail};
use bfn_core::continuous::Reconstruction;
use bfn_core::mixed::{self, MixedFlow, MixedValues, Part, PartValues};
use bfn_core::{ContinuousFlow, DiscreteFlow, DiscretisedFlow, NoiseSource, OutputDistribution, VariableKind};
use bfn_data::table::Columns;
use bfn_nets::networks::Mode;
use bfn_nets::{Indices, Tensor, Torch};
use tch::{Device, Kind};

use crate::config::FlowConfig;
use crate::draws::column;
use crate::model::Model;
use crate::objective::{Examples, Objective, Term};
use crate::task::Arithmetic;

/// The flow of all variables of a row.
#[derive(Debug)]
pub struct Mixed {
    flow: MixedFlow<Torch>,
}

impl Mixed {
    /// One part for every run of variables of one kind, with the settings of `[flow.mixed]`.
    ///
    /// # Errors
    ///
    /// A setting that is absent though a column needs it, or out of its domain.
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

    /// The numbers that the network is shown of a row.
    pub fn input_width(&self) -> usize {
        self.flow.input_width(&column(&[0.0], Device::Cpu))
    }

    /// The network's outputs for a row.
    pub fn output_width(&self) -> usize {
        self.flow.output_width()
    }

    /// The parts of rows `[B, D]`.
    fn split(&self, rows: &tch::Tensor) -> MixedValues<Torch> {
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

    /// Rows `[B, D]` from their parts, in row-major order.
    fn joined(values: &MixedValues<Torch>, rows: usize) -> Vec<f64> {
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
}

impl Objective for Mixed {
    /// As many as a row has outputs, over its variables: the network of a row knows them all at once.
    fn outputs_per_variable(&self) -> usize {
        self.flow.output_width().div_ceil(self.flow.variables())
    }

    fn message_width(&self, _variables: usize) -> usize {
        self.flow.message_width()
    }

    fn loss(&self, model: &Model, examples: &Examples, term: Term, mode: Mode) -> Tensor {
        let flow = &self.flow;
        let x = self.split(&examples.x);
        let t = column(&examples.t, model.device());
        let noise = Tensor::new(examples.noise.shallow_clone());
        let theta = flow.flow(&x, &t, &noise);
        let output =
            flow.output(&theta, &model.predict(&flow.network_input(&theta), &t, examples.condition.as_ref(), mode), &t);
        match term {
            Term::ContinuousTime => flow.loss_continuous_time(&x, &output, &t).per_variable(),
            Term::Reconstruction => flow.loss_reconstruction(&x, &output).per_variable(),
            Term::Step { n } => {
                let n = f64::from(n);
                let ends: Vec<f64> = examples.t.iter().map(|t| t + 1.0 / n).collect();
                let sender_noise = examples
                    .sender_noise
                    .as_ref()
                    .map_or_else(|| noise.full_like(0.0), |noise| Tensor::new(noise.shallow_clone()));
                flow.loss_step(&x, &output, &examples.t, &ends, &sender_noise).per_variable() * n
            }
        }
    }

    /// A table's rows are draws from the last output distributions, not their modes: a column of classes whose
    /// shares the others do not settle keeps them.
    fn sample(
        &self,
        model: &Model,
        shape: [usize; 2],
        grid: &[f64],
        noise: &mut dyn NoiseSource<Torch>,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Vec<f64> {
        let flow = &self.flow;
        let like = column(&[0.0], model.device()).full(&[shape[0], flow.message_width()], 0.0);
        let predict = |theta: &[mixed::PartTheta<Torch>], t: f64| {
            let t = like.full(&[shape[0]], t);
            let network_output = model.predict(&flow.network_input(theta), &t, None, Mode::Evaluate);
            Ok::<_, Infallible>(flow.output(theta, &network_output, &t))
        };
        let sampled = mixed::ancestral(flow, &like, grid, noise, predict, |moment| observe(moment.step, moment.steps));
        let Ok(output) = sampled;
        Self::joined(&output.draw(noise), shape[0])
    }
}
