// The fused layers as functions of libtorch's tensors, with gradients.

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "../shim/derivative.h"
#include "../shim/guarded.h"
#include "launcher.h"

namespace {

using bfn::fused::Grid;
using bfn::fused::Norm;
using bfn::fused::run;
using bfn::fused::THREADS;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto IMAGES = at::MemoryFormat::ChannelsLast;

// Pointers of exactly the types of the kernels' parameters; NUMBERs have no type here.
const void *numbers(const at::Tensor &tensor) { return tensor.const_data_ptr(); }
void *room(const at::Tensor &tensor) { return tensor.data_ptr(); }
float *singles(const at::Tensor &tensor) { return tensor.defined() ? tensor.data_ptr<float>() : nullptr; }
const float *given(const at::Tensor &tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

int64_t up(int64_t count, int64_t by) { return (count + by - 1) / by; }

// Blocks for kernels whose threads go through a list: enough for the largest GPUs.
Grid blocks_for(int64_t items) { return {std::min<int64_t>(up(items, THREADS), 132 * 16)}; }

using Optional = std::optional<at::Tensor>;

// The tensor at an address that a kernel can read sixteen bytes from; a view may begin elsewhere.
at::Tensor aligned(const at::Tensor &tensor) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16 == 0 ? tensor : tensor.clone();
}

at::Tensor dense(const at::Tensor &tensor) { return aligned(tensor.contiguous()); }
at::Tensor dense_images(const at::Tensor &tensor) { return aligned(tensor.contiguous(IMAGES)); }
at::Tensor dense_singles(const at::Tensor &tensor) { return dense(tensor.to(at::kFloat)); }
at::Tensor dense_singles(const Optional &tensor) {
  return tensor.has_value() ? dense_singles(*tensor) : at::Tensor();
}

// Adds up the rows of [rows, width].
at::Tensor row_sum(const at::Tensor &x, int64_t rows, int64_t width) {
  const Grid grid{std::min<int64_t>(up(rows, 32), 132 * 4)};
  at::Tensor partial = at::empty({grid.x, width}, x.options().dtype(at::kFloat));
  run("add_rows", x.scalar_type(), x.device(), grid, THREADS * 8 * sizeof(float), numbers(x), singles(partial),
      static_cast<long long>(rows), static_cast<int>(width));
  return partial.sum(0);
}

// Sums of a thread that `normalise` and its gradient add up over threads.
constexpr int64_t SUMS = 2, SUMS_BACKWARD = 24;

int64_t shared_of(int64_t pixels, int64_t slab, at::ScalarType number, bool backward) {
  const int64_t copies = backward ? 2 : 1, sums = backward ? SUMS_BACKWARD : SUMS;
  return copies * pixels * slab * static_cast<int64_t>(at::elementSize(number)) + sums * (THREADS + slab / 8) * 4;
}

// Channels of a block: whole groups, and, if the channels allow it, whole sectors of memory and enough work for every
// thread.
int64_t slab_of(int64_t pixels, int64_t channels, int64_t group) {
  int64_t slab = std::lcm(group, int64_t{8});
  while ((slab < 16 || pixels * slab < 32 * THREADS) && 2 * slab <= 128 && channels % (2 * slab) == 0) slab *= 2;
  return slab;
}

bool norm_fits(at::Device device, at::ScalarType number, int64_t pixels, int64_t channels, int64_t groups) {
  if (channels % 8 != 0 || channels % groups != 0) return false;
  const int64_t group = channels / groups, slab = slab_of(pixels, channels, group);
  // Eight channels in a row belong to two groups at most.
  return group >= 4 && group != 5 && slab <= 8 * THREADS && channels % slab == 0 &&
         shared_of(pixels, slab, number, true) <= bfn::fused::shared_memory(device);
}

// What group normalisation does besides.
struct Extras {
  int64_t groups;
  double epsilon;
  bool activates;
  double dropout;
};

Norm norm_of(const at::Tensor &x, const Extras &extras) {
  const int64_t channels = x.size(1), pixels = x.size(2) * x.size(3), group = channels / extras.groups;
  const double dropped = std::min(std::round(extras.dropout * 65536), 65535.0);
  return {static_cast<int>(pixels),
          static_cast<int>(channels),
          static_cast<int>(group),
          static_cast<int>(slab_of(pixels, channels, group)),
          static_cast<float>(extras.epsilon),
          extras.activates ? 1 : 0,
          static_cast<unsigned>(dropped),
          static_cast<float>(65536 / (65536 - dropped))};
}

class GroupNorm : public torch::autograd::Function<GroupNorm> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &images, const Optional &added,
                            const at::Tensor &weight, const at::Tensor &bias, at::ScalarType number, int64_t groups,
                            double epsilon, bool activates, double dropout) {
    const at::Tensor x = dense_images(images.to(number)), plus = dense_singles(added);
    const at::Tensor factors = dense_singles(weight), terms = dense_singles(bias);
    const Norm norm = norm_of(x, {groups, epsilon, activates, dropout});
    at::Tensor seed;
    // A number on the device, so that recorded work draws another one each time.
    if (dropout > 0) seed = at::empty({1}, x.options().dtype(at::kLong)).random_();
    at::Tensor y = at::empty_like(x), statistics = at::empty({x.size(0), groups, 2}, factors.options());
    run("normalise", number, x.device(), grid_of(norm, x), shared_of(norm.pixels, norm.slab, number, false), norm,
        numbers(x), given(plus), given(factors), given(terms), seed_of(seed), room(y), singles(statistics));
    context->save_for_backward({x, plus, factors, terms, seed, statistics});
    context->saved_data["groups"] = groups;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["activates"] = activates;
    context->saved_data["dropout"] = dropout;
    return y;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &plus = saved[1], &seed = saved[4];
    auto &data = context->saved_data;
    const Norm norm = norm_of(x, {data["groups"].toInt(), data["epsilon"].toDouble(), data["activates"].toBool(),
                                  data["dropout"].toDouble()});
    const at::Tensor of_y = dense_images(slopes[0].to(x.scalar_type()));
    at::Tensor of_x = at::empty_like(x);
    const int64_t kinds = plus.defined() ? 3 : 2;
    at::Tensor sums = at::empty({kinds, x.size(0), x.size(1)}, saved[2].options());
    at::Tensor of_weight = sums[0], of_bias = sums[1], of_added;
    if (plus.defined()) of_added = sums[2];
    run("normalise_backward", x.scalar_type(), x.device(), grid_of(norm, x),
        shared_of(norm.pixels, norm.slab, x.scalar_type(), true), norm, numbers(x), given(plus), given(saved[2]),
        given(saved[3]), seed_of(seed), given(saved[5]), numbers(of_y), room(of_x), singles(of_weight),
        singles(of_bias), singles(of_added));
    const at::Tensor of_parameters = sums.narrow(0, 0, 2).sum(1);
    // Where x was of another type, libtorch casts its gradient.
    return {of_x,         of_added,     of_parameters[0], of_parameters[1], at::Tensor(),
            at::Tensor(), at::Tensor(), at::Tensor(),     at::Tensor()};
  }

 private:
  static Grid grid_of(const Norm &norm, const at::Tensor &x) { return {norm.channels / norm.slab * x.size(0)}; }

  static const long long *seed_of(const at::Tensor &seed) {
    static_assert(sizeof(long long) == sizeof(int64_t));
    return seed.defined() ? static_cast<const long long *>(seed.const_data_ptr()) : nullptr;
  }
};

// a + b + bias for images [N, C, H, W], or a + bias.
class AddBiased : public torch::autograd::Function<AddBiased> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &a, const Optional &b, const at::Tensor &bias) {
    const at::Tensor left = dense_images(a), terms = dense_singles(bias);
    const at::Tensor right = b.has_value() ? dense_images(b->to(a.scalar_type())) : at::Tensor();
    at::Tensor y = at::empty_like(left);
    const int64_t width = a.size(1), rows = a.numel() / width;
    run("add_biased", a.scalar_type(), a.device(), blocks_for(a.numel() / 8), 0, numbers(left),
        right.defined() ? numbers(right) : nullptr, given(terms), room(y), static_cast<long long>(rows),
        static_cast<int>(width));
    context->saved_data["kind"] = a.scalar_type();
    context->saved_data["has_other"] = b.has_value();
    return y;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    auto &data = context->saved_data;
    const at::Tensor slope = dense_images(slopes[0].to(data["kind"].toScalarType()));
    const int64_t width = slope.size(1);
    return {slope, data["has_other"].toBool() ? slope : at::Tensor(), row_sum(slope, slope.numel() / width, width)};
  }
};

// gelu(x + bias) for [..., width].
class GeluBiased : public torch::autograd::Function<GeluBiased> {
 public:
  static at::Tensor forward(AutogradContext *context, const at::Tensor &given_x, const at::Tensor &bias) {
    const at::Tensor x = dense(given_x), terms = dense_singles(bias);
    at::Tensor y = at::empty_like(x);
    const int64_t width = x.size(-1), rows = x.numel() / width;
    run("gelu_biased", x.scalar_type(), x.device(), blocks_for(x.numel() / 8), 0, numbers(x), given(terms), room(y),
        static_cast<long long>(rows), static_cast<int>(width));
    context->save_for_backward({x, terms});
    return y;
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], of_y = dense(slopes[0].to(x.scalar_type()));
    const int64_t width = x.size(-1), rows = x.numel() / width, across = up(width, 4 * THREADS);
    const Grid grid{across, std::min<int64_t>(up(rows, 32), up(132 * 8, across))};
    at::Tensor of_x = at::empty_like(x), partial = at::empty({2 * grid.y, width}, saved[1].options());
    run("gelu_biased_backward", x.scalar_type(), x.device(), grid, 0, numbers(x), given(saved[1]), numbers(of_y),
        room(of_x), singles(partial), static_cast<long long>(rows), static_cast<int>(width));
    return {of_x, partial.sum(0)};
  }
};

// The stream x + branch + bias of the branch, and its layer normalisation; without a branch, that of x.
class AddAndNormalise : public torch::autograd::Function<AddAndNormalise> {
 public:
  static variable_list forward(AutogradContext *context, const at::Tensor &given_x, const Optional &given_branch,
                               const Optional &of_branch, const at::Tensor &weight, const at::Tensor &bias,
                               at::ScalarType number, double epsilon) {
    const at::Tensor x = dense(given_x), factors = dense_singles(weight), terms = dense_singles(bias);
    const at::Tensor term = dense_singles(of_branch);
    const at::Tensor branch = given_branch.has_value() ? dense(given_branch->to(number)) : at::Tensor();
    const int64_t width = x.size(-1), rows = x.numel() / width;
    at::Tensor stream = branch.defined() ? at::empty_like(x) : x, y = at::empty(x.sizes(), x.options().dtype(number));
    at::Tensor statistics = at::empty({rows, 2}, x.options());
    run("add_and_normalise_" + std::to_string(width / 256), number, x.device(), {std::min<int64_t>(up(rows, 8), 132 * 16)},
        0, given(x), branch.defined() ? numbers(branch) : nullptr, given(term), given(factors), given(terms),
        static_cast<float>(epsilon), singles(stream), room(y), singles(statistics), static_cast<long long>(rows));
    context->save_for_backward({stream, factors, statistics});
    context->saved_data["branch"] = branch.defined();
    // After the last block, nothing reads the stream itself.
    context->set_materialize_grads(false);
    context->saved_data["kind"] = number;
    return branch.defined() ? variable_list{stream, y} : variable_list{y};
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    expect_no_second_derivative();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &stream = saved[0];
    const bool has_branch = context->saved_data["branch"].toBool();
    const at::ScalarType number = context->saved_data["kind"].toScalarType();
    const int64_t width = stream.size(-1), rows = stream.numel() / width;
    const at::Tensor of_stream = has_branch && slopes[0].defined() ? dense_singles(slopes[0]) : at::Tensor();
    const at::Tensor &slope = slopes[has_branch ? 1 : 0];
    const at::Tensor of_y = slope.defined() ? dense(slope.to(number))
                                            : at::zeros(stream.sizes(), stream.options().dtype(number));
    at::Tensor of_x = at::empty_like(stream), of_branch;
    if (has_branch) of_branch = at::empty(stream.sizes(), stream.options().dtype(number));
    const Grid grid{std::min<int64_t>(up(rows, 8), 132)};
    at::Tensor partial = at::empty({grid.x, 3, width}, stream.options());
    run("add_and_normalise_backward_" + std::to_string(width / 256), number, stream.device(), grid,
        THREADS / 32 * width * 4, given(stream), given(saved[1]), given(saved[2]), given(of_stream), numbers(of_y),
        singles(of_x), has_branch ? room(of_branch) : nullptr, singles(partial), static_cast<long long>(rows));
    const at::Tensor sums = partial.sum(0);
    return {of_x,    of_branch,    has_branch ? sums[2] : at::Tensor(), sums[0],
            sums[1], at::Tensor(), at::Tensor()};
  }
};

Optional or_none(at::Tensor *tensor) { return tensor == nullptr ? std::nullopt : Optional(*tensor); }

at::ScalarType number_of(int single) { return single != 0 ? at::kFloat : at::kBFloat16; }

}  // namespace

extern "C" {

// `text`: as set_source takes it.
char *bfn_fused_source(const char *text, size_t length) {
  return guarded([&] { bfn::fused::set_source(std::string(text, length)); });
}

// `reason` becomes null if the kernels run on this GPU, else why they do not, for the caller to free.
char *bfn_fused_why_not(int device, char **reason) {
  return guarded([&] {
    const std::string &found = bfn::fused::why_not(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *reason = found.empty() ? nullptr : strdup(found.c_str());
  });
}

int bfn_fused_autocasts() {
  return at::autocast::is_autocast_enabled(at::kCUDA) && at::autocast::get_autocast_dtype(at::kCUDA) == at::kBFloat16;
}

char *bfn_fused_norm_fits(at::Tensor *x, int single, int64_t pixels, int64_t channels, int64_t groups, int *fits) {
  return guarded([&] { *fits = norm_fits(x->device(), number_of(single), pixels, channels, groups) ? 1 : 0; });
}

// `x`: [N, C, H, W], `added`: [N, C] or null, `weight`, `bias`: [C]. `y`: f32 if `single`, else bf16.
char *bfn_fused_group_norm(at::Tensor *x, at::Tensor *added, at::Tensor *weight, at::Tensor *bias, int single,
                           int64_t groups, double epsilon, int activates, double dropout, at::Tensor **y) {
  return guarded([&] {
    *y = new at::Tensor(GroupNorm::apply(*x, or_none(added), *weight, *bias, number_of(single), groups, epsilon,
                                         activates != 0, dropout));
  });
}

// `a`, `b`: [N, C, H, W], the latter or null, `bias`: [C], C a multiple of 8.
char *bfn_fused_add_biased(at::Tensor *a, at::Tensor *b, at::Tensor *bias, at::Tensor **y) {
  return guarded([&] { *y = new at::Tensor(AddBiased::apply(*a, or_none(b), *bias)); });
}

// `x`: [..., C], `bias`: [C], C a multiple of 8.
char *bfn_fused_gelu_biased(at::Tensor *x, at::Tensor *bias, at::Tensor **y) {
  return guarded([&] { *y = new at::Tensor(GeluBiased::apply(*x, *bias)); });
}

// `x`: f32 [..., C], `branch`: [..., C] and `of_branch`: [C], both or neither; `weight`, `bias`: [C], C 256 to 1024 by
// steps of 256. `stream` is written if there is a branch.
char *bfn_fused_add_and_normalise(at::Tensor *x, at::Tensor *branch, at::Tensor *of_branch, at::Tensor *weight,
                                  at::Tensor *bias, int single, double epsilon, at::Tensor **stream, at::Tensor **y) {
  return guarded([&] {
    const variable_list results = AddAndNormalise::apply(*x, or_none(branch), or_none(of_branch), *weight, *bias,
                                                         number_of(single), epsilon);
    if (branch != nullptr) *stream = new at::Tensor(results.front());
    *y = new at::Tensor(results.back());
  });
}

}  // extern "C"
