/* A trained model of xpnet as one file of C99 without dependencies. Compile it with any C compiler,
 * and link with -lm.
 *
 *   int xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]);
 *
 * A value is one column of a row: a number, or text. NAN, NULL and "" are gaps. A date is the number
 * of seconds since 1970: on the clock of UTC (Unix time) if the dates of the training had a time
 * zone, else on their own clock. A time of day is the number of seconds since midnight. The result
 * is what predict or predict_proba gives for the row. The function returns 0; for text in a column
 * of numbers, or the reverse, it returns the number of the column, from 1, and the result is NAN.
 * Several threads may call it at a time.
 * KNOWN PARTS
 *
 * The columns of a row, from 0:
 *
 * COLUMNS
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
  int type; /* 0: not used, 1: a number, 2: text */
  int numbers, texts;
  const double *gap_numbers; /* values that are gaps; NULL for none */
  const char *const *gap_texts;
} column;

typedef struct {
  int in, out;
  const float *weight, *bias, *scale_in, *scale_out; /* NULL where there is no scale */
  int weight_stride, bias_stride; /* distance to the next member's; 0 where members share them */
} layer;

/* OPERATORS */

/* A number within bounds; NAN stays. */
#define CLIPPED(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))

/* ENCODINGS */

/* DATA */

#if ENCODED
/* Copy a value, with NAN or NULL in place of what a column knows as a gap. Returns whether the type
 * of the value is that of the column. */
static int read_value(const column *c, xpnet_value value, xpnet_value *read) {
  const int is_number = value.number < 0 || value.number > 0;
  *read = value;
  if (c->type == 1 && value.text != NULL) read->number = NAN;
  for (int k = 0; k < c->numbers; k++)
    if (value.number == c->gap_numbers[k]) read->number = NAN;
  for (int k = 0; k < c->texts && value.text != NULL; k++)
    if (strcmp(value.text, c->gap_texts[k]) == 0) read->text = NULL;
  if (c->type == 1) return value.text == NULL || *value.text == 0;
  return c->type == 0 || value.text != NULL || !is_number;
}
#endif

/* Copy a row. Returns 0, or the number of the first column, from 1, whose value has the other type. */
static int read_row(const xpnet_value *row, xpnet_value *read) {
  for (int k = 0; k < XPNET_COLUMNS; k++) {
#if ENCODED
    if (!read_value(&columns[k], row[k], &read[k])) return k + 1;
#else
    read[k] = row[k];
    if (row[k].text != NULL && *row[k].text != 0) return k + 1;
    if (row[k].text != NULL) read[k].number = NAN;
#endif
  }
  return 0;
}

static void encode(const xpnet_value *row, float *x) {
#if ENCODED == 0 /* the columns are numbers, and not encoded */
  for (int k = 0; k < XPNET_COLUMNS; k++) x[k] = (float)row[k].number;
#endif
/* ENCODE */
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

#if OUTPUT == 'o'
/* log(1 + exp(x)), and 1 / (1 + exp(-x)). */
static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double logistic(double x) { return exp(-softplus(-x)); }

/* Probabilities of ordered classes, lowest first, from a score and the gaps of thresholds. */
static void ordered(double *values) {
  double logit = values[0], not_below = 1, share = 1;
  for (int k = 0; k < OUTPUTS - 1; k++) {
    if (k > 0) {
      share = logistic(values[k]);
      logit -= softplus(values[k]);
    }
    values[k] = not_below * logistic(-logit) * share;
    not_below = logistic(logit);
  }
  values[OUTPUTS - 1] = not_below;
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
#elif OUTPUT == 'o'
  ordered(outputs);
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
    mean[k] = CLIPPED(mean[k] * target[1][k] + target[0][k], target[2][k], target[3][k]);
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

int xpnet_predict(const xpnet_value row[XPNET_COLUMNS], float result[XPNET_RESULTS]) {
  float x[WIDEST], out[WIDEST];
  double mean[OUTPUTS] = {0};
  xpnet_value read[XPNET_COLUMNS];
  const int wrong = read_row(row, read);
  if (wrong) {
    for (int k = 0; k < XPNET_RESULTS; k++) result[k] = NAN;
    return wrong;
  }
  encode(read, x);
  for (int k = 0; k < NETWORKS; k++)
    for (int member = 0; member < MEMBERS; member++) {
      forward(layers + k * LAYERS, member, x, out);
      add_member(out, mean);
    }
  finish(mean, result);
  return 0;
}
