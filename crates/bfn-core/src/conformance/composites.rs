//! The provided methods, which a backend may override.

use super::{Case, Context, broadcast};
use crate::{Backend, special};

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "linear_combination broadcasts", check: linear_combination },
        Case { name: "log_sum_exp, log_softmax and softmax", check: log_sum_exp },
        Case { name: "softmax of extreme logits", check: extreme_logits },
        Case { name: "sum_normal_cdf broadcasts", check: sum_normal_cdf },
        Case { name: "sum_normal_cdf of extreme distances", check: extreme_distances },
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
    context.check_terms("log_softmax_last", &a.log_softmax_last(), shape, &normalised, size);
    context.check_terms("softmax_last", &a.softmax_last(), shape, &probabilities, 1.0);
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
    // The digits of small differences between large numbers are kept.
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
    // Φ is 0 or 1 everywhere but at the edge that lies on the mean.
    let expected = [3.0, 0.0, 1.5, 1.0];
    context.check_terms("saturated", &mean.sum_normal_cdf(&[-0.5, 0.0, 0.75], &scale), &[4], &expected, 3.0);
}
