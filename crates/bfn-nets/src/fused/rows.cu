// Sums, biases, GELU and layer normalisation of rows of numbers.

// Sums and biases ------------------------------------------------------------------------------------------------------

// The rows of one of so many parts, nearly equal.
struct Share {
  long long first, end;

  DEVICE Share(long long rows, long long part, long long parts) {
    const long long each = (rows + parts - 1) / parts;
    first = each * part;
    end = first + each < rows ? first + each : rows;
  }
};

// y = a + b + bias for rows of `width` numbers, a multiple of 8; b may be null.
KERNEL add_biased(const NUMBER *RESTRICT a, const NUMBER *RESTRICT b, const float *RESTRICT bias, NUMBER *RESTRICT y,
                  long long rows, int width) {
  const int vectors = width / 8;
  const long long count = rows * vectors, step = (long long)THREADS * BLOCKS_X;
  for (long long i = (long long)BLOCK_X * THREADS + THREAD; i < count; i += step) {
    float left[8], right[8] = {}, term[8];
    load(a + 8 * i, left);
    if (b != nullptr) load(b + 8 * i, right);
    load(bias + i % vectors * 8, term);
    UNROLL for (int j = 0; j < 8; ++j) left[j] += right[j] + term[j];
    store(y + 8 * i, left);
  }
}

// partial[block] = the sum of the block's rows: [blocks, width].
KERNEL add_rows(const NUMBER *RESTRICT x, float *RESTRICT partial, long long rows, int width) {
  SHARED(memory);
  float *sums = reinterpret_cast<float *>(memory);
  const int thread = THREAD, vectors = width / 8, per_pass = vectors < THREADS ? vectors : THREADS;
  const int lanes = THREADS / per_pass, lane = thread / per_pass;
  const Share share(rows, BLOCK_X, BLOCKS_X);
  for (int begin = 0; begin < vectors; begin += per_pass) {
    const int vector = begin + thread % per_pass;
    const bool works = lane < lanes && vector < vectors;
    float sum[8] = {};
    if (works) {
      UNROLL_4 for (long long row = share.first + lane; row < share.end; row += lanes) {
        float values[8];
        load(x + row * width + 8 * vector, values);
        UNROLL for (int j = 0; j < 8; ++j) sum[j] += values[j];
      }
    }
    SYNCHRONISE();
    if (works) {
      UNROLL for (int j = 0; j < 8; ++j) sums[(lane * per_pass + thread % per_pass) * 8 + j] = sum[j];
    }
    SYNCHRONISE();
    if (works && lane == 0) {
      for (int other = 1; other < lanes; ++other) {
        UNROLL for (int j = 0; j < 8; ++j) sum[j] += sums[(other * per_pass + thread) * 8 + j];
      }
      store(partial + (long long)BLOCK_X * width + 8 * vector, sum);
    }
  }
}

// GELU in its approximation by tanh ------------------------------------------------------------------------------------

// x σ(2z) with z = √(2/π) (x + 0.044715 x³): the same as x (1 + tanh z) / 2.
DEVICE float gelu(float x) { return x * sigmoid(1.5957691216f * (x + 0.044715f * x * x * x)); }

DEVICE float gelu_slope(float x) {
  const float s = sigmoid(1.5957691216f * (x + 0.044715f * x * x * x));
  return s + x * s * (1.0f - s) * 1.5957691216f * (1.0f + 0.134145f * x * x);
}

// y = gelu(x + bias) for rows of `width` numbers, a multiple of 8.
KERNEL gelu_biased(const NUMBER *RESTRICT x, const float *RESTRICT bias, NUMBER *RESTRICT y, long long rows, int width) {
  const int vectors = width / 8;
  const long long count = rows * vectors, step = (long long)THREADS * BLOCKS_X;
  for (long long i = (long long)BLOCK_X * THREADS + THREAD; i < count; i += step) {
    float values[8], term[8];
    load(x + 8 * i, values);
    load(bias + i % vectors * 8, term);
    UNROLL for (int j = 0; j < 8; ++j) values[j] = gelu(values[j] + term[j]);
    store(y + 8 * i, values);
  }
}

// The gradient of x, and in `partial`, [2 block rows, width], that of the bias. A block has two rows of threads, each of
// which has eight columns.
KERNEL gelu_biased_backward(const NUMBER *RESTRICT x, const float *RESTRICT bias, const NUMBER *RESTRICT of_y,
                            NUMBER *RESTRICT of_x, float *RESTRICT partial, long long rows, int width) {
  const int across = THREADS / 2, column = (BLOCK_X * across + THREAD % across) * 8;
  if (column >= width) return;
  const long long part = 2 * BLOCK_Y + THREAD / across;
  const Share share(rows, part, 2 * BLOCKS_Y);
  float term[8], sum[8] = {};
  load(bias + column, term);
  UNROLL_4 for (long long row = share.first; row < share.end; ++row) {
    float values[8], g[8];
    load(x + row * width + column, values);
    load(of_y + row * width + column, g);
    UNROLL for (int j = 0; j < 8; ++j) {
      g[j] *= gelu_slope(values[j] + term[j]);
      sum[j] += g[j];
    }
    store(of_x + row * width + column, g);
  }
  store(partial + part * width + column, sum);
}

// Layer normalisation of a residual stream -----------------------------------------------------------------------------

// stream = x + branch + bias of the branch, y = weight · (stream − mean) / deviation + bias. A warp has a row of 256
// VECTORS numbers. Without a branch, the stream is x and is not written. `statistics`: mean and 1/deviation, [rows, 2].
template <int VECTORS>
DEVICE void add_and_normalise(const float *x, const NUMBER *branch, const float *of_branch, const float *weight,
                              const float *bias, float epsilon, float *stream, NUMBER *y, float *statistics,
                              long long rows) {
  const int thread = THREAD, lane = thread % 32, warps = THREADS / 32, width = 256 * VECTORS;
  for (long long row = (long long)BLOCK_X * warps + thread / 32; row < rows; row += (long long)BLOCKS_X * warps) {
    float values[VECTORS][8], sum = 0, squares = 0;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      const int column = v * 256 + lane * 8;
      load(x + row * width + column, values[v]);
      if (branch != nullptr) {
        float more[8], term[8];
        load(branch + row * width + column, more);
        load(of_branch + column, term);
        UNROLL for (int j = 0; j < 8; ++j) values[v][j] += more[j] + term[j];
        store(stream + row * width + column, values[v]);
      }
      UNROLL for (int j = 0; j < 8; ++j) sum += values[v][j];
    }
    const float mean = warp_sum(sum) / width;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      UNROLL for (int j = 0; j < 8; ++j) squares += (values[v][j] - mean) * (values[v][j] - mean);
    }
    const float inverse = reciprocal_root(warp_sum(squares) / width + epsilon);
    if (lane == 0) statistics[2 * row] = mean, statistics[2 * row + 1] = inverse;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      const int column = v * 256 + lane * 8;
      float factor[8], term[8];
      load(weight + column, factor);
      load(bias + column, term);
      UNROLL for (int j = 0; j < 8; ++j) values[v][j] = (values[v][j] - mean) * inverse * factor[j] + term[j];
      store(y + row * width + column, values[v]);
    }
  }
}

// The gradient of x, which is that of the stream; the same as NUMBERs for the branch, if there is one; and in
// partial[block], [blocks, 3, width], those of weight, bias and the branch's bias. `of_stream` may be null.
template <int VECTORS>
DEVICE void add_and_normalise_backward(const float *stream, const float *weight, const float *statistics,
                                       const float *of_stream, const NUMBER *of_y, float *of_x, NUMBER *of_branch,
                                       float *partial, long long rows, float *memory) {
  const int thread = THREAD, lane = thread % 32, warp = thread / 32, warps = THREADS / 32, width = 256 * VECTORS;
  float of_weight[VECTORS][8] = {}, of_bias[VECTORS][8] = {}, of_term[VECTORS][8] = {};
  for (long long row = (long long)BLOCK_X * warps + warp; row < rows; row += (long long)BLOCKS_X * warps) {
    const float mean = statistics[2 * row], inverse = statistics[2 * row + 1];
    float standard[VECTORS][8], g[VECTORS][8], sum = 0, product = 0;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      const int column = v * 256 + lane * 8;
      float factor[8];
      load(stream + row * width + column, standard[v]);
      load(of_y + row * width + column, g[v]);
      load(weight + column, factor);
      UNROLL for (int j = 0; j < 8; ++j) {
        standard[v][j] = (standard[v][j] - mean) * inverse;
        of_weight[v][j] += g[v][j] * standard[v][j];
        of_bias[v][j] += g[v][j];
        g[v][j] *= factor[j];
        sum += g[v][j];
        product += g[v][j] * standard[v][j];
      }
    }
    sum = warp_sum(sum) / width;
    product = warp_sum(product) / width;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      const int column = v * 256 + lane * 8;
      float more[8] = {};
      if (of_stream != nullptr) load(of_stream + row * width + column, more);
      UNROLL for (int j = 0; j < 8; ++j) {
        g[v][j] = inverse * (g[v][j] - sum - standard[v][j] * product) + more[j];
        of_term[v][j] += g[v][j];
      }
      store(of_x + row * width + column, g[v]);
      if (of_branch != nullptr) store(of_branch + row * width + column, g[v]);
    }
  }
  // The warps' sums, one kind after the other.
  float *to = partial + (long long)BLOCK_X * 3 * width;
  UNROLL for (int kind = 0; kind < 3; ++kind) {
    SYNCHRONISE();
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      store(memory + warp * width + v * 256 + lane * 8, kind == 0 ? of_weight[v] : kind == 1 ? of_bias[v] : of_term[v]);
    }
    SYNCHRONISE();
    for (int column = thread; column < width; column += THREADS) {
      float total = 0;
      UNROLL for (int other = 0; other < THREADS / 32; ++other) total += memory[other * width + column];
      to[kind * width + column] = total;
    }
  }
}

#define OF_WIDTH(VECTORS)                                                                                              \
  KERNEL add_and_normalise_##VECTORS(const float *x, const NUMBER *branch, const float *of_branch, const float *weight, \
                                     const float *bias, float epsilon, float *stream, NUMBER *y, float *statistics,    \
                                     long long rows) {                                                                 \
    add_and_normalise<VECTORS>(x, branch, of_branch, weight, bias, epsilon, stream, y, statistics, rows);              \
  }                                                                                                                    \
  KERNEL add_and_normalise_backward_##VECTORS(const float *stream, const float *weight, const float *statistics,       \
                                              const float *of_stream, const NUMBER *of_y, float *of_x,                 \
                                              NUMBER *of_branch, float *partial, long long rows) {                     \
    SHARED(memory);                                                                                                    \
    add_and_normalise_backward<VECTORS>(stream, weight, statistics, of_stream, of_y, of_x, of_branch, partial, rows,   \
                                        reinterpret_cast<float *>(memory));                                            \
  }

OF_WIDTH(1)
OF_WIDTH(2)
OF_WIDTH(3)
OF_WIDTH(4)
