// Group normalisation of images, with activation and dropout.

// The normalisation of images, as launcher.h states it.
struct Norm {
  int pixels;
  int channels;
  // Channels in a group, and in a block: a multiple of 8 and of those in a group.
  int group;
  int slab;
  float epsilon;
  int activates;
  // Dropout: of 65536 numbers, how many become zero, and what the others are multiplied by.
  unsigned dropped;
  float kept;
};

// Dropout --------------------------------------------------------------------------------------------------------------

// Eight random 16-bit numbers, a function of the seed and of the place: Philox 4×32 with seven rounds, the fewest that
// pass all tests of Salmon et al. 2011.
DEVICE void philox(unsigned long long seed, unsigned long long place, unsigned (&numbers)[8]) {
  unsigned c[4] = {(unsigned)place, (unsigned)(place >> 32), 0u, 0u};
  unsigned key_0 = (unsigned)seed, key_1 = (unsigned)(seed >> 32);
  UNROLL for (int round = 0; round < 7; ++round) {
    const unsigned long long a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
    const unsigned next[4] = {(unsigned)(b >> 32) ^ c[1] ^ key_0, (unsigned)b, (unsigned)(a >> 32) ^ c[3] ^ key_1,
                              (unsigned)a};
    UNROLL for (int i = 0; i < 4; ++i) c[i] = next[i];
    key_0 += 0x9E3779B9u, key_1 += 0xBB67AE85u;
  }
  UNROLL for (int i = 0; i < 4; ++i) numbers[2 * i] = c[i] & 0xffffu, numbers[2 * i + 1] = c[i] >> 16;
}

// Multiplies by the mask of this place.
DEVICE void drop(const Norm &norm, const long long *seed, unsigned long long place, float (&values)[8]) {
  if (seed == nullptr) return;
  unsigned numbers[8];
  philox((unsigned long long)*seed, place, numbers);
  UNROLL for (int j = 0; j < 8; ++j) values[j] = numbers[j] < norm.dropped ? 0.0f : values[j] * norm.kept;
}

// Normalisation -------------------------------------------------------------------------------------------------------

// The part of an image that a block works on: `slab` channels of all pixels. Blocks that follow each other share an
// image, and lines of memory. A thread works on eight channels, of one group or two, of every `rows`-th pixel; some
// threads may have nothing to do.
struct Part {
  int thread, vectors, rows, row, column;
  bool works;
  // The first group of the thread, counted in the slab, and how many of its channels belong to it.
  int group, cut;
  float *partial, *totals;

  // `memory`: room for `sums` numbers of each thread, and for their totals.
  DEVICE Part(const Norm &norm, float *memory, int sums) {
    thread = THREAD;
    vectors = norm.slab / 8;
    rows = THREADS / vectors;
    row = thread / vectors;
    column = thread % vectors * 8;
    works = row < rows;
    group = column / norm.group;
    const int left = (group + 1) * norm.group - column;
    cut = left < 8 ? left : 8;
    partial = memory;
    totals = memory + sums * THREADS;
  }

  // Adds up the numbers of the threads with the same column: `totals[k · vectors + column / 8]` becomes the k-th sum.
  template <int SUMS> DEVICE void add_up(const float (&values)[SUMS]) {
    UNROLL for (int k = 0; k < SUMS; ++k) partial[k * THREADS + thread] = values[k];
    SYNCHRONISE();
    const int lane = thread % 32;
    UNROLL_4 for (int sum = thread / 32; sum < SUMS * vectors; sum += THREADS / 32) {
      const float *from = partial + sum / vectors * THREADS + sum % vectors;
      float total = 0;
      for (int r = lane; r < rows; r += 32) total += from[r * vectors];
      total = warp_sum(total);
      if (lane == 0) totals[sum] = total;
    }
    SYNCHRONISE();
  }

  // The means, over the two groups of this thread, of numbers of which `values` are the thread's sums by channel.
  DEVICE void group_means(const Norm &norm, const float (&values)[8], float (&means)[2]) {
    float of_thread[2] = {};
    UNROLL for (int j = 0; j < 8; ++j) of_thread[j < cut ? 0 : 1] += values[j];
    add_up(of_thread);
    means[0] = means[1] = 0;
    for (int v = 0, other = 0, end = norm.group; v < vectors; ++v) {
      // `other` is the first group of vector v, and `end` its end.
      while (end <= 8 * v) ++other, end += norm.group;
      UNROLL for (int k = 0; k < 2; ++k) {
        const int place = other + k - group;
        if (place == 0) means[0] += totals[k * vectors + v];
        if (place == 1) means[1] += totals[k * vectors + v];
      }
    }
    const float count = (float)norm.group * (float)norm.pixels;
    means[0] /= count, means[1] /= count;
  }

  DEVICE float of(const float (&pair)[2], int j) const { return j < cut ? pair[0] : pair[1]; }
};

// y = dropout(silu(weight · (x + added − mean) / deviation + bias)), without silu if `activates` is 0, and without
// dropout if `seed` is null. `added` is [N, channels] or null; `statistics` becomes mean and 1/deviation, [N, groups, 2].
KERNEL_OF(5) normalise(Norm norm, const NUMBER *RESTRICT x, const float *RESTRICT added,
                       const float *RESTRICT weight, const float *RESTRICT bias, const long long *RESTRICT seed,
                       NUMBER *RESTRICT y, float *RESTRICT statistics) {
  SHARED(memory);
  const int slabs = norm.channels / norm.slab, image = BLOCK_X / slabs, first = BLOCK_X % slabs * norm.slab;
  NUMBER *kept = reinterpret_cast<NUMBER *>(memory);
  Part part(norm, reinterpret_cast<float *>(memory + sizeof(NUMBER) * norm.pixels * norm.slab), 2);
  const unsigned long long start = (unsigned long long)image * norm.pixels * norm.channels + first + part.column;
  float plus[8] = {}, sums[8] = {}, means[2], variances[2];
  if (added != nullptr) load(added + (unsigned long long)image * norm.channels + first + part.column, plus);
  if (part.works) {
    UNROLL_4 for (int p = part.row; p < norm.pixels; p += part.rows) {
      float values[8];
      const NUMBER *from = x + start + (unsigned long long)p * norm.channels;
      load(from, values);
      // Only this thread reads it again.
      keep(kept + p * norm.slab + part.column, from);
      UNROLL for (int j = 0; j < 8; ++j) sums[j] += values[j] + plus[j];
    }
  }
  part.group_means(norm, sums, means);
  float offset[8], squares[8] = {};
  UNROLL for (int j = 0; j < 8; ++j) offset[j] = plus[j] - part.of(means, j);
  if (part.works) {
    for (int p = part.row; p < norm.pixels; p += part.rows) {
      float values[8];
      load(kept + p * norm.slab + part.column, values);
      UNROLL for (int j = 0; j < 8; ++j) squares[j] += (values[j] + offset[j]) * (values[j] + offset[j]);
    }
  }
  part.group_means(norm, squares, variances);
  if (!part.works) return;
  const float inverse[2] = {reciprocal_root(variances[0] + norm.epsilon), reciprocal_root(variances[1] + norm.epsilon)};
  if (part.row == 0) {
    // Threads that share a group write the same numbers.
    float *of_group = statistics + 2 * ((unsigned long long)image * (norm.channels / norm.group) + first / norm.group);
    of_group[2 * part.group] = means[0], of_group[2 * part.group + 1] = inverse[0];
    if (part.cut < 8) of_group[2 * part.group + 2] = means[1], of_group[2 * part.group + 3] = inverse[1];
  }
  float scale[8], term[8];
  load(weight + first + part.column, scale);
  load(bias + first + part.column, term);
  UNROLL for (int j = 0; j < 8; ++j) {
    scale[j] *= part.of(inverse, j);
    term[j] += offset[j] * scale[j];
  }
  UNROLL_2 for (int p = part.row; p < norm.pixels; p += part.rows) {
    float values[8];
    load(kept + p * norm.slab + part.column, values);
    UNROLL for (int j = 0; j < 8; ++j) {
      const float u = values[j] * scale[j] + term[j];
      values[j] = norm.activates ? u * sigmoid(u) : u;
    }
    const unsigned long long place = start + (unsigned long long)p * norm.channels;
    drop(norm, seed, place / 8, values);
    store(y + place, values);
  }
}

// The gradients of `normalise`: of x, [N, pixels, channels], and, for each image, of weight, bias and `added`,
// [N, channels] each, the last if it is not null.
KERNEL normalise_backward(Norm norm, const NUMBER *RESTRICT x, const float *RESTRICT added,
                          const float *RESTRICT weight, const float *RESTRICT bias, const long long *RESTRICT seed,
                          const float *RESTRICT statistics, const NUMBER *RESTRICT of_y, NUMBER *RESTRICT of_x,
                          float *RESTRICT of_weight, float *RESTRICT of_bias, float *RESTRICT of_added) {
  SHARED(memory);
  const int slabs = norm.channels / norm.slab, image = BLOCK_X / slabs, first = BLOCK_X % slabs * norm.slab;
  NUMBER *kept_x = reinterpret_cast<NUMBER *>(memory), *kept_y = kept_x + norm.pixels * norm.slab;
  Part part(norm, reinterpret_cast<float *>(memory + 2 * sizeof(NUMBER) * norm.pixels * norm.slab), 24);
  const unsigned long long start = (unsigned long long)image * norm.pixels * norm.channels + first + part.column;
  const unsigned long long of_image = (unsigned long long)image * norm.channels + first;
  const float *of_group =
      statistics + 2 * ((unsigned long long)image * (norm.channels / norm.group) + first / norm.group + part.group);
  const int second = part.cut < 8 ? 2 : 0;
  const float inverse[2] = {of_group[1], of_group[second + 1]}, means[2] = {of_group[0], of_group[second]};
  // Standardised: x · inverse + offset; before the activation: that · factor + term.
  float offset[8] = {}, factor[8], term[8];
  if (added != nullptr) load(added + of_image + part.column, offset);
  load(weight + first + part.column, factor);
  load(bias + first + part.column, term);
  UNROLL for (int j = 0; j < 8; ++j) offset[j] = (offset[j] - part.of(means, j)) * part.of(inverse, j);
  // By channel: the sums of the gradients before the activation, of their products with what is standardised, and of
  // the latter.
  float sums[24] = {};
  if (part.works) {
    UNROLL_2 for (int p = part.row; p < norm.pixels; p += part.rows) {
      float standard[8], g[8];
      const unsigned long long place = start + (unsigned long long)p * norm.channels;
      load(x + place, standard);
      load(of_y + place, g);
      keep(kept_x + p * norm.slab + part.column, x + place);
      drop(norm, seed, place / 8, g);
      UNROLL for (int j = 0; j < 8; ++j) {
        standard[j] = standard[j] * part.of(inverse, j) + offset[j];
        if (norm.activates) {
          const float u = standard[j] * factor[j] + term[j], s = sigmoid(u);
          g[j] *= s * (1.0f + u * (1.0f - s));
        }
        sums[j] += g[j];
        sums[8 + j] += g[j] * standard[j];
        sums[16 + j] += standard[j];
      }
      // Rounded, as the gradient of x is.
      store(kept_y + p * norm.slab + part.column, g);
    }
  }
  part.add_up(sums);
  // Over the thread's groups: the means of the gradients of what is standardised, and of their products with it.
  float of_terms[2] = {}, of_products[2] = {};
  UNROLL for (int k = 0; k < 2; ++k) {
    const int begin = (part.group + k) * norm.group;
    if (begin >= norm.slab) break;
    UNROLL_4 for (int channel = begin; channel < begin + norm.group; ++channel) {
      const float *total = part.totals + channel % 8 * part.vectors + channel / 8;
      const float one = weight[first + channel];
      of_terms[k] += one * total[0];
      of_products[k] += one * total[8 * part.vectors];
    }
    const float count = (float)norm.group * (float)norm.pixels;
    of_terms[k] /= count, of_products[k] /= count;
  }
  if (part.row == 0) {
    float total[3][8];
    UNROLL for (int j = 0; j < 8; ++j) {
      UNROLL for (int kind = 0; kind < 3; ++kind) {
        total[kind][j] = part.totals[(8 * kind + j) * part.vectors + part.column / 8];
      }
      total[2][j] = part.of(inverse, j) * (factor[j] * total[0][j] - (float)norm.pixels * part.of(of_terms, j) -
                                           total[2][j] * part.of(of_products, j));
    }
    store(of_bias + of_image + part.column, total[0]);
    store(of_weight + of_image + part.column, total[1]);
    if (of_added != nullptr) store(of_added + of_image + part.column, total[2]);
  }
  if (!part.works) return;
  // inverse · (factor · g − of_terms − standardised · of_products) as g · factor + x · slope + term.
  float slope[8];
  UNROLL for (int j = 0; j < 8; ++j) {
    const float one = part.of(inverse, j), product = part.of(of_products, j);
    factor[j] *= one;
    slope[j] = -one * one * product;
    term[j] = -one * (part.of(of_terms, j) + offset[j] * product);
  }
  UNROLL_2 for (int p = part.row; p < norm.pixels; p += part.rows) {
    float values[8], g[8];
    load(kept_x + p * norm.slab + part.column, values);
    load(kept_y + p * norm.slab + part.column, g);
    UNROLL for (int j = 0; j < 8; ++j) values[j] = g[j] * factor[j] + values[j] * slope[j] + term[j];
    store(of_x + start + (unsigned long long)p * norm.channels, values);
  }
}
