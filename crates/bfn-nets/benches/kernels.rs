//! The layers of `bfn_nets::kernels` beside those of libtorch, forwards and backwards, on all cores.
//!
//! `cargo bench -p bfn-nets`

use bfn_nets::{device, kernels};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor};

/// Measures a layer of an argument and learned tensors, with the gradients of all.
fn pass(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    x: &Tensor,
    learned: &[Tensor],
    layer: impl Fn(&Tensor) -> Tensor,
) {
    let slope = tch::no_grad(|| layer(x)).randn_like();
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let leaf = x.detach().set_requires_grad(true);
            let y = layer(&leaf) * &slope;
            let inputs: Vec<&Tensor> = std::iter::once(&leaf).chain(learned).collect();
            Tensor::run_backward(&[y], &inputs, false, false)
        });
    });
}

/// Splits a projection into queries, keys and values: 3 × \[B, heads, T, channels\].
fn parts(projected: &Tensor, heads: i64) -> Vec<Tensor> {
    let (batch, length, width) = projected.size3().expect("three axes");
    projected.view([batch, length, 3, heads, width / 3 / heads]).permute([2, 0, 3, 1, 4]).unbind(0)
}

fn fused(projected: &Tensor, heads: i64) -> Tensor {
    let parts = parts(projected, heads);
    let none = None::<Tensor>;
    Tensor::scaled_dot_product_attention(&parts[0], &parts[1], &parts[2], none, 0.0, false, None, false)
        .transpose(1, 2)
        .flatten(2, 3)
}

fn products(projected: &Tensor, heads: i64) -> Tensor {
    let parts: Vec<Tensor> = parts(projected, heads).iter().map(|part| part.contiguous().flatten(0, 1)).collect();
    let channels = parts[0].size()[2] as f64;
    let weights = (&parts[0] / channels.sqrt()).bmm(&parts[1].transpose(1, 2)).softmax(-1, None::<Kind>);
    let batch = projected.size()[0];
    weights.bmm(&parts[2]).unflatten(0, [batch, heads]).transpose(1, 2).flatten(2, 3)
}

fn attention(criterion: &mut Criterion) {
    device::initialise();
    // Examples, heads, positions, channels of a head.
    let shapes =
        [(16, 4, 64, 16), (16, 4, 49, 16), (8, 4, 256, 32), (4, 12, 256, 64), (2, 1, 1024, 64), (16, 4, 784, 8)];
    for (batch, heads, length, channels) in shapes {
        for kind in [Kind::Float, Kind::BFloat16] {
            let name = format!("attention, {batch} × {heads} heads, {length} × {channels}, {kind:?}");
            let mut group = criterion.benchmark_group(name);
            let x = Tensor::randn([batch, length, 3 * heads * channels], (kind, Device::Cpu));
            pass(&mut group, "kernel", &x, &[], |x| {
                kernels::attention(&x.to_kind(Kind::Float), heads, false).to_kind(kind)
            });
            pass(&mut group, "fused", &x, &[], |x| fused(x, heads));
            pass(&mut group, "products", &x, &[], |x| products(x, heads));
        }
    }
}

/// The other layers of a small transformer: 16 examples of 64 positions, width 64.
fn layers(criterion: &mut Criterion) {
    let numbers = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    let mut group = criterion.benchmark_group("layer norm");
    let (x, weight, bias) = (numbers(&[1024, 64]), numbers(&[64]), numbers(&[64]));
    let learned = [&weight, &bias].map(|tensor| tensor.set_requires_grad(true));
    pass(&mut group, "kernel", &x, &learned, |x| kernels::layer_norm(x, &learned[0], &learned[1], 1e-5));
    pass(&mut group, "libtorch", &x, &learned, |x| {
        x.layer_norm([64], Some(&learned[0]), Some(&learned[1]), 1e-5, true)
    });
    group.finish();

    for (inputs, outputs) in [(64, 256), (256, 64)] {
        let mut group = criterion.benchmark_group(format!("linear map, {inputs} to {outputs}"));
        let (x, weight, bias) = (numbers(&[1024, inputs]), numbers(&[outputs, inputs]), numbers(&[outputs]));
        let learned = [&weight, &bias].map(|tensor| tensor.set_requires_grad(true));
        pass(&mut group, "kernel", &x, &learned, |x| kernels::linear(x, &learned[0], Some(&learned[1])));
        pass(&mut group, "libtorch", &x, &learned, |x| x.linear(&learned[0], Some(&learned[1])));
        pass(&mut group, "kernel, GELU", &x, &learned, |x| kernels::linear_gelu(x, &learned[0], &learned[1]));
        pass(&mut group, "libtorch, GELU", &x, &learned, |x| x.linear(&learned[0], Some(&learned[1])).gelu("tanh"));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = attention, layers
}
criterion_main!(benches);
