/* A trained model of xpnet as one file of C99 without dependencies. Compile it with any C compiler, and link with -lm.
 *
 *   void xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]);
 *
 * A value is one column of a row: a number (seconds since 1970 for a date or time, NAN for a gap), or text (NULL or ""
 * for a gap). The result is what predict or predict_proba gives for the row. Calls may run side by side.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

typedef struct {
  double number;
  const char *text;
} xpnet_value;

typedef struct {
  int in, out;
  const float *weight, *bias, *scale_in, *scale_out; /* NULL where there is no scale */
  int weight_of_member, bias_of_member; /* how far that of the next member is away; 0 where they share one */
} layer;

typedef struct {
  int start, column, part; /* start: the first output */
  double fill, low, high, centre, scale;
  int clip, gaps, cycle;
  double first, length; /* of the cycle */
  int bins;
  const double *edges;
} number;

typedef struct {
  int start, column, values, hot, gaps, details;
  const char *const *names;
  const float *table; /* of details, a row for each value */
} category;

/* The operators in which activations are described, under ONNX's names. */
static float Identity(float x) { return x; }
static float Relu(float x) { return fmaxf(x, 0); }
static float Tanh(float x) { return tanhf(x); }
static float Abs(float x) { return fabsf(x); }
static float Exp(float x) { return expf(x); }
static float Log(float x) { return logf(x); }
static float Max(float a, float b) { return fmaxf(a, b); }
static float Min(float a, float b) { return fminf(a, b); }
static float Add(float a, float b) { return a + b; }
static float Sub(float a, float b) { return a - b; }
static float Mul(float a, float b) { return a * b; }
static float Div(float a, float b) { return a / b; }
static float Sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0 ? e : 1) / (1 + e);
}

/* DATA */

static double clipped(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* A part of a moment; the calendar from days as Hinnant's civil_from_days has it. */
static double part_of(double seconds, int part) {
  if (part <= 1) return seconds;
  if (!isfinite(seconds)) return NAN;
  const double days = floor(seconds / 86400), from_march = days + 719468, era = floor(from_march / 146097);
  const double of_era = from_march - era * 146097;
  const double years =
      floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365);
  const double of_year = of_era - (years * 365 + floor(years / 4) - floor(years / 100));
  const double month = floor((of_year * 5 + 2) / 153), after_december = floor(month / 10);
  switch (part) {
    case 2: return years + era * 400 + after_december;
    case 3: return month + 3 - after_december * 12;
    case 4: return of_year - floor((month * 153 + 2) / 5) + 1;
    case 5: return days + 3 - floor((days + 3) / 7) * 7;
    default: return (seconds - days * 86400) / 3600;
  }
}

static void encode_number(const number *n, double x, float *out) {
  const int missing = isnan(x);
  if (missing) x = n->fill;
  if (fabs(x) > 1e300) x = clipped(x, n->low, n->high);
  if (n->scale != 0) {
    const double z = clipped((x - n->centre) * n->scale, -1e5, 1e5);
    *out++ = (float)(n->clip ? z / sqrt(1 + z * z / 9) : z);
  }
  if (n->gaps) *out++ = (float)missing;
  if (n->cycle) {
    const double angle = (x - n->first) * (2 * 3.14159265358979323846 / n->length);
    *out++ = (float)sin(angle);
    *out++ = (float)cos(angle);
  }
  for (const double *left = n->edges; left < n->edges + n->bins; left++)
    *out++ = (float)clipped((x - left[0]) / (left[1] - left[0]), 0, 1);
}

static void encode_category(const category *c, const char *text, float *out) {
  const int gap = text == NULL || !*text;
  int found = gap ? c->values : 0;
  while (found < c->values && strcmp(c->names[found], text)) found++;
  for (int k = 0; k < c->hot; k++) out[k] = found < c->values && k == (found < c->hot ? found : c->hot - 1);
  out += c->hot;
  if (c->gaps) *out++ = (float)gap;
  for (int k = 0; k < c->details; k++) out[k] = found < c->values ? c->table[found * c->details + k] : 0;
}

static void encode(const xpnet_value *row, float *x) {
  if (NUMBERS + CATEGORIES == 0) /* the columns are numbers, and not encoded */
    for (int k = 0; k < XPNET_COLUMNS; k++) x[k] = (float)row[k].number;
  for (int k = 0; k < NUMBERS; k++)
    encode_number(&numbers[k], part_of(row[numbers[k].column].number, numbers[k].part), x + numbers[k].start);
  for (int k = 0; k < CATEGORIES; k++)
    encode_category(&categories[k], row[categories[k].column].text, x + categories[k].start);
}

/* The outputs of one member of a network, before the output activation. */
static void forward(const layer *network, int member, const float *inputs, float *out) {
  float x[WIDEST];
  memcpy(x, inputs, sizeof(float) * (size_t)network[0].in);
  for (int k = 0; k < LAYERS; k++) {
    const layer *l = &network[k];
    const float *weight = l->weight + (size_t)member * (size_t)l->weight_of_member;
    const float *bias = l->bias + member * l->bias_of_member;
    const float *scale_in = l->scale_in ? l->scale_in + member * l->in : NULL;
    const float *scale_out = l->scale_out ? l->scale_out + member * l->out : NULL;
    for (int j = 0; j < l->out; j++) out[j] = 0;
    for (int i = 0; i < l->in; i++) {
      const float scaled = scale_in ? x[i] * scale_in[i] : x[i];
      for (int j = 0; j < l->out; j++) out[j] += scaled * weight[(size_t)i * (size_t)l->out + (size_t)j];
    }
    for (int j = 0; j < l->out; j++) out[j] = activate[k]((scale_out ? out[j] * scale_out[j] : out[j]) + bias[j]);
    memcpy(x, out, sizeof(float) * (size_t)l->out);
  }
}

/* Exponentials of values / temperature that sum to 1. */
static void softmax(double *values, double temperature) {
  double most = values[0], sum = 0;
  for (int k = 1; k < OUTPUTS; k++) most = values[k] > most ? values[k] : most;
  for (int k = 0; k < OUTPUTS; k++) sum += values[k] = exp((values[k] - most) / temperature);
  for (int k = 0; k < OUTPUTS; k++) values[k] /= sum;
}

static void finish(double *found, float *result) {
  if (TEMPERATURE != 1) {
    for (int k = 0; k < OUTPUTS; k++) found[k] = log(found[k] > 1.1754944e-38 ? found[k] : 1.1754944e-38);
    softmax(found, TEMPERATURE);
  }
  if (SCALED)
    for (int k = 0; k < OUTPUTS; k++)
      found[k] = clipped(found[k] * target[1][k] + target[0][k], target[2][k], target[3][k]);
  if (SORTED)
    for (int k = 1; k < OUTPUTS; k++)
      for (int j = k; j > 0 && found[j - 1] > found[j]; j--) {
        const double swapped = found[j];
        found[j] = found[j - 1];
        found[j - 1] = swapped;
      }
  if (XPNET_RESULTS != OUTPUTS) *result++ = (float)(1 - found[0]); /* of two classes the first */
  for (int k = 0; k < OUTPUTS; k++) result[k] = (float)found[k];
}

void xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]) {
  float x[WIDEST], out[WIDEST];
  double found[OUTPUTS] = {0};
  encode(row, x);
  for (int k = 0; k < NETWORKS; k++)
    for (int member = 0; member < MEMBERS; member++) {
      double one[OUTPUTS];
      forward(layers + k * LAYERS, member, x, out);
      for (int j = 0; j < OUTPUTS; j++) one[j] = OUTPUT == 'e' ? exp(out[j]) : OUTPUT == 'l' ? Sigmoid(out[j]) : out[j];
      if (OUTPUT == 's') softmax(one, 1);
      for (int j = 0; j < OUTPUTS; j++) found[j] += one[j] / (NETWORKS * MEMBERS);
    }
  finish(found, result);
}
