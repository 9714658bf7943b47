// What the searching kernels share: reading elements, keys that order finds, and one tile of
// similarities by plain multiply-add.
//
// ELEMENT chooses what the descriptors are: 0 float32 (also when it is not given), 1 float16,
// 2 bfloat16.  Products are summed in float32, whatever they are.
#pragma once

#ifndef CUDA_EMU
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#ifndef ELEMENT
#define ELEMENT 0
#endif

#if ELEMENT == 0
typedef float Element;
__device__ __forceinline__ float to_float(Element value) { return value; }
#elif ELEMENT == 1
typedef __half Element;
__device__ __forceinline__ float to_float(Element value) { return __half2float(value); }
#else
typedef __nv_bfloat16 Element;
__device__ __forceinline__ float to_float(Element value) { return __bfloat162float(value); }
#endif

typedef unsigned long long Key;

constexpr int TILE_QUERIES = 64;
constexpr int TILE_CANDIDATES = 64;
constexpr int CHUNK = 16;      // channels of both tiles in shared memory at a time
constexpr int THREADS = 128;   // 8 groups of queries × 16 lanes of candidates
constexpr int OWN_QUERIES = 8; // rows of a thread's part of the tile
constexpr int OWN_CANDIDATES = 4;
constexpr int LANES = 16; // threads that share their queries; half a warp
constexpr int PITCH = 68; // of a channel in shared memory: 16-byte rows, few bank conflicts
constexpr int LOADS = TILE_QUERIES * CHUNK / THREADS;

// A key is larger the better the find is; 0 is "none".  The upper half orders the values, the lower
// one makes the lowest place win among equal values.
__device__ __forceinline__ Key key_of(unsigned order, unsigned place) {
  return (static_cast<Key>(order) << 32) | (0xFFFFFFFFu - place);
}

__device__ __forceinline__ unsigned place_of(Key key) {
  return 0xFFFFFFFFu - static_cast<unsigned>(key);
}

// Unsigned numbers that compare as the floats do; -0 must have been turned into 0 before.
__device__ __forceinline__ unsigned order_of(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
}

// NaN and infinity differ from themselves when taken from themselves.
__device__ __forceinline__ bool is_finite(float value) {
  return __fsub_rn(value, value) == 0.0f;
}

// The part of two tiles that is in shared memory, twice: one is read while the other is filled.
struct alignas(16) Chunks {
  float queries[2][CHUNK][PITCH];
  float candidates[2][CHUNK][PITCH];
};

// Adds the products of one chunk to a thread's 8 × 4 sums.
__device__ __forceinline__ void multiply_chunk(const Chunks& chunks, int side, int group, int lane,
                                               float (&sums)[OWN_QUERIES][OWN_CANDIDATES]) {
#pragma unroll
  for (int channel = 0; channel < CHUNK; ++channel) {
    float query[OWN_QUERIES];
    float candidate[OWN_CANDIDATES];
    const float4 low =
        *reinterpret_cast<const float4*>(&chunks.queries[side][channel][group * OWN_QUERIES]);
    const float4 high =
        *reinterpret_cast<const float4*>(&chunks.queries[side][channel][group * OWN_QUERIES + 4]);
    const float4 four =
        *reinterpret_cast<const float4*>(&chunks.candidates[side][channel][lane * OWN_CANDIDATES]);
    query[0] = low.x, query[1] = low.y, query[2] = low.z, query[3] = low.w;
    query[4] = high.x, query[5] = high.y, query[6] = high.z, query[7] = high.w;
    candidate[0] = four.x, candidate[1] = four.y, candidate[2] = four.z, candidate[3] = four.w;
#pragma unroll
    for (int i = 0; i < OWN_QUERIES; ++i) {
#pragma unroll
      for (int j = 0; j < OWN_CANDIDATES; ++j) {
        sums[i][j] = __fmaf_rn(query[i], candidate[j], sums[i][j]);
      }
    }
  }
}

// Which tiles of candidates a block searches: an even share for each of `splits` blocks.
__device__ __forceinline__ int first_tile(int tiles, int splits, int split) {
  return static_cast<int>(static_cast<long long>(tiles) * split / splits);
}
