//! Creation of arrays, arithmetic, and functions of single numbers.

use super::{Case, Context, broadcast, numbers};
use crate::{Backend, Tensor, special};

pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    vec![
        Case { name: "arrays keep their values and shapes", check: construction },
        Case { name: "arithmetic broadcasts", check: arithmetic },
        Case { name: "numbers on either side of an operator", check: affine },
        Case { name: "functions of one number", check: functions },
        Case { name: "functions keep the digits of small numbers", check: small_numbers },
        Case { name: "functions saturate at extreme numbers", check: extremes },
        Case { name: "clamp limits and keeps NaN", check: clamp },
        Case { name: "where_below chooses and broadcasts", check: where_below },
    ]
}

fn construction<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(24, 0);
    let a = context.tensor(&[2, 3, 4], &values);
    context.check("from_values", &a, &[2, 3, 4], &values);
    context.check("reshape", &a.reshape(&[4, 6]), &[4, 6], &values);
    context.check("align", &context.tensor(&[2], &[1.0, 2.0]).align(3), &[2, 1, 1], &[1.0, 2.0]);
    context.check("full", &a.full(&[2, 2], -0.75), &[2, 2], &[-0.75; 4]);
    context.check("full of no axes", &a.full(&[], 7.0), &[], &[7.0]);
    context.check("clone", &a.clone(), &[2, 3, 4], &values);
    context.check("detach", &a.detach(), &[2, 3, 4], &values);
    let mut extremes = vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0];
    extremes.push(1e30);
    context.check("extreme values", &context.tensor(&[5], &extremes), &[5], &extremes);
}

fn arithmetic<B: Backend>(context: &Context<'_, B>) {
    let pairs: [(&[usize], &[usize]); 9] = [
        (&[2, 3], &[2, 3]),
        (&[2, 3], &[3]),
        (&[3], &[2, 3]),
        (&[2, 1], &[1, 3]),
        (&[4, 1, 3], &[2, 1]),
        (&[2, 3, 4], &[2, 1, 1]),
        (&[2, 3], &[1]),
        (&[], &[2, 3]),
        (&[], &[]),
    ];
    for (left, right) in pairs {
        let (a, b) = (context.varied(left, 1), context.varied(right, 2));
        // Divisors stay away from 0.
        let divisor = b.abs() + 0.5;
        let check = |sign: &str, found: &Tensor<B>, b: &Tensor<B>, f: fn(f64, f64) -> f64| {
            let (shape, expected) = broadcast((left, &a.to_values()), (right, &b.to_values()), f);
            context.check(&format!("{left:?} {sign} {right:?}"), found, &shape, &expected);
        };
        check("+", &(&a + &b), &b, |a, b| a + b);
        check("-", &(&a - &b), &b, |a, b| a - b);
        check("*", &(&a * &b), &b, |a, b| a * b);
        check("/", &(&a / &divisor), &divisor, |a, b| a / b);
    }
}

fn affine<B: Backend>(context: &Context<'_, B>) {
    let values = numbers(7, 3);
    let a = context.tensor(&[7], &values);
    let check = |what: &str, found: &Tensor<B>, f: &dyn Fn(f64) -> f64| {
        let expected: Vec<f64> = values.iter().map(|x| f(*x)).collect();
        context.check_terms(what, found, &[7], &expected, 10.0);
    };
    for (scale, offset) in [(1.0, 0.0), (1.0, 2.5), (-3.0, 0.0), (0.1, -0.7), (0.0, 4.0)] {
        check(&format!("{scale} · a + {offset}"), &a.affine(scale, offset), &|x| scale * x + offset);
    }
    check("a + 2", &(&a + 2.0), &|x| x + 2.0);
    check("a - 2", &(&a - 2.0), &|x| x - 2.0);
    check("a * 2", &(&a * 2.0), &|x| x * 2.0);
    check("a / 8", &(&a / 8.0), &|x| x / 8.0);
    check("2 + a", &(2.0 + &a), &|x| 2.0 + x);
    check("2 - a", &(2.0 - &a), &|x| 2.0 - x);
    check("2 * a", &(2.0 * &a), &|x| 2.0 * x);
    check("-a", &-&a, &|x| -x);
    let above = values.iter().map(|x| x + 4.0).collect::<Vec<_>>();
    let quotient: Vec<f64> = above.iter().map(|x| 2.0 / x).collect();
    context.check("2 / a", &(2.0 / context.tensor(&[7], &above)), &[7], &quotient);
}

/// Checks one function on numbers given in f64, which are first rounded to the backend's precision.
fn check_function<B: Backend>(
    context: &Context<'_, B>,
    what: &str,
    inputs: &[f64],
    found: fn(&Tensor<B>) -> Tensor<B>,
    expected: fn(f64) -> f64,
) {
    let a = context.tensor(&[inputs.len()], inputs);
    let expected: Vec<f64> = a.to_values().into_iter().map(expected).collect();
    context.check(what, &found(&a), &[inputs.len()], &expected);
}

fn functions<B: Backend>(context: &Context<'_, B>) {
    let varied = numbers(40, 4);
    let positive: Vec<f64> = varied.iter().map(|x| x.exp()).collect();
    let wide: Vec<f64> = (-80..=60).map(|i| f64::from(i) / 8.0).collect();
    check_function(context, "exp", &wide, Tensor::exp, f64::exp);
    check_function(context, "exp_m1", &wide, Tensor::exp_m1, f64::exp_m1);
    check_function(context, "ln", &positive, Tensor::ln, f64::ln);
    check_function(context, "ln_1p", &positive, Tensor::ln_1p, f64::ln_1p);
    check_function(context, "sqrt", &positive, Tensor::sqrt, f64::sqrt);
    check_function(context, "recip", &positive, Tensor::recip, |x| 1.0 / x);
    check_function(context, "abs", &varied, Tensor::abs, f64::abs);
    check_function(context, "square", &varied, Tensor::square, |x| x * x);
    check_function(context, "normal_cdf", &wide, Tensor::normal_cdf, special::normal_cdf);
    check_function(context, "normal_ln_cdf", &wide, Tensor::normal_ln_cdf, special::normal_ln_cdf);
}

fn small_numbers<B: Backend>(context: &Context<'_, B>) {
    let small = [1e-3, -1e-3, 1e-9, -1e-9, 1e-20, 0.0];
    check_function(context, "exp_m1", &small, Tensor::exp_m1, f64::exp_m1);
    check_function(context, "ln_1p", &small, Tensor::ln_1p, f64::ln_1p);
    check_function(context, "normal_cdf", &small, Tensor::normal_cdf, special::normal_cdf);
    check_function(context, "normal_ln_cdf", &small, Tensor::normal_ln_cdf, special::normal_ln_cdf);
}

fn extremes<B: Backend>(context: &Context<'_, B>) {
    let far = [-1e6, -1e3, -100.0, -40.0, -31.0, -29.0, 31.0, 1e3];
    check_function(context, "normal_ln_cdf", &far, Tensor::normal_ln_cdf, special::normal_ln_cdf);
    check_function(context, "normal_cdf", &[-1e3, 1e3], Tensor::normal_cdf, special::normal_cdf);
    check_function(context, "exp", &[-1e3, 1e3], Tensor::exp, f64::exp);
    check_function(context, "exp_m1", &[-1e3, 1e3], Tensor::exp_m1, f64::exp_m1);
    check_function(context, "ln", &[0.0, f64::INFINITY], Tensor::ln, f64::ln);
    check_function(context, "sqrt", &[0.0], Tensor::sqrt, f64::sqrt);
    check_function(context, "recip", &[0.0, f64::INFINITY], Tensor::recip, |x| 1.0 / x);
    check_function(context, "NaN", &[f64::NAN], Tensor::exp, f64::exp);
}

fn clamp<B: Backend>(context: &Context<'_, B>) {
    let values = [-5.0, -1.0, 0.25, 1.0, 5.0, f64::NAN, f64::INFINITY];
    let a = context.tensor(&[7], &values);
    let expected = [-1.0, -1.0, 0.25, 1.0, 1.0, f64::NAN, 1.0];
    context.check("between", &a.clamp(-1.0, 1.0), &[7], &expected);
    let expected = [-5.0, -1.0, 0.0, 0.0, 0.0, f64::NAN, 0.0];
    context.check("from above alone", &a.clamp(f64::NEG_INFINITY, 0.0), &[7], &expected);
    let expected = [0.0, 0.0, 0.25, 1.0, 5.0, f64::NAN, f64::INFINITY];
    context.check("from below alone", &a.clamp(0.0, f64::INFINITY), &[7], &expected);
}

fn where_below<B: Backend>(context: &Context<'_, B>) {
    let a = context.tensor(&[4], &[-1.0, 0.5, 2.0, f64::NAN]);
    let below = context.tensor(&[4], &[1.0, 2.0, f64::NAN, f64::NAN]);
    let otherwise = context.tensor(&[4], &[f64::NEG_INFINITY, 20.0, 30.0, 40.0]);
    // Neither the threshold itself nor NaN is below the threshold.
    context.check("values", &a.where_below(0.5, &below, &otherwise), &[4], &[1.0, 20.0, 30.0, 40.0]);

    let a = context.tensor(&[2, 1], &[0.0, 1.0]);
    let below = context.tensor(&[3], &[1.0, 2.0, 3.0]);
    let otherwise = context.tensor(&[1], &[9.0]);
    context.check("broadcast", &a.where_below(0.5, &below, &otherwise), &[2, 3], &[1.0, 2.0, 3.0, 9.0, 9.0, 9.0]);
    context.check("broadcast", &a.where_below(0.5, &otherwise, &below), &[2, 3], &[9.0, 9.0, 9.0, 1.0, 2.0, 3.0]);
}
