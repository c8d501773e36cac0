// What CUDA C++ has by itself, for g++: the headers that run it on the host include this one.
#include <algorithm>
#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __launch_bounds__(...)

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
