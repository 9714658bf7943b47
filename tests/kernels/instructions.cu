// Single instructions as the tiles use them, to hold the emulation to plain loops.

#include "../../cuda/tiles.cuh"

// One warp: every lane brings its registers of a and b and takes its four sums of c.
template <class Multiply>
void multiply(const unsigned* a, const unsigned* b, float* c, Multiply instruction) {
  const int lane = threadIdx.x;
  unsigned own_a[4], own_b[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) {
    own_a[i] = a[lane * 4 + i];
    own_b[i % 2] = b[lane * 2 + i % 2];
    sums[i] = c[lane * 4 + i];
  }
  instruction(sums, own_a, own_b);
  for (int i = 0; i < 4; ++i) {
    c[lane * 4 + i] = sums[i];
  }
}

extern "C" __global__ void multiply_bf16(const unsigned* a, const unsigned* b, float* c) {
  multiply(a, b, c, mma_bf16_16816);
}

extern "C" __global__ void multiply_fp16(const unsigned* a, const unsigned* b, float* c) {
  multiply(a, b, c, mma_fp16_16816);
}

extern "C" __global__ void multiply_tf32(const unsigned* a, const unsigned* b, float* c) {
  multiply(a, b, c, mma_tf32_1688);
}

// One warp: row number `rows[lane]` of shared memory is what the lane names.
extern "C" __global__ void load_matrices(const float4* memory, const int* rows, unsigned* plain,
                                         unsigned* turned) {
  DYN_SHARED(float4, shared);
  shared[threadIdx.x] = memory[threadIdx.x];
  __syncthreads();
  unsigned four[4];
  ldmatrix_x4(four, &shared[rows[threadIdx.x]]);
  for (int i = 0; i < 4; ++i) {
    plain[threadIdx.x * 4 + i] = four[i];
  }
  ldmatrix_x4_trans(four, &shared[rows[threadIdx.x]]);
  for (int i = 0; i < 4; ++i) {
    turned[threadIdx.x * 4 + i] = four[i];
  }
}

// One thread: two groups of copies, of which only the first is waited for at first.  seen[0]: the
// first copy, [1]: a copy of nothing, [2]: the second group's before it is waited for, [3]: after.
extern "C" __global__ void copy_in_groups(const float4* memory, float4* seen) {
  DYN_SHARED(float4, shared);
  shared[0] = shared[1] = shared[2] = {-1.0f, -1.0f, -1.0f, -1.0f};
  copy_async(&shared[0], &memory[0], true);
  copy_async(&shared[1], &memory[1], false);
  commit_copies();
  copy_async(&shared[2], &memory[2], true);
  commit_copies();
  wait_for_copies<1>();
  seen[0] = shared[0];
  seen[1] = shared[1];
  seen[2] = shared[2];
  wait_for_copies<0>();
  seen[3] = shared[2];
}
