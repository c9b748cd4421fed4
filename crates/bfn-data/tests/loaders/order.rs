//! Permutations, the order of a run, and sharding.

use std::collections::{HashMap, HashSet};

use bfn_data::{Order, Permutation, Place, Purpose, Seed, Shard};
use proptest::prelude::*;

fn permutation(seed: u64, length: u64) -> Permutation {
    Permutation::new(Seed(seed), Purpose::Order, 0, length)
}

fn assert_bijective(permutation: &Permutation) {
    let length = permutation.length();
    let mut seen = vec![false; length as usize];
    for index in 0..length {
        let image = permutation.at(index) as usize;
        assert!(!seen[image], "{image} twice among {length}");
        seen[image] = true;
    }
}

#[test]
fn small_lengths_are_permuted() {
    for length in 1..300 {
        assert_bijective(&permutation(length * 3, length));
    }
}

proptest! {
    #[test]
    fn any_length_is_permuted(seed: u64, length in 1_u64..20_000) {
        assert_bijective(&permutation(seed, length));
    }

    #[test]
    fn huge_lengths_stay_inside_and_do_not_collide(seed: u64, length in (1_u64 << 40)..=u64::MAX) {
        let permutation = permutation(seed, length);
        let images: HashSet<u64> = (0..500).chain(length - 500..length).map(|i| permutation.at(i)).collect();
        prop_assert_eq!(images.len(), 1000);
        prop_assert!(images.iter().all(|&image| image < length));
    }

    #[test]
    fn ranks_share_what_one_process_sees(
        seed: u64, examples in 1_u64..50, size in 1_u64..9, ranks in 1_u64..5, step in 0_u64..40,
    ) {
        let order = Order::new(Seed(seed), examples);
        let mut shared: Vec<Place> = (0..ranks)
            .flat_map(|rank| order.batch(step, size, Shard { rank, ranks }))
            .collect();
        shared.sort_by_key(|place| place.position);
        let alone: Vec<Place> = order.batch(step, size * ranks, Shard::WHOLE).collect();
        prop_assert_eq!(shared, alone);
    }

    #[test]
    fn each_epoch_has_each_example_once(seed: u64, examples in 1_u64..60, size in 1_u64..70) {
        let order = Order::new(Seed(seed), examples);
        let steps = (3 * examples).div_ceil(size);
        let mut count = HashMap::new();
        for place in (0..steps).flat_map(|step| order.batch(step, size, Shard::WHOLE)) {
            *count.entry((place.epoch, place.index)).or_insert(0) += 1;
        }
        for epoch in 0..3 {
            for index in 0..examples {
                prop_assert_eq!(count.get(&(epoch, index)), Some(&1));
            }
        }
    }
}

/// Each of the 24 orders of four examples is equally likely.
#[test]
fn all_orders_of_a_few_examples_are_equally_likely() {
    let mut counts = HashMap::new();
    for seed in 0..24_000 {
        let permutation = permutation(seed, 4);
        let order: Vec<u64> = (0..4).map(|index| permutation.at(index)).collect();
        *counts.entry(order).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    let chi_square: f64 = counts.values().map(|&count| (f64::from(count) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi_square < 49.7, "{chi_square} with 23 degrees of freedom");
}

/// The place of an example is uncorrelated with the place of its neighbour and with its place in the next epoch.
#[test]
fn a_large_permutation_looks_shuffled() {
    let length = 59_400;
    let here = permutation(1, length);
    let next = Permutation::new(Seed(1), Purpose::Order, 1, length);
    let images: Vec<u64> = (0..length).map(|index| here.at(index)).collect();

    let fixed = images.iter().zip(0..).filter(|&(&image, index)| image == index).count();
    assert!(fixed < 9, "{fixed} fixed points, expected about 1");
    let ascents = images.windows(2).filter(|pair| pair[0] < pair[1]).count() as f64;
    // The number of ascents has mean (n − 1)/2 and variance (n + 1)/12.
    let sigmas = (ascents - (length - 1) as f64 / 2.0) / ((length + 1) as f64 / 12.0).sqrt();
    assert!(sigmas.abs() < 4.0, "{ascents} ascents");

    let centre = (length - 1) as f64 / 2.0;
    let variance = (length as f64).powi(2) / 12.0;
    let correlation = |pairs: &mut dyn Iterator<Item = (u64, u64)>| -> f64 {
        let sum: f64 = pairs.map(|(a, b)| (a as f64 - centre) * (b as f64 - centre)).sum();
        sum / variance / (length as f64).sqrt()
    };
    for lag in [1, 2, 243, 244] {
        let mut pairs = images.iter().copied().zip(images[lag..].iter().copied());
        let sigmas = correlation(&mut pairs);
        assert!(sigmas.abs() < 4.0, "lag {lag}: {sigmas} standard deviations");
    }
    let sigmas = correlation(&mut (0..length).map(|i| (images[i as usize], next.at(i))));
    assert!(sigmas.abs() < 4.0, "epochs: {sigmas} standard deviations");
    let sigmas = correlation(&mut images.iter().copied().zip(0..));
    assert!(sigmas.abs() < 4.0, "identity: {sigmas} standard deviations");
}

#[test]
fn the_order_keeps_its_values() {
    let first: Vec<u64> = (0..6).map(|index| permutation(7, 1437).at(index)).collect();
    assert_eq!(first, [1403, 930, 637, 80, 426, 286]);
}

#[test]
#[should_panic(expected = "expected an index below 5, found 5")]
fn an_index_beyond_the_length_panics() {
    let _ = permutation(0, 5).at(5);
}
