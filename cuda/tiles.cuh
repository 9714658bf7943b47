// Tiles of similarities: the products of some queries and some candidates, summed over channels in
// the registers of one block of THREADS threads.  Two engines with one face:
//
//   TENSOR_CORES 1   mma.sync on 128 × 128 tiles, three stages of asynchronous copies (sm_80 on)
//   TENSOR_CORES 0   float32 multiply-adds on 64 × 64 tiles, two buffers
//
// Without the macro the GPU that is compiled for decides.  Float32 descriptors go through the
// tensor cores as TF32; similarities are then near the float32 ones, see error_bound() in
// fused.cuh.
//
// ELEMENT chooses what the descriptors are: 0 float32 (also when it is not given), 1 float16,
// 2 bfloat16.  Products are summed in float32, whatever they are.
//
// An engine hands each finished tile to a function visit(tile, sums), in which every thread sees
// its own part: sums.at(i, j) belongs to query own_query(i) and candidate own_candidate(j) of the
// tile, and a larger j is a larger candidate.  STREAMS threads share a query.  The sums live in
// registers, which have no addresses: i and j are known when it is compiled, or for_those() is
// used.
#pragma once

#ifndef CUDA_EMU
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#ifndef ELEMENT
#define ELEMENT 0
#endif

#ifndef TENSOR_CORES
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1
#else
#define TENSOR_CORES 0
#endif
#endif

#ifndef CUDA_EMU
#define DYN_SHARED(T, name) extern __shared__ __align__(128) T name[]
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

constexpr int THREADS = 128;
constexpr int OWN_QUERIES = 8;
constexpr int PIECE = 16 / sizeof(Element); // elements of 16 bytes, which are copied at once

__device__ __forceinline__ bool is_aligned(const void* address) {
  return reinterpret_cast<size_t>(address) % 16 == 0;
}

// Descriptors whose channels lie side by side, one row each.
struct Rows {
  static constexpr bool BY_CHANNEL = false;
  const Element* values;
  int count;
  int channels;
  bool whole; // every piece of 16 bytes is aligned and of one row

  __device__ size_t offset(int row) const { return static_cast<size_t>(row) * channels; }
  __device__ size_t channel_stride() const { return 1; }
};

__device__ __forceinline__ Rows rows_of(const Element* values, int count, int channels) {
  return {values, count, channels, channels % PIECE == 0 && is_aligned(values)};
}

// The tiles that a block goes through: every stride-th.
struct Tiles {
  int begin, end, stride;
};

// An even share of `count` tiles for each of `splits` blocks.
__device__ __forceinline__ Tiles share_of(int count, int stride, int splits, int split) {
  const int tiles = (count + stride - 1) / stride;
  return {static_cast<int>(static_cast<long long>(tiles) * split / splits) * stride,
          static_cast<int>(static_cast<long long>(tiles) * (split + 1) / splits) * stride, stride};
}

#if TENSOR_CORES

constexpr int TILE_QUERIES = 128;
constexpr int TILE_CANDIDATES = 128;
constexpr int OWN_CANDIDATES = 16;
constexpr int STREAMS = 8;
constexpr int BLOCKS = 2; // on a multiprocessor
constexpr int STAGES = 3;
constexpr int SLICE_BYTES = 64; // of a descriptor's channels in shared memory at a time
constexpr int SLICE = SLICE_BYTES / sizeof(Element);
constexpr int PART_BYTES = 128 * SLICE_BYTES; // a slice of a tile's queries, or candidates
constexpr int PIECES = PART_BYTES / 16 / THREADS;

#ifndef CUDA_EMU
__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// 16 bytes to shared memory, or 16 bytes of 0 where nothing is there.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(there ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Until no more than `left` of the groups committed last are under way.
template <int left> __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// Four 8 × 8 matrices of 2-byte numbers; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&to)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(shared))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&to)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(shared))
               : "memory");
}

#define MULTIPLY_ADD(name, kind)                                                                   \
  __device__ __forceinline__ void name(float (&sums)[4], const unsigned (&a)[4],                   \
                                       const unsigned (&b)[2]) {                                   \
    asm volatile("mma.sync.aligned." kind " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "        \
                 "{%0, %1, %2, %3};"                                                               \
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));              \
  }
#if ELEMENT == 0
MULTIPLY_ADD(mma_tf32_1688, "m16n8k8.row.col.f32.tf32.tf32.f32")
#elif ELEMENT == 1
MULTIPLY_ADD(mma_fp16_16816, "m16n8k16.row.col.f32.f16.f16.f32")
#else
MULTIPLY_ADD(mma_bf16_16816, "m16n8k16.row.col.f32.bf16.bf16.f32")
#endif
#undef MULTIPLY_ADD
#endif

// A 16 × 8 tile; its operands are 32 bytes of every descriptor, whatever an element is.
__device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2]) {
#if ELEMENT == 0
  mma_tf32_1688(sums, a, b);
#elif ELEMENT == 1
  mma_fp16_16816(sums, a, b);
#else
  mma_bf16_16816(sums, a, b);
#endif
}

// Four warps, each with 64 × 64 of the tile, in parts of 16 × 8 as mma.sync hands them out.
struct Sums {
  float parts[4][8][4];

  __device__ __forceinline__ float at(int i, int j) const {
    return parts[i / 2][j / 2][i % 2 * 2 + j % 2];
  }
};

__device__ __forceinline__ int own_query(int i) {
  const int warp = threadIdx.x / 32;
  return warp / 2 * 64 + i / 2 * 16 + i % 2 * 8 + threadIdx.x % 32 / 4;
}

__device__ __forceinline__ int own_candidate(int j) {
  const int warp = threadIdx.x / 32;
  return warp % 2 * 64 + j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2;
}

__device__ __forceinline__ int own_stream() {
  return threadIdx.x / 32 % 2 * 4 + threadIdx.x % 4;
}

// Where pieces of 16 bytes lie in shared memory.  The pieces that ldmatrix, or a warp, reads at a
// time lie in different banks: the piece's number is mixed with the row's.
__device__ __forceinline__ int place_in_rows(int row, int piece) {
  return row * SLICE_BYTES + ((piece ^ (row >> 1 & 3)) << 4);
}

__device__ __forceinline__ int place_in_channels(int channel, int piece) {
  const int turn = sizeof(Element) == 2 ? channel & 7 : (channel & 3) << 1;
  return channel * (TILE_CANDIDATES * static_cast<int>(sizeof(Element))) + ((piece ^ turn) << 4);
}

// A piece whose elements must be read one by one.
template <class Read> __device__ __forceinline__ void copy_singly(void* shared, Read read) {
  alignas(16) Element piece[PIECE];
#pragma unroll
  for (int i = 0; i < PIECE; ++i) {
    piece[i] = read(i);
  }
  *reinterpret_cast<float4*>(shared) = *reinterpret_cast<const float4*>(piece);
}

// Starts to copy one slice of the channels of 128 descriptors from `first` on.
template <class Source>
__device__ __forceinline__ void copy_slice(unsigned char* shared, const Source& source, int first,
                                           int slice) {
  const Element zero = Element();
#pragma unroll
  for (int number = 0; number < PIECES; ++number) {
    const int piece = threadIdx.x + number * THREADS;
    if constexpr (Source::BY_CHANNEL) {
      constexpr int PIECES_A_ROW = TILE_CANDIDATES / PIECE;
      const int channel = slice * SLICE + piece / PIECES_A_ROW;
      const int row = first + piece % PIECES_A_ROW * PIECE;
      void* target = shared + place_in_channels(piece / PIECES_A_ROW, piece % PIECES_A_ROW);
      const Element* plane = source.values + channel * source.channel_stride();
      const bool there = channel < source.channels && row < source.count;
      if (source.whole) {
        copy_async(target, there ? plane + source.offset(row) : source.values, there);
      } else {
        copy_singly(target, [&](int i) {
          return there && row + i < source.count ? plane[source.offset(row + i)] : zero;
        });
      }
    } else {
      constexpr int PIECES_A_ROW = SLICE_BYTES / 16;
      const int row = first + piece / PIECES_A_ROW;
      const int channel = slice * SLICE + piece % PIECES_A_ROW * PIECE;
      void* target = shared + place_in_rows(piece / PIECES_A_ROW, piece % PIECES_A_ROW);
      const bool there = row < source.count && channel < source.channels;
      const Element* from = source.values + (there ? source.offset(row) + channel : 0);
      if (source.whole) {
        copy_async(target, from, there);
      } else {
        copy_singly(target, [&](int i) {
          return there && channel + i < source.channels ? from[i] : zero;
        });
      }
    }
  }
}

// Two of the warp's 16-row operands' worth of candidates (16 of them) for one multiplication step.
template <bool BY_CHANNEL>
__device__ __forceinline__ void load_candidates(unsigned (&low)[2], unsigned (&high)[2],
                                                const unsigned char* part, int step, int sixteen) {
  const int lane = threadIdx.x % 32;
  const int first = threadIdx.x / 32 % 2 * 64 + sixteen * 16;
  if constexpr (BY_CHANNEL && sizeof(Element) == 4) {
    // ldmatrix turns 2-byte elements only.
    const int near = step * 8 + lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int candidate = first + half * 8 + lane / 4;
      unsigned(&to)[2] = half == 0 ? low : high;
#pragma unroll
      for (int far = 0; far < 2; ++far) {
        to[far] = *reinterpret_cast<const unsigned*>(
            part + place_in_channels(near + far * 4, candidate / 4) + candidate % 4 * 4);
      }
    }
  } else {
    unsigned four[4];
    if constexpr (BY_CHANNEL) {
      ldmatrix_x4_trans(four,
                        part + place_in_channels(step * 16 + lane % 16, first / 8 + lane / 16));
    } else {
      ldmatrix_x4(four, part + place_in_rows(first + lane % 8 + lane / 16 * 8,
                                             step * 2 + lane / 8 % 2));
    }
    low[0] = four[0], low[1] = four[1], high[0] = four[2], high[1] = four[3];
  }
}

template <bool BY_CHANNEL>
__device__ __forceinline__ void multiply_slice(Sums& sums, const unsigned char* queries,
                                               const unsigned char* candidates) {
  const int lane = threadIdx.x % 32;
  const int first = threadIdx.x / 64 * 64;
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    unsigned a[4][4];
#pragma unroll
    for (int sixteen = 0; sixteen < 4; ++sixteen) {
      ldmatrix_x4(a[sixteen], queries + place_in_rows(first + sixteen * 16 + lane % 16,
                                                      step * 2 + lane / 16));
    }
#pragma unroll
    for (int sixteen = 0; sixteen < 4; ++sixteen) {
      unsigned low[2], high[2];
      load_candidates<BY_CHANNEL>(low, high, candidates, step, sixteen);
#pragma unroll
      for (int rows = 0; rows < 4; ++rows) {
        multiply_add(sums.parts[rows][sixteen * 2], a[rows], low);
        multiply_add(sums.parts[rows][sixteen * 2 + 1], a[rows], high);
      }
    }
  }
}

// Goes through tiles.  `keeps_queries`: shared memory holds all channels of the queries, which are
// then read once, besides STAGES slices of candidates; else STAGES slices of both.
template <class Candidates, class Visit>
__device__ __forceinline__ void go_through(unsigned char* shared, const Rows& queries,
                                           const Candidates& candidates, int first_query,
                                           const Tiles& tiles, bool keeps_queries, Visit visit) {
  const int slices = (queries.channels + SLICE - 1) / SLICE;
  unsigned char* of_queries = shared;
  unsigned char* of_candidates = shared + (keeps_queries ? slices : STAGES) * PART_BYTES;

  // What is copied next: the slice of a tile, and where to.
  int next_tile = tiles.begin;
  int next_slice = 0;
  int next_stage = 0;
  auto copy_next = [&] {
    if (next_tile < tiles.end) {
      copy_slice(of_candidates + next_stage * PART_BYTES, candidates, next_tile * TILE_CANDIDATES,
                 next_slice);
      if (!keeps_queries || next_tile == tiles.begin) {
        copy_slice(of_queries + (keeps_queries ? next_slice : next_stage) * PART_BYTES, queries,
                   first_query, next_slice);
      }
      next_stage = next_stage + 1 == STAGES ? 0 : next_stage + 1;
      next_slice += 1;
      if (next_slice == slices) {
        next_slice = 0;
        next_tile += tiles.stride;
      }
    }
    commit_copies(); // also none: so that the number of groups tells which have come
  };

#pragma unroll
  for (int stage = 0; stage < STAGES - 1; ++stage) {
    copy_next();
  }
  int stage = 0;
  for (int tile = tiles.begin; tile < tiles.end; tile += tiles.stride) {
    Sums sums = {};
    for (int slice = 0; slice < slices; ++slice) {
      wait_for_copies<STAGES - 2>();
      __syncthreads(); // all have their copies, and none reads what is overwritten next
      copy_next();
      multiply_slice<Candidates::BY_CHANNEL>(
          sums, of_queries + (keeps_queries ? slice : stage) * PART_BYTES,
          of_candidates + stage * PART_BYTES);
      stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    visit(tile, sums);
  }
  wait_for_copies<0>();
  __syncthreads();
}

#else

constexpr int TILE_QUERIES = 64;
constexpr int TILE_CANDIDATES = 64;
constexpr int OWN_CANDIDATES = 4;
constexpr int STREAMS = 16; // threads that share their queries; half a warp
constexpr int BLOCKS = 4;   // on a multiprocessor
constexpr int CHUNK = 16;   // channels of both tiles in shared memory at a time
constexpr int PITCH = 68;   // of a channel in shared memory: 16-byte rows, few bank conflicts
constexpr int LOADS = TILE_QUERIES * CHUNK / THREADS;

struct Sums {
  float parts[OWN_QUERIES][OWN_CANDIDATES];

  __device__ __forceinline__ float at(int i, int j) const { return parts[i][j]; }
};

__device__ __forceinline__ int own_query(int i) {
  return threadIdx.x / STREAMS * OWN_QUERIES + i;
}

__device__ __forceinline__ int own_candidate(int j) {
  return threadIdx.x % STREAMS * OWN_CANDIDATES + j;
}

__device__ __forceinline__ int own_stream() { return threadIdx.x % STREAMS; }

// The part of two tiles that is in shared memory, twice: one is read while the other is filled.
struct alignas(16) Chunks {
  float queries[2][CHUNK][PITCH];
  float candidates[2][CHUNK][PITCH];
};

// What a thread carries from global to shared memory: of rows, one channel of every eighth; where a
// channel's values lie side by side, every second channel of one descriptor.
template <class Source> struct Carrier {
  static constexpr int ROWS = THREADS / CHUNK;
  static constexpr int CHANNELS = THREADS / TILE_CANDIDATES;

  static __device__ int row(int load) {
    return Source::BY_CHANNEL ? threadIdx.x % TILE_CANDIDATES : threadIdx.x / CHUNK + ROWS * load;
  }
  static __device__ int channel(int load) {
    return Source::BY_CHANNEL ? threadIdx.x / TILE_CANDIDATES + CHANNELS * load
                              : threadIdx.x % CHUNK;
  }
  static __device__ void fetch(float (&to)[LOADS], const Source& source, int first, int chunk) {
#pragma unroll
    for (int load = 0; load < LOADS; ++load) {
      const int from_row = first + row(load);
      const int from_channel = chunk * CHUNK + channel(load);
      to[load] = from_row < source.count && from_channel < source.channels
                     ? to_float(source.values[source.offset(from_row) +
                                              from_channel * source.channel_stride()])
                     : 0.0f;
    }
  }
  static __device__ void store(float (&to)[CHUNK][PITCH], const float (&from)[LOADS]) {
#pragma unroll
    for (int load = 0; load < LOADS; ++load) {
      to[channel(load)][row(load)] = from[load];
    }
  }
};

// Adds the products of one chunk to a thread's 8 × 4 sums.
__device__ __forceinline__ void multiply_chunk(const Chunks& chunks, int side, Sums& sums) {
  const int first_query = own_query(0);
  const int first_candidate = own_candidate(0);
#pragma unroll
  for (int channel = 0; channel < CHUNK; ++channel) {
    float query[OWN_QUERIES];
    float candidate[OWN_CANDIDATES];
    const float4 low =
        *reinterpret_cast<const float4*>(&chunks.queries[side][channel][first_query]);
    const float4 high =
        *reinterpret_cast<const float4*>(&chunks.queries[side][channel][first_query + 4]);
    const float4 four =
        *reinterpret_cast<const float4*>(&chunks.candidates[side][channel][first_candidate]);
    query[0] = low.x, query[1] = low.y, query[2] = low.z, query[3] = low.w;
    query[4] = high.x, query[5] = high.y, query[6] = high.z, query[7] = high.w;
    candidate[0] = four.x, candidate[1] = four.y, candidate[2] = four.z, candidate[3] = four.w;
#pragma unroll
    for (int i = 0; i < OWN_QUERIES; ++i) {
#pragma unroll
      for (int j = 0; j < OWN_CANDIDATES; ++j) {
        sums.parts[i][j] = __fmaf_rn(query[i], candidate[j], sums.parts[i][j]);
      }
    }
  }
}

// Goes through tiles; the queries are read again with every tile.
template <class Candidates, class Visit>
__device__ __forceinline__ void go_through(unsigned char* shared, const Rows& queries,
                                           const Candidates& candidates, int first_query,
                                           const Tiles& tiles, bool, Visit visit) {
  Chunks& chunks = *reinterpret_cast<Chunks*>(shared);
  const int steps = (queries.channels + CHUNK - 1) / CHUNK;
  float from_queries[LOADS];
  float from_candidates[LOADS];
  auto fetch = [&](int tile, int step) {
    Carrier<Rows>::fetch(from_queries, queries, first_query, step);
    Carrier<Candidates>::fetch(from_candidates, candidates, tile * TILE_CANDIDATES, step);
  };
  auto store = [&](int side) {
    Carrier<Rows>::store(chunks.queries[side], from_queries);
    Carrier<Candidates>::store(chunks.candidates[side], from_candidates);
  };

  int side = 0;
  if (tiles.begin < tiles.end) {
    fetch(tiles.begin, 0);
    store(0);
  }
  __syncthreads();
  for (int tile = tiles.begin; tile < tiles.end; tile += tiles.stride) {
    Sums sums = {};
    for (int step = 0; step < steps; ++step) {
      const bool last_step = step + 1 == steps;
      const bool more = !last_step || tile + tiles.stride < tiles.end;
      if (more) {
        fetch(last_step ? tile + tiles.stride : tile, last_step ? 0 : step + 1);
      }
      multiply_chunk(chunks, side, sums);
      if (more) {
        store(side ^ 1);
      }
      side ^= 1;
      __syncthreads();
    }
    visit(tile, sums);
  }
}

#endif

// Calls each(i, j, value), by ascending j, for those of a thread's sums that pass test(i, value).
template <class Test, class Each>
__device__ __forceinline__ void for_those(const Sums& sums, Test test, Each each) {
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    unsigned those = 0;
#pragma unroll
    for (int j = 0; j < OWN_CANDIDATES; ++j) {
      those |= test(i, sums.at(i, j)) ? 1u << j : 0u;
    }
    // Few come here; one copy of the code for all j keeps the kernels small.
#pragma unroll 1
    for (; those != 0; those &= those - 1) {
      const int j = __ffs(static_cast<int>(those)) - 1;
      float value = sums.at(i, 0);
#pragma unroll
      for (int other = 1; other < OWN_CANDIDATES; ++other) {
        value = j == other ? sums.at(i, other) : value;
      }
      each(i, j, value);
    }
  }
}
