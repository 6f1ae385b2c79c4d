// Fused attention through cuDNN's graph API (cudnn-frontend, headers only; libcudnn opened at run time).
// CPU twin: Transpose, MatMul, Softmax (src/graph/ops/attention-ops.ts). Dao et al. 2022, 2023.
//
// cuDNN's library handle must be known before any of its calls.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING 1
#include <cudnn_frontend.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/kernels.h"
#include "cuda-libraries.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace gv {
int fail_message(const char* format, ...);
}

namespace {
namespace fe = cudnn_frontend;
using galvatron::cuda::Library;
using galvatron::cuda::library;

enum : int64_t { kQ = 1, kK, kV, kO, kStatistics, kBias, kDo, kDq, kDk, kDv, kDbias };

struct Plan {
  std::shared_ptr<fe::graph::Graph> graph;
  int64_t workspace = 0;
};

std::mutex mutex;
// Plans by everything they depend on; handles by device and stream (a handle serves one stream).
std::map<std::string, Plan> plans;
std::map<std::pair<int, gv_stream>, cudnnHandle_t> handles;

cudnnHandle_t handle_of(int device, gv_stream stream, std::string& why) {
  if (!fe::cudnn_dlhandle) {
    // cuDNN's own parts ask for these by soname; opened here, they are found wherever they lie.
    library(Library::cudart);
    library(Library::nvrtc);
    library(Library::cublasLt);
    fe::cudnn_dlhandle = library(Library::cudnn).handle;
    if (!fe::cudnn_dlhandle) {
      why = "libcudnn.so.9 was not found";
      return nullptr;
    }
  }
  cudnnHandle_t& handle = handles[{device, stream}];
  if (!handle) {
    if (fe::detail::create_handle(&handle) != CUDNN_STATUS_SUCCESS) {
      handle = nullptr;
      why = "cudnnCreate failed";
      return nullptr;
    }
    fe::detail::set_stream(handle, reinterpret_cast<cudaStream_t>(stream));
  }
  return handle;
}

std::shared_ptr<fe::graph::Tensor_attributes> sequence_first(fe::graph::Graph& graph, const char* name, int64_t uid,
                                                             int64_t batch, int64_t heads, int64_t sequence,
                                                             int64_t size, int64_t sequence_stride,
                                                             int64_t batch_stride) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_name(name)
                          .set_uid(uid)
                          .set_dim({batch, heads, sequence, size})
                          .set_stride({batch_stride, size, sequence_stride, 1}));
}

std::shared_ptr<fe::graph::Tensor_attributes> statistics_tensor(fe::graph::Graph& graph,
                                                                const gv_attention_shape& s) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_name("statistics")
                          .set_uid(kStatistics)
                          .set_dim({s.batch, s.heads, s.queries, 1})
                          .set_stride({s.heads * s.queries, s.queries, 1, 1})
                          .set_data_type(fe::DataType_t::FLOAT));
}

std::shared_ptr<fe::graph::Tensor_attributes> bias_tensor(fe::graph::Graph& graph, const gv_attention_shape& s,
                                                          const char* name, int64_t uid) {
  const int64_t plane = s.queries * s.keys;
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_name(name)
                          .set_uid(uid)
                          .set_dim({s.bias_batch, s.bias_heads, s.queries, s.keys})
                          .set_stride({s.bias_heads * plane, plane, s.keys, 1}));
}

// Bottom-right: query i sees keys j <= i + keys - queries; for equal lengths the two alignments agree, and the
// top-left one has the faster kernels.
template <typename Options>
void set_causal(Options& options, const gv_attention_shape& s) {
  if (!s.causal) return;
  options.set_diagonal_alignment(s.queries == s.keys ? fe::DiagonalAlignment_t::TOP_LEFT
                                                     : fe::DiagonalAlignment_t::BOTTOM_RIGHT);
  options.set_diagonal_band_right_bound(0);
}

std::shared_ptr<fe::graph::Graph> describe(const gv_attention_shape& s, bool backward, bool bias, bool keep) {
  auto graph = std::make_shared<fe::graph::Graph>();
  graph->set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  auto q = sequence_first(*graph, "q", kQ, s.batch, s.heads, s.queries, s.size, s.q_sequence_stride, s.q_batch_stride);
  auto k = sequence_first(*graph, "k", kK, s.batch, s.key_heads, s.keys, s.size, s.k_sequence_stride, s.k_batch_stride);
  auto v = sequence_first(*graph, "v", kV, s.batch, s.key_heads, s.keys, s.size, s.v_sequence_stride, s.v_batch_stride);
  const std::vector<int64_t> out_dim{s.batch, s.heads, s.queries, s.size};
  const std::vector<int64_t> out_stride{s.o_batch_stride, s.size, s.o_sequence_stride, 1};
  if (!backward) {
    auto options = fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(keep).set_attn_scale(s.scale);
    set_causal(options, s);
    if (bias) options.set_bias(bias_tensor(*graph, s, "bias", kBias));
    auto [o, statistics] = graph->sdpa(q, k, v, options);
    o->set_output(true).set_uid(kO).set_dim(out_dim).set_stride(out_stride);
    if (keep)
      statistics->set_output(true)
          .set_uid(kStatistics)
          .set_data_type(fe::DataType_t::FLOAT)
          .set_dim({s.batch, s.heads, s.queries, 1})
          .set_stride({s.heads * s.queries, s.queries, 1, 1});
    return graph;
  }
  auto o = sequence_first(*graph, "o", kO, s.batch, s.heads, s.queries, s.size, s.o_sequence_stride, s.o_batch_stride);
  auto d_o =
      sequence_first(*graph, "do", kDo, s.batch, s.heads, s.queries, s.size, s.o_sequence_stride, s.o_batch_stride);
  auto statistics = statistics_tensor(*graph, s);
  auto options = fe::graph::SDPA_backward_attributes().set_name("attention gradient").set_attn_scale(s.scale);
  set_causal(options, s);
  if (s.deterministic) options.set_deterministic_algorithm(true);
  if (bias) {
    options.set_bias(bias_tensor(*graph, s, "bias", kBias));
    if (s.bias_gradient) {
      auto dbias = bias_tensor(*graph, s, "dbias", kDbias);
      dbias->set_output(true);
      options.set_dbias(dbias);
    }
  }
  auto [dq, dk, dv] = graph->sdpa_backward(q, k, v, o, d_o, statistics, options);
  dq->set_output(true)
      .set_uid(kDq)
      .set_dim({s.batch, s.heads, s.queries, s.size})
      .set_stride({s.q_batch_stride, s.size, s.q_sequence_stride, 1});
  dk->set_output(true)
      .set_uid(kDk)
      .set_dim({s.batch, s.key_heads, s.keys, s.size})
      .set_stride({s.k_batch_stride, s.size, s.k_sequence_stride, 1});
  dv->set_output(true)
      .set_uid(kDv)
      .set_dim({s.batch, s.key_heads, s.keys, s.size})
      .set_stride({s.v_batch_stride, s.size, s.v_sequence_stride, 1});
  return graph;
}

int run(gv_stream stream, const gv_attention_shape& s, bool backward,
        std::unordered_map<int64_t, void*>& pointers) {
  if (s.type != GV_BFLOAT16) return gv::fail_message("attention through cuDNN takes bfloat16");
  std::lock_guard<std::mutex> lock(mutex);
  int device = 0;
  cudaGetDevice(&device);
  try {
    std::string why;
    const cudnnHandle_t handle = handle_of(device, stream, why);
    if (!handle) return gv::fail_message("attention: %s", why.c_str());
    const bool bias = s.bias_batch > 0;
    std::string key(reinterpret_cast<const char*>(&s), sizeof s);
    const bool keep = pointers.count(kStatistics) > 0;
    key.push_back(backward ? 'b' : keep ? 'f' : 'i');
    key += std::to_string(device);
    auto found = plans.find(key);
    if (found == plans.end()) {
      Plan plan;
      plan.graph = describe(s, backward, bias, keep);
      auto status = plan.graph->build(handle, {fe::HeurMode_t::A});
      if (status.is_bad())
        return gv::fail_message("attention %s: cuDNN offers no kernel for batch %lld heads %lld/%lld sequence %lld/%lld "
                                "size %lld: %s",
                                backward ? "gradient" : "forward", (long long)s.batch, (long long)s.heads,
                                (long long)s.key_heads, (long long)s.queries, (long long)s.keys, (long long)s.size,
                                status.get_message().c_str());
      status = plan.graph->get_workspace_size(plan.workspace);
      if (status.is_bad()) return gv::fail_message("attention workspace: %s", status.get_message().c_str());
      found = plans.emplace(key, std::move(plan)).first;
    }
    void* workspace = nullptr;
    if (found->second.workspace > 0) {
      workspace = gv_scratch(stream, static_cast<size_t>(found->second.workspace));
      if (!workspace) return -1;
    }
    auto status = found->second.graph->execute(handle, pointers, workspace);
    if (status.is_bad()) return gv::fail_message("attention: %s", status.get_message().c_str());
    return 0;
  } catch (const std::exception& error) {
    return gv::fail_message("attention: %s", error.what());
  }
}

void* address(const void* p) { return const_cast<void*>(p); }

}  // namespace

extern "C" int gv_attention_available(void) { return library(Library::cudnn).handle != nullptr; }

extern "C" int gv_attention_forward(gv_stream stream, const gv_attention_shape* shape, const void* q, const void* k,
                                    const void* v, const void* bias, void* o, float* statistics) {
  std::unordered_map<int64_t, void*> pointers = {
      {kQ, address(q)}, {kK, address(k)}, {kV, address(v)}, {kO, o}};
  if (statistics) pointers[kStatistics] = statistics;
  if (bias) pointers[kBias] = address(bias);
  return run(stream, *shape, false, pointers);
}

extern "C" int gv_attention_backward(gv_stream stream, const gv_attention_shape* shape, const void* q, const void* k,
                                     const void* v, const void* bias, const void* o, const void* d_o,
                                     const float* statistics, void* dq, void* dk, void* dv, void* bias_gradient) {
  std::unordered_map<int64_t, void*> pointers = {{kQ, address(q)},
                                                 {kK, address(k)},
                                                 {kV, address(v)},
                                                 {kO, address(o)},
                                                 {kDo, address(d_o)},
                                                 {kStatistics, address(statistics)},
                                                 {kDq, dq},
                                                 {kDk, dk},
                                                 {kDv, dv}};
  if (bias) pointers[kBias] = address(bias);
  if (bias && shape->bias_gradient) pointers[kDbias] = bias_gradient;
  return run(stream, *shape, true, pointers);
}
