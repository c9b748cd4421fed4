//! Distances between samples and data, as sets of points.

use tch::{Kind, Tensor};

/// The mutual coverage of samples and data, as sets of points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coverage {
    /// The share of samples that lie among the data: whether the samples are good.
    pub precision: f64,
    /// The share of data that lie among the samples: whether the samples are complete.
    pub recall: f64,
}

/// Computes the Fréchet distance of two sets of points, each treated as a normal distribution.
///
/// # Formula
///
/// ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½), with the means m and covariances C of the points.
///
/// The result is NaN if a number is not finite. It decreases as the number of points grows, even if both sets come
/// from one distribution; compare only results from equal numbers of points.
///
/// # Shapes
///
/// \[N, F\] and \[M, F\], at least two points each.
///
/// Source: Dowson and Landau 1982; Heusel et al. 2017, who use the features of the Inception network.
pub fn frechet_distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    // Eigenvalues cannot be found for numbers that are not finite.
    let is_finite = |points: &Tensor| points.isfinite().all().int64_value(&[]) == 1;
    if !(is_finite(&a) && is_finite(&b)) {
        return f64::NAN;
    }
    let mean = |points: &Tensor| points.mean_dim([0_i64].as_slice(), false, Kind::Double);
    let difference = mean(&a) - mean(&b);
    let (first, second) = (
        a.transpose(0, 1).cov(1, None::<&Tensor>, None::<&Tensor>),
        b.transpose(0, 1).cov(1, None::<&Tensor>, None::<&Tensor>),
    );
    let root = square_root(&first);
    let cross = root.matmul(&second).matmul(&root);
    let (values, _) = ((&cross + cross.transpose(0, 1)) * 0.5).linalg_eigh("L");
    let trace = first.trace() + second.trace() - values.clamp_min(0.0).sqrt().sum(Kind::Double) * 2.0;
    (difference.dot(&difference) + trace).double_value(&[]).max(0.0)
}

/// Computes the symmetric root of a symmetric matrix without negative eigenvalues.
fn square_root(matrix: &Tensor) -> Tensor {
    let (values, vectors) = matrix.linalg_eigh("L");
    (&vectors * values.clamp_min(0.0).sqrt()).matmul(&vectors.transpose(0, 1))
}

/// Computes the precision and recall of samples.
///
/// A point lies among others if it is no farther from one of them than that one's k-th nearest neighbour in its own
/// set, with k = `neighbours`.
///
/// # Shapes
///
/// \[N, F\] and \[M, F\], more than `neighbours` points each.
///
/// # Panics
///
/// Panics if there are not more points than `neighbours` in each set.
///
/// Source: Kynkäänniemi et al. 2019, section 2.
pub fn coverage(data: &Tensor, samples: &Tensor, neighbours: usize) -> Coverage {
    for (what, points) in [("data", data), ("samples", samples)] {
        assert!(
            points.size()[0] > neighbours as i64,
            "{what} of shape {:?} have no {neighbours} neighbours each",
            points.size()
        );
    }
    let (data, samples) = (data.to_kind(Kind::Double), samples.to_kind(Kind::Double));
    Coverage { precision: share_among(&samples, &data, neighbours), recall: share_among(&data, &samples, neighbours) }
}

/// Returns the share of `points` that lie among `others`.
fn share_among(points: &Tensor, others: &Tensor, neighbours: usize) -> f64 {
    // The nearest point to each is itself.
    let radii: Vec<Tensor> =
        blocks(others).map(|block| distances(&block, others).kthvalue(neighbours as i64 + 1, 1, false).0).collect();
    let radii = Tensor::cat(&radii, 0);
    let inside = |block: Tensor| distances(&block, others).le_tensor(&radii).any_dim(1, false).to_kind(Kind::Double);
    let inside: Vec<Tensor> = blocks(points).map(inside).collect();
    Tensor::cat(&inside, 0).mean(Kind::Double).double_value(&[])
}

fn distances(a: &Tensor, b: &Tensor) -> Tensor {
    // Without matrix products, which lose the digits of small distances.
    Tensor::cdist(a, b, 2.0, 2)
}

/// Splits points into blocks of rows, so that the matrix of all distances is never held.
fn blocks(points: &Tensor) -> impl Iterator<Item = Tensor> {
    points.split(1024, 0).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

    #[test]
    fn the_frechet_distance_of_normals_is_that_of_their_moments() {
        // Points with exactly these moments: mean 0 and 3, variances 1 and 4 along the first axis.
        let cross = Tensor::from_slice(&[1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0]).reshape([4, 2]);
        let scale = Tensor::from_slice(&[2.0, 1.0]);
        let moved = &cross * scale + Tensor::from_slice(&[3.0, 0.0]);
        // Along the first axis the variances are 2/3 and 4 · 2/3, and the root of one is twice that of the other.
        let expected = 9.0 + 2.0 / 3.0;
        assert!((frechet_distance(&cross, &moved) - expected).abs() < 1e-12);
        assert!(frechet_distance(&cross, &cross) < 1e-12);
        tch::manual_seed(5);
        let (a, b) = (Tensor::randn([500, 6], OPTIONS), Tensor::randn([400, 6], OPTIONS) * 1.5 + 0.2);
        assert!((frechet_distance(&a, &b) - frechet_distance(&b, &a)).abs() < 1e-9);
        let (rotation, _) = Tensor::linalg_qr(&Tensor::randn([6, 6], OPTIONS), "reduced");
        let rotated = frechet_distance(&a.matmul(&rotation), &b.matmul(&rotation));
        assert!((frechet_distance(&a, &b) - rotated).abs() < 1e-9);
    }

    #[test]
    fn precision_and_recall_see_what_is_missing() {
        tch::manual_seed(6);
        let two = |count: i64| {
            let side = Tensor::randint(2, [count, 1], OPTIONS) * 20.0 - 10.0;
            Tensor::randn([count, 2], OPTIONS) + side
        };
        let (data, again) = (two(600), two(600));
        let same = coverage(&data, &again, 3);
        assert!(same.precision > 0.9 && same.recall > 0.9, "{same:?}");
        let one_mode = Tensor::randn([600, 2], OPTIONS) + 10.0;
        let half = coverage(&data, &one_mode, 3);
        assert!(half.precision > 0.9 && (half.recall - 0.5).abs() < 0.1, "{half:?}");
        let bad = coverage(&data, &(two(600) + Tensor::from_slice(&[0.0, 40.0])), 3);
        assert_eq!((bad.precision, bad.recall), (0.0, 0.0));
    }
}
