// GELU (tanh form, Hendrycks & Gimpel 2016) and its gradient in the epilogues of the matrix products beside them, where
// that is faster than a kernel of their own: it depends on the shape. CPU twins: LinearGelu, LinearInputGeluGradient
// (src/graph/ops/activation-ops.ts).
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <tuple>

#include "kernels/kernels.h"
#include "timed-choice.h"

namespace {

// Runs what is faster for a shape: `apart`, or `together` where that was clearly so the first time the shape was met.
template <typename Together, typename Apart>
int faster_of(gv_stream stream, std::tuple<int, int64_t, int64_t, int64_t> shape, Together together, Apart apart) {
  static std::mutex mutex;
  static auto& choices = *new std::map<std::pair<int, std::tuple<int, int64_t, int64_t, int64_t>>, bool>();
  std::lock_guard<std::mutex> lock(mutex);
  int device = 0;
  cudaGetDevice(&device);
  const auto key = std::make_pair(device, shape);
  auto chosen = choices.find(key);
  if (chosen == choices.end()) {
    if (!gv::may_time(stream)) return apart();
    const int best = gv::fastest_of(stream, 2, 0.98f, [&](int way) { return way == 0 ? apart() : together(); });
    chosen = choices.emplace(key, best == 1).first;
  }
  return chosen->second ? together() : apart();
}

gv_matmul_shape product_shape(int type, int64_t m, int64_t n, int64_t k) {
  gv_matmul_shape s{};
  s.m = m, s.n = n, s.k = k;
  s.a_type = s.b_type = s.c_type = s.bias_type = type;
  s.lead_a = k;
  s.lead_c = n;
  s.alpha = 1;
  return s;
}

}  // namespace

extern "C" int gv_linear_gelu(gv_stream stream, int type, int tanh_form, const void* x, const void* weight,
                              const void* bias, void* y, void* product, int64_t rows, int64_t n, int64_t k) {
  gv_matmul_shape s = product_shape(type, rows, n, k);
  s.transpose_b = 1;
  s.lead_b = k;
  const auto apart = [&] {
    s.epilogue = GV_EPILOGUE_BIAS;
    void* linear = product ? product : y;
    if (const int code = gv_matmul(stream, &s, x, weight, nullptr, linear, const_cast<void*>(bias), nullptr))
      return code;
    return gv_gelu_forward(stream, type, tanh_form, linear, nullptr, y, rows, n);
  };
  const auto together = [&] {
    s.epilogue = GV_EPILOGUE_GELU_AUX_BIAS;
    return gv_matmul(stream, &s, x, weight, nullptr, y, const_cast<void*>(bias), product);
  };
  if (type != GV_BFLOAT16 || !tanh_form || !product) return apart();
  return faster_of(stream, {0, rows, n, k}, together, apart);
}

extern "C" int gv_linear_input_gelu_gradient(gv_stream stream, int type, int gradient_type, int tanh_form,
                                             const void* dy, const void* weight, const void* x, void* dx,
                                             void* columns, int64_t rows, int64_t n, int64_t k) {
  gv_matmul_shape s = product_shape(type, rows, k, n);
  s.lead_b = k;
  const auto apart = [&] {
    s.epilogue = GV_EPILOGUE_NONE;
    if (const int code = gv_matmul(stream, &s, dy, weight, nullptr, dx, nullptr, nullptr)) return code;
    return gv_gelu_backward(stream, type, gradient_type, tanh_form, 0, dx, x, nullptr, dx, columns, rows, k);
  };
  const auto together = [&] {
    s.epilogue = GV_EPILOGUE_DGELU;
    if (const int code = gv_matmul(stream, &s, dy, weight, nullptr, dx, nullptr, const_cast<void*>(x))) return code;
    return columns ? gv_column_sum(stream, type, gradient_type, 0, dx, columns, rows, k, k) : 0;
  };
  if (type != GV_BFLOAT16 || !tanh_form) return apart();
  return faster_of(stream, {1, rows, n, k}, together, apart);
}
