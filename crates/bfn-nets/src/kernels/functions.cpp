// The kernels as functions of libtorch's tensors, with gradients.

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "../shim/derivative.h"
#include "../shim/guarded.h"
#include "dispatch.h"

namespace {

using bfn::kernels;
using bfn::parallel;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class Attention : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &given, int64_t heads, bool head_first) {
    const at::Tensor projected = given.contiguous();
    const bfn::Heads where = heads_of(projected, heads, head_first);
    at::Tensor attended = at::empty({where.batch, where.length, heads * where.channels}, projected.options());
    at::Tensor norms;
    if (given.requires_grad()) norms = at::empty({where.items(), where.length, 2}, projected.options());
    const float *from = projected.data_ptr<float>();
    float *to = attended.data_ptr<float>(), *of_scores = norms.defined() ? norms.data_ptr<float>() : nullptr;
    parallel(where.items() * where.blocks(), [&](int64_t begin, int64_t end) {
      at::Tensor scratch = at::empty({kernels().attention_scratch(where)}, at::kFloat);
      kernels().attention(where, from, to, of_scores, scratch.data_ptr<float>(), begin, end);
    });
    if (norms.defined()) {
      context->save_for_backward({projected, norms});
      context->saved_data["heads"] = heads;
      context->saved_data["head_first"] = head_first;
    }
    return attended;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &projected = saved[0], &norms = saved[1];
    const bfn::Heads where =
        heads_of(projected, context->saved_data["heads"].toInt(), context->saved_data["head_first"].toBool());
    const at::Tensor slope = slopes[0].contiguous();
    at::Tensor gradient = at::empty_like(projected);
    const float *from = projected.data_ptr<float>(), *of_scores = norms.data_ptr<float>();
    const float *of_output = slope.data_ptr<float>();
    float *to = gradient.data_ptr<float>();
    parallel(where.items(), [&](int64_t begin, int64_t end) {
      at::Tensor scratch = at::empty({kernels().attention_backward_scratch(where)}, at::kFloat);
      float *memory = scratch.data_ptr<float>();
      kernels().attention_backward(where, from, of_scores, of_output, to, memory, begin, end);
    });
    return {gradient, at::Tensor(), at::Tensor()};
  }

 private:
  static bfn::Heads heads_of(const at::Tensor &projected, int64_t heads, bool head_first) {
    const int64_t channels = projected.size(2) / 3 / heads;
    const int64_t part = head_first ? channels : heads * channels, head = head_first ? 3 * channels : channels;
    return {projected.size(0), projected.size(1), heads, channels, part, head};
  }
};

// Sums over rows are of this many parts, whatever the number of threads.
constexpr int64_t PARTS = 16;

// Calls `body(first, count, sums)` for parts of the rows; `sums` are `width` zeros of that part, to be added to.
// Returns the sums of all parts.
template <typename Body> at::Tensor sums_over(int64_t rows, int64_t width, Body body) {
  at::Tensor of_parts = at::zeros({PARTS, width}, at::kFloat), sums = at::zeros({width}, at::kFloat);
  float *to = of_parts.data_ptr<float>();
  parallel(PARTS, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = rows * part / PARTS;
      body(first, rows * (part + 1) / PARTS - first, to + part * width);
    }
  });
  kernels().add_rows(to, sums.data_ptr<float>(), PARTS, width);
  return sums;
}

class LayerNorm : public torch::autograd::Function<LayerNorm> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &given, const at::Tensor &weight,
                            const at::Tensor &bias, double epsilon) {
    const at::Tensor x = given.contiguous(), factors = weight.contiguous(), terms = bias.contiguous();
    const int64_t width = weight.numel(), rows = x.numel() / width;
    at::Tensor y = at::empty_like(x), statistics = at::empty({rows, 2}, x.options());
    const float *from = x.data_ptr<float>(), *factor = factors.data_ptr<float>(), *term = terms.data_ptr<float>();
    float *to = y.data_ptr<float>(), *pairs = statistics.data_ptr<float>();
    parallel(PARTS, [&](int64_t begin, int64_t end) {
      const int64_t first = rows * begin / PARTS, count = rows * end / PARTS - first;
      kernels().layer_norm(from + first * width, factor, term, static_cast<float>(epsilon), to + first * width,
                           pairs + 2 * first, count, width);
    });
    context->save_for_backward({x, factors, statistics});
    return y;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], slope = slopes[0].contiguous();
    const int64_t width = weight.numel();
    at::Tensor of_x = at::empty_like(x);
    const float *from = x.data_ptr<float>(), *factor = weight.data_ptr<float>(), *given = slope.data_ptr<float>();
    const float *pairs = saved[2].data_ptr<float>();
    float *to = of_x.data_ptr<float>();
    at::Tensor sums = sums_over(x.numel() / width, 2 * width, [&](int64_t first, int64_t count, float *part) {
      kernels().layer_norm_backward(from + first * width, factor, pairs + 2 * first, given + first * width,
                                    to + first * width, part, part + width, count, width);
    });
    return {of_x, sums.narrow(0, 0, width), sums.narrow(0, width, width), at::Tensor()};
  }
};

// x Wᵀ + b. libtorch's own function adds the bias's gradient up slowly.
class Linear : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &x, const at::Tensor &weight,
                            const std::optional<at::Tensor> &bias) {
    const int64_t inputs = weight.size(1), outputs = weight.size(0);
    const at::Tensor rows = x.reshape({-1, inputs});
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = outputs;
    at::Tensor y = at::empty(shape, x.options()), result = y.view({-1, outputs});
    if (bias.has_value()) {
      at::addmm_out(result, *bias, rows, weight.t());
    } else {
      at::mm_out(result, rows, weight.t());
    }
    context->save_for_backward({rows, weight});
    context->saved_data["shape"] = x.sizes();
    context->saved_data["has_bias"] = bias.has_value();
    return y;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &weight = saved[1];
    const at::Tensor slope = slopes[0].reshape({-1, weight.size(0)});
    at::Tensor of_x, of_weight, of_bias;
    if (context->needs_input_grad(0)) of_x = slope.mm(weight).view(context->saved_data["shape"].toIntVector());
    if (context->needs_input_grad(1)) of_weight = slope.t().mm(rows);
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) {
      const int64_t width = weight.size(0);
      const at::Tensor dense = slope.contiguous();
      const float *given = dense.data_ptr<float>();
      of_bias = sums_over(dense.size(0), width, [&](int64_t first, int64_t count, float *part) {
        kernels().add_rows(given + first * width, part, count, width);
      });
    }
    return {of_x, of_weight, of_bias};
  }
};

// GELU(x Wᵀ + b), of which the bias and its gradient take no pass of their own. `tracked`: whether there are gradients.
class LinearGelu : public torch::autograd::Function<LinearGelu> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &x, const at::Tensor &weight,
                            const at::Tensor &bias, bool tracked) {
    const int64_t inputs = weight.size(1), outputs = weight.size(0);
    const at::Tensor rows = x.reshape({-1, inputs}), mapped = rows.mm(weight.t());
    const at::Tensor y = tracked ? at::empty_like(mapped) : mapped, terms = bias.contiguous();
    // The derivative takes the place of what is no longer needed.
    float *from = mapped.data_ptr<float>(), *to = y.data_ptr<float>(), *derivative = tracked ? from : nullptr;
    const float *added = terms.data_ptr<float>();
    const int64_t count = mapped.size(0);
    parallel(PARTS, [&](int64_t begin, int64_t end) {
      const int64_t first = count * begin / PARTS, skipped = first * outputs;
      kernels().gelu(from + skipped, added, to + skipped, tracked ? derivative + skipped : nullptr,
                     count * end / PARTS - first, outputs);
    });
    context->save_for_backward({rows, weight, mapped});
    context->saved_data["shape"] = x.sizes();
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = outputs;
    return at::_unsafe_view(y, shape);
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &weight = saved[1], &derivatives = saved[2], slope = slopes[0].contiguous();
    const int64_t width = weight.size(0);
    at::Tensor of_mapped = at::empty_like(derivatives);
    const float *given = slope.data_ptr<float>(), *derivative = derivatives.data_ptr<float>();
    float *to = of_mapped.data_ptr<float>();
    at::Tensor of_bias = sums_over(rows.size(0), width, [&](int64_t first, int64_t count, float *part) {
      const int64_t skipped = first * width;
      kernels().gelu_backward(given + skipped, derivative + skipped, to + skipped, part, count, width);
    });
    at::Tensor of_x;
    if (context->needs_input_grad(0)) of_x = of_mapped.mm(weight).view(context->saved_data["shape"].toIntVector());
    return {of_x, of_mapped.t().mm(rows), of_bias, at::Tensor()};
  }
};

}  // namespace

extern "C" {

// `projected`: f32 on the CPU, [B, T, 3 width]: of each head queries, keys and values one after the other if
// `head_first`, else the queries of all heads, their keys, their values. `attended`: [B, T, width].
char *bfn_attention(at::Tensor *projected, int64_t heads, int head_first, at::Tensor **attended) {
  return guarded([&] { *attended = new at::Tensor(Attention::apply(*projected, heads, head_first != 0)); });
}

// `x`: [..., width], `weight` and `bias`: [width], a multiple of 16; all in f32 on the CPU.
char *bfn_layer_norm(at::Tensor *x, at::Tensor *weight, at::Tensor *bias, double epsilon, at::Tensor **y) {
  return guarded([&] { *y = new at::Tensor(LayerNorm::apply(*x, *weight, *bias, epsilon)); });
}

// `x`: [..., inputs], `weight`: [outputs, inputs], `bias`: [outputs] or null; all in f32 on the CPU. Autocast applies.
char *bfn_linear(at::Tensor *x, at::Tensor *weight, at::Tensor *bias, at::Tensor **y) {
  return guarded([&] {
    const std::optional<at::Tensor> added = bias == nullptr ? std::nullopt : std::optional(*bias);
    const bool cast = at::autocast::is_autocast_enabled(at::kCPU);
    *y = new at::Tensor(cast ? at::linear(*x, *weight, added) : Linear::apply(*x, *weight, added));
  });
}

// The same with a bias, and GELU of it.
char *bfn_linear_gelu(at::Tensor *x, at::Tensor *weight, at::Tensor *bias, at::Tensor **y) {
  return guarded([&] {
    if (at::autocast::is_autocast_enabled(at::kCPU)) {
      *y = new at::Tensor(at::gelu(at::linear(*x, *weight, *bias), "tanh"));
      return;
    }
    const bool learned = x->requires_grad() || weight->requires_grad() || bias->requires_grad();
    *y = new at::Tensor(LinearGelu::apply(*x, *weight, *bias, learned && at::GradMode::is_enabled()));
  });
}

}  // extern "C"
