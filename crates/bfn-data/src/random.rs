//! Stateless randomness: every draw is a function of (seed, purpose, step, index).

use ndarray::Array2;
use rand::{RngCore, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The seed of a run: one number that determines all its randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seed(pub u64);

/// The purpose of a draw; draws for different purposes never share a stream.
///
/// Each purpose has a number that never changes, so that runs of old and new versions agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The choice of held-out examples; drawn from a fixed seed, not from the run's.
    Split,
    /// The order of the examples; step = epoch.
    Order,
    /// The binarisation of pixels; step = epoch, index = example.
    Binarise,
    /// The start of a window of text; step = epoch, index = example.
    Window,
    /// Random changes of an example, such as a flip; step = epoch, index = example.
    Augment,
    /// The time t, or the step i of n, at which a loss is evaluated.
    Time,
    /// The noise of the flow distribution.
    Noise,
    /// The noise of the flow distribution at t = 1, for the reconstruction loss.
    Reconstruction,
    /// Dropout in the network.
    Dropout,
    /// The noise of the sender while sampling.
    SenderNoise,
    /// Choices from an output distribution while sampling.
    Sample,
    /// The initial weights of a network.
    Weights,
    /// A custom purpose; different numbers give different streams.
    Other(u32),
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Self::Split => 1,
            Self::Order => 2,
            Self::Binarise => 3,
            Self::Window => 4,
            Self::Augment => 5,
            Self::Time => 6,
            Self::Noise => 7,
            Self::Reconstruction => 8,
            Self::Dropout => 9,
            Self::SenderNoise => 10,
            Self::Sample => 11,
            Self::Weights => 12,
            Self::Other(number) => (1 << 32) | u64::from(number),
        }
    }
}

impl Seed {
    /// Returns the stream of (seed, purpose, step, index): always the same, and independent of all others.
    ///
    /// What `step` and `index` count depends on the purpose: training steps and positions for noise, epochs and
    /// examples for the randomness of an example.
    #[must_use]
    pub fn stream(self, purpose: Purpose, step: u64, index: u64) -> Stream {
        // Each of the four words of state depends on the whole key through its own chain, so that two keys collide
        // only where all 256 bits do.
        let key = [self.0, purpose.number(), step, index];
        let mut state = [0; 32];
        for (start, word) in CHAIN_STARTS.iter().zip(state.chunks_exact_mut(8)) {
            let hash = key.iter().fold(*start, |hash, part| finalise((hash ^ part).wrapping_add(GOLDEN)));
            word.copy_from_slice(&hash.to_le_bytes());
        }
        Stream(Xoshiro256PlusPlus::from_seed(state))
    }

    /// Returns standard normal draws: one row per index, each from its own stream.
    ///
    /// # Shapes
    ///
    /// `[indices.len(), width]`
    #[must_use]
    pub fn standard_normal_rows<T: Float>(
        self,
        purpose: Purpose,
        step: u64,
        indices: &[u64],
        width: usize,
    ) -> Array2<T> {
        self.rows(purpose, step, indices, width, Stream::fill_standard_normal)
    }

    /// Returns uniform draws from [0, 1): one row per index, each from its own stream.
    ///
    /// # Shapes
    ///
    /// `[indices.len(), width]`
    #[must_use]
    pub fn uniform_rows<T: Float>(self, purpose: Purpose, step: u64, indices: &[u64], width: usize) -> Array2<T> {
        self.rows(purpose, step, indices, width, Stream::fill_uniform)
    }

    fn rows<T: Float>(
        self,
        purpose: Purpose,
        step: u64,
        indices: &[u64],
        width: usize,
        fill: fn(&mut Stream, &mut [T]),
    ) -> Array2<T> {
        let mut rows = Array2::from_elem((indices.len(), width), T::ZERO);
        for (mut row, &index) in rows.rows_mut().into_iter().zip(indices) {
            if let Some(row) = row.as_slice_mut() {
                fill(&mut self.stream(purpose, step, index), row);
            }
        }
        rows
    }
}

/// A random stream, which is also a [`rand::RngCore`], so that any distribution can draw from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// Draws uniformly from [0, 1): a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        f64::from_word(self.0.next_u64())
    }

    /// Draws uniformly from {0, …, bound − 1}, without bias.
    ///
    /// # Panics
    ///
    /// Panics if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "expected a bound of at least 1, found 0");
        // The high word of word × bound is uniform once the low words that occur once too often
        // are rejected (Lemire 2019).
        let excess = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(bound);
            if product as u64 >= excess {
                return (product >> 64) as u64;
            }
        }
    }

    /// Fills `out` with uniform draws from [0, 1).
    ///
    /// The f32 draws are the f64 draws truncated to 24 bits.
    pub fn fill_uniform<T: Float>(&mut self, out: &mut [T]) {
        out.fill_with(|| T::from_word(self.0.next_u64()));
    }

    /// Fills `out` with standard normal draws.
    ///
    /// The f32 draws are the f64 draws rounded to f32.
    pub fn fill_standard_normal<T: Float>(&mut self, out: &mut [T]) {
        out.fill_with(|| T::from_f64(StandardNormal.sample(&mut self.0)));
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

/// The floating-point types with which a [`Stream`] fills slices: `f32` and `f64`.
pub trait Float: Copy + sealed::Sealed {
    /// 0.
    const ZERO: Self;
    /// Returns the number in [0, 1) that the word's high bits represent.
    fn from_word(word: u64) -> Self;
    /// Returns the nearest number of this type.
    fn from_f64(number: f64) -> Self;
}

impl Float for f32 {
    const ZERO: Self = 0.0;

    fn from_word(word: u64) -> Self {
        (word >> 40) as Self * (1.0 / (1_u64 << 24) as Self)
    }

    fn from_f64(number: f64) -> Self {
        number as Self
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;

    fn from_word(word: u64) -> Self {
        (word >> 11) as Self * (1.0 / (1_u64 << 53) as Self)
    }

    fn from_f64(number: f64) -> Self {
        number
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The fractional part of the golden ratio in 64 bits: the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Four unrelated numbers: the fractional parts of √2, √3, √5 and √7 in 64 bits.
const CHAIN_STARTS: [u64; 4] =
    [0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// Applies SplitMix64's finaliser: a bijection in which every input bit affects every output bit.
pub(crate) fn finalise(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
