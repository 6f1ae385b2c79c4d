#pragma once

// The Program of src/program/program.ts, field by field, as the executor reads it. Indices were checked when it
// came in (program-from-js.cc), so devices may use them without asking again.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace galvatron {

enum class Dtype : uint8_t { float32, float64, bfloat16, float16, int64, int32, uint8, boolean };

inline size_t dtypeBytes(Dtype dtype) {
  switch (dtype) {
    case Dtype::float64:
    case Dtype::int64:
      return 8;
    case Dtype::float32:
    case Dtype::int32:
      return 4;
    case Dtype::bfloat16:
    case Dtype::float16:
      return 2;
    case Dtype::uint8:
    case Dtype::boolean:
      return 1;
  }
  return 0;
}

inline const char* dtypeName(Dtype dtype) {
  static const char* const names[] = {"float32", "float64", "bfloat16", "float16",
                                      "int64",   "int32",   "uint8",    "bool"};
  return names[static_cast<int>(dtype)];
}

// In the order of src/program/program.ts.
enum class Stream : uint8_t {
  compute,
  gather,
  reduce,
  activationsIn,
  activationsOut,
  gradientsIn,
  gradientsOut
};
constexpr int kStreams = 7;

inline const char* streamName(Stream stream) {
  static const char* const names[] = {"compute",        "gather",      "reduce",      "activationsIn",
                                      "activationsOut", "gradientsIn", "gradientsOut"};
  return names[static_cast<int>(stream)];
}

enum class Op : uint8_t {
  run,
  allReduce,
  allGather,
  reduceScatter,
  allToAll,
  broadcast,
  send,
  receive,
  exchange,
  copyBlock,
  copy,
  accumulate,
  fill,
  sumSquares,
  clip,
  adamw
};

inline const char* opName(Op op) {
  static const char* const names[] = {"run",  "allReduce", "allGather",  "reduceScatter", "allToAll",
                                      "broadcast", "send", "receive",    "exchange",      "copyBlock",
                                      "copy", "accumulate", "fill",      "sumSquares",    "clip",
                                      "adamw"};
  return names[static_cast<int>(op)];
}

enum class Reduction : uint8_t { sum, max };

struct BufferPlan {
  std::string name;
  std::string category;
  size_t sizeBytes = 0;
  size_t offsetBytes = 0;
  bool persistent = false;
};

struct TensorView {
  std::string name;
  int buffer = 0;
  Dtype dtype = Dtype::float32;
  std::vector<int64_t> shape;
  size_t elements = 0;
  size_t sizeBytes = 0;
  // From the start of the arena (buffer offset added).
  size_t arenaOffset = 0;
};

struct GraphPort {
  std::string name;
  Dtype dtype = Dtype::float32;
  std::vector<int64_t> shape;
};

struct GraphRef {
  std::string id;
  std::string name;
  std::vector<GraphPort> inputs;
  std::vector<GraphPort> outputs;
};

// One piece of an exchange: a whole, contiguous tensor.
struct ExchangePiece {
  int peer = -1;
  int tensor = -1;
};

constexpr size_t kMaxBlockAxes = 4;

// Fields that an op does not have keep their defaults.
struct Instruction {
  Op op = Op::run;
  Stream stream = Stream::compute;
  std::vector<int> waits;
  // "forward layer 3 micro-batch 1": for messages.
  std::string label;
  // Layer of the body; -1 the embedding, or of no layer.
  int layer = -1;

  int graph = -1;                // run
  std::vector<int> inputs;       // run, sumSquares
  std::vector<int> outputs;      // run
  int group = -1;                // collectives, exchange
  Reduction reduction = Reduction::sum;
  bool accumulates = false;      // reduceScatter, sumSquares
  int input = -1;                // collectives, copyBlock, copy, accumulate
  int output = -1;               // collectives, copyBlock, copy, accumulate, fill, sumSquares, clip
  int peer = -1;                 // send, receive
  int tensor = -1;               // send, receive
  std::vector<ExchangePiece> sends;     // exchange
  std::vector<ExchangePiece> receives;  // exchange
  std::vector<int64_t> inputStart;      // copyBlock
  std::vector<int64_t> outputStart;
  std::vector<int64_t> extent;
  double value = 0;              // fill
  int sumSquares = -1;           // clip
  int hyper = -1;                // clip, adamw
  int clip = -1;                 // adamw
  int parameter = -1;            // adamw
  int gradient = -1;
  int moment1 = -1;
  int moment2 = -1;
  int64_t decayElements = 0;
  int computeCopy = -1;
};

// Order of the float32 values of the hyper tensor: HYPER_FIELDS of src/program/program.ts.
enum HyperField {
  kLearningRate,
  kBeta1,
  kBeta2,
  kEpsilon,
  kWeightDecay,
  kBiasCorrection1,
  kBiasCorrection2,
  kMaxNorm,
  kHyperFields
};

struct Program {
  int rank = 0;
  std::vector<GraphRef> graphs;
  std::vector<std::vector<int>> groups;
  std::vector<BufferPlan> buffers;
  std::vector<TensorView> tensors;
  std::vector<Instruction> instructions;
  size_t arenaBytes = 0;
};

// ONNX bytes by graph id.
using GraphStore = std::map<std::string, std::vector<uint8_t>>;

}  // namespace galvatron
