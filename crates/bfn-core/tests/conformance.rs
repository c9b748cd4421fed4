//! The conformance suite on `ndarray`.

#[test]
fn ndarray_conforms() {
    bfn_core::conformance::run_on_ndarray();
}
