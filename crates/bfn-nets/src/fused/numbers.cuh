// What the kernels of the fused layers share. Together with group_norm.cu and rows.cu, this is compiled for a GPU when a
// program first needs it (launcher.cpp, after device.cuh), and by the C++ compiler for the emulator (emulator.cpp), with
// NUMBER being `bf16` or `float`.
//
// Activations are NUMBERs, eight at a time; sums are in f32. Images are [N, pixels, channels], channels fastest. No
// kernel adds in an order that could change from run to run. KERNEL_OF(n): n blocks at a time have enough registers.

#define THREADS 256

struct bf16 {
  unsigned short bits;
};

// Eight numbers of a row -----------------------------------------------------------------------------------------------

DEVICE void load(const float *from, float (&to)[8]) {
  const float4 a = *reinterpret_cast<const float4 *>(from), b = *reinterpret_cast<const float4 *>(from + 4);
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

DEVICE void store(float *to, const float (&from)[8]) {
  *reinterpret_cast<float4 *>(to) = float4{from[0], from[1], from[2], from[3]};
  *reinterpret_cast<float4 *>(to + 4) = float4{from[4], from[5], from[6], from[7]};
}

DEVICE void load(const bf16 *from, float (&to)[8]) {
  const uint4 pairs = *reinterpret_cast<const uint4 *>(from);
  const unsigned words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
  UNROLL for (int i = 0; i < 4; ++i) {
    to[2 * i] = as_float(words[i] << 16);
    to[2 * i + 1] = as_float(words[i] & 0xffff0000u);
  }
}

DEVICE void store(bf16 *to, const float (&from)[8]) {
  *reinterpret_cast<uint4 *>(to) = uint4{rounded(from[0], from[1]), rounded(from[2], from[3]), rounded(from[4], from[5]),
                                         rounded(from[6], from[7])};
}

// Copies eight numbers as they are.
DEVICE void keep(bf16 *to, const bf16 *from) {
  *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(from);
}

DEVICE void keep(float *to, const float *from) {
  *reinterpret_cast<float4 *>(to) = *reinterpret_cast<const float4 *>(from);
  *reinterpret_cast<float4 *>(to + 4) = *reinterpret_cast<const float4 *>(from + 4);
}

DEVICE float sigmoid(float x) { return quotient(1.0f, 1.0f + exponential(-x)); }

DEVICE float warp_sum(float value) {
  UNROLL for (int other = 16; other > 0; other /= 2) value += SHUFFLE(value, other);
  return value;
}
