// Products of matrices that fit into a cache. Included by kernels.cpp.
#pragma once

#include "registers.h"

namespace {

// A matrix in memory: an element is at data[row * rows + column * columns].
struct Matrix {
  const float *data;
  int64_t rows, columns;

  Matrix transposed() const { return {data, columns, rows}; }

  Matrix from_row(int64_t row) const { return {data + row * rows, rows, columns}; }
};

// Columns of a product that are computed at once.
constexpr int64_t PANEL = 2 * LANES;

// The right side of a product, from the row `first` of `rows`, packed in panels: all rows of the first PANEL columns,
// then of the next, of which the last are perhaps half as many. So packed, it is read in its order in memory.
struct Panels {
  const float *data;
  int64_t rows, first;

  // The panel of this width that begins at a column.
  const float *at(int64_t column, int64_t width) const { return data + column * rows + first * width; }
};

// to[r][c] (+)= Σ_k left[r][k] panel[k][c], for ROWS rows and VECTORS registers of columns.
template <int ROWS, int VECTORS, bool ADD>
inline void tile(Matrix left, int64_t inner, const float *panel, float *to, int64_t row) {
  Vector sums[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sums[r][v] = ADD ? load(to + r * row + v * LANES) : Vector{};
  }
  for (int64_t k = 0; k < inner; ++k) {
    Vector factors[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) factors[v] = load(panel + (k * VECTORS + v) * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Vector factor = all(left.data[r * left.rows + k * left.columns]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sums[r][v] += factor * factors[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) store(to + r * row + v * LANES, sums[r][v]);
  }
}

// As many rows as leave registers for the factors, of 32 with AVX512 and else of 16.
constexpr int MOST = LANES == 16 ? 8 : 6;

// Computes tiles of ROWS rows while there are as many, and returns where the others begin.
template <int ROWS, int VECTORS, bool ADD>
inline int64_t tiles(Matrix left, int64_t begin, int64_t rows, int64_t inner, const float *panel, float *to,
                     int64_t row) {
  for (; begin + ROWS <= rows; begin += ROWS) {
    tile<ROWS, VECTORS, ADD>(left.from_row(begin), inner, panel, to + begin * row, row);
  }
  return begin;
}

template <int VECTORS, bool ADD>
inline void columns(Matrix left, int64_t rows, int64_t inner, Panels right, int64_t column, float *to, int64_t row) {
  const float *panel = right.at(column, VECTORS * LANES);
  to += column;
  int64_t r = 0;
  if (VECTORS == 1) r = tiles<2 * MOST, VECTORS, ADD>(left, r, rows, inner, panel, to, row);
  r = tiles<MOST, VECTORS, ADD>(left, r, rows, inner, panel, to, row);
  r = tiles<2, VECTORS, ADD>(left, r, rows, inner, panel, to, row);
  tiles<1, VECTORS, ADD>(left, r, rows, inner, panel, to, row);
}

// to (+)= left · right; rows of `to` are dense, of `row` numbers: as many as `right` has columns.
template <bool ADD> void multiply(Matrix left, int64_t rows, int64_t inner, Panels right, float *to, int64_t row) {
  int64_t column = 0;
  for (; column + PANEL <= row; column += PANEL) columns<2, ADD>(left, rows, inner, right, column, to, row);
  if (column < row) columns<1, ADD>(left, rows, inner, right, column, to, row);
}

// Packs `rows` rows of `count` numbers of any strides, times `factor`, into panels. Columns that are added are zero.
inline void pack(Matrix from, int64_t rows, int64_t count, float factor, float *panels) {
  const int64_t all_columns = padded(count);
  for (int64_t first = 0; first < all_columns; first += PANEL) {
    const int64_t width = at_most(PANEL, all_columns - first), present = at_most(width, count - first);
    float *panel = panels + first * rows;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < present; ++c) panel[r * width + c] = factor * from.data[r * from.rows + (first + c) * from.columns];
      for (int64_t c = present; c < width; ++c) panel[r * width + c] = 0;
    }
  }
}

}  // namespace
