//! The provided methods, which a backend may override.

use super::provided::{overridden, provided};
use super::{Case, Context, broadcast};
use crate::{Backend, Tensor, special};

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "linear_combination broadcasts", check: linear_combination },
        Case { name: "log_sum_exp, log_softmax and softmax", check: log_sum_exp },
        Case { name: "softmax of extreme logits", check: extreme_logits },
        Case { name: "sum_normal_cdf broadcasts", check: sum_normal_cdf },
        Case { name: "sum_normal_cdf of extreme distances", check: extreme_distances },
        Case { name: "weighted_sum and squared_error", check: sums },
        Case { name: "normal_ln_mass of wide, narrow and distant bins", check: masses },
        Case { name: "normal_ln_masses of all bins", check: all_masses },
        Case { name: "by_rows treats rows alike", check: by_rows },
        Case { name: "composites agree with their provided bodies", check: provided_bodies },
    ]
}

fn linear_combination<B: Backend>(context: &Context<'_, B>) {
    let shapes: [[&[usize]; 4]; 6] = [
        [&[2, 3], &[2, 3], &[2, 3], &[2, 3]],
        [&[2, 1], &[2, 3], &[2, 1], &[2, 3]],
        [&[1], &[2, 3], &[2, 3], &[2, 3]],
        [&[2, 3], &[2, 3], &[2, 1], &[3]],
        [&[2, 1], &[2, 1], &[3], &[1]],
        [&[2, 1, 1], &[2, 3, 4], &[], &[4]],
    ];
    for [a_shape, x_shape, b_shape, y_shape] in shapes {
        let (a, x) = (context.varied(a_shape, 1), context.varied(x_shape, 2));
        let (b, y) = (context.varied(b_shape, 3), context.varied(y_shape, 4));
        let (left, ax) = broadcast((a_shape, &a.to_values()), (x_shape, &x.to_values()), |a, x| a * x);
        let (right, by) = broadcast((b_shape, &b.to_values()), (y_shape, &y.to_values()), |b, y| b * y);
        let (shape, expected) = broadcast((&left, &ax), (&right, &by), |ax, by| ax + by);
        let what = format!("{a_shape:?} · {x_shape:?} + {b_shape:?} · {y_shape:?}");
        context.check_terms(&what, &a.combine(&x, &b, &y), &shape, &expected, 9.0);
    }
}

fn check_rows<B: Backend>(context: &Context<'_, B>, shape: &[usize], values: &[f64]) {
    let a = context.tensor(shape, values);
    let (outer, length) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
    let values = a.to_values();
    let total = |row: &[f64]| {
        let peak = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        peak + row.iter().map(|x| (x - peak).exp()).sum::<f64>().ln()
    };
    let totals: Vec<f64> = values.chunks_exact(length).map(total).collect();
    let normalised: Vec<f64> = values.iter().enumerate().map(|(i, x)| x - totals[i / length]).collect();
    let probabilities: Vec<f64> = normalised.iter().map(|x| x.exp()).collect();
    let size = values.iter().filter(|x| x.is_finite()).fold(1.0, |size: f64, x| size.max(x.abs()));
    context.check_terms("log_sum_exp_last", &a.log_sum_exp_last(), outer, &totals, size);
    let (half, zero) = (&a * 0.5, a.full(&[1], 0.0));
    // The expected value is ln Σ e^(½a + ½a) − ln Σ e^(½a); for exponents 0 it is the logarithm of 1.
    let halves: Vec<f64> =
        values.chunks_exact(length).map(|row| total(&row.iter().map(|x| 0.5 * x).collect::<Vec<_>>())).collect();
    let means: Vec<f64> = totals.iter().zip(&halves).map(|(total, half)| total - half).collect();
    context.check_terms("log_mean_exp_last", &half.log_mean_exp_last(&half), outer, &means, size);
    context.check_terms("log_mean_exp_last", &a.log_mean_exp_last(&zero), outer, &vec![0.0; totals.len()], size);
    context.check_terms("log_softmax_last", &a.log_softmax_last(), shape, &normalised, size);
    context.check_terms("softmax_last", &a.softmax_last(), shape, &probabilities, 1.0);
    let signal: Vec<f64> = probabilities.iter().map(|p| 27.0 * p - 1.0).collect();
    context.check_terms("affine_softmax_last", &a.affine_softmax_last(27.0, -1.0), shape, &signal, 27.0);

    let rows = outer.iter().product();
    let classes: Vec<usize> = (0..rows).map(|row| (3 * row + 1) % length).collect();
    let x = a.indices_like(outer, &classes);
    let chosen: Vec<f64> = classes.iter().enumerate().map(|(row, x)| normalised[row * length + x]).collect();
    context.check_terms("log_softmax_at_last", &a.log_softmax_at_last(&x), outer, &chosen, size);
    let distance = |(row, x): (usize, &usize)| {
        let p = &probabilities[row * length..(row + 1) * length];
        p.iter().enumerate().map(|(k, p)| if k == *x { (1.0 - p).powi(2) } else { p * p }).sum::<f64>()
    };
    let distances: Vec<f64> = classes.iter().enumerate().map(distance).collect();
    context.check_terms("squared_distance_last", &a.squared_distance_last(&x), outer, &distances, 4.0);
}

fn log_sum_exp<B: Backend>(context: &Context<'_, B>) {
    for shape in [&[4][..], &[3, 2], &[2, 3, 27], &[3, 1], &[1, 1000]] {
        check_rows(context, shape, &context.varied(shape, 5).to_values());
    }
}

fn extreme_logits<B: Backend>(context: &Context<'_, B>) {
    let none = f64::NEG_INFINITY;
    check_rows(context, &[2, 3], &[1e3, -1e3, 0.0, -1e3, -1e3, -1e3]);
    check_rows(context, &[2, 3], &[1e3, 1e3, 1e3, none, 0.0, none]);
    check_rows(context, &[1, 2], &[-1e9, 1e9]);
    // Small differences between large numbers keep their digits.
    let shifted = context.tensor(&[1, 3], &[1024.0, 1024.5, 1025.0]);
    let plain = context.tensor(&[1, 3], &[0.0, 0.5, 1.0]);
    context.check("log_softmax_last", &shifted.log_softmax_last(), &[1, 3], &plain.log_softmax_last().to_values());
    context.check("softmax_last", &shifted.softmax_last(), &[1, 3], &plain.softmax_last().to_values());
}

fn check_sum<B: Backend>(context: &Context<'_, B>, edges: &[f64], mean_shape: &[usize], scale_shape: &[usize]) {
    let (mean, scale) = (context.varied(mean_shape, 6), context.varied(scale_shape, 7).square() + 0.25);
    let sum = |mean: f64, scale: f64| edges.iter().map(|edge| special::normal_cdf((edge - mean) * scale)).sum();
    let (shape, expected) = broadcast((mean_shape, &mean.to_values()), (scale_shape, &scale.to_values()), sum);
    let what = format!("{} edges, {mean_shape:?} and {scale_shape:?}", edges.len());
    context.check_terms(&what, &mean.sum_normal_cdf(edges, &scale), &shape, &expected, edges.len() as f64);
}

fn sum_normal_cdf<B: Backend>(context: &Context<'_, B>) {
    let edges = |count: usize| -> Vec<f64> { (1..=count).map(|j| 2.0 * j as f64 / (count + 1) as f64 - 1.0).collect() };
    check_sum(context, &edges(1), &[2, 3], &[2, 3]);
    check_sum(context, &edges(15), &[2, 3], &[2, 1]);
    check_sum(context, &edges(15), &[2, 3], &[1]);
    check_sum(context, &edges(15), &[2, 1], &[2, 3]);
    check_sum(context, &edges(255), &[4], &[4]);
}

fn extreme_distances<B: Backend>(context: &Context<'_, B>) {
    let mean = context.tensor(&[4], &[-1e6, 1e6, 0.0, 0.5]);
    let scale = context.tensor(&[4], &[1e3, 1e3, 1e3, 1e3]);
    // Φ is 0 or 1 at every edge except the one that lies on the mean.
    let expected = [3.0, 0.0, 1.5, 1.0];
    context.check_terms("saturated", &mean.sum_normal_cdf(&[-0.5, 0.0, 0.75], &scale), &[4], &expected, 3.0);
}

fn sums<B: Backend>(context: &Context<'_, B>) {
    for shape in [&[7][..], &[2, 3, 4], &[3, 2000]] {
        let parts: Vec<Tensor<B>> = (1..4).map(|seed| context.varied(shape, seed)).collect();
        let values: Vec<Vec<f64>> = parts.iter().map(Tensor::to_values).collect();
        let weights = [0.5, -1.25, 3.0];
        for count in 1..=3 {
            let sum = |i: usize| (0..count).map(|part| weights[part] * values[part][i]).sum();
            let expected: Vec<f64> = (0..values[0].len()).map(sum).collect();
            let tensors: Vec<&Tensor<B>> = parts[..count].iter().collect();
            let found = Tensor::weighted_sum(&weights[..count], &tensors);
            context.check_terms("weighted_sum", &found, shape, &expected, 15.0);
        }
    }
    let shapes: [[&[usize]; 3]; 4] =
        [[&[2, 3]; 3], [&[2, 1], &[2, 3], &[2, 3]], [&[1], &[2, 3], &[3]], [&[2, 3], &[1], &[2, 1]]];
    for [scale_shape, a_shape, b_shape] in shapes {
        let (scale, a, b) = (context.varied(scale_shape, 1), context.varied(a_shape, 2), context.varied(b_shape, 3));
        let (shape, square) = broadcast((a_shape, &a.to_values()), (b_shape, &b.to_values()), |a, b| (a - b) * (a - b));
        let (shape, expected) = broadcast((scale_shape, &scale.to_values()), (&shape, &square), |scale, x| scale * x);
        let what = format!("{scale_shape:?} · ({a_shape:?} - {b_shape:?})²");
        context.check_terms(&what, &scale.squared_error(&a, &b), &shape, &expected, 100.0);
    }
    let a = context.varied(&[3, 5], 4);
    let squares: Vec<f64> = a.to_values().chunks_exact(5).map(|row| row.iter().map(|x| x * x).sum()).collect();
    context.check_terms("sum_of_squares_last", &a.sum_of_squares_last(), &[3], &squares, 45.0);
}

/// Returns offsets and half-widths in units of the deviation, as extreme as σ₁ = 1e−4 and logits of 1e3 make them.
fn bins() -> (Vec<f64>, Vec<f64>) {
    let offsets = [0.0, 0.125, -1.0, 2.5, -7.0, 12.0, 30.0, -64.0, 1024.0, -1e6];
    let half_widths = [1e-7, 2.0_f64.powi(-9), 0.03, 0.0498, 0.0502, 0.25, 1.0, 6.0, 300.0];
    let pairs = offsets.iter().flat_map(|offset| half_widths.iter().map(move |half| (*offset, *half)));
    pairs.unzip()
}

fn masses<B: Backend>(context: &Context<'_, B>) {
    let (offsets, half_widths) = bins();
    let (offset, half) = (context.tensor(&[90], &offsets), context.tensor(&[90], &half_widths));
    // Take the rounded inputs: far from the mean, the result depends strongly on the last digit.
    let pairs = offset.to_values().into_iter().zip(half.to_values());
    let expected: Vec<f64> = pairs.map(|(offset, half)| special::normal_ln_mass(offset, half)).collect();
    context.check_terms("normal_ln_mass", &offset.normal_ln_mass(&half), &[90], &expected, 1.0);
    let (mean_shape, half_shape): (&[usize], &[usize]) = (&[2, 3], &[2, 1]);
    let (offset, half) = (context.varied(mean_shape, 6), context.varied(half_shape, 7).square() + 0.25);
    let (shape, expected) =
        broadcast((mean_shape, &offset.to_values()), (half_shape, &half.to_values()), special::normal_ln_mass);
    context.check_terms("normal_ln_mass broadcasts", &offset.normal_ln_mass(&half), &shape, &expected, 1.0);
}

fn all_masses<B: Backend>(context: &Context<'_, B>) {
    for bins in [2, 3, 16, 256] {
        let edges: Vec<f64> = (1..bins).map(|j| 2.0 * j as f64 / bins as f64 - 1.0).collect();
        for (mean, inverse) in [(0.25, 1.0), (-0.75, 64.0), (0.5, 0.125), (8.0, 4.0), (0.0, 1024.0)] {
            let (mean, inverse) = (context.tensor(&[1], &[mean]), context.tensor(&[1], &[inverse]));
            let (m, s) = (mean.to_values()[0], inverse.to_values()[0]);
            let expected: Vec<f64> = (0..bins)
                .map(|k| match k {
                    0 => special::normal_ln_cdf((edges[0] - m) * s),
                    k if k + 1 == bins => special::normal_ln_cdf((m - edges[k - 1]) * s),
                    k => {
                        let (left, right) = (edges[k - 1], edges[k]);
                        special::normal_ln_mass((0.5 * (left + right) - m) * s, 0.5 * (right - left) * s)
                    }
                })
                .collect();
            let what = format!("normal_ln_masses of {bins} bins, N({m}, 1/{s}²)");
            // Far from the mean, the rounding error of an edge is multiplied by the slope of the logarithm.
            let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
            context.check_terms(&what, &mean.normal_ln_masses(&edges, &inverse), &[1, bins], &expected, size);
        }
        let (mean, inverse) = (context.varied(&[2, 3], 6) / 3.0, context.varied(&[2, 1], 7).square() + 0.25);
        let sums = mean.normal_ln_masses(&edges, &inverse).exp().sum_last();
        context.check_terms("sums of the masses", &sums, &[2, 3], &[1.0; 6], bins as f64);
    }
}

fn by_rows<B: Backend>(context: &Context<'_, B>) {
    for (count, width) in [(1, 1), (7, 3), (300, 1000), (2, 1_000_000)] {
        let (a, b) = (context.varied(&[count], 1), context.varied(&[count, 3], 2));
        let found = Tensor::by_rows(&[&a, &b], width, |rows| (rows[0].unsqueeze_last() * &rows[1]).sum_last());
        let expected = (a.unsqueeze_last() * &b).sum_last();
        context.check_terms("by_rows", &found, &[count], &expected.to_values(), 9.0);
    }
}

/// Compares every composite of the backend with its provided body.
fn provided_bodies<B: Backend>(context: &Context<'_, B>) {
    let (rows, wide) = (context.varied(&[4, 27], 1) * 8.0, context.varied(&[4, 27], 2));
    let (column, single) = (context.varied(&[4, 1], 3), context.varied(&[1], 4));
    let (plain_rows, plain_wide) = (provided(&rows), provided(&wide));
    let (plain_column, plain_single) = (provided(&column), provided(&single));
    let edges: Vec<f64> = (1..64).map(|j| f64::from(j) / 32.0 - 1.0).collect();
    let scale = (context.varied(&[4, 27], 5)).exp();
    let plain_scale = provided(&scale);
    let x = rows.indices_like(&[4], &[26, 0, 13, 5]);
    let plain_x = plain_rows.indices_like(&[4], &x.to_vec());
    let pairs = [
        (
            "linear_combination",
            column.combine(&rows, &single, &wide),
            plain_column.combine(&plain_rows, &plain_single, &plain_wide),
        ),
        (
            "weighted_sum",
            Tensor::weighted_sum(&[0.5, -2.0], &[&rows, &wide]),
            Tensor::weighted_sum(&[0.5, -2.0], &[&plain_rows, &plain_wide]),
        ),
        ("squared_error", column.squared_error(&rows, &wide), plain_column.squared_error(&plain_rows, &plain_wide)),
        ("sum_of_squares_last", rows.sum_of_squares_last(), plain_rows.sum_of_squares_last()),
        ("log_sum_exp_last", rows.log_sum_exp_last(), plain_rows.log_sum_exp_last()),
        ("log_mean_exp_last", rows.log_mean_exp_last(&wide), plain_rows.log_mean_exp_last(&plain_wide)),
        ("log_softmax_last", rows.log_softmax_last(), plain_rows.log_softmax_last()),
        ("softmax_last", rows.softmax_last(), plain_rows.softmax_last()),
        ("affine_softmax_last", rows.affine_softmax_last(27.0, -1.0), plain_rows.affine_softmax_last(27.0, -1.0)),
        ("log_softmax_at_last", rows.log_softmax_at_last(&x), plain_rows.log_softmax_at_last(&plain_x)),
        ("squared_distance_last", rows.squared_distance_last(&x), plain_rows.squared_distance_last(&plain_x)),
        ("sum_normal_cdf", wide.sum_normal_cdf(&edges, &scale), plain_wide.sum_normal_cdf(&edges, &plain_scale)),
        ("normal_ln_mass", rows.normal_ln_mass(&scale), plain_rows.normal_ln_mass(&plain_scale)),
        ("normal_ln_masses", wide.normal_ln_masses(&edges, &scale), plain_wide.normal_ln_masses(&edges, &plain_scale)),
        (
            "by_rows",
            Tensor::by_rows(&[&rows, &wide], 27, |rows| (&rows[0] * &rows[1]).sum_last()),
            Tensor::by_rows(&[&plain_rows, &plain_wide], 27, |rows| (&rows[0] * &rows[1]).sum_last()),
        ),
    ]
    .map(|(name, found, plain)| (name, found, overridden(&plain)));
    for (name, found, expected) in pairs {
        let values = expected.to_values();
        let size = values.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
        context.check_terms(name, &found, &expected.shape(), &values, size);
    }
}
