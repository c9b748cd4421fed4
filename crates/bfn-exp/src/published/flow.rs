//! `model.bayesian_flow`, `model.loss` and `model.distribution_factory`: the flow and its variables.

use anyhow::{Context, Result, bail, ensure};

use super::section::Section;
use crate::config::{FlowConfig, ReadoutConfig};

/// A flow of the published code in this program's terms.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) config: FlowConfig,
    /// The kind and number of a variable's values, as far as the flow determines them.
    pub(super) variable: Known,
    /// The number of output parameters per variable.
    pub(super) outputs: usize,
}

/// The kind and number of a variable's values, as far as a configuration determines them without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Classes(usize),
    Bins(usize),
    /// Bins whose number is known only from the data.
    SomeBins,
}

impl std::fmt::Display for Known {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Classes(classes) => write!(to, "{classes} classes"),
            Self::Bins(bins) => write!(to, "{bins} bins"),
            Self::SomeBins => to.write_str("bins"),
        }
    }
}

/// The variance for which the published code reconstructs 16 bins with 0.7 times the standard deviation.
const COARSE_VARIANCE: f64 = 1e-3;

impl Flow {
    pub(super) fn read(model: &mut Section) -> Result<Self> {
        let (class, flow) = model.class("bayesian_flow")?.context("model.bayesian_flow is empty")?;
        let (loss_class, loss) = model.class("loss")?.context("model.loss is empty")?;
        let (factory_class, factory) =
            model.class("distribution_factory")?.context("model.distribution_factory is empty")?;
        let expected_loss = format!("{class}Loss");
        ensure!(loss_class == expected_loss, "model.loss.class_name is {loss_class}; it must be {expected_loss}");
        match class.as_str() {
            "CtsBayesianFlow" => Self::continuous(flow, loss, &factory_class, factory),
            "DiscreteBayesianFlow" => Self::discrete(flow, loss, &factory_class, factory),
            other => bail!(
                "model.bayesian_flow.class_name is {other}; this program knows CtsBayesianFlow and DiscreteBayesianFlow"
            ),
        }
    }

    fn continuous(mut flow: Section, mut loss: Section, factory_class: &str, mut factory: Section) -> Result<Self> {
        let min_variance: f64 = flow.or("min_variance", 1e-6)?;
        flow.finish("a CtsBayesianFlow has min_variance alone")?;
        ensure!(
            min_variance > 0.0 && min_variance < 1.0,
            "model.bayesian_flow.parameters.min_variance is {min_variance}; it must be between 0 and 1"
        );
        loss.only("noise_pred", true, "the network predicts the noise")?;
        loss.only("min_loss_variance", -1.0, "the loss has no lower bound of the variance")?;
        loss.finish("these are all that a CtsBayesianFlowLoss has here")?;
        let sigma_1 = min_variance.sqrt();
        let (config, variable, outputs) = match factory_class {
            "DeltaFactory" => {
                factory.only("clip_range", 1.0, "predictions are clipped to the data's range")?;
                let coarse = min_variance == COARSE_VARIANCE;
                let reconstruction_deviation = coarse.then_some(0.7 * sigma_1);
                (FlowConfig::Continuous { sigma_1, reconstruction_deviation }, Known::SomeBins, 1)
            }
            "DiscretizedNormalFactory" => {
                let bins = factory.required("num_bins")?;
                factory.only("clip", true, "the outermost bins hold what lies beyond")?;
                factory.only("min_std_dev", 1e-3, "it is 1e-3")?;
                factory.only("max_std_dev", 10.0, "it is 10")?;
                factory.only("min_prob", 1e-5, "it is 1e-5, and holds under --probability-floor alone")?;
                factory.ignore(&["log_dev"]);
                (FlowConfig::Discretised { sigma_1 }, Known::Bins(bins), 2)
            }
            other => bail!(
                "model.distribution_factory.class_name is {other}; with a CtsBayesianFlow this program knows \
                 DeltaFactory and DiscretizedNormalFactory"
            ),
        };
        factory.finish("these are all that such a factory has here")?;
        Ok(Self { config, variable, outputs })
    }

    fn discrete(mut flow: Section, loss: Section, factory_class: &str, factory: Section) -> Result<Self> {
        let classes: usize = flow.required("n_classes")?;
        let max_sqrt_beta: f64 = flow.or("max_sqrt_beta", 1.0)?;
        flow.only("min_sqrt_beta", 1e-10, "it is 1e-10, which is as good as 0")?;
        flow.only("epsilon", 1e-6, "it is 1e-6, which is as good as 0")?;
        flow.only("discretize", false, "classes are whole numbers")?;
        flow.finish("these are all that a DiscreteBayesianFlow has here")?;
        loss.finish("a DiscreteBayesianFlowLoss has no settings")?;
        factory.finish("such a factory has no settings")?;
        let expected = if classes == 2 { "BernoulliFactory" } else { "CategoricalFactory" };
        ensure!(
            factory_class == expected,
            "model.distribution_factory.class_name is {factory_class}; with {classes} classes it must be {expected}"
        );
        let config = FlowConfig::Discrete { beta_1: max_sqrt_beta * max_sqrt_beta, readout: ReadoutConfig::Direct };
        Ok(Self { config, variable: Known::Classes(classes), outputs: if classes == 2 { 1 } else { classes } })
    }
}
