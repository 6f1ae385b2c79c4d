#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device.h"
#include "ort-environment.h"

namespace galvatron {

// The graphs of a program as ONNX Runtime sessions on the CPU, with tensors of the arena bound to them in place.
class HostGraphs {
 public:
  HostGraphs(const std::string& onnxRuntimePath, int threads);
  ~HostGraphs();
  HostGraphs(const HostGraphs&) = delete;
  HostGraphs& operator=(const HostGraphs&) = delete;

  void clear();
  // Graphs with one id share a session.
  void compile(int index, const GraphRef& graph, const std::vector<uint8_t>& onnx);
  // Equal bindings share a handle.
  int bind(int graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs);
  void run(int binding);
  // Runs in flight end soon, with an error. Final.
  void cancel();
  size_t peakBytes() const;
  // By graph of the program.
  std::vector<GraphMemory> graphBytes() const;

 private:
  struct Compiled {
    GraphRef ref;
    OrtSession* session;
    GraphMemory bytes;
  };
  struct Bound {
    int graph;
    std::vector<Address> addresses;
    OrtIoBinding* binding;
  };

  OrtValue* valueOf(const Tensor& tensor, const GraphPort& port);
  void checkSession(const GraphRef& graph, OrtSession* session);

  std::shared_ptr<OrtEnvironment> environment_;
  const Ort& ort_;
  OrtRunOptions* runOptions_ = nullptr;
  std::map<int, Compiled> compiled_;
  std::map<std::string, OrtSession*> sessions_;
  std::vector<Bound> bound_;
  std::map<std::pair<int, std::vector<Address>>, int> handles_;
  std::vector<OrtValue*> values_;
};

}  // namespace galvatron
