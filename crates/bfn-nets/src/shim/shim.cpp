// What tch lacks of libtorch, as plain C functions for shim.rs.
//
// Every function returns null, or a message that the caller frees: no C++ exception leaves this file.
// A device is an integer as in torch-sys: -1 is the CPU, any other the index of a CUDA device.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>
#include <torch/headeronly/version.h>

#include <cstring>
#include <optional>
#include <vector>

#include "../kernels/lists.h"
#include "guarded.h"

namespace {

using Handles = at::Tensor **;

std::vector<at::Tensor> tensors(Handles handles, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) list.push_back(*handles[i]);
  return list;
}

std::vector<at::Tensor> gradients(Handles parameters, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const at::Tensor &gradient = parameters[i]->grad();
    if (gradient.defined()) list.push_back(gradient);
  }
  return list;
}

at::DeviceType type_of(int device) { return device < 0 ? at::kCPU : at::kCUDA; }

}  // namespace

extern "C" {

// The version of the headers that this was compiled with.
const char *bfn_headers_version() { return TORCH_VERSION; }

// How the loaded library was built, by its own report.
char *bfn_library_configuration(char **text) {
  return guarded([&] { *text = strdup(at::show_config().c_str()); });
}

char *bfn_cpu_capability(char **name) {
  return guarded([&] { *name = strdup(at::get_cpu_capability().c_str()); });
}

// Takes one AdamW step on every parameter that has a gradient; the step count is already incremented.
// If `skip` is not null and holds 1, nothing changes: the kernel itself reads it, so nothing waits for the device.
char *bfn_fused_adamw(Handles parameters, Handles first, Handles second, size_t count, at::Tensor *step,
                      at::Tensor *skip, double learning_rate, double beta_1, double beta_2, double weight_decay, double epsilon) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> values, slopes, means, squares;
    for (size_t i = 0; i < count; ++i) {
      const at::Tensor &gradient = parameters[i]->grad();
      if (!gradient.defined()) continue;
      values.push_back(*parameters[i]);
      slopes.push_back(gradient);
      means.push_back(*first[i]);
      squares.push_back(*second[i]);
    }
    if (values.empty()) return;
    if (step->is_cpu() && bfn::all_plain(values) && bfn::all_plain(slopes) && bfn::all_plain(means) &&
        bfn::all_plain(squares)) {
      if (skip != nullptr && skip->item<double>() == 1) return;
      const double count = step->item<double>();
      bfn::adamw(values, slopes, means, squares, {count, learning_rate, beta_1, beta_2, weight_decay, epsilon});
      return;
    }
    std::vector<at::Tensor> steps(values.size(), *step);
    std::optional<at::Tensor> found_inf;
    if (skip != nullptr) found_inf = *skip;
    at::_fused_adamw_(values, slopes, means, squares, /*max_exp_avg_sqs=*/{}, steps, learning_rate, beta_1, beta_2,
                      weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found_inf);
  });
}

// Scales the gradients in place so that the 2-norm of all together stays within the limit. `norm` is the norm before
// that, as a scalar on their device; it is zero if there is no gradient.
char *bfn_clip_gradients(Handles parameters, size_t count, double limit, at::Tensor **norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> slopes = gradients(parameters, count);
    if (slopes.empty()) {
      at::TensorOptions options = at::kFloat;
      if (count > 0) options = parameters[0]->options().requires_grad(false);
      *norm = new at::Tensor(at::zeros({}, options));
      return;
    }
    if (bfn::all_plain(slopes)) {
      const double total = bfn::norm(slopes), factor = limit / (total + 1e-6);
      // Also if it is NaN: what is not finite must not look as if it were.
      if (!(factor >= 1)) bfn::scale(slopes, static_cast<float>(factor));
      *norm = new at::Tensor(at::full({}, total, at::kFloat));
      return;
    }
    at::Tensor total = at::linalg_vector_norm(at::stack(at::_foreach_norm(slopes, 2)), 2);
    at::_foreach_mul_(slopes, at::clamp_max(limit / (total + 1e-6), 1.0));
    *norm = new at::Tensor(std::move(total));
  });
}

char *bfn_clear_gradients(Handles parameters, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad().reset();
  });
}

// Existing gradients are set to zero in place.
char *bfn_zero_gradients(Handles parameters, size_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> slopes = gradients(parameters, count);
    if (!slopes.empty()) at::_foreach_zero_(slopes);
  });
}

char *bfn_foreach_lerp(Handles from, Handles to, size_t count, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count == 0) return;
    const std::vector<at::Tensor> moved = tensors(from, count), goals = tensors(to, count);
    if (bfn::all_plain(moved) && bfn::all_plain(goals)) {
      bfn::approach(moved, goals, static_cast<float>(weight));
    } else {
      at::_foreach_lerp_(moved, goals, weight);
    }
  });
}

// Exchanges the contents of two lists, one pair at a time so that no second copy of all is needed. If that fails
// partway, for example for lack of memory, the pairs before are exchanged back.
char *bfn_foreach_swap(Handles left, Handles right, size_t count) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto swap = [&](size_t i) {
      at::Tensor kept = left[i]->clone();
      left[i]->copy_(*right[i]);
      right[i]->copy_(kept);
    };
    size_t done = 0;
    try {
      for (; done < count; ++done) swap(done);
    } catch (...) {
      while (done > 0) swap(--done);
      throw;
    }
  });
}

// Makes a copy in memory that a GPU can read from while the program goes on. (tch's own function would warn at every
// call: it names a device, which libtorch no longer expects.)
char *bfn_pin_memory(at::Tensor *tensor, at::Tensor **pinned) {
  return guarded([&] { *pinned = new at::Tensor(tensor->pin_memory()); });
}

char *bfn_autocast_enter(int device, int kind, int *was_enabled, int *former_kind) {
  return guarded([&] {
    at::DeviceType type = type_of(device);
    *was_enabled = at::autocast::is_autocast_enabled(type);
    *former_kind = static_cast<int>(at::autocast::get_autocast_dtype(type));
    at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(kind));
    at::autocast::set_autocast_enabled(type, true);
    at::autocast::increment_nesting();
  });
}

char *bfn_autocast_leave(int device, int was_enabled, int former_kind) {
  return guarded([&] {
    at::DeviceType type = type_of(device);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type, was_enabled != 0);
    at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(former_kind));
  });
}

char *bfn_set_tf32(int allowed) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(allowed != 0);
    at::globalContext().setAllowTF32CuDNN(allowed != 0);
  });
}

char *bfn_set_deterministic(int deterministic) {
  return guarded([&] {
    at::Context &context = at::globalContext();
    context.setDeterministicAlgorithms(deterministic != 0, /*warn_only=*/false);
    context.setDeterministicCuDNN(deterministic != 0);
    context.setBenchmarkCuDNN(deterministic == 0);
    // Nothing here reads memory that it has not written, so filling it first would be wasted work.
    context.setDeterministicFillUninitializedMemory(false);
  });
}

// Whether this thread's computations with parameters are tracked for their gradients.
int bfn_gradients_enabled() { return at::GradMode::is_enabled() ? 1 : 0; }

// Peak number of bytes taken by tensors on a CUDA device since the program began.
char *bfn_cuda_peak_memory(int device, int64_t *bytes) {
  return guarded([&] {
    auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[0].peak;
  });
}

}  // extern "C"
