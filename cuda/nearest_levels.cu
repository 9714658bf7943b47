// Nearest neighbours between sets: for every query point, described by a set of L descriptors, the
// candidate with the largest similarity to any of them, without the similarities of all pairs.
// What it computes is defined by engine/matching/nearest.py.
//
// Inputs (row-major, contiguous):
//   queries     (L, N, D)  Element, see fused.cuh
//   candidates  (M, D)     Element; one member of the candidates' set, whose rows are counted on
//                          from `first`; called once for every member
// In between:
//   keys    (N, slots)  Key of fused.cuh; this launch fills the slots from first_slot on, one for
//                       each query member and share of the candidates
// Results:
//   index       (N)  int64, -1 where there is no candidate
//   similarity  (N)  float32, -inf where there is none
//
// A similarity that is NaN is none.  Ties go to the lowest index.
//
// Launch: find_nearest: THREADS threads, grid (ceil(N / 64), splits, L).  merge_nearest: 256
// threads, a query each.

#include "fused.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
    find_nearest(const Element* queries, const Element* candidates, Key* keys, int count, int total,
                 int channels, int first, int slots, int first_slot) {
  __shared__ Chunks chunks;
  const int thread = threadIdx.x;
  const int lane = thread % LANES;
  const int group = thread / LANES;
  const int first_query = blockIdx.x * TILE_QUERIES;
  const int tiles = (total + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  const int begin = first_tile(tiles, gridDim.y, blockIdx.y);
  const int end = first_tile(tiles, gridDim.y, blockIdx.y + 1);
  const int steps = (channels + CHUNK - 1) / CHUNK;
  const Element* member = queries + static_cast<size_t>(blockIdx.z) * count * channels;

  float best[OWN_QUERIES];
  unsigned place[OWN_QUERIES];
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    best[i] = -INFINITY;
    place[i] = 0;
  }

  // Each thread carries one channel of every eighth row of both tiles.
  const int carried_channel = thread % CHUNK;
  const int carried_row = thread / CHUNK;
  float from_queries[LOADS];
  float from_candidates[LOADS];

  auto fetch = [&](int tile, int step) {
    const int channel = step * CHUNK + carried_channel;
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      const int query = first_query + carried_row + 8 * i;
      const int candidate = tile * TILE_CANDIDATES + carried_row + 8 * i;
      from_queries[i] = query < count && channel < channels
                            ? to_float(member[static_cast<size_t>(query) * channels + channel])
                            : 0.0f;
      from_candidates[i] =
          candidate < total && channel < channels
              ? to_float(candidates[static_cast<size_t>(candidate) * channels + channel])
              : 0.0f;
    }
  };
  auto store = [&](int side) {
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      chunks.queries[side][carried_channel][carried_row + 8 * i] = from_queries[i];
      chunks.candidates[side][carried_channel][carried_row + 8 * i] = from_candidates[i];
    }
  };

  int side = 0;
  if (begin < end) {
    fetch(begin, 0);
    store(0);
  }
  __syncthreads();
  for (int tile = begin; tile < end; ++tile) {
    float sums[OWN_QUERIES][OWN_CANDIDATES] = {};
    for (int step = 0; step < steps; ++step) {
      const bool last_step = step + 1 == steps;
      const bool more = !last_step || tile + 1 < end;
      if (more) {
        fetch(last_step ? tile + 1 : tile, last_step ? 0 : step + 1);
      }
      multiply_chunk(chunks, side, group, lane, sums);
      if (more) {
        store(side ^ 1);
      }
      side ^= 1;
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < OWN_QUERIES; ++i) {
#pragma unroll
      for (int j = 0; j < OWN_CANDIDATES; ++j) {
        const float value = __fadd_rn(sums[i][j], 0.0f); // -0 becomes 0: they are equal
        const int candidate = tile * TILE_CANDIDATES + lane * OWN_CANDIDATES + j;
        if (value > best[i] && candidate < total) {
          best[i] = value;
          place[i] = static_cast<unsigned>(first + candidate);
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    Key key = best[i] > -INFINITY ? key_of(order_of(best[i]), place[i]) : 0;
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
      const Key other = __shfl_xor_sync(0xFFFFFFFFu, key, distance);
      key = other > key ? other : key;
    }
    const int query = first_query + group * OWN_QUERIES + i;
    if (lane == 0 && query < count) {
      keys[static_cast<size_t>(query) * slots + first_slot + blockIdx.z * gridDim.y + blockIdx.y] =
          key;
    }
  }
}

extern "C" __global__ void merge_nearest(const Key* keys, long long* index, float* similarity,
                                         int count, int slots) {
  const int query = blockIdx.x * blockDim.x + threadIdx.x;
  if (query >= count) {
    return;
  }
  Key best = 0;
  for (int slot = 0; slot < slots; ++slot) {
    const Key key = keys[static_cast<size_t>(query) * slots + slot];
    best = key > best ? key : best;
  }
  const unsigned order = static_cast<unsigned>(best >> 32);
  const unsigned bits = (order & 0x80000000u) ? order & 0x7FFFFFFFu : ~order;
  index[query] = best != 0 ? static_cast<long long>(place_of(best)) : -1;
  similarity[query] = best != 0 ? __uint_as_float(bits) : -INFINITY;
}
