//! The random numbers of a run: each a function of (seed, purpose, step, example).

use bfn_core::times::{Spread, TimeDensity};
use bfn_core::{Error, NoiseSource};
use bfn_data::{Purpose, Seed, Values};
use bfn_nets::device::upload;
use bfn_nets::{Tensor, Torch};
use ndarray::Array2;
use tch::{Device, Kind};

use crate::config::Times;

/// Draws the times of the `count` examples of one training step.
pub fn times(seed: Seed, step: u64, count: usize, how: Times) -> Vec<f64> {
    let spread = match how {
        Times::LowDiscrepancy => Spread::LowDiscrepancy,
        Times::Independent => Spread::Independent,
    };
    let uniform = |j| seed.stream(Purpose::Time, step, j as u64).uniform();
    let uniforms: Vec<f64> = (0..spread.uniforms(count)).map(uniform).collect();
    spread.spread(count, &uniforms)
}

/// Returns the density of times with these heights on equal intervals of [0, 1); uniform if there are none.
///
/// # Errors
///
/// Returns an error if a height is not finite or not above 0.
pub fn density(heights: &[f64]) -> Result<TimeDensity, Error> {
    if heights.is_empty() {
        return Ok(TimeDensity::uniform());
    }
    let edges: Vec<f64> = (0..=heights.len()).map(|edge| edge as f64 / heights.len() as f64).collect();
    TimeDensity::new(&edges, heights)
}

/// Draws standard normal numbers, one row of `width` for each example, each row from its own stream.
///
/// The result has the shape `[examples, width]`, in f32 on the CPU.
pub fn normal(seed: Seed, purpose: Purpose, step: u64, examples: &[u64], width: usize) -> tch::Tensor {
    from_rows(&seed.standard_normal_rows::<f32>(purpose, step, examples, width))
}

/// Converts the values of a batch to a tensor, `[B, D]`, on the CPU.
/// Bins and classes become integers; if there are real numbers among the values, all of them become f32.
///
/// The values are widened here and not by libtorch, whose threads would compete with those of the training step.
pub fn stored(values: &Values) -> tch::Tensor {
    match values {
        Values::Bytes(values) => from_rows(&values.mapv(i64::from)),
        Values::Words(values) => from_rows(&values.mapv(i64::from)),
        Values::Longs(values) => from_rows(&values.mapv(i64::from)),
        Values::Reals(values) => from_rows(values),
    }
}

fn from_rows<T: tch::kind::Element>(rows: &Array2<T>) -> tch::Tensor {
    let (count, width) = rows.dim();
    tch::Tensor::from_slice(rows.as_slice().unwrap_or_default()).reshape([count as i64, width as i64])
}

/// The noise of a sampler: each sample draws from its own streams, whatever else is in its batch.
#[derive(Debug)]
pub struct SampleNoise {
    seed: Seed,
    samples: Vec<u64>,
    calls: u64,
}

impl SampleNoise {
    /// Creates the noise of one batch, for the samples with these numbers.
    pub fn new(seed: Seed, samples: Vec<u64>) -> Self {
        Self { seed, samples, calls: 0 }
    }

    fn rows(&mut self, like: &Tensor, fill: fn(&mut bfn_data::Stream, &mut [f32]), purpose: Purpose) -> Tensor {
        let (count, width) = (self.samples.len(), like.array().numel() / self.samples.len());
        let mut values = vec![0.0; count * width];
        for (row, sample) in values.chunks_exact_mut(width).zip(&self.samples) {
            fill(&mut self.seed.stream(purpose, self.calls, *sample), row);
        }
        self.calls += 1;
        let (shape, device) = (like.array().size(), like.array().device());
        Tensor::new(upload(&tch::Tensor::from_slice(&values).reshape(shape), device))
    }
}

impl NoiseSource<Torch> for SampleNoise {
    fn normal(&mut self, like: &Tensor) -> Tensor {
        self.rows(like, bfn_data::Stream::fill_standard_normal, Purpose::SenderNoise)
    }

    fn uniform(&mut self, like: &Tensor) -> Tensor {
        self.rows(like, bfn_data::Stream::fill_uniform, Purpose::Sample)
    }
}

/// Converts one number for each example to a tensor in f32 on a device.
pub fn column(values: &[f64], device: Device) -> Tensor {
    Tensor::new(upload(&tch::Tensor::from_slice(values).to_kind(Kind::Float), device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_the_mean_of_what_a_density_draws() {
        let uniforms = times(Seed(1), 0, 1000, Times::LowDiscrepancy);
        for heights in [&[][..], &[1.0], &[0.5, 1.0, 0.25]] {
            let density = density(heights).expect("a density");
            let mean = |f: fn(f64) -> f64| {
                let drawn = uniforms.iter().map(|uniform| density.draw(*uniform));
                drawn.map(|time| time.weight * f(time.t)).sum::<f64>() / uniforms.len() as f64
            };
            assert!((mean(|_| 1.0) - 1.0).abs() < 5e-3, "{heights:?}: {}", mean(|_| 1.0));
            assert!((mean(|t| t * t) - 1.0 / 3.0).abs() < 5e-3, "{heights:?}: {}", mean(|t| t * t));
        }
        assert!(density(&[1.0, 0.0]).is_err() && density(&[f64::NAN]).is_err());
    }
}
