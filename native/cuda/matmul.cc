// Matrix products through cuBLASLt, opened at run time. CPU twin: Gemm (src/graph/ops/linear-ops.ts).
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "cuda-libraries.h"
#include "timed-choice.h"

namespace gv {
int fail(cudaError_t error, const char* where);
int fail_message(const char* format, ...);
}  // namespace gv

namespace {
using galvatron::cuda::Library;

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what NVIDIA recommends for Hopper

struct Lt {
#define GV_MEMBER(name) decltype(&::name) name = reinterpret_cast<decltype(&::name)>(galvatron::cuda::symbol(Library::cublasLt, #name));
  GV_MEMBER(cublasLtCreate)
  GV_MEMBER(cublasLtMatmul)
  GV_MEMBER(cublasLtMatmulDescCreate)
  GV_MEMBER(cublasLtMatmulDescSetAttribute)
  GV_MEMBER(cublasLtMatrixLayoutCreate)
  GV_MEMBER(cublasLtMatmulPreferenceCreate)
  GV_MEMBER(cublasLtMatmulPreferenceSetAttribute)
  GV_MEMBER(cublasLtMatmulPreferenceDestroy)
  GV_MEMBER(cublasLtMatmulAlgoGetHeuristic)
#undef GV_MEMBER
};

struct Plan {
  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool ready = false;
};

std::mutex mutex;
std::map<std::string, Plan> plans;
std::map<int, cublasLtHandle_t> handles;

cudaDataType_t type_of(int type) { return type == GV_BFLOAT16 ? CUDA_R_16BF : CUDA_R_32F; }

}  // namespace

extern "C" int gv_matmul(gv_stream stream, const gv_matmul_shape* shape, const void* a, const void* b,
                         const void* addend, void* c, void* bias, void* auxiliary) {
  static const Lt lt;
  if (!lt.cublasLtMatmul) return gv::fail_message("matrix product: libcublasLt.so.13 was not found");
  const gv_matmul_shape& s = *shape;
  std::lock_guard<std::mutex> lock(mutex);
  int device = 0;
  cudaGetDevice(&device);
  cublasLtHandle_t& handle = handles[device];
  if (!handle && lt.cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS) {
    handle = nullptr;
    return gv::fail_message("cublasLtCreate failed");
  }
  void* workspace = gv_scratch(stream, kWorkspaceBytes);
  if (!workspace) return -1;

  std::string key(reinterpret_cast<const char*>(&s), offsetof(gv_matmul_shape, alpha));
  key += s.beta == 0 ? 'w' : 'a';
  key += std::to_string(device);
  Plan& plan = plans[key];
  const auto set = [&](cublasLtMatmulDescAttributes_t what, const auto& value) {
    return lt.cublasLtMatmulDescSetAttribute(plan.description, what, &value, sizeof value);
  };
  // Row-major C = op(A) op(B) is column-major C^T = op(B)^T op(A)^T: the operands change places.
  const void *first = b, *second = a;
  if (!plan.ready) {
    cublasLtMatmulDesc_t description = nullptr;
    if (lt.cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS)
      return gv::fail_message("cublasLtMatmulDescCreate failed");
    plan.description = description;
    set(CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    lt.cublasLtMatrixLayoutCreate(&plan.a, type_of(s.b_type), s.transpose_b ? s.k : s.n, s.transpose_b ? s.n : s.k,
                                  s.lead_b);
    lt.cublasLtMatrixLayoutCreate(&plan.b, type_of(s.a_type), s.transpose_a ? s.m : s.k, s.transpose_a ? s.k : s.m,
                                  s.lead_a);
    lt.cublasLtMatrixLayoutCreate(&plan.c, type_of(s.c_type), s.n, s.m, s.lead_c);
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    switch (s.epilogue) {
      case GV_EPILOGUE_BIAS: epilogue = CUBLASLT_EPILOGUE_BIAS; break;
      case GV_EPILOGUE_GELU_AUX_BIAS: epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS; break;
      case GV_EPILOGUE_DGELU: epilogue = CUBLASLT_EPILOGUE_DGELU; break;
      default: break;
    }
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (s.epilogue == GV_EPILOGUE_GELU_AUX_BIAS || s.epilogue == GV_EPILOGUE_DGELU)
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s.lead_c);
    if (bias) {
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(s.bias_type));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    if (auxiliary) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, auxiliary);
    cublasLtMatmulPreference_t preference = nullptr;
    lt.cublasLtMatmulPreferenceCreate(&preference);
    lt.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                                            sizeof kWorkspaceBytes);
    std::vector<cublasLtMatmulHeuristicResult_t> candidates(8);
    int found = 0;
    const cublasStatus_t status =
        lt.cublasLtMatmulAlgoGetHeuristic(handle, plan.description, plan.a, plan.b, plan.c, plan.c, preference,
                                          static_cast<int>(candidates.size()), candidates.data(), &found);
    lt.cublasLtMatmulPreferenceDestroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
      plans.erase(key);
      return gv::fail_message("matrix product: cuBLASLt offers none for m %lld n %lld k %lld epilogue %d (status %d)",
                              (long long)s.m, (long long)s.n, (long long)s.k, s.epilogue, static_cast<int>(status));
    }
    candidates.resize(static_cast<size_t>(found));
    const auto trial = [&](int candidate) {
      const float one = 1, zero = 0;
      return lt.cublasLtMatmul(handle, plan.description, &one, first, plan.a, second, plan.b, &zero, c, plan.c, c,
                               plan.c, &candidates[static_cast<size_t>(candidate)].algo, workspace, kWorkspaceBytes,
                               stream);
    };
    // A result that is added to must not be written by trials.
    const bool overwritten = s.beta == 0 || (addend && addend != c);
    const int best = found > 1 && overwritten && gv::may_time(stream) ? gv::fastest_of(stream, found, 0.97f, trial) : 0;
    plan.algorithm = candidates[static_cast<size_t>(best)].algo;
    plan.ready = true;
  }
  if (bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  if (auxiliary) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, auxiliary);
  const cublasStatus_t status =
      lt.cublasLtMatmul(handle, plan.description, &s.alpha, first, plan.a, second, plan.b, &s.beta,
                        addend ? addend : c, plan.c, c, plan.c, &plan.algorithm, workspace, kWorkspaceBytes, reinterpret_cast<cudaStream_t>(stream));
  if (status != CUBLAS_STATUS_SUCCESS)
    return gv::fail_message("matrix product m %lld n %lld k %lld: cuBLASLt status %d", (long long)s.m, (long long)s.n,
                            (long long)s.k, static_cast<int>(status));
  return 0;
}
