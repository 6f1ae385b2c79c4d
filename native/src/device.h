#pragma once

// What a device can do for the executor. The host implements it (host-device.cc); CUDA implements it in a library of
// its own, libgalvatron_cuda.so, which the addon opens at run time and whose two C functions stand at the end.
//
// Nothing here assumes that the CPU can read the device's memory: addresses are opaque, and only `upload` and
// `download` cross over.
//
// How a step is driven (executor.cc):
//
//   device.beginStep()                  true: the device replayed the whole step itself (a captured graph)
//   for every instruction i, in an order that respects streams and waits:
//     device.wait(stream, w)            for each w in waits of other streams
//     device.begin(stream, i)
//     device.run / allReduce / …        on that stream
//     device.end(stream, i)
//   device.finishStep(times)            returns when all streams have drained
//
// `Drive::threadPerStream`: one thread per used stream walks its own instructions; every call may block until its work
// is done (the host). `Drive::oneThread`: one thread walks all instructions in program order; calls enqueue and return
// (CUDA streams and events). Either way `wait(stream, w)` only ever names an instruction that comes earlier in the
// program.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "program.h"

namespace galvatron {

// Changes whenever anything in this header, program.h or failure.h changes what crosses the library border.
constexpr uint32_t kDeviceAbi = 7;

// Opaque on the CPU side: a device pointer as a number.
using Address = uint64_t;

// A tensor of the program at its place in the arena. Lives as long as the program is loaded.
struct Tensor {
  int index = -1;
  const TensorView* view = nullptr;
  Address address = 0;

  Dtype dtype() const { return view->dtype; }
  size_t elements() const { return view->elements; }
  size_t sizeBytes() const { return view->sizeBytes; }
};

struct DeviceOptions {
  int deviceIndex = 0;
  int rank = 0;
  int ranks = 1;
  std::string onnxRuntimePath;
  // Threads of ONNX Runtime for one graph run on the host.
  int threads = 1;
  double deadlineMs = 0;
};

// Where the ranks of a run meet before (and beside) the device's own communication: shared memory of this host.
// For exchanging ids of communicators, and for learning that another rank failed.
class Meeting {
 public:
  virtual ~Meeting() = default;

  // The bytes of the group's first rank reach all of it. Every member calls it, in the same order for one group.
  // Blocks; throws Failure on deadline or abort. At most 4096 bytes.
  virtual void broadcast(const std::vector<int>& group, void* bytes, size_t count) = 0;

  virtual bool aborted() const = 0;
  virtual std::string abortReason() const = 0;
};

// What one graph takes of ONNX Runtime's memory.
struct GraphMemory {
  // The most while it runs.
  size_t run = 0;
  // Constants that its session keeps.
  size_t constants = 0;
  // What else its session keeps in the heap.
  size_t session = 0;
};

struct DeviceMemory {
  size_t arenaBytes = 0;
  // ONNX Runtime's own allocations: the most that were in use at one time since load.
  size_t onnxRuntimePeakBytes = 0;
  // In use on the device by its driver's count, with everything that libraries took; 0 where that is not to be had.
  size_t deviceBytes = 0;
  // By graph of the program; empty where that is not counted.
  std::vector<GraphMemory> graphBytes;
};

// What `times` of a step hold: ms from `beginStep`, start and end of every instruction.
struct StepTimes {
  double stepMs = 0;
  // [start0, end0, start1, end1, …]
  std::vector<double> instructionsMs;
  // By instruction, bytes handed to other ranks; empty where that is not counted.
  std::vector<double> sentBytes;
};

struct AdamwTensors {
  Tensor parameter;
  Tensor gradient;
  Tensor moment1;
  Tensor moment2;
  Tensor hyper;
  Tensor clip;
  // index < 0 where there is none
  Tensor computeCopy;
  int64_t decayElements = 0;
};

struct Piece {
  int peer = -1;
  Tensor tensor;
};

// A block of `extent` in both tensors, row-major, at most kMaxBlockAxes axes. Shapes are those of the tensors' views.
struct BlockCopy {
  Tensor input;
  Tensor output;
  std::vector<int64_t> inputStart;
  std::vector<int64_t> outputStart;
  std::vector<int64_t> extent;
};

class Device {
 public:
  enum class Drive { threadPerStream, oneThread };

  virtual ~Device() = default;

  virtual Drive drive() const = 0;

  // --- Loading. Called from one thread at a time, never during a step. ---

  // Releases what the program before held (graphs, bindings, communicators, arena) and allocates the arena, zeroed.
  // Returns its address; offsets of tensors count from there. Tensors are aligned as the program aligned them.
  // `keptBytes` above 0: the arena before has the same size and stays, so many bytes from its start as they are, the
  // rest zeroed.
  virtual Address open(const Program& program, size_t keptBytes) = 0;

  // Compiles graph `index` of the program. Equal ids may share one session.
  virtual void compile(int index, const GraphRef& graph, const std::vector<uint8_t>& onnx) = 0;

  // Binds tensors to the ports of a compiled graph, once; `run` replays it. Returns the binding's handle.
  virtual int bind(int graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) = 0;

  // Opens the communicator of a group of ranks on a stream, called for every (group, stream) pair that the program
  // uses, in the same order on all members. Transfers: the pair {this rank, peer}, once per stream (see `send`).
  // Returns a handle.
  virtual int openGroup(const std::vector<int>& group, Stream stream) = 0;
  virtual int openTransfer(int peer, Stream stream, bool sends) = 0;

  // Called once when everything is compiled, bound and opened: the place to warm up.
  virtual void ready() = 0;

  // Between steps.
  virtual void upload(Address to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, Address from, size_t bytes) = 0;
  // Between places that do not overlap.
  virtual void copy(Address to, Address from, size_t bytes) = 0;

  virtual DeviceMemory memory() const = 0;

  // --- A step. ---

  // True when the device has run the whole step itself (replayed a capture): the executor then only calls finishStep.
  virtual bool beginStep() = 0;
  // Waits for all streams; fills `times`. Throws what went wrong on the device.
  virtual void finishStep(StepTimes& times) = 0;

  // Work enqueued on `stream` after this starts only when instruction `earlier` (of another stream) has ended.
  virtual void wait(Stream stream, int earlier) = 0;
  virtual void begin(Stream stream, int instruction) = 0;
  virtual void end(Stream stream, int instruction) = 0;

  // Makes every blocked or later call of this device throw Cancelled (or finish) soon; from any thread, at any time.
  // Final: a cancelled device is only closed.
  virtual void cancel(const std::string& reason) = 0;

  virtual void run(Stream stream, int binding) = 0;

  // `group` is the handle of openGroup. Semantics as CollectiveInstruction in src/program/program.ts.
  virtual void allReduce(Stream stream, int group, Reduction reduction, const Tensor& input, const Tensor& output) = 0;
  virtual void allGather(Stream stream, int group, const Tensor& input, const Tensor& output) = 0;
  // `accumulates`: onto the output, which comes first in the sum.
  virtual void reduceScatter(Stream stream, int group, Reduction reduction, bool accumulates, const Tensor& input,
                             const Tensor& output) = 0;
  virtual void allToAll(Stream stream, int group, const Tensor& input, const Tensor& output) = 0;
  virtual void broadcast(Stream stream, int group, const Tensor& input, const Tensor& output) = 0;

  // All sends and receives of this rank within the group at once (NCCL: one group call). Pieces between two ranks match
  // in the order in which both list them; either list may be empty; no piece names this rank.
  virtual void exchange(Stream stream, int group, const std::vector<Piece>& sends,
                        const std::vector<Piece>& receives) = 0;

  // `transfer` is the handle of openTransfer. A send on one stream meets the receive on its partner stream:
  // activationsOut with activationsIn, gradientsOut with gradientsIn, every other stream with itself (partnerStream).
  virtual void send(Stream stream, int transfer, const Tensor& tensor) = 0;
  virtual void receive(Stream stream, int transfer, const Tensor& tensor) = 0;

  virtual void copyBlock(Stream stream, const BlockCopy& block) = 0;
  // Converts to the output's dtype; accumulate converts the input first (float32 += bfloat16 occurs).
  virtual void copy(Stream stream, const Tensor& input, const Tensor& output) = 0;
  virtual void accumulate(Stream stream, const Tensor& input, const Tensor& output) = 0;
  virtual void fill(Stream stream, double value, const Tensor& output) = 0;
  virtual void sumSquares(Stream stream, const std::vector<Tensor>& inputs, bool accumulates, const Tensor& output) = 0;
  virtual void clip(Stream stream, const Tensor& sumSquares, const Tensor& hyper, const Tensor& output) = 0;
  virtual void adamw(Stream stream, const AdamwTensors& tensors) = 0;
};

// The stream on which the other end of a transfer runs.
inline Stream partnerStream(Stream stream) {
  switch (stream) {
    case Stream::activationsIn:
      return Stream::activationsOut;
    case Stream::activationsOut:
      return Stream::activationsIn;
    case Stream::gradientsIn:
      return Stream::gradientsOut;
    case Stream::gradientsOut:
      return Stream::gradientsIn;
    default:
      return stream;
  }
}

// What a device library tells `probe`.
struct LibraryFound {
  std::string name;
  bool found = false;
  std::string version;
  std::vector<std::string> searched;
};
struct DeviceFound {
  std::string name;
  size_t memoryBytes = 0;
};
struct DeviceProbe {
  std::vector<LibraryFound> libraries;
  std::vector<DeviceFound> devices;
};

}  // namespace galvatron

// Exported by libgalvatron_cuda.so, which stands beside the addon. Both throw galvatron::Failure; both refuse another
// `abi` than their own kDeviceAbi. The library links the same libstdc++ as the addon, dynamically.
//
//   extern "C" galvatron::Device* galvatronOpenDevice(uint32_t abi, const galvatron::DeviceOptions* options,
//                                                     galvatron::Meeting* meeting);
//   extern "C" void galvatronProbe(uint32_t abi, galvatron::DeviceProbe* probe);
extern "C" {
typedef galvatron::Device* (*GalvatronOpenDevice)(uint32_t abi, const galvatron::DeviceOptions* options,
                                                  galvatron::Meeting* meeting);
typedef void (*GalvatronProbe)(uint32_t abi, galvatron::DeviceProbe* probe);
}
