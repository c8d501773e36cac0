// xpnet's CUDA kernels. Compiled for `REAL` float and double, by NVRTC at first use; the tests compile the same text
// for the host, where every CUDA thread is a fiber, and compare each kernel with float64.
//
// Matrices are C-contiguous, (rows, cols). A loop that starts at a thread's place in the grid and steps by the size of
// the grid (a grid-stride loop) covers any number of rows and columns, whatever the grid. Pointers marked "or null" may
// be null. Sums are taken in a fixed order and never with float atomics, so that a run repeats bit for bit. NaN and
// infinities propagate as in `xpnet.ops`.

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

#define KERNEL extern "C" __global__ void

// Every item of a flat array, shared among the threads of the grid.
#define FOR_EACH(i, size)                                                                  \
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (size); \
       i += (long long)gridDim.x * blockDim.x)

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
struct Exponential {
  static __device__ real of(real x) { return exp(x); }
};

// out = activation(x + bias), bias (cols,) or null; out may be x. A thread keeps to its columns and walks down rows.
template <class Activation>
__device__ void bias_activation(const real *x, const real *bias, real *out, int rows, int cols) {
  for (int col = blockIdx.x * blockDim.x + threadIdx.x; col < cols; col += gridDim.x * blockDim.x) {
    const real b = bias ? bias[col] : real(0);
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
      const long long at = (long long)row * cols + col;
      out[at] = Activation::of(x[at] + b);
    }
  }
}

#define BIAS_ACTIVATION(name, Activation)                                              \
  KERNEL name(const real *x, const real *bias, real *out, int rows, int cols) { \
    bias_activation<Activation>(x, bias, out, rows, cols);                             \
  }
BIAS_ACTIVATION(bias_identity, Identity)
BIAS_ACTIVATION(bias_relu, Relu)
BIAS_ACTIVATION(bias_tanh, Tanh)
BIAS_ACTIVATION(bias_logistic, Logistic)
BIAS_ACTIVATION(bias_exponential, Exponential)

// d_x = d_out activation'(x), from out = activation(x), item by item.
template <class Activation>
__device__ void backward(const real *d_out, const real *out, real *d_x, long long size) {
  FOR_EACH(i, size) d_x[i] = Activation::backward(d_out[i], out[i]);
}

#define BACKWARD(name, Activation)                                                     \
  KERNEL name(const real *d_out, const real *out, real *d_x, long long size) { \
    backward<Activation>(d_out, out, d_x, size);                                       \
  }
BACKWARD(relu_backward, Relu)
BACKWARD(tanh_backward, Tanh)
BACKWARD(logistic_backward, Logistic)

// d_x as above (may be d_out), and the sums of its columns over each chunk of rows: sums (chunks, cols). One chunk
// gives the bias gradient; several, for batches that one block a column would walk too slowly, `column_sum` adds up.
// Blocks of (32, 8) threads: 32 columns, so that a warp reads 32 neighbours, and every eighth row of the chunk.
template <class Activation>
__device__ void backward_bias(const real *d_out, const real *out, real *d_x, real *sums, int rows, int cols,
                              int chunk) {
  __shared__ real parts[8][32];
  const int col = blockIdx.x * 32 + threadIdx.x;
  const int first = blockIdx.y * chunk, last = min(first + chunk, rows);
  real sum = 0;
  if (col < cols)
    for (int row = first + threadIdx.y; row < last; row += 8) {
      const long long at = (long long)row * cols + col;
      const real d = Activation::backward(d_out[at], out[at]);
      if (d_x) d_x[at] = d;
      sum += d;
    }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && col < cols) {
    for (int k = 1; k < 8; k++) sum += parts[k][threadIdx.x];
    sums[(long long)blockIdx.y * cols + col] = sum;
  }
}

#define BACKWARD_BIAS(name, Activation)                                                                    \
  KERNEL name(const real *d_out, const real *out, real *d_x, real *sums, int rows, int cols, int chunk) { \
    backward_bias<Activation>(d_out, out, d_x, sums, rows, cols, chunk);                                   \
  }
BACKWARD_BIAS(relu_backward_bias, Relu)
BACKWARD_BIAS(tanh_backward_bias, Tanh)
BACKWARD_BIAS(logistic_backward_bias, Logistic)

// Sums of columns alone: the bias gradient of a layer without activation.
KERNEL column_sum(const real *x, real *sums, int rows, int cols, int chunk) {
  backward_bias<Identity>(x, x, nullptr, sums, rows, cols, chunk);
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

// out = x keep / (1 - rate), keep drawn as `xpnet.steps.masks` draws it: item i stays where word i of the stream that
// starts at the counter (0, 0, layer, updates made), as a number in [0, 1), is not below the rate. NumPy counts before
// it draws, hence the + 1. out may be x.
KERNEL dropout(const real *x, real *out, const int *clock, long long key0, long long key1, int layer, double rate,
               long long size) {
  const real scale = 1 / (1 - rate);
  const unsigned long long updates = clock[0];
  FOR_EACH(four, (size + 3) / 4) {
    const Words words = philox({{four + 1ull, 0, (unsigned long long)layer, updates}}, key0, key1);
    for (int k = 0; k < 4 && 4 * four + k < size; k++) {
      const bool keep = (words.v[k] >> 11) * (1.0 / 9007199254740992.0) >= rate;
      out[4 * four + k] = x[4 * four + k] * (keep ? scale : real(0));
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

// Every thread of a block gets the reduction over the block. blockDim is (32 k, 1, 1), k at most 32.
template <class Op, class T>
__device__ T reduce_block(T value) {
  __shared__ T parts[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = reduce_warp<Op>(value);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = reduce_warp<Op>(lane < warps ? parts[lane] : T(Op::neutral()));
  __syncthreads();  // until all have read the parts, the next reduction must not write them
  return value;
}

// Who shares a row: a warp for few columns (blockDim (32, rows a block)), a block for many (blockDim (32 k)).
struct Warp {
  static __device__ int rank() { return threadIdx.x; }
  static __device__ int size() { return 32; }
  static __device__ long long first_row() { return (long long)blockIdx.x * blockDim.y + threadIdx.y; }
  static __device__ long long row_step() { return (long long)gridDim.x * blockDim.y; }
  template <class Op, class T>
  static __device__ T reduce(T value) { return reduce_warp<Op>(value); }
};

struct Block {
  static __device__ int rank() { return threadIdx.x; }
  static __device__ int size() { return blockDim.x; }
  static __device__ long long first_row() { return blockIdx.x; }
  static __device__ long long row_step() { return gridDim.x; }
  template <class Op, class T>
  static __device__ T reduce(T value) { return reduce_block<Op>(value); }
};

// --------------------------------------------------------------------------------------------------------- softmax

// The largest item of a row, m, and sum exp(x - m), in one pass (Milakov, Gimelshein, Online normalizer calculation for
// softmax, 2018): a sum relative to an old maximum is multiplied by exp(old - new). Four items a turn, so that four
// loads are under way at once and share one rescaling.
//
// The maximum starts at the lowest finite number, not at -infinity, so that exp(-inf - m) is 0 and never NaN. NaN is
// passed over by the maximum and lands in the sum; so does the NaN of inf - inf. A row of -inf alone has the sum 0.
struct RowSum {
  real max, sum;
};

template <class Group>
__device__ RowSum row_sum(const real *row, int cols) {
  RowSum mine = {lowest(), 0};
  for (int start = Group::rank(); start < cols; start += 4 * Group::size()) {
    real x[4];
    real max = mine.max;
    for (int k = 0; k < 4; k++) {
      const int col = start + k * Group::size();
      x[k] = col < cols ? row[col] : lowest();
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

template <class Group>
__device__ void softmax_rows(const real *__restrict__ x, real *__restrict__ out, int rows, int cols) {
  for (long long row = Group::first_row(); row < rows; row += Group::row_step()) {
    const RowSum total = row_sum<Group>(x + row * cols, cols);
    const real scale = 1 / total.sum;
    for (int col = Group::rank(); col < cols; col += Group::size())
      out[row * cols + col] = exp(x[row * cols + col] - total.max) * scale;
  }
}

template <class Group>
__device__ void log_softmax_rows(const real *__restrict__ x, real *__restrict__ out, int rows, int cols) {
  for (long long row = Group::first_row(); row < rows; row += Group::row_step()) {
    const RowSum total = row_sum<Group>(x + row * cols, cols);
    const real log_sum = log(total.sum);
    for (int col = Group::rank(); col < cols; col += Group::size())
      out[row * cols + col] = (x[row * cols + col] - total.max) - log_sum;
  }
}

KERNEL softmax_warp(const real *x, real *out, int rows, int cols) { softmax_rows<Warp>(x, out, rows, cols); }
KERNEL softmax_block(const real *x, real *out, int rows, int cols) { softmax_rows<Block>(x, out, rows, cols); }
KERNEL log_softmax_warp(const real *x, real *out, int rows, int cols) { log_softmax_rows<Warp>(x, out, rows, cols); }
KERNEL log_softmax_block(const real *x, real *out, int rows, int cols) { log_softmax_rows<Block>(x, out, rows, cols); }

// ---------------------------------------------------------------------------------------------------------- losses

// Which rows of the data a batch is made of: row i of the batch is row order[cursor + i] of the data. Labels and
// weights are read there, so that only the inputs are gathered. order null: the batch is the data; cursor null: 0.
struct Batch {
  const real *weight;        // of each row of the data, or null for 1
  const real *total_weight;  // of the batch, or null for its number of rows
  const int *order;
  const int *cursor;
  int rows;

  __device__ long long source(long long row) const { return order ? order[(cursor ? *cursor : 0) + row] : row; }
  __device__ real row_weight(long long source) const { return weight ? weight[source] : real(1); }
  __device__ real scale(long long source) const {
    return row_weight(source) / (total_weight ? *total_weight : real(rows));
  }
};

// Softmax cross-entropy against class indices: d_logits = w (softmax - one-hot) / sum w; w loss is added to
// row_loss[row], in double, so that the losses of an epoch add up without another kernel. An index outside of
// [0, cols) is a row of zeros, as in the reference.
template <class Group>
__device__ void cross_entropy_indices(const real *__restrict__ logits, const long long *labels, Batch batch,
                                      real *__restrict__ d_logits, double *row_loss, int cols) {
  for (long long row = Group::first_row(); row < batch.rows; row += Group::row_step()) {
    const long long source = batch.source(row), label = labels[source];
    const bool known = 0 <= label && label < cols;
    const real *x = logits + row * cols;
    const RowSum total = row_sum<Group>(x, cols);
    const real share = (known ? 1 : 0) / total.sum, scale = batch.scale(source);
    for (int col = Group::rank(); col < cols; col += Group::size())
      d_logits[row * cols + col] = (exp(x[col] - total.max) * share - (col == label ? 1 : 0)) * scale;
    if (known && Group::rank() == 0)
      row_loss[row] += double(batch.row_weight(source)) * (log(total.sum) - (x[label] - total.max));
  }
}

// The same against one-hot or soft labels y (data rows, cols): d_logits = w (softmax sum y - y) / sum w.
template <class Group>
__device__ void cross_entropy_shares(const real *__restrict__ logits, const real *__restrict__ labels, Batch batch,
                                     real *__restrict__ d_logits, double *row_loss, int cols) {
  for (long long row = Group::first_row(); row < batch.rows; row += Group::row_step()) {
    const long long source = batch.source(row);
    const real *x = logits + row * cols, *y = labels + source * cols;
    const RowSum total = row_sum<Group>(x, cols);
    real mass = 0;
    for (int col = Group::rank(); col < cols; col += Group::size()) mass += y[col];
    mass = Group::template reduce<Sum<real>>(mass);
    const real log_sum = log(total.sum), share = mass / total.sum, scale = batch.scale(source);
    real loss = 0;
    for (int col = Group::rank(); col < cols; col += Group::size()) {
      const real shifted = x[col] - total.max;
      d_logits[row * cols + col] = (exp(shifted) * share - y[col]) * scale;
      if (y[col] != 0) loss -= y[col] * (shifted - log_sum);
    }
    loss = Group::template reduce<Sum<real>>(loss);
    if (Group::rank() == 0) row_loss[row] += double(batch.row_weight(source)) * loss;
  }
}

// Losses that are sums over the items of a row, a warp a row.
struct SquaredError {
  static __device__ real value(real out, real target) { return real(0.5) * (out - target) * (out - target); }
  static __device__ real gradient(real out, real target) { return out - target; }
};

struct LogisticCrossEntropy {
  static __device__ real value(real z, real label) {
    return log1p(exp(-fabs(z))) + (z > 0 ? z : real(0)) - z * label;
  }
  static __device__ real gradient(real z, real label) { return Logistic::of(z) - label; }
};

struct Poisson {
  static __device__ real value(real out, real target) {
    const real log_target = target > 0 ? log(target) : real(0);
    return exp(out) - target + target * (log_target - out);
  }
  static __device__ real gradient(real out, real target) { return exp(out) - target; }
};

template <class Loss>
__device__ void loss_rows(const real *outputs, const real *targets, Batch batch, real *d_outputs, double *row_loss,
                          int cols) {
  for (long long row = Warp::first_row(); row < batch.rows; row += Warp::row_step()) {
    const long long source = batch.source(row);
    const real scale = batch.scale(source);
    real loss = 0;
    for (int col = Warp::rank(); col < cols; col += Warp::size()) {
      const real out = outputs[row * cols + col], target = targets[source * cols + col];
      loss += Loss::value(out, target);
      d_outputs[row * cols + col] = Loss::gradient(out, target) * scale;
    }
    loss = Warp::reduce<Sum<real>>(loss);
    if (Warp::rank() == 0) row_loss[row] += double(batch.row_weight(source)) * loss;
  }
}

#define LOSS(name, body, Label)                                                                              \
  KERNEL name(const real *outputs, const Label *labels, const real *weight, const real *total_weight,        \
              const int *order, const int *cursor, real *d_outputs, double *row_loss, int rows, int cols) { \
    body(outputs, labels, Batch{weight, total_weight, order, cursor, rows}, d_outputs, row_loss, cols);      \
  }
LOSS(cross_entropy_indices_warp, cross_entropy_indices<Warp>, long long)
LOSS(cross_entropy_indices_block, cross_entropy_indices<Block>, long long)
LOSS(cross_entropy_shares_warp, cross_entropy_shares<Warp>, real)
LOSS(cross_entropy_shares_block, cross_entropy_shares<Block>, real)
LOSS(squared_error, loss_rows<SquaredError>, real)
LOSS(logistic_cross_entropy, loss_rows<LogisticCrossEntropy>, real)
LOSS(poisson, loss_rows<Poisson>, real)

// --------------------------------------------------------------------------------------------------------- updates

// What changes from step to step lies on the device, where a captured graph reads it anew:
//   clock (2,)  updates made; cursor, the first row of the batch in the order of the epoch
//   rates (5,)  learning rate; Adam's scale and root (`xpnet.ops.updates.adam_scales`); 1 - learning rate x decay;
//               broken, 1 once a parameter has become NaN
enum Clock { UPDATES, CURSOR };
enum Rates { LEARNING_RATE, SCALE, ROOT, KEEP, BROKEN };

// Before the first batch: the cursor turned back, the learning rate set, no losses yet.
KERNEL begin(int *clock, double *rates, double learning_rate, double *row_loss, int rows, double *squares, int parts) {
  FOR_EACH(i, rows) row_loss[i] = 0;
  FOR_EACH(i, parts) squares[i] = 0;
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    clock[CURSOR] = 0;
    rates[LEARNING_RATE] = learning_rate;
    rates[BROKEN] = 0;
  }
}

// After the last: the sums of losses, of squared weights and of row weights (null: their count), and whether a
// parameter broke. One block.
KERNEL finish(const double *row_loss, int rows, const double *squares, int parts, const real *weight, int count,
              const double *rates, double *results) {
  double loss = 0, square = 0, total = 0;
  for (int i = threadIdx.x; i < rows; i += blockDim.x) loss += row_loss[i];
  for (int i = threadIdx.x; i < parts; i += blockDim.x) square += squares[i];
  if (weight)
    for (int i = threadIdx.x; i < count; i += blockDim.x) total += weight[i];
  loss = reduce_block<Sum<double>>(loss);
  square = reduce_block<Sum<double>>(square);
  total = reduce_block<Sum<double>>(total);
  if (threadIdx.x == 0) {
    results[0] = loss;
    results[1] = square;
    results[2] = weight ? total : count;
    results[3] = rates[BROKEN];
  }
}

// A product with ReLU in it may turn NaN into 0, and a loss into a number, while parameters are lost: so updates look
// at what they write. Whoever writes the mark writes the same.
__device__ inline void look(real param, double *rates) {
  if (param != param) rates[BROKEN] = 1;
}

// The clock goes on by one update and `rows` rows, and what depends on the number of the update follows. One thread.
KERNEL tick(int *clock, double *rates, double beta1, double beta2, double weight_decay, int epsilon_hat, int rows) {
  const double t = ++clock[UPDATES], learning_rate = rates[LEARNING_RATE];
  clock[CURSOR] += rows;
  const double correction1 = 1 - pow(beta1, t), correction2 = sqrt(1 - pow(beta2, t));
  rates[SCALE] = learning_rate * (epsilon_hat ? correction2 : 1) / correction1;
  rates[ROOT] = epsilon_hat ? 1 : 1 / correction2;
  rates[KEEP] = 1 - learning_rate * weight_decay;
}

KERNEL gradient_descent(real *param, const real *grad, double *rates, long long size) {
  const real learning_rate = rates[LEARNING_RATE];
  FOR_EACH(i, size) look(param[i] -= learning_rate * grad[i], rates);
}

KERNEL momentum(real *param, const real *grad, real *velocity, double *rates, double mu, int nesterov, long long size) {
  const real learning_rate = rates[LEARNING_RATE], keep = mu;
  FOR_EACH(i, size) {
    const real fall = learning_rate * grad[i], v = keep * velocity[i] - fall;
    velocity[i] = v;
    look(param[i] += nesterov ? keep * v - fall : v, rates);
  }
}

KERNEL adam(real *param, const real *grad, real *m, real *v, double *rates, double beta1, double beta2, double epsilon,
            long long size) {
  const real b1 = beta1, rest1 = 1 - beta1, b2 = beta2, rest2 = 1 - beta2, eps = epsilon;
  const real scale = rates[SCALE], root = rates[ROOT], keep = rates[KEEP];
  FOR_EACH(i, size) {
    const real g = grad[i], mi = b1 * m[i] + rest1 * g, vi = b2 * v[i] + rest2 * g * g;
    m[i] = mi;
    v[i] = vi;
    look(param[i] = keep * param[i] - scale * mi / (sqrt(vi) * root + eps), rates);
  }
}

// The gradient of lambda / 2 sum W^2, added to the gradients of the weights, and each block's part of sum W^2 (times
// the weight of the batch, as row_loss), added to squares[block]. bounds (matrices, 2): where each matrix begins, ends.
KERNEL l2_penalty(const real *param, real *grad, const long long *bounds, int matrices, double lambda, int over_batch,
                  const real *total_weight, int rows, double *squares) {
  const double batch_weight = total_weight ? double(*total_weight) : rows;
  const real slope = over_batch ? lambda / batch_weight : lambda;
  double sum = 0;
  for (int k = 0; k < matrices; k++) {
    const long long begin = bounds[2 * k], end = bounds[2 * k + 1];
    FOR_EACH(i, end - begin) {
      const real w = param[begin + i];
      grad[begin + i] += slope * w;
      sum += double(w) * w;
    }
  }
  sum = reduce_block<Sum<double>>(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] += over_batch ? sum : sum * batch_weight;
}

// ------------------------------------------------------------------------------------------------ rows of a batch

// out[i] = x[order[cursor + i]]; cursor null: 0.
KERNEL gather(const real *x, const int *order, const int *cursor, real *out, int rows, int cols) {
  const int first = cursor ? *cursor : 0;
  for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
    const long long source = order[first + row];
    for (int col = blockIdx.x * blockDim.x + threadIdx.x; col < cols; col += gridDim.x * blockDim.x)
      out[(long long)row * cols + col] = x[source * cols + col];
  }
}

// total[0] = the sum of the weights of a batch, in one block.
KERNEL batch_weight(const real *weight, const int *order, const int *cursor, real *total, int rows) {
  const Batch batch = {weight, nullptr, order, cursor, rows};
  real sum = 0;
  for (int row = threadIdx.x; row < rows; row += blockDim.x) sum += weight[batch.source(row)];
  sum = reduce_block<Sum<real>>(sum);
  if (threadIdx.x == 0) total[0] = sum;
}
