//! A custom network in the whole program: trained by the same loop, evaluated, sampled, resumed.
//!
//! ```text
//! cargo run --release -p bfn-exp --example own_network -- train crates/bfn-exp/examples/own_network.toml --out runs/own
//! cargo run --release -p bfn-exp --example own_network -- evaluate runs/own
//! cargo run --release -p bfn-exp --example own_network -- sample runs/own
//! ```

use bfn_nets::Error;
use bfn_nets::networks::{Condition, Mode, Network, OwnNetwork, Variables, register};
use serde::Deserialize;
use tch::nn::{self, Module, Path};
use tch::{Kind, Tensor};

fn main() {
    register::<Settings>("perceptron");
    bfn_exp::cli::main()
}

/// `[network.own]` with `name = "perceptron"`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The width of a hidden layer.
    width: usize,
    /// Residual blocks.
    blocks: usize,
}

impl OwnNetwork for Settings {
    fn build(&self, variables: &Variables, path: &Path<'_>) -> Result<Box<dyn Network>, Error> {
        let [width, blocks] = [self.width, self.blocks].map(|number| number as i64);
        let size = (variables.shape.dimensions() * variables.inputs_per_variable) as i64;
        let outputs = variables.outputs_per_variable as i64;
        let linear = |name: &str, from, to| nn::linear(path / name, from, to, nn::LinearConfig::default());
        let zero = nn::LinearConfig { ws_init: nn::init::Init::Const(0.0), ..nn::LinearConfig::default() };
        Ok(Box::new(Perceptron {
            first: linear("first", size + FREQUENCIES * 2, width),
            blocks: (0..blocks).map(|n| linear(&format!("block_{n}"), width, width)).collect(),
            // The last layer starts at zero, so that the first predictions do not depend on the input.
            last: nn::linear(path / "last", width, size / variables.inputs_per_variable as i64 * outputs, zero),
            outputs,
        }))
    }
}

const FREQUENCIES: i64 = 8;

/// A residual perceptron whose layers all see all variables and the time.
#[derive(Debug)]
struct Perceptron {
    first: nn::Linear,
    blocks: Vec<nn::Linear>,
    last: nn::Linear,
    outputs: i64,
}

impl Network for Perceptron {
    fn forward(&self, input: &Tensor, t: &Tensor, condition: Option<&Condition>, _mode: Mode) -> Tensor {
        assert!(condition.is_none(), "this network takes no condition");
        let frequencies = Tensor::arange(FREQUENCIES, (Kind::Float, t.device())).exp2();
        let angles = t.unsqueeze(-1) * frequencies * std::f64::consts::PI;
        let mut h = self.first.forward(&Tensor::cat(&[input.flatten(1, -1), angles.sin(), angles.cos()], 1));
        for block in &self.blocks {
            h = &h + block.forward(&h.silu());
        }
        self.last.forward(&h.silu()).reshape([input.size()[0], -1, self.outputs]).to_kind(input.kind())
    }

    /// Returns whether a parameter decays: weights do, biases do not.
    fn decays(&self, name: &str) -> bool {
        name.ends_with(".weight")
    }
}
