//! Tests of the networks on their own: sizes, gradients, modes, initial values, settings.
#![allow(clippy::unwrap_used)]

mod bf16;
mod conditions;
mod operations;

use bfn_nets::Error;
use bfn_nets::Precision;
use bfn_nets::networks::{
    MlpConfig, Mode, Network, NetworkConfig, Positions, Shape, TransformerConfig, UNetConfig, Variables, VdmUNetConfig,
    parameters,
};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const MNIST: Variables = image(28, 28, 1, 1);
const CIFAR10: Variables = image(32, 32, 3, 1);
const CIFAR10_DISCRETISED: Variables = image(32, 32, 3, 2);
const TEXT8: Variables =
    Variables { shape: Shape::Sequence { length: 256 }, inputs_per_variable: 27, outputs_per_variable: 27 };

const fn image(height: usize, width: usize, channels: usize, outputs_per_variable: usize) -> Variables {
    Variables { shape: Shape::Image { height, width, channels }, inputs_per_variable: 1, outputs_per_variable }
}

#[test]
fn published_sizes_have_the_published_parameter_counts() {
    let mnist = NetworkConfig::Unet(UNetConfig::published_mnist());
    let cifar10 = NetworkConfig::VdmUnet(VdmUNetConfig::published_cifar10());
    let text8 = NetworkConfig::Transformer(TransformerConfig::published_text8());
    assert_eq!(count(&mnist, &MNIST), 24_808_961);
    assert_eq!(count(&cifar10, &CIFAR10), 30_722_188);
    assert_eq!(count(&cifar10, &CIFAR10_DISCRETISED), 30_722_584);
    assert_eq!(count(&text8, &TEXT8), 170_175_003);
}

fn count(config: &NetworkConfig, variables: &Variables) -> usize {
    let store = VarStore::new(Device::Cpu);
    config.build(variables, &store.root()).unwrap();
    store.trainable_variables().iter().map(Tensor::numel).sum()
}

/// Small networks of every kind and with every option, for variables of every kind.
fn examples() -> Vec<(&'static str, NetworkConfig, Variables)> {
    let unet = small_unet();
    let patched = UNetConfig { patch: 2, attention_levels: vec![1], position_bands: 3, ..small_unet() };
    let plain = UNetConfig {
        multipliers: vec![2],
        input_projection: false,
        skip_to_output: false,
        input_features: Some(5),
        ..small_unet()
    };
    let colours = Variables { inputs_per_variable: 4, outputs_per_variable: 4, ..image(4, 8, 3, 4) };
    let vdm = VdmUNetConfig {
        width: 8,
        blocks: 2,
        heads: 2,
        dropout: 0.3,
        norm_groups: 4,
        fourier_exponents: vec![1, 2],
        attention_everywhere: true,
        patch: 1,
        classes: None,
        low_resolution: None,
    };
    let vdm_plain = VdmUNetConfig { fourier_exponents: vec![], patch: 2, ..vdm.clone() };
    let transformer = small_transformer();
    let learned = TransformerConfig { positions: Positions::Learned, skip_to_output: false, ..small_transformer() };
    let text = Variables { shape: Shape::Sequence { length: 6 }, inputs_per_variable: 5, outputs_per_variable: 5 };
    vec![
        ("unet", NetworkConfig::Unet(unet.clone()), image(8, 8, 1, 1)),
        ("unet, two outputs", NetworkConfig::Unet(unet), image(4, 8, 3, 2)),
        ("unet, patched", NetworkConfig::Unet(patched), image(8, 12, 2, 2)),
        ("unet, classes", NetworkConfig::Unet(plain), colours),
        ("vdm_unet", NetworkConfig::VdmUnet(vdm), image(4, 6, 3, 2)),
        ("vdm_unet, patched", NetworkConfig::VdmUnet(vdm_plain), image(4, 6, 1, 1)),
        ("transformer", NetworkConfig::Transformer(transformer.clone()), text),
        ("transformer, learned positions", NetworkConfig::Transformer(learned), text),
        ("transformer, image", NetworkConfig::Transformer(transformer), image(2, 3, 1, 1)),
        ("mlp, image", NetworkConfig::Mlp(SMALL_MLP), image(2, 3, 1, 2)),
        ("mlp, row", NetworkConfig::Mlp(SMALL_MLP), ROW),
    ]
}

const SMALL_MLP: MlpConfig = MlpConfig { width: 16, blocks: 2, dropout: 0.3 };
const ROW: Variables = Variables {
    shape: Shape::Row { variables: 4, inputs: 6, outputs: 9 },
    inputs_per_variable: 1,
    outputs_per_variable: 1,
};

fn small_unet() -> UNetConfig {
    UNetConfig {
        width: 8,
        multipliers: vec![1, 2],
        blocks_per_level: 1,
        attention_levels: vec![],
        heads: 2,
        dropout: 0.3,
        norm_groups: 4,
        input_projection: true,
        skip_to_output: true,
        patch: 1,
        position_bands: 0,
        input_features: None,
        classes: None,
        low_resolution: None,
    }
}

fn small_transformer() -> TransformerConfig {
    TransformerConfig {
        width: 16,
        layers: 2,
        heads: 4,
        dropout: 0.3,
        positions: Positions::Sinusoidal,
        skip_to_output: true,
        classes: None,
    }
}

struct Built {
    store: VarStore,
    network: Box<dyn Network>,
    input: Tensor,
    t: Tensor,
    output_size: Vec<i64>,
}

/// Builds a network whose zero-initialised layers are not zero, as after some training, with an input.
fn build(config: &NetworkConfig, variables: &Variables) -> Built {
    const BATCH: i64 = 3;
    let store = VarStore::new(Device::Cpu);
    let network = config.build(variables, &store.root()).unwrap();
    tch::no_grad(|| {
        for mut parameter in store.trainable_variables() {
            let noise = parameter.randn_like() * 0.2;
            parameter += noise;
        }
    });
    let dimensions = variables.shape.dimensions() as i64;
    let options = (Kind::Float, Device::Cpu);
    let input = match (variables.shape, variables.inputs_per_variable as i64) {
        (Shape::Row { inputs, .. }, _) => Tensor::rand([BATCH, inputs as i64], options) * 2.0 - 1.0,
        (_, 1) => Tensor::rand([BATCH, dimensions], options) * 2.0 - 1.0,
        (_, classes) => Tensor::randn([BATCH, dimensions, classes], options).softmax(-1, Kind::Float),
    };
    let t = Tensor::rand([BATCH], options);
    let output_size = match variables.shape {
        Shape::Row { outputs, .. } => vec![BATCH, outputs as i64],
        _ => vec![BATCH, dimensions, variables.outputs_per_variable as i64],
    };
    Built { store, network, input, t, output_size }
}

#[test]
fn every_parameter_gets_a_gradient() {
    for (name, config, variables) in examples() {
        let Built { store, network, input, t, .. } = build(&config, &variables);
        let output = network.forward(&input, &t, None, Mode::Train);
        (output.randn_like() * output).sum(Kind::Float).backward();
        for parameter in parameters(network.as_ref(), &store) {
            let gradient = parameter.tensor.grad();
            assert!(gradient.defined(), "{name}: {} has no gradient", parameter.name);
            let largest = gradient.abs().max().double_value(&[]);
            assert!(largest > 0.0 && largest.is_finite(), "{name}: gradient of {} is {largest}", parameter.name);
        }
    }
}

#[test]
fn evaluation_is_deterministic_and_training_drops() {
    for (name, config, variables) in examples() {
        let Built { network, input, t, output_size, .. } = build(&config, &variables);
        let run = |mode| tch::no_grad(|| network.forward(&input, &t, None, mode));
        let output = run(Mode::Evaluate);
        assert_eq!(output.size(), output_size, "{name}");
        assert!(output.isfinite().all().int64_value(&[]) == 1, "{name}");
        assert_eq!(output, run(Mode::Evaluate), "{name}");
        let trained = [run(Mode::Train), run(Mode::Train)];
        assert_ne!(trained[0], trained[1], "{name}: dropout does nothing");
    }
}

#[test]
fn examples_of_a_batch_do_not_see_each_other() {
    for (name, config, variables) in examples() {
        let Built { network, input, t, .. } = build(&config, &variables);
        let run = |input: &Tensor, t: &Tensor| tch::no_grad(|| network.forward(input, t, None, Mode::Evaluate));
        let together = run(&input, &t).narrow(0, 1, 1);
        let alone = run(&input.narrow(0, 1, 1), &t.narrow(0, 1, 1));
        let error = (&together - &alone).abs().max().double_value(&[]);
        assert!(error <= 1e-5 * together.abs().max().double_value(&[]), "{name}: {error:e}");
    }
}

#[test]
fn time_and_input_matter() {
    for (name, config, variables) in examples() {
        let Built { network, input, t, .. } = build(&config, &variables);
        let run = |input: &Tensor, t: &Tensor| tch::no_grad(|| network.forward(input, t, None, Mode::Evaluate));
        let output = run(&input, &t);
        assert_ne!(output, run(&input, &(&t * 0.5)), "{name}: t does nothing");
        assert_ne!(output, run(&(&input * 0.5), &t), "{name}: the input does nothing");
    }
}

#[test]
fn bf16_autocast_changes_the_digits_and_not_the_kind() {
    for (name, config, variables) in examples() {
        let Built { network, input, t, .. } = build(&config, &variables);
        let run = || tch::no_grad(|| network.forward(&input, &t, None, Mode::Evaluate));
        let exact = run();
        let rounded = {
            let _guard = Precision::Bf16.guard(Device::Cpu);
            run()
        };
        assert_eq!(rounded.kind(), Kind::Float, "{name}");
        let error = (&rounded - &exact).abs().max().double_value(&[]);
        let largest = exact.abs().max().double_value(&[]);
        assert!(error > 0.0 && error < 0.2 * largest, "{name}: error {error}, largest {largest}");
    }
}

/// At first the output does not depend on t: every residual branch ends in a layer that starts at zero.
#[test]
fn unets_start_blind_to_time_in_their_blocks() {
    let store = VarStore::new(Device::Cpu);
    let config = NetworkConfig::VdmUnet(VdmUNetConfig {
        width: 8,
        blocks: 1,
        heads: 1,
        dropout: 0.0,
        norm_groups: 4,
        fourier_exponents: vec![5, 6],
        attention_everywhere: false,
        patch: 1,
        classes: None,
        low_resolution: None,
    });
    let network = config.build(&image(4, 4, 1, 1), &store.root()).unwrap();
    let input = Tensor::rand([2, 16], (Kind::Float, Device::Cpu));
    let run = |t: f32| tch::no_grad(|| network.forward(&input, &Tensor::from_slice(&[t, t]), None, Mode::Evaluate));
    assert_eq!(run(0.1), run(0.9));
    let weights = store.variables();
    for name in ["down_blocks.0.resnet_block.cond_proj.weight", "conv_out.2.weight", "mid_attn_block.layers.3.bias"] {
        assert_eq!(weights[name].abs().max().double_value(&[]), 0.0, "{name}");
    }
}

#[test]
fn starting_values_have_the_published_distributions() {
    let store = VarStore::new(Device::Cpu);
    let config = NetworkConfig::Unet(UNetConfig { width: 64, ..UNetConfig::published_mnist() });
    config.build(&MNIST, &store.root()).unwrap();
    let weights = store.variables();
    // Uniform in ±1/√(9·64): the largest of many values is near the bound, the deviation is the bound over √3.
    let bound = 1.0 / (9.0 * 64.0f64).sqrt();
    let weight = &weights["input_blocks.1.0.in_layers.2.weight"];
    let largest = weight.abs().max().double_value(&[]);
    assert!(largest <= bound * (1.0 + 1e-6) && largest > 0.99 * bound, "{largest} against {bound}");
    let deviation = weight.std(false).double_value(&[]);
    assert!((deviation / (bound / 3f64.sqrt()) - 1.0).abs() < 0.02, "{deviation}");
    assert!(weights["input_blocks.1.0.in_layers.2.bias"].abs().max().double_value(&[]) > 0.5 * bound);
    assert_eq!(weights["out.0.weight"], Tensor::ones([64], (Kind::Float, Device::Cpu)));
    for zero in
        ["out.2.weight", "out.2.bias", "middle_block.1.proj_out.weight", "output_blocks.0.0.out_layers.3.weight"]
    {
        assert_eq!(weights[zero].abs().max().double_value(&[]), 0.0, "{zero}");
    }

    let store = VarStore::new(Device::Cpu);
    let config = TransformerConfig { width: 128, layers: 8, ..small_transformer() };
    NetworkConfig::Transformer(config).build(&TEXT8, &store.root()).unwrap();
    let weights = store.variables();
    for (name, expected) in [
        ("transformer.h.3.attn.c_attn.weight", 0.02),
        ("transformer.h.3.mlp.c_proj.weight", 0.02 / 4.0),
        ("transformer.h.7.attn.c_proj.weight", 0.02 / 4.0),
        ("lm_head.weight", 0.02),
    ] {
        let deviation = weights[name].std(false).double_value(&[]);
        assert!((deviation / expected - 1.0).abs() < 0.04, "{name}: {deviation}, expected {expected}");
    }
    assert_eq!(weights["transformer.h.0.mlp.c_fc.bias"].abs().max().double_value(&[]), 0.0);
}

#[test]
fn weight_decay_groups_are_the_published_ones() {
    let learned = TransformerConfig { positions: Positions::Learned, ..small_transformer() };
    let Built { store, network, .. } = build(&NetworkConfig::Transformer(learned), &TEXT8);
    let decayed = parameters(network.as_ref(), &store).into_iter().filter(|parameter| parameter.decays);
    let decayed: Vec<String> = decayed.map(|parameter| parameter.name).collect();
    let block = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
    let blocks = (0..2).flat_map(|index| block.map(|name| format!("transformer.h.{index}.{name}.weight")));
    let ends = ["input_adapter.inp_embedding.weight", "input_adapter.t_embedding.weight", "lm_head.weight"];
    let mut expected: Vec<String> = ends.map(String::from).into_iter().chain(blocks).collect();
    expected.sort();
    assert_eq!(decayed, expected);

    for config in [
        NetworkConfig::Unet(small_unet()),
        NetworkConfig::VdmUnet(VdmUNetConfig { blocks: 1, ..VdmUNetConfig::published_cifar10() }),
    ] {
        let Built { store, network, .. } = build(&config, &image(8, 8, 1, 1));
        let parameters = parameters(network.as_ref(), &store);
        assert_eq!(parameters.len(), store.trainable_variables().len());
        assert!(parameters.iter().all(|parameter| parameter.decays));
    }
}

#[test]
fn impossible_settings_are_named() {
    let unet = |change: fn(&mut UNetConfig), variables: Variables| {
        let mut config = small_unet();
        change(&mut config);
        (NetworkConfig::Unet(config), variables)
    };
    let transformer = |change: fn(&mut TransformerConfig)| {
        let mut config = small_transformer();
        change(&mut config);
        (NetworkConfig::Transformer(config), TEXT8)
    };
    let vdm = |change: fn(&mut VdmUNetConfig)| {
        let mut config = VdmUNetConfig::published_cifar10();
        change(&mut config);
        (NetworkConfig::VdmUnet(config), CIFAR10)
    };
    let cases = [
        ("network.unet.width", unet(|config| config.width = 0, MNIST)),
        ("network.unet.width", unet(|config| config.width = 10, MNIST)),
        ("network.unet.width", unet(|config| config.width = 1 << 15, MNIST)),
        ("network.mlp.width", (NetworkConfig::Mlp(MlpConfig { width: 15, ..SMALL_MLP }), ROW)),
        ("network.mlp.blocks", (NetworkConfig::Mlp(MlpConfig { blocks: 0, ..SMALL_MLP }), ROW)),
        ("network.mlp.dropout", (NetworkConfig::Mlp(MlpConfig { dropout: -0.1, ..SMALL_MLP }), ROW)),
        ("network.unet.norm_groups", unet(|config| config.norm_groups = 0, MNIST)),
        ("network.unet.multipliers", unet(|config| config.multipliers.clear(), MNIST)),
        ("network.unet.multipliers", unet(|config| config.multipliers = vec![1, 0], MNIST)),
        ("network.unet.multipliers", unet(|config| config.multipliers = vec![1; 4], MNIST)),
        ("network.unet.multipliers", unet(|config| config.multipliers = vec![1; 70], MNIST)),
        ("network.unet.multipliers", unet(|_| {}, image(7, 8, 1, 1))),
        ("network.unet.blocks_per_level", unet(|config| config.blocks_per_level = 0, MNIST)),
        ("network.unet.heads", unet(|config| config.heads = 0, MNIST)),
        ("network.unet.heads", unet(|config| config.heads = 3, MNIST)),
        ("network.unet.attention_levels", unet(|config| config.attention_levels = vec![0, 2], MNIST)),
        ("network.unet.dropout", unet(|config| config.dropout = 1.0, MNIST)),
        ("network.unet.dropout", unet(|config| config.dropout = f64::NAN, MNIST)),
        ("network.unet.patch", unet(|config| config.patch = 3, MNIST)),
        ("network.unet", unet(|_| {}, TEXT8)),
        ("network.transformer.layers", transformer(|config| config.layers = 0)),
        ("network.transformer.width", transformer(|config| config.width = 18)),
        ("network.transformer.width", transformer(|config| config.width = 1 << 40)),
        ("network.transformer.dropout", transformer(|config| config.dropout = -0.1)),
        ("network.vdm_unet.width", vdm(|config| config.width = 100)),
        ("network.vdm_unet.blocks", vdm(|config| config.blocks = 0)),
        ("network.vdm_unet.fourier_exponents", vdm(|config| config.fourier_exponents = vec![99])),
    ];
    for (expected, (config, variables)) in cases {
        let store = VarStore::new(Device::Cpu);
        let built = config.build(&variables, &store.root()).map(drop);
        match &built {
            Err(Error::Configuration { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: expected an error, found {other:?}"),
        }
        assert!(store.is_empty(), "{expected}: parameters were made before the check");
        assert_eq!(config.check(&variables).unwrap_err().to_string(), built.unwrap_err().to_string());
    }
}

#[test]
fn configurations_read_and_write_and_refuse_unknown_keys() {
    for (_, config, _) in examples() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<NetworkConfig>(&text).unwrap(), config);
    }
    let text =
        r#"{"transformer": {"width": 8, "layers": 1, "heads": 2, "dropout": 0, "skip_to_output": true, "depth": 3}}"#;
    let error = serde_json::from_str::<NetworkConfig>(text).unwrap_err().to_string();
    assert!(error.contains("unknown field `depth`"), "{error}");
}

#[test]
fn a_network_that_nobody_registered_is_named() {
    let text = r#"{"own": {"name": "mine", "width": 3}}"#;
    let config: NetworkConfig = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    let error = config.check(&MNIST).unwrap_err().to_string();
    assert!(error.contains("network.own.name") && error.contains("mine"), "{error}");
}

#[test]
#[should_panic(expected = "input: expected shape [3, 64], found [3, 63]")]
fn an_input_of_another_size_panics() {
    let Built { network, input, t, .. } = build(&NetworkConfig::Unet(small_unet()), &image(8, 8, 1, 1));
    let _ = network.forward(&input.narrow(1, 0, 63), &t, None, Mode::Evaluate);
}
