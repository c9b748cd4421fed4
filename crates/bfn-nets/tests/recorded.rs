//! Recorded and repeated work, on the CPU and as CUDA graphs on every available GPU.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bfn_nets::{Inputs, Recorded, device, seed_dropout};
use object::read::ReadCache;
use object::{Object, ObjectSymbol};
use tch::{Device, Kind, Tensor};

/// Makes the tests take turns, as libtorch's generators belong to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pair(Tensor, Tensor);

impl Inputs for Pair {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        vec![&mut self.0, &mut self.1]
    }
}

/// Returns the inputs of a run, which differ from step to step.
fn pair(step: u64, rows: i64, device: Device) -> Pair {
    let values = Tensor::arange(rows * 5, (Kind::Float, Device::Cpu)) * 0.3 + step as f64;
    Pair(values.sin().reshape([rows, 5]).to_device(device), values.narrow(0, 0, rows).cos().to_device(device))
}

fn weights(device: Device) -> [Tensor; 2] {
    [[5, 7], [7, 1]].map(|shape| {
        let values = Tensor::arange(shape[0] * shape[1], (Kind::Float, Device::Cpu)) * 0.7;
        values.sin().reshape(shape).to_device(device).set_requires_grad(true)
    })
}

/// Computes the loss of a small network with dropout; its gradient is added to that of the weights.
fn pass(Pair(x, y): &Pair, [first, second]: &[Tensor; 2]) -> Tensor {
    let hidden = x.matmul(first).tanh().dropout(0.5, true);
    let scale = device::upload(&Tensor::from_slice(&[0.5_f32]), x.device());
    let loss = ((hidden.matmul(second).squeeze_dim(1) - y).square() * scale).mean(Kind::Float);
    loss.backward();
    loss.detach()
}

fn close(a: &Tensor, b: &Tensor) -> bool {
    a.allclose(b, 1e-6, 1e-6, false)
}

/// Rehearsals, recording and repetitions yield the losses of fresh work, and gradients that accumulate in place.
#[test]
fn repeated_work_is_work_done_anew() {
    let _alone = alone();
    for device in device::available() {
        let (plain, repeated) = (weights(device), weights(device));
        let mut recorded = Recorded::new(device).unwrap();
        let mut losses = Vec::new();
        for step in 0..8 {
            seed_dropout(1, step);
            let expected = pass(&pair(step, 6, device), &plain);
            seed_dropout(1, step);
            let found = recorded.run(pair(step, 6, device), |pair| pass(pair, &repeated)).unwrap();
            assert!(close(found, &expected), "step {step} on {device:?}: {found:?}, expected {expected:?}");
            losses.push(found.double_value(&[]));
            for (weight, other) in repeated.iter().zip(&plain) {
                assert!(close(&weight.grad(), &other.grad()), "step {step} on {device:?}");
            }
        }
        losses.dedup();
        assert_eq!(losses.len(), 8, "other inputs and draws each time");
    }
}

#[test]
fn inputs_are_not_written_to() {
    let _alone = alone();
    for device in device::available() {
        let mut recorded = Recorded::new(device).unwrap();
        let first = pair(0, 3, device);
        let kept = first.0.copy();
        for step in 0..6 {
            let Pair(x, y) =
                if step == 0 { Pair(first.0.shallow_clone(), first.1.shallow_clone()) } else { pair(step, 3, device) };
            let expected = x.sum(Kind::Float) + y.sum(Kind::Float);
            let found = recorded.run(Pair(x, y), |Pair(x, y)| x.sum(Kind::Float) + y.sum(Kind::Float)).unwrap();
            assert!(close(found, &expected), "step {step} on {device:?}");
        }
        assert!(first.0.equal(&kept), "the inputs of the first run belong to the caller");
    }
}

#[test]
fn numbers_that_change_are_refused() {
    let _alone = alone();
    for device in device::available() {
        let times = |x: &Tensor, number: f32| x * device::upload(&Tensor::from_slice(&[number]), device);
        let mut recorded = Recorded::new(device).unwrap();
        let mut run = |number: f32| {
            let work = |Pair(x, _): &Pair| times(x, number);
            catch_unwind(AssertUnwindSafe(|| recorded.run(pair(1, 3, device), work).unwrap().copy()))
        };
        let x = pair(1, 3, device).0;
        assert!(close(&run(2.0).unwrap(), &(&x * 2.0)));
        let refused = run(3.0).unwrap_err();
        let message = refused.downcast_ref::<&str>().unwrap();
        assert!(message.contains("numbers that change from run to run"), "{message}");
        // The constants and the thread are unchanged.
        for _ in 0..5 {
            assert!(close(&run(2.0).unwrap(), &(&x * 2.0)));
            assert!(close(&times(&x, 4.0), &(&x * 4.0)));
        }
        // An interrupted recording is started again.
        let mut recorded = Recorded::new(device).unwrap();
        for step in 0..7 {
            let work = |Pair(x, _): &Pair| {
                let twice = x * 2.0;
                assert!(step != 3, "stop");
                twice
            };
            let found = catch_unwind(AssertUnwindSafe(|| recorded.run(pair(step, 3, device), work).map(Tensor::copy)));
            match found {
                Ok(found) => assert!(close(&found.unwrap(), &(pair(step, 3, device).0 * 2.0))),
                Err(_) => assert_eq!(step, 3),
            }
        }
    }
}

#[test]
fn inputs_of_another_shape_do_not_fit() {
    let _alone = alone();
    for device in device::available() {
        let mut recorded = Recorded::new(device).unwrap();
        let sum = |Pair(x, _): &Pair| x.sum(Kind::Float);
        assert!(recorded.fits(&mut pair(0, 3, device)) && recorded.fits(&mut pair(0, 4, device)));
        recorded.run(pair(0, 3, device), sum).unwrap();
        assert!(recorded.fits(&mut pair(9, 3, device)) && !recorded.fits(&mut pair(0, 4, device)));
        let Pair(x, y) = pair(0, 3, device);
        assert!(!recorded.fits(&mut Pair(x.to_kind(Kind::Double), y)));
        assert!(catch_unwind(AssertUnwindSafe(|| recorded.run(pair(0, 4, device), sum).map(|_| ()))).is_err());
    }
}

/// libtorch's CUDA half has the functions that the shim calls by name for CUDA graphs.
#[test]
fn the_functions_that_record_are_in_libtorch() {
    let source = include_str!("../src/shim/graph.cpp");
    let names: Vec<&str> = source.split('"').filter(|text| text.starts_with("_Z")).collect();
    assert_eq!(names.len(), 5);
    let path = Path::new(&std::env::var_os("LIBTORCH").unwrap()).join("lib/libtorch_cuda.so");
    let Ok(file) = File::open(&path) else {
        assert!(device::available().len() == 1, "a GPU is used without {}", path.display());
        return;
    };
    let cache = ReadCache::new(file);
    let library = object::File::parse(&cache).unwrap();
    let found: HashSet<&str> =
        library.dynamic_symbols().filter(|one| one.is_definition()).filter_map(|one| one.name().ok()).collect();
    for name in names {
        assert!(found.contains(name), "{} has no {name}", path.display());
    }
}
