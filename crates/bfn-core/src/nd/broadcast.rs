//! Functions of several arrays, element by element, with broadcasting.

use std::array::from_fn;

use super::pieces::collected;
use super::{Array, Element, flat, from_vec};

/// The length of the buffer in which the number of a constant operand is repeated.
const REPEAT: usize = 512;

/// Applies `f` to the numbers of N arrays that broadcast, in one pass.
pub(super) fn fused<F: Element, const N: usize>(
    name: &str,
    arrays: [&Array<F>; N],
    f: impl Fn([F; N]) -> F + Sync,
) -> Array<F> {
    let shapes = arrays.map(|array| array.shape());
    let shape = shapes.iter().skip(1).fold(shapes[0].to_vec(), |shape, other| broadcast_shape(name, &shape, other));
    let blocks = Blocks::new(&shape, shapes);
    let values = arrays.map(flat);
    let out = collected(shape.iter().product(), blocks.length, |range, out| {
        // Operands that are constant over a block are repeated: one loop over slices serves every combination.
        let mut repeated = [[F::zero(); REPEAT]; N];
        for block in range.start / blocks.length..range.end / blocks.length {
            let offsets = blocks.offsets(block);
            let from = |n: usize| &values[n][offsets[n]..];
            if let [true, false, true, false] = blocks.constant[..] {
                // Flows and updates, a · x + b · y with one a and b per example: two streams are read, not four.
                let (a, x, b, y) = (from(0)[0], &from(1)[..blocks.length], from(2)[0], &from(3)[..blocks.length]);
                out.extend(x.iter().zip(y).map(|(x, y)| f(from_fn(|n| [a, *x, b, *y][n]))));
                continue;
            }
            for (n, repeated) in repeated.iter_mut().enumerate() {
                if blocks.constant[n] {
                    repeated[..REPEAT.min(blocks.length)].fill(from(n)[0]);
                }
            }
            for start in (0..blocks.length).step_by(REPEAT) {
                let length = REPEAT.min(blocks.length - start);
                let operands: [&[F]; N] = from_fn(|n| match blocks.constant[n] {
                    true => &repeated[n][..length],
                    false => &from(n)[start..][..length],
                });
                out.extend((0..length).map(|i| f(from_fn(|n| operands[n][i]))));
            }
        }
    });
    from_vec(&shape, out)
}

/// Stretches an array to a shape that it broadcasts to; returns the array itself if it already has that shape.
pub(super) fn stretched<F: Element>(array: &Array<F>, shape: &[usize]) -> Array<F> {
    if array.shape() == shape {
        return array.clone();
    }
    let (blocks, values) = (Blocks::new(shape, [array.shape()]), flat(array));
    let mut out = Vec::with_capacity(shape.iter().product());
    for block in 0..blocks.outer.iter().product() {
        let [offset] = blocks.offsets(block);
        match blocks.constant[0] {
            true => out.resize(out.len() + blocks.length, values[offset]),
            false => out.extend_from_slice(&values[offset..][..blocks.length]),
        }
    }
    from_vec(shape, out)
}

/// Returns the broadcast shape by NumPy's rule: aligned at the last axis, an axis of length 1 stretches.
pub(super) fn broadcast_shape(name: &str, a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let joint = |axis| match (length(a, axis, rank), length(b, axis, rank)) {
        (1, n) | (n, 1) => n,
        (m, n) => {
            assert!(m == n, "{name}: shapes {a:?} and {b:?} do not broadcast");
            n
        }
    };
    (0..rank).map(joint).collect()
}

/// Returns the length of an axis of a shape that is padded with axes of length 1 in front, up to `rank` axes.
fn length(shape: &[usize], axis: usize, rank: usize) -> usize {
    (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i])
}

/// Blocks of the joint shape, over which each operand either advances or stays constant.
struct Blocks<const N: usize> {
    /// The number of elements of a block; 1 if there are no elements at all.
    length: usize,
    constant: [bool; N],
    /// The lengths of the axes before those of the block, and the stride of each operand along them.
    outer: Vec<usize>,
    strides: Vec<[usize; N]>,
}

impl<const N: usize> Blocks<N> {
    fn new(shape: &[usize], shapes: [&[usize]; N]) -> Self {
        let rank = shape.len();
        let lengths = |axis: usize| shapes.map(|shape| length(shape, axis, rank));
        let (mut first, mut block, mut constant) = (rank, 1, [true; N]);
        while first > 0 {
            let axis = first - 1;
            if shape[axis] != 1 {
                let here = lengths(axis).map(|length| length == 1);
                if block == 1 {
                    constant = here;
                } else if constant != here {
                    break;
                }
            }
            block *= shape[axis];
            first = axis;
        }
        // From the last outer axis to the first, an operand's stride is the number of its elements so far.
        let mut strides = vec![[0; N]; first];
        let mut elements = constant.map(|constant| if constant { 1 } else { block });
        for axis in (0..first).rev() {
            for (n, length) in lengths(axis).into_iter().enumerate() {
                strides[axis][n] = if length == 1 { 0 } else { elements[n] };
                elements[n] *= length;
            }
        }
        Self { length: block.max(1), constant, outer: shape[..first].to_vec(), strides }
    }

    /// Returns the offset of each operand at the beginning of a block.
    fn offsets(&self, block: usize) -> [usize; N] {
        let (mut rest, mut offsets) = (block, [0; N]);
        for (length, strides) in self.outer.iter().zip(&self.strides).rev() {
            let place = rest % length;
            rest /= length;
            for n in 0..N {
                offsets[n] += place * strides[n];
            }
        }
        offsets
    }
}
