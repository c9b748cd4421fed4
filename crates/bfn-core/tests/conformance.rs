//! The conformance suite on `ndarray`.

use bfn_core::conformance::{Tolerance, run};
use bfn_core::{Element, Nd, Tensor};
use ndarray::ArrayD;

fn like<F: Element>() -> Tensor<Nd<F>> {
    Tensor::from_nd(ArrayD::from_elem(vec![1], F::of(0.0)))
}

#[test]
fn ndarray_in_f64_conforms() {
    run(&like::<f64>(), Tolerance::DOUBLE);
}

#[test]
fn ndarray_in_f32_conforms() {
    run(&like::<f32>(), Tolerance::SINGLE);
}
