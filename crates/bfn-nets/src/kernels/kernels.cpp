// The arithmetic of kernels.h. build.rs compiles this file once for each instruction set, with BFN_KERNELS the name of
// its table and BFN_LANES the number of f32 in a register.
//
// Whatever is not in an anonymous namespace could be shared by the linker between the three, and then run where its
// instructions do not exist. These files therefore use no function of the C++ library, and no header of libtorch.

#include "kernels.h"

#include "attention.h"
#include "registers.h"

namespace {

using bfn::AdamW;

// With z = x + bias: y = z σ(2u) where u = √(2/π) (z + 0.044715 z³), which is z (1 + tanh u) / 2. Its derivative is
// σ(2u) + 2 z u' σ(2u) (1 − σ(2u)).
inline void gelu_of(const float *x, const float *bias, float *y, float *derivative) {
  // 2 √(2/π), and that times 0.044715.
  const float a = 1.5957691216f, b = 0.0713548128f;
  const Vector z = load(x) + load(bias), square = z * z;
  const Vector share = 1 / (1 + exponential(-z * (a + b * square)));
  store(y, z * share);
  if (derivative != nullptr) store(derivative, share + z * share * (1 - share) * (a + 3 * b * square));
}

void gelu(const float *x, const float *bias, float *y, float *derivative, int64_t rows, int64_t width) {
  const int64_t whole = width / LANES * LANES;
  const size_t rest = (width - whole) * sizeof(float);
  for (int64_t i = 0; i < rows * width; i += width) {
    for (int64_t c = 0; c < whole; c += LANES) {
      gelu_of(x + i + c, bias + c, y + i + c, derivative == nullptr ? nullptr : derivative + i + c);
    }
    if (rest == 0) continue;
    float in[LANES] = {}, added[LANES] = {}, out[LANES], slope[LANES];
    memcpy(in, x + i + whole, rest);
    memcpy(added, bias + whole, rest);
    gelu_of(in, added, out, slope);
    memcpy(y + i + whole, out, rest);
    if (derivative != nullptr) memcpy(derivative + i + whole, slope, rest);
  }
}

void gelu_backward(const float *slope, const float *derivative, float *of_x, float *of_bias, int64_t rows,
                   int64_t width) {
  for (int64_t i = 0; i < rows * width; i += width) {
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES) {
      const Vector product = load(slope + i + c) * load(derivative + i + c);
      store(of_x + i + c, product);
      store(of_bias + c, load(of_bias + c) + product);
    }
    for (; c < width; ++c) of_bias[c] += of_x[i + c] = slope[i + c] * derivative[i + c];
  }
}

void layer_norm(const float *x, const float *weight, const float *bias, float epsilon, float *y, float *statistics,
                int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, x += width, y += width, statistics += 2) {
    Vector total{}, squares{};
    for (int64_t c = 0; c < width; c += LANES) total += load(x + c);
    const float mean = sum(total) / width;
    for (int64_t c = 0; c < width; c += LANES) {
      const Vector difference = load(x + c) - mean;
      squares += difference * difference;
    }
    const float factor = 1 / sqrtf(sum(squares) / width + epsilon);
    for (int64_t c = 0; c < width; c += LANES) {
      store(y + c, (load(x + c) - mean) * factor * load(weight + c) + load(bias + c));
    }
    statistics[0] = mean;
    statistics[1] = factor;
  }
}

// With n = (x − mean) / deviation and g = dy ∘ weight: dx = (g − mean(g) − n mean(g ∘ n)) / deviation.
void layer_norm_backward(const float *x, const float *weight, const float *statistics, const float *slope, float *of_x,
                         float *of_weight, float *of_bias, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, x += width, slope += width, of_x += width, statistics += 2) {
    const float mean = statistics[0], factor = statistics[1];
    Vector total{}, product{};
    for (int64_t c = 0; c < width; c += LANES) {
      const Vector normal = (load(x + c) - mean) * factor, given = load(slope + c), g = given * load(weight + c);
      total += g;
      product += g * normal;
      store(of_weight + c, load(of_weight + c) + given * normal);
      store(of_bias + c, load(of_bias + c) + given);
    }
    const float first = sum(total) / width, second = sum(product) / width;
    for (int64_t c = 0; c < width; c += LANES) {
      const Vector normal = (load(x + c) - mean) * factor, g = load(slope + c) * load(weight + c);
      store(of_x + c, (g - first - normal * second) * factor);
    }
  }
}

void add_rows(const float *from, float *sums, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r, from += width) {
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES) store(sums + c, load(sums + c) + load(from + c));
    for (; c < width; ++c) sums[c] += from[c];
  }
}

void adamw(const AdamW &step, float *x, const float *slope, float *first, float *second, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = slope[i];
    first[i] += (1 - step.beta_1) * (g - first[i]);
    second[i] = step.beta_2 * second[i] + (1 - step.beta_2) * g * g;
    x[i] = step.kept * x[i] - step.rate * first[i] / (sqrtf(second[i]) * step.correction + step.epsilon);
  }
}

double sum_of_squares(const float *x, int64_t count) {
  double total = 0;
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    Vector squares{};
    for (int64_t part = i; part < i + 16; part += LANES) {
      const Vector some = load(x + part);
      squares += some * some;
    }
    total += sum(squares);
  }
  for (; i < count; ++i) total += (double)x[i] * x[i];
  return total;
}

void scale(float *x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

void approach(float *x, const float *to, float weight, int64_t count) {
  if (weight < 0.5f) {
    for (int64_t i = 0; i < count; ++i) x[i] += weight * (to[i] - x[i]);
  } else {
    // Ends exactly at `to` for a weight of 1.
    for (int64_t i = 0; i < count; ++i) x[i] = to[i] - (1 - weight) * (to[i] - x[i]);
  }
}

}  // namespace

namespace bfn {

extern const Kernels BFN_KERNELS = {
    attention, attention_backward,  attention_scratch, attention_backward_scratch, gelu,  gelu_backward, layer_norm,
    layer_norm_backward, add_rows, adamw, sum_of_squares, scale, approach,
};

}  // namespace bfn
