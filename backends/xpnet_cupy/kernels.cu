// xpnet's CUDA kernels. Compiled for `REAL` float and double, by NVRTC at first use; the tests compile the same text
// for the host, where every CUDA thread is a fiber, and compare each kernel with float64.
//
// Matrices are C-contiguous, (rows, cols). A loop that starts at a thread's place in the grid and steps by the size of
// the grid (a grid-stride loop) covers any number of rows and columns, whatever the grid. Pointers marked OR_NULL may be
// null. Sums are taken in a fixed order and never with float atomics, so that a run repeats bit for bit. NaN and
// infinities propagate as in `xpnet.ops`. A pointer is `__restrict__` where nothing else in the call may lie at the same
// place, so that loads need not wait for the stores before them.

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

#define KERNEL extern "C" __global__ void
#define OR_NULL  // kernel_table.py reads it

// This thread's number in its block, and how many there are.
__device__ inline int thread_rank() { return threadIdx.y * blockDim.x + threadIdx.x; }
__device__ inline int thread_count() { return blockDim.x * blockDim.y; }

// Every item of a flat array, shared among the threads of the grid.
#define FOR_EACH(i, size)                                                                      \
  for (long long i = (long long)blockIdx.x * thread_count() + thread_rank(); i < (size); \
       i += (long long)gridDim.x * thread_count())

__device__ inline bool first_thread() { return blockIdx.x == 0 && blockIdx.y == 0 && thread_rank() == 0; }

// Items that a thread loads and stores at once.
template <class T, int COUNT_OF>
struct alignas(sizeof(T) * COUNT_OF) Several {
  T v[COUNT_OF];
};
const int PACK = 16 / sizeof(real);
typedef Several<real, PACK> Pack;

// Loads and stores of whole passes over memory. The tests count them.
#ifndef COUNT
#define COUNT(bytes)
#endif

template <class T>
__device__ T load(const T *p) {
  COUNT(sizeof(T));
  return *p;
}

template <class T>
__device__ void store(T *p, const T &value) {
  COUNT(sizeof(T));
  *p = value;
}

template <class T>
__device__ bool aligned(const T *p) { return (unsigned long long)p % (PACK * sizeof(T)) == 0; }

// ---------------------------------------------------------------------------------------------------- activations

struct Identity {
  static __device__ real of(real x) { return x; }
  static __device__ real backward(real d_out, real) { return d_out; }
};
struct Relu {
  static __device__ real of(real x) { return x < 0 ? real(0) : x; }  // false for NaN, which stays
  static __device__ real backward(real d_out, real out) { return out <= 0 ? real(0) : d_out; }
};
struct Tanh {
  static __device__ real of(real x) { return tanh(x); }
  static __device__ real backward(real d_out, real out) { return d_out * (1 - out * out); }
};
struct Logistic {
  static __device__ real of(real x) {
    const real e = exp(-fabs(x));
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
  }
  static __device__ real backward(real d_out, real out) { return d_out * out * (1 - out); }
};
struct Softplus {
  static __device__ real of(real x) { return log1p(exp(-fabs(x))) + (x > 0 ? x : real(0)); }
  static __device__ real backward(real d_out, real out) { return d_out * -expm1(-out); }
};
struct LeakyRelu {
  static __device__ real of(real x) { return x <= 0 ? real(0.01) * x : x; }  // false for NaN, which stays
  static __device__ real backward(real d_out, real out) { return out <= 0 ? real(0.01) * d_out : d_out; }
};
struct Elu {
  static __device__ real of(real x) { return x > 0 ? x : expm1(x); }
  static __device__ real backward(real d_out, real out) { return d_out * (1 + (out > 0 ? real(0) : out)); }
};

// Functions x F(x) with F(x) + F(-x) = 1 are max(x, 0) - |x| F(-|x|), and their derivatives at x and at -x add up to 1.
// Their `backward` reads x. |x| ends where F(-|x|) is 0, so that an infinity meets no 0; NaN stays.
__device__ inline real magnitude(real x) { return fabs(x) > real(800) ? real(800) : real(fabs(x)); }
__device__ inline real slope(real x, real below) { return x < 0 ? below : 1 - below; }
__device__ inline real logistic_tail(real a) {
  const real e = exp(-a);
  return e / (1 + e);
}

struct Silu {
  static __device__ real of(real x) {
    const real a = magnitude(x);
    return Relu::of(x) - a * logistic_tail(a);
  }
  static __device__ real backward(real d_out, real x) {
    const real a = magnitude(x), tail = logistic_tail(a);
    return d_out * slope(x, tail * (1 - a * (1 - tail)));
  }
};
struct Gelu {
  static __device__ real tail(real a) { return real(0.5) * erfc(a * real(0.70710678118654752)); }
  static __device__ real of(real x) {
    const real a = magnitude(x);
    return Relu::of(x) - a * tail(a);
  }
  static __device__ real backward(real d_out, real x) {
    const real a = magnitude(x), density = exp(real(-0.5) * a * a) * real(0.39894228040143268);
    return d_out * slope(x, tail(a) - a * density);
  }
};
struct GeluTanh {
  static __device__ real scale() { return real(1.5957691216057308); }  // 2 sqrt(2 / pi)
  static __device__ real of(real x) {
    const real a = magnitude(x);
    return Relu::of(x) - a * logistic_tail(scale() * a * (1 + real(0.044715) * a * a));
  }
  static __device__ real backward(real d_out, real x) {
    const real a = magnitude(x), cube = real(0.044715) * a * a, tail = logistic_tail(scale() * a * (1 + cube));
    return d_out * slope(x, tail * (1 - a * (1 - tail) * scale() * (1 + 3 * cube)));
  }
};
struct Exponential {
  static __device__ real of(real x) { return exp(x); }
};

// out = activation(x + bias), bias (cols,) or null; out may be x. A thread keeps to its columns and walks down rows.
template <class Activation, class Items>
__device__ void bias_activation_of(const Items *x, const Items *bias, Items *out, long long rows, long long cols) {
  const int width = sizeof(Items) / sizeof(real);
  for (long long col = blockIdx.x * blockDim.x + threadIdx.x; col < cols; col += gridDim.x * blockDim.x) {
    const Items b = bias ? bias[col] : Items{};
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
      const long long at = row * cols + col;
      Items items = x[at];
      for (int k = 0; k < width; k++) {
        real &item = ((real *)&items)[k];
        item = Activation::of(item + ((const real *)&b)[k]);
      }
      out[at] = items;
    }
  }
}

template <class Activation>
__device__ void bias_activation(const real *x, const real *bias, real *out, long long rows, long long cols) {
  if (cols % PACK == 0 && aligned(x) && aligned(bias) && aligned(out))
    bias_activation_of<Activation>((const Pack *)x, (const Pack *)bias, (Pack *)out, rows,
                                   cols / PACK);
  else
    bias_activation_of<Activation>(x, bias, out, rows, cols);
}

#define BIAS_ACTIVATION(name, Activation)                                                           \
  KERNEL name(const real *x, const real *OR_NULL bias, real *out, long long rows, long long cols) { \
    bias_activation<Activation>(x, bias, out, rows, cols);                                          \
  }
BIAS_ACTIVATION(bias_identity, Identity)
BIAS_ACTIVATION(bias_relu, Relu)
BIAS_ACTIVATION(bias_tanh, Tanh)
BIAS_ACTIVATION(bias_logistic, Logistic)
BIAS_ACTIVATION(bias_softplus, Softplus)
BIAS_ACTIVATION(bias_leaky_relu, LeakyRelu)
BIAS_ACTIVATION(bias_elu, Elu)
BIAS_ACTIVATION(bias_silu, Silu)
BIAS_ACTIVATION(bias_gelu, Gelu)
BIAS_ACTIVATION(bias_gelu_tanh, GeluTanh)
BIAS_ACTIVATION(bias_exponential, Exponential)

// The sum of this thread's column over the eight rows of threads of a block of (32, 8) threads.
__device__ inline real sum_of_rows(const real (*parts)[32]) {
  real sum = 0;
  for (int k = 0; k < 8; k++) sum += parts[k][threadIdx.x];
  return sum;
}

// d_x = d_out activation'(x), from what the activation keeps, its output or x; d_x may be d_out. And the sums of its
// columns over each chunk of rows: sums (chunks, cols). One chunk
// gives the bias gradient; several, for batches that one block a column would walk too slowly, `column_sum` adds up.
// Blocks of (32, 8) threads: 32 columns, so that a warp reads 32 neighbours, and every eighth row of the chunk.
template <class Activation>
__device__ void backward_bias(const real *d_out, const real *kept, real *d_x, real *sums, int rows, int cols,
                              int chunk) {
  __shared__ real parts[8][32];
  const int col = blockIdx.x * 32 + threadIdx.x;
  const long long first = (long long)blockIdx.y * chunk, last = min(first + chunk, (long long)rows);
  real sum = 0;
  if (col < cols)
    for (long long row = first + threadIdx.y; row < last; row += 8) {
      const long long at = row * cols + col;
      const real d = Activation::backward(d_out[at], kept[at]);
      if (d_x) d_x[at] = d;
      sum += d;
    }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && col < cols) sums[(long long)blockIdx.y * cols + col] = sum_of_rows(parts);
}

#define BACKWARD_BIAS(name, Activation)                                                                          \
  KERNEL name(const real *d_out, const real *kept, real *OR_NULL d_x, real *sums, int rows, int cols, int chunk) { \
    backward_bias<Activation>(d_out, kept, d_x, sums, rows, cols, chunk);                                        \
  }
BACKWARD_BIAS(relu_backward_bias, Relu)
BACKWARD_BIAS(tanh_backward_bias, Tanh)
BACKWARD_BIAS(logistic_backward_bias, Logistic)
BACKWARD_BIAS(softplus_backward_bias, Softplus)
BACKWARD_BIAS(leaky_relu_backward_bias, LeakyRelu)
BACKWARD_BIAS(elu_backward_bias, Elu)
BACKWARD_BIAS(silu_backward_bias, Silu)
BACKWARD_BIAS(gelu_backward_bias, Gelu)
BACKWARD_BIAS(gelu_tanh_backward_bias, GeluTanh)

// Sums of columns alone: the bias gradient of a layer without activation.
KERNEL column_sum(const real *x, real *sums, int rows, int cols, int chunk) {
  backward_bias<Identity>(x, x, nullptr, sums, rows, cols, chunk);
}

// ---------------------------------------------------------------------------------------------------------- clock

// What changes from batch to batch is kept on the device, where a captured graph reads it each time:
//   clock (5,)  updates made, and the first row of the batch in the order of the epoch, now and for the next batch; rows
//               of the whole batch that stand before these
//   rates (10,) learning rate; scale and root of Adam and Nadam (`adam_scales` and `nadam_scales` in
//               `xpnet.ops.updates`); 1 - learning rate x decay; BROKEN, 1 once a parameter is not finite; SHARE, by
//               which the losses of a batch count beside their weights, 0 for a batch that changes nothing; CLIP, by
//               which gradients are scaled, and the norm that they may have; TOTAL, the sum of the weights of all
//               batches so far; GRAD_SCALE, by which Nadam scales the gradient
//   data (8,)   addresses of the epoch's arrays, so that a graph trains on others without being captured again: X, LABELS,
//               WEIGHT, ORDER; POSITIONS, where several processes share a batch, the index of each row of the order in the
//               whole batch, or null; OUT, where predictions go. And two numbers: ROW_MEAN, 1 where the losses of batches
//               are averaged by their rows and not by their weights; STEP, from the order of a member to that of the next,
//               0 for one order
// Members are networks that share weights. A batch has `rows` rows of each of them, one member after the other.
// The first kernel of a batch reads what is next and writes what is now; the last, the update, reads now and writes next:
// no kernel reads what another of its blocks writes.
enum Clock { UPDATES, CURSOR, NEXT_UPDATES, NEXT_CURSOR, FIRST_ROW };
enum Rates { LEARNING_RATE, SCALE, ROOT, KEEP, BROKEN, SHARE, CLIP, MAX_NORM, TOTAL, GRAD_SCALE };
// The formulas of the factors that are common to all items of an update; other updates have none.
enum Factors { NO_FACTORS, ADAM_FACTORS, NADAM_FACTORS };
enum Data { X, LABELS, WEIGHT, ORDER, POSITIONS, OUT, ROW_MEAN, STEP, DATA };

// Which rows of the data a batch is made of: row i of a member is row order[i] of the data, or none where that is -1.
struct Rows {
  const int *order;  // or null for the rows as they lie
  long long first;   // row of this batch in the order, or of the data
  long long step;    // from the order of a member to that of the next
  int rows, members;

  __device__ long long count() const { return (long long)rows * members; }
  __device__ long long member(long long row) const { return members == 1 ? 0 : row / rows; }
  __device__ long long source(long long row) const {
    const long long at = first + row - member(row) * rows;
    return order ? (long long)order[member(row) * step + at] : at;
  }
};

// The rows of the batch that stands at `cursor` in the epoch whose data are at the addresses in `data`.
__device__ inline Rows rows_at(const long long *data, long long cursor, int rows, int members) {
  return {(const int *)data[ORDER], cursor, data[STEP], rows, members};
}

// --------------------------------------------------------------------------------------------------------- dropout

// Four random words for a counter and a key: Philox 4x64 of ten rounds (Salmon et al., Parallel random numbers: as easy
// as 1, 2, 3, 2011). NumPy's Philox gives the same words, so that every backend drops the same units.
struct Words {
  unsigned long long v[4];
};

__device__ inline Words philox(Words c, unsigned long long key0, unsigned long long key1) {
  const unsigned long long m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
  for (int round = 0; round < 10; round++) {
    c = {{__umul64hi(m1, c.v[2]) ^ c.v[1] ^ key0, m1 * c.v[2], __umul64hi(m0, c.v[0]) ^ c.v[3] ^ key1, m0 * c.v[0]}};
    key0 += 0x9E3779B97F4A7C15ull;
    key1 += 0xBB67AE8584CAA73Bull;
  }
  return c;
}

// out = x keep / (1 - rate), keep drawn as `xpnet.steps.masks` draws it: item i of the whole batch stays where number i,
// of 16 bits, in the stream that starts at the counter (0, 0, layer, updates made) is not below 65536 rate. NumPy counts
// before it draws, hence the + 1. The rows here begin at row clock[FIRST_ROW] of the whole batch, or have their
// POSITIONS in it. Member m draws as layer + m layers. A thread takes the items of a row that share a word. out may be x.
KERNEL dropout(const real *x, real *out, const long long *data, const long long *clock, long long key0, long long key1,
               int layer, int layers, double rate, int rows, int members, int cols) {
  const real scale = 1 / (1 - rate);
  const unsigned long long updates = clock[UPDATES];
  const int limit = min(int(rate * 65536 + 0.5), 65535);
  const int *positions = (const int *)data[POSITIONS];
  const int fours = cols % 4 ? (cols + 6) / 4 : cols / 4;  // that a row may have a part of
  FOR_EACH(at, (long long)rows * members * fours) {
    const long long row = at / fours, member = row / rows, own_row = row - member * rows;
    const long long first = (positions ? positions[own_row] : clock[FIRST_ROW] + own_row) * cols;
    const long long four = first / 4 + at % fours;
    const unsigned long long stream = layer + member * layers;
    const Words words = philox({{four / 4 + 1ull, 0, stream, updates}}, key0, key1);
    const bool odd = four % 2, second = four % 4 > 1;  // an index known at run time would go through memory
    const unsigned long long even_word = second ? words.v[2] : words.v[0], odd_word = second ? words.v[3] : words.v[1];
    const unsigned long long word = odd ? odd_word : even_word;
    for (int k = 0; k < 4; k++) {
      const long long col = 4 * four + k - first, i = row * cols + col;
      const bool keep = int(word >> 16 * k & 0xFFFF) >= limit;
      if (0 <= col && col < cols) out[i] = x[i] * (keep ? scale : real(0));
    }
  }
}

// ----------------------------------------------------------------------------------------------- groups of threads

// What two values become in a reduction, and the value that changes nothing.
template <class T>
struct Sum {
  static __device__ T of(T a, T b) { return a + b; }
  static __device__ T neutral() { return 0; }
};

__device__ inline real lowest() { return sizeof(real) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308; }

struct Max {
  static __device__ real of(real a, real b) { return fmax(a, b); }
  static __device__ real neutral() { return lowest(); }
};

// Every lane of a warp gets the reduction over its 32 lanes: after round k each holds that of 2^k lanes.
template <class Op, class T>
__device__ T reduce_warp(T value) {
  for (int distance = 16; distance > 0; distance /= 2)
    value = Op::of(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// Every thread of a block gets the reduction over the block, which has 32 k threads, k at most 32.
template <class Op, class T>
__device__ T reduce_block(T value) {
  __shared__ T parts[32];
  const int lane = thread_rank() % 32, warp = thread_rank() / 32, warps = thread_count() / 32;
  value = reduce_warp<Op>(value);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = reduce_warp<Op>(lane < warps ? parts[lane] : T(Op::neutral()));
  __syncthreads();  // until all have read the parts, the next reduction must not write them
  return value;
}

// Who shares a row: a warp for few columns (blockDim (32, rows a block)), a block for many (blockDim (32 k)).
// KEPT: how many items of its row a thread keeps in registers; THREADS: of a block, at most.
struct Warp {
  static const int KEPT = 8, THREADS = 128;
  static __device__ int rank() { return threadIdx.x; }
  static __device__ int size() { return 32; }
  static __device__ long long first_row() { return (long long)blockIdx.x * blockDim.y + threadIdx.y; }
  static __device__ long long row_step() { return (long long)gridDim.x * blockDim.y; }
  template <class Op, class T>
  static __device__ T reduce(T value) { return reduce_warp<Op>(value); }
};

struct Block {
  static const int KEPT = 64 / sizeof(real), THREADS = 512;
  static __device__ int rank() { return threadIdx.x; }
  static __device__ int size() { return blockDim.x; }
  static __device__ long long first_row() { return blockIdx.x; }
  static __device__ long long row_step() { return gridDim.x; }
  template <class Op, class T>
  static __device__ T reduce(T value) { return reduce_block<Op>(value); }
};

// --------------------------------------------------------------------------------------------------------- softmax

// The largest item of a row, m, and sum exp(x - m). The maximum starts at the lowest finite number, not at -infinity, so
// that exp(-inf - m) is 0 and never NaN. NaN is passed over by the maximum and lands in the sum; so does the NaN of
// inf - inf. A row of -inf alone has the sum 0.
struct RowSum {
  real max, sum;
};

// A row that its group keeps in registers: it is read from memory once, all loads under way together.
template <class Group>
struct KeptRow {
  real items[Group::KEPT];
  int cols;

  __device__ KeptRow(const real *row, int cols) : cols(cols) {
    for_each_item([&](int col, real &item) { item = load(row + col); });
  }

  template <class F>
  __device__ void for_each_item(F f) {
#pragma unroll
    for (int k = 0; k < Group::KEPT; k++) {
      const int col = Group::rank() + k * Group::size();
      if (col < cols) f(col, items[k]);
    }
  }

  __device__ RowSum sum() {
    real max = lowest(), sum = 0;
    for_each_item([&](int, real x) { max = fmax(max, x); });
    max = Group::template reduce<Max>(max);
    for_each_item([&](int, real x) { sum += exp(x - max); });
    return {max, Group::template reduce<Sum<real>>(sum)};
  }
};

// A row too long for that, which is read again for each use. Maximum and sum come in one pass (Milakov, Gimelshein, Online
// normalizer calculation for softmax, 2018): a sum relative to an old maximum is multiplied by exp(old - new). Four items
// a turn, so that four loads are under way at once and share one rescaling.
template <class Group>
struct StreamedRow {
  const real *row;
  int cols;

  template <class F>
  __device__ void for_each_item(F f) {
    for (int col = Group::rank(); col < cols; col += Group::size()) f(col, load(row + col));
  }

  __device__ RowSum sum() {
    RowSum mine = {lowest(), 0};
    for (int start = Group::rank(); start < cols; start += 4 * Group::size()) {
      real x[4];
      real max = mine.max;
      for (int k = 0; k < 4; k++) {
        const int col = start + k * Group::size();
        x[k] = col < cols ? load(row + col) : lowest();
        max = fmax(max, x[k]);
      }
      mine.sum *= exp(mine.max - max);
      for (int k = 0; k < 4; k++)
        if (start + k * Group::size() < cols) mine.sum += exp(x[k] - max);
      mine.max = max;
    }
    const real max = Group::template reduce<Max>(mine.max);
    return {max, Group::template reduce<Sum<real>>(mine.sum * exp(mine.max - max))};
  }
};

// Gives f the row in the form that suits its length.
template <class Group, class F>
__device__ void with_row(const real *row, int cols, F f) {
  if (cols <= Group::KEPT * Group::size()) {
    KeptRow<Group> kept(row, cols);
    f(kept);
  } else {
    StreamedRow<Group> streamed{row, cols};
    f(streamed);
  }
}

template <class Group>
__device__ void softmax_rows(const real *__restrict__ x, real *__restrict__ out, int rows, int cols) {
  for (long long row = Group::first_row(); row < rows; row += Group::row_step())
    with_row<Group>(x + row * cols, cols, [&](auto &items) {
      const RowSum total = items.sum();
      const real scale = 1 / total.sum;
      items.for_each_item([&](int col, real item) { out[row * cols + col] = exp(item - total.max) * scale; });
    });
}

#define SOFTMAX(name, Group)                                                                                           \
  KERNEL __launch_bounds__(Group::THREADS, 1)                                                                          \
  name(const real *__restrict__ x, real *__restrict__ out, int rows, int cols) {                                       \
    softmax_rows<Group>(x, out, rows, cols);                                                                           \
  }
SOFTMAX(softmax_warp, Warp)
SOFTMAX(softmax_block, Block)

// ---------------------------------------------------------------------------------------------------------- losses

// A batch with the weights of its rows. Labels and weights are read where they lie, so that only the inputs are gathered.
// Loss and gradient are means over the members.
struct Batch {
  const real *weight;        // of each row of the data, or null for 1
  const real *total_weight;  // of the batch of a member, or null for its number of rows
  Rows rows;
  bool training;  // a batch without any weight then has no gradient, where the operation divides by zero
  double share;   // see SHARE

  __device__ long long count() const { return rows.count(); }
  __device__ long long source(long long row) const { return rows.source(row); }
  __device__ real row_weight(long long source) const { return weight ? weight[source] : real(1); }
  __device__ real total() const { return (total_weight ? *total_weight : real(rows.rows)) * rows.members; }
  __device__ real scale(long long source) const {
    return training && total() == 0 ? real(0) : row_weight(source) / total();
  }
  __device__ void add(double *row_loss, long long row, long long source, double loss) const {
    if (share != 0) row_loss[row] += row_weight(source) * share * loss / rows.members;
  }
};

// A row that is not there has no loss and no gradient, whatever the outputs for it are.
template <class Group>
__device__ void clear_row(real *d_outputs, long long row, int cols) {
  if (d_outputs)
    for (int col = Group::rank(); col < cols; col += Group::size()) d_outputs[row * cols + col] = 0;
}

// Softmax cross-entropy against class indices: d_logits = w (softmax - one-hot) / sum w, or nothing where d_logits is
// null; w loss is added to row_loss[row], in double, so that the losses of an epoch add up without another kernel. An
// index outside of [0, cols) is a row of zeros, as in the reference.
template <class Group>
__device__ void cross_entropy_indices(const real *__restrict__ logits, const long long *labels, const Batch &batch,
                                      real *__restrict__ d_logits, double *row_loss, int cols, const real *) {
  for (long long row = Group::first_row(); row < batch.count(); row += Group::row_step()) {
    const long long source = batch.source(row);
    if (source < 0) {
      clear_row<Group>(d_logits, row, cols);
      continue;
    }
    const long long label = labels[source];
    const bool is_class = 0 <= label && label < cols;
    with_row<Group>(logits + row * cols, cols, [&](auto &items) {
      const RowSum total = items.sum();
      const real share = (is_class ? 1 : 0) / total.sum, scale = batch.scale(source);
      if (d_logits)
        items.for_each_item([&](int col, real x) {
          d_logits[row * cols + col] = (exp(x - total.max) * share - (col == label ? 1 : 0)) * scale;
        });
      if (is_class && Group::rank() == 0)
        batch.add(row_loss, row, source, log(total.sum) - (logits[row * cols + label] - total.max));
    });
  }
}

// The same against one-hot or soft labels y (data rows, cols): d_logits = w (softmax sum y - y) / sum w.
template <class Group>
__device__ void cross_entropy_shares(const real *__restrict__ logits, const real *__restrict__ labels,
                                     const Batch &batch, real *__restrict__ d_logits, double *row_loss, int cols,
                                     const real *) {
  for (long long row = Group::first_row(); row < batch.count(); row += Group::row_step()) {
    const long long source = batch.source(row);
    if (source < 0) {
      clear_row<Group>(d_logits, row, cols);
      continue;
    }
    const real *y = labels + source * cols;
    real mass = 0;
    for (int col = Group::rank(); col < cols; col += Group::size()) mass += y[col];
    mass = Group::template reduce<Sum<real>>(mass);
    with_row<Group>(logits + row * cols, cols, [&](auto &items) {
      const RowSum total = items.sum();
      const real log_sum = log(total.sum), share = mass / total.sum, scale = batch.scale(source);
      real loss = 0;
      items.for_each_item([&](int col, real x) {
        const real shifted = x - total.max, label = y[col];
        if (d_logits) d_logits[row * cols + col] = (exp(shifted) * share - label) * scale;
        if (label != 0) loss -= label * (shifted - log_sum);
      });
      loss = Group::template reduce<Sum<real>>(loss);
      if (Group::rank() == 0) batch.add(row_loss, row, source, loss);
    });
  }
}

// Losses that are sums over the items of a row, a warp a row.
struct SquaredError {
  static __device__ real value(real out, real target, real) { return real(0.5) * (out - target) * (out - target); }
  static __device__ real gradient(real out, real target, real) { return out - target; }
};

struct LogisticCrossEntropy {
  static __device__ real value(real z, real label, real) {
    return log1p(exp(-fabs(z))) + (z > 0 ? z : real(0)) - z * label;
  }
  static __device__ real gradient(real z, real label, real) { return Logistic::of(z) - label; }
};

struct Poisson {
  static __device__ real value(real out, real target, real) {
    const real log_target = target > 0 ? log(target) : real(0);
    return exp(out) - target + target * (log_target - out);
  }
  static __device__ real gradient(real out, real target, real) { return exp(out) - target; }
};

struct AbsoluteError {
  static __device__ real value(real out, real target, real) { return fabs(out - target); }
  static __device__ real gradient(real out, real target, real) {
    const real error = out - target;
    return error > 0 ? real(1) : error < 0 ? real(-1) : error;  // NaN stays NaN
  }
};

struct Huber {
  static __device__ real value(real out, real target, real delta) {
    const real slope = gradient(out, target, delta);
    return slope * (out - target - real(0.5) * slope);
  }
  static __device__ real gradient(real out, real target, real delta) {
    const real error = out - target;
    return error > delta ? delta : error < -delta ? -delta : error;
  }
};

struct Quantile {
  static __device__ real value(real out, real target, real level) {
    return gradient(out, target, level) * (out - target);
  }
  static __device__ real gradient(real out, real target, real level) {
    const real error = out - target;
    return error < 0 ? -level : error > 0 ? 1 - level : error;
  }
};

struct Gamma {
  static __device__ real value(real out, real target, real) {
    return out - (target > 0 ? log(target) : real(0)) + target * exp(-out) - 1;
  }
  static __device__ real gradient(real out, real target, real) { return 1 - target * exp(-out); }
};

struct Tweedie {
  static __device__ real value(real out, real target, real power) {
    const real below = 1 - power, above = 2 - power, of_target = target > 0 ? exp(above * log(target)) : real(0);
    return of_target / (below * above) - target * exp(below * out) / below + exp(above * out) / above;
  }
  static __device__ real gradient(real out, real target, real power) {
    return exp((2 - power) * out) - target * exp((1 - power) * out);
  }
};

// numbers: what the loss takes for each output, or null for a loss that takes none.
template <class Loss>
__device__ void loss_rows(const real *__restrict__ outputs, const real *__restrict__ targets, const Batch &batch,
                          real *__restrict__ d_outputs, double *row_loss, int cols, const real *numbers) {
  for (long long row = Warp::first_row(); row < batch.count(); row += Warp::row_step()) {
    const long long source = batch.source(row);
    if (source < 0) {
      clear_row<Warp>(d_outputs, row, cols);
      continue;
    }
    const real scale = batch.scale(source);
    real loss = 0;
    for (int col = Warp::rank(); col < cols; col += Warp::size()) {
      const real out = outputs[row * cols + col], target = targets[source * cols + col];
      const real number = numbers ? numbers[col] : real(0);
      loss += Loss::value(out, target, number);
      if (d_outputs) d_outputs[row * cols + col] = Loss::gradient(out, target, number) * scale;
    }
    loss = Warp::reduce<Sum<real>>(loss);
    if (Warp::rank() == 0) batch.add(row_loss, row, source, loss);
  }
}

// A loss reads labels and weights of the rows as they lie, or, where there is `data`, of the batch that the clock shows.
// moves: whether the next batch begins after these rows, since no update follows.
#define LOSS(name, body, Label, Group)                                                                               \
  KERNEL __launch_bounds__(Group::THREADS, 1)                                                                        \
  name(const real *__restrict__ outputs, const Label *OR_NULL labels, const real *OR_NULL weight,                    \
       const long long *OR_NULL data, long long *OR_NULL clock, const double *OR_NULL rates,                               \
       const real *OR_NULL total_weight, real *__restrict__ OR_NULL d_outputs, double *row_loss, int rows,           \
       int members, int cols, const real *OR_NULL numbers, int moves) {                                              \
    if (!data) {                                                                                                     \
      const Batch batch = {weight, total_weight, {nullptr, 0, 0, rows, 1}, false, 1};                                \
      body(outputs, labels, batch, d_outputs, row_loss, cols, numbers);                                              \
      return;                                                                                                        \
    }                                                                                                                \
    const Rows batch_rows = rows_at(data, clock[CURSOR], rows, members);                                             \
    const Batch batch = {(const real *)data[WEIGHT], total_weight, batch_rows, true, rates[SHARE]};                  \
    body(outputs, (const Label *)data[LABELS], batch, d_outputs, row_loss, cols, numbers);                           \
    if (moves && first_thread()) clock[NEXT_CURSOR] = clock[CURSOR] + rows;                                          \
  }
LOSS(cross_entropy_indices_warp, cross_entropy_indices<Warp>, long long, Warp)
LOSS(cross_entropy_indices_block, cross_entropy_indices<Block>, long long, Block)
LOSS(cross_entropy_shares_warp, cross_entropy_shares<Warp>, real, Warp)
LOSS(cross_entropy_shares_block, cross_entropy_shares<Block>, real, Block)
LOSS(squared_error, loss_rows<SquaredError>, real, Warp)
LOSS(logistic_cross_entropy, loss_rows<LogisticCrossEntropy>, real, Warp)
LOSS(poisson, loss_rows<Poisson>, real, Warp)
LOSS(absolute_error, loss_rows<AbsoluteError>, real, Warp)
LOSS(huber, loss_rows<Huber>, real, Warp)
LOSS(quantile, loss_rows<Quantile>, real, Warp)
LOSS(gamma_deviance, loss_rows<Gamma>, real, Warp)  // gamma is a function of C
LOSS(tweedie, loss_rows<Tweedie>, real, Warp)

// -------------------------------------------------------------------------------------------------------- members

// A hidden layer of members, from its product with the shared weight (members rows, cols):
//   out = activation(product scale + bias), scale (members, cols) or null
//   scaled = out next_scale, the inputs of the next layer; null where that has no scales
// Where all members share the bias, the caller says that there is one member of all rows.
struct MemberLayer {
  const real *product, *scale, *bias, *next_scale;
  real *out;
  int rows, members, cols;

  __device__ real sum(long long at, long long own) const {
    return product[at] * (scale ? scale[own] : real(1)) + bias[own];
  }
};

template <class Activation>
__device__ void member_layer(const MemberLayer &layer, real *scaled) {
  FOR_EACH(at, (long long)layer.rows * layer.members * layer.cols) {
    const long long own = at / layer.cols / layer.rows * layer.cols + at % layer.cols;
    const real out = Activation::of(layer.sum(at, own));
    layer.out[at] = out;
    if (scaled) scaled[at] = out * layer.next_scale[own];
  }
}

#define MEMBER_LAYER                                                                                               \
  const real *product, const real *OR_NULL scale, const real *bias, const real *OR_NULL next_scale, real *out, int rows, \
      int members, int cols
#define MEMBER(name, Activation)                                                                  \
  KERNEL name(MEMBER_LAYER, real *OR_NULL scaled) {                                                       \
    member_layer<Activation>({product, scale, bias, next_scale, out, rows, members, cols}, scaled); \
  }
MEMBER(member_identity, Identity)
MEMBER(member_relu, Relu)
MEMBER(member_tanh, Tanh)
MEMBER(member_logistic, Logistic)
MEMBER(member_softplus, Softplus)
MEMBER(member_leaky_relu, LeakyRelu)
MEMBER(member_elu, Elu)
MEMBER(member_silu, Silu)
MEMBER(member_gelu, Gelu)
MEMBER(member_gelu_tanh, GeluTanh)
MEMBER(member_exponential, Exponential)

// Back through such a layer: d (members rows, cols) is the gradient with respect to the inputs of the next layer, and
// becomes that of the product. The sums over the rows of each member are the gradients of bias, scale and next_scale
// (members, cols); null for scales that are not there. KEEPS_X: whether the gradient of the activation reads its input.
// Blocks of (32, 8) threads: 32 columns of a member.
template <class Activation, bool KEEPS_X>
__device__ void member_backward(const MemberLayer &layer, real *d, real *d_bias, real *d_scale, real *d_next_scale) {
  __shared__ real parts[3][8][32];
  const int col = blockIdx.x * 32 + threadIdx.x;
  const long long own = (long long)blockIdx.y * layer.cols + col;
  real of_bias = 0, of_scale = 0, of_next_scale = 0;
  if (col < layer.cols)
    for (int row = threadIdx.y; row < layer.rows; row += 8) {
      const long long at = ((long long)blockIdx.y * layer.rows + row) * layer.cols + col;
      const real out = layer.out[at];
      real gradient = d[at];
      if (layer.next_scale) {
        of_next_scale += gradient * out;
        gradient *= layer.next_scale[own];
      }
      gradient = Activation::backward(gradient, KEEPS_X ? layer.sum(at, own) : out);
      of_bias += gradient;
      if (layer.scale) {
        of_scale += gradient * layer.product[at];
        gradient *= layer.scale[own];
      }
      d[at] = gradient;
    }
  parts[0][threadIdx.y][threadIdx.x] = of_bias;
  parts[1][threadIdx.y][threadIdx.x] = of_scale;
  parts[2][threadIdx.y][threadIdx.x] = of_next_scale;
  __syncthreads();
  if (threadIdx.y != 0 || col >= layer.cols) return;
  d_bias[own] = sum_of_rows(parts[0]);
  if (layer.scale) d_scale[own] = sum_of_rows(parts[1]);
  if (layer.next_scale) d_next_scale[own] = sum_of_rows(parts[2]);
}

#define MEMBER_BACKWARD(name, Activation, KEEPS_X)                                                                     \
  KERNEL name(MEMBER_LAYER, real *d, real *d_bias, real *OR_NULL d_scale, real *OR_NULL d_next_scale) {                \
    const MemberLayer layer = {product, scale, bias, next_scale, out, rows, members, cols};                            \
    member_backward<Activation, KEEPS_X>(layer, d, d_bias, d_scale, d_next_scale);                                     \
  }
MEMBER_BACKWARD(member_identity_backward, Identity, false)
MEMBER_BACKWARD(member_relu_backward, Relu, false)
MEMBER_BACKWARD(member_tanh_backward, Tanh, false)
MEMBER_BACKWARD(member_logistic_backward, Logistic, false)
MEMBER_BACKWARD(member_softplus_backward, Softplus, false)
MEMBER_BACKWARD(member_leaky_relu_backward, LeakyRelu, false)
MEMBER_BACKWARD(member_elu_backward, Elu, false)
MEMBER_BACKWARD(member_silu_backward, Silu, true)
MEMBER_BACKWARD(member_gelu_backward, Gelu, true)
MEMBER_BACKWARD(member_gelu_tanh_backward, GeluTanh, true)

// The gradient of the scales of the inputs (members, cols), from that of the scaled inputs d (members rows, cols): each
// member's sum over its rows of the batch. Blocks of (32, 8) threads: 32 columns of a member.
KERNEL input_scale_gradient(const real *d, const long long *data, const long long *clock, real *d_scale, int rows,
                            int members, int cols) {
  __shared__ real parts[8][32];
  const Rows batch = rows_at(data, clock[CURSOR], rows, members);
  const real *x = (const real *)data[X];
  const int col = blockIdx.x * 32 + threadIdx.x;
  real sum = 0;
  if (col < cols)
    for (int row = threadIdx.y; row < rows; row += 8) {
      const long long at = (long long)blockIdx.y * rows + row, source = batch.source(at);
      if (source >= 0) sum += d[at * cols + col] * x[source * cols + col];
    }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && col < cols) d_scale[(long long)blockIdx.y * cols + col] = sum_of_rows(parts);
}

// ------------------------------------------------------------------------------------------------ rows of a batch

// Takes several items at a time.
template <class Items>
__device__ void gather_items(const real *__restrict__ x, const Rows &rows, const real *__restrict__ scale,
                             real *__restrict__ out, int cols) {
  const int width = sizeof(Items) / sizeof(real);
  for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows.count(); row += gridDim.y * blockDim.y) {
    const long long source = rows.source(row);
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < cols / width; k += gridDim.x * blockDim.x) {
      Items items = {};
      if (source >= 0) items = load((const Items *)(x + source * cols) + k);
      if (scale)
        for (int i = 0; i < width; i++) ((real *)&items)[i] *= scale[rows.member(row) * cols + k * width + i];
      ((Items *)(out + row * cols))[k] = items;
    }
  }
}

// The rows of a batch, times the scales of each member (members, cols), unless these are null; zeros for a row that is
// not there.
__device__ inline void gather_rows(const real *__restrict__ x, const Rows &rows, const real *__restrict__ scale,
                                   real *__restrict__ out, int cols) {
  if (cols % PACK == 0 && aligned(x) && aligned(out))
    gather_items<Pack>(x, rows, scale, out, cols);
  else
    gather_items<real>(x, rows, scale, out, cols);
}

// Before the first batch. arguments (DATA + 4,), in memory of the host: `data`, then as doubles the learning rate, the norm
// that gradients may have, the weight of the batch and its FIRST_ROW. Goes back to the first row, and clears the sums.
KERNEL begin(const volatile long long *arguments, long long *clock, double *rates, long long *data, real *total_weight,
             double *row_loss, int rows, double *squares, int blocks) {
  FOR_EACH(i, rows) row_loss[i] = 0;
  FOR_EACH(i, blocks) squares[i] = 0;
  if (!first_thread()) return;
  const volatile double *numbers = (const volatile double *)(arguments + DATA);
  for (int i = 0; i < DATA; i++) data[i] = arguments[i];
  rates[LEARNING_RATE] = numbers[0];
  rates[MAX_NORM] = numbers[1];
  total_weight[0] = numbers[2];
  clock[FIRST_ROW] = numbers[3];
  clock[NEXT_CURSOR] = 0;
  rates[BROKEN] = rates[TOTAL] = 0;
  rates[SHARE] = rates[CLIP] = 1;
}

// `adam_scales` of `xpnet.ops.updates`, for update t.
__device__ inline void adam_scales(double *rates, double t, double beta1, double beta2, int epsilon_hat) {
  const double learning_rate = rates[LEARNING_RATE];
  const double correction1 = 1 - pow(beta1, t), correction2 = sqrt(1 - pow(beta2, t));
  rates[SCALE] = learning_rate * (epsilon_hat ? correction2 : 1) / correction1;
  rates[ROOT] = epsilon_hat ? 1 : 1 / correction2;
}

// `nadam_scales` of `xpnet.ops.updates`, for update t. A product below 2^-54 leaves 1 - product at 1.
__device__ inline void nadam_scales(double *rates, double t, double beta1, double beta2) {
  const double learning_rate = rates[LEARNING_RATE], factor = 0.9998367253526753;  // 0.96^(1 / 250)
  double product = 1, held_back = 0.5;
  for (double i = 0; i < t && product > 0x1p-54; i++) {
    held_back *= factor;
    product *= beta1 * (1 - held_back);
  }
  const double decay = beta1 * (1 - 0.5 * pow(factor, t)), next_decay = beta1 * (1 - 0.5 * pow(factor, t + 1));
  rates[SCALE] = learning_rate * next_decay / (1 - product * next_decay);
  rates[GRAD_SCALE] = learning_rate * (1 - decay) / (1 - product);
  rates[ROOT] = 1 / sqrt(1 - pow(beta2, t));
}

// The clock goes on to the next batch, and the numbers that depend on the count of updates follow. One thread.
__device__ inline void tick(long long *clock, double *rates, int factors, double beta1, double beta2, double weight_decay,
                            int epsilon_hat) {
  clock[UPDATES] = clock[NEXT_UPDATES];
  clock[CURSOR] = clock[NEXT_CURSOR];
  const double t = clock[UPDATES] + 1;
  if (factors == ADAM_FACTORS) adam_scales(rates, t, beta1, beta2, epsilon_hat);
  if (factors == NADAM_FACTORS) nadam_scales(rates, t, beta1, beta2);
  rates[KEEP] = 1 - rates[LEARNING_RATE] * weight_decay;
}

// The next batch begins: the clock goes on, and the rows of the batch, times the scales of the members, are gathered
// into out (members rows, cols), if there is one.
KERNEL next_batch(const long long *data, long long *clock, double *rates, int factors, double beta1, double beta2,
                  double weight_decay, int epsilon_hat, const real *OR_NULL scale, real *OR_NULL out, int rows,
                  int members, int cols) {
  if (out) gather_rows((const real *)data[X], rows_at(data, clock[NEXT_CURSOR], rows, members), scale, out, cols);
  if (first_thread()) tick(clock, rates, factors, beta1, beta2, weight_decay, epsilon_hat);
}

// total[0] = the sum of the weights of a batch, of members their mean, and by how much its losses count. One block.
KERNEL batch_weight(const long long *data, const long long *clock, double *rates, real *total, int rows, int members) {
  const Batch batch = {(const real *)data[WEIGHT], nullptr, rows_at(data, clock[CURSOR], rows, members), true, 1};
  double sum = 0;
  for (long long row = thread_rank(); row < batch.count(); row += thread_count())
    sum += batch.row_weight(batch.source(row));
  sum = reduce_block<Sum<double>>(sum) / members;
  if (thread_rank() != 0) return;
  total[0] = sum;
  rates[TOTAL] += sum;
  rates[SHARE] = !data[ROW_MEAN] ? 1 : sum == 0 ? 0 : rows / sum;
}

// Outputs (members rows, cols) of a prediction, their mean over the members, go where they belong, and the next rows
// begin after these.
KERNEL put(const long long *data, long long *clock, const real *x, int rows, int members, int cols) {
  real *out = (real *)data[OUT] + clock[CURSOR] * cols;
  const long long size = (long long)rows * cols;
  FOR_EACH(i, size) {
    real sum = x[i];
    for (int member = 1; member < members; member++) sum += x[member * size + i];
    out[i] = sum / members;
  }
  if (first_thread()) clock[NEXT_CURSOR] = clock[CURSOR] + rows;
}

// After the last batch: the sums of losses, of squared weights and of row weights, and whether a parameter is not finite,
// into memory of the host. One block.
KERNEL finish(const double *row_loss, int rows, const double *squares, int parts, const double *rates,
              double *results) {
  double loss = 0, square = 0;
  for (int i = thread_rank(); i < rows; i += thread_count()) loss += row_loss[i];
  for (int i = thread_rank(); i < parts; i += thread_count()) square += squares[i];
  loss = reduce_block<Sum<double>>(loss);
  square = reduce_block<Sum<double>>(square);
  if (thread_rank() == 0) {
    results[0] = loss;
    results[1] = square;
    results[2] = rates[TOTAL];
    results[3] = rates[BROKEN];
  }
}

// --------------------------------------------------------------------------------------------------------- updates

// The gradient of lambda / 2 sum W^2 over weights: lambda W, over the batch's weight where it is so asked.
// bounds (matrices, 2): where each weight begins and ends in the flat buffer; biases lie between.
struct Penalty {
  const long long *bounds;
  int matrices;
  double lambda;
  int over_batch;
  double batch_weight, batch_share;

  __device__ real slope() const { return !over_batch ? lambda : batch_weight == 0 ? 0 : lambda / batch_weight; }
  __device__ bool holds(long long i) const {
    bool inside = false;
    for (int k = 0; k < matrices; k++) inside |= bounds[2 * k] <= i && i < bounds[2 * k + 1];
    return inside;
  }
  // A block's part of sum W^2, times the weight of the batch, as row_loss is; a batch without weight has none.
  __device__ double share(double square) const {
    return over_batch ? (batch_weight == 0 ? 0 : square * batch_share) : square * batch_weight * batch_share;
  }
};

__device__ inline double weight_of(const real *total_weight, int rows) { return total_weight ? *total_weight : rows; }

// How a parameter follows its gradient. BUFFERS: how many arrays of the optimizer it reads and writes; b1, b2: the decays
// of its moving averages; gain1, gain2: 1 - b1 and 1 - b2, subtracted in double.
struct Descent {
  static const int BUFFERS = 0;
  real learning_rate;
  __device__ void step(real &param, real g, real &, real &) const { param -= learning_rate * g; }
};

struct Momentum {
  static const int BUFFERS = 1;
  real learning_rate, mu;
  int nesterov;
  __device__ void step(real &param, real g, real &velocity, real &) const {
    const real fall = learning_rate * g;
    velocity = mu * velocity - fall;
    param += nesterov ? mu * velocity - fall : velocity;
  }
};

struct Adam {
  static const int BUFFERS = 2;
  real b1, gain1, b2, gain2, epsilon, scale, root, keep;
  __device__ void step(real &param, real g, real &m, real &v) const {
    m = b1 * m + gain1 * g;
    v = b2 * v + gain2 * g * g;
    param = keep * param - scale * m / (sqrt(v) * root + epsilon);
  }
};

struct RmsProp {
  static const int BUFFERS = 1;
  real b2, gain2, epsilon, learning_rate, keep;
  __device__ void step(real &param, real g, real &v, real &) const {
    v = b2 * v + gain2 * g * g;
    param = keep * param - learning_rate * g / (sqrt(v) + epsilon);
  }
};

struct Nadam {
  static const int BUFFERS = 2;
  real b1, gain1, b2, gain2, epsilon, scale, grad_scale, root, keep;
  __device__ void step(real &param, real g, real &m, real &v) const {
    m = b1 * m + gain1 * g;
    v = b2 * v + gain2 * g * g;
    param = keep * param - (scale * m + grad_scale * g) / (sqrt(v) * root + epsilon);
  }
};

struct Lion {
  static const int BUFFERS = 1;
  real b1, gain1, b2, gain2, learning_rate, keep;
  __device__ void step(real &param, real g, real &m, real &) const {
    const real direction = b1 * m + gain1 * g;
    const real sign = direction > 0 ? real(1) : direction < 0 ? real(-1) : direction;  // NaN stays NaN
    m = b2 * m + gain2 * g;
    param = keep * param - learning_rate * sign;
  }
};

__device__ inline Adam adam_of(const double *rates, double beta1, double beta2, double epsilon) {
  return {real(beta1),   real(1 - beta1),    real(beta2),      real(1 - beta2),
          real(epsilon), real(rates[SCALE]), real(rates[ROOT]), real(rates[KEEP])};
}

// Items begin to end of the flat buffers, by all threads of the grid. A product with ReLU in it may turn NaN into 0, and
// a loss into a number, while parameters are lost: so updates look for parameters that are not finite (0 times an
// infinite weight is NaN). Returns the sum of the squared
// weights that this thread has seen.
template <class Items, class Rule>
__device__ double update_items(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ first,
                               real *__restrict__ second, const Rule &rule, const Penalty &penalty, double *rates,
                               real clip, long long begin, long long end) {
  const int width = sizeof(Items) / sizeof(real);
  const real slope = penalty.slope();
  bool broken = false;
  double squares = 0;
  FOR_EACH(i, (end - begin) / width) {
    const long long at = begin + i * width;
    Items p = load((const Items *)(param + at)), g = load((const Items *)(grad + at)), a = {}, b = {};
    if (Rule::BUFFERS > 0) a = load((const Items *)(first + at));
    if (Rule::BUFFERS > 1) b = load((const Items *)(second + at));
    const bool penalized = penalty.holds(at);
    for (int k = 0; k < width; k++) {
      real &item = ((real *)&p)[k];
      if (penalized) squares += double(item) * item;
      const real gradient = (((const real *)&g)[k] + (penalized ? slope * item : real(0))) * clip;
      rule.step(item, gradient, ((real *)&a)[k], ((real *)&b)[k]);
      broken |= !(item - item == 0);
    }
    store((Items *)(param + at), p);
    if (Rule::BUFFERS > 0) store((Items *)(first + at), a);
    if (Rule::BUFFERS > 1) store((Items *)(second + at), b);
  }
  if (broken) rates[BROKEN] = 1;  // all threads that write it write the same
  return squares;
}

// All items: whole packs, in which only items of one parameter lie, then the rest.
template <class Rule>
__device__ double update_all(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ first,
                             real *__restrict__ second, const Rule &rule, const Penalty &penalty, double *rates,
                             real clip, long long size) {
  const bool packs = aligned(param) && aligned(grad) && aligned(first) && aligned(second);
  const long long whole = packs ? size / PACK * PACK : 0;
  return update_items<Pack>(param, grad, first, second, rule, penalty, rates, clip, 0, whole) +
         update_items<real>(param, grad, first, second, rule, penalty, rates, clip, whole, size);
}

// The whole update: parameters, each block's part of the penalty, and the clock of the next batch. Without a clock it is
// an operation by itself, or warms up, and gradients are taken as they are. A batch that counts for nothing changes
// nothing.
template <class Rule>
__device__ void update(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ first,
                       real *__restrict__ second, const Rule &rule, const Penalty &penalty, double *squares,
                       double *rates, long long *clock, int rows, long long size) {
  const bool counts = !clock || rates[SHARE] != 0;
  if (counts) {
    const real clip = clock ? rates[CLIP] : 1;
    const double square = update_all(param, grad, first, second, rule, penalty, rates, clip, size);
    if (penalty.matrices) {
      const double sum = reduce_block<Sum<double>>(square);
      if (thread_rank() == 0) squares[blockIdx.x] += penalty.share(sum);
    }
  }
  if (clock && first_thread()) {
    clock[NEXT_UPDATES] = clock[UPDATES] + counts;
    clock[NEXT_CURSOR] = clock[CURSOR] + rows;
  }
}

#define UPDATE_ENDS                                                                                              \
  const long long *OR_NULL bounds, int matrices, double lambda, int over_batch, const real *OR_NULL total_weight, \
      double *OR_NULL squares, double *rates, long long *OR_NULL clock, int rows, long long size
#define PENALTY(share) Penalty{bounds, matrices, lambda, over_batch, weight_of(total_weight, rows), share}
#define UPDATE_REST PENALTY(clock ? rates[SHARE] : 1), squares, rates, clock, rows, size

KERNEL gradient_descent(real *__restrict__ param, const real *__restrict__ grad, UPDATE_ENDS) {
  const Descent rule = {real(rates[LEARNING_RATE])};
  update(param, grad, nullptr, nullptr, rule, UPDATE_REST);
}

KERNEL momentum(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ velocity, double mu,
                int nesterov, UPDATE_ENDS) {
  const Momentum rule = {real(rates[LEARNING_RATE]), real(mu), nesterov};
  update(param, grad, velocity, nullptr, rule, UPDATE_REST);
}

KERNEL adam(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ m, real *__restrict__ v,
            double beta1, double beta2, double epsilon, UPDATE_ENDS) {
  update(param, grad, m, v, adam_of(rates, beta1, beta2, epsilon), UPDATE_REST);
}

KERNEL rmsprop(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ v, double beta2,
               double epsilon, UPDATE_ENDS) {
  const RmsProp rule = {real(beta2), real(1 - beta2), real(epsilon), real(rates[LEARNING_RATE]), real(rates[KEEP])};
  update(param, grad, v, nullptr, rule, UPDATE_REST);
}

KERNEL nadam(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ m, real *__restrict__ v,
             double beta1, double beta2, double epsilon, UPDATE_ENDS) {
  const Nadam rule = {real(beta1),   real(1 - beta1),    real(beta2),             real(1 - beta2),   real(epsilon),
                      real(rates[SCALE]), real(rates[GRAD_SCALE]), real(rates[ROOT]), real(rates[KEEP])};
  update(param, grad, m, v, rule, UPDATE_REST);
}

KERNEL lion(real *__restrict__ param, const real *__restrict__ grad, real *__restrict__ m, double beta1, double beta2,
            UPDATE_ENDS) {
  const Lion rule = {real(beta1),     real(1 - beta1),            real(beta2),
                     real(1 - beta2), real(rates[LEARNING_RATE]), real(rates[KEEP])};
  update(param, grad, m, nullptr, rule, UPDATE_REST);
}

// The penalty where no update follows: its gradient is added to grad, or to nothing where grad is null. Without rates the
// rows are the only batch, and the sum of the squares is not multiplied by its weight, which may be 0.
KERNEL l2_penalty(const real *__restrict__ param, real *__restrict__ OR_NULL grad, const long long *bounds, int matrices,
                  double lambda, int over_batch, const real *OR_NULL total_weight, const double *OR_NULL rates, int rows,
                  double *squares) {
  const Penalty penalty = PENALTY(rates ? rates[SHARE] : 1);
  const real slope = penalty.slope();
  double sum = 0;
  for (int k = 0; k < matrices; k++) {
    const long long begin = bounds[2 * k], end = bounds[2 * k + 1];
    FOR_EACH(i, end - begin) {
      const real w = param[begin + i];
      if (grad) grad[begin + i] += slope * w;
      sum += double(w) * w;
    }
  }
  sum = reduce_block<Sum<double>>(sum);
  if (thread_rank() == 0) squares[blockIdx.x] += rates ? penalty.share(sum) : sum;
}

// Parts of the squared norm of all gradients, one for each block; notes a gradient that is NaN and a parameter that is not
// finite, which a product with ReLU in it may have turned into 0.
KERNEL gradient_norm(const real *param, const real *grad, long long size, double *parts, double *rates) {
  double sum = 0;
  bool broken = false;
  FOR_EACH(i, size) {
    const real g = grad[i], p = param[i];
    sum += double(g) * g;
    broken |= g != g || !(p - p == 0);
  }
  if (broken) rates[BROKEN] = 1;
  sum = reduce_block<Sum<double>>(sum);
  if (thread_rank() == 0) parts[blockIdx.x] = sum;
}

// By how much gradients are scaled, so that their norm is MAX_NORM at most. One block.
KERNEL clip(const double *parts, int blocks, double *rates) {
  double sum = 0;
  for (int i = thread_rank(); i < blocks; i += thread_count()) sum += parts[i];
  sum = reduce_block<Sum<double>>(sum);
  const double norm = sqrt(sum), max_norm = rates[MAX_NORM];
  if (thread_rank() == 0) rates[CLIP] = norm > max_norm ? max_norm / norm : 1;
}
