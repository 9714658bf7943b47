// Hard negatives: for every query the best cells of a map outside discs, without ever holding the
// similarities of all pairs.  What they compute is defined by engine/mining/hard_negatives.py.
//
// Inputs (row-major, contiguous):
//   maps     (B, D, H, W)  Element, see tiles.cuh; the candidates are the cells
//                          (start_x + interval·i, start_y + interval·j), i < columns, j < rows,
//                          counted row by row: a *place*
//   queries  (B, N, D)     Element
//   truth    (B, N, 2)     float32 (x, y) in cells
//   limits   (B, N)        float32 similarity that a semi-hard negative must exceed
//   seeds    (B)           uint32, the hash of (seed, pair)
// In between:
//   broken   (B, columns·rows)  bytes, 1 where a cell's value is not finite
//   open     (B, N)             bytes, 1 where a query is still to be searched for
//   norms    (B, N), largest (B)  float32 norms of the queries, and the largest of the cells'
//   slots    (B, N, splits)     Slot of fused.cuh: the best of each share of the candidates
//   bars     (B, N)             the least value (float32) or order (uint32) worth listing
//   counts   (B, N), lists (B, N, LIST)  int32, how many places are listed, and which
// Results:
//   found       (B, N, k, 2)  int32 (x, y), -1 where there is none
//   similarity  (B, N, k)     float32, -inf where there is none
//
// One negative a query: measure_*, find over all tiles, settle.
//
// k of them, mutually apart, take one and a quarter searches, on small maps two, not k:
//   1. find over every fourth tile, or more of them, then set_bars: the best finds that are
//      mutually more than two radii apart are witnesses.  A disc around a pick holds one of them at
//      most, so that after k - 1 picks one of k witnesses is left: what is worse than the worst
//      witness is never picked.
//   2. find lists the candidates that are not worse; choose picks from the list.
//   3. A query with more than LIST of them stays open, and k rounds of find and settle search for
//      the open ones alone; blocks without any leave at once.
//
// squared_radius is in cells²; a cell at the radius exactly is inside.  N > 0 and at least one
// cell.
//
// Launch: measure_cells: 256 threads, grid (ceil(cells / 256), B).  find: THREADS threads, grid
// (ceil(N / TILE_QUERIES), splits, B), shared memory as go_through() needs it and store_slots().
// set_bars: 256 threads, a query each.  measure_queries, settle, choose: 256 threads, 32 a query.

#include "fused.cuh"

namespace {

constexpr int LIST = 256;

struct Grid {
  int height, width, columns, rows, interval, start_x, start_y;

  __device__ int total() const { return columns * rows; }
  __device__ int x(int place) const { return start_x + interval * (place % columns); }
  __device__ int y(int place) const { return start_y + interval * (place / columns); }
};

// The candidates: the values of one channel lie side by side.
struct Cells {
  static constexpr bool BY_CHANNEL = true;
  const Element* values;
  int count;
  int channels;
  bool whole; // every piece of 16 bytes is aligned and holds candidates only
  Grid grid;

  __device__ size_t offset(int place) const {
    return static_cast<size_t>(grid.y(place)) * grid.width + grid.x(place);
  }
  __device__ size_t channel_stride() const {
    return static_cast<size_t>(grid.height) * grid.width;
  }
};

__device__ __forceinline__ Cells cells_of(const Element* map, int channels, const Grid& grid) {
  const bool all = grid.columns == grid.width && grid.rows == grid.height;
  const bool whole = all && (grid.height * grid.width) % PIECE == 0 && is_aligned(map);
  return {map, grid.total(), channels, whole, grid};
}

__device__ __forceinline__ unsigned mix(unsigned bits) {
  bits ^= bits >> 16;
  bits *= 0x85EBCA6Bu;
  bits ^= bits >> 13;
  bits *= 0xC2B2AE35u;
  return bits ^ (bits >> 16);
}

// Each product is rounded on its own, as torch does it, so that a cell at the radius stays there.
__device__ __forceinline__ bool inside(int x, int y, float centre_x, float centre_y,
                                       float squared_radius) {
  const float across = __fsub_rn(static_cast<float>(x), centre_x);
  const float down = __fsub_rn(static_cast<float>(y), centre_y);
  return __fadd_rn(__fmul_rn(down, down), __fmul_rn(across, across)) <= squared_radius;
}

__device__ __forceinline__ bool inside_any(int x, int y, const int* centres, int count,
                                           float squared_radius) {
  for (int i = 0; i < count; ++i) {
    if (inside(x, y, static_cast<float>(centres[2 * i]), static_cast<float>(centres[2 * i + 1]),
               squared_radius)) {
      return true;
    }
  }
  return false;
}

// All that concerns one image of the batch.
struct Image {
  Rows queries;
  Cells cells;
  const float* truth;
  const float* limits;
  const unsigned char* broken;
  unsigned char* open;
  const float* norms;
  int* found;
  float* similarity;
  float largest;
  unsigned seed;
  float squared_radius;
  int k;

  __device__ bool is_open(int query, int round) const {
    return query < queries.count && open[query] &&
           (round == 0 || found[(static_cast<size_t>(query) * k + round - 1) * 2] >= 0);
  }
  // Outside the discs around the truth and around what was picked in earlier rounds.
  __device__ bool allows(int query, int place, int round) const {
    if (place >= cells.count || broken[place]) {
      return false;
    }
    const int x = cells.grid.x(place);
    const int y = cells.grid.y(place);
    return !inside(x, y, truth[2 * query], truth[2 * query + 1], squared_radius) &&
           !inside_any(x, y, found + static_cast<size_t>(query) * k * 2, round, squared_radius);
  }
  __device__ float error(int query) const {
    return error_bound(norms[query], largest, cells.channels);
  }
  template <int UNROLL = 16> __device__ float exact(int query, int place) const {
    return similarity_of<UNROLL>(queries, query, cells, place);
  }
  // Larger for smaller hashes.
  __device__ unsigned hash_order(int query, int place) const {
    const unsigned cell = cells.grid.y(place) * cells.grid.width + cells.grid.x(place);
    return ~mix(mix(seed ^ static_cast<unsigned>(query)) ^ cell);
  }
  // The key of a candidate that is allowed; 0 if it is not good enough.
  __device__ Key key(int query, int place, bool semi) const {
    const float value = exact(query, place);
    if (!(value > (semi ? limits[query] : -INFINITY))) {
      return 0;
    }
    return key_of(semi ? hash_order(query, place) : order_of(value), place);
  }
  // Writes what was picked as the number-th, by one lane of a warp.
  __device__ void write(int query, int number, Key picked) const {
    const size_t slot = static_cast<size_t>(query) * k + number;
    const int place = static_cast<int>(place_of(picked));
    found[slot * 2] = picked != 0 ? cells.grid.x(place) : -1;
    found[slot * 2 + 1] = picked != 0 ? cells.grid.y(place) : -1;
    similarity[slot] = picked != 0 ? exact(query, place) : -INFINITY;
  }
};

// What every kernel is given; IMAGE makes an Image of it.  The numbers take a multiple of 8 bytes,
// so that pointers may follow.
#define PARAMETERS                                                                                 \
  const Element *maps, const Element *queries, const float *truth, const float *limits,            \
      const unsigned *seeds, const unsigned char *broken, unsigned char *open, const float *norms, \
      const float *largest, int *found, float *similarity, int count, int channels, int height,    \
      int width, int columns, int rows, int interval, int start_x, int start_y,                    \
      float squared_radius, int k, int batches
#define IMAGE(batch)                                                                               \
  image_of(batch, maps, queries, truth, limits, seeds, broken, open, norms, largest, found,        \
           similarity, count, channels,                                                            \
           Grid{height, width, columns, rows, interval, start_x, start_y}, squared_radius, k)

__device__ __forceinline__ Image image_of(int batch, const Element* maps, const Element* queries,
                                          const float* truth, const float* limits,
                                          const unsigned* seeds, const unsigned char* broken,
                                          unsigned char* open, const float* norms,
                                          const float* largest, int* found, float* similarity,
                                          int count, int channels, const Grid& grid,
                                          float squared_radius, int k) {
  const size_t row = static_cast<size_t>(batch) * count;
  const size_t cells = static_cast<size_t>(grid.height) * grid.width;
  return {rows_of(queries + row * channels, count, channels),
          cells_of(maps + batch * cells * channels, channels, grid),
          truth + row * 2,
          limits + row,
          broken + static_cast<size_t>(batch) * grid.total(),
          open + row,
          norms + row,
          found + row * k * 2,
          similarity + row * k,
          largest[batch],
          seeds[batch],
          squared_radius,
          k};
}

} // namespace

extern "C" __global__ void measure_cells(const Element* maps, unsigned char* broken,
                                         float* largest, int channels, int height, int width,
                                         int columns, int rows, int interval, int start_x,
                                         int start_y) {
  const int place = blockIdx.x * blockDim.x + threadIdx.x;
  const size_t batch = blockIdx.y;
  const Grid grid = {height, width, columns, rows, interval, start_x, start_y};
  const size_t plane = static_cast<size_t>(height) * width;
  const Cells cells = cells_of(maps + batch * plane * channels, channels, grid);
  float norm = 0.0f;
  if (place < cells.count) {
    const Element* cell = cells.values + cells.offset(place);
    bool finite = true;
    float squares = 0.0f;
#pragma unroll 16
    for (int channel = 0; channel < channels; ++channel) {
      const float value = to_float(cell[channel * plane]);
      finite = finite && is_finite(value);
      squares = __fmaf_rn(value, value, squares);
    }
    broken[batch * cells.count + place] = !finite;
    norm = finite ? norm_of(squares) : 0.0f;
  }
  norm = largest_of_warp(norm);
  if (threadIdx.x % 32 == 0) {
    // Numbers that are not below 0 order as their bits do.
    atomicMax(reinterpret_cast<unsigned*>(&largest[batch]), __float_as_uint(norm));
  }
}

extern "C" __global__ void measure_queries(const Element* queries, const float* truth,
                                           unsigned char* open, float* norms, int total,
                                           int channels) {
  const int number = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (number >= total) {
    return;
  }
  const Element* query = queries + static_cast<size_t>(number) * channels;
  bool finite = is_finite(truth[2 * number]) && is_finite(truth[2 * number + 1]);
  float squares = 0.0f;
  for (int channel = lane; channel < channels; channel += 32) {
    const float value = to_float(query[channel]);
    finite = finite && is_finite(value);
    squares = __fmaf_rn(value, value, squares);
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    squares += __shfl_xor_sync(0xFFFFFFFFu, squares, distance);
  }
  finite = __ballot_sync(0xFFFFFFFFu, finite) == 0xFFFFFFFFu;
  if (lane == 0) {
    open[number] = finite;
    norms[number] = norm_of(squares);
  }
}

// What a search is for: the best of every query, or the list of all that may be picked.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    find(PARAMETERS, Slot* slots, const unsigned* bars, int* counts, int* lists, int semi, int list,
         int stride, int round, int keeps_queries) {
  DYN_SHARED(unsigned char, shared);
  const Image image = IMAGE(blockIdx.z);
  const size_t row = static_cast<size_t>(blockIdx.z) * count;
  const int first_query = blockIdx.x * TILE_QUERIES;
  const auto searches = [&](int query) {
    return image.is_open(query, round) && (!list || counts[row + query] <= LIST);
  };
  const int own_row = first_query + threadIdx.x;
  if (!__syncthreads_or(threadIdx.x < TILE_QUERIES && searches(own_row))) {
    return;
  }
  float own_bars[OWN_QUERIES];
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    const int query = first_query + own_query(i);
    own_bars[i] = INFINITY;
    if (searches(query)) {
      // Similarities at the limit less the error are surely too small; with an error that is not
      // finite nothing is sure.
      const float error = image.error(query);
      own_bars[i] = semi   ? (is_finite(error) ? image.limits[query] - error : NAN)
                    : list ? __uint_as_float(bars[row + query])
                           : -INFINITY;
    }
  }
  const int tiles = (image.cells.count + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  find_best(
      shared, image.queries, image.cells, first_query,
      share_of(tiles, stride, gridDim.y, blockIdx.y), keeps_queries != 0, own_bars,
      [&](int query, int place, float value, Key& best, float& bar) {
        const int batch = anew(blockIdx.z); // few come here, and the tiles need the registers
        const Image image = IMAGE(batch);
        const size_t row = static_cast<size_t>(batch) * count;
        if (semi ? bar == INFINITY : !(value > bar)) {
          return;
        }
        const unsigned order = semi ? image.hash_order(query, place) : 0;
        const Key key = key_of(order, place);
        if (semi && (list ? order < bars[row + query] : key <= best)) {
          return;
        }
        if (!image.allows(query, place, round)) {
          return;
        }
        if (list) {
          const int number = atomicAdd(&counts[row + query], 1);
          if (number < LIST) {
            lists[(row + query) * LIST + number] = place;
          }
        } else if (!semi) {
          keep_better(value, place, best, bar);
        } else if (value > image.limits[query] + image.error(query) ||
                   (TENSOR_CORES && image.exact<1>(query, place) > image.limits[query])) {
          best = key; // beyond the limit by more than the error, or evaluated exactly
        }
      },
      list ? nullptr : slots + row * gridDim.y + blockIdx.y, gridDim.y);
}

extern "C" __global__ void settle(PARAMETERS, const Slot* slots, int splits, int semi, int round) {
  const int number = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (number >= batches * count) {
    return;
  }
  const Image image = IMAGE(number / count);
  const int query = number % count;
  if (!image.open[query]) {
    return;
  }
  Key best = 0;
  if (image.is_open(query, round)) {
    const Slot* own = slots + static_cast<size_t>(number) * splits;
    if (semi) {
      for (int split = threadIdx.x % 32; split < splits; split += 32) {
        best = own[split].key > best ? own[split].key : best;
      }
      best = largest_of_warp(best);
    } else {
      best = settled(own, splits, image.cells.count, image.error(query), best, [&](int place) {
        return image.allows(query, place, round) ? image.key(query, place, false) : 0;
      });
    }
  }
  if (threadIdx.x % 32 == 0) {
    image.write(query, round, best);
  }
}

extern "C" __global__ void set_bars(PARAMETERS, const Slot* slots, unsigned* bars, int* counts,
                                    int splits, int semi) {
  const int number = blockIdx.x * blockDim.x + threadIdx.x;
  if (number >= batches * count) {
    return;
  }
  const Image image = IMAGE(number / count);
  const int query = number % count;
  if (!image.open[query]) {
    return;
  }
  const float error = image.error(query);
  const Slot* own = slots + static_cast<size_t>(number) * splits;
  int* witnesses = image.found + static_cast<size_t>(query) * k * 2; // choose writes over them
  const float apart = 4.01f * squared_radius; // a little more than (2 radii)²
  Key worst = 0;
  for (int witness = 0; witness < k; ++witness) {
    worst = 0;
    for (int split = 0; split < splits; ++split) {
      const int place = static_cast<int>(place_of(own[split].key));
      if (own[split].key > worst && !inside_any(image.cells.grid.x(place),
                                                image.cells.grid.y(place), witnesses, witness,
                                                apart)) {
        worst = own[split].key;
      }
    }
    if (worst == 0) {
      break;
    }
    const int place = static_cast<int>(place_of(worst));
    witnesses[2 * witness] = image.cells.grid.x(place);
    witnesses[2 * witness + 1] = image.cells.grid.y(place);
  }
  if (semi) {
    bars[number] = static_cast<unsigned>(worst >> 32);
  } else {
    // A little less than the least: what is listed exceeds it.
    const float least = worst != 0 ? value_of(worst) - 2.0f * error : -INFINITY;
    bars[number] = __float_as_uint(least - (0x1p-22f * fabsf(least) + 0x1p-100f));
  }
  counts[number] = is_finite(error) ? 0 : LIST + 1;
}

extern "C" __global__ void choose(PARAMETERS, const int* counts, const int* lists, int semi) {
  const int number = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (number >= batches * count) {
    return;
  }
  const Image image = IMAGE(number / count);
  const int query = number % count;
  const int lane = threadIdx.x % 32;
  if (!image.open[query] || counts[number] > LIST) {
    return;
  }
  Key own[LIST / 32];
#pragma unroll
  for (int i = 0; i < LIST / 32; ++i) {
    const int entry = i * 32 + lane;
    own[i] = entry < counts[number]
                 ? image.key(query, lists[static_cast<size_t>(number) * LIST + entry], semi != 0)
                 : 0;
  }
  for (int pick = 0; pick < k; ++pick) {
    Key best = 0;
#pragma unroll
    for (int i = 0; i < LIST / 32; ++i) {
      best = own[i] > best ? own[i] : best;
    }
    best = largest_of_warp(best);
    if (lane == 0) {
      image.write(query, pick, best);
    }
    const int place = static_cast<int>(place_of(best));
    const float x = static_cast<float>(image.cells.grid.x(place));
    const float y = static_cast<float>(image.cells.grid.y(place));
#pragma unroll
    for (int i = 0; i < LIST / 32; ++i) {
      const int other = static_cast<int>(place_of(own[i]));
      if (own[i] != 0 && inside(image.cells.grid.x(other), image.cells.grid.y(other), x, y,
                                squared_radius)) {
        own[i] = 0;
      }
    }
  }
  if (lane == 0) {
    image.open[query] = 0;
  }
}
