//! Class indices.

use super::provided::{overridden, provided};
use super::{Case, Context, numbers};
use crate::Backend;

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "indices keep their values and shapes", check: construction },
        Case { name: "gather_last picks", check: gather },
        Case { name: "scatter_add_last adds and broadcasts", check: scatter_add },
        Case { name: "select_rows takes rows in any order", check: select_rows },
        Case { name: "argmax_last finds the largest", check: argmax },
        Case { name: "real numbers become indices", check: to_index },
    ]
}

fn construction<B: Backend>(context: &Context<'_, B>) {
    let indices = context.like.indices_like(&[2, 3], &[0, 5, 2, 1, 4, 3]);
    assert_eq!(indices.shape(), [2, 3], "shape of indices");
    assert_eq!(indices.to_vec(), [0, 5, 2, 1, 4, 3], "indices");
    assert_eq!(indices.clone().to_vec(), [0, 5, 2, 1, 4, 3], "clone of indices");
    context.check("to_reals", &indices.to_reals(context.like), &[2, 3], &[0.0, 5.0, 2.0, 1.0, 4.0, 3.0]);
}

fn gather<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(24, 7);
    let a = context.tensor(&[2, 3, 4], &values);
    let picks = [0, 3, 1, 2, 2, 0];
    let found = a.gather_last(&context.like.indices_like(&[2, 3], &picks));
    let expected: Vec<f64> = picks.iter().enumerate().map(|(row, pick)| values[4 * row + pick]).collect();
    context.check("gather_last", &found, &[2, 3], &expected);
    let one = context.tensor(&[4], &values[..4]).gather_last(&context.like.indices_like(&[], &[2]));
    context.check("gather_last of one row", &one, &[], &[values[2]]);
}

fn scatter_add<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(24, 8);
    let a = context.tensor(&[2, 3, 4], &values);
    let picks = [1, 3, 0, 2, 2, 0];
    let indices = context.like.indices_like(&[2, 3], &picks);
    for shape in [&[2, 3][..], &[2, 1], &[3], &[1]] {
        let added = context.varied(shape, 9);
        let added_values = added.to_values();
        let mut expected = values.clone();
        for (row, pick) in picks.iter().enumerate() {
            let source = match shape {
                [2, 3] => row,
                [2, 1] => row / 3,
                [3] => row % 3,
                _ => 0,
            };
            expected[4 * row + pick] += added_values[source];
        }
        let found = a.clone().scatter_add_last(&indices, &added);
        context.check(&format!("scatter_add_last of {shape:?}"), &found, &[2, 3, 4], &expected);
    }
    context.check("the argument of scatter_add_last", &a, &[2, 3, 4], &values);
}

fn select_rows<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(24, 10);
    let a = context.tensor(&[4, 3, 2], &values);
    let rows = [3, 0, 0, 2, 3];
    let expected: Vec<f64> = rows.iter().flat_map(|row| &values[6 * row..6 * row + 6]).copied().collect();
    context.check("select_rows", &a.select_rows(&rows), &[5, 3, 2], &expected);
    context.check("select_rows, provided", &overridden(&provided(&a).select_rows(&rows)), &[5, 3, 2], &expected);
    context.check("select_rows of numbers", &context.tensor(&[4], &values[..4]).select_rows(&[2]), &[1], &values[2..3]);
}

fn argmax<B: Backend>(context: &Context<'_, B>) {
    let a = context.tensor(&[3, 3], &[1.0, 3.0, 2.0, -1.0, -2.0, -3.0, f64::NEG_INFINITY, 0.0, 1e30]);
    let found = a.argmax_last();
    assert_eq!(found.shape(), [3], "shape of argmax_last");
    assert_eq!(found.to_vec(), [1, 0, 2], "argmax_last");
}

fn to_index<B: Backend>(context: &Context<'_, B>) {
    let a = context.tensor(&[2, 4], &[0.0, 0.99, 1.0, 3.5, 4.0, 1e9, -0.5, -1e9]);
    let found = a.to_index(4);
    assert_eq!(found.shape(), [2, 4], "shape of to_index");
    assert_eq!(found.to_vec(), [0, 0, 1, 3, 3, 3, 0, 0], "to_index");
    let extremes = context.tensor(&[3], &[f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    assert_eq!(extremes.to_index(4).to_vec(), [3, 0, 0], "to_index of infinities and NaN");
}
