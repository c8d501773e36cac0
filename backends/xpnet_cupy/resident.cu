// A whole epoch in one launch, for networks that fit into one multiprocessor: weights, gradients and the optimizer's
// buffers stay in its shared memory from batch to batch, and one block does all the work. Comes after kernels.cu.
//
// A batch goes through in tiles of rows, and their gradients add up. Rows of hidden layers lie an odd number of items
// apart, so that threads that walk down a column read from different banks.

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) char name[]
#endif

const int EPOCH_THREADS = sizeof(real) == 4 ? 512 : 256;  // as many as have registers enough
const int HEADER = 128;  // bytes before the arrays: rates, clock, the weight of the batch

enum Activations { IDENTITY, RELU, TANH, LOGISTIC, SOFTPLUS, LEAKY_RELU, ELU };  // those whose gradient reads out
enum Losses { INDICES, SHARES, SQUARED_ERROR, LOGISTIC_CROSS_ENTROPY, POISSON };
enum Rules { DESCENT, MOMENTUM, ADAM };

// One affine layer: where its weight and bias begin in the flat buffer, and the activation that follows.
struct Layer {
  int fan_in, fan_out, weight, bias, activation;
};

__device__ inline real activate(int activation, real x) {
  switch (activation) {
    case RELU: return Relu::of(x);
    case TANH: return Tanh::of(x);
    case LOGISTIC: return Logistic::of(x);
    case SOFTPLUS: return Softplus::of(x);
    case LEAKY_RELU: return LeakyRelu::of(x);
    case ELU: return Elu::of(x);
  }
  return x;
}

__device__ inline real activate_backward(int activation, real d_out, real out) {
  switch (activation) {
    case RELU: return Relu::backward(d_out, out);
    case TANH: return Tanh::backward(d_out, out);
    case LOGISTIC: return Logistic::backward(d_out, out);
    case SOFTPLUS: return Softplus::backward(d_out, out);
    case LEAKY_RELU: return LeakyRelu::backward(d_out, out);
    case ELU: return Elu::backward(d_out, out);
  }
  return d_out;
}

// ------------------------------------------------------------------------------------------------------- products

// Item (i, j) lies at i x down + j x across.
struct Matrix {
  const real *items;
  int down, across;
  __device__ real at(int i, int j) const { return items[i * down + j * across]; }
};

// Gives f every item of a (rows, depth) b (depth, cols). A thread computes N x N items, spread evenly over the product,
// from 2 N loads a turn. Neighbouring threads take neighbouring columns, or, with DOWN, neighbouring rows.
template <int N, bool DOWN, class F>
__device__ void product_of(const Matrix &a, const Matrix &b, int rows, int cols, int depth, F f) {
  const int down = (rows + N - 1) / N, across = (cols + N - 1) / N;
  for (int at = thread_rank(); at < down * across; at += thread_count()) {
    const int row = DOWN ? at % down : at / across, col = DOWN ? at / down : at % across;
    real sum[N][N] = {};
#pragma unroll 2
    for (int k = 0; k < depth; k++) {
      real left[N], right[N];
#pragma unroll
      for (int i = 0; i < N; i++) left[i] = a.at(min(row + i * down, rows - 1), k);
#pragma unroll
      for (int j = 0; j < N; j++) right[j] = b.at(k, min(col + j * across, cols - 1));
#pragma unroll
      for (int ij = 0; ij < N * N; ij++) sum[ij / N][ij % N] += left[ij / N] * right[ij % N];
    }
#pragma unroll
    for (int ij = 0; ij < N * N; ij++) {
      const int i = row + ij / N * down, j = col + ij % N * across;
      if (i < rows && j < cols) f(i, j, sum[ij / N][ij % N]);
    }
  }
}

// The same with as many items a thread as keep all threads busy.
template <bool DOWN, class F>
__device__ void product(const Matrix &a, const Matrix &b, int rows, int cols, int depth, F f) {
  const int items = rows * cols;
  if (items >= 8 * thread_count())
    product_of<4, DOWN>(a, b, rows, cols, depth, f);
  else if (items >= 2 * thread_count())
    product_of<2, DOWN>(a, b, rows, cols, depth, f);
  else
    product_of<1, DOWN>(a, b, rows, cols, depth, f);
}

// ---------------------------------------------------------------------------------------------------------- tiles

// A network and one tile of rows in shared memory. Items of row i of a layer of `width` units begin at i x stride(width);
// the last layer's rows lie without gaps, as the losses read them.
struct Tile {
  const Layer *layers;
  int count;  // of layers
  real *param, *grad, *inputs, *outputs, *d_outputs;
  int capacity;  // rows

  __device__ int stride(int k) const { return k == count - 1 ? layers[k].fan_out : layers[k].fan_out | 1; }
  __device__ int input_stride(int k) const { return k ? stride(k - 1) : layers[0].fan_in | 1; }
  __device__ real *layer(real *base, int k) const {
    for (int i = 0; i < k; i++) base += capacity * stride(i);
    return base;
  }
  __device__ real *output(int k) const { return layer(outputs, k); }
  __device__ real *d_output(int k) const { return layer(d_outputs, k); }
  __device__ const real *input(int k) const { return k ? output(k - 1) : inputs; }

  __device__ void gather(const real *x, const int *order, int rows) const {
    const int cols = layers[0].fan_in;
    for (int row = threadIdx.y; row < rows; row += blockDim.y)
      for (int col = threadIdx.x; col < cols; col += 32)
        inputs[row * input_stride(0) + col] = x[(long long)order[row] * cols + col];
    __syncthreads();
  }

  __device__ void forward(int rows) const {
    for (int k = 0; k < count; k++) {
      const Layer &l = layers[k];
      real *out = output(k);
      const real *bias = param + l.bias;
      const int step = stride(k), activation = l.activation;
      product<false>({input(k), input_stride(k), 1}, {param + l.weight, l.fan_out, 1}, rows, l.fan_out, l.fan_in,
                     [=](int i, int j, real sum) { out[i * step + j] = activate(activation, sum + bias[j]); });
      __syncthreads();
    }
  }

  __device__ void loss(int which, const long long *indices, const real *targets, const Batch &batch,
                       double *row_loss) const {
    const real *logits = output(count - 1);
    real *d_logits = d_output(count - 1);
    const int cols = layers[count - 1].fan_out;
    switch (which) {
      case INDICES: cross_entropy_indices<Warp>(logits, indices, batch, d_logits, row_loss, cols, nullptr); break;
      case SHARES: cross_entropy_shares<Warp>(logits, targets, batch, d_logits, row_loss, cols, nullptr); break;
      case SQUARED_ERROR: loss_rows<SquaredError>(logits, targets, batch, d_logits, row_loss, cols, nullptr); break;
      case LOGISTIC_CROSS_ENTROPY:
        loss_rows<LogisticCrossEntropy>(logits, targets, batch, d_logits, row_loss, cols, nullptr);
        break;
      case POISSON: loss_rows<Poisson>(logits, targets, batch, d_logits, row_loss, cols, nullptr); break;
    }
    __syncthreads();
  }

  // Adds the tile's gradients to grad, or writes them there for the first tile of a batch.
  __device__ void backward(int rows, bool first) const {
    for (int k = count - 1; k >= 0; k--) {
      const Layer &l = layers[k];
      const real *d_out = d_output(k);
      const int step = stride(k);
      real *d_weight = grad + l.weight, *d_bias = grad + l.bias;
      product<false>({input(k), 1, input_stride(k)}, {d_out, step, 1}, l.fan_in, l.fan_out, rows,
                     [=](int i, int j, real sum) {
                       real &d = d_weight[i * l.fan_out + j];
                       d = first ? sum : d + sum;
                     });
      for (int col = threadIdx.y; col < l.fan_out; col += blockDim.y) {  // a warp a column
        real sum = 0;
        for (int row = threadIdx.x; row < rows; row += 32) sum += d_out[row * step + col];
        sum = reduce_warp<Sum<real>>(sum);
        if (threadIdx.x == 0) d_bias[col] = first ? sum : d_bias[col] + sum;
      }
      if (k) through(k, rows);
      __syncthreads();
    }
  }

  // The gradient by layer k - 1's output before its activation.
  __device__ void through(int k, int rows) const {
    const Layer &l = layers[k];
    const int below = stride(k - 1), activation = layers[k - 1].activation;
    const real *out = output(k - 1);
    real *d_below = d_output(k - 1);
    product<true>({d_output(k), stride(k), 1}, {param + l.weight, 1, l.fan_out}, rows, l.fan_in, l.fan_out,
                  [=](int i, int j, real sum) {
                    d_below[i * below + j] = activate_backward(activation, sum, out[i * below + j]);
                  });
  }
};

// ---------------------------------------------------------------------------------------------------------- epoch

// Numbers of an update rule, whichever it is; see `xpnet.backend.UpdateRule`.
struct Rule {
  int kind;
  double beta1, beta2, epsilon, weight_decay, momentum;
  int flag;  // epsilon_hat of Adam, nesterov of momentum

  __device__ double update(real *param, const real *grad, real *first, real *second, const Penalty &penalty,
                           double *rates, int size) const {
    if (kind == ADAM) {
      const Adam adam = adam_of(rates, beta1, beta2, epsilon);
      return update_all(param, grad, first, second, adam, penalty, rates, nullptr, size);
    }
    const real learning_rate = rates[LEARNING_RATE];
    if (kind == MOMENTUM)
      return update_all(param, grad, first, second, Momentum{learning_rate, real(momentum), flag}, penalty, rates, nullptr, size);
    return update_all(param, grad, first, second, Descent{learning_rate}, penalty, rates, nullptr, size);
  }
};

// Takes `size` items from the front of the free memory, filled from where they lie.
__device__ inline real *taken(real *&free, const real *from, int size) {
  real *here = free;
  free += size;
  for (int i = thread_rank(); i < size; i += thread_count()) here[i] = from[i];
  return here;
}

__device__ inline void put_back(real *to, const real *from, int size) {
  for (int i = thread_rank(); i < size; i += thread_count()) to[i] = from[i];
}

// Trains on all batches of an epoch. One block of EPOCH_THREADS threads, (32, warps).
//   x, indices or targets, weight or null, order (rows,)   the data
//   network (layers, 5)                                    a Layer each
//   param, first, second (size,)                           parameters and the optimizer's buffers, or null
//   kept                                                   whether the buffers are held in shared memory, too
//   results (4,)                                           as `finish` gives them
KERNEL __launch_bounds__(EPOCH_THREADS, 1)
train_epoch(const real *x, const long long *indices, const real *targets, const real *weight, const int *order,
            const int *network, int layers, int loss, int rows, int batch_rows, int tile_rows, int *clock,
            double *rates, double learning_rate, int rule, double beta1, double beta2, double epsilon,
            double weight_decay, double momentum, int flag, real *param, real *first, real *second, int size, int kept,
            const long long *bounds, int matrices, double lambda, int over_batch, double *results) {
  DYNAMIC_SHARED(memory);
  double *own_rates = (double *)memory, *row_loss = (double *)(memory + HEADER);
  int *own_clock = (int *)(own_rates + 5);
  real *total_weight = (real *)(memory + HEADER - 16), *free = (real *)(row_loss + tile_rows);
  real *own_param = taken(free, param, size), *grad = taken(free, param, size);
  real *own_first = first && kept ? taken(free, first, size) : first;
  real *own_second = second && kept ? taken(free, second, size) : second;
  Tile tile = {(const Layer *)network, layers, own_param, grad, free, nullptr, nullptr, tile_rows};
  tile.outputs = tile.inputs + tile_rows * tile.input_stride(0);
  tile.d_outputs = tile.layer(tile.outputs, layers);
  const Rule rules = {rule, beta1, beta2, epsilon, weight_decay, momentum, flag};
  for (int i = thread_rank(); i < size; i += thread_count()) grad[i] = 0;  // between parameters it stays so
  for (int i = thread_rank(); i < tile_rows; i += thread_count()) row_loss[i] = 0;
  if (thread_rank() == 0) {
    for (int i = 0; i < 5; i++) own_clock[i] = clock[i];
    own_clock[NEXT_CURSOR] = 0;
    own_rates[LEARNING_RATE] = learning_rate;
    own_rates[BROKEN] = 0;
  }
  double squares = 0, weights = 0;
  for (int begin = 0; begin < rows; begin += batch_rows) {
    const int count = min(batch_rows, rows - begin);
    real sum = 0;
    if (weight)
      for (int i = thread_rank(); i < count; i += thread_count()) sum += weight[order[begin + i]];
    sum = weight ? reduce_block<Sum<real>>(sum) : real(count);
    weights += sum;
    if (thread_rank() == 0) {
      *total_weight = sum;
      tick(own_clock, own_rates, beta1, beta2, weight_decay, flag);
    }
    for (int start = 0; start < count; start += tile_rows) {
      const int part = min(tile_rows, count - start);
      const int *places = order + begin + start;
      tile.gather(x, places, part);
      tile.forward(part);
      tile.loss(loss, indices, targets, {weight, total_weight, places, part, true}, row_loss);
      tile.backward(part, start == 0);
    }
    const Penalty penalty = {bounds, matrices, lambda, over_batch, sum};
    squares += penalty.share(rules.update(own_param, grad, own_first, own_second, penalty, own_rates, size));
    if (thread_rank() == 0) {
      own_clock[NEXT_UPDATES] = own_clock[UPDATES] + 1;
      own_clock[NEXT_CURSOR] = own_clock[CURSOR] + count;
    }
    __syncthreads();
  }
  put_back(param, own_param, size);
  if (first && kept) put_back(first, own_first, size);
  if (second && kept) put_back(second, own_second, size);
  double losses = 0;
  for (int i = thread_rank(); i < tile_rows; i += thread_count()) losses += row_loss[i];
  losses = reduce_block<Sum<double>>(losses);
  squares = reduce_block<Sum<double>>(squares);
  if (thread_rank() == 0) {
    for (int i = 0; i < 5; i++) clock[i] = own_clock[i], rates[i] = own_rates[i];
    results[0] = losses;
    results[1] = squares;
    results[2] = weights;
    results[3] = own_rates[BROKEN];
  }
}
