//! Networks that are told of classes.

use bfn_nets::networks::{Condition, Mode, NetworkConfig, Variables, parameters};
use tch::{Kind, Tensor};

use super::{Built, build, examples, image, small_unet};

/// The examples, each told of four classes.
fn told_of_classes() -> Vec<(&'static str, NetworkConfig, Variables)> {
    let mut examples = examples();
    for (_, config, _) in &mut examples {
        match config {
            NetworkConfig::Unet(config) => config.classes = Some(4),
            NetworkConfig::VdmUnet(config) => config.classes = Some(4),
            NetworkConfig::Transformer(config) => config.classes = Some(4),
            NetworkConfig::Mlp(_) | NetworkConfig::Own(_) => unreachable!("none of the examples"),
        }
    }
    examples
}

#[test]
fn labels_matter_and_a_negative_one_tells_nothing() {
    for (name, config, variables) in told_of_classes() {
        assert_eq!(config.classes(), Some(4));
        let Built { store, network, input, t, .. } = build(&config, &variables);
        let told = |labels: [i64; 3]| {
            let condition = Condition::of_labels(Tensor::from_slice(&labels));
            tch::no_grad(|| network.forward(&input, &t, Some(&condition), Mode::Evaluate))
        };
        let untold = tch::no_grad(|| network.forward(&input, &t, None, Mode::Evaluate));
        let output = told([3, -1, 0]);
        let differs = |example: i64, other: &Tensor| {
            let difference = (output.get(example) - other.get(example)).abs().max().double_value(&[]);
            difference > 1e-5 * untold.abs().max().double_value(&[])
        };
        assert!(differs(0, &untold) && !differs(1, &untold) && differs(2, &untold), "{name}");
        assert!(differs(0, &told([2, -1, 0])) && !differs(2, &told([2, -1, 0])), "{name}");

        let condition = Condition::of_labels(Tensor::from_slice(&[3i64, -1, 0]));
        network.forward(&input, &t, Some(&condition), Mode::Train).square().sum(Kind::Float).backward();
        let parameters = parameters(network.as_ref(), &store);
        let embedding = parameters.iter().find(|one| one.name.ends_with("label_emb.weight")).unwrap();
        let gradient = embedding.tensor.grad().abs().amax([1], false);
        assert_eq!(Vec::<bool>::try_from(gradient.gt(0.0)).unwrap(), [true, false, false, true], "{name}");
    }
}

#[test]
#[should_panic(expected = "takes no condition")]
fn a_condition_that_a_network_does_not_take_panics() {
    let Built { network, input, t, .. } = build(&NetworkConfig::Unet(small_unet()), &image(8, 8, 1, 1));
    let condition = Condition::of_labels(Tensor::from_slice(&[1i64, 2, 3]));
    let _ = network.forward(&input, &t, Some(&condition), Mode::Evaluate);
}
