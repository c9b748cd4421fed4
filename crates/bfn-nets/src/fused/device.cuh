// What the kernels need of a GPU; emulator.cpp has the same for a CPU.

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
#define KERNEL_OF(blocks) extern "C" __global__ void __launch_bounds__(256, blocks)
#define SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define RESTRICT __restrict__
#define UNROLL _Pragma("unroll")
#define UNROLL_2 _Pragma("unroll 2")
#define UNROLL_4 _Pragma("unroll 4")
#define THREAD ((int)threadIdx.x)
#define BLOCK_X ((int)blockIdx.x)
#define BLOCK_Y ((int)blockIdx.y)
#define BLOCKS_X ((int)gridDim.x)
#define BLOCKS_Y ((int)gridDim.y)
#define SYNCHRONISE() __syncthreads()
#define SHUFFLE(value, other) __shfl_xor_sync(0xffffffffu, value, other)

DEVICE float as_float(unsigned bits) { return __uint_as_float(bits); }
DEVICE float exponential(float x) { return __expf(x); }
DEVICE float quotient(float a, float b) { return __fdividef(a, b); }
DEVICE float reciprocal_root(float x) { return rsqrtf(x); }

// Two numbers rounded to bf16, the first in the lower half.
DEVICE unsigned rounded(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
