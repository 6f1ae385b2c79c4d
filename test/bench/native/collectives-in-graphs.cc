// One rank of the comparison in ../collectives-in-graphs.mjs: a chain of tensor-parallel feed-forward blocks
//   y = x + allReduce(relu(x W1) W2)
// run in two ways over the same sums: each block cut at its all-reduce (graph, collective, graph, collective, …), or
// all blocks in one graph with the all-reduce as a custom op inside. Prints one line of JSON from rank 0.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "failure.h"
#include "host-collectives.h"
#include "meeting-place.h"
#include "ort-environment.h"

using namespace galvatron;

namespace {

std::vector<char> bytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// OrtCustomOp of ONNX Runtime's C interface, version 29, as far as it is read for a plain op.
struct CustomOp {
  uint32_t version;
  void* (*createKernel)(const CustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*name)(const CustomOp*);
  const char* (*provider)(const CustomOp*);
  int (*inputType)(const CustomOp*, size_t);
  size_t (*inputs)(const CustomOp*);
  int (*outputType)(const CustomOp*, size_t);
  size_t (*outputs)(const CustomOp*);
  void (*compute)(void*, OrtKernelContext*);
  void (*destroy)(void*);
  int (*inputKind)(const CustomOp*, size_t);
  int (*outputKind)(const CustomOp*, size_t);
  int (*inputMemory)(const CustomOp*, size_t);
  int (*variadicInputs)(const CustomOp*);
  int (*variadicInputsAlike)(const CustomOp*);
  int (*variadicOutputs)(const CustomOp*);
  int (*variadicOutputsAlike)(const CustomOp*);
  void* later[12];
};

const Ort* ort = nullptr;
HostCollectives* group = nullptr;

void allReduceKernel(void*, OrtKernelContext* context) {
  const OrtValue* input = nullptr;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  ort->check(ort->KernelContext_GetInput(context, 0, &input), "input");
  ort->check(ort->GetTensorTypeAndShape(input, &info), "shape");
  size_t axes = 0, elements = 0;
  ort->check(ort->GetDimensionsCount(info, &axes), "shape");
  std::vector<int64_t> shape(axes);
  ort->check(ort->GetDimensions(info, shape.data(), axes), "shape");
  ort->check(ort->GetTensorShapeElementCount(info, &elements), "shape");
  ort->ReleaseTensorTypeAndShapeInfo(info);
  OrtValue* output = nullptr;
  ort->check(ort->KernelContext_GetOutput(context, 0, shape.data(), axes, &output), "output");
  void *from = nullptr, *to = nullptr;
  ort->check(ort->GetTensorMutableData(const_cast<OrtValue*>(input), &from), "data");
  ort->check(ort->GetTensorMutableData(output, &to), "data");
  group->allReduce(Reduction::sum, {static_cast<char*>(from), Dtype::float32, elements},
                   {static_cast<char*>(to), Dtype::float32, elements});
}

CustomOp allReduceOp() {
  CustomOp op{};
  op.version = kOrtApiVersion;
  op.createKernel = [](const CustomOp*, const OrtApi*, const OrtKernelInfo*) { return static_cast<void*>(&ort); };
  op.name = [](const CustomOp*) { return "AllReduce"; };
  op.provider = [](const CustomOp*) { return static_cast<const char*>(nullptr); };
  op.inputType = [](const CustomOp*, size_t) { return static_cast<int>(kOrtFloat); };
  op.outputType = op.inputType;
  op.inputs = [](const CustomOp*) { return size_t{1}; };
  op.outputs = op.inputs;
  op.compute = allReduceKernel;
  op.destroy = [](void*) {};
  op.inputKind = [](const CustomOp*, size_t) { return 0; };
  op.outputKind = op.inputKind;
  op.inputMemory = [](const CustomOp*, size_t) { return static_cast<int>(kOrtMemoryDefault); };
  op.variadicInputs = [](const CustomOp*) { return 1; };
  op.variadicInputsAlike = op.variadicInputs;
  op.variadicOutputs = op.variadicInputs;
  op.variadicOutputsAlike = op.variadicInputs;
  return op;
}

struct Buffer {
  std::vector<float> data;
  OrtValue* value = nullptr;
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 9) return 2;
  const std::string library = arguments[1], shared = arguments[2], folder = arguments[4];
  const int rank = std::stoi(arguments[3]), blocks = std::stoi(arguments[5]), rounds = std::stoi(arguments[8]);
  const int64_t tokens = std::stoll(arguments[6]), hidden = std::stoll(arguments[7]), inner = 2 * hidden;
  MeetingPlace place(shared, rank, 2, 20'000);
  HostCollectives collectives(place, {0, 1}, collectiveChannel(Stream::compute));
  group = &collectives;
  const auto environment = OrtEnvironment::acquire(library, 1);
  ort = &environment->ort();

  CustomOp op = allReduceOp();
  OrtCustomOpDomain* domain = nullptr;
  ort->check(ort->CreateCustomOpDomain("galvatron", &domain), "domain");
  ort->check(ort->CustomOpDomain_Add(domain, reinterpret_cast<OrtCustomOp*>(&op)), "domain");
  const auto session = [&](const std::string& file) {
    OrtSessionOptions* options = nullptr;
    OrtSession* made = nullptr;
    const std::vector<char> onnx = bytesOf(folder + "/" + file);
    ort->check(ort->CreateSessionOptions(&options), "options");
    ort->check(ort->DisablePerSessionThreads(options), "options");
    ort->check(ort->AddSessionConfigEntry(options, "session.use_env_allocators", "1"), "options");
    ort->check(ort->AddCustomOpDomain(options, domain), "domain");
    ort->check(ort->CreateSessionFromArray(environment->env(), onnx.data(), onnx.size(), options, &made), file);
    ort->ReleaseSessionOptions(options);
    return made;
  };
  const auto buffer = [&](std::vector<int64_t> shape, int salt) {
    Buffer made;
    size_t elements = 1;
    for (const int64_t extent : shape) elements *= static_cast<size_t>(extent);
    made.data.resize(elements);
    for (size_t i = 0; i < elements; i++) made.data[i] = static_cast<float>((i * 7919 + salt * 104729) % 1000) / 20000 - 0.025f;
    ort->check(ort->CreateTensorWithDataAsOrtValue(environment->cpuMemory(), made.data.data(), elements * 4,
                                                   shape.data(), shape.size(), kOrtFloat, &made.value),
               "tensor");
    return made;
  };
  const auto bind = [&](OrtSession* on, const std::vector<std::pair<std::string, OrtValue*>>& inputs,
                        const std::string& output, OrtValue* to) {
    OrtIoBinding* binding = nullptr;
    ort->check(ort->CreateIoBinding(on, &binding), "binding");
    for (const auto& [name, value] : inputs) ort->check(ort->BindInput(binding, name.c_str(), value), name);
    ort->check(ort->BindOutput(binding, output.c_str(), to), output);
    return binding;
  };

  Buffer x = buffer({tokens, hidden}, 1);
  std::vector<Buffer> first, second, outputs;
  Buffer partial = buffer({tokens, hidden}, 2), whole = buffer({tokens, hidden}, 3);
  for (int block = 0; block < blocks; block++) {
    first.push_back(buffer({hidden, inner}, 10 * block + rank + 4));
    second.push_back(buffer({inner, hidden}, 10 * block + rank + 6));
    outputs.push_back(buffer({tokens, hidden}, 0));
  }

  // Cut: before.onnx (x, w1, w2 -> partial), the all-reduce, after.onnx (x, partial -> y).
  OrtSession* before = session("before.onnx");
  OrtSession* after = session("after.onnx");
  std::vector<std::pair<OrtIoBinding*, OrtIoBinding*>> steps;
  for (int block = 0; block < blocks; block++) {
    OrtValue* from = block == 0 ? x.value : outputs[block - 1].value;
    steps.push_back({bind(before, {{"x", from}, {"w1", first[block].value}, {"w2", second[block].value}}, "partial",
                          partial.value),
                     bind(after, {{"x", from}, {"partial", partial.value}}, "y", outputs[block].value)});
  }
  // Whole: all blocks in one graph.
  OrtSession* all = session("whole.onnx");
  std::vector<std::pair<std::string, OrtValue*>> inputs{{"x", x.value}};
  for (int block = 0; block < blocks; block++) {
    inputs.push_back({"w1_" + std::to_string(block), first[block].value});
    inputs.push_back({"w2_" + std::to_string(block), second[block].value});
  }
  OrtIoBinding* single = bind(all, inputs, "y", whole.value);

  const HostSpan span{reinterpret_cast<char*>(partial.data.data()), Dtype::float32, partial.data.size()};
  const auto runCut = [&] {
    for (const auto& [compute, add] : steps) {
      ort->check(ort->RunWithBinding(before, nullptr, compute), "before");
      collectives.allReduce(Reduction::sum, span, span);
      ort->check(ort->RunWithBinding(after, nullptr, add), "after");
    }
  };
  const auto runWhole = [&] { ort->check(ort->RunWithBinding(all, nullptr, single), "whole"); };
  const auto timed = [&](const auto& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> cutMs, wholeMs;
  for (int round = 0; round < rounds + 3; round++) {
    environment->pool().resetPeak();
    const double cut = timed(runCut), graph = timed(runWhole);
    if (round < 3) continue;
    cutMs.push_back(cut);
    wholeMs.push_back(graph);
  }
  environment->pool().resetPeak();
  runCut();
  const size_t cutBytes = environment->pool().peakBytes();
  environment->pool().resetPeak();
  runWhole();
  const size_t wholeBytes = environment->pool().peakBytes();
  const bool same = std::memcmp(outputs.back().data.data(), whole.data.data(), whole.data.size() * 4) == 0;
  std::sort(cutMs.begin(), cutMs.end());
  std::sort(wholeMs.begin(), wholeMs.end());
  if (rank == 0) {
    std::printf("{\"cutMs\":%.4f,\"wholeMs\":%.4f,\"cutBestMs\":%.4f,\"wholeBestMs\":%.4f,\"cutBytes\":%zu,\"wholeBytes\":%zu,\"same\":%s}\n",
                cutMs[cutMs.size() / 2], wholeMs[wholeMs.size() / 2], cutMs[0], wholeMs[0], cutBytes, wholeBytes,
                same ? "true" : "false");
  }
  return 0;
}
