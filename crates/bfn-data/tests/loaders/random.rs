//! Random streams: their values, independence and distributions.

use std::collections::HashSet;

use bfn_data::{Purpose, Seed, Stream};
use proptest::prelude::*;
use rand::RngCore;

/// Returns the largest distance between the empirical distribution of `draws` and `cdf`, times √n.
///
/// The result exceeds 1.95 in one case of a thousand.
fn kolmogorov_smirnov(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let distances = draws.iter().enumerate().map(|(rank, &draw)| {
        let cdf = cdf(draw);
        (cdf - rank as f64 / n).max((rank + 1) as f64 / n - cdf)
    });
    distances.fold(0.0, f64::max) * n.sqrt()
}

fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let mean = |draws: &[f64]| draws.iter().sum::<f64>() / draws.len() as f64;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let product = |a: &[f64], a_mean: f64, b: &[f64], b_mean: f64| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| (a - a_mean) * (b - b_mean)).sum()
    };
    product(left, left_mean, right, right_mean)
        / (product(left, left_mean, left, left_mean) * product(right, right_mean, right, right_mean)).sqrt()
}

/// A seed gives the same run in every version.
///
/// The numbers come from the first version and, for the words, from the recipe beside them.
#[test]
fn streams_keep_their_values() {
    let words = |mut stream: Stream| [stream.next_u64(), stream.next_u64()];
    assert_eq!(words(Seed(0).stream(Purpose::Order, 0, 0)), recipe(0, 2, 0, 0));
    assert_eq!(words(Seed(42).stream(Purpose::Noise, 17, 3)), recipe(42, 7, 17, 3));
    assert_eq!(
        words(Seed(u64::MAX).stream(Purpose::Other(5), 1, u64::MAX)),
        recipe(u64::MAX, (1 << 32) | 5, 1, u64::MAX)
    );
    let mut normals = [0.0_f64; 3];
    Seed(42).stream(Purpose::Noise, 17, 3).fill_standard_normal(&mut normals);
    let expected = [-0.726_819_489_978_642_3, 0.822_264_999_956_428_2, 0.278_104_902_791_968_3];
    assert_eq!(normals, expected);
}

#[test]
fn every_purpose_has_a_stream_of_its_own() {
    let purposes = [
        Purpose::Split,
        Purpose::Order,
        Purpose::Binarise,
        Purpose::Window,
        Purpose::Augment,
        Purpose::Time,
        Purpose::Noise,
        Purpose::Reconstruction,
        Purpose::Dropout,
        Purpose::SenderNoise,
        Purpose::Sample,
        Purpose::Weights,
        Purpose::Other(0),
        Purpose::Other(1),
    ];
    let firsts: HashSet<u64> = purposes.iter().map(|&purpose| Seed(1).stream(purpose, 2, 3).next_u64()).collect();
    assert_eq!(firsts.len(), purposes.len());
}

#[test]
fn neighbouring_keys_give_unrelated_draws() {
    const COUNT: u64 = 40_000;
    let first = |seed, step, index| Seed(seed).stream(Purpose::Noise, step, index).uniform();
    let along_index: Vec<f64> = (0..COUNT).map(|i| first(1, 2, i)).collect();
    let along_step: Vec<f64> = (0..COUNT).map(|i| first(1, i, 2)).collect();
    let along_seed: Vec<f64> = (0..COUNT).map(|i| first(i, 1, 2)).collect();
    for draws in [&along_index, &along_step, &along_seed] {
        let distance = kolmogorov_smirnov(draws.clone(), |x| x);
        assert!(distance < 1.95, "not uniform: {distance}");
        // The standard deviation of a correlation is 1/√n.
        for lag in [1, 2, 64, 256] {
            let correlation = correlation(&draws[lag..], &draws[..draws.len() - lag]);
            let sigmas = correlation * (draws.len() as f64).sqrt();
            assert!(sigmas.abs() < 4.0, "lag {lag}: {sigmas} standard deviations");
        }
    }
    for (left, right) in [(&along_index, &along_step), (&along_step, &along_seed)] {
        let sigmas = correlation(left, right) * (COUNT as f64).sqrt();
        assert!(sigmas.abs() < 4.0, "{sigmas} standard deviations");
    }
}

/// Flipping any bit of the key flips half the bits of the first word.
#[test]
fn every_bit_of_the_key_matters() {
    let word = |key: [u64; 3]| Seed(key[0]).stream(Purpose::Time, key[1], key[2]).next_u64();
    for part in 0..3 {
        for bit in 0..64 {
            let mut flipped = 0;
            for start in 0..64 {
                let mut key = [start, start * 7, start * 31];
                let before = word(key);
                key[part] ^= 1 << bit;
                flipped += (before ^ word(key)).count_ones();
            }
            // 4096 fair bits: mean 2048, standard deviation 32.
            assert!(flipped.abs_diff(2048) < 160, "part {part}, bit {bit}: {flipped} of 4096 bits flipped");
        }
    }
}

#[test]
fn normals_have_the_normal_distribution() {
    const COUNT: usize = 200_000;
    let mut draws = vec![0.0_f64; COUNT];
    Seed(3).stream(Purpose::Noise, 0, 0).fill_standard_normal(&mut draws);
    let moment = |power| draws.iter().map(|x: &f64| x.powi(power)).sum::<f64>() / COUNT as f64;
    // Each moment's standard deviation is √(E x^2p − (E x^p)²) / √n.
    for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let sigmas = (moment(power) - expected) * (COUNT as f64 / variance).sqrt();
        assert!(sigmas.abs() < 4.0, "moment {power}: {sigmas} standard deviations");
    }
    // The draws are uniform under the normal's own distribution function.
    let distance = kolmogorov_smirnov(draws, normal_cdf);
    assert!(distance < 1.95, "{distance}");
}

/// Computes Φ(x) by its series (Marsaglia 2004), accurate to 1e-12 for |x| < 6.
fn normal_cdf(x: f64) -> f64 {
    let (mut sum, mut term, mut i) = (x, x, 1.0);
    while sum + term != sum {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn uniforms_stay_below_one_and_singles_are_cut_doubles() {
    let mut doubles = vec![0.0_f64; 10_000];
    let mut singles = vec![0.0_f32; 10_000];
    Seed(4).stream(Purpose::Time, 0, 0).fill_uniform(&mut doubles);
    Seed(4).stream(Purpose::Time, 0, 0).fill_uniform(&mut singles);
    for (&double, &single) in doubles.iter().zip(&singles) {
        assert!((0.0..1.0).contains(&double) && single < 1.0);
        let gap = double - f64::from(single);
        assert!((0.0..1.0 / f64::from(1 << 24)).contains(&gap), "{double} {single}");
    }
    assert!(kolmogorov_smirnov(doubles, |x| x) < 1.95);
}

#[test]
fn below_is_uniform() {
    let mut stream = Seed(5).stream(Purpose::Window, 0, 0);
    let mut counts = [0_u32; 7];
    for _ in 0..70_000 {
        counts[stream.below(7) as usize] += 1;
    }
    let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - 1e4).powi(2) / 1e4).sum();
    assert!(chi_square < 22.5, "{chi_square} with 6 degrees of freedom");
    assert_eq!(stream.below(1), 0);
    assert!((0..100).any(|_| stream.below(u64::MAX) > u64::MAX / 2));
}

proptest! {
    #[test]
    fn a_row_depends_on_its_index_and_not_on_its_neighbours(
        seed: u64, step: u64, indices in prop::collection::vec(any::<u64>(), 1..8), width in 1_usize..40,
    ) {
        let all = Seed(seed).standard_normal_rows::<f32>(Purpose::Noise, step, &indices, width);
        let uniforms = Seed(seed).uniform_rows::<f64>(Purpose::Time, step, &indices, width);
        for (row, &index) in indices.iter().enumerate().rev() {
            let mut alone = vec![0.0_f32; width];
            Seed(seed).stream(Purpose::Noise, step, index).fill_standard_normal(&mut alone);
            prop_assert_eq!(all.row(row).to_vec(), alone);
            let mut alone = vec![0.0_f64; width];
            Seed(seed).stream(Purpose::Time, step, index).fill_uniform(&mut alone);
            prop_assert_eq!(uniforms.row(row).to_vec(), alone);
        }
    }
}

/// Computes the first two words of a stream from its definition: four hash chains, then xoshiro256++.
fn recipe(seed: u64, purpose: u64, step: u64, index: u64) -> [u64; 2] {
    // The fractional parts of √2, √3, √5, √7.
    let starts = [0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1_u64];
    let mut state = starts.map(|start| {
        [seed, purpose, step, index].iter().fold(start, |hash, part| {
            let mut z = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    });
    [0; 2].map(|_: u64| {
        let [a, b, c, d] = &mut state;
        let word = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        word
    })
}
