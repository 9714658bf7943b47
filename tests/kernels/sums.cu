// The sums of tiles beside the similarities that count; emulated, and on a GPU.

#include "../../cuda/fused.cuh"

// All similarities of (N, D) queries and (M, D) candidates, as a tile has them and as they count,
// and how far they may be from each other.
extern "C" __global__ void compare_sums(const Element* queries, const Element* candidates,
                                        float* sums, float* exact, float* bounds, int count,
                                        int total, int channels, int keeps_queries) {
  DYN_SHARED(unsigned char, shared);
  const Rows asked = rows_of(queries, count, channels);
  const Rows offered = rows_of(candidates, total, channels);
  const int tiles = (total + TILE_CANDIDATES - 1) / TILE_CANDIDATES;
  const auto norm = [](const Rows& rows, int row) {
    float squares = 0.0f;
    for (int channel = 0; channel < rows.channels; ++channel) {
      const float value = to_float(rows.values[rows.offset(row) + channel]);
      squares = __fmaf_rn(value, value, squares);
    }
    return norm_of(squares);
  };
  go_through(shared, asked, offered, 0, {0, tiles, 1}, keeps_queries != 0,
             [&](int tile, const Sums& found) {
               for (int i = 0; i < OWN_QUERIES; ++i) {
                 for (int j = 0; j < OWN_CANDIDATES; ++j) {
                   const int query = own_query(i);
                   const int candidate = tile * TILE_CANDIDATES + own_candidate(j);
                   if (query < count && candidate < total) {
                     const size_t pair = static_cast<size_t>(query) * total + candidate;
                     sums[pair] = found.at(i, j);
                     exact[pair] = similarity_of(asked, query, offered, candidate);
                     bounds[pair] =
                         error_bound(norm(asked, query), norm(offered, candidate), channels);
                   }
                 }
               }
             });
}
