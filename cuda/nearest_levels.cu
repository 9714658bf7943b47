// Nearest neighbours between sets: for every query point, described by a set of L descriptors, the
// candidate with the largest similarity to any of them, without the similarities of all pairs.
// What it computes is defined by engine/matching/nearest.py.
//
// Inputs (row-major, contiguous):
//   queries     (L, N, D)  Element, see tiles.cuh
//   candidates  (M, D)     Element; one member of the candidates' set, whose rows are counted on
//                          from `first`; both kernels are called once for every member
// In between:
//   query_norms (L, N), norms (M)  float32, NaN where a value is
//   largest     (1)             float32, the largest norm of a candidate
//   slots       (L, N, splits)  Slot of fused.cuh: the best of each share of the candidates
//   keys        (N)             Key of fused.cuh: the best so far, 0 before the first member
// Results:
//   index       (N)  int64, -1 where there is no candidate
//   similarity  (N)  float32, -inf where there is none
//
// A similarity that is NaN is none.  Ties go to the lowest index.
//
// Launch: measure_rows: 256 threads, 32 a row.  find_nearest: THREADS threads, grid
// (ceil(N / TILE_QUERIES), splits, L), shared memory as go_through() needs it and store_slots().
// settle_nearest: 256 threads, 32 a query.

#include "fused.cuh"

extern "C" __global__ void measure_rows(const Element* rows, float* norms, float* largest,
                                        int total, int channels) {
  const int number = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (number >= total) {
    return;
  }
  const Element* row = rows + static_cast<size_t>(number) * channels;
  float squares = 0.0f;
  for (int channel = lane; channel < channels; channel += 32) {
    const float value = to_float(row[channel]);
    squares = __fmaf_rn(value, value, squares);
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    squares += __shfl_xor_sync(0xFFFFFFFFu, squares, distance);
  }
  if (lane == 0) {
    norms[number] = norm_of(squares);
    if (squares >= 0.0f) {
      // Numbers that are not below 0 order as their bits do.
      atomicMax(reinterpret_cast<unsigned*>(largest), __float_as_uint(norms[number]));
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    find_nearest(const Element* queries, const Element* candidates, const float* query_norms,
                 const float* norms, Slot* slots, int count, int total, int channels,
                 int keeps_queries) {
  DYN_SHARED(unsigned char, shared);
  const size_t member = static_cast<size_t>(blockIdx.z) * count;
  const int tiles = (total + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  const int first_query = blockIdx.x * TILE_QUERIES;
  float bars[OWN_QUERIES];
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    const int query = first_query + own_query(i);
    bars[i] = query < count && query_norms[member + query] >= 0.0f ? -INFINITY : INFINITY;
  }
  find_best(
      shared, rows_of(queries + member * channels, count, channels),
      rows_of(candidates, total, channels), first_query,
      share_of(tiles, 1, gridDim.y, blockIdx.y), keeps_queries != 0, bars,
      [&](int, int candidate, float value, Key& best, float& bar) {
        if (value > bar && candidate < total && norms[candidate] >= 0.0f) {
          keep_better(value, candidate, best, bar);
        }
      },
      slots + member * gridDim.y + blockIdx.y, gridDim.y);
}

extern "C" __global__ void settle_nearest(const Element* queries, const Element* candidates,
                                          const float* query_norms, const float* norms,
                                          const float* largest, const Slot* slots, Key* keys,
                                          long long* index, float* similarity, int count,
                                          int total, int channels, int members, int splits,
                                          int first) {
  const int query = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (query >= count) {
    return;
  }
  const Rows offered = rows_of(candidates, total, channels);
  Key best = keys[query];
  for (int member = 0; member < members; ++member) {
    const size_t row = static_cast<size_t>(member) * count;
    const float norm = query_norms[row + query];
    if (!(norm >= 0.0f)) {
      continue;
    }
    const Rows asked = rows_of(queries + row * channels, count, channels);
    best = settled(slots + (row + query) * splits, splits, total,
                  error_bound(norm, *largest, channels), best, [&](int candidate) -> Key {
                    const float value = norms[candidate] >= 0.0f
                                            ? similarity_of(asked, query, offered, candidate)
                                            : -INFINITY;
                    return value > -INFINITY
                               ? key_of(order_of(value), static_cast<unsigned>(first + candidate))
                               : 0;
                  });
  }
  if (threadIdx.x % 32 == 0) {
    keys[query] = best;
    index[query] = best != 0 ? static_cast<long long>(place_of(best)) : -1;
    similarity[query] = best != 0 ? value_of(best) : -INFINITY;
  }
}
