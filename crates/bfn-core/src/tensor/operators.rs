//! `+ − · /` between tensors, and between a tensor and a number.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::Tensor;
use crate::Backend;

macro_rules! operator {
    ($Op:ident, $op:ident) => {
        operator!(@tensors $Op, $op, Tensor<B>, Tensor<B>);
        operator!(@tensors $Op, $op, Tensor<B>, &Tensor<B>);
        operator!(@tensors $Op, $op, &Tensor<B>, Tensor<B>);
        operator!(@tensors $Op, $op, &Tensor<B>, &Tensor<B>);
    };
    (@tensors $Op:ident, $op:ident, $Left:ty, $Right:ty) => {
        impl<B: Backend> $Op<$Right> for $Left {
            type Output = Tensor<B>;
            fn $op(self, right: $Right) -> Tensor<B> {
                Tensor::new(B::$op(&self.array, &right.array))
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

macro_rules! operator_with_number {
    ($($Tensor:ty),*) => {$(
        impl<B: Backend> Add<f64> for $Tensor {
            type Output = Tensor<B>;
            fn add(self, number: f64) -> Tensor<B> { self.affine(1.0, number) }
        }
        impl<B: Backend> Sub<f64> for $Tensor {
            type Output = Tensor<B>;
            fn sub(self, number: f64) -> Tensor<B> { self.affine(1.0, -number) }
        }
        impl<B: Backend> Mul<f64> for $Tensor {
            type Output = Tensor<B>;
            fn mul(self, number: f64) -> Tensor<B> { self.affine(number, 0.0) }
        }
        impl<B: Backend> Div<f64> for $Tensor {
            type Output = Tensor<B>;
            fn div(self, number: f64) -> Tensor<B> { self.affine(1.0 / number, 0.0) }
        }
        impl<B: Backend> Add<$Tensor> for f64 {
            type Output = Tensor<B>;
            fn add(self, tensor: $Tensor) -> Tensor<B> { tensor.affine(1.0, self) }
        }
        impl<B: Backend> Sub<$Tensor> for f64 {
            type Output = Tensor<B>;
            fn sub(self, tensor: $Tensor) -> Tensor<B> { tensor.affine(-1.0, self) }
        }
        impl<B: Backend> Mul<$Tensor> for f64 {
            type Output = Tensor<B>;
            fn mul(self, tensor: $Tensor) -> Tensor<B> { tensor.affine(self, 0.0) }
        }
        impl<B: Backend> Div<$Tensor> for f64 {
            type Output = Tensor<B>;
            fn div(self, tensor: $Tensor) -> Tensor<B> { tensor.recip().affine(self, 0.0) }
        }
        impl<B: Backend> Neg for $Tensor {
            type Output = Tensor<B>;
            fn neg(self) -> Tensor<B> { self.affine(-1.0, 0.0) }
        }
    )*};
}

operator_with_number!(Tensor<B>, &Tensor<B>);
