/* A trained model of xpnet as one file of C99 without dependencies. Compile it with any C compiler,
 * and link with -lm.
 *
 *   void xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]);
 *
 * A value is one column of a row: a number, or text. NAN, NULL and "" are gaps. A date or time is
 * the number of seconds since 1970: on the clock of UTC (Unix time) if the dates of the training
 * had a time zone, else on their own clock. The result is what predict or predict_proba gives for
 * the row. Several threads may call the function at a time.
 */
#include <math.h>
#include <stddef.h>
#include <string.h>

/* SIZES */

typedef struct {
  double number;
  const char *text;
} xpnet_value;

typedef struct {
  int in, out;
  const float *weight, *bias, *scale_in, *scale_out; /* NULL where there is no scale */
  int weight_stride, bias_stride; /* distance to the next member's; 0 where members share them */
} layer;

/* OPERATORS */

#if NUMBERS || SCALED
static double clipped(double x, double low, double high) {
  return x < low ? low : x > high ? high : x;
}
#endif

#if NUMBERS
typedef struct {
  int start, column, part; /* start: the first output */
  int minus, is_clock_number; /* minus: the column that is subtracted, -1 for none */
  double period;              /* of the unit of both columns, 0 for none */
  double fill, low, high, centre, scale;
  int clip, gaps, cycle;
  double first, length; /* of the cycle */
  int bins;
  const double *edges;
} number;

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
#endif

#if TIMESTAMPS
/* A part of a timestamp; the calendar from days is Hinnant's civil_from_days. */
static double part_of(double seconds, int part) {
  if (part <= 1) return seconds;
  if (!isfinite(seconds)) return NAN;
  const double days = floor(seconds / 86400), from_march = days + 719468;
  const double era = floor(from_march / 146097);
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
#elif NUMBERS
static double part_of(double x, int part) {
  (void)part; /* of tables without timestamps */
  return x;
}
#endif

#if DIFFERENCES
/* Minutes since midnight of a clock time such as 1730. */
static double minutes(double clock_number) {
  return clock_number - floor(clock_number / 100) * 40;
}

/* The difference of two columns, the shorter way where their unit has a period. */
static double difference(const number *n, double x, double y) {
  const double z = n->is_clock_number ? minutes(x) - minutes(y) : x - y;
  return n->period > 0 ? z - floor((z + n->period / 2) / n->period) * n->period : z;
}
#endif

#if LEVELS
typedef struct {
  int start, column, levels, details;
  const double *values;
  const float *table; /* of details, a row for each level */
} level;

static void encode_level(const level *l, double x, float *out) {
  for (int k = 0; k < l->details; k++) out[k] = 0;
  for (int j = 0; j < l->levels; j++)
    if (l->values[j] == x)
      for (int k = 0; k < l->details; k++) out[k] = l->table[j * l->details + k];
}
#endif

#if CATEGORIES
typedef struct {
  int start, column, values, hot, gaps, details;
  const char *const *names;
  const float *table; /* of details, a row for each value */
} category;

/* The length of a whole number that may have the decimal of a float: 2 for "12" and "12.0".
 * 0 for other text. */
static size_t whole_number(const char *text) {
  const size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");
  const char *end = text + sign + digits;
  if (digits == 0 || (digits > 1 && text[sign] == '0')) return 0;
  return *end == 0 || strcmp(end, ".0") == 0 ? sign + digits : 0;
}

/* The index of a value; the number of values for an unknown one. */
static int index_of(const category *c, const char *text) {
  for (int k = 0; k < c->values; k++)
    if (strcmp(c->names[k], text) == 0) return k;
  const size_t length = whole_number(text);
  for (int k = 0; k < c->values && length > 0; k++)
    if (whole_number(c->names[k]) == length && memcmp(c->names[k], text, length) == 0) return k;
  return c->values;
}

static void encode_category(const category *c, const char *text, float *out) {
  const int index = text ? index_of(c, text) : c->values;
  const int is_known = index < c->values;
  const int is_gap = !is_known && (text == NULL || *text == 0);
  for (int k = 0; k < c->hot; k++) out[k] = is_known && k == (index < c->hot ? index : c->hot - 1);
  out += c->hot;
  if (c->gaps) *out++ = (float)is_gap;
  for (int k = 0; k < c->details; k++) out[k] = is_known ? c->table[index * c->details + k] : 0;
}
#endif

/* DATA */

static void encode(const xpnet_value *row, float *x) {
#if NUMBERS + CATEGORIES == 0 /* the columns are numbers, and not encoded */
  for (int k = 0; k < XPNET_COLUMNS; k++) x[k] = (float)row[k].number;
#endif
#if NUMBERS
  for (int k = 0; k < NUMBERS; k++) {
    const number *n = &numbers[k];
    double value = part_of(row[n->column].number, n->part);
#if DIFFERENCES
    if (n->minus >= 0) value = difference(n, value, part_of(row[n->minus].number, n->part));
#endif
    encode_number(n, value, x + n->start);
  }
#endif
#if LEVELS
  for (int k = 0; k < LEVELS; k++)
    encode_level(&levels[k], row[levels[k].column].number, x + levels[k].start);
#endif
#if CATEGORIES
  for (int k = 0; k < CATEGORIES; k++)
    encode_category(&categories[k], row[categories[k].column].text, x + categories[k].start);
#endif
}

/* The outputs of one member of a network, before the output activation. */
static void forward(const layer *network, int member, const float *inputs, float *out) {
  float x[WIDEST];
  memcpy(x, inputs, sizeof(float) * (size_t)network[0].in);
  for (int k = 0; k < LAYERS; k++) {
    const layer *l = &network[k];
    const float *weight = l->weight + (size_t)member * (size_t)l->weight_stride;
    const float *bias = l->bias + member * l->bias_stride;
    const float *scale_in = l->scale_in ? l->scale_in + member * l->in : NULL;
    const float *scale_out = l->scale_out ? l->scale_out + member * l->out : NULL;
    for (int j = 0; j < l->out; j++) out[j] = 0;
    for (int i = 0; i < l->in; i++) {
      const float scaled = scale_in ? x[i] * scale_in[i] : x[i];
      const float *weight_of_input = weight + (size_t)i * (size_t)l->out;
      for (int j = 0; j < l->out; j++) out[j] += scaled * weight_of_input[j];
    }
    for (int j = 0; j < l->out; j++)
      out[j] = activate[k]((scale_out ? out[j] * scale_out[j] : out[j]) + bias[j]);
    memcpy(x, out, sizeof(float) * (size_t)l->out);
  }
}

#if OUTPUT == 's' || CALIBRATED
/* Exponentials of values / temperature that sum to 1. */
static void softmax(double *values, double temperature) {
  double maximum = values[0], sum = 0;
  for (int k = 1; k < OUTPUTS; k++) maximum = values[k] > maximum ? values[k] : maximum;
  for (int k = 0; k < OUTPUTS; k++) sum += values[k] = exp((values[k] - maximum) / temperature);
  for (int k = 0; k < OUTPUTS; k++) values[k] /= sum;
}
#endif

/* Add the outputs of one member to sums. */
static void add_member(const float *out, double *sums) {
  double outputs[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) {
#if OUTPUT == 'e'
    outputs[j] = exp(out[j]);
#elif OUTPUT == 'l'
    outputs[j] = Sigmoid(out[j]);
#else
    outputs[j] = out[j];
#endif
  }
#if OUTPUT == 's'
  softmax(outputs, 1);
#endif
  for (int j = 0; j < OUTPUTS; j++) sums[j] += outputs[j] / (NETWORKS * MEMBERS);
}

/* Calibrate, scale and sort the mean outputs, and write the result. */
static void finish(double *mean, float *result) {
#if CALIBRATED
  const double tiny = 1.1754944e-38;
  for (int k = 0; k < OUTPUTS; k++) mean[k] = log(mean[k] > tiny ? mean[k] : tiny);
  softmax(mean, TEMPERATURE);
#endif
#if SCALED
  for (int k = 0; k < OUTPUTS; k++)
    mean[k] = clipped(mean[k] * target[1][k] + target[0][k], target[2][k], target[3][k]);
#endif
#if SORTED
  for (int k = 1; k < OUTPUTS; k++)
    for (int j = k; j > 0 && mean[j - 1] > mean[j]; j--) {
      const double swapped = mean[j];
      mean[j] = mean[j - 1];
      mean[j - 1] = swapped;
    }
#endif
  if (XPNET_RESULTS != OUTPUTS) *result++ = (float)(1 - mean[0]); /* of two classes the first */
  for (int k = 0; k < OUTPUTS; k++) result[k] = (float)mean[k];
}

void xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]) {
  float x[WIDEST], out[WIDEST];
  double mean[OUTPUTS] = {0};
  encode(row, x);
  for (int k = 0; k < NETWORKS; k++)
    for (int member = 0; member < MEMBERS; member++) {
      forward(layers + k * LAYERS, member, x, out);
      add_member(out, mean);
    }
  finish(mean, result);
}
