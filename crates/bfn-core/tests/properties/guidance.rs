//! Guidance: on the network's output and on the parameters of the output distribution.

use bfn_core::distribution::{BinCategorical, Categorical, Delta, DiscretisedNormal, Normal, Probability};
use bfn_core::mixed::{MixedOutput, PartOutput};
use bfn_core::sampler::{Guided, guided};
use bfn_core::{FiniteDistribution, Nd, Tensor};
use proptest::prelude::*;

use super::{assert_close, distribution, row};

#[test]
fn guidance_sharpens_what_a_class_adds() {
    let (with, without) = (row(&[0.5, 0.3, 0.2]), row(&[0.25, 0.5, 0.25]));
    let guided = |weight: f64| guided(&with.ln(), &without.ln(), weight).softmax_last().to_values();
    assert_close(&guided(0.0), &with.to_values(), 1e-15);
    assert_close(&guided(-1.0), &without.to_values(), 1e-15);
    let powers: Vec<f64> =
        [(0.5, 0.25), (0.3, 0.5), (0.2, 0.25)].map(|(p, q): (f64, f64)| p.powi(3) / q.powi(2)).to_vec();
    let total: f64 = powers.iter().sum();
    assert_close(&guided(2.0), &powers.iter().map(|power| power / total).collect::<Vec<_>>(), 1e-14);
}

fn classes(probabilities: &[f64]) -> Categorical<Nd> {
    Categorical::from_logits(&row(probabilities).ln())
}

fn bins(mean: &[f64], deviation: f64) -> DiscretisedNormal<Nd> {
    let mean = row(mean);
    DiscretisedNormal { deviation: mean.full_like(deviation), mean, bins: 5, probability: Probability::Exact }
}

#[test]
fn probabilities_are_taken_further_and_stay_probabilities() {
    let (with, without) = (classes(&[0.6, 0.3, 0.1]), classes(&[0.2, 0.3, 0.5]));
    let found = with.guided(&without, 1.0).probabilities().to_values();
    // Before normalisation: 1, 0.3 and −0.3; the last is not a probability and becomes 0.
    assert_close(&found, &[1.0 / 1.3, 0.3 / 1.3, 0.0], 1e-11);
    assert_close(&with.guided(&without, 0.5).probabilities().to_values(), &[0.8 / 1.1, 0.3 / 1.1, 0.0], 1e-11);
    assert_close(&with.guided(&without, -0.5).probabilities().to_values(), &[0.4, 0.3, 0.3], 1e-12);
    assert!(with.guided(&without, 9.0).log_probabilities().to_values().iter().all(|ln| ln.is_finite()));
    let free = BinCategorical(with.clone()).guided(&BinCategorical(without.clone()), 1.0);
    assert_close(&free.0.probabilities().to_values(), &found, 1e-15);
    // With guidance on the network's output, the same two predictions become p(x | c)² / p(x): 1.8, 0.3 and 0.02.
    let on_output = guided(&with.log_probabilities(), &without.log_probabilities(), 1.0).softmax_last();
    assert_close(&on_output.to_values(), &[1.8 / 2.12, 0.3 / 2.12, 0.02 / 2.12], 1e-12);
}

#[test]
fn means_are_taken_further_from_within_their_range() {
    let delta = |x_hat: &[f64]| Delta { x_hat: row(x_hat) };
    let found = delta(&[0.2, 0.7, -1.0]).guided(&delta(&[0.1, 0.2, 1.0]), 2.0);
    assert_close(&found.x_hat.to_values(), &[0.4, 1.0, -1.0], 1e-15);
    // In the difference, a mean outside [−1, 1] counts as the nearest end; the deviation is the conditional one.
    let found = bins(&[0.2, 3.0], 0.1).guided(&bins(&[-0.1, -40.0], 0.7), 0.5);
    assert_close(&found.mean.to_values(), &[0.35, 4.0], 1e-14);
    assert_close(&found.deviation.to_values(), &[0.1; 2], 1e-15);
    assert_close(&found.probabilities().sum_last().to_values(), &[1.0; 2], 1e-12);
    let normal = |mean: f64| Normal { mean: row(&[mean]), deviation: row(&[0.3]) };
    assert_close(&normal(0.5).guided(&normal(0.1), 1.0).mean.to_values(), &[0.9], 1e-15);
}

#[test]
fn each_part_of_mixed_data_is_guided_as_what_it_is() {
    type Output = MixedOutput<Delta<Nd>, DiscretisedNormal<Nd>, Categorical<Nd>>;
    let output = |x: f64, probabilities: &[f64]| -> Output {
        MixedOutput(vec![
            PartOutput::Continuous(Delta { x_hat: row(&[x]) }),
            PartOutput::Discretised(bins(&[x], 0.2)),
            PartOutput::Discrete(classes(probabilities)),
        ])
    };
    let found = output(0.3, &[0.5, 0.5]).guided(&output(0.2, &[0.6, 0.4]), 1.0);
    let [PartOutput::Continuous(delta), PartOutput::Discretised(normal), PartOutput::Discrete(classes)] = &found.0[..]
    else {
        panic!("{found:?}")
    };
    assert_close(&delta.x_hat.to_values(), &[0.4], 1e-15);
    assert_close(&normal.mean.to_values(), &[0.4], 1e-15);
    assert_close(&classes.probabilities().to_values(), &[0.4, 0.6], 1e-12);
}

#[test]
#[should_panic(expected = "different kinds")]
fn parts_of_different_kinds_panic() {
    type Output = MixedOutput<Delta<Nd>, Normal<Nd>, Categorical<Nd>>;
    let real: Output = MixedOutput(vec![PartOutput::Continuous(Delta { x_hat: row(&[0.0]) })]);
    let class: Output = MixedOutput(vec![PartOutput::Discrete(classes(&[1.0]))]);
    let _ = real.guided(&class, 1.0);
}

proptest! {
    #[test]
    fn without_weight_the_condition_alone_decides(
        p in distribution(4), q in distribution(4), mean in -5.0..5.0_f64, other in -5.0..5.0_f64,
    ) {
        assert_close(&classes(&p).guided(&classes(&q), 0.0).probabilities().to_values(), &p, 1e-12);
        assert_close(&bins(&[mean], 0.5).guided(&bins(&[other], 0.1), 0.0).mean.to_values(), &[mean], 0.0);
        let logits = |p: &[f64]| -> Tensor { row(p).ln() };
        assert_close(&guided(&logits(&p), &logits(&q), 0.0).to_values(), &logits(&p).to_values(), 0.0);
    }

    #[test]
    fn guided_probabilities_sum_to_one_at_any_weight(p in distribution(5), q in distribution(5), w in -0.99..50.0_f64) {
        let found = classes(&p).guided(&classes(&q), w).probabilities().to_values();
        assert_close(&[found.iter().sum()], &[1.0], 1e-12);
        prop_assert!(found.iter().all(|p| *p > 0.0 && *p <= 1.0), "{found:?}");
    }
}
