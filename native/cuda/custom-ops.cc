#include "custom-ops.h"

#include <cuda_runtime.h>

#include <stdint.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace galvatron::cuda {
namespace {

using Shape = std::vector<int64_t>;

int64_t product(const Shape& shape, size_t from, size_t to) {
  int64_t count = 1;
  for (size_t i = from; i < to; i++) count *= shape[i];
  return count;
}
// All axes but the last, as rows.
int64_t rows_of(const Shape& shape) { return product(shape, 0, shape.size() - 1); }
int64_t elements_of(const Shape& shape) { return product(shape, 0, shape.size()); }

// What an op sees of one run.
class Call {
 public:
  Call(const Ort& ort, OrtKernelContext* context, const std::map<std::string, double>& attributes, int type,
       int gradient_type)
      : ort(ort), context(context), attributes(attributes), type(type), gradient_type(gradient_type) {
    void* gpu = nullptr;
    ort.check(ort.KernelContext_GetGPUComputeStream(context, &gpu), "compute stream");
    stream = static_cast<gv_stream>(gpu);
  }

  struct Input {
    const void* data = nullptr;
    Shape shape;
    template <typename T>
    const T* as() const {
      return static_cast<const T*>(data);
    }
  };

  // data is null where an optional input is absent.
  Input input(size_t index) const {
    Input result;
    const OrtValue* value = nullptr;
    ort.check(ort.KernelContext_GetInput(context, index, &value), "input");
    if (!value) return result;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    ort.check(ort.GetTensorTypeAndShape(value, &info), "shape");
    size_t axes = 0;
    OrtStatus* status = ort.GetDimensionsCount(info, &axes);
    if (!status) {
      result.shape.resize(axes);
      status = ort.GetDimensions(info, result.shape.data(), axes);
    }
    ort.ReleaseTensorTypeAndShapeInfo(info);
    ort.check(status, "shape");
    void* data = nullptr;
    ort.check(ort.GetTensorMutableData(const_cast<OrtValue*>(value), &data), "data");
    result.data = data;
    return result;
  }

  // Null where nobody reads an optional output.
  template <typename T = void>
  T* output(size_t index, const Shape& shape) const {
    OrtValue* value = nullptr;
    ort.check(ort.KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value), "output");
    if (!value) return nullptr;
    void* data = nullptr;
    ort.check(ort.GetTensorMutableData(value, &data), "data");
    return static_cast<T*>(data);
  }

  float number(const char* name) const { return static_cast<float>(attributes.at(name)); }
  int64_t integer(const char* name) const { return static_cast<int64_t>(attributes.at(name)); }

  const Ort& ort;
  OrtKernelContext* context;
  const std::map<std::string, double>& attributes;
  int type;
  int gradient_type;
  gv_stream stream = nullptr;
};

Shape with_last(Shape shape, int64_t last) {
  shape.back() = last;
  return shape;
}

gv_matmul_shape product_shape(const Call& call, int64_t m, int64_t n, int64_t k, int out_type) {
  gv_matmul_shape s{};
  s.m = m, s.n = n, s.k = k;
  s.a_type = s.b_type = s.bias_type = call.type;
  s.c_type = out_type;
  s.lead_c = n;
  s.alpha = 1;
  return s;
}

int linear(const Call& call) {
  const auto x = call.input(0), weight = call.input(1), bias = call.input(2), addend = call.input(3);
  const int64_t rows = rows_of(x.shape), k = weight.shape[1], n = weight.shape[0];
  void* y = call.output(0, with_last(x.shape, n));
  gv_matmul_shape s = product_shape(call, rows, n, k, call.type);
  s.transpose_b = 1;
  s.lead_a = s.lead_b = k;
  s.epilogue = bias.data ? GV_EPILOGUE_BIAS : GV_EPILOGUE_NONE;
  void* shift = const_cast<void*>(bias.data);
  if (addend.data) {
    s.beta = 1;
    if (gv_matmul(call.stream, &s, x.data, weight.data, addend.data, y, shift, nullptr) == 0) return 0;
    // Not every library release has a product with bias and addend for every shape.
    s.beta = 0;
    if (const int code = gv_matmul(call.stream, &s, x.data, weight.data, nullptr, y, shift, nullptr)) return code;
    return gv_add(call.stream, call.type, y, addend.data, y, rows * n);
  }
  return gv_matmul(call.stream, &s, x.data, weight.data, nullptr, y, shift, nullptr);
}

int linear_input_gradient(const Call& call) {
  const auto dy = call.input(0), weight = call.input(1), addend = call.input(2);
  const int64_t rows = rows_of(dy.shape), n = weight.shape[0], k = weight.shape[1];
  void* dx = call.output(0, with_last(dy.shape, k));
  gv_matmul_shape s = product_shape(call, rows, k, n, call.type);
  s.lead_a = n;
  s.lead_b = k;
  s.beta = addend.data ? 1.0f : 0.0f;
  return gv_matmul(call.stream, &s, dy.data, weight.data, addend.data, dx, nullptr, nullptr);
}

int weight_gradient(const Call& call) {
  const auto dy = call.input(0), x = call.input(1);
  const int64_t rows = rows_of(dy.shape), n = dy.shape.back(), k = x.shape.back();
  void* dweight = call.output(0, {n, k});
  gv_matmul_shape s = product_shape(call, n, k, rows, call.gradient_type);
  s.transpose_a = 1;
  s.lead_a = n;
  s.lead_b = k;
  return gv_matmul(call.stream, &s, dy.data, x.data, nullptr, dweight, nullptr, nullptr);
}

int column_sum(const Call& call) {
  const auto x = call.input(0);
  const int64_t columns = x.shape.back();
  return gv_column_sum(call.stream, call.type, call.gradient_type, 0, x.data, call.output(0, {columns}), rows_of(x.shape),
                       columns, columns);
}

int layer_norm(const Call& call) {
  const auto x = call.input(0), scale = call.input(1), shift = call.input(2);
  void* y = call.output(0, x.shape);
  float* mean = call.output<float>(1, with_last(x.shape, 1));
  float* deviation = call.output<float>(2, with_last(x.shape, 1));
  return gv_norm_forward(call.stream, call.type, 0, x.data, nullptr, scale.data, shift.data, nullptr, y, mean,
                         deviation, rows_of(x.shape), x.shape.back(), call.number("epsilon"));
}

int layer_norm_gradient(const Call& call) {
  const auto dy = call.input(0), x = call.input(1), scale = call.input(2), mean = call.input(3),
             deviation = call.input(4), addend = call.input(5);
  const int64_t columns = x.shape.back();
  void* dx = call.output(0, x.shape);
  void* dscale = call.output(1, {columns});
  void* dshift = call.output(2, {columns});
  return gv_norm_backward(call.stream, call.type, call.gradient_type, 0, 0, dy.data, x.data, scale.data, mean.as<float>(),
                          deviation.as<float>(), addend.data, dx, dscale, dshift, rows_of(x.shape), columns);
}

int rms_norm(const Call& call) {
  const auto x = call.input(0), scale = call.input(1);
  void* y = call.output(0, x.shape);
  float* inverse = call.output<float>(1, with_last(x.shape, 1));
  return gv_norm_forward(call.stream, call.type, 1, x.data, nullptr, scale.data, nullptr, nullptr, y, nullptr, inverse,
                         rows_of(x.shape), x.shape.back(), call.number("epsilon"));
}

int rms_norm_gradient(const Call& call) {
  const auto dy = call.input(0), x = call.input(1), scale = call.input(2), inverse = call.input(3),
             addend = call.input(4);
  const int64_t columns = x.shape.back();
  void* dx = call.output(0, x.shape);
  void* dscale = call.output(1, {columns});
  return gv_norm_backward(call.stream, call.type, call.gradient_type, 1, 0, dy.data, x.data, scale.data, nullptr,
                          inverse.as<float>(), addend.data, dx, dscale, nullptr, rows_of(x.shape), columns);
}

int gelu(const Call& call) {
  const auto x = call.input(0);
  return gv_gelu_forward(call.stream, call.type, static_cast<int>(call.integer("approximate")), x.data, nullptr,
                         call.output(0, x.shape), rows_of(x.shape), x.shape.back());
}

int gelu_gradient(const Call& call) {
  const auto dy = call.input(0), x = call.input(1);
  return gv_gelu_backward(call.stream, call.type, call.gradient_type, static_cast<int>(call.integer("approximate")), 0,
                          dy.data, x.data, nullptr, call.output(0, x.shape), call.output(1, {x.shape.back()}),
                          rows_of(x.shape), x.shape.back());
}

int linear_gelu(const Call& call) {
  const auto x = call.input(0), weight = call.input(1), bias = call.input(2);
  const int64_t n = weight.shape[0];
  const Shape shape = with_last(x.shape, n);
  void* y = call.output(0, shape);
  return gv_linear_gelu(call.stream, call.type, static_cast<int>(call.integer("approximate")), x.data, weight.data,
                        bias.data, y, call.output(1, shape), rows_of(x.shape), n, weight.shape[1]);
}

int linear_input_gelu_gradient(const Call& call) {
  const auto dy = call.input(0), weight = call.input(1), x = call.input(2);
  const int64_t n = weight.shape[0], k = weight.shape[1];
  void* dx = call.output(0, x.shape);
  return gv_linear_input_gelu_gradient(call.stream, call.type, call.gradient_type,
                                       static_cast<int>(call.integer("approximate")), dy.data, weight.data, x.data, dx,
                                       call.output(1, {k}), rows_of(x.shape), n, k);
}

int swiglu(const Call& call) {
  const auto gate = call.input(0), up = call.input(1);
  const int64_t columns = gate.shape.back();
  return gv_swiglu_forward(call.stream, call.type, gate.data, up.data, columns, call.output(0, gate.shape),
                           rows_of(gate.shape), columns);
}

int swiglu_gradient(const Call& call) {
  const auto dy = call.input(0), gate = call.input(1), up = call.input(2);
  const int64_t columns = gate.shape.back();
  void* dgate = call.output(0, gate.shape);
  void* dup = call.output(1, gate.shape);
  return gv_swiglu_backward(call.stream, call.type, dy.data, gate.data, up.data, columns, dgate, dup, columns,
                            rows_of(gate.shape), columns);
}

int rotary(const Call& call) {
  const auto x = call.input(0), cosine = call.input(1), sine = call.input(2);
  const int64_t stride = x.shape[2] * x.shape[3];
  return gv_rotary(call.stream, call.type, GV_FLOAT32, static_cast<int>(call.integer("inverse")), x.data, stride,
                   cosine.data, sine.data, call.output(0, x.shape), stride, x.shape[0], x.shape[1], x.shape[2],
                   x.shape[3]);
}

// q [Sq, b, h, d], k and v [Sk, b, g, d], all contiguous; `samples` of the batch.
gv_attention_shape attention_shape(const Call& call, const Shape& q, const Shape& k, int64_t samples) {
  gv_attention_shape s{};
  s.batch = samples, s.heads = q[2], s.key_heads = k[2], s.queries = q[0], s.keys = k[0], s.size = q[3];
  s.q_batch_stride = s.o_batch_stride = q[2] * q[3];
  s.q_sequence_stride = s.o_sequence_stride = q[1] * q[2] * q[3];
  s.k_batch_stride = s.v_batch_stride = k[2] * k[3];
  s.k_sequence_stride = s.v_sequence_stride = k[1] * k[2] * k[3];
  s.scale = call.number("scale");
  s.causal = static_cast<int32_t>(call.integer("causal"));
  s.type = call.type;
  return s;
}

const char* at(const void* base, int64_t elements, int type) {
  return static_cast<const char*>(base) + elements * (type == GV_BFLOAT16 ? 2 : 4);
}
char* at(void* base, int64_t elements, int type) {
  return static_cast<char*>(base) + elements * (type == GV_BFLOAT16 ? 2 : 4);
}

int attention(const Call& call) {
  const auto q = call.input(0), k = call.input(1), v = call.input(2), bias = call.input(3);
  void* context = call.output(0, q.shape);
  const int64_t batch = q.shape[1], heads = q.shape[2];
  float* statistics = call.output<float>(1, {batch, heads, q.shape[0]});
  if (!bias.data) {
    const gv_attention_shape s = attention_shape(call, q.shape, k.shape, batch);
    return gv_attention_forward(call.stream, &s, q.data, k.data, v.data, nullptr, context, statistics);
  }
  // Sample j takes bias j mod n: a run for each turn through the biases (one where n is 1: cuDNN repeats it).
  const int64_t n = bias.shape[0], samples = n == 1 ? batch : n;
  gv_attention_shape s = attention_shape(call, q.shape, k.shape, samples);
  s.bias_batch = n, s.bias_heads = heads;
  for (int64_t first = 0; first < batch; first += samples) {
    if (const int code = gv_attention_forward(
            call.stream, &s, at(q.data, first * s.q_batch_stride, call.type),
            at(k.data, first * s.k_batch_stride, call.type), at(v.data, first * s.v_batch_stride, call.type), bias.data,
            at(context, first * s.o_batch_stride, call.type),
            statistics ? statistics + first * heads * q.shape[0] : nullptr))
      return code;
  }
  return 0;
}

int attention_gradient(const Call& call) {
  const auto dcontext = call.input(0), q = call.input(1), k = call.input(2), v = call.input(3), bias = call.input(4),
             context = call.input(5), statistics = call.input(6);
  void* dq = call.output(0, q.shape);
  void* dk = call.output(1, k.shape);
  void* dv = call.output(2, v.shape);
  const int64_t batch = q.shape[1], heads = q.shape[2];
  if (!bias.data) {
    const gv_attention_shape s = attention_shape(call, q.shape, k.shape, batch);
    return gv_attention_backward(call.stream, &s, q.data, k.data, v.data, nullptr, context.data, dcontext.data,
                                 statistics.as<float>(), dq, dk, dv, nullptr);
  }
  void* dbias = call.output(3, bias.shape);
  const int64_t n = bias.shape[0], samples = n == 1 ? batch : n;
  gv_attention_shape s = attention_shape(call, q.shape, k.shape, samples);
  s.bias_batch = n, s.bias_heads = heads;
  s.bias_gradient = dbias != nullptr;
  const int64_t bias_elements = elements_of(bias.shape);
  void* turn_gradient = dbias;
  void* own = nullptr;
  if (dbias && samples < batch) {
    // Gradients of later turns are added to the first's; cuDNN's workspace is the scratch, so this has its own.
    const cudaError_t error =
        cudaMallocAsync(&own, static_cast<size_t>(bias_elements) * 4, reinterpret_cast<cudaStream_t>(call.stream));
    if (error != cudaSuccess) return static_cast<int>(error);
  }
  int code = 0;
  for (int64_t first = 0; first < batch && !code; first += samples) {
    turn_gradient = first == 0 ? dbias : own;
    code = gv_attention_backward(
        call.stream, &s, at(q.data, first * s.q_batch_stride, call.type), at(k.data, first * s.k_batch_stride, call.type),
        at(v.data, first * s.v_batch_stride, call.type), bias.data, at(context.data, first * s.o_batch_stride, call.type),
        at(dcontext.data, first * s.o_batch_stride, call.type), statistics.as<float>() + first * heads * q.shape[0],
        at(dq, first * s.q_batch_stride, call.type), at(dk, first * s.k_batch_stride, call.type),
        at(dv, first * s.v_batch_stride, call.type), turn_gradient);
    if (!code && first > 0 && dbias)
      code = gv_accumulate(call.stream, call.type, call.type, own, dbias, bias_elements);
  }
  if (own) cudaFreeAsync(own, reinterpret_cast<cudaStream_t>(call.stream));
  return code;
}

gv_logits logits_shape(const Call& call, const Shape& logits, const void* offset) {
  gv_logits s{};
  s.rows = logits[0];
  s.columns = s.stride = s.gradient_stride = logits[1];
  s.vocabulary = INT64_MAX;
  s.offset = static_cast<const int64_t*>(offset);
  s.type = call.type;
  s.label_type = GV_INT64;
  return s;
}

int cross_entropy_statistics(const Call& call) {
  const auto logits = call.input(0), offset = call.input(1);
  gv_logits s = logits_shape(call, logits.shape, offset.data);
  s.vocabulary = call.integer("vocabulary");
  float* maximum = call.output<float>(0, {s.rows});
  float* sum = call.output<float>(1, {s.rows});
  return gv_softmax_statistics(call.stream, &s, logits.data, maximum, sum);
}

int cross_entropy_loss(const Call& call) {
  const auto logits = call.input(0), labels = call.input(1), offset = call.input(2), log_sum = call.input(3);
  const gv_logits s = logits_shape(call, logits.shape, offset.data);
  return gv_cross_entropy_loss(call.stream, &s, logits.data, labels.data, log_sum.as<float>(), call.number("scale"),
                               call.output<float>(0, {1}));
}

int cross_entropy_gradient(const Call& call) {
  const auto logits = call.input(0), labels = call.input(1), offset = call.input(2), log_sum = call.input(3);
  gv_logits s = logits_shape(call, logits.shape, offset.data);
  s.vocabulary = call.integer("vocabulary");
  return gv_cross_entropy_gradient(call.stream, &s, logits.data, labels.data, log_sum.as<float>(),
                                   call.number("scale"), call.output(0, logits.shape));
}

int embedding(const Call& call) {
  const auto weight = call.input(0), indices = call.input(1);
  Shape shape = indices.shape;
  shape.push_back(weight.shape[1]);
  return gv_embedding_forward(call.stream, call.type, GV_INT64, indices.data, weight.data, nullptr,
                              call.output(0, shape), elements_of(indices.shape), 1, weight.shape[1], weight.shape[0],
                              0);
}

int embedding_gradient(const Call& call) {
  const auto dy = call.input(0), indices = call.input(1);
  const int64_t rows = call.integer("rows"), columns = dy.shape.back();
  return gv_embedding_backward(call.stream, call.type, call.gradient_type, GV_INT64, 0, indices.data, dy.data,
                               call.output(0, {rows, columns}), elements_of(indices.shape), columns, rows, 0);
}

// Types of ports: T the compute type, f float32, i int64, p a parameter's gradient (float32; T in the op whose name
// ends in "Narrow"); ? optional.
struct Declaration {
  const char* name;
  const char* inputs;
  const char* outputs;
  // "name:f" float, "name:i" int, "name:s" string (1 for "tanh", else 0)
  std::vector<std::string> attributes;
  int (*compute)(const Call&);
};

const std::vector<Declaration>& declarations() {
  static const auto& table = *new std::vector<Declaration>{
      {"Linear", "T T T? T?", "T", {}, linear},
      {"LinearInputGradient", "T T T?", "T", {}, linear_input_gradient},
      {"WeightGradient", "T T", "p", {}, weight_gradient},
      {"ColumnSum", "T", "p", {}, column_sum},
      {"LayerNormalization", "T T T", "T f? f?", {"epsilon:f"}, layer_norm},
      {"LayerNormalizationGradient", "T T T f f T?", "T p? p?", {}, layer_norm_gradient},
      {"RmsNormalization", "T T", "T f?", {"epsilon:f"}, rms_norm},
      {"RmsNormalizationGradient", "T T T f T?", "T p?", {}, rms_norm_gradient},
      {"Gelu", "T", "T", {"approximate:s"}, gelu},
      {"GeluGradient", "T T", "T p?", {"approximate:s"}, gelu_gradient},
      {"LinearGelu", "T T T", "T T?", {"approximate:s"}, linear_gelu},
      {"LinearInputGeluGradient", "T T T", "T p?", {"approximate:s"}, linear_input_gelu_gradient},
      {"SwiGlu", "T T", "T", {}, swiglu},
      {"SwiGluGradient", "T T T", "T T", {}, swiglu_gradient},
      {"Rotary", "T f f", "T", {"inverse:i"}, rotary},
      {"Attention", "T T T T?", "T f?", {"scale:f", "causal:i"}, attention},
      {"AttentionGradient", "T T T T T? T f", "T T T T?", {"scale:f", "causal:i"}, attention_gradient},
      {"SoftmaxCrossEntropyStatistics", "T i", "f f", {"vocabulary:i"}, cross_entropy_statistics},
      {"SoftmaxCrossEntropyLoss", "T i i f", "f", {"scale:f"}, cross_entropy_loss},
      {"SoftmaxCrossEntropyGradient", "T i i f", "T", {"scale:f", "vocabulary:i"}, cross_entropy_gradient},
      {"Embedding", "T i", "T", {}, embedding},
      {"EmbeddingGradient", "T i", "p", {"rows:i"}, embedding_gradient},
  };
  return table;
}

struct Port {
  char type;
  bool optional;
};
std::vector<Port> ports_of(const char* text) {
  std::vector<Port> ports;
  for (const char* c = text; *c; c++) {
    if (*c == '?') ports.back().optional = true;
    else if (*c != ' ') ports.push_back({*c, false});
  }
  return ports;
}

struct Op : CustomOpInterface {
  const Ort* ort;
  const Declaration* declaration;
  std::string name;
  const char* provider;
  int type;           // gv_dtype of T
  int gradient_type;  // gv_dtype of p
  std::vector<Port> inputs, outputs;
};

struct Kernel {
  const Op* op;
  std::map<std::string, double> attributes;
};

int element_type(const Op* op, char port) {
  if (port == 'i') return kOrtInt64;
  if (port == 'f') return kOrtFloat;
  return (port == 'p' ? op->gradient_type : op->type) == GV_BFLOAT16 ? kOrtBfloat16 : kOrtFloat;
}

const Op* as_op(const CustomOpInterface* op) { return static_cast<const Op*>(op); }

OrtStatus* create_kernel(const CustomOpInterface* self, const OrtApi*, const OrtKernelInfo* info, void** out) {
  const Op* op = as_op(self);
  const Ort& ort = *op->ort;
  auto kernel = std::make_unique<Kernel>();
  kernel->op = op;
  for (const std::string& entry : op->declaration->attributes) {
    const std::string name = entry.substr(0, entry.size() - 2);
    OrtStatus* status = nullptr;
    double value = 0;
    if (entry.back() == 'f') {
      float number = 0;
      status = ort.KernelInfoGetAttribute_float(info, name.c_str(), &number);
      value = number;
    } else if (entry.back() == 'i') {
      int64_t number = 0;
      status = ort.KernelInfoGetAttribute_int64(info, name.c_str(), &number);
      value = static_cast<double>(number);
    } else {
      char text[64] = "";
      size_t size = sizeof text;
      status = ort.KernelInfoGetAttribute_string(info, name.c_str(), text, &size);
      value = std::string(text) == "tanh";
    }
    if (status) return status;
    kernel->attributes[name] = value;
  }
  *out = kernel.release();
  return nullptr;
}

OrtStatus* compute(void* state, OrtKernelContext* context) {
  const Kernel& kernel = *static_cast<Kernel*>(state);
  const Ort& ort = *kernel.op->ort;
  constexpr int kFail = 1;
  try {
    const Call call(ort, context, kernel.attributes, kernel.op->type, kernel.op->gradient_type);
    if (kernel.op->declaration->compute(call) == 0) return nullptr;
    return ort.CreateStatus(kFail, (std::string(kernel.op->declaration->name) + ": " + gv_last_error()).c_str());
  } catch (const std::exception& error) {
    return ort.CreateStatus(kFail, (std::string(kernel.op->declaration->name) + ": " + error.what()).c_str());
  }
}

void describe(Op& op, const Ort& ort, const Declaration& declaration, const char* provider, int type, bool narrow) {
  static_cast<CustomOpInterface&>(op) = CustomOpInterface{};
  op.version = kOrtApiVersion;
  op.ort = &ort;
  op.declaration = &declaration;
  op.provider = provider;
  op.name = std::string(declaration.name) + (narrow ? "Narrow" : "");
  op.type = type;
  op.gradient_type = narrow ? type : GV_FLOAT32;
  op.inputs = ports_of(declaration.inputs);
  op.outputs = ports_of(declaration.outputs);
  op.GetName = [](const CustomOpInterface* self) { return as_op(self)->name.c_str(); };
  op.GetExecutionProviderType = [](const CustomOpInterface* self) { return as_op(self)->provider; };
  op.GetInputTypeCount = [](const CustomOpInterface* self) { return as_op(self)->inputs.size(); };
  op.GetOutputTypeCount = [](const CustomOpInterface* self) { return as_op(self)->outputs.size(); };
  op.GetInputType = [](const CustomOpInterface* self, size_t i) {
    return element_type(as_op(self), as_op(self)->inputs[i].type);
  };
  op.GetOutputType = [](const CustomOpInterface* self, size_t i) {
    return element_type(as_op(self), as_op(self)->outputs[i].type);
  };
  op.GetInputCharacteristic = [](const CustomOpInterface* self, size_t i) {
    return as_op(self)->inputs[i].optional ? 1 : 0;
  };
  op.GetOutputCharacteristic = [](const CustomOpInterface* self, size_t i) {
    return as_op(self)->outputs[i].optional ? 1 : 0;
  };
  op.GetInputMemoryType = [](const CustomOpInterface*, size_t) { return static_cast<int>(kOrtMemoryDefault); };
  op.GetVariadicInputMinArity = [](const CustomOpInterface*) { return 1; };
  op.GetVariadicInputHomogeneity = [](const CustomOpInterface*) { return 1; };
  op.GetVariadicOutputMinArity = [](const CustomOpInterface*) { return 1; };
  op.GetVariadicOutputHomogeneity = [](const CustomOpInterface*) { return 1; };
  op.CreateKernelV2 = create_kernel;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  op.GetStartVersion = [](const CustomOpInterface*) { return 1; };
  op.GetEndVersion = [](const CustomOpInterface*) { return INT32_MAX; };
}

}  // namespace

OrtCustomOpDomain* customOpDomain(const Ort& ort, const char* provider) {
  static std::mutex mutex;
  static auto& domains = *new std::map<std::pair<const Ort*, std::string>, OrtCustomOpDomain*>();
  static auto& ops = *new std::deque<Op>();
  const std::lock_guard<std::mutex> lock(mutex);
  OrtCustomOpDomain*& domain = domains[{&ort, provider}];
  if (domain) return domain;
  ort.check(ort.CreateCustomOpDomain("galvatron", &domain), "custom op domain");
  for (const Declaration& declaration : declarations()) {
    const auto add = [&](int type, bool narrow) {
      Op& op = ops.emplace_back();
      describe(op, ort, declaration, provider, type, narrow);
      ort.check(ort.CustomOpDomain_Add(domain, reinterpret_cast<const OrtCustomOp*>(static_cast<CustomOpInterface*>(&op))),
                op.name.c_str());
    };
    add(GV_FLOAT32, false);
    add(GV_BFLOAT16, false);
    if (std::string(declaration.outputs).find('p') != std::string::npos) add(GV_BFLOAT16, true);
  }
  return domain;
}

}  // namespace galvatron::cuda
