// A stand-in for cuBLASLt that works on host memory, as strict as its documentation: column-major products with leading
// dimensions, the epilogues that xpnet uses, attributes of the documented sizes. Float32 and float64, with the compute
// types that its table of datatypes has for them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum Status { SUCCESS = 0, INVALID = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Epilogue { NONE = 1, BIAS = 4, RELU_AUX_BIAS = 134, DRELU_BGRAD = 152, BGRADA = 256 };
enum Type { FLOAT32 = 0, FLOAT64 = 1 };
// COMPUTE_32F and its pedantic form, 32F_FAST_16F, _16BF and _TF32; COMPUTE_64F and its pedantic form.
const std::vector<int> OF_FLOAT32 = {68, 69, 74, 75, 77}, OF_FLOAT64 = {70, 71};

struct Desc {
  int compute, scale_type;
  int32_t transpose_a = 0, transpose_b = 0, epilogue = NONE;
  void *bias = nullptr, *aux = nullptr;
  int64_t aux_ld = 0, bias_stride = 0;
};

struct Layout {
  int type;
  uint64_t rows, cols;
  int64_t ld;
  int32_t count = 1;  // of matrices, so many items apart
  int64_t stride = 0;
};

struct Preference {
  size_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

double get(const void *items, int type, uint64_t at) {
  if (type == FLOAT64) return static_cast<const double *>(items)[at];
  return static_cast<const float *>(items)[at];
}

void put(void *items, int type, uint64_t at, double value) {
  if (type == FLOAT64)
    static_cast<double *>(items)[at] = value;
  else
    static_cast<float *>(items)[at] = value;
}

double item(const void *matrix, const Layout &layout, uint64_t row, uint64_t col) {
  return get(matrix, layout.type, row + col * layout.ld);
}

bool bit(const Desc &desc, uint64_t row, uint64_t col) {
  const uint64_t at = row + col * desc.aux_ld;
  return static_cast<const uint8_t *>(desc.aux)[at / 8] >> at % 8 & 1;
}

void set_bit(const Desc &desc, uint64_t row, uint64_t col, bool value) {
  const uint64_t at = row + col * desc.aux_ld;
  uint8_t &byte = static_cast<uint8_t *>(desc.aux)[at / 8];
  byte = value ? byte | 1 << at % 8 : byte & ~(1 << at % 8);
}

void product(const Desc &desc, const void *a, const Layout &la, const void *b, const Layout &lb, void *d,
             const Layout &ld) {
  const uint64_t m = ld.rows, n = ld.cols, k = desc.transpose_a ? la.rows : la.cols;
  std::vector<double> gradient(m, 0.0);
  for (uint64_t j = 0; j < n; j++)
    for (uint64_t i = 0; i < m; i++) {
      double value = 0;
      for (uint64_t l = 0; l < k; l++)
        value += (desc.transpose_a ? item(a, la, l, i) : item(a, la, i, l)) *
                 (desc.transpose_b ? item(b, lb, j, l) : item(b, lb, l, j));
      if (ld.type != FLOAT64) value = float(value);
      if (desc.epilogue == BIAS || desc.epilogue == RELU_AUX_BIAS) value += get(desc.bias, ld.type, i);
      if (desc.epilogue == RELU_AUX_BIAS) {
        set_bit(desc, i, j, value >= 0);  // 1 at 0, as in cuBLASLt
        value = value > 0 ? value : 0;  // NaN becomes 0
      }
      if (desc.epilogue == DRELU_BGRAD) value = bit(desc, i, j) ? value : 0;
      gradient[i] += value;
      put(d, ld.type, i + j * ld.ld, value);
    }
  if (desc.epilogue == BGRADA)
    for (uint64_t i = 0; i < m; i++) {
      gradient[i] = 0;
      for (uint64_t l = 0; l < k; l++) gradient[i] += desc.transpose_a ? item(a, la, l, i) : item(a, la, i, l);
    }
  if (desc.epilogue == BGRADA || desc.epilogue == DRELU_BGRAD)
    for (uint64_t i = 0; i < m; i++) put(desc.bias, ld.type, i, gradient[i]);
}

template <class T>
int set(T &target, const void *value, size_t size) {
  if (size != sizeof target) return INVALID;
  std::memcpy(&target, value, size);
  return SUCCESS;
}

size_t item_bytes(const Layout &layout) { return layout.type == FLOAT64 ? sizeof(double) : sizeof(float); }

// Whether a matrix, and each other one of several, lies at a multiple of some bytes.
bool aligned(const void *matrix, const Layout &layout, uint64_t bytes) {
  return uint64_t(matrix) % bytes == 0 && (layout.count == 1 || layout.stride * item_bytes(layout) % bytes == 0);
}

// Whether the vector of an epilogue, and that of each other product, lies where a kernel may read 16 bytes of it at once.
// Preferences have no alignment of it, and its stride is not what the heuristic asks about.
bool vector_aligned(const Desc &desc, const Layout &d) {
  return desc.epilogue == NONE || aligned(desc.bias, {d.type, 0, 0, 0, d.count, desc.bias_stride}, 16);
}

// Sizes are numbers of 32 bits.
bool countable(const Layout &layout) { return layout.rows <= INT32_MAX && layout.cols <= INT32_MAX; }

bool agree(const Desc &desc, const Layout &a, const Layout &b, const Layout &d) {
  const uint64_t m = desc.transpose_a ? a.cols : a.rows, ka = desc.transpose_a ? a.rows : a.cols;
  const uint64_t n = desc.transpose_b ? b.rows : b.cols, kb = desc.transpose_b ? b.cols : b.rows;
  const bool strides = a.ld >= int64_t(a.rows) && b.ld >= int64_t(b.rows) && d.ld >= int64_t(d.rows);
  const bool vector = desc.epilogue == NONE || desc.bias;
  const bool masked = desc.epilogue == RELU_AUX_BIAS || desc.epilogue == DRELU_BGRAD;
  if (desc.aux && !masked) return false;  // cuBLASLt reads nothing of it, so who gives it is wrong
  const bool counts = a.count == d.count && b.count == d.count && !(masked && d.count > 1);
  const bool mask = !masked || (desc.aux && desc.aux_ld % 128 == 0 && desc.aux_ld >= int64_t(m));
  return m == d.rows && n == d.cols && ka == kb && strides && vector && mask && counts;
}

// Set by a test: an epilogue there is no algorithm for, one that has an algorithm and is refused at the call, and what is
// answered to a question and to a call.
int unsupported = 0, refused_at_call = 0, to_heuristic = 0, to_matmul = 0;

const size_t SPARE = 16;  // bytes of workspace that epilogues write beyond what they ask for

// With k = 1 these read memory that is not theirs, though an algorithm is given for them.
bool faults(const Desc &desc, const Layout &a) {
  const bool back = desc.epilogue == DRELU_BGRAD || desc.epilogue == BGRADA;
  return (desc.transpose_a ? a.rows : a.cols) == 1 && back;
}

}  // namespace

extern "C" {

void fake_refuse(int epilogue, int at_call) { (at_call ? refused_at_call : unsupported) = epilogue; }
void fake_answer(int heuristic, int matmul) { to_heuristic = heuristic, to_matmul = matmul; }

size_t cublasLtGetVersion() { return 130201; }

int cublasLtCreate(void **handle) { return *handle = new int(1), SUCCESS; }
int cublasLtDestroy(void *handle) { return delete static_cast<int *>(handle), SUCCESS; }

int cublasLtMatmulDescCreate(Desc **desc, int compute, int scale_type) {
  return *desc = new Desc{compute, scale_type}, SUCCESS;
}
int cublasLtMatmulDescDestroy(Desc *desc) { return delete desc, SUCCESS; }

int cublasLtMatmulDescSetAttribute(Desc *desc, int attribute, const void *value, size_t size) {
  switch (attribute) {
    case 3: return set(desc->transpose_a, value, size);
    case 4: return set(desc->transpose_b, value, size);
    case 7: return set(desc->epilogue, value, size);
    case 8: return set(desc->bias, value, size);
    case 10: return set(desc->bias_stride, value, size);
    case 11: return set(desc->aux, value, size);
    case 12: return set(desc->aux_ld, value, size);
  }
  return INVALID;
}

int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  return *layout = new Layout{type, rows, cols, ld}, SUCCESS;
}
int cublasLtMatrixLayoutSetAttribute(Layout *layout, int attribute, const void *value, size_t size) {
  if (attribute == 5) return set(layout->count, value, size);
  if (attribute == 6) return set(layout->stride, value, size);
  return INVALID;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) { return delete layout, SUCCESS; }

int cublasLtMatmulPreferenceCreate(Preference **preference) { return *preference = new Preference, SUCCESS; }
int cublasLtMatmulPreferenceDestroy(Preference *preference) { return delete preference, SUCCESS; }

int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t size) {
  if (attribute == 1) return set(preference->workspace, value, size);
  if (5 <= attribute && attribute <= 8) return set(preference->alignment[attribute - 5], value, size);
  return INVALID;
}

int cublasLtMatmulAlgoGetHeuristic(void *, Desc *desc, Layout *a, Layout *b, Layout *, Layout *d,
                                   Preference *preference, int asked, Heuristic *found, int *count) {
  *count = 0;
  if (to_heuristic) return to_heuristic;
  if (!agree(*desc, *a, *b, *d) || preference->workspace == 0) return INVALID;
  if (desc->epilogue == unsupported || !countable(*a) || !countable(*b) || !countable(*d)) return NOT_SUPPORTED;
  for (; *count < std::min(asked, 4); ++*count, ++found) {
    found->algorithm[0] = 0x5ca1ab1e;
    found->algorithm[1] = preference->workspace;
    std::copy_n(preference->alignment, 4, found->algorithm + 2);  // a kernel for matrices that lie so
    found->status = SUCCESS;
  }
  return SUCCESS;
}

// No algorithm of this library splits a sum.
int cublasLtMatmulAlgoConfigGetAttribute(const uint64_t *algorithm, int attribute, void *value, size_t size,
                                         size_t *written) {
  if (algorithm[0] != 0x5ca1ab1e || (attribute != 2 && attribute != 3) || size != sizeof(int32_t)) return INVALID;
  const int32_t parts = 1, scheme = 0;
  std::memcpy(value, attribute == 2 ? &parts : &scheme, size);
  return *written = size, SUCCESS;
}

// Whether cuBLASLt takes a call, which it says before it computes. What a kernel would fail at is EXECUTION_FAILED.
int fake_status(void *, Desc *desc, const void *alpha, const void *a, Layout *la, const void *b, Layout *lb,
                const void *beta, const void *c, Layout *lc, void *d, Layout *ld, const uint64_t *algorithm, void *space,
                size_t workspace, void *) {
  if (to_matmul) return to_matmul;
  if (desc->epilogue == refused_at_call) return NOT_SUPPORTED;
  if (!space || uint64_t(space) % 256 || algorithm[0] != 0x5ca1ab1e || c != d) return INVALID;
  if (!agree(*desc, *la, *lb, *ld) || lb->type != la->type || ld->type != la->type) return INVALID;
  const bool single = la->type != FLOAT64;
  const auto &computes = single ? OF_FLOAT32 : OF_FLOAT64;
  const double one = single ? *static_cast<const float *>(alpha) : *static_cast<const double *>(alpha);
  const double zero = single ? *static_cast<const float *>(beta) : *static_cast<const double *>(beta);
  const bool fits = std::count(computes.begin(), computes.end(), desc->compute);
  if (!fits || desc->scale_type != (single ? FLOAT32 : FLOAT64) || one != 1 || zero != 0) return INVALID;
  const bool as_preferred = aligned(a, *la, algorithm[2]) && aligned(b, *lb, algorithm[3]) &&
                            aligned(c, *lc, algorithm[4]) && aligned(d, *ld, algorithm[5]);
  if (!as_preferred || !vector_aligned(*desc, *ld) || faults(*desc, *la)) return EXECUTION_FAILED;
  if (desc->epilogue != NONE && workspace < algorithm[1] + SPARE) return EXECUTION_FAILED;
  return SUCCESS;
}

int cublasLtMatmul(void *handle, Desc *desc, const void *alpha, const void *a, Layout *la, const void *b, Layout *lb,
                   const void *beta, const void *c, Layout *lc, void *d, Layout *ld, const uint64_t *algorithm,
                   void *space, size_t workspace, void *stream) {
  const int status = fake_status(handle, desc, alpha, a, la, b, lb, beta, c, lc, d, ld, algorithm, space, workspace,
                                 stream);
  if (status) return status;
  const size_t item = item_bytes(*la);
  for (int32_t k = 0; k < ld->count; k++) {
    Desc one_of = *desc;
    if (one_of.bias) one_of.bias = static_cast<char *>(desc->bias) + k * desc->bias_stride * item;
    product(one_of, static_cast<const char *>(a) + k * la->stride * item, *la,
            static_cast<const char *>(b) + k * lb->stride * item, *lb, static_cast<char *>(d) + k * ld->stride * item, *ld);
  }
  return SUCCESS;
}
}
