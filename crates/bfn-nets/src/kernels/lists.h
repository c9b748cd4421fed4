// Operations on lists of tensors on a CPU, where libtorch's own work on one tensor after the other.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace bfn {

using Tensors = std::vector<at::Tensor>;

// Returns whether all are f32 on the CPU, and dense.
bool all_plain(const Tensors &tensors);

// The 2-norm of all numbers of all tensors, whatever the number of threads.
double norm(const Tensors &tensors);

// Takes the n-th step of AdamW, counted from one.
struct AdamWConstants {
  double step, learning_rate, beta_1, beta_2, weight_decay, epsilon;
};
void adamw(const Tensors &parameters, const Tensors &gradients, const Tensors &first, const Tensors &second,
           const AdamWConstants &constants);

// Multiplies all numbers.
void scale(const Tensors &tensors, float factor);

// Moves each tensor by the fraction `weight` of the way to its partner of the same shape in `to`.
void approach(const Tensors &tensors, const Tensors &to, float weight);

}  // namespace bfn
