// A check of gradients that are not functions with gradients themselves.
#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

namespace {

// For the beginning of a backward pass: second derivatives would silently be wrong.
inline void expect_no_second_derivative() {
  TORCH_CHECK(!at::GradMode::is_enabled(), "second derivatives of this layer are not supported");
}

}  // namespace
