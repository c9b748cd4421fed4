//! The peak memory of the losses with 256 bins, with and without the gradient.

#![allow(clippy::unwrap_used)]

use std::fs;

use bfn_core::head::{CategoricalHead, MixtureHead};
use bfn_core::{Backend, BayesianFlow, DiscretisedFlow, ExponentialSchedule, Indices, Nd, Tensor};
use bfn_nets::Torch;
use ndarray::ArrayD;
use tch::{Device, Kind};

/// The batch size; larger batches have the same ratios. One tensor takes more than 32 MiB, so the C library returns it
/// to the system as soon as it is freed, and no memory freed earlier hides the measured use.
const BATCH: usize = 11;
const VARIABLES: usize = 3072;
const BINS: usize = 256;

/// The largest permitted use of a loss, gradient included, in tensors of one number per variable and bin.
const MOST: f64 = 3.0;

/// The size in f32 of a tensor of one number per variable and bin, in bytes.
const TENSOR: f64 = (4 * BATCH * VARIABLES * BINS) as f64;

/// Returns the largest rise of the process's resident memory while `f` runs, in such tensors.
///
/// Returns `None` if the system does not report it.
fn peak(f: impl FnOnce()) -> Option<f64> {
    let status = |key: &str| {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    // Resets the recorded peak to the current resident memory.
    fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    f();
    Some((status("VmHWM:")? - before) * 1024.0 / TENSOR)
}

/// Checks whether a loss takes at most [`MOST`].
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

/// Computes one loss of a batch from the network's output.
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

/// Returns a network output for a head with `outputs` numbers per variable.
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
    // Allocates beforehand the memory that libtorch and its threads need once.
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
