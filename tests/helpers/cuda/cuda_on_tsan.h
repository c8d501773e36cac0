// Runs CUDA C++ under ThreadSanitizer: a fiber of its for each CUDA thread, and memory in order where CUDA orders it. That
// is at __syncthreads and at a launch; a shuffle orders nothing. Blocks come one after the other. So an access within a block
// that comes before another by luck of the scheduler alone is reported, whatever the numbers are. The scheduler is a plain
// one: `cuda_on_host.h` has the one that looks for wrong numbers.
#include <sanitizer/tsan_interface.h>
#include <ucontext.h>

#include <cstdlib>

#include "cuda_names.h"

#define UNSEEN __attribute__((no_sanitize("thread"), noinline))  // by ThreadSanitizer

namespace host {

const int WARP = 32, MOST = 256;
const size_t STACK_BYTES = 128 << 10;
enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Fiber {
  char *stack;
  ucontext_t context;
  void *tsan;
  Index thread;
  State state;
  unsigned long long slot;  // what a shuffle hands over
  int passed;               // barriers so far
};

static Fiber fibers[MOST];
static ucontext_t scheduler;
static void *launching;  // the fiber that launches
static int threads, current, removed = -1;
static void (*body)(void **);
static void **arguments;
alignas(16) static char shared_memory[64 * 8192];
static const void *owners[64];  // of its parts, 8192 bytes each
static char begins, ends, barriers[2];  // what is released and acquired: barriers in turn

// The part of a block's shared memory that belongs to a declaration.
UNSEEN static void *shared(const void *declaration, size_t size) {
  int part = 0;
  while (owners[part] && owners[part] != declaration) part++;
  owners[part] = declaration;
  if (size > 8192) abort();
  return shared_memory + 8192 * part;
}

UNSEEN static void wait(State state) {
  Fiber &f = fibers[current];
  f.state = state;
  __tsan_switch_to_fiber(launching, __tsan_switch_to_fiber_no_sync);
  swapcontext(&f.context, &scheduler);
}

UNSEEN static void entry() {
  __tsan_acquire(&begins);
  body(arguments);
  __tsan_release(&ends);
  wait(DONE);
}

UNSEEN static void start(int i) {
  Fiber &f = fibers[i];
  if (!f.stack) f.stack = (char *)malloc(STACK_BYTES);
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack;
  f.context.uc_stack.ss_size = STACK_BYTES;
  f.context.uc_link = nullptr;
  makecontext(&f.context, entry, 0);
  f.tsan = __tsan_create_fiber(0);
  f.state = READY;
  f.passed = 0;
  f.thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
}

UNSEEN static bool resume(int i) {
  if (fibers[i].state != READY) return false;
  current = i;
  threadIdx = fibers[i].thread;
  __tsan_switch_to_fiber(fibers[i].tsan, __tsan_switch_to_fiber_no_sync);
  swapcontext(&scheduler, &fibers[i].context);
  return true;
}

// Lets those pass that wait at a barrier, if all of [first, last) that are still alive do.
UNSEEN static bool release(int first, int last, State barrier) {
  bool any = false;
  for (int i = first; i < last; i++) {
    if (fibers[i].state != barrier && fibers[i].state != DONE) return false;
    any |= fibers[i].state == barrier;
  }
  for (int i = first; i < last; i++)
    if (fibers[i].state == barrier) fibers[i].state = READY;
  return any;
}

UNSEEN static void run_block(bool reversed) {
  for (int i = 0; i < threads; i++) start(i);
  __tsan_acquire(&ends);
  __tsan_release(&begins);
  for (bool moved = true; moved;) {
    moved = false;
    for (int first = 0; first < threads; first += WARP) {
      const int last = min(threads, first + WARP);
      for (bool again = true; again;) {
        again = false;
        for (int k = 0; k < last - first; k++) again |= resume(reversed ? last - 1 - k : first + k);
        moved |= again;
        again |= release(first, last, AT_WARP);
      }
    }
    moved |= release(0, threads, AT_BLOCK);
  }
  for (int i = 0; i < threads; i++) __tsan_destroy_fiber(fibers[i].tsan);
}

UNSEEN static const char *launch(void (*kernel)(void **), void **args, const unsigned *grid, const unsigned *block,
                                 bool reversed) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = block[0] * block[1] * block[2];
  if (threads > MOST) return "more threads than ThreadSanitizer can tell apart";
  body = kernel;
  arguments = args;
  launching = __tsan_get_current_fiber();
  for (unsigned k = 0; k < grid[0] * grid[1] * grid[2]; k++) {
    blockIdx = {k % grid[0], k / grid[0] % grid[1], k / (grid[0] * grid[1])};
    run_block(reversed);
  }
  __tsan_acquire(&ends);
  return nullptr;
}

UNSEEN static void barrier(int number) {
  if (number == removed) return;
  char *one = &barriers[fibers[current].passed++ & 1];
  __tsan_release(one);
  wait(AT_BLOCK);
  __tsan_acquire(one);
}

}  // namespace host

// Barriers are numbered as they stand in the source; a test removes one.
#define __syncthreads() host::barrier(__COUNTER__)
extern "C" UNSEEN void remove_barrier(int number) { host::removed = number; }

template <class T>
UNSEEN T __shfl_xor_sync(unsigned, T value, int distance) {
  using namespace host;
  const int me = current, first = me / WARP * WARP, source = first + ((me - first) ^ distance);
  memcpy(&fibers[me].slot, &value, sizeof value);
  wait(AT_WARP);
  memcpy(&value, &fibers[source].slot, sizeof value);
  wait(AT_WARP);
  return value;
}
