//! Networks conditioned on classes or on low-resolution images.

use bfn_nets::networks::{Condition, LowResolution, Mode, NetworkConfig, Shape, Variables, parameters};
use tch::{Device, Kind, Tensor};

use super::{Built, build, examples, image, small_unet};

/// The examples that take class labels, each with four classes.
fn told_of_classes() -> Vec<(&'static str, NetworkConfig, Variables)> {
    let mut examples = examples();
    examples.retain_mut(|(_, config, _)| {
        match config {
            NetworkConfig::Unet(config) => config.classes = Some(4),
            NetworkConfig::VdmUnet(config) => config.classes = Some(4),
            NetworkConfig::Transformer(config) => config.classes = Some(4),
            // These take no class labels.
            NetworkConfig::Mlp(_) | NetworkConfig::Own(_) => return false,
        }
        true
    });
    assert_eq!(examples.len(), 9);
    examples
}

#[test]
fn labels_matter_and_a_negative_one_tells_nothing() {
    for (name, config, variables) in told_of_classes() {
        assert_eq!(config.classes(), Some(4));
        let Built { store, network, input, t, .. } = build(&config, &variables);
        let output_of = |labels: [i64; 3]| {
            let condition = Condition::of_labels(Tensor::from_slice(&labels));
            tch::no_grad(|| network.forward(&input, &t, Some(&condition), Mode::Evaluate))
        };
        let untold = tch::no_grad(|| network.forward(&input, &t, None, Mode::Evaluate));
        let output = output_of([3, -1, 0]);
        let differs = |example: i64, other: &Tensor| {
            let difference = (output.get(example) - other.get(example)).abs().max().double_value(&[]);
            difference > 1e-5 * untold.abs().max().double_value(&[])
        };
        assert!(differs(0, &untold) && !differs(1, &untold) && differs(2, &untold), "{name}");
        assert!(differs(0, &output_of([2, -1, 0])) && !differs(2, &output_of([2, -1, 0])), "{name}");

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

/// A batch of three examples needs three labels: a single label would apply to all of them.
#[test]
#[should_panic(expected = "labels: expected shape [3], found [1]")]
fn each_example_has_its_label() {
    let (_, config, variables) = told_of_classes().remove(0);
    let Built { network, input, t, .. } = build(&config, &variables);
    let condition = Condition::of_labels(Tensor::from_slice(&[1i64]));
    let _ = network.forward(&input, &t, Some(&condition), Mode::Evaluate);
}

/// The U-Nets among the examples, each conditioned on images of half the height and width.
fn told_of_low_resolution() -> Vec<(&'static str, NetworkConfig, Variables)> {
    let mut examples = examples();
    examples.retain_mut(|(_, config, _)| {
        match config {
            NetworkConfig::Unet(config) => config.low_resolution = Some(2),
            NetworkConfig::VdmUnet(config) => config.low_resolution = Some(2),
            _ => return false,
        }
        config.low_resolution() == Some(2)
    });
    examples
}

#[test]
fn low_resolution_images_matter_where_they_are_told() {
    let told_of = told_of_low_resolution();
    assert_eq!(told_of.len(), 6);
    for (name, config, variables) in told_of {
        let Built { network, input, t, .. } = build(&config, &variables);
        let Shape::Image { height, width, channels } = variables.shape else { panic!("{name}") };
        let numbers = (height / 2 * (width / 2) * channels) as i64;
        let values = Tensor::linspace(-1.0, 1.0, 3 * numbers, (Kind::Float, Device::Cpu)).reshape([3, numbers]);
        let forward =
            |condition: Option<&Condition>| tch::no_grad(|| network.forward(&input, &t, condition, Mode::Evaluate));
        let output_of = |values: &Tensor, given: [f32; 3]| {
            let (values, given) = (values.shallow_clone(), Tensor::from_slice(&given));
            forward(Some(&Condition::of_low_resolution(LowResolution { values, given })))
        };
        let untold = forward(None);
        let output = output_of(&values, [1.0, 0.0, 1.0]);
        let differs = |example: i64, other: &Tensor| {
            let difference = (output.get(example) - other.get(example)).abs().max().double_value(&[]);
            difference > 1e-5 * untold.abs().max().double_value(&[])
        };
        assert!(differs(0, &untold) && !differs(1, &untold) && differs(2, &untold), "{name}");
        // An image of zeros differs from no image.
        let zeros = output_of(&values.zeros_like(), [1.0; 3]);
        assert!(differs(0, &zeros) && differs(1, &zeros), "{name}");
        // Another image changes the prediction, but only of the examples that are conditioned on it.
        let others = values.copy();
        let _ = others.narrow(0, 0, 2).fill_(0.5);
        let other = output_of(&others, [1.0, 0.0, 1.0]);
        assert!(differs(0, &other) && !differs(1, &other) && !differs(2, &other), "{name}");
    }
}

/// A number of the small image enters the network in its own channel and in no other channel of an image.
#[test]
fn each_number_enters_its_own_channel() {
    let values = |first: f32| {
        let mut numbers = vec![0.0; 4 * 4 * 2];
        numbers[2 * (4 + 2) + 1] = first;
        Tensor::from_slice(&numbers).reshape([1, 32])
    };
    let config = bfn_nets::networks::VdmUNetConfig {
        fourier_exponents: vec![],
        low_resolution: Some(2),
        width: 8,
        blocks: 1,
        heads: 1,
        norm_groups: 1,
        ..bfn_nets::networks::VdmUNetConfig::published_cifar10()
    };
    let store = tch::nn::VarStore::new(Device::Cpu);
    let network = NetworkConfig::VdmUnet(config).build(&image(8, 8, 2, 1), &store.root()).unwrap();
    let weight = store.variables().remove("conv_in.weight").unwrap();
    assert_eq!(weight.size(), [8, 2 + 3, 3, 3]);
    // The gradient with respect to the input weights shows which channels are not zero.
    let condition =
        Condition::of_low_resolution(LowResolution { values: values(1.0), given: Tensor::from_slice(&[1f32]) });
    let (input, t) = (Tensor::zeros([1, 128], (Kind::Float, Device::Cpu)), Tensor::from_slice(&[0.5f32]));
    tch::no_grad(|| {
        for mut parameter in store.trainable_variables() {
            let noise = parameter.randn_like() * 0.2;
            parameter += noise;
        }
    });
    network.forward(&input, &t, Some(&condition), Mode::Evaluate).square().sum(Kind::Float).backward();
    let by_channel =
        Vec::<f64>::try_from(weight.grad().abs().sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double))
            .unwrap();
    // Two channels of the image at 0, the first channel of the small image at 0, its second channel, and the channel
    // that marks its presence.
    assert!(
        by_channel[..3].iter().all(|sum| *sum == 0.0) && by_channel[3] > 0.0 && by_channel[4] > 0.0,
        "{by_channel:?}"
    );
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    for (factor, variables) in
        [(1, image(8, 8, 1, 1)), (3, image(8, 8, 1, 1)), (2, image(1, 8, 1, 1)), (0, image(8, 8, 1, 1))]
    {
        let mut config = small_unet();
        config.low_resolution = Some(factor);
        config.multipliers = vec![1];
        let error = NetworkConfig::Unet(config).check(&variables).unwrap_err().to_string();
        assert!(error.contains("network.unet.low_resolution") && error.contains("divides"), "{error}");
    }
}

#[test]
#[should_panic(expected = "takes no low-resolution image")]
fn a_low_resolution_image_that_a_network_does_not_take_panics() {
    let Built { network, input, t, .. } = build(&NetworkConfig::Unet(small_unet()), &image(8, 8, 1, 1));
    let values = Tensor::zeros([3, 16], (Kind::Float, Device::Cpu));
    let condition = Condition::of_low_resolution(LowResolution { values, given: Tensor::from_slice(&[1f32; 3]) });
    let _ = network.forward(&input, &t, Some(&condition), Mode::Evaluate);
}
