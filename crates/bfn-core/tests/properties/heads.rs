//! Output distributions of mixtures, normals and free bins, and the flows that use them.

use std::f64::consts::PI;

use bfn_core::continuous::Reconstruction;
use bfn_core::distribution::{
    Bernoulli, BinCategorical, Categorical, ContinuousDistribution, Delta, Density, DiscretisedMixture, Normal,
    NormalMixture, Probability, RealValued,
};
use bfn_core::head::{CategoricalHead, MixtureHead, NormalHead, Prediction};
use bfn_core::special::normal_cdf;
use bfn_core::{
    BayesianFlow, ContinuousFlow, DiscretisedFlow, Error, FiniteDistribution, Nd, OutputDistribution, Schedule, Tensor,
};
use proptest::prelude::*;

use crate::statistics::{assert_follows, assert_frequencies, normal_nodes, source};
use crate::{assert_close, distribution, indices, like, noise, row, tensor};

const DENSITY: Reconstruction = Reconstruction::Density { deviation: 0.1 };

/// The weights, means and deviations of a mixture.
#[derive(Debug, Clone)]
struct Parameters {
    weights: Vec<f64>,
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Parameters {
    /// Returns the mixture for one variable, or for `count` equal ones.
    fn mixture(&self, count: usize) -> NormalMixture<Nd> {
        let shape = [count, self.weights.len()];
        let repeated = |values: &[f64]| tensor(&shape, &vec![0.0; count * values.len()]) + row(values);
        NormalMixture {
            weights: Categorical::from_logits(&repeated(&self.weights).ln()),
            means: repeated(&self.means),
            deviations: repeated(&self.deviations),
        }
    }

    fn components(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        self.weights.iter().zip(&self.means).zip(&self.deviations).map(|((w, m), s)| (*w, *m, *s))
    }

    fn density(&self, x: f64) -> f64 {
        self.components().map(|(w, m, s)| w * (-0.5 * ((x - m) / s).powi(2)).exp() / (s * (2.0 * PI).sqrt())).sum()
    }

    fn cdf(&self, x: f64) -> f64 {
        self.components().map(|(w, m, s)| w * normal_cdf((x - m) / s)).sum()
    }
}

fn parameters() -> impl Strategy<Value = Parameters> {
    (1..5_usize).prop_flat_map(|components| {
        let means = prop::collection::vec(-2.0..2.0_f64, components);
        let deviations = prop::collection::vec((-6.9..2.3_f64).prop_map(f64::exp), components);
        (distribution(components), means, deviations).prop_map(|(weights, means, deviations)| Parameters {
            weights,
            means,
            deviations,
        })
    })
}

proptest! {
    #[test]
    fn mixtures_have_the_weighted_densities(p in parameters(), x in -2.0..2.0_f64) {
        let found = p.mixture(1).log_prob(&row(&[x])).to_values()[0];
        let expected = p.density(x).ln();
        if expected > -600.0 {
            prop_assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
        }
        let mean: f64 = p.components().map(|(w, m, _)| w * m).sum();
        assert_close(&p.mixture(1).mean().to_values(), &[mean], 1e-12);
    }

    #[test]
    fn discretised_mixtures_are_normalised_differences(p in parameters(), bins in 2..300_usize) {
        let output = p.mixture(1).discretised(bins, Probability::Exact);
        let found = output.probabilities().to_values();
        let sum: f64 = found.iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-11, "the probabilities of {bins} bins sum to {sum}");
        let cdf = |j: usize| match j {
            0 => 0.0,
            j if j == bins => 1.0,
            j => p.cdf(2.0 * j as f64 / bins as f64 - 1.0),
        };
        let expected: Vec<f64> = (0..bins).map(|k| cdf(k + 1) - cdf(k)).collect();
        assert_close(&found, &expected, 1e-11);
        let centres = (0..bins).map(|k| (2 * k + 1) as f64 / bins as f64 - 1.0);
        let naive: f64 = found.iter().zip(centres).map(|(p, k_c)| p * k_c).sum();
        assert_close(&output.mean().to_values(), &[naive], 1e-11);
    }

    #[test]
    fn one_of_all_log_probabilities_and_the_mode(p in parameters(), bins in 2..100_usize, position in 0.0..1.0_f64) {
        let k = (position * bins as f64) as usize;
        for probability in [Probability::Exact, Probability::Floor] {
            let output = p.mixture(1).discretised(bins, probability);
            let all = output.log_probabilities().to_values();
            assert_close(&output.log_prob(&indices(&[1], &[k])).to_values(), &[all[k]], 1e-12);
            let best = output.mode().to_vec()[0];
            prop_assert!(all.iter().all(|ln_p| *ln_p <= all[best]));
        }
    }

    #[test]
    fn a_floored_mixture_has_its_density_where_it_is_unlikely(p in parameters(), bins in 2..100_usize) {
        let exact = p.mixture(1).discretised(bins, Probability::Exact).log_probabilities().to_values();
        let floor = p.mixture(1).discretised(bins, Probability::Floor).log_probabilities().to_values();
        for (k, (exact, floor)) in exact.into_iter().zip(floor).enumerate() {
            let density = p.density((2 * k + 1) as f64 / bins as f64 - 1.0) * 2.0 / bins as f64;
            if exact.exp() >= 1e-5 {
                prop_assert_eq!(exact, floor);
            } else if density > 1e-250 {
                prop_assert!((floor - density.ln()).abs() < 1e-9 * floor.abs(), "{} and {}", floor, density.ln());
            }
        }
    }

    #[test]
    fn a_mixture_of_one_is_a_normal(mean in -2.0..2.0_f64, ln_s in -6.0..2.0_f64, x in -2.0..2.0_f64, alpha in 0.01..1e3_f64) {
        let (x, alpha) = (row(&[x]), row(&[alpha]));
        let normal: Normal<Nd> = Normal { mean: row(&[mean]), deviation: row(&[ln_s.exp()]) };
        let one = Parameters { weights: vec![1.0], means: vec![mean], deviations: vec![ln_s.exp()] }.mixture(1);
        assert_close(&one.log_prob(&x).to_values(), &normal.log_prob(&x).to_values(), 1e-12);
        assert_close(&one.mode().to_values(), &[mean], 1e-12);
        let bins = |output: Tensor| output.to_values();
        let of_normal = normal.discretised(40, Probability::Exact).log_probabilities();
        let of_one = one.discretised(40, Probability::Exact).log_probabilities();
        assert_close(&bins(of_one), &bins(of_normal), 1e-12);
        // The mean of the estimate over the noise is the closed form.
        let estimate: f64 = normal_nodes()
            .iter()
            .map(|node| node.weight * one.divergence(&x, &alpha, &row(&[node.at])).to_values()[0])
            .sum();
        assert_close(&[estimate], &normal.divergence(&x, &alpha, &row(&[0.0])).to_values(), 1e-9);
    }

    #[test]
    fn a_narrow_normal_is_a_point_mass(x_hat in -1.0..1.0_f64, x in -1.0..1.0_f64, alpha in 0.01..1e3_f64) {
        let (x, alpha, zero) = (row(&[x]), row(&[alpha]), row(&[0.0]));
        let delta: Delta<Nd> = Delta { x_hat: row(&[x_hat]) };
        let normal = delta.blurred(1e-9);
        let (found, expected) = (normal.divergence(&x, &alpha, &zero), delta.divergence(&x, &alpha, &zero));
        assert_close(&found.to_values(), &expected.to_values(), 1e-9);
    }

    #[test]
    fn divergences_are_those_of_the_receiver(p in parameters(), x in -1.0..1.0_f64, epsilon in -4.0..4.0_f64, alpha in 0.01..1e3_f64) {
        // ln p_S(y) − ln p_R(y), where the receiver is the output distribution convolved with the sender's normal.
        let deviation = alpha.powf(-0.5);
        let y = row(&[x + epsilon * deviation]);
        let sender: Normal<Nd> = Normal { mean: row(&[x]), deviation: row(&[deviation]) };
        let expected = sender.log_prob(&y) - p.mixture(1).blurred(deviation).log_prob(&y);
        let found = p.mixture(1).divergence(&row(&[x]), &row(&[alpha]), &row(&[epsilon]));
        assert_close(&found.to_values(), &expected.to_values(), 1e-8);
    }

    #[test]
    fn a_mixtures_mode_is_the_highest_point(p in parameters()) {
        let mode = p.mixture(1).mode().to_values()[0];
        let height = p.density(mode);
        for i in 0..2000 {
            let x = -2.0 + f64::from(i) * 0.002;
            prop_assert!(p.density(x) <= height * (1.0 + 1e-3), "the density at {x} is above that at the mode {mode}");
        }
    }

    #[test]
    fn two_classes_are_a_categorical(logit in -1e3..1e3_f64, uniform in 0.0..1.0_f64) {
        let bernoulli: Bernoulli<Nd> = Bernoulli { logit: row(&[logit]) };
        let categorical = bernoulli.categorical();
        for class in [0, 1] {
            let x = indices(&[1], &[class]);
            assert_close(&bernoulli.log_prob(&x).to_values(), &categorical.log_prob(&x).to_values(), 1e-13);
        }
        prop_assert_eq!(bernoulli.mode().to_vec(), vec![usize::from(logit > 0.0)]);
        let p = bernoulli.mean().to_values()[0];
        assert_close(&bernoulli.probabilities().to_values(), &[1.0 - p, p], 1e-13);
        prop_assert_eq!(bernoulli.sample(&row(&[uniform])).to_vec(), categorical.sample(&row(&[uniform])).to_vec());
    }

    #[test]
    fn free_bins_have_the_mean_of_their_centres(p in distribution(7)) {
        let logits: Vec<f64> = p.iter().map(|p| p.ln()).collect();
        let output = BinCategorical(Categorical::from_logits(&tensor(&[1, 7], &logits)));
        let expected: f64 = p.iter().enumerate().map(|(k, p)| p * ((2 * k + 1) as f64 / 7.0 - 1.0)).sum();
        assert_close(&output.mean().to_values(), &[expected], 1e-12);
        assert_close(&output.probabilities().to_values(), &p, 1e-12);
    }

    #[test]
    fn a_temperature_is_for_weights_and_variances_each_on_their_own(
        w in 0.05..0.95_f64, means in (-1.5..1.5_f64, -1.5..1.5_f64), deviations in (0.1..2.0_f64, 0.1..2.0_f64),
        temperature in 0.2..4.0_f64, x in -1.5..1.5_f64, bins in 2..20_usize,
    ) {
        let (means, deviations) = (vec![means.0, means.1], vec![deviations.0, deviations.1]);
        let p = Parameters { weights: vec![w, 1.0 - w], means, deviations };
        let powers: Vec<f64> = p.weights.iter().map(|w| w.powf(1.0 / temperature)).collect();
        let expected = Parameters {
            weights: powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect(),
            deviations: p.deviations.iter().map(|s| (temperature * s * s).sqrt()).collect(),
            means: p.means.clone(),
        };
        let found = p.mixture(1).tempered(temperature).log_prob(&row(&[x])).to_values();
        assert_close(&found, &[expected.density(x).ln()], 1e-9);
        // For bins, the expected values are the masses of the tempered normals.
        let edge = |k: usize| 2.0 * k as f64 / bins as f64 - 1.0;
        let masses = |cdf: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let below = |k: usize| if k == 0 { 0.0 } else if k == bins { 1.0 } else { cdf(edge(k)) };
            (0..bins).map(|k| below(k + 1) - below(k)).collect()
        };
        let found = p.mixture(1).discretised(bins, Probability::Exact).tempered(temperature).probabilities();
        assert_close(&found.to_values(), &masses(&|x| expected.cdf(x)), 1e-10);
        let normal: Normal<Nd> = Normal { mean: row(&[p.means[0]]), deviation: row(&[p.deviations[0]]) };
        let found = normal.discretised(bins, Probability::Exact).tempered(temperature).probabilities();
        let cdf = |x: f64| normal_cdf((x - expected.means[0]) / expected.deviations[0]);
        assert_close(&found.to_values(), &masses(&cdf), 1e-10);
    }

    #[test]
    fn a_low_temperature_leaves_the_likeliest(p in distribution(7), temperature in 0.1..4.0_f64) {
        let logits: Vec<f64> = p.iter().map(|p| p.ln()).collect();
        let output = BinCategorical(Categorical::from_logits(&tensor(&[1, 7], &logits)));
        let powers: Vec<f64> = p.iter().map(|p| p.powf(1.0 / temperature)).collect();
        let total: f64 = powers.iter().sum();
        let expected: Vec<f64> = powers.iter().map(|power| power / total).collect();
        assert_close(&output.tempered(temperature).probabilities().to_values(), &expected, 1e-10);
        // A normal raised to the power 1/T is a normal of T times the variance; a mixture of one is a normal.
        let normal: Normal<Nd> = Normal { mean: row(&[0.2]), deviation: row(&[0.5]) };
        let one = Parameters { weights: vec![1.0], means: vec![0.2], deviations: vec![0.5] }.mixture(1);
        let (x, y) = (row(&[0.7]), row(&[-0.4]));
        let ratio = (normal.log_prob(&x) - normal.log_prob(&y)) / temperature;
        let tempered = normal.tempered(temperature);
        assert_close(&(tempered.log_prob(&x) - tempered.log_prob(&y)).to_values(), &ratio.to_values(), 1e-12);
        assert_close(&one.tempered(temperature).log_prob(&x).to_values(), &tempered.log_prob(&x).to_values(), 1e-12);
    }

    #[test]
    fn noise_and_data_predictions_agree(
        t in 0.05..1.0_f64, epsilon in noise(2), net in noise(2), sigma_1 in 0.05..0.5_f64,
    ) {
        let flow = ContinuousFlow::new(sigma_1, DENSITY).unwrap().with_head(NormalHead);
        let (x, t) = (row(&[0.25]), row(&[t]));
        let theta = BayesianFlow::<Nd>::flow(&flow, &x, &t, &row(&epsilon[..1]));
        let from_noise = flow.output(&theta, &tensor(&[1, 2], &net), &t);
        let as_data = [from_noise.mean.to_values()[0], from_noise.deviation.to_values()[0].ln()];
        let from_data = flow.with_prediction(Prediction::Data).output(&theta, &tensor(&[1, 2], &as_data), &t);
        assert_close(&from_data.mean.to_values(), &from_noise.mean.to_values(), 1e-12);
        assert_close(&from_data.deviation.to_values(), &from_noise.deviation.to_values(), 1e-12);
    }

    #[test]
    fn the_continuous_time_loss_is_the_limit_of_small_steps(p in parameters(), x in -1.0..1.0_f64) {
        // n · KL at accuracy α/n tends to α (x − mean)²/2, whatever the form of the output distribution.
        let narrow = Parameters { deviations: p.deviations.iter().map(|s| s.min(1.0)).collect(), ..p };
        let output = narrow.mixture(1);
        let alpha = 1e-5;
        let divergence: f64 = normal_nodes()
            .iter()
            .map(|node| node.weight * output.divergence(&row(&[x]), &row(&[alpha]), &row(&[node.at])).to_values()[0])
            .sum();
        let flow = ContinuousFlow::new(0.1, DENSITY).unwrap().with_head(MixtureHead::new(2).unwrap());
        let t = 0.3;
        let loss = BayesianFlow::<Nd>::loss_continuous_time(&flow, &row(&[x]), &output, &row(&[t])).to_values()[0];
        let expected = loss / Schedule::<f64>::alpha(flow.schedule(), &t);
        prop_assert!((divergence / alpha - expected).abs() < 1e-3, "{} and {expected}", divergence / alpha);
    }
}

#[test]
fn draws_follow_the_distributions() {
    let p = Parameters { weights: vec![0.2, 0.5, 0.3], means: vec![-0.8, 0.1, 0.9], deviations: vec![0.1, 0.3, 0.2] };
    let many = p.mixture(20_000);
    assert_follows(&many.draw(&mut source(51)).to_values(), |x| p.cdf(x));

    let bins = p.mixture(1).discretised(9, Probability::Exact).probabilities().to_values();
    let drawn: DiscretisedMixture<Nd> = many.discretised(9, Probability::Exact);
    assert_frequencies(&drawn.draw(&mut source(52)).to_vec(), &bins);

    let logits = tensor(&[20_000, 3], &vec![0.0; 60_000]) + row(&p.weights).ln();
    let free = BinCategorical(Categorical::from_logits(&logits));
    assert_frequencies(&free.draw(&mut source(53)).to_vec(), &p.weights);

    let normal: Normal<Nd> = Normal { mean: row(&vec![0.5; 20_000]), deviation: row(&vec![2.0; 20_000]) };
    assert_follows(&normal.draw(&mut source(54)).to_values(), |x| normal_cdf((x - 0.5) / 2.0));

    let bernoulli: Bernoulli<Nd> = Bernoulli { logit: row(&vec![(0.3_f64 / 0.7).ln(); 20_000]) };
    assert_frequencies(&bernoulli.draw(&mut source(55)).to_vec(), &[0.7, 0.3]);
}

#[test]
fn unlikely_bins_stay_finite_in_f32() {
    let like = like::<f32>();
    let component = |values: &[f64]| like.from_values_like(&[1, 2], values);
    let output = NormalMixture {
        weights: Categorical::from_logits(&component(&[0.0, -50.0])),
        means: component(&[0.9, 0.95]),
        deviations: component(&[1e-3, 1e-3]),
    };
    let all = output.discretised(256, Probability::Exact).log_probabilities().to_values();
    assert!(all.iter().all(|ln_p| ln_p.is_finite()), "{all:?}");
    let sum: f64 = all.iter().map(|ln_p| ln_p.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "the probabilities sum to {sum}");
    assert!(output.mean().to_values()[0].is_finite());
}

#[test]
fn reconstructions_are_those_of_the_output_distribution() {
    let x = row(&[0.3]);
    let output: Normal<Nd> = Normal { mean: row(&[0.1]), deviation: row(&[0.2]) };
    let flow = ContinuousFlow::new(0.1, DENSITY).unwrap().with_head(NormalHead);
    let exact = flow.clone().with_reconstruction(Reconstruction::Density { deviation: 0.0 }).unwrap();
    assert_close(&exact.loss_reconstruction(&x, &output).to_values(), &(-output.log_prob(&x)).to_values(), 1e-12);
    let blurred: Normal<Nd> = Normal { mean: row(&[0.1]), deviation: row(&[0.05_f64.sqrt()]) };
    assert_close(&flow.loss_reconstruction(&x, &output).to_values(), &(-blurred.log_prob(&x)).to_values(), 1e-12);
    let bins = Reconstruction::Bins { bins: 5, deviation: 0.0, probability: Probability::Exact };
    let discretised = output.discretised(5, Probability::Exact).log_prob(&indices(&[1], &[3]));
    let found = flow.with_reconstruction(bins).unwrap().loss_reconstruction(&x, &output);
    assert_close(&found.to_values(), &(-discretised).to_values(), 1e-12);
}

#[test]
fn heads_ask_for_their_outputs() {
    let mixture = MixtureHead::new(4).unwrap();
    let discretised = DiscretisedFlow::new(16, 0.1).unwrap();
    assert_eq!(BayesianFlow::<Nd>::outputs_per_variable(&discretised), 2);
    assert_eq!(BayesianFlow::<Nd>::outputs_per_variable(&discretised.clone().with_head(mixture)), 12);
    assert_eq!(BayesianFlow::<Nd>::outputs_per_variable(&discretised.with_head(CategoricalHead)), 16);
    let continuous = ContinuousFlow::new(0.1, DENSITY).unwrap();
    assert_eq!(BayesianFlow::<Nd>::outputs_per_variable(&continuous), 1);
    assert_eq!(BayesianFlow::<Nd>::outputs_per_variable(&continuous.with_head(mixture)), 12);
}

#[test]
fn impossible_heads_are_refused() {
    let components = |result: Result<_, Error>| matches!(result, Err(Error::Parameter { parameter: "components", .. }));
    assert!(components(MixtureHead::new(0).map(|_| ())));
    for deviation in [-0.1, f64::NAN, f64::INFINITY] {
        let flow = ContinuousFlow::new(0.1, DENSITY).unwrap().with_head(NormalHead);
        let error = flow.with_reconstruction(Reconstruction::Density { deviation }).unwrap_err();
        assert!(error.to_string().contains("deviation"), "{error}");
    }
    let flow = DiscretisedFlow::new(16, 0.1).unwrap().with_head(CategoricalHead);
    let theta = BayesianFlow::<Nd>::prior(&flow, &row(&[0.0]));
    let mistake = std::panic::catch_unwind(|| flow.output(&theta, &tensor(&[1, 15], &[0.0; 15]), &row(&[0.5])));
    let message = *mistake.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("[1, 16]") && message.contains("[1, 15]"), "{message}");
}
