// What the searching kernels share: keys that order finds, the search for the best candidate of
// every query, and how near the tensor cores come to the similarity that counts.
//
// That similarity is similarity_of(): one multiply-add after the other in float32, channel by
// channel, as the multiply-add tiles do it.  So both engines of tiles.cuh lead to the same finds,
// bit for bit: with tensor cores, a *find* is a guess, and a second kernel evaluates exactly all
// guesses that the error bound does not rule out.
#pragma once

#include "tiles.cuh"

typedef unsigned long long Key;

// A key is larger the better the find is; 0 is "none".  The upper half orders the values, the lower
// one makes the lowest place win among equal values.
constexpr unsigned NO_PLACE = 0xFFFFFFFFu;

__device__ __forceinline__ Key key_of(unsigned order, unsigned place) {
  return (static_cast<Key>(order) << 32) | (NO_PLACE - place);
}

__device__ __forceinline__ unsigned place_of(Key key) {
  return NO_PLACE - static_cast<unsigned>(key);
}

// Unsigned numbers that compare as the floats do; -0 must have been turned into 0 before.
__device__ __forceinline__ unsigned order_of(float value) {
  const unsigned bits = __float_as_uint(value);
  return (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float value_of(Key key) {
  const unsigned order = static_cast<unsigned>(key >> 32);
  return __uint_as_float((order & 0x80000000u) ? order & 0x7FFFFFFFu : ~order);
}

// NaN and infinity differ from themselves when taken from themselves.
__device__ __forceinline__ bool is_finite(float value) {
  return __fsub_rn(value, value) == 0.0f;
}

// The same number, but unknown to the compiler: what is computed from it is computed there, and
// takes no registers before.
__device__ __forceinline__ int anew(int number) {
#ifndef CUDA_EMU
  asm volatile("" : "+r"(number));
#endif
  return number;
}

template <class T> __device__ __forceinline__ T largest_of_warp(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(0xFFFFFFFFu, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// The similarity that counts.
template <int UNROLL = 16, class Candidates>
__device__ float similarity_of(const Rows& queries, int query, const Candidates& candidates,
                               int candidate) {
  const Element* left = queries.values + queries.offset(query);
  const Element* right = candidates.values + candidates.offset(candidate);
  const size_t stride = candidates.channel_stride();
  float sum = 0.0f;
#pragma unroll UNROLL
  for (int channel = 0; channel < queries.channels; ++channel) {
    sum = __fmaf_rn(to_float(left[channel]), to_float(right[channel * stride]), sum);
  }
  return __fadd_rn(sum, 0.0f); // -0 becomes 0: they are equal
}

// How far a tile's sum is from similarity_of(), at most.
//
// Let S be the sum of |query · candidate| over the D channels; S <= the product of the norms
// (Cauchy and Schwarz).  With multiply-adds both are the same sum, and the bound is 0.  Else:
//
//   operands       float32 numbers enter the tensor cores without their last 13 bits, each off by
//                  less than 2^-10 of itself, a product by less than 2^-9 + 2^-20, so all together
//                  by less than (2^-9 + 2^-20) S.  2-byte numbers and their products are exact.
//   tensor cores   add 4, 8 or 16 products at a time to a sum, all shifted to the largest exponent
//                  among them and cut there after 24 bits or more (M. Fasi, N. Higham, M. Mikaitis,
//                  S. Pranesh, Numerical behavior of NVIDIA tensor cores, 2021).  An addend loses
//                  less than 2^-23 S, and so does each result; 4 products at a time, the worst, are
//                  6 losses: less than D · 1.5 · 2^-23 S.
//   similarity_of  rounds once a channel: less than D · 2^-24 S, and a little of second order.
//
// The last two make less than D · 2^-22 S.  D · 2^-21 is taken: the rest pays for the rounding of
// the norms (D · 2^-24 of them) and of the few comparisons with the bound (2^-24 S each).  The
// norms are a little larger than measured (norm_of), and 2^-100 is added, for numbers whose
// squares or products vanish.  Where anything overflows the bound is infinite or NaN, and every
// test is written so that then all is evaluated exactly.
__device__ __forceinline__ float error_bound(float query_norm, float largest_norm, int channels) {
#if TENSOR_CORES
  const float of_operands = ELEMENT == 0 ? 0x1p-9f + 0x1p-15f : 0.0f;
  // Sums can overflow only where the doubled product of the norms does.
  return (of_operands + static_cast<float>(channels) * 0x1p-21f) * 0.5f *
             (2.0f * query_norm * largest_norm) +
         0x1p-100f;
#else
  return 0.0f;
#endif
}

// A norm, not below the true one but for rounding; squares below the smallest number count as well.
__device__ __forceinline__ float norm_of(float sum_of_squares) {
  return sqrtf(sum_of_squares) + 0x1p-58f;
}

// What one share of the candidates holds for a query.
struct Slot {
  Key key;      // of the best, by a tile's sums; 0 for none
  float second; // no other of the share has a larger sum in a tile; unused with multiply-adds
};

__device__ __forceinline__ Slot merged(const Slot& one, const Slot& other) {
  const bool first_wins = one.key >= other.key;
  const Key lost = first_wins ? other.key : one.key;
  float second = one.second > other.second ? one.second : other.second;
  if (lost != 0 && value_of(lost) > second) {
    second = value_of(lost);
  }
  return {first_wins ? one.key : other.key, second};
}

// Merges what the threads of a block found and stores it, one slot for every `pitch`.
__device__ __forceinline__ void store_slots(unsigned char* shared, const Key (&keys)[OWN_QUERIES],
                                            const float (&seconds)[OWN_QUERIES], Slot* slots,
                                            size_t pitch, int first_query, int count) {
  Slot* found = reinterpret_cast<Slot*>(shared);
#pragma unroll
  for (int i = 0; i < OWN_QUERIES; ++i) {
    found[own_query(i) * STREAMS + own_stream()] = {keys[i], keys[i] != 0 ? seconds[i] : -INFINITY};
  }
  __syncthreads();
  const int row = threadIdx.x;
  if (row < TILE_QUERIES && first_query + row < count) {
    Slot best = found[row * STREAMS];
    for (int stream = 1; stream < STREAMS; ++stream) {
      best = merged(best, found[row * STREAMS + stream]);
    }
    slots[(first_query + row) * pitch] = best;
  }
}

// Goes through tiles and keeps the best candidate of every query of a block, in registers.
//
//   bars  a sum must exceed its query's bar to be considered: infinity, and none is; NaN, and all
//         are
//   consider(query, candidate, value, best, bar)  takes a candidate or not, and raises the bar
//   slots  for the results, or nullptr where consider keeps them itself
template <class Candidates, class Consider>
__device__ __forceinline__ void find_best(unsigned char* shared, const Rows& queries,
                                          const Candidates& candidates, int first_query,
                                          const Tiles& tiles, bool keeps_queries,
                                          float (&bars)[OWN_QUERIES], Consider consider,
                                          Slot* slots, size_t pitch) {
  Key best[OWN_QUERIES] = {};
  go_through(shared, queries, candidates, first_query, tiles, keeps_queries,
             [&](int tile, const Sums& sums) {
               float top[OWN_QUERIES]; // NaN only where all are
#pragma unroll
               for (int i = 0; i < OWN_QUERIES; ++i) {
                 top[i] = sums.at(i, 0);
#pragma unroll
                 for (int j = 1; j < OWN_CANDIDATES; ++j) {
                   top[i] = fmaxf(top[i], sums.at(i, j));
                 }
               }
               for_those(
                   sums,
                   [&](int i, float value) { return !(top[i] <= bars[i]) && !(value <= bars[i]); },
                   [&](int i, int j, float value) {
                     consider(first_query + own_query(i), tile * TILE_CANDIDATES + own_candidate(j),
                              __fadd_rn(value, 0.0f), best[i], bars[i]); // -0 becomes 0
                   });
             });
  if (slots != nullptr) {
    store_slots(shared, best, bars, slots, pitch, first_query, queries.count);
  }
}

// Takes a candidate that exceeds the bar.  Later ones must exceed the best, or the second best
// where sums are guesses: then the bar is the largest sum of all but the best.
__device__ __forceinline__ void keep_better(float value, int candidate, Key& best, float& bar) {
  const float first = best != 0 ? value_of(best) : -INFINITY;
  if (value > first) {
    bar = TENSOR_CORES ? first : value;
    best = key_of(order_of(value), static_cast<unsigned>(candidate));
  } else {
    bar = value;
  }
}

// The best candidate of a query over all its slots, exactly; a warp works together.  `best` is what
// is known already.
//
//   exact(candidate)  its key by similarity_of, 0 if it does not count; candidates of the slots'
//                     keys have been allowed before, the others have not
template <class Exact>
__device__ Key settled(const Slot* slots, int splits, int total, float error, Key best,
                      Exact exact) {
  const int lane = threadIdx.x % 32;
  float top = -INFINITY;
  for (int split = lane; split < splits; split += 32) {
    const Key key = slots[split].key;
    if (key != 0 && value_of(key) > top) {
      top = value_of(key);
    }
  }
  top = largest_of_warp(top);
  for (int split = lane; split < splits; split += 32) {
    const Key key = slots[split].key;
    if (key != 0 && !(value_of(key) + 2.0f * error < top)) {
      const Key found = exact(static_cast<int>(place_of(key)));
      best = found > best ? found : best;
    }
  }
  best = largest_of_warp(best);
#if TENSOR_CORES
  // A share whose second best might be better, or as good and come first, is gone through again.
  const int tiles = (total + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  for (int split = 0; split < splits; ++split) {
    const float second = slots[split].second;
    const bool nothing_else = second == -INFINITY && is_finite(error);
    if (nothing_else || (best != 0 && second + error < value_of(best))) {
      continue;
    }
    const Tiles share = share_of(tiles, 1, splits, split);
    const int end = min(share.end * TILE_CANDIDATES, total);
    for (int candidate = share.begin * TILE_CANDIDATES + lane; candidate < end; candidate += 32) {
      const Key found = exact(candidate);
      best = found > best ? found : best;
    }
    best = largest_of_warp(best);
  }
#endif
  return best;
}
