//! The number of arithmetic operations that networks request.

use bfn_nets::networks::{Mode, NetworkConfig, Shape, UNetConfig, Variables, count_operations};

use super::{Built, MNIST, ROW, SMALL_MLP, build, small_transformer};

/// The counted operations equal those worked out by hand for each kind of layer.
#[test]
fn operations_are_counted() {
    let count = |config: NetworkConfig, variables: Variables| {
        let Built { network, input, t, .. } = build(&config, &variables);
        let forward = |batch| network.forward(&input.narrow(0, 0, batch), &t.narrow(0, 0, batch), None, Mode::Evaluate);
        let (_, one) = count_operations(|| forward(1));
        let (_, two) = count_operations(|| forward(2));
        assert_eq!(two, 2 * one);
        let _ = forward(1);
        assert_eq!(count_operations(|| ()).1, 0, "nobody counted before");
        one
    };
    // τ(t), the input layer, the widening, time and narrowing layers of each block, and the output layer.
    let mlp = 16 * 16 + 6 * 16 + 2 * (16 * 64 + 16 * 64 + 64 * 16) + (16 + 6) * 9;
    assert_eq!(count(NetworkConfig::Mlp(SMALL_MLP), ROW), 2 * mlp);
    // The embeddings of the symbols and of t; per layer, the maps to three widths, one, four and one, and the two
    // products of attention; the last map, from two widths.
    let (length, width) = (6, 16);
    let layer = length * width * width * (3 + 1 + 4 + 4) + 2 * length * length * width;
    let transformer = length * 5 * width + width + 2 * layer + length * 2 * width * 5;
    let text = Variables { shape: Shape::Sequence { length: 6 }, inputs_per_variable: 5, outputs_per_variable: 5 };
    assert_eq!(count(NetworkConfig::Transformer(small_transformer()), text), 2 * transformer as u64);
    // The count for the published code, by PyTorch's FlopCounterMode; two of its linear maps of the input are one here.
    let published = count(NetworkConfig::Unet(UNetConfig::published_mnist()), MNIST);
    assert!((published as f64 / 9_134_130_176.0 - 1.0).abs() < 1e-4, "{published}");
}
