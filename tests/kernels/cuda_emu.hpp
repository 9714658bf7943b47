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
struct Fiber { ucontext_t ctx; jmp_buf jb; bool started; Wait st; dim3 tid; int lin; char* stack; uint64_t slot[8]; };
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
  for (int i = 0; i < n; ++i) { Fiber& f = fb[i]; f.lin = i; f.tid = dim3(i % bDim.x, i / bDim.x % bDim.y, i / (bDim.x * bDim.y)); f.st = READY; f.started = false;
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
// mma.sync.m16n8k16 row.col f32.bf16.bf16.f32 with PTX's fragment layout
inline void mma_bf16_16816(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emu::Fiber* me = emu::cur; uint32_t* s = (uint32_t*)me->slot; std::memcpy(s, a, 16); std::memcpy(s + 4, b, 8); emu::wait(emu::WARP);
  int base = me->lin & ~31, g = (me->lin & 31) >> 2, t = me->lin & 3;
  auto bf = [](uint32_t w, int h) { return __bfloat162float({uint16_t(w >> (16 * h))}); };
  auto A = [&](int r, int k) { uint32_t* q = (uint32_t*)emu::fb[base + (r & 7) * 4 + (k & 7) / 2].slot; return bf(q[(r >> 3) + 2 * (k >> 3)], k & 1); };
  auto B = [&](int k, int n) { uint32_t* q = (uint32_t*)emu::fb[base + n * 4 + (k & 7) / 2].slot; return bf(q[4 + (k >> 3)], k & 1); };
  for (int i = 0; i < 4; ++i) { int r = g + 8 * (i >> 1), n = 2 * t + (i & 1); float acc = c[i]; for (int k = 0; k < 16; ++k) acc += A(r, k) * B(k, n); c[i] = acc; }
  emu::wait(emu::WARP);
}
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
