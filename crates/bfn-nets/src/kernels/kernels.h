// Arithmetic of networks on CPUs in f32, compiled for several instruction sets: see kernels.cpp.
#pragma once

#include <cstdint>

namespace bfn {

// Heads in a projection [B, T, 3 heads channels] to queries, keys and values: where they lie in it.
struct Heads {
  int64_t batch, length, heads, channels;
  // Steps from the queries of a head to its keys, from those to its values, and from a head to the next.
  int64_t part, head;

  // A head of an example is an item.
  int64_t items() const { return batch * heads; }
  // Rows of queries whose scores are held at once are a block.
  int64_t blocks() const { return (length + BLOCK - 1) / BLOCK; }

  static constexpr int64_t BLOCK = 24;
};

// The constants of a step of AdamW: x is multiplied by `kept`, then moves by
// −rate first / (correction √second + epsilon), where `correction` is 1 / √(1 − beta_2ⁿ) and `rate` the learning rate
// over 1 − beta_1ⁿ at the n-th step.
struct AdamW {
  float kept, beta_1, beta_2, rate, correction, epsilon;
};

// The kernels, all compiled for one instruction set.
struct Kernels {
  // Attention of the units from `begin` to `end`, of which every item has `heads.blocks()`.
  //
  // `projected`: [B, T, 3 heads channels]. Writes `attended`, [B, T, heads channels], and, unless null, `norms`,
  // [B heads, T, 2]: the largest of a query's scores s, and 1 / Σ exp(s − largest).
  void (*attention)(const Heads &heads, const float *projected, float *attended, float *norms, float *scratch,
                    int64_t begin, int64_t end);

  // The gradient of the same, of the items from `begin` to `end`.
  //
  // `slope`: the gradient with respect to `attended`. Writes `gradient`, that with respect to `projected`.
  void (*attention_backward)(const Heads &heads, const float *projected, const float *norms, const float *slope,
                             float *gradient, float *scratch, int64_t begin, int64_t end);

  // The numbers of `scratch` that the two need, beginning at a multiple of 64 bytes.
  int64_t (*attention_scratch)(const Heads &heads);
  int64_t (*attention_backward_scratch)(const Heads &heads);

  // y = GELU(x + bias) in its approximation by tanh, of `rows` rows of `width` numbers; `y` may be `x`. Unless it is
  // null, `derivative` becomes that with respect to x.
  void (*gelu)(const float *x, const float *bias, float *y, float *derivative, int64_t rows, int64_t width);

  // The gradient with respect to x: slope ∘ derivative. Its rows are added to `of_bias`.
  void (*gelu_backward)(const float *slope, const float *derivative, float *of_x, float *of_bias, int64_t rows,
                        int64_t width);

  // Layer normalisation of `rows` rows of `width` numbers, a multiple of 16: y = weight (x − mean) / deviation + bias.
  // Writes y and `statistics`, [rows, 2]: the mean of a row and 1 / √(variance + epsilon).
  void (*layer_norm)(const float *x, const float *weight, const float *bias, float epsilon, float *y, float *statistics,
                     int64_t rows, int64_t width);

  // The gradient of the same. `slope`: that with respect to y. Writes `of_x` and adds to `of_weight` and `of_bias`.
  void (*layer_norm_backward)(const float *x, const float *weight, const float *statistics, const float *slope,
                              float *of_x, float *of_weight, float *of_bias, int64_t rows, int64_t width);

  // Adds rows of `width` numbers to `sums`.
  void (*add_rows)(const float *from, float *sums, int64_t rows, int64_t width);

  // A step of AdamW, of `count` parameters x with gradient `slope` and moments `first` and `second`.
  void (*adamw)(const AdamW &step, float *x, const float *slope, float *first, float *second, int64_t count);

  // Σ x²: of sixteen numbers in f32, of those sums in f64.
  double (*sum_of_squares)(const float *x, int64_t count);

  // x ← factor x.
  void (*scale)(float *x, float factor, int64_t count);

  // x ← x + weight (to − x).
  void (*approach)(float *x, const float *to, float weight, int64_t count);
};

extern const Kernels baseline, avx2, avx512;

}  // namespace bfn
