// Softmax attention, forwards and backwards. Included by kernels.cpp.
//
// A thread computes some rows of a head's queries at a time, so that scores stay in a cache and never exist as a whole.
// The backward pass computes them again; in it, a head is the work of one thread. Queries, keys and values are read from the projection as it
// is, and their gradients are written to one array of the same layout.
#pragma once

#include <math.h>

#include "kernels.h"
#include "product.h"

namespace {

using bfn::Heads;

constexpr int64_t BLOCK = Heads::BLOCK;

// Hands out consecutive parts of the scratch memory.
struct Scratch {
  float *next;

  float *take(int64_t numbers) {
    float *taken = next;
    next += numbers;
    return taken;
  }
};

// An item's queries, keys and values in the projection, and where its part of the output begins.
struct Item {
  Matrix queries, keys, values;
  int64_t in, out;
  // Numbers of a row of the output.
  int64_t row;

  Item(const Heads &heads, const float *projected, int64_t item) {
    const int64_t example = item / heads.heads, head = item % heads.heads;
    row = heads.heads * heads.channels;
    in = example * heads.length * 3 * row + head * heads.head;
    out = example * heads.length * row + head * heads.channels;
    queries = {projected + in, 3 * row, 1};
    keys = {queries.data + heads.part, 3 * row, 1};
    values = {keys.data + heads.part, 3 * row, 1};
  }
};

inline float score_scale(const Heads &heads) { return 1 / sqrtf((float)heads.channels); }

int64_t attention_scratch(const Heads &heads) {
  const int64_t row = padded(heads.length), width = padded(heads.channels);
  return heads.channels * row + heads.length * width + BLOCK * (row + width);
}

void attention(const Heads &heads, const float *projected, float *attended, float *norms, float *memory, int64_t begin,
               int64_t end) {
  const int64_t length = heads.length, channels = heads.channels, row = padded(length), width = padded(channels);
  Scratch scratch{memory};
  float *keys = scratch.take(channels * row), *values = scratch.take(length * width);
  float *weights = scratch.take(BLOCK * row), *result = scratch.take(BLOCK * width);
  float factors[BLOCK];
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t number = unit / heads.blocks(), first = unit % heads.blocks() * BLOCK;
    const int64_t rows = at_most(BLOCK, length - first);
    const Item item(heads, projected, number);
    if (unit == begin || first == 0) {
      pack(item.keys.transposed(), channels, length, score_scale(heads), keys);
      pack(item.values, length, channels, 1, values);
    }
    multiply<false>(item.queries.from_row(first), rows, channels, {keys, channels, 0}, weights, row);
    for (int64_t r = 0; r < rows; ++r) {
      float *scores = weights + r * row;
      for (int64_t c = length; c < row; ++c) scores[c] = -INFINITY;
      Vector highest = load(scores);
      for (int64_t c = LANES; c < row; c += LANES) {
        const Vector some = load(scores + c);
        highest = some > highest ? some : highest;
      }
      const float top = largest(highest);
      Vector total{};
      for (int64_t c = 0; c < row; c += LANES) {
        const Vector weight = weight_of(load(scores + c) - top);
        store(scores + c, weight);
        total += weight;
      }
      factors[r] = 1 / sum(total);
      if (norms != nullptr) {
        float *norm = norms + 2 * (number * length + first + r);
        norm[0] = top;
        norm[1] = factors[r];
      }
    }
    multiply<false>({weights, row, 1}, rows, length, {values, length, 0}, result, width);
    for (int64_t r = 0; r < rows; ++r) {
      float *to = attended + item.out + (first + r) * item.row;
      for (int64_t c = 0; c < channels; ++c) to[c] = factors[r] * result[r * width + c];
    }
  }
}

int64_t attention_backward_scratch(const Heads &heads) {
  const int64_t row = padded(heads.length), width = padded(heads.channels);
  return 2 * heads.channels * row + 5 * heads.length * width + BLOCK * (2 * row + width);
}

// With the weights P, the output O and the scores S before the softmax:
// dV = Pᵀ dO;  dP = dO Vᵀ;  dS = P ∘ (dP − rowsum(P ∘ dP));  dQ = dS K / √C;  dK = dSᵀ Q / √C.
void attention_backward(const Heads &heads, const float *projected, const float *norms, const float *slope,
                        float *gradient, float *memory, int64_t begin, int64_t end) {
  const int64_t length = heads.length, channels = heads.channels, row = padded(length), width = padded(channels);
  Scratch scratch{memory};
  float *keys_transposed = scratch.take(channels * row), *values_transposed = scratch.take(channels * row);
  float *queries = scratch.take(length * width), *keys = scratch.take(length * width);
  float *slopes = scratch.take(length * width);
  float *of_keys = scratch.take(length * width), *of_values = scratch.take(length * width);
  float *weights = scratch.take(BLOCK * row), *of_scores = scratch.take(BLOCK * row);
  float *of_queries = scratch.take(BLOCK * width);
  for (int64_t number = begin; number < end; ++number) {
    const Item item(heads, projected, number);
    const Matrix given{slope + item.out, item.row, 1};
    float *to = gradient + item.in;
    pack(item.queries, length, channels, score_scale(heads), queries);
    pack(item.keys, length, channels, score_scale(heads), keys);
    pack(item.keys.transposed(), channels, length, score_scale(heads), keys_transposed);
    pack(item.values.transposed(), channels, length, 1, values_transposed);
    pack(given, length, channels, 1, slopes);
    memset(of_keys, 0, length * width * sizeof(float));
    memset(of_values, 0, length * width * sizeof(float));
    for (int64_t first = 0; first < length; first += BLOCK) {
      const int64_t rows = at_most(BLOCK, length - first);
      multiply<false>(item.queries.from_row(first), rows, channels, {keys_transposed, channels, 0}, weights, row);
      multiply<false>(given.from_row(first), rows, channels, {values_transposed, channels, 0}, of_scores, row);
      for (int64_t r = 0; r < rows; ++r) {
        const float *norm = norms + 2 * (number * length + first + r);
        float *weight = weights + r * row, *of_score = of_scores + r * row;
        Vector total{};
        for (int64_t c = 0; c < row; c += LANES) {
          const Vector some = weight_of(load(weight + c) - norm[0]) * norm[1];
          store(weight + c, some);
          total += some * load(of_score + c);
        }
        const float mean = sum(total);
        for (int64_t c = 0; c < row; c += LANES) {
          store(of_score + c, load(weight + c) * (load(of_score + c) - mean));
        }
      }
      multiply<true>({weights, 1, row}, length, rows, {slopes, length, first}, of_values, width);
      multiply<true>({of_scores, 1, row}, length, rows, {queries, length, first}, of_keys, width);
      multiply<false>({of_scores, row, 1}, rows, length, {keys, length, 0}, of_queries, width);
      for (int64_t r = 0; r < rows; ++r) {
        memcpy(to + (first + r) * 3 * item.row, of_queries + r * width, channels * sizeof(float));
      }
    }
    for (int64_t r = 0; r < length; ++r) {
      float *at = to + r * 3 * item.row + heads.part;
      memcpy(at, of_keys + r * width, channels * sizeof(float));
      memcpy(at + heads.part, of_values + r * width, channels * sizeof(float));
    }
  }
}

}  // namespace
