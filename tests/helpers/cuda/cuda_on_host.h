// Runs CUDA C++ on the host: one fiber per CUDA thread, so that barriers and warp shuffles keep their meaning.
//
// The scheduler is made to be unkind. It runs one warp as far as it can go before it looks at the next, so that a warp
// that is not held back by a barrier is far ahead of the others; and it goes through warps and lanes in the order it is
// told, so that code which relies on an order is caught by the other one. Threads that wait for each other at different
// barriers are an error, as is a shuffle from a lane that is not there or that its mask does not name, a misaligned
// address, an access beyond a variable of a thread, and a grid or a block that CUDA refuses.
//
// With -fsanitize=thread every fiber is one of ThreadSanitizer's, and memory is in order where CUDA orders it: at
// __syncthreads and at a launch; a shuffle orders nothing. So an access within a block that comes before another by luck
// of the scheduler alone is reported, whatever the numbers are. Blocks come one after the other.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))  // by ThreadSanitizer
#else
#define UNSEEN
#endif

// What CUDA C++ has by itself.
#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static

using std::exp;
using std::expm1;
using std::fabs;
using std::fmax;
using std::log;
using std::log1p;
using std::max;
using std::min;
using std::pow;
using std::sqrt;
using std::tanh;

struct Index {
  unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}

#ifndef __SANITIZE_THREAD__  // which would report the counting
#define COUNT(size) (host::counts[0] += (size), host::counts[1]++)
#endif

namespace host {

static unsigned long long counts[2];  // bytes that `load` and `store` moved, and in how many accesses

const int WARP = 32;
const std::size_t STACK_BYTES = 128 << 10;

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
  std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
  ucontext_t context;
  jmp_buf resume;
  bool entered = false;
  Index thread;
  State state;
  unsigned long long slot;  // what a shuffle hands over
  int passed = 0;           // barriers so far
  void *tsan = nullptr;
};

static Fiber *fibers[1024];  // kept from launch to launch
static int threads, current, removed_barrier = -1;
static std::string error;
static void (*body)(void **);
static void **arguments;

UNSEEN static Fiber &self() { return *fibers[current]; }

// How a fiber and the scheduler hand over to each other, and what orders memory between them.
#ifdef __SANITIZE_THREAD__

const int MOST_THREADS = 256;  // of a block, that ThreadSanitizer tells apart
static ucontext_t scheduler;
static void *launching;                 // the fiber that launches
static char begins, ends, barriers[2];  // what is released and acquired: barriers in turn

UNSEEN static void acquire(char *order) { __tsan_acquire(order); }
UNSEEN static void release_order(char *order) { __tsan_release(order); }

UNSEEN static void leave() {
  Fiber &f = self();
  __tsan_switch_to_fiber(launching, __tsan_switch_to_fiber_no_sync);
  swapcontext(&f.context, &scheduler);
}

UNSEEN static void enter(Fiber &f) {
  __tsan_switch_to_fiber(f.tsan, __tsan_switch_to_fiber_no_sync);
  swapcontext(&scheduler, &f.context);
}

#else

const int MOST_THREADS = 1024;  // of a block
static jmp_buf scheduler;
static char begins, ends, barriers[2];

static void acquire(char *) {}
static void release_order(char *) {}

static void leave() {  // by longjmp, which is faster than swapcontext by two system calls
  if (!_setjmp(self().resume)) _longjmp(scheduler, 1);
}

static void enter(Fiber &f) {
  if (_setjmp(scheduler)) return;
  if (f.entered) _longjmp(f.resume, 1);
  f.entered = true;
  setcontext(&f.context);
}

#endif

UNSEEN static void wait(State state) {
  self().state = state;
  leave();
}

UNSEEN static void entry() {
  for (;;) {  // a fiber that is done is the next block's fiber of the same number
    acquire(&begins);
    body(arguments);
    release_order(&ends);
    wait(DONE);
  }
}

UNSEEN static void start(int i) {
  if (!fibers[i]) {
    fibers[i] = new Fiber;
    ucontext_t &context = fibers[i]->context;
    getcontext(&context);
    context.uc_stack.ss_sp = fibers[i]->stack.get();
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
#ifdef __SANITIZE_THREAD__
  fibers[i]->tsan = __tsan_create_fiber(0);  // of this block alone: it tells 255 apart
#endif
  fibers[i]->state = READY;
  fibers[i]->passed = 0;
  fibers[i]->thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

UNSEEN static void resume(int i) {
  current = i;
  threadIdx = fibers[i]->thread;
  enter(*fibers[i]);
}

// Lets those pass that wait at a barrier, if all of [first, last) that are still alive do.
UNSEEN static bool release(int first, int last, State barrier) {
  bool any = false;
  for (int i = first; i < last; i++) {
    if (fibers[i]->state != barrier && fibers[i]->state != DONE) return false;
    any |= fibers[i]->state == barrier;
  }
  for (int i = first; i < last; i++)
    if (fibers[i]->state == barrier) fibers[i]->state = READY;
  return any;
}

// One warp as far as it can go; false where it could not move at all.
UNSEEN static bool run_warp(int first, int last, bool reversed) {
  bool moved = false, again = true;
  while (again && error.empty()) {
    again = false;
    for (int k = 0; k < last - first; k++) {
      const int i = reversed ? last - 1 - k : first + k;
      if (fibers[i]->state != READY) continue;
      resume(i);
      moved = again = true;
    }
    again |= release(first, last, AT_WARP);
  }
  return moved;
}

UNSEEN static void run_block(bool reversed) {
  for (int i = 0; i < threads; i++) start(i);
  acquire(&ends);
  release_order(&begins);
  const int warps = (threads + WARP - 1) / WARP;
  for (bool moved = true; moved && error.empty();) {
    moved = false;
    for (int k = 0; k < warps; k++) {
      const int warp = reversed ? warps - 1 - k : k;
      moved |= run_warp(warp * WARP, min(threads, (warp + 1) * WARP), reversed);
    }
    moved |= release(0, threads, AT_BLOCK);
  }
#ifdef __SANITIZE_THREAD__
  for (int i = 0; i < threads; i++) __tsan_destroy_fiber(fibers[i]->tsan);
#endif
  for (int i = 0; i < threads && error.empty(); i++)
    if (fibers[i]->state != DONE) error = "threads wait for each other at different barriers";
}

// What CUDA says of a grid and a block that it refuses; empty for others.
UNSEEN static const char *refusal(const unsigned *grid, const unsigned *block) {
  if (grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) return "a grid of too many blocks";
  if (!grid[0] || !grid[1] || !grid[2]) return "a grid without blocks";
  if ((unsigned long long)block[0] * block[1] * block[2] > MOST_THREADS) return "a block of too many threads";
  return "";
}

// Runs a kernel, or of it the block of a number alone, if that is not negative; returns what went wrong, or null.
UNSEEN static const char *launch(void (*kernel)(void **), void **args, const unsigned *grid, const unsigned *block,
                                 bool reversed, long long only) {
  error = refusal(grid, block);
  if (!error.empty()) return error.c_str();
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = block[0] * block[1] * block[2];
  body = kernel;
  arguments = args;
#ifdef __SANITIZE_THREAD__
  launching = __tsan_get_current_fiber();
#endif
  const unsigned long long all = (unsigned long long)grid[0] * grid[1] * grid[2];
  const unsigned long long first = only < 0 ? 0 : only, last = only < 0 ? all : only + 1;
  for (unsigned long long k = first; k < last && error.empty(); k++) {
    const unsigned long long i = reversed ? first + last - 1 - k : k;
    blockIdx = {unsigned(i % grid[0]), unsigned(i / grid[0] % grid[1]), unsigned(i / grid[0] / grid[1])};
    run_block(reversed);
  }
  acquire(&ends);
  if (error.empty()) return nullptr;
  for (Fiber *&fiber : fibers) delete fiber, fiber = nullptr;  // some stand in the middle of the kernel
  return error.c_str();
}

UNSEEN static void barrier(int number) {
  if (number == removed_barrier) return;
  char *order = &barriers[self().passed++ & 1];
  release_order(order);
  wait(AT_BLOCK);
  acquire(order);
}

}  // namespace host

#ifndef __SANITIZE_THREAD__
struct Mismatch {  // what the compiler tells of an access
  const char *file;
  unsigned line, column;
  const void *type;
  unsigned char log_alignment, kind;
};

// What the compiler calls, by -fsanitize=alignment and object-size, before a read or a write at an address that is no
// multiple of what its type asks for, where a card ends the kernel, or beyond a variable of the thread.
extern "C" void __ubsan_handle_type_mismatch_v1(Mismatch *access, unsigned long address) {
  const unsigned long beside = address & ((1ul << access->log_alignment) - 1);
  host::error = beside ? "a misaligned address" : "an access beyond a variable";
  host::wait(host::DONE);
}
#endif

// Gives what has been counted since it was last asked.
extern "C" void take_counts(unsigned long long *to) {
  for (int i = 0; i < 2; i++) to[i] = host::counts[i], host::counts[i] = 0;
}

// Barriers are numbered as they stand in the source; a test removes one.
#define __syncthreads() host::barrier(__COUNTER__)
extern "C" UNSEEN void remove_barrier(int number) { host::removed_barrier = number; }

template <class T>
UNSEEN T __shfl_xor_sync(unsigned mask, T value, int distance) {
  const int first = host::current / host::WARP * host::WARP, source = first + ((host::current - first) ^ distance);
  if (!(mask >> (host::current - first) & 1) || !(mask >> (source - first) & 1)) {
    host::error = "a shuffle of a lane that its mask does not name";
    host::wait(host::DONE);
  }
  std::memcpy(&host::self().slot, &value, sizeof value);
  host::wait(host::AT_WARP);
  if (source >= host::threads || host::fibers[source]->state == host::DONE) {
    host::error = "a shuffle reads from a lane that is not there";
    host::wait(host::DONE);
  }
  std::memcpy(&value, &host::fibers[source]->slot, sizeof value);
  host::wait(host::AT_WARP);
  return value;
}
