// The kernels for this processor, and libtorch's threads to run them on.
#pragma once

#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <ATen/Version.h>

#include <string>

#include "kernels.h"

namespace bfn {

// Returns the kernels for the instructions that libtorch's own kernels use here, so ATEN_CPU_CAPABILITY counts.
inline const Kernels &kernels() {
  static const Kernels &chosen = [&]() -> const Kernels & {
#if defined(__x86_64__)
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return avx512;
    if (capability == "AVX2") return avx2;
#endif
    return baseline;
  }();
  return chosen;
}

// Calls `body(begin, end)` for consecutive parts of 0 … count, on libtorch's threads.
//
// A tensor iterator over as many bytes, which nothing reads or writes, takes the place of at::parallel_for: that is
// parallel only if this file, too, is compiled and linked with the OpenMP that libtorch was built with.
template <typename Body> void parallel(int64_t count, Body body) {
  at::Tensor places = at::empty({count}, at::kByte);
  const char *first = static_cast<const char *>(places.const_data_ptr());
  at::TensorIterator::nullary_op(places).for_each(
      [&](char **place, const int64_t *, int64_t number) {
        const int64_t begin = *place - first;
        body(begin, begin + number);
      },
      /*grain_size=*/1);
}

}  // namespace bfn
