// The kernels of group_norm.cu and rows.cu, run on the GPU of a tensor or, for tests without one, by the emulator on a CPU.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <string>

namespace bfn::fused {

// The number of threads in a block.
constexpr int64_t THREADS = 256;

// The first argument of the kernels that normalise images; group_norm.cu has the same.
struct Norm {
  int pixels, channels, group, slab;
  float epsilon;
  int activates;
  unsigned dropped;
  float kept;
};

struct Grid {
  int64_t x, y = 1;
};

// The text of device.cuh, numbers.cuh, group_norm.cu and rows.cu, to be set before the first launch on a GPU.
void set_source(std::string source);

// Returns why kernels cannot run on a GPU, or an empty text. The first call for a GPU compiles the kernels.
const std::string &why_not(at::Device device);

// The most bytes of shared memory that a block may have.
int64_t shared_memory(at::Device device);

// Runs a kernel for NUMBERs of this kind, in the present stream of the device. `arguments`: their addresses.
void launch(const std::string &kernel, at::ScalarType number, at::Device device, Grid grid, int64_t shared,
            void **arguments);

// The same on a CPU, thread by thread.
void emulate(const std::string &kernel, at::ScalarType number, Grid grid, int64_t shared, void **arguments);

// Runs a kernel where the device is: its arguments have exactly the types of the kernel's parameters. No blocks, no work.
template <typename... Arguments>
void run(const std::string &kernel, at::ScalarType number, at::Device device, Grid grid, int64_t shared,
         Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  void *addresses[] = {static_cast<void *>(&arguments)...};
  if (device.is_cuda()) {
    launch(kernel, number, device, grid, shared, addresses);
  } else {
    emulate(kernel, number, grid, shared, addresses);
  }
}

}  // namespace bfn::fused
