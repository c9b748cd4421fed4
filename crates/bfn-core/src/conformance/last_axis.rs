//! Operations along the last axis.

use super::{Case, Context, numbers};
use crate::{Backend, Tensor};

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "sums, running sums and maxima along the last axis", check: reductions },
        Case { name: "maxima keep NaN and infinities", check: extreme_maxima },
        Case { name: "parts of the last axis", check: parts },
    ]
}

fn reductions<B: Backend>(context: &Context<'_, B>) {
    for shape in [&[5][..], &[2, 3], &[2, 3, 4], &[3, 1], &[2, 300]] {
        let a = context.varied(shape, 5);
        let (outer, length) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
        let values = a.to_values();
        let rows = || values.chunks_exact(length);
        let terms = 3.0 * length as f64;

        let sums: Vec<f64> = rows().map(|row| row.iter().sum()).collect();
        context.check_terms("sum_last", &a.sum_last(), outer, &sums, terms);
        let peaks: Vec<f64> = rows().map(|row| row.iter().copied().fold(f64::MIN, f64::max)).collect();
        context.check("max_last", &a.max_last(), outer, &peaks);
        let running: Vec<f64> = rows()
            .flat_map(|row| {
                row.iter().scan(0.0, |sum, x| {
                    *sum += x;
                    Some(*sum)
                })
            })
            .collect();
        context.check_terms("cumulative_sum_last", &a.cumulative_sum_last(), shape, &running, terms);
    }
}

fn extreme_maxima<B: Backend>(context: &Context<'_, B>) {
    let infinite = f64::NEG_INFINITY;
    let a = context.tensor(&[3, 2], &[infinite, infinite, 1.0, f64::NAN, f64::NAN, 1.0]);
    context.check("max_last", &a.max_last(), &[3], &[infinite, f64::NAN, f64::NAN]);
}

fn parts<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(12, 6);
    let a = context.tensor(&[3, 4], &values);
    let pick = |columns: &[usize]| -> Vec<f64> {
        (0..3)
            .flat_map(|row| columns.iter().map(move |column| (row, *column)))
            .map(|(i, j)| values[4 * i + j])
            .collect()
    };
    context.check("slice_last", &a.slice_last(1, 2), &[3, 2], &pick(&[1, 2]));
    context.check("slice_last of all", &a.slice_last(0, 4), &[3, 4], &values);
    context.check("select_last", &a.select_last(3), &[3], &pick(&[3]));
    let joined = Tensor::concat_last(&[&a.slice_last(2, 2), &a.slice_last(0, 1), &a.slice_last(1, 1)]);
    context.check("concat_last", &joined, &[3, 4], &pick(&[2, 3, 0, 1]));
    // A slice must behave like any other array, however it is stored.
    let sum: Vec<f64> = (0..3).map(|i| values[4 * i + 1] + values[4 * i + 2]).collect();
    context.check_terms("sum of a part", &a.slice_last(1, 2).sum_last(), &[3], &sum, 3.0);
    context.check("reshape of a part", &a.slice_last(1, 2).reshape(&[6]), &[6], &pick(&[1, 2]));
}
