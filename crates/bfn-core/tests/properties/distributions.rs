//! Output distributions.

use bfn_core::distribution::{Categorical, Delta, DiscretisedNormal, Probability, bin, centre};
use bfn_core::{Element, FiniteDistribution, Nd, NoiseSource, OutputDistribution};
use proptest::prelude::*;

use crate::statistics::{assert_frequencies, source};
use crate::{assert_close, distribution, indices, like, noise, row, tensor};

fn normal(mean: f64, deviation: f64, bins: usize) -> DiscretisedNormal<Nd> {
    DiscretisedNormal { mean: row(&[mean]), deviation: row(&[deviation]), bins, probability: Probability::Exact }
}

/// Generates means far outside the data's range and deviations over the whole allowed range.
fn parameters() -> impl Strategy<Value = (f64, f64)> {
    (-20.0..20.0_f64, (-6.9..2.3_f64).prop_map(f64::exp))
}

proptest! {
    #[test]
    fn bin_probabilities_sum_to_one((mean, deviation) in parameters(), bins in 2..1000_usize) {
        let sum: f64 = normal(mean, deviation, bins).probabilities().to_values().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-11, "the probabilities of {bins} bins sum to {sum}");
    }

    #[test]
    fn bin_probabilities_are_differences_of_the_distribution_function(
        mean in -1.2..1.2_f64, deviation in 0.02..3.0_f64, bins in 2..50_usize,
    ) {
        let cdf = |edge: f64| match edge {
            edge if edge <= -1.0 + 1e-9 => 0.0,
            edge if edge >= 1.0 - 1e-9 => 1.0,
            edge => bfn_core::special::normal_cdf((edge - mean) / deviation),
        };
        let edge = |k: usize| 2.0 * k as f64 / bins as f64 - 1.0;
        let expected: Vec<f64> = (0..bins).map(|k| cdf(edge(k + 1)) - cdf(edge(k))).collect();
        assert_close(&normal(mean, deviation, bins).probabilities().to_values(), &expected, 1e-12);
    }

    #[test]
    fn the_mean_by_parts_is_the_naive_sum((mean, deviation) in parameters(), bins in 2..1000_usize) {
        let output = normal(mean, deviation, bins);
        let centres = (0..bins).map(|k| (2 * k + 1) as f64 / bins as f64 - 1.0);
        let naive: f64 = output.probabilities().to_values().iter().zip(centres).map(|(p, k_c)| p * k_c).sum();
        assert_close(&output.mean().to_values(), &[naive], 1e-11);
    }

    #[test]
    fn a_bins_log_probability_is_one_of_all((mean, deviation) in parameters(), bins in 2..300_usize, position in 0.0..1.0_f64) {
        let k = (position * bins as f64) as usize;
        for probability in [Probability::Exact, Probability::Floor] {
            let output = DiscretisedNormal { probability, ..normal(mean, deviation, bins) };
            let all = output.log_probabilities().to_values();
            prop_assert!(all.iter().all(|ln_p| ln_p.is_finite() || probability == Probability::Floor));
            assert_close(&output.log_prob(&indices(&[1], &[k])).to_values(), &[all[k]], 1e-12);
        }
    }

    #[test]
    fn a_normals_log_probabilities_are_symmetric(mean in -20.0..20.0_f64, deviation in 0.001..10.0_f64, bins in 2..300_usize) {
        let mut mirrored = normal(-mean, deviation, bins).log_probabilities().to_values();
        mirrored.reverse();
        assert_close(&normal(mean, deviation, bins).log_probabilities().to_values(), &mirrored, 1e-9);
    }

    #[test]
    fn the_floor_changes_small_probabilities_alone(mean in -1.5..1.5_f64, deviation in 0.001..1.0_f64, bins in 2..300_usize) {
        let exact = normal(mean, deviation, bins);
        let floor = DiscretisedNormal { probability: Probability::Floor, ..exact.clone() };
        let pairs = exact.log_probabilities().to_values().into_iter().zip(floor.log_probabilities().to_values());
        for (k, (exact, floor)) in pairs.enumerate() {
            if exact.exp() >= 1e-5 {
                prop_assert_eq!(exact, floor);
            } else {
                let k_c = (2 * k + 1) as f64 / bins as f64 - 1.0;
                let z = (k_c - mean) / deviation;
                let density = -0.5 * z * z - (deviation * (2.0 * std::f64::consts::PI).sqrt()).ln();
                let expected = density + (2.0 / bins as f64).ln();
                prop_assert!((floor - expected).abs() < 1e-11 * expected.abs(), "{} instead of {}", floor, expected);
            }
        }
    }

    #[test]
    fn centres_lie_in_their_bins(bins in 2..2000_usize) {
        fn check<F: Element>(bins: usize) {
            let every: Vec<usize> = (0..bins).collect();
            let k = like::<F>().indices_like(&[bins], &every);
            assert_eq!(bin(&centre(&k.to_reals(&like::<F>()), bins), bins).to_vec(), every);
        }
        check::<f64>(bins);
        check::<f32>(bins);
    }

    #[test]
    fn numbers_beyond_the_range_fall_into_the_outermost_bins(bins in 2..300_usize, beyond in 0.0..1e6_f64) {
        prop_assert_eq!(bin(&row(&[-1.0 - beyond, 1.0 + beyond]), bins).to_vec(), vec![0, bins - 1]);
    }

    #[test]
    fn categorical_probabilities_sum_to_one(logits in prop::collection::vec(-1e3..1e3_f64, 2..1000)) {
        let output = Categorical::from_logits(&row(&logits));
        let sum: f64 = output.probabilities().to_values().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-10);
    }

    #[test]
    fn a_uniform_number_draws_the_class_it_falls_into(p in distribution(7), uniform in 0.0..1.0_f64) {
        let ln_p: Vec<f64> = p.iter().map(|p| p.ln()).collect();
        let found = Categorical::from_logits(&tensor(&[1, 7], &ln_p)).sample(&row(&[uniform])).to_vec()[0];
        let before: f64 = p[..found].iter().sum();
        prop_assert!(before - 1e-12 <= uniform && uniform < before + p[found] + 1e-12);
    }

    #[test]
    fn modes_are_the_most_probable(logits in noise(9), mean in -2.0..2.0_f64, deviation in 0.01..0.3_f64) {
        let categorical = Categorical::from_logits(&tensor(&[1, 9], &logits));
        let best = categorical.mode();
        let peak = categorical.log_probabilities().max_last();
        prop_assert_eq!(categorical.log_prob(&best).to_values(), peak.to_values());
        // The mode of a narrow normal is the bin of its mean, or a neighbouring bin if the mean is near an edge.
        let found = normal(mean, deviation, 9).mode().to_vec()[0] as f64;
        let expected = bin(&row(&[mean]), 9).to_vec()[0] as f64;
        prop_assert!((found - expected).abs() <= 1.0, "{found} and {expected}");
    }
}

#[test]
fn draws_have_the_probabilities() {
    let count = 20_000;
    let shape = [count];
    let repeated = |value: f64| tensor(&shape, &vec![value; count]);
    let output =
        DiscretisedNormal { mean: repeated(0.3), deviation: repeated(0.6), bins: 7, probability: Probability::Exact };
    let probabilities = normal(0.3, 0.6, 7).probabilities().to_values();
    assert_frequencies(&output.draw(&mut source(31)).to_vec(), &probabilities);

    let p = [0.05, 0.5, 0.15, 0.3];
    let logits = tensor(&[count, 4], &vec![0.0; 4 * count]) + row(&p).ln();
    assert_frequencies(&Categorical::from_logits(&logits).draw(&mut source(32)).to_vec(), &p);
}

#[test]
fn extreme_uniform_numbers_draw_possible_classes() {
    let output = Categorical::from_logits(&tensor(&[2, 3], &[-1e3, 0.0, -1e3, -1e3, 0.0, -1e3]));
    let almost_one = 1.0 - f64::EPSILON / 2.0;
    assert_eq!(output.sample(&row(&[0.0, almost_one])).to_vec(), [1, 1]);
    // In f32 the largest uniform numbers round to 1, and a cumulative sum may end below 1.
    let one = like::<f32>().full(&[1], 1.0 - 1e-12);
    let certain = like::<f32>().from_values_like(&[1, 3], &[-1e3, 0.0, -1e3]);
    assert_eq!(Categorical::from_logits(&certain).sample(&one).to_vec(), [1]);
    let mut logits = vec![0.0; 1000];
    logits[999] = -1e3;
    let all_but_one = like::<f32>().from_values_like(&[1, 1000], &logits);
    assert_eq!(Categorical::from_logits(&all_but_one).sample(&one).to_vec(), [998]);
}

#[test]
fn a_point_mass_draws_its_point() {
    let output = Delta { x_hat: row(&[0.25, -0.5]) };
    assert_eq!(output.mode().to_values(), [0.25, -0.5]);
    assert_eq!(output.draw(&mut source(33)).to_values(), [0.25, -0.5]);
    assert_eq!(output.log_prob(&row(&[0.25, 0.5])).to_values(), [0.0, f64::NEG_INFINITY]);
}

#[test]
fn noise_sources_have_their_distributions() {
    let like = tensor(&[5000], &vec![0.0; 5000]);
    let normals = NoiseSource::<Nd>::normal(&mut source(34), &like);
    crate::statistics::assert_follows(&normals.to_values(), bfn_core::special::normal_cdf);
    let uniforms = NoiseSource::<Nd>::uniform(&mut source(35), &like);
    crate::statistics::assert_follows(&uniforms.to_values(), |x| x.clamp(0.0, 1.0));
    assert!(uniforms.to_values().iter().all(|x| (0.0..1.0).contains(x)));
}
