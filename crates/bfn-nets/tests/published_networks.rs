//! Compares the networks with small instances of the published ones.
//!
//! The files are too large for the repository. The variable BFN_REFERENCE names the folder with
//! `networks/<name>.pt` (a state dict) and `networks/<name>.safetensors` (input, t, output).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bfn_nets::networks::{
    Mode, Network, NetworkConfig, Positions, Shape, TransformerConfig, UNetConfig, Variables, VdmUNetConfig,
};
use bfn_nets::published::read_state_dict;
use bfn_nets::{Precision, device};
use tch::nn::VarStore;
use tch::{Device, Tensor};

#[test]
fn unet_mnist_agrees() {
    let config = UNetConfig { width: 32, blocks_per_level: 1, ..UNetConfig::published_mnist() };
    let shape = Shape::Image { height: 28, width: 28, channels: 1 };
    let variables = Variables { shape, inputs_per_variable: 1, outputs_per_variable: 1 };
    agrees("unet_mnist", &NetworkConfig::Unet(config), &variables);
}

#[test]
fn unet_vdm_agrees() {
    let config = VdmUNetConfig { width: 32, blocks: 2, norm_groups: 8, ..VdmUNetConfig::published_cifar10() };
    let shape = Shape::Image { height: 8, width: 8, channels: 3 };
    let variables = Variables { shape, inputs_per_variable: 1, outputs_per_variable: 2 };
    agrees("unet_vdm", &NetworkConfig::VdmUnet(config), &variables);
}

#[test]
fn transformer_text8_agrees() {
    let config = TransformerConfig {
        width: 32,
        layers: 2,
        heads: 4,
        dropout: 0.0,
        positions: Positions::Sinusoidal,
        skip_to_output: true,
        classes: None,
    };
    let shape = Shape::Sequence { length: 24 };
    let variables = Variables { shape, inputs_per_variable: 27, outputs_per_variable: 27 };
    agrees("transformer_text8", &NetworkConfig::Transformer(config), &variables);
}

/// Checks a network against a state dict and its reference output.
///
/// Names and shapes equal those of the state dict, fixed tensors equal its own to the last digits, and with its weights
/// the output equals the reference's to 1e-5 of its largest value.
fn agrees(name: &str, config: &NetworkConfig, variables: &Variables) {
    let Some(folder) = reference() else {
        eprintln!("SKIPPED {name}: set BFN_REFERENCE to the folder of the reference values to run this test");
        return;
    };
    for device in device::available() {
        agrees_on(device, name, &folder, config, variables);
    }
}

fn agrees_on(device: Device, name: &str, folder: &Path, config: &NetworkConfig, variables: &Variables) {
    let store = VarStore::new(device);
    let network = config.build(variables, &store.root()).unwrap();
    let state = read_state_dict(&folder.join(format!("{name}.pt"))).unwrap();
    let state: BTreeMap<String, Tensor> =
        state.into_iter().map(|entry| (entry.name.strip_prefix("net.").unwrap().to_owned(), entry.tensor)).collect();
    load(&store, network.as_ref(), &state);

    let values: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder.join(format!("{name}.safetensors"))).unwrap().into_iter().collect();
    let (expected, t) = (&values["output"], values["t"].to_device(device));
    let input = match variables.inputs_per_variable {
        1 => values["input"].flatten(1, -1),
        _ => values["input"].shallow_clone(),
    };
    // libtorch's convolutions on GPUs round to TF32 unless they are told not to.
    let _precision = Precision::F32.guard(device);
    let output = tch::no_grad(|| network.forward(&input.to_device(device), &t, None, Mode::Evaluate));
    let output = output.to_device(Device::Cpu);
    let expected = expected.reshape(output.size());
    let largest = expected.abs().max().double_value(&[]);
    let error = (&output - &expected).abs().max().double_value(&[]);
    eprintln!("{name} on {device:?}: error {error:.2e}, largest output {largest:.3}");
    assert!(largest > 1e-2, "the reference tells nothing: largest output {largest}");
    assert!(error <= 1e-5 * largest, "error {error:e} on {device:?}, largest output {largest}");
}

fn load(store: &VarStore, network: &dyn Network, state: &BTreeMap<String, Tensor>) {
    let mut own: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
    for buffer in network.published_buffers() {
        let published = &state[&buffer.name];
        assert_eq!(published.size(), buffer.tensor.size(), "{}", buffer.name);
        let error = (published - &buffer.tensor).abs().max().double_value(&[]);
        eprintln!("{}: error {error:.2e}", buffer.name);
        assert!(error <= 1e-5, "{} differs by {error:e}", buffer.name);
        own.insert(buffer.name, buffer.tensor);
    }
    let missing: Vec<_> = state.keys().filter(|name| !own.contains_key(*name)).collect();
    let extra: Vec<_> = own.keys().filter(|name| !state.contains_key(*name)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing here {missing:?}, extra here {extra:?}");
    tch::no_grad(|| {
        for (name, mut tensor) in own {
            assert_eq!(tensor.size(), state[&name].size(), "{name}");
            tensor.copy_(&state[&name]);
        }
    });
}

fn reference() -> Option<PathBuf> {
    let folder = Path::new(&std::env::var_os("BFN_REFERENCE")?).join("networks");
    assert!(folder.is_dir(), "BFN_REFERENCE: expected a folder {}, found none", folder.display());
    Some(folder)
}
