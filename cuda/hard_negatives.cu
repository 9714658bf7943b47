// Hard negatives: for every query the best cell of a map outside discs, in one pass that never holds
// the similarities of all pairs.  What they compute is defined by engine/mining/hard_negatives.py.
//
// Inputs (row-major, contiguous):
//   maps     (B, D, H, W)  Element, see fused.cuh; the candidates are the cells
//                          (start_x + interval·i, start_y + interval·j), i < columns, j < rows,
//                          counted row by row: a *place*
//   queries  (B, N, D)     Element
//   truth    (B, N, 2)     float32 (x, y) in cells
//   limits   (B, N)        float32 similarity that a semi-hard negative must exceed
//   seeds    (B)           uint32, the hash of (seed, pair)
// In between:
//   broken_cells (B, columns·rows), broken_queries (B, N)  bytes, 1 where a value is not finite
//   keys, values (B, N, splits)  best of each share of the candidates: Key of fused.cuh, similarity
// Results:
//   cells      (B, N, k, 2)  int32 (x, y), -1 where there is none
//   similarity (B, N, k)     float32, -inf where there is none
//
// For k > 1 the search runs k times: `round` counts them, and the cells found before are centres of
// further discs.  squared_radius is in cells²; a cell at the radius exactly is inside.
//
// Launch: mark_*: 256 threads, an element each.  find_*: THREADS threads, grid (ceil(N / 64),
// splits, B).  merge_negatives: 256 threads, a query each.

#include "fused.cuh"

namespace {

struct Grid {
  int height, width, columns, rows, interval, start_x, start_y;

  __device__ int total() const { return columns * rows; }
  __device__ int x(int place) const { return start_x + interval * (place % columns); }
  __device__ int y(int place) const { return start_y + interval * (place / columns); }
};

__device__ __forceinline__ unsigned mix(unsigned bits) {
  bits ^= bits >> 16;
  bits *= 0x85EBCA6Bu;
  bits ^= bits >> 13;
  bits *= 0xC2B2AE35u;
  return bits ^ (bits >> 16);
}

// Each product is rounded on its own, as torch does it, so that a cell at the radius stays there.
__device__ __forceinline__ bool inside(float x, float y, float centre_x, float centre_y,
                                       float squared_radius) {
  const float across = __fsub_rn(x, centre_x);
  const float down = __fsub_rn(y, centre_y);
  return __fadd_rn(__fmul_rn(down, down), __fmul_rn(across, across)) <= squared_radius;
}

struct Discs {
  const float* truth;  // (x, y) of this query
  const int* picked;   // (x, y) of what it found in earlier rounds
  int count;           // of them
  float squared_radius;

  __device__ bool hold(int x, int y) const {
    const float fx = static_cast<float>(x);
    const float fy = static_cast<float>(y);
    if (inside(fx, fy, truth[0], truth[1], squared_radius)) {
      return true;
    }
    for (int i = 0; i < count; ++i) {
      if (inside(fx, fy, static_cast<float>(picked[2 * i]), static_cast<float>(picked[2 * i + 1]),
                 squared_radius)) {
        return true;
      }
    }
    return false;
  }
};

// The best so far of one query in one thread.  Places come in ascending order, so a later one must
// be better to win.
struct Best {
  float value;
  unsigned order;
  unsigned place;
  bool found;
};

template <bool SEMI>
__device__ void find(const Element* maps, const Element* queries, const float* truth,
                     const float* limits, const unsigned* seeds, const unsigned char* broken_cells,
                     const unsigned char* broken_queries, const int* cells, Key* keys,
                     float* values, int count, int channels, Grid grid, float squared_radius,
                     int round, int k) {
  __shared__ Chunks chunks;
  const int thread = threadIdx.x;
  const int lane = thread % LANES;
  const int group = thread / LANES;
  const int batch = blockIdx.z;
  const int first_query = blockIdx.x * TILE_QUERIES;
  const int total = grid.total();
  const int tiles = (total + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  const int begin = first_tile(tiles, gridDim.y, blockIdx.y);
  const int end = first_tile(tiles, gridDim.y, blockIdx.y + 1);
  const int steps = (channels + CHUNK - 1) / CHUNK;
  const size_t plane = static_cast<size_t>(grid.height) * grid.width;
  const Element* map = maps + batch * plane * channels;
  const size_t query_row = static_cast<size_t>(batch) * count;
  const unsigned char* broken = broken_cells + static_cast<size_t>(batch) * total;

  // A similarity must exceed its query's bar: the best so far, or the limit of the semi-hard ones.
  float bar[OWN_QUERIES];
  unsigned prefix[OWN_QUERIES];
  Best best[OWN_QUERIES];
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    const int query = first_query + group * OWN_QUERIES + i;
    const size_t row = query_row + query;
    const bool searches = query < count && !broken_queries[row] &&
                          (round == 0 || cells[(row * k + round - 1) * 2] >= 0);
    // Nothing exceeds infinity.
    bar[i] = !searches ? INFINITY : (SEMI ? limits[row] : -INFINITY);
    prefix[i] = SEMI ? mix(seeds[batch] ^ static_cast<unsigned>(query)) : 0u;
    best[i] = {-INFINITY, 0xFFFFFFFFu, 0u, false};
  }

  // What this thread carries from global to shared memory: one candidate's channels, and one
  // channel of every eighth query.
  const int carried_candidate = thread % TILE_CANDIDATES;
  const int carried_half = thread / TILE_CANDIDATES;
  const int carried_channel = thread % CHUNK;
  const int carried_query = thread / CHUNK;
  float from_queries[LOADS];
  float from_candidates[LOADS];

  auto fetch = [&](int tile, int step) {
    const int place = tile * TILE_CANDIDATES + carried_candidate;
    const bool there = place < total;
    const size_t cell =
        there ? static_cast<size_t>(grid.y(place)) * grid.width + grid.x(place) : 0;
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      const int channel = step * CHUNK + carried_half + 2 * i;
      from_candidates[i] =
          there && channel < channels ? to_float(map[channel * plane + cell]) : 0.0f;
      const int query = first_query + carried_query + 8 * i;
      const int of_query = step * CHUNK + carried_channel;
      from_queries[i] = query < count && of_query < channels
                            ? to_float(queries[(query_row + query) * channels + of_query])
                            : 0.0f;
    }
  };
  auto store = [&](int side) {
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
      chunks.candidates[side][carried_half + 2 * i][carried_candidate] = from_candidates[i];
      chunks.queries[side][carried_channel][carried_query + 8 * i] = from_queries[i];
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
        if (!(value > bar[i])) {
          continue;
        }
        const int place = tile * TILE_CANDIDATES + lane * OWN_CANDIDATES + j;
        if (place >= total || broken[place]) {
          continue;
        }
        const int x = grid.x(place);
        const int y = grid.y(place);
        const unsigned order =
            SEMI ? ~mix(prefix[i] ^ static_cast<unsigned>(y * grid.width + x)) : order_of(value);
        if (SEMI && best[i].found && order <= best[i].order) {
          continue;
        }
        const size_t row = query_row + first_query + group * OWN_QUERIES + i;
        const Discs discs = {truth + row * 2, cells + row * k * 2, round, squared_radius};
        if (discs.hold(x, y)) {
          continue;
        }
        best[i] = {value, order, static_cast<unsigned>(place), true};
        if (!SEMI) {
          bar[i] = value;
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    Key key = best[i].found ? key_of(best[i].order, best[i].place) : 0;
    float value = best[i].value;
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
      const Key other_key = __shfl_xor_sync(0xFFFFFFFFu, key, distance);
      const float other_value = __shfl_xor_sync(0xFFFFFFFFu, value, distance);
      if (other_key > key) {
        key = other_key;
        value = other_value;
      }
    }
    const int query = first_query + group * OWN_QUERIES + i;
    if (lane == 0 && query < count) {
      const size_t slot = (query_row + query) * gridDim.y + blockIdx.y;
      keys[slot] = key;
      values[slot] = value;
    }
  }
}

} // namespace

extern "C" __global__ void mark_broken_cells(const Element* maps, unsigned char* broken,
                                             int batches, int channels, int height, int width,
                                             int columns, int rows, int interval, int start_x,
                                             int start_y) {
  const Grid grid = {height, width, columns, rows, interval, start_x, start_y};
  const size_t number = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (number >= static_cast<size_t>(batches) * grid.total()) {
    return;
  }
  const int place = static_cast<int>(number % grid.total());
  const size_t plane = static_cast<size_t>(height) * width;
  const Element* cell = maps + number / grid.total() * plane * channels +
                        static_cast<size_t>(grid.y(place)) * width + grid.x(place);
  bool finite = true;
  for (int channel = 0; channel < channels; ++channel) {
    finite = finite && is_finite(to_float(cell[channel * plane]));
  }
  broken[number] = !finite;
}

extern "C" __global__ void mark_broken_queries(const Element* queries, const float* truth,
                                               unsigned char* broken, int total, int channels) {
  const int number = blockIdx.x * blockDim.x + threadIdx.x;
  if (number >= total) {
    return;
  }
  const Element* query = queries + static_cast<size_t>(number) * channels;
  const float* place = truth + static_cast<size_t>(number) * 2;
  bool finite = is_finite(place[0]) && is_finite(place[1]);
  for (int channel = 0; channel < channels; ++channel) {
    finite = finite && is_finite(to_float(query[channel]));
  }
  broken[number] = !finite;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    find_hard(const Element* maps, const Element* queries, const float* truth, const float* limits,
              const unsigned* seeds, const unsigned char* broken_cells,
              const unsigned char* broken_queries, const int* cells, Key* keys, float* values,
              int count, int channels, int height, int width, int columns, int rows, int interval,
              int start_x, int start_y, float squared_radius, int round, int k) {
  find<false>(maps, queries, truth, limits, seeds, broken_cells, broken_queries, cells, keys,
              values, count, channels,
              {height, width, columns, rows, interval, start_x, start_y}, squared_radius, round, k);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    find_semi_hard(const Element* maps, const Element* queries, const float* truth,
                   const float* limits, const unsigned* seeds, const unsigned char* broken_cells,
                   const unsigned char* broken_queries, const int* cells, Key* keys, float* values,
                   int count, int channels, int height, int width, int columns, int rows,
                   int interval, int start_x, int start_y, float squared_radius, int round,
                   int k) {
  find<true>(maps, queries, truth, limits, seeds, broken_cells, broken_queries, cells, keys, values,
             count, channels, {height, width, columns, rows, interval, start_x, start_y},
             squared_radius, round, k);
}

extern "C" __global__ void merge_negatives(const Key* keys, const float* values, int* cells,
                                           float* similarity, int total, int splits, int columns,
                                           int interval, int start_x, int start_y, int round,
                                           int k) {
  const int number = blockIdx.x * blockDim.x + threadIdx.x;
  if (number >= total) {
    return;
  }
  Key key = 0;
  float value = -INFINITY;
  for (int split = 0; split < splits; ++split) {
    const size_t slot = static_cast<size_t>(number) * splits + split;
    if (keys[slot] > key) {
      key = keys[slot];
      value = values[slot];
    }
  }
  const Grid grid = {0, 0, columns, 0, interval, start_x, start_y};
  const int place = static_cast<int>(place_of(key));
  const size_t slot = static_cast<size_t>(number) * k + round;
  cells[slot * 2] = key != 0 ? grid.x(place) : -1;
  cells[slot * 2 + 1] = key != 0 ? grid.y(place) : -1;
  similarity[slot] = value;
}
