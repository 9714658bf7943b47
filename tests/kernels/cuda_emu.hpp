// cuda_emu.hpp: run a .cu kernel file on the CPU under plain g++ (one fiber per CUDA thread).
// g++ -std=c++17 -O2 -U_FORTIFY_SOURCE -fno-strict-aliasing -shared -fPIC -x c++ -DCUDA_EMU -include cuda_emu.hpp k.cu -o libk.so
#pragma once
#include <ucontext.h>
#include <setjmp.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <functional>
#include <vector>
struct dim3 { unsigned x, y, z; dim3(unsigned a=1, unsigned b=1, unsigned c=1) : x(a), y(b), z(c) {} };
struct float2 { float x, y; }; struct alignas(16) float4 { float x, y, z, w; }; struct int2 { int x, y; };
inline float4 make_float4(float a,float b,float c,float d){ return {a,b,c,d}; }
inline float2 make_float2(float a,float b){ return {a,b}; }
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static            /* blocks run one after another: function-static == per block */
#define DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(emu::dyn_shared)
namespace emu {
enum Wait { READY, BLOCK, WARP, DONE };
struct Copy { void* to; const void* from; int bytes; };
struct Fiber { ucontext_t ctx; jmp_buf jb; bool started; Wait st; dim3 tid; int lin; char* stack; uint64_t slot[8]; std::vector<std::vector<Copy>> copies; };
inline std::vector<Fiber> fb; inline Fiber* cur; inline ucontext_t sched; inline jmp_buf sjb;
inline dim3 bIdx, bDim, gDim; inline const std::function<void()>* body; alignas(128) inline char dyn_shared[232448];
constexpr size_t STACK = 64 * 1024;
inline void entry() { (*body)(); cur->st = DONE; _longjmp(sjb, 1); }
inline void wait(Wait w) { cur->st = w; if (!_setjmp(cur->jb)) _longjmp(sjb, 1); }   // no signal-mask system calls, unlike swapcontext
inline void resume(Fiber* f) { cur = f; if (!_setjmp(sjb)) { if (f->started) _longjmp(f->jb, 1); f->started = true; swapcontext(&sched, &f->ctx); } }
inline void die(const char* m) { std::fprintf(stderr, "cuda_emu: %s (block %u,%u,%u)\n", m, bIdx.x, bIdx.y, bIdx.z); std::abort(); }
inline void run_block() {
  int n = bDim.x * bDim.y * bDim.z;
  while ((int)fb.size() < n) { fb.emplace_back(); fb.back().stack = (char*)std::malloc(STACK); }
  for (int i = 0; i < n; ++i) { Fiber& f = fb[i]; f.lin = i; f.tid = dim3(i % bDim.x, i / bDim.x % bDim.y, i / (bDim.x * bDim.y)); f.st = READY; f.started = false; f.copies.assign(1, {});
    getcontext(&f.ctx); f.ctx.uc_stack.ss_sp = f.stack; f.ctx.uc_stack.ss_size = STACK; f.ctx.uc_link = nullptr; makecontext(&f.ctx, entry, 0); }
  for (;;) {
    int done = 0, block = 0; bool progress = false;
    for (int w = 0; w < n; w += 32) {                       // warp by warp; a warp runs on until it blocks
      int e = std::min(n, w + 32);
      for (;;) { int ready = 0, wb = 0, dn = 0;
        for (int i = w; i < e; ++i) if (fb[i].st == READY) { resume(&fb[i]); progress = true; }
        for (int i = w; i < e; ++i) { wb += fb[i].st == WARP; dn += fb[i].st == DONE; ready += fb[i].st == READY; }
        if (wb && wb + dn == e - w) { for (int i = w; i < e; ++i) if (fb[i].st == WARP) fb[i].st = READY; continue; }
        if (wb && !ready) die("warp diverged at a warp collective");
        break; }
      for (int i = w; i < e; ++i) { done += fb[i].st == DONE; block += fb[i].st == BLOCK; }
    }
    if (done == n) return;
    if (block && done) die("__syncthreads not reached by all threads");
    if (block == n) { for (int i = 0; i < n; ++i) fb[i].st = READY; continue; }
    if (!progress) die("deadlock");
  }
}
inline void launch(dim3 grid, dim3 block, size_t shmem, const std::function<void()>& f) {
  if (shmem > sizeof dyn_shared) die("too much dynamic shared memory");
  gDim = grid; bDim = block; body = &f;
  for (unsigned z = 0; z < grid.z; ++z) for (unsigned y = 0; y < grid.y; ++y) for (unsigned x = 0; x < grid.x; ++x) {
    bIdx = dim3(x, y, z); std::memset(dyn_shared, 0xCD, shmem); run_block(); }
}
template <class T> T xchg(T v, int src) {                    // every lane publishes, then reads lane src
  std::memcpy(&cur->slot[0], &v, sizeof v); Fiber* me = cur; wait(WARP);
  int base = me->lin & ~31; T r; std::memcpy(&r, &fb[base + (src & 31)].slot[0], sizeof r); wait(WARP); return r; }
}
#define threadIdx (emu::cur->tid)
#define blockIdx  (emu::bIdx)
#define blockDim  (emu::bDim)
#define gridDim   (emu::gDim)
inline void __syncthreads() { emu::wait(emu::BLOCK); }
inline int __syncthreads_or(int p) { emu::Fiber* me = emu::cur; me->slot[0] = p != 0; emu::wait(emu::BLOCK); int any = 0;
  for (unsigned i = 0; i < emu::bDim.x * emu::bDim.y * emu::bDim.z; ++i) any |= (int)emu::fb[i].slot[0]; emu::wait(emu::BLOCK); return any; }
inline void __syncwarp(unsigned = ~0u) { emu::wait(emu::WARP); }
template <class T> T __shfl_sync(unsigned, T v, int s) { return emu::xchg(v, s); }
template <class T> T __shfl_xor_sync(unsigned, T v, int m) { return emu::xchg(v, (emu::cur->lin ^ m) & 31); }
template <class T> T __shfl_down_sync(unsigned, T v, int d) { int l = emu::cur->lin & 31; return emu::xchg(v, l + d < 32 ? l + d : l); }
inline unsigned __ballot_sync(unsigned, int p) { unsigned r = 0; emu::cur->slot[0] = p != 0; emu::Fiber* me = emu::cur; emu::wait(emu::WARP);
  for (int i = 0; i < 32; ++i) r |= (unsigned)emu::fb[(me->lin & ~31) + i].slot[0] << i; emu::wait(emu::WARP); return r; }
template <class T> T atomicAdd(T* p, T v) { T o = *p; *p += v; return o; }
template <class T> T atomicMax(T* p, T v) { T o = *p; *p = std::max(o, v); return o; }
inline unsigned atomicCAS(unsigned* p, unsigned c, unsigned v) { unsigned o = *p; if (o == c) *p = v; return o; }
template <class T> T __ldg(const T* p) { return *p; }
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
using std::max; using std::min;
struct __nv_bfloat16 { uint16_t u; };
inline float __bfloat162float(__nv_bfloat16 b) { uint32_t x = uint32_t(b.u) << 16; float f; std::memcpy(&f, &x, 4); return f; }
inline __nv_bfloat16 __float2bfloat16(float f) { uint32_t x; std::memcpy(&x, &f, 4); return {uint16_t((x + 0x7fff + ((x >> 16) & 1)) >> 16)}; }
// Arithmetic that is rounded step by step, bits, and float16 with round to nearest even.
#define __align__(n) __attribute__((aligned(n)))
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fsub_rn(float a, float b) { volatile float r = a - b; return r; }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline unsigned __float_as_uint(float f) { unsigned u; std::memcpy(&u, &f, 4); return u; }
inline float __uint_as_float(unsigned u) { float f; std::memcpy(&f, &u, 4); return f; }
struct __half { uint16_t u; };
inline float __half2float(__half h) {
  const int sign = h.u >> 15, exponent = (h.u >> 10) & 31, fraction = h.u & 1023;
  float value = exponent == 0 ? std::ldexp(float(fraction), -24)
                : exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : std::ldexp(float(fraction + 1024), exponent - 25);
  return sign ? -value : value;
}
inline int __ffs(int x) { return __builtin_ffs(x); }

// mma.sync with PTX's fragment layouts: a 16 x K matrix by rows times a K x 8 one by columns; lane l
// holds rows l / 4 and l / 4 + 8, and column l / 4.  A register holds PACKED neighbours along K.
// Sums are as bad as measured on any GPU: four exact products and the sum are cut at the 24th bit
// below the largest of them, and so is the result.
namespace emu {
inline float cut(double x) { float f = (float)x; return std::fabs((double)f) > std::fabs(x) ? std::nextafterf(f, 0.f) : f; }
inline float add_four(float sum, const double* products) {
  double top = std::fabs((double)sum), plain = sum; for (int i = 0; i < 4; ++i) { top = std::max(top, std::fabs(products[i])); plain += products[i]; }
  if (!std::isfinite(plain) || top == 0) return (float)plain;
  const double unit = std::ldexp(1., std::ilogb(top) - 23), per = 1 / unit;
  double total = std::trunc(sum * per); for (int i = 0; i < 4; ++i) total += std::trunc(products[i] * per);
  return cut(total * unit);
}
template <int PACKED, class Read> void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Read read) {
  constexpr int HALF = 4 * PACKED, K = 2 * HALF;
  Fiber* me = cur; uint32_t* own = (uint32_t*)me->slot; std::memcpy(own, a, 16); std::memcpy(own + 4, b, 8); wait(WARP);
  const int base = me->lin & ~31, g = (me->lin & 31) >> 2, t = me->lin & 3;
  double rows[2][K], columns[2][K];
  for (int k = 0; k < K; ++k) {
    const int lane = k % HALF / PACKED, half = k / HALF, part = k % PACKED;
    for (int i = 0; i < 2; ++i) {
      rows[i][k] = read(((uint32_t*)fb[base + g * 4 + lane].slot)[i + 2 * half], part);
      columns[i][k] = read(((uint32_t*)fb[base + (2 * t + i) * 4 + lane].slot)[4 + half], part);
    }
  }
  for (int i = 0; i < 4; ++i) {
    double products[K]; for (int k = 0; k < K; ++k) products[k] = rows[i >> 1][k] * columns[i & 1][k];
    for (int k = 0; k < K; k += 4) c[i] = add_four(c[i], products + k);
  }
  wait(WARP);
}
}
inline void mma_bf16_16816(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emu::mma<2>(c, a, b, [](uint32_t w, int part) { return __bfloat162float({uint16_t(w >> (16 * part))}); }); }
inline void mma_fp16_16816(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emu::mma<2>(c, a, b, [](uint32_t w, int part) { return __half2float({uint16_t(w >> (16 * part))}); }); }
// The last 13 bits of a float32 do not count.
inline void mma_tf32_1688(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emu::mma<1>(c, a, b, [](uint32_t w, int) { return __uint_as_float(w & 0xFFFFE000u); }); }

// ldmatrix.x4: lane l names row l % 8 of matrix l / 8 and receives elements (l / 4, 2 (l % 4)) and
// the next of every matrix; transposed, elements (2 (l % 4), l / 4) and the one below.
namespace emu {
inline void ldmatrix(uint32_t (&to)[4], const void* row, bool turned) {
  if ((uintptr_t)row % 16) die("ldmatrix: a row is not aligned");
  Fiber* me = cur; me->slot[0] = (uint64_t)row; wait(WARP);
  const int base = me->lin & ~31, g = (me->lin & 31) >> 2, t = me->lin & 3;
  for (int m = 0; m < 4; ++m) {
    auto at = [&](int r, int c) { return uint32_t(((const uint16_t*)fb[base + m * 8 + r].slot[0])[c]); };
    to[m] = turned ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
  }
  wait(WARP);
}
}
inline void ldmatrix_x4(uint32_t (&to)[4], const void* row) { emu::ldmatrix(to, row, false); }
inline void ldmatrix_x4_trans(uint32_t (&to)[4], const void* row) { emu::ldmatrix(to, row, true); }

// Asynchronous copies come as late as they may, when they are waited for, or, with eager_copies, at
// once: a missing wait shows in the one way, memory that is overwritten too early in the other.
namespace emu { inline bool eager_copies = false; }
extern "C" __attribute__((used)) inline void copy_eagerly(int eager) { emu::eager_copies = eager != 0; }
inline void copy_async(void* to, const void* from, bool there) {
  if ((uintptr_t)to % 16 || (uintptr_t)from % 16) emu::die("copy_async: an address is not aligned");
  if (!emu::eager_copies) emu::cur->copies.back().push_back({to, from, there ? 16 : 0});
  else if (there) std::memcpy(to, from, 16); else std::memset(to, 0, 16);
}
inline void commit_copies() { emu::cur->copies.emplace_back(); }
template <int left> void wait_for_copies() {
  auto& groups = emu::cur->copies;   // the last one is open
  while ((int)groups.size() > left + 1) {
    for (const emu::Copy& c : groups.front()) { if (c.bytes) std::memcpy(c.to, c.from, c.bytes); else std::memset(c.to, 0, 16); }
    groups.erase(groups.begin());
  }
}
