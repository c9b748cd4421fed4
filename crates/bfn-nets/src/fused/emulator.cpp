// Runs the kernels on a CPU, so that they can be tested where there is no GPU.
//
// The threads of a block are fibers, which take turns: a fiber runs until it waits for the others of its block or warp.

#include "launcher.h"

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace bfn::fused {

namespace {

// Counts the fibers that have come to a place where they wait for each other.
struct Barrier {
  int64_t size = 0, waiting = 0, rounds = 0;
};

struct Block {
  int thread = 0;
  int block_x = 0, block_y = 0, blocks_x = 0, blocks_y = 0;
  unsigned char *memory = nullptr;
  // How often a fiber has gone past a barrier or come to its end.
  int64_t progress = 0;
  Barrier all;
  std::vector<Barrier> warps;
  std::vector<float> exchanged;
  ucontext_t scheduler;
  std::vector<ucontext_t> fibers;
  std::vector<std::vector<unsigned char>> stacks;
  std::vector<bool> done;
  std::function<void()> body;
};

// The block that this thread of the CPU is running.
thread_local Block *block = nullptr;

void wait(Barrier &barrier) {
  const int thread = block->thread;
  const int64_t round = barrier.rounds;
  if (++barrier.waiting == barrier.size) {
    barrier.waiting = 0;
    ++barrier.rounds;
    ++block->progress;
    return;
  }
  while (barrier.rounds == round) {
    swapcontext(&block->fibers[thread], &block->scheduler);
    block->thread = thread;
  }
}

float shuffle(float value, int other) {
  const int thread = block->thread;
  Barrier &warp = block->warps[thread / 32];
  block->exchanged[thread] = value;
  wait(warp);
  const float found = block->exchanged[thread ^ other];
  wait(warp);
  return found;
}

void start() {
  const int thread = block->thread;
  block->body();
  block->done[thread] = true;
  ++block->progress;
  swapcontext(&block->fibers[thread], &block->scheduler);
}

void run_block(Block &here) {
  constexpr size_t STACK = 128 * 1024;
  here.all = Barrier{THREADS};
  here.warps.assign(THREADS / 32, Barrier{32});
  here.exchanged.assign(THREADS, 0.0f);
  here.done.assign(THREADS, false);
  here.fibers.resize(THREADS);
  here.stacks.resize(THREADS);
  for (int thread = 0; thread < THREADS; ++thread) {
    here.stacks[thread].resize(STACK);
    getcontext(&here.fibers[thread]);
    here.fibers[thread].uc_stack.ss_sp = here.stacks[thread].data();
    here.fibers[thread].uc_stack.ss_size = STACK;
    here.fibers[thread].uc_link = nullptr;
    makecontext(&here.fibers[thread], start, 0);
  }
  block = &here;
  for (int64_t left = THREADS; left > 0;) {
    left = 0;
    const int64_t before = here.progress;
    for (int thread = 0; thread < THREADS; ++thread) {
      if (here.done[thread]) continue;
      here.thread = thread;
      swapcontext(&here.scheduler, &here.fibers[thread]);
      left += here.done[thread] ? 0 : 1;
    }
    TORCH_CHECK(left == 0 || here.progress > before, "threads of a block wait for others that have ended");
  }
  block = nullptr;
}

// What the kernels need, as device.cuh has it for GPUs.
#define DEVICE inline
#define KERNEL static void
#define KERNEL_OF(blocks) static void
#define SHARED(name) unsigned char *name = block->memory
#define RESTRICT
#define UNROLL
#define UNROLL_2
#define UNROLL_4
#define THREAD (block->thread)
#define BLOCK_X (block->block_x)
#define BLOCK_Y (block->block_y)
#define BLOCKS_X (block->blocks_x)
#define BLOCKS_Y (block->blocks_y)
#define SYNCHRONISE() wait(block->all)
#define SHUFFLE(value, other) shuffle(value, other)

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

struct alignas(16) float4 {
  float x, y, z, w;
};

float as_float(unsigned bits) {
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

float exponential(float x) { return std::exp(x); }

float quotient(float a, float b) { return a / b; }

float reciprocal_root(float x) { return 1.0f / std::sqrt(x); }

unsigned rounded(float low, float high) {
  const auto bits = [](float number) { return static_cast<unsigned>(c10::BFloat16(number).x); };
  return bits(low) | bits(high) << 16;
}

namespace of_bf16 {
#define NUMBER bf16
#include "numbers.cuh"
#include "group_norm.cu"
#include "rows.cu"
#undef NUMBER
}  // namespace of_bf16

#undef THREADS
#undef OF_WIDTH

namespace of_float {
#define NUMBER float
#include "numbers.cuh"
#include "group_norm.cu"
#include "rows.cu"
#undef NUMBER
}  // namespace of_float

#undef THREADS

// The arguments are passed as launcher.h declares them.
static_assert(sizeof(of_bf16::Norm) == sizeof(Norm) && sizeof(of_float::Norm) == sizeof(Norm));
static_assert(offsetof(of_bf16::Norm, kept) == offsetof(Norm, kept));

// A kernel that takes its arguments by their addresses.
using Kernel = std::function<void(void **)>;

template <typename... Parameters, size_t... Places>
Kernel by_address(void (*kernel)(Parameters...), std::index_sequence<Places...>) {
  return [kernel](void **arguments) { kernel(*static_cast<Parameters *>(arguments[Places])...); };
}

template <typename... Parameters> Kernel by_address(void (*kernel)(Parameters...)) {
  return by_address(kernel, std::index_sequence_for<Parameters...>());
}

#define ENTRY(space, kernel) {#kernel, by_address(space::kernel)}
#define ENTRIES_OF_WIDTH(space, vectors) \
  ENTRY(space, add_and_normalise_##vectors), ENTRY(space, add_and_normalise_backward_##vectors)
#define KERNELS(space)                                                                                            \
  ENTRY(space, normalise), ENTRY(space, normalise_backward), ENTRY(space, add_biased), ENTRY(space, add_rows),    \
      ENTRY(space, gelu_biased), ENTRY(space, gelu_biased_backward), ENTRIES_OF_WIDTH(space, 1),                  \
      ENTRIES_OF_WIDTH(space, 2), ENTRIES_OF_WIDTH(space, 3), ENTRIES_OF_WIDTH(space, 4)

}  // namespace

void emulate(const std::string &kernel, at::ScalarType number, Grid grid, int64_t shared, void **arguments) {
  static const std::map<std::string, Kernel> single = {KERNELS(of_float)}, half = {KERNELS(of_bf16)};
  const Kernel &body = (number == at::kFloat ? single : half).at(kernel);
  std::vector<float> memory(shared / sizeof(float) + 4);
  Block here;
  here.memory = reinterpret_cast<unsigned char *>(memory.data());
  here.memory += -reinterpret_cast<uintptr_t>(here.memory) % 16;
  here.blocks_x = static_cast<int>(grid.x);
  here.blocks_y = static_cast<int>(grid.y);
  here.body = [&] { body(arguments); };
  for (here.block_y = 0; here.block_y < here.blocks_y; ++here.block_y) {
    for (here.block_x = 0; here.block_x < here.blocks_x; ++here.block_x) {
      // Shared memory holds anything at first, on a GPU too.
      std::fill(memory.begin(), memory.end(), NAN);
      run_block(here);
    }
  }
}

}  // namespace bfn::fused
