//! Benchmarks of the equations at the paper's sizes, each next to a plain loop over the same bytes.
//!
//! ```text
//! cargo bench -p bfn-core                            # everything, some minutes
//! cargo bench -p bfn-core -- 'text/flow/f32'         # one equation
//! cargo bench -p bfn-core --features rayon           # on all cores
//! ```
//!
//! The batches hold 64 examples: `binary` has 784 variables of two classes, `text` 256 variables of 27 classes, and
//! `continuous` and `discretised` 3072 variables each, the latter with 256 bins. Losses start at the network's output.
//! The sampling step is that of SDE-2 after the network: the prediction, its mean, and θ at the next time. The
//! throughput counts the bytes of the arguments and of the result.

mod inputs;
mod loops;

use std::hint::black_box;
use std::time::Duration;

use bfn_core::continuous::Reconstruction;
use bfn_core::sampler::{Advance, Dynamics, Other, Scheme};
use bfn_core::{ContinuousFlow, DiscreteFlow, DiscretisedFlow, Nd, Tensor};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use inputs::{FROM, Inputs, Precision, Size, TO};
use loops::{ContinuousLoops, DiscreteLoops, DiscretisedLoops, Loops};

const BINARY: Size = Size { variables: 784, classes: 2, numbers_per_message: 2, network_outputs: 1 };
const TEXT: Size = Size { variables: 256, classes: 27, numbers_per_message: 27, network_outputs: 27 };
const CONTINUOUS: Size = Size { variables: 3072, classes: 256, numbers_per_message: 1, network_outputs: 1 };
const DISCRETISED: Size = Size { variables: 3072, classes: 256, numbers_per_message: 1, network_outputs: 2 };

const BETA_1: f64 = 0.75;
const SIGMA_1: f64 = 1e-3;

/// Makes the C library's allocator keep freed memory for the next arrays, as it does once something large has been
/// freed. Otherwise, whether a measured time includes requesting megabytes from the system would depend on what ran
/// earlier.
fn keep_freed_memory() {
    // glibc adapts to allocations of up to 32 MiB.
    drop(black_box(Vec::<u8>::with_capacity(31 << 20)));
}

fn paper_sizes<F: Precision>(criterion: &mut Criterion) {
    keep_freed_memory();
    for (name, size) in [("binary", BINARY), ("text", TEXT)] {
        let flow = DiscreteFlow::new(size.classes, BETA_1).expect("a flow");
        let inputs = Inputs::<F>::new(size);
        let loops = DiscreteLoops::new(&inputs, BETA_1);
        bench(criterion, name, &flow, &inputs.indices, &inputs, |theta| theta.0.clone(), &loops);
    }
    let flow = ContinuousFlow::new(SIGMA_1, Reconstruction::Density { deviation: SIGMA_1 }).expect("a flow");
    let inputs = Inputs::<F>::new(CONTINUOUS);
    let loops = ContinuousLoops::new(&inputs, SIGMA_1);
    bench(criterion, "continuous", &flow, &inputs.reals, &inputs, |theta| theta.mu.clone(), &loops);

    let flow = DiscretisedFlow::new(DISCRETISED.classes, SIGMA_1).expect("a flow");
    let inputs = Inputs::<F>::new(DISCRETISED);
    let loops = DiscretisedLoops::new(&inputs, SIGMA_1);
    bench(criterion, "discretised", &flow, &inputs.indices, &inputs, |theta| theta.mu.clone(), &loops);
}

/// Benchmarks every equation of a flow and its loop, after checking that they agree.
fn bench<F, G>(
    criterion: &mut Criterion,
    name: &str,
    flow: &G,
    x: &G::Data,
    inputs: &Inputs<F>,
    parameters: impl Fn(&G::Theta) -> Tensor<Nd<F>>,
    loops: &dyn Loops<F>,
) where
    F: Precision,
    G: Dynamics<Nd<F>>,
{
    let Inputs { t, alpha, noise, sender_noise, network, .. } = inputs;
    let one = t.full_like(1.0);
    let theta = flow.flow(x, t, noise);
    let last = flow.flow(x, &one, noise);
    let y = flow.send(x, alpha, sender_noise);
    let other = Other { t: inputs::BEFORE, signal: flow.mean_signal(&flow.output(&last, network, &one)) };
    let step = || {
        let signal = flow.mean_signal(&flow.output(&theta, network, t));
        let (other, noise) = (Some(&other), Some(sender_noise));
        let advance = Advance { scheme: Scheme::Sde2, from: FROM, to: TO, signal: &signal, other, noise };
        parameters(&flow.advance(&theta, &advance))
    };

    let bytes = inputs.bytes();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    let mut pair = |what: &str, bytes: usize, equation: &dyn Fn() -> Tensor<Nd<F>>, plain: &dyn Fn() -> Vec<F>| {
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut checked = false;
        group.bench_function(format!("{what}/{}/bfn", F::NAME), |bencher| {
            if !checked {
                assert_agree(what, &equation().to_values(), &plain());
                checked = true;
            }
            bencher.iter(|| black_box(equation()));
        });
        group.bench_function(format!("{what}/{}/loop", F::NAME), |bencher| bencher.iter(|| black_box(plain())));
    };
    pair("flow", bytes.data + 2 * bytes.message, &|| parameters(&flow.flow(x, t, noise)), &|| loops.flow());
    pair("update", 3 * bytes.message, &|| parameters(&flow.update(&theta, &y, inputs::ALPHA)), &|| loops.update());
    let loss = bytes.data + bytes.message + bytes.network + bytes.result;
    pair("continuous-time loss", loss, &|| flow.loss_continuous_time(x, &flow.output(&theta, network, t), t), &|| {
        loops.loss_continuous_time()
    });
    pair(
        "n-step loss",
        loss + bytes.message,
        &|| flow.loss_step(x, &flow.output(&theta, network, t), alpha, sender_noise),
        &|| loops.loss_step(),
    );
    pair("reconstruction loss", loss, &|| flow.loss_reconstruction(x, &flow.output(&last, network, &one)), &|| {
        loops.loss_reconstruction()
    });
    pair("sampler step", 4 * bytes.message + bytes.network, &step, &|| loops.sampler_step());
    group.finish();
}

/// Panics unless the equation and its loop agree.
fn assert_agree<F: Precision>(what: &str, equation: &[f64], plain: &[F]) {
    assert_eq!(equation.len(), plain.len(), "{what}");
    for (found, expected) in equation.iter().zip(plain.iter().map(|x| x.widen())) {
        let allowed = F::TOLERANCE * expected.abs().max(1.0);
        assert!((found - expected).abs() <= allowed, "{what}: {found}, by a loop {expected}");
    }
}

criterion_group!(benches, paper_sizes::<f32>, paper_sizes::<f64>);
criterion_main!(benches);
