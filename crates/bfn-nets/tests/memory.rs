//! The peak of memory of the losses of 256 bins, with and without the gradient.

#![allow(clippy::unwrap_used)]

use std::fs;

use bfn_core::head::{CategoricalHead, MixtureHead};
use bfn_core::{Backend, BayesianFlow, DiscretisedFlow, ExponentialSchedule, Indices, Nd, Tensor};
use bfn_nets::Torch;
use ndarray::ArrayD;
use tch::{Device, Kind};

/// The batch; the ratios are the same for larger ones. One tensor takes more than 32 MiB, so that the C library gives
/// it back to the system as soon as it is freed and nothing that was freed before hides what is measured.
const BATCH: usize = 11;
const VARIABLES: usize = 3072;
const BINS: usize = 256;

/// The tensors of a number per variable and bin that a loss may take, its gradient included.
const MOST: f64 = 3.0;

/// What one tensor of a number per variable and bin takes in f32.
const TENSOR: f64 = (4 * BATCH * VARIABLES * BINS) as f64;

/// By how much the process's resident memory rose while `f` ran, at most, in such tensors; none where the system does
/// not say.
fn peak(f: impl FnOnce()) -> Option<f64> {
    let status = |key: &str| {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    // Sets the peak so far back to what is resident now.
    fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    f();
    Some((status("VmHWM:")? - before) * 1024.0 / TENSOR)
}

/// Whether a loss takes no more than [`MOST`].
fn within(what: &str, f: impl FnOnce()) -> bool {
    match peak(f) {
        Some(tensors) => {
            eprintln!("{what}: {tensors:.2} tensors");
            tensors <= MOST
        }
        None => {
            eprintln!("skipped, {what}: this system does not say a process's peak of memory");
            true
        }
    }
}

/// One loss of a batch, from the network's output.
fn loss<B, H>(what: &str, flow: &DiscretisedFlow<ExponentialSchedule, H>, network: &Tensor<B>) -> Tensor<B>
where
    B: Backend,
    DiscretisedFlow<ExponentialSchedule, H>: BayesianFlow<B, Data = Indices<B>>,
{
    let shape = [BATCH, VARIABLES];
    let varied = |scale: f64| {
        let values: Vec<f64> = (0..BATCH * VARIABLES).map(|i| scale * (i as f64 * 0.7).sin()).collect();
        network.from_values_like(&shape, &values)
    };
    let bins: Vec<usize> = (0..BATCH * VARIABLES).map(|i| i * 37 % BINS).collect();
    let x = network.indices_like(&shape, &bins);
    let times: Vec<f64> = (0..BATCH).map(|b| (b as f64 + 0.5) / BATCH as f64).collect();
    let t = network.from_values_like(&[BATCH], &times);
    let output = flow.output(&flow.flow(&x, &t, &varied(1.5)), network, &t);
    match what {
        "continuous-time" => flow.loss_continuous_time(&x, &output, &t),
        "n-step" => flow.loss_step(&x, &output, &t.full_like(0.5), &varied(-1.2)),
        _ => flow.loss_reconstruction(&x, &output),
    }
}

/// Network output for a head of so many numbers per variable.
fn network(outputs: usize) -> tch::Tensor {
    let shape = [BATCH, VARIABLES, outputs].map(|length| length as i64);
    let count: i64 = shape.iter().product();
    (tch::Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.3).sin().reshape(shape) * 0.5
}

#[test]
fn losses_of_256_bins_hold_a_few_tensors_of_all_bins() {
    let normal = DiscretisedFlow::new(BINS, 1e-3).unwrap();
    let mixture = DiscretisedFlow::new(BINS, 1e-3).unwrap().with_head(MixtureHead::new(2).unwrap());
    let free = DiscretisedFlow::new(BINS, 1e-3).unwrap().with_head(CategoricalHead);
    // What libtorch and its threads need once.
    let _ = loss("n-step", &normal, &Tensor::<Torch>::new(network(2)));
    let mut within_bound = Vec::new();
    for what in ["continuous-time", "n-step", "reconstruction"] {
        for (head, outputs) in [("normal", 2), ("mixture", 6), ("free bins", BINS)] {
            let given = network(outputs);
            let of = |network: &Tensor<Torch>| match head {
                "normal" => loss(what, &normal, network),
                "mixture" => loss(what, &mixture, network),
                _ => loss(what, &free, network),
            };
            within_bound.push(within(&format!("{head}, {what}, libtorch, value"), || {
                let _guard = tch::no_grad_guard();
                let _ = of(&Tensor::new(given.shallow_clone()));
            }));
            let leaf = given.set_requires_grad(true);
            within_bound.push(within(&format!("{head}, {what}, libtorch, value and gradient"), || {
                of(&Tensor::new(leaf.shallow_clone())).array().sum(Kind::Float).backward();
            }));
        }
        let values: Vec<f32> = network(2).flatten(0, -1).try_into().unwrap();
        let given = Tensor::<Nd<f32>>::from_nd(ArrayD::from_shape_vec(vec![BATCH, VARIABLES, 2], values).unwrap());
        within_bound.push(within(&format!("normal, {what}, ndarray"), || drop(loss(what, &normal, &given))));
    }
    assert!(within_bound.iter().all(|within| *within), "a loss takes more than {MOST} tensors of B·D·K, see above");
}
