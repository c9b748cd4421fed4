//! Networks in bf16 compute what they compute in f32, to the digits of bf16, on every device.
//!
//! On a GPU, layers of their own serve bf16.

use bfn_nets::device;

use super::*;

/// Networks with this probability of dropout.
fn networks(dropout: f64) -> [(&'static str, NetworkConfig, Variables); 3] {
    let unet = UNetConfig { width: 16, attention_levels: vec![1], dropout, ..small_unet() };
    let vdm = VdmUNetConfig { width: 16, blocks: 2, norm_groups: 4, dropout, ..VdmUNetConfig::published_cifar10() };
    let transformer = TransformerConfig { width: 256, heads: 4, dropout, ..small_transformer() };
    let sequence = Variables { shape: Shape::Sequence { length: 12 }, inputs_per_variable: 5, outputs_per_variable: 5 };
    [
        ("U-Net", NetworkConfig::Unet(unet), image(12, 8, 1, 1)),
        ("VDM U-Net", NetworkConfig::VdmUnet(vdm), image(8, 8, 3, 2)),
        ("transformer", NetworkConfig::Transformer(transformer), sequence),
    ]
}

/// Builds a network with the weights and inputs of [`build`] on a device.
fn build_on(device: Device, config: &NetworkConfig, variables: &Variables) -> Built {
    let built = build(config, variables);
    let mut store = VarStore::new(device);
    let network = config.build(variables, &store.root()).unwrap();
    store.copy(&built.store).unwrap();
    Built { store, network, input: built.input.to_device(device), t: built.t.to_device(device), ..built }
}

/// Returns ‖a − b‖ / ‖b‖ over all tensors together.
fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    let norm = |tensors: &[Tensor]| {
        let squares = tensors.iter().map(|one| one.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]));
        squares.sum::<f64>().sqrt()
    };
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>()) / norm(b)
}

#[test]
fn outputs_and_gradients_are_those_of_f32() {
    for device in device::available() {
        for (name, config, variables) in networks(0.0) {
            let Built { store, network, input, t, .. } = build_on(device, &config, &variables);
            let results = [Precision::F32, Precision::Bf16].map(|precision| {
                let output = {
                    let _precision = precision.guard(device);
                    network.forward(&input, &t, None, Mode::Train).to_kind(Kind::Float)
                };
                output.square().sum(Kind::Float).backward();
                let parameters = parameters(network.as_ref(), &store);
                let gradients: Vec<Tensor> = parameters.iter().map(|one| one.tensor.grad().copy()).collect();
                for one in parameters {
                    let _ = one.tensor.grad().zero_();
                }
                (output.detach(), gradients)
            });
            let [(output, gradients), (rounded, of_rounded)] = results;
            let of_output = distance(&[rounded], &[output]);
            let of_gradients = distance(&of_rounded, &gradients);
            eprintln!("{name} on {device:?}: outputs differ by {of_output:.2e}, gradients by {of_gradients:.2e}");
            assert!(of_output > 0.0 && of_output < 0.03, "{name} on {device:?}: outputs {of_output:e}");
            assert!(of_gradients < 0.06, "{name} on {device:?}: gradients {of_gradients:e}");
        }
    }
}

/// Dropout is a function of its seed, and there is none in evaluation.
#[test]
fn dropout_varies_with_its_seed_alone() {
    for device in device::available() {
        for (name, config, variables) in networks(0.3) {
            let Built { network, input, t, .. } = build_on(device, &config, &variables);
            let draw = |step: u64, mode: Mode| {
                bfn_nets::seed_dropout(3, step);
                let _precision = Precision::Bf16.guard(device);
                tch::no_grad(|| network.forward(&input, &t, None, mode))
            };
            assert!(draw(1, Mode::Train).equal(&draw(1, Mode::Train)), "{name} on {device:?}");
            assert!(!draw(1, Mode::Train).equal(&draw(2, Mode::Train)), "{name} on {device:?}");
            assert!(draw(1, Mode::Evaluate).equal(&draw(2, Mode::Evaluate)), "{name} on {device:?}");
        }
    }
}
