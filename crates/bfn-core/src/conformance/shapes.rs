//! Incompatible shapes, which must panic with a message that names both shapes.

use super::{Case, Context, panic_message};
use crate::{Backend, Tensor};

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "arithmetic on shapes that do not broadcast panics", check: arithmetic },
        Case { name: "composites on shapes that do not broadcast panic", check: composites },
        Case { name: "reshaping to another number of elements panics", check: reshape },
        Case { name: "indices that do not fit an array panic", check: indexing },
        Case { name: "parts that do not fit panic", check: parts },
    ]
}

/// Panics unless `action` panics with a message that names every shape, possibly with more axes of length 1.
fn must_name(what: &str, shapes: &[&[usize]], action: impl FnOnce()) {
    let Some(message) = panic_message(action) else {
        panic!("{what} of shapes {shapes:?} did not panic");
    };
    for shape in shapes {
        let digits = format!("{shape:?}");
        let named = message.contains(digits.trim_end_matches(']'));
        assert!(named, "{what}: the message does not name {shape:?}: {message}");
    }
}

fn arithmetic<B: Backend>(context: &Context<'_, B>) {
    let (left, right): (&[usize], &[usize]) = (&[2, 3], &[2, 4]);
    let (a, b) = (context.varied(left, 1), context.varied(right, 2));
    must_name("+", &[left, right], || drop(&a + &b));
    must_name("-", &[left, right], || drop(&a - &b));
    must_name("*", &[left, right], || drop(&a * &b));
    must_name("/", &[left, right], || drop(&a / &b));
    must_name("where_below", &[left, right], || drop(a.where_below(0.0, &a, &b)));
    must_name("where_below", &[left, right], || drop(b.where_below(0.0, &a, &a)));
}

fn composites<B: Backend>(context: &Context<'_, B>) {
    let (left, right): (&[usize], &[usize]) = (&[2, 3], &[2, 4]);
    let (a, b) = (context.varied(left, 1), context.varied(right, 2));
    must_name("a · x", &[left, right], || drop(a.combine(&b, &a, &a)));
    must_name("b · y", &[left, right], || drop(a.combine(&a, &a, &b)));
    must_name("a · x + b · y", &[left, right], || drop(a.combine(&a, &b, &b)));
    must_name("sum_normal_cdf", &[left, right], || drop(a.sum_normal_cdf(&[0.0], &b)));
    must_name("normal_ln_mass", &[left, right], || drop(a.normal_ln_mass(&b)));
    must_name("normal_ln_masses", &[left, right], || drop(a.normal_ln_masses(&[0.0], &b)));
    must_name("log_mean_exp_last", &[left, right], || drop(a.log_mean_exp_last(&b)));
    must_name("squared_error", &[left, right], || drop(a.squared_error(&b, &a)));
    must_name("squared_error", &[left, right], || drop(a.squared_error(&a, &b)));
    must_name("weighted_sum", &[left, right], || drop(Tensor::weighted_sum(&[1.0, 2.0], &[&a, &b])));
    let rows = context.varied(&[4, 3], 3);
    must_name("by_rows", &[left, &[4, 3]], || drop(Tensor::by_rows(&[&a, &rows], 1, |rows| rows[0].sum_last())));
}

fn reshape<B: Backend>(context: &Context<'_, B>) {
    let a = context.varied(&[2, 3], 1);
    must_name("reshape", &[&[2, 3], &[4, 2]], || drop(a.reshape(&[4, 2])));
    must_name("align", &[&[2, 3]], || drop(a.align(1)));
    must_name("squeeze_last", &[&[2, 3]], || drop(a.squeeze_last()));
    must_name("from_values", &[&[2, 2]], || drop(context.tensor(&[2, 2], &[1.0, 2.0, 3.0])));
    must_name("from_indices", &[&[2, 2]], || drop(context.like.indices_like(&[2, 2], &[0])));
}

fn indexing<B: Backend>(context: &Context<'_, B>) {
    let a = context.varied(&[2, 3, 4], 1);
    let indices = context.like.indices_like(&[3, 2], &[0; 6]);
    must_name("gather_last", &[&[2, 3, 4], &[3, 2]], || drop(a.gather_last(&indices)));
    let values = context.varied(&[3, 2], 2);
    must_name("scatter_add_last", &[&[2, 3, 4], &[3, 2]], || drop(a.clone().scatter_add_last(&indices, &values)));
    let fitting = context.like.indices_like(&[2, 3], &[0; 6]);
    must_name("scatter_add_last", &[&[2, 3], &[3, 2]], || drop(a.clone().scatter_add_last(&fitting, &values)));
}

fn parts<B: Backend>(context: &Context<'_, B>) {
    let a = context.varied(&[2, 3], 1);
    let b = context.varied(&[4, 3], 1);
    must_name("slice_last", &[&[2, 3]], || drop(a.slice_last(2, 2)));
    must_name("select_rows", &[&[2, 3]], || drop(a.select_rows(&[0, 2])));
    must_name("concat_last", &[&[2, 3], &[4, 3]], || drop(Tensor::concat_last(&[&a, &b])));
}
