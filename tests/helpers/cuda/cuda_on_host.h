// Runs CUDA C++ on the host: one fiber per CUDA thread, so that barriers and warp shuffles keep their meaning.
//
// The scheduler is made to be unkind. It runs one warp as far as it can go before it looks at the next, so that a warp
// that is not held back by a barrier is far ahead of the others; and it goes through warps and lanes in the order it is
// told, so that code which relies on an order is caught by the other one. Threads that wait for each other at different
// barriers are an error, as is a shuffle from a lane that is not there.
#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda_names.h"

#define __shared__ static

#define COUNT(size) (host::counts[0] += (size), host::counts[1]++)

namespace host {

static unsigned long long counts[2];  // bytes that `load` and `store` moved, and in how many accesses

const int WARP = 32;
const std::size_t STACK_BYTES = 64 << 10;

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
  std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
  ucontext_t first;    // how it is entered once; from then on by longjmp, which is faster by two system calls
  jmp_buf resume;
  bool entered = false;
  Index thread;
  State state;
  unsigned long long slot;  // what a shuffle hands over
};

static std::vector<std::unique_ptr<Fiber>> fibers;  // kept from launch to launch
static jmp_buf scheduler;
static int threads, current;
static std::string error;
static void (*body)(void **);
static void **arguments;

static Fiber &self() { return *fibers[current]; }

static void wait(State state) {
  self().state = state;
  if (!_setjmp(self().resume)) _longjmp(scheduler, 1);
}

static void entry() {
  for (;;) {  // a fiber that is done is the next launch's fiber of the same number
    body(arguments);
    wait(DONE);
  }
}

static void resume(int i) {
  Fiber &f = *fibers[i];
  current = i;
  threadIdx = f.thread;
  if (_setjmp(scheduler)) return;
  if (f.entered) _longjmp(f.resume, 1);
  f.entered = true;
  setcontext(&f.first);
}

static void start(int i) {
  if (i == (int)fibers.size()) {
    fibers.emplace_back(new Fiber);
    ucontext_t &first = fibers[i]->first;
    getcontext(&first);
    first.uc_stack.ss_sp = fibers[i]->stack.get();
    first.uc_stack.ss_size = STACK_BYTES;
    makecontext(&first, entry, 0);
  }
  fibers[i]->state = READY;
  fibers[i]->thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

// Lets those pass that wait at a barrier, if all of [first, last) that are still alive do.
static bool release(int first, int last, State barrier) {
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
static bool run_warp(int first, int last, bool reversed) {
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

static void run_block(bool reversed) {
  for (int i = 0; i < threads; i++) start(i);
  const int warps = (threads + WARP - 1) / WARP;
  for (bool moved = true; moved && error.empty();) {
    moved = false;
    for (int k = 0; k < warps; k++) {
      const int warp = reversed ? warps - 1 - k : k;
      moved |= run_warp(warp * WARP, min(threads, (warp + 1) * WARP), reversed);
    }
    moved |= release(0, threads, AT_BLOCK);
  }
  for (int i = 0; i < threads && error.empty(); i++)
    if (fibers[i]->state != DONE) error = "threads wait for each other at different barriers";
}

// Runs a kernel; returns what went wrong, or null.
static const char *launch(void (*kernel)(void **), void **args, const unsigned *grid, const unsigned *block,
                          bool reversed) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = block[0] * block[1] * block[2];
  body = kernel;
  arguments = args;
  error.clear();
  const unsigned blocks = grid[0] * grid[1] * grid[2];
  for (unsigned k = 0; k < blocks && error.empty(); k++) {
    const unsigned i = reversed ? blocks - 1 - k : k;
    blockIdx = {i % grid[0], i / grid[0] % grid[1], i / (grid[0] * grid[1])};
    run_block(reversed);
  }
  if (error.empty()) return nullptr;
  fibers.clear();  // some stand in the middle of the kernel
  return error.c_str();
}

}  // namespace host

// Gives what has been counted since it was last asked.
extern "C" void take_counts(unsigned long long *to) {
  for (int i = 0; i < 2; i++) to[i] = host::counts[i], host::counts[i] = 0;
}

static void __syncthreads() { host::wait(host::AT_BLOCK); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int distance) {
  const int first = host::current / host::WARP * host::WARP, source = first + ((host::current - first) ^ distance);
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
