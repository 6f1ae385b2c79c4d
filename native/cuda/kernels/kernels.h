// Plain C interface of our CUDA kernels. Device pointers only; every call enqueues on `stream` and returns 0 or an
// error code whose text `gv_last_error` holds (per thread). Rows are tokens (sequence-first: row = s * batch + b),
// the last axis is contiguous. Each function names the decomposition into standard ONNX ops that the host runs.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#pragma GCC visibility push(default)
extern "C" {
#endif

typedef struct CUstream_st* gv_stream;

enum gv_dtype { GV_FLOAT32 = 0, GV_BFLOAT16 = 1, GV_FLOAT64 = 2, GV_INT32 = 3, GV_INT64 = 4 };

const char* gv_last_error(void);

// --- normalisation -------------------------------------------------------------------------------------------------
// sum = x + residual (written only when residual is given; may be x's own buffer), then
// layer norm: y = (sum - mean) * rstd * gamma + beta;  RMS norm (rms = 1): y = sum * rstd * gamma, mean unused.
// Decomposition: Add, ReduceMean, Sub, Mul, ReduceMean, Add, Sqrt, Reciprocal, Mul, Mul, Add in float32.
// x, residual, sum, y: `type` [rows, columns]; gamma, beta: `type` [columns]; mean, rstd: float32 [rows].
int gv_norm_forward(gv_stream stream, int type, int rms, const void* x, const void* residual, const void* gamma,
                    const void* beta, void* sum, void* y, float* mean, float* rstd, int64_t rows, int64_t columns,
                    float epsilon);
// dx = gradient of sum through the norm, plus `residual_gradient` when given. gamma_gradient, beta_gradient:
// `gradient_type` [columns]; added to what stands there when `accumulate`.
int gv_norm_backward(gv_stream stream, int type, int gradient_type, int rms, int accumulate, const void* dy,
                     const void* sum, const void* gamma, const float* mean, const float* rstd,
                     const void* residual_gradient, void* dx, void* gamma_gradient, void* beta_gradient, int64_t rows,
                     int64_t columns);

// --- activations ---------------------------------------------------------------------------------------------------
// y = gelu(x + bias); bias may be null; tanh_form 0: with erf. Decomposition: Add, Mul, Pow, Tanh or Erf
// (Hendrycks & Gimpel 2016).
int gv_gelu_forward(gv_stream stream, int type, int tanh_form, const void* x, const void* bias, void* y, int64_t rows,
                    int64_t columns);
// dx = dy * gelu'(x + bias); bias_gradient (may be null) = column sums of dx.
int gv_gelu_backward(gv_stream stream, int type, int gradient_type, int tanh_form, int accumulate, const void* dy,
                     const void* x, const void* bias, void* dx, void* bias_gradient, int64_t rows, int64_t columns);
// y = silu(gate) * up (Shazeer 2020). gate and up may be halves of one tensor: strides are elements between rows.
int gv_swiglu_forward(gv_stream stream, int type, const void* gate, const void* up, int64_t input_stride, void* y,
                      int64_t rows, int64_t columns);
int gv_swiglu_backward(gv_stream stream, int type, const void* dy, const void* gate, const void* up,
                       int64_t input_stride, void* gate_gradient, void* up_gradient, int64_t gradient_stride,
                       int64_t rows, int64_t columns);

// --- rotary embedding (Su et al. 2021), halves rotated: pairs (i, i + size / 2) ------------------------------------
// x, y: [sequence, batch, heads, size]; x_stride, y_stride: elements between tokens; cosine, sine: table_type
// [sequence, size / 2]. inverse = 1 rotates back, which is the gradient. y may be x.
int gv_rotary(gv_stream stream, int type, int table_type, int inverse, const void* x, int64_t x_stride,
              const void* cosine, const void* sine, void* y, int64_t y_stride, int64_t sequence, int64_t batch,
              int64_t heads, int64_t size);

// --- cross entropy -------------------------------------------------------------------------------------------------
// A rank's slice of the vocabulary: columns [0, columns) are the vocabulary's [offset, offset + columns), offset read
// from the device (null: 0); columns at or past `vocabulary` are padding: -inf, gradient 0. Labels: int32 or int64,
// negative: the row counts nothing.
typedef struct {
  int64_t rows, columns, stride, gradient_stride, vocabulary;
  const int64_t* offset;
  int32_t type, label_type;
} gv_logits;
// Per row: the largest logit and the sum of exp(logit - maximum), float32 [rows].
int gv_softmax_statistics(gv_stream stream, const gv_logits* shape, const void* logits, float* maximum, float* sum);
// loss (float32 [1]) = scale * sum over rows whose label lies here of log_sum_exp - logit of the label; fixed order.
int gv_cross_entropy_loss(gv_stream stream, const gv_logits* shape, const void* logits, const void* labels,
                          const float* log_sum_exp, float scale, float* loss);
// gradient = scale * (exp(logit - log_sum_exp) - onehot); may overwrite logits.
int gv_cross_entropy_gradient(gv_stream stream, const gv_logits* shape, const void* logits, const void* labels,
                              const float* log_sum_exp, float scale, void* gradient);
// All at once where the vocabulary lies whole on this rank: every logit is read once. row_loss float32 [rows] and
// log_sum_exp float32 [rows] may be null; loss and gradient too.
// Decomposition: Cast, LogSoftmax, GatherElements, ReduceSum; Softmax - OneHot.
int gv_cross_entropy(gv_stream stream, const gv_logits* shape, const void* logits, const void* labels, float scale,
                     float* row_loss, float* log_sum_exp, float* loss, void* gradient);

// --- embedding and bias gradients ----------------------------------------------------------------------------------
// table_gradient[v] = sum of dy rows whose token is first + v, in a fixed order (stable sort, then segments).
// Tokens outside [first, first + vocabulary) are skipped. Without accumulate, rows never met are zeroed.
int gv_embedding_backward(gv_stream stream, int type, int gradient_type, int token_type, int accumulate,
                          const void* tokens, const void* dy, void* table_gradient, int64_t rows, int64_t columns,
                          int64_t vocabulary, int64_t first);
// y[r] = table[token[r] - first] (zero outside) + position[r / batch] (position may be null).
int gv_embedding_forward(gv_stream stream, int type, int token_type, const void* tokens, const void* table,
                         const void* position, void* y, int64_t rows, int64_t batch, int64_t columns,
                         int64_t vocabulary, int64_t first);
// out[c] = sum over rows of x[r, c]. Decomposition: ReduceSum.
int gv_column_sum(gv_stream stream, int type, int out_type, int accumulate, const void* x, void* out, int64_t rows,
                  int64_t columns, int64_t stride);

// --- optimizer and element-wise ------------------------------------------------------------------------------------
// out (float64 scalar) = (accumulate ? out : 0) + sum of squares over `count` tensors, fixed order. Host twin: sumSquares of
// the host device.
int gv_sum_squares(gv_stream stream, const int* types, const void* const* tensors, const int64_t* elements, int count,
                   int accumulate, double* out);
// out = float32 [factor, norm]; hyper: float32 [8] on the device, maxNorm last.
int gv_clip(gv_stream stream, const double* sum_squares, const float* hyper, float* out);
// Loshchilov & Hutter 2019 on one flat shard. gradient: gradient_type; copy: bfloat16 or null.
int gv_adamw(gv_stream stream, int gradient_type, float* parameter, const void* gradient, float* moment1,
             float* moment2, void* copy, int64_t elements, int64_t decay_elements, const float* hyper,
             const float* clip);
// out = x, converted.
int gv_cast(gv_stream stream, int in_type, int out_type, const void* x, void* out, int64_t elements);
// out += x, in float32 arithmetic.
int gv_accumulate(gv_stream stream, int in_type, int out_type, const void* x, void* out, int64_t elements);
// out = a + b.
int gv_add(gv_stream stream, int type, const void* a, const void* b, void* out, int64_t elements);
// out = the sum of `count` tensors in their order, in float32 arithmetic; out may be one of them. Decomposition: Sum.
enum { GV_MOST_PIECES = 16 };
int gv_sum_pieces(gv_stream stream, int type, const void* const* pieces, int count, void* out, int64_t elements);
int gv_fill(gv_stream stream, int type, void* out, double value, int64_t elements);
// Copies a block of four axes; strides in bytes, the last axis is `row_bytes` long and contiguous in both.
typedef struct {
  int64_t extent[3], input_stride[3], output_stride[3], row_bytes;
} gv_block;
int gv_copy_block(gv_stream stream, const gv_block* block, const void* in, void* out);

// --- scratch memory ------------------------------------------------------------------------------------------------
// A block of at least `bytes` that belongs to `stream`: calls of one stream may share it, for they run in order.
// Grows outside graph capture only; blocks outgrown stay until `gv_release_scratch`, as captured graphs may use them.
void* gv_scratch(gv_stream stream, size_t bytes);
size_t gv_scratch_bytes(void);
void gv_release_scratch(void);
// Frees the outgrown blocks: where no captured graph uses them and the device is idle.
void gv_release_outgrown_scratch(void);

// --- attention through cuDNN ---------------------------------------------------------------------------------------
// softmax(scale * Q K^T + bias, causal) V over [sequence, batch, heads, size]; heads of K and V divide those of Q.
// Strides are elements between tokens along sequence and batch; heads lie `size` apart. statistics: float32
// [batch, heads, sequence] (log-sum-exp), may be null in forward. bias (may be null): `type` [1 or batch, 1 or heads, queries, keys].
// Decomposition: Transpose, MatMul, Mul, Add (mask), Softmax, MatMul, Transpose.
typedef struct {
  int64_t batch, heads, key_heads, queries, keys, size;
  int64_t q_sequence_stride, q_batch_stride;
  int64_t k_sequence_stride, k_batch_stride;
  int64_t v_sequence_stride, v_batch_stride;
  int64_t o_sequence_stride, o_batch_stride;
  int64_t bias_batch, bias_heads;  // 0: no bias
  float scale;
  int32_t causal;
  int32_t type;
  int32_t deterministic;  // backward: sums in a fixed order, slower
  int32_t bias_gradient;  // backward: bias_gradient is wanted
  int32_t zero;           // padding, must be 0: shapes are compared as bytes
} gv_attention_shape;
int gv_attention_available(void);
int gv_attention_forward(gv_stream stream, const gv_attention_shape* shape, const void* q, const void* k,
                         const void* v, const void* bias, void* o, float* statistics);
// Gradients have the strides of their tensors: dq as q, dk as k, dv as v; d_o as o.
int gv_attention_backward(gv_stream stream, const gv_attention_shape* shape, const void* q, const void* k,
                          const void* v, const void* bias, const void* o, const void* d_o, const float* statistics,
                          void* dq, void* dk, void* dv, void* bias_gradient);

// --- matrix products through cuBLASLt ------------------------------------------------------------------------------
// C[m, n] (row-major) = alpha * op(A) op(B) + beta * addend, with an epilogue; addend null: C itself. Row-major
// operands; lead = row stride (addend's is C's).
enum gv_epilogue {
  GV_EPILOGUE_NONE = 0,
  GV_EPILOGUE_BIAS = 1,           // + bias[n]
  GV_EPILOGUE_GELU_AUX_BIAS = 2,  // auxiliary = product + bias; C = gelu_tanh(auxiliary)
  GV_EPILOGUE_DGELU = 3,          // C = product * gelu'(auxiliary)
};
typedef struct {
  int64_t m, n, k;
  int32_t transpose_a, transpose_b;
  int64_t lead_a, lead_b, lead_c;
  int32_t a_type, b_type, c_type, bias_type;
  int32_t epilogue;
  int32_t zero;  // padding, must be 0: shapes are compared as bytes
  float alpha, beta;
} gv_matmul_shape;
int gv_matmul(gv_stream stream, const gv_matmul_shape* shape, const void* a, const void* b, const void* addend,
              void* c, void* bias, void* auxiliary);
// product [rows, n] (may be null) = x [rows, k] weight [n, k]^T + bias; y = gelu of it. All of `type`.
int gv_linear_gelu(gv_stream stream, int type, int tanh_form, const void* x, const void* weight, const void* bias,
                   void* y, void* product, int64_t rows, int64_t n, int64_t k);
// dx [rows, k] = (dy [rows, n] weight [n, k]) gelu'(x); columns (may be null): `gradient_type` [k], sums of dx's.
int gv_linear_input_gelu_gradient(gv_stream stream, int type, int gradient_type, int tanh_form, const void* dy,
                                  const void* weight, const void* x, void* dx, void* columns, int64_t rows, int64_t n,
                                  int64_t k);

#ifdef __cplusplus
}
#pragma GCC visibility pop
#endif
