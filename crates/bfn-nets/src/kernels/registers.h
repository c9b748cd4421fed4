// Registers of f32, and the exponential. Included by kernels.cpp, once for each instruction set.
#pragma once

#include <stdint.h>
#include <string.h>

namespace {

constexpr int64_t LANES = BFN_LANES;

// A register of f32, and the integers with the same bits.
typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));

inline Vector load(const float *from) {
  Vector value;
  memcpy(&value, from, sizeof(value));
  return value;
}

inline void store(float *to, Vector value) { memcpy(to, &value, sizeof(value)); }

inline Vector all(float value) { return value - Vector{}; }

// Four of the lanes.
typedef float Quarter __attribute__((vector_size(16)));

inline float sum(Vector value) {
  Quarter parts[LANES / 4];
  memcpy(parts, &value, sizeof(value));
  for (int step = LANES / 8; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) parts[i] += parts[i + step];
  }
  return (parts[0][0] + parts[0][1]) + (parts[0][2] + parts[0][3]);
}

inline float larger(float a, float b) { return a > b ? a : b; }

inline float largest(Vector value) {
  Quarter parts[LANES / 4];
  memcpy(parts, &value, sizeof(value));
  for (int step = LANES / 8; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) parts[i] = parts[i] > parts[i + step] ? parts[i] : parts[i + step];
  }
  return larger(larger(parts[0][0], parts[0][1]), larger(parts[0][2], parts[0][3]));
}

// eˣ, within 2 units in the last place, for x clamped to [-87, 87]; NaN stays NaN.
//
// x = n ln 2 + r with |r| ≤ ln 2 / 2: a polynomial gives eʳ, and n is added to its exponent.
inline Vector exponential(Vector x) {
  x = x < -87.0f ? all(-87.0f) : x;
  x = x > 87.0f ? all(87.0f) : x;
  // At 1.5·2²³ the last place is 1, so that the sum rounds to an integer, which its lowest bits hold.
  const float shift = 12582912.0f;
  const Vector shifted = x * 1.44269504f + shift;
  const Vector n = shifted - shift;
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return (Vector)((Integers)p + ((Integers)shifted << 23));
}

// eˣ for x ≤ 0, and 0 where that is less than e⁻⁷⁰ and numbers smaller still would be slow to compute with.
inline Vector weight_of(Vector x) { return x < -70.0f ? Vector{} : exponential(x); }

inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

// `count` rounded up to whole registers.
inline int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

}  // namespace
