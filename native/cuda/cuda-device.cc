// The CUDA device of the executor: an arena in device memory, a CUDA stream for each of the program's streams, graphs
// on ONNX Runtime's CUDA provider, NCCL between ranks, our kernels for the rest. One thread enqueues a step; the second
// step is captured as one CUDA graph, which later steps replay.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "cuda-check.h"
#include "cuda-graphs.h"
#include "cuda-libraries.h"
#include "device.h"
#include "load-trace.h"
#include "nccl-groups.h"
#include "peer-memory.h"
#include "step-events.h"

namespace galvatron::cuda {
namespace {

using Clock = std::chrono::steady_clock;

int kernelType(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return GV_FLOAT32;
    case Dtype::bfloat16:
      return GV_BFLOAT16;
    case Dtype::float64:
      return GV_FLOAT64;
    case Dtype::int32:
      return GV_INT32;
    case Dtype::int64:
      return GV_INT64;
    default:
      return -1;
  }
}

int onnxType(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return kOrtFloat;
    case Dtype::float64:
      return kOrtDouble;
    case Dtype::bfloat16:
      return kOrtBfloat16;
    case Dtype::float16:
      return kOrtFloat16;
    case Dtype::int64:
      return kOrtInt64;
    case Dtype::int32:
      return kOrtInt32;
    case Dtype::uint8:
      return kOrtUint8;
    case Dtype::boolean:
      return kOrtBool;
  }
  return 0;
}

ncclDataType_t ncclType(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return ncclFloat32;
    case Dtype::float64:
      return ncclFloat64;
    case Dtype::bfloat16:
      return ncclBfloat16;
    case Dtype::float16:
      return ncclFloat16;
    case Dtype::int64:
      return ncclInt64;
    case Dtype::int32:
      return ncclInt32;
    default:
      return ncclUint8;
  }
}

bool flag(const char* name, bool otherwise) {
  const char* value = getenv(name);
  return value && *value ? *value != '0' : otherwise;
}

class CudaDevice final : public Device {
 public:
  CudaDevice(const DeviceOptions& options, Meeting& meeting)
      : options_(options),
        meeting_(meeting),
        groups_(options.rank, meeting),
        peers_(options.rank, meeting),
        trace_(options.rank) {
    int devices = 0;
    const cudaError_t found = cudaGetDeviceCount(&devices);
    if (found != cudaSuccess || options.deviceIndex >= devices) {
      (void)cudaGetLastError();
      throw deviceUnavailable("Device " + std::to_string(options.deviceIndex) + " was asked for, and CUDA sees " +
                              std::to_string(found == cudaSuccess ? devices : 0) + " (" + cudaGetErrorString(found) +
                              "). `galvatron doctor` says what is missing.");
    }
    use();
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "stream priorities");
    for (int i = 0; i < kStreams; i++) {
      // Communication first: its kernels are few and others wait for them.
      check(cudaStreamCreateWithPriority(&streams_[i], cudaStreamNonBlocking,
                                         i == static_cast<int>(Stream::compute) ? least : greatest),
            "stream");
    }
    check(cudaEventCreateWithFlags(&fork_, cudaEventDisableTiming), "event");
    for (cudaEvent_t& event : joins_) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    graphs_ = std::make_unique<CudaGraphs>(options.onnxRuntimePath, options.deviceIndex, on(Stream::compute));
  }

  ~CudaDevice() override {
    // What still waits cannot be taken down; the process that failed ends.
    if (letGo_ && !*letGo_) return;
    use();
    unload();
    freeArena();
    graphs_.reset();
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
    cudaEventDestroy(fork_);
    for (cudaEvent_t event : joins_) cudaEventDestroy(event);
  }

  Drive drive() const override { return Drive::oneThread; }

  Address open(const Program& program, size_t keptBytes) override {
    use();
    unload();
    peers_.close();
    if (keptBytes == 0) freeArena();
    trace_.begin();
    program_ = &program;
    keptBytes_ = keptBytes;
    if (keptBytes == 0) {
      arenaBytes_ = program.arenaBytes;
      check(cudaMalloc(&arena_, std::max<size_t>(arenaBytes_, 256)),
            "arena of " + std::to_string(arenaBytes_ >> 20) + " MB");
    }
    clearArena();
    events_.open(program.instructions.size(), flag("GALVATRON_CUDA_TIMES", true));
    used_.assign(kStreams, false);
    for (const Instruction& instruction : program.instructions) used_[static_cast<size_t>(instruction.stream)] = true;
    used_[static_cast<size_t>(Stream::compute)] = true;
    trace_.mark("arena");
    return reinterpret_cast<Address>(arena_);
  }

  void compile(int index, const GraphRef& graph, const std::vector<uint8_t>& onnx) override {
    use();
    if (sessions_.size() <= static_cast<size_t>(index)) sessions_.resize(static_cast<size_t>(index) + 1, -1);
    sessions_[static_cast<size_t>(index)] = graphs_->compile(graph.id, onnx.data(), onnx.size());
  }

  int bind(int graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) override {
    use();
    const GraphRef& ref = program_->graphs[static_cast<size_t>(graph)];
    std::vector<std::string> inputNames, outputNames;
    std::vector<BoundTensor> boundInputs, boundOutputs;
    const auto describe = [](const std::vector<GraphPort>& ports, const std::vector<Tensor>& tensors,
                             std::vector<std::string>& names, std::vector<BoundTensor>& bound) {
      for (size_t i = 0; i < tensors.size(); i++) {
        names.push_back(ports[i].name);
        // Ports say the shape: a tensor may be a flat view of the same elements.
        bound.push_back({pointer(tensors[i]), onnxType(tensors[i].dtype()), tensors[i].sizeBytes(), ports[i].shape});
      }
    };
    describe(ref.inputs, inputs, inputNames, boundInputs);
    describe(ref.outputs, outputs, outputNames, boundOutputs);
    const int handle =
        graphs_->bind(sessions_[static_cast<size_t>(graph)], inputNames, boundInputs, outputNames, boundOutputs);
    warmups_.emplace(graph, handle);
    return handle;
  }

  int openGroup(const std::vector<int>& group, Stream stream) override { return groups_.nameGroup(group, stream); }

  int openTransfer(int peer, Stream stream, bool sends) override {
    return sends ? groups_.nameTransfer(options_.rank, peer, stream)
                 : groups_.nameTransfer(peer, options_.rank, partnerStream(stream));
  }

  void ready() override {
    use();
    trace_.mark(std::to_string(sessions_.size()) + " graphs");
    groups_.openAll([this](const std::string& opened) { trace_.mark(opened); });
    peers_.open(*program_, arena_);
    trace_.mark("arenas of other ranks");
    // Every graph once, on zeros: libraries load, plans are chosen and memory grows now, not in a step.
    bool measured = true;
    for (const auto& [graph, binding] : warmups_) {
      graphs_->run(binding);
      check(cudaStreamSynchronize(on(Stream::compute)), "warm-up");
      measured = graphs_->pool().measure() && measured;
    }
    if (measured) (void)graphs_->pool().consolidate();
    for (const auto& [graph, binding] : warmups_) graphs_->run(binding);
    check(cudaStreamSynchronize(on(Stream::compute)), "warm-up");
    clearArena();
    check(cudaDeviceSynchronize(), "warm-up");
    gv_release_outgrown_scratch();
    trace_.mark(measured ? "warm-up" : "warm-up, whose memory is in use");
    steps_ = 0;
    captures_ = flag("GALVATRON_CUDA_CAPTURE", true);
  }

  void upload(Address to, const void* from, size_t bytes) override {
    use();
    check(cudaMemcpyAsync(reinterpret_cast<void*>(to), from, bytes, cudaMemcpyHostToDevice, on(Stream::compute)),
          "upload");
    check(cudaStreamSynchronize(on(Stream::compute)), "upload");
  }

  void download(void* to, Address from, size_t bytes) override {
    use();
    check(cudaMemcpyAsync(to, reinterpret_cast<const void*>(from), bytes, cudaMemcpyDeviceToHost, on(Stream::compute)),
          "download");
    check(cudaStreamSynchronize(on(Stream::compute)), "download");
  }

  void copy(Address to, Address from, size_t bytes) override {
    use();
    check(cudaMemcpyAsync(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes,
                          cudaMemcpyDeviceToDevice, on(Stream::compute)),
          "copy");
    check(cudaStreamSynchronize(on(Stream::compute)), "copy");
  }

  DeviceMemory memory() const override {
    // Nothing is allocated once the step is captured and replayed; asking costs the time of some launches.
    if (steps_ <= kStepsThatAllocate) {
      size_t free = 0, total = 0;
      use();
      if (cudaMemGetInfo(&free, &total) == cudaSuccess) deviceBytes_ = total - free;
    }
    return {arenaBytes_, (graphs_ ? graphs_->pool().bytesHeld() : 0) + gv_scratch_bytes(), deviceBytes_};
  }

  bool beginStep() override {
    use();
    throwIfCancelled();
    if (executable_) {
      check(cudaGraphLaunch(executable_, on(Stream::compute)), "replaying the step");
      return true;
    }
    capturing_ = captures_ && steps_ >= 1;
    if (capturing_) {
      // Relaxed: libraries may make calls that have nothing to do with this stream.
      check(cudaStreamBeginCapture(on(Stream::compute), cudaStreamCaptureModeRelaxed), "beginning the capture");
    }
    events_.stepBegins(on(Stream::compute), capturing_);
    check(cudaEventRecord(fork_, on(Stream::compute)), "fork");
    eachOtherStream([this](cudaStream_t stream, int) { check(cudaStreamWaitEvent(stream, fork_, 0), "fork"); });
    return false;
  }

  void finishStep(StepTimes& times) override {
    use();
    if (!executable_) {
      eachOtherStream([this](cudaStream_t stream, int index) {
        check(cudaEventRecord(joins_[index], stream), "join");
        check(cudaStreamWaitEvent(on(Stream::compute), joins_[index], 0), "join");
      });
      events_.stepEnds(on(Stream::compute), capturing_);
      if (capturing_) endCapture();
    }
    await();
    steps_++;
    if (steps_ <= kStepsThatAllocate) trace_.mark("step " + std::to_string(steps_));
    if (steps_ == kStepsThatAllocate) trace_.write();
    times.stepMs = events_.stepMs();
    events_.read(times.instructionsMs);
  }

  void wait(Stream stream, int earlier) override { events_.wait(static_cast<size_t>(earlier), on(stream)); }

  void begin(Stream stream, int instruction) override {
    throwIfCancelled();
    instruction_ = instruction;
    events_.recordStart(static_cast<size_t>(instruction), on(stream), capturing_);
  }
  void end(Stream stream, int instruction) override {
    events_.recordEnd(static_cast<size_t>(instruction), on(stream), capturing_);
  }

  void cancel(const std::string& reason) override {
    const std::lock_guard lock(reasonMutex_);
    if (reason_.empty()) reason_ = reason.empty() ? "cancelled" : reason;
    cancelled_.store(true);
  }

  void run(Stream, int binding) override { graphs_->run(binding); }

  void allReduce(Stream stream, int group, Reduction reduction, const Tensor& input, const Tensor& output) override {
    if (alone(stream, group, input, output)) return;
    nccl().check(nccl().ncclAllReduce(pointer(input), pointer(output), input.elements(), ncclType(input.dtype()),
                                      operation(reduction), groups_.at(group), on(stream)),
                 "all-reduce");
  }
  void allGather(Stream stream, int group, const Tensor& input, const Tensor& output) override {
    if (alone(stream, group, input, output)) return;
    if (peers_.copies(instruction_)) return peers_.gather(instruction_, input, output, on(stream));
    nccl().check(nccl().ncclAllGather(pointer(input), pointer(output), input.elements(), ncclType(input.dtype()),
                                      groups_.at(group), on(stream)),
                 "all-gather");
  }
  void reduceScatter(Stream stream, int group, Reduction reduction, bool accumulates, const Tensor& input,
                     const Tensor& output) override {
    if (accumulates) {
      throw programInvalid("A reduce-scatter that adds to its output is for the host; NCCL has none. Lower the plan with "
                           "the deferred order of gradients.");
    }
    if (alone(stream, group, input, output)) return;
    if (peers_.copies(instruction_))
      return peers_.reduceScatter(instruction_, kernelType(input.dtype()), input, output, on(stream));
    nccl().check(nccl().ncclReduceScatter(pointer(input), pointer(output), output.elements(), ncclType(input.dtype()),
                                          operation(reduction), groups_.at(group), on(stream)),
                 "reduce-scatter");
  }
  void allToAll(Stream stream, int group, const Tensor& input, const Tensor& output) override {
    if (alone(stream, group, input, output)) return;
    const size_t ranks = groups_.ranksOf(group).size(), bytes = input.sizeBytes() / ranks;
    grouped("all-to-all", [&] {
      for (size_t i = 0; i < ranks; i++) {
        const int peer = static_cast<int>(i);
        nccl().check(nccl().ncclSend(static_cast<char*>(pointer(input)) + i * bytes, bytes, ncclUint8, peer,
                                     groups_.at(group), on(stream)),
                     "all-to-all");
        nccl().check(nccl().ncclRecv(static_cast<char*>(pointer(output)) + i * bytes, bytes, ncclUint8, peer,
                                     groups_.at(group), on(stream)),
                     "all-to-all");
      }
    });
  }
  void broadcast(Stream stream, int group, const Tensor& input, const Tensor& output) override {
    if (alone(stream, group, input, output)) return;
    nccl().check(nccl().ncclBroadcast(pointer(input), pointer(output), output.elements(), ncclType(output.dtype()), 0,
                                      groups_.at(group), on(stream)),
                 "broadcast");
  }

  void exchange(Stream stream, int group, const std::vector<Piece>& sends,
                const std::vector<Piece>& receives) override {
    if (sends.empty() && receives.empty()) return;
    grouped("exchange", [&] {
      for (const Piece& piece : sends) {
        nccl().check(nccl().ncclSend(pointer(piece.tensor), piece.tensor.sizeBytes(), ncclUint8,
                                     groups_.placeOf(group, piece.peer), groups_.at(group), on(stream)),
                     "exchange");
      }
      for (const Piece& piece : receives) {
        nccl().check(nccl().ncclRecv(pointer(piece.tensor), piece.tensor.sizeBytes(), ncclUint8,
                                     groups_.placeOf(group, piece.peer), groups_.at(group), on(stream)),
                     "exchange");
      }
    });
  }

  void send(Stream stream, int transfer, const Tensor& tensor) override {
    nccl().check(nccl().ncclSend(pointer(tensor), tensor.sizeBytes(), ncclUint8, 1, groups_.at(transfer), on(stream)),
                 "send to rank " + std::to_string(groups_.ranksOf(transfer)[1]));
  }
  void receive(Stream stream, int transfer, const Tensor& tensor) override {
    nccl().check(nccl().ncclRecv(pointer(tensor), tensor.sizeBytes(), ncclUint8, 0, groups_.at(transfer), on(stream)),
                 "receive from rank " + std::to_string(groups_.ranksOf(transfer)[0]));
  }

  void copyBlock(Stream stream, const BlockCopy& block) override {
    // Padded in front to four axes, the last one contiguous.
    const size_t axes = block.extent.size();
    const int64_t width = static_cast<int64_t>(dtypeBytes(block.input.dtype()));
    int64_t extent[kMaxBlockAxes] = {1, 1, 1, 1}, inputStride[kMaxBlockAxes] = {}, outputStride[kMaxBlockAxes] = {};
    const char* from = static_cast<const char*>(pointer(block.input));
    char* to = static_cast<char*>(pointer(block.output));
    int64_t inputStep = width, outputStep = width;
    for (size_t i = 0; i < axes; i++) {
      const size_t axis = axes - 1 - i, place = kMaxBlockAxes - 1 - i;
      extent[place] = block.extent[axis];
      inputStride[place] = inputStep;
      outputStride[place] = outputStep;
      from += block.inputStart[axis] * inputStep;
      to += block.outputStart[axis] * outputStep;
      inputStep *= block.input.view->shape[axis];
      outputStep *= block.output.view->shape[axis];
    }
    gv_block b{};
    for (size_t i = 0; i < 3; i++) {
      b.extent[i] = extent[i];
      b.input_stride[i] = inputStride[i];
      b.output_stride[i] = outputStride[i];
    }
    b.row_bytes = extent[3] * width;
    checkKernel(gv_copy_block(on(stream), &b, from, to), "block copy");
  }

  void copy(Stream stream, const Tensor& input, const Tensor& output) override {
    if (input.dtype() == output.dtype()) {
      check(cudaMemcpyAsync(pointer(output), pointer(input), input.sizeBytes(), cudaMemcpyDeviceToDevice, on(stream)),
            "copy");
      return;
    }
    checkKernel(gv_cast(on(stream), kernelType(input.dtype()), kernelType(output.dtype()), pointer(input),
                        pointer(output), static_cast<int64_t>(input.elements())),
                "copy");
  }
  void accumulate(Stream stream, const Tensor& input, const Tensor& output) override {
    checkKernel(gv_accumulate(on(stream), kernelType(input.dtype()), kernelType(output.dtype()), pointer(input),
                              pointer(output), static_cast<int64_t>(input.elements())),
                "accumulate");
  }
  void fill(Stream stream, double value, const Tensor& output) override {
    if (value == 0) {
      check(cudaMemsetAsync(pointer(output), 0, output.sizeBytes(), on(stream)), "fill");
      return;
    }
    checkKernel(gv_fill(on(stream), kernelType(output.dtype()), pointer(output), value,
                        static_cast<int64_t>(output.elements())),
                "fill");
  }
  void sumSquares(Stream stream, const std::vector<Tensor>& inputs, bool accumulates, const Tensor& output) override {
    std::vector<int> types;
    std::vector<const void*> addresses;
    std::vector<int64_t> elements;
    for (const Tensor& input : inputs) {
      types.push_back(kernelType(input.dtype()));
      addresses.push_back(pointer(input));
      elements.push_back(static_cast<int64_t>(input.elements()));
    }
    checkKernel(gv_sum_squares(on(stream), types.data(), addresses.data(), elements.data(),
                               static_cast<int>(inputs.size()), accumulates, static_cast<double*>(pointer(output))),
                "sum of squares");
  }
  void clip(Stream stream, const Tensor& sumSquares, const Tensor& hyper, const Tensor& output) override {
    checkKernel(gv_clip(on(stream), static_cast<const double*>(pointer(sumSquares)),
                        static_cast<const float*>(pointer(hyper)), static_cast<float*>(pointer(output))),
                "clip");
  }
  void adamw(Stream stream, const AdamwTensors& t) override {
    checkKernel(gv_adamw(on(stream), kernelType(t.gradient.dtype()), static_cast<float*>(pointer(t.parameter)),
                         pointer(t.gradient), static_cast<float*>(pointer(t.moment1)),
                         static_cast<float*>(pointer(t.moment2)),
                         t.computeCopy.index < 0 ? nullptr : pointer(t.computeCopy),
                         static_cast<int64_t>(t.parameter.elements()), t.decayElements,
                         static_cast<const float*>(pointer(t.hyper)), static_cast<const float*>(pointer(t.clip))),
                "adamw");
  }

 private:
  static void* pointer(const Tensor& tensor) { return reinterpret_cast<void*>(tensor.address); }
  static ncclRedOp_t operation(Reduction reduction) { return reduction == Reduction::sum ? ncclSum : ncclMax; }
  cudaStream_t on(Stream stream) const { return streams_[static_cast<size_t>(stream)]; }

  // Calls come from several threads.
  void use() const { check(cudaSetDevice(options_.deviceIndex), "choosing the device"); }

  // A group of one: the collective is a copy.
  bool alone(Stream stream, int group, const Tensor& input, const Tensor& output) {
    if (groups_.ranksOf(group).size() > 1) return false;
    if (pointer(input) != pointer(output)) {
      check(cudaMemcpyAsync(pointer(output), pointer(input), output.sizeBytes(), cudaMemcpyDeviceToDevice, on(stream)),
            "copy");
    }
    return true;
  }

  template <typename Calls>
  void grouped(const char* doing, Calls calls) {
    nccl().check(nccl().ncclGroupStart(), doing);
    try {
      calls();
    } catch (...) {
      (void)nccl().ncclGroupEnd();
      throw;
    }
    nccl().check(nccl().ncclGroupEnd(), doing);
  }

  template <typename Each>
  void eachOtherStream(Each each) {
    for (int i = 0; i < kStreams; i++) {
      if (used_[static_cast<size_t>(i)] && i != static_cast<int>(Stream::compute)) each(streams_[i], i);
    }
  }

  void endCapture() {
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(on(Stream::compute), &graph),
          "capturing the step as one graph (GALVATRON_CUDA_CAPTURE=0 runs without)");
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "instantiating the captured step");
    check(cudaGraphLaunch(executable_, on(Stream::compute)), "replaying the step");
  }

  void throwIfCancelled() {
    if (cancelled_.load(std::memory_order_relaxed)) {
      const std::lock_guard lock(reasonMutex_);
      throw Cancelled("stopped, because " + reason_);
    }
    if (meeting_.aborted()) throw Cancelled("stopped, because " + meeting_.abortReason());
  }

  // Waits for the end of the step; gives up on the deadline, on NCCL's errors and when the run was stopped.
  void await() {
    const auto begin = Clock::now();
    for (int turn = 0;; turn++) {
      const cudaError_t state = cudaEventQuery(events_.lastOfStep());
      if (state == cudaSuccess) return;
      if (state != cudaErrorNotReady) {
        giveUp();
        throw failureAt("CUDA: " + std::string(cudaGetErrorName(state)) + " (" + cudaGetErrorString(state) + ")",
                        "DEVICE_FAILED");
      }
      if (turn % 64 == 63) {
        try {
          throwIfCancelled();
        } catch (...) {
          giveUp();
          throw;
        }
        if (const std::string error = groups_.asyncError(); !error.empty()) {
          const Failure failure = failureAt("NCCL: " + error, "WORKER_LOST");
          giveUp();
          throw failure;
        }
        const double waitedMs = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
        if (options_.deadlineMs > 0 && waitedMs > options_.deadlineMs) {
          const Failure failure = failureAt("the step did not end within " +
                                                std::to_string(static_cast<int64_t>(options_.deadlineMs)) + " ms",
                                            "WORKER_LOST");
          giveUp();
          throw failure;
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(15));
    }
  }

  // Ends what waits for ranks that will not come: NCCL's kernels, and streams that wait for a flag, which could keep NCCL
  // from ending its own. The failure is told soon, whether that succeeds or not: whoever hears of it ends the process.
  void giveUp() {
    if (letGo_) return;
    letGo_ = std::make_shared<std::atomic<bool>>(false);
    // NCCL gives no communicator up while a graph refers to it. One that runs is destroyed when it has ended.
    if (executable_) cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
    std::thread([this, letGo = letGo_] {
      std::atomic<bool> aborted{false};
      std::thread releasing([&] {
        while (!aborted || cudaEventQuery(events_.lastOfStep()) == cudaErrorNotReady) {
          peers_.release();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      });
      groups_.abortAll(options_.deviceIndex);
      aborted = true;
      releasing.join();
      *letGo = true;
    }).detach();
    for (int turn = 0; turn < kLetGoMs && !*letGo_; turn++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  // Names the first instruction that has not ended, with the ranks it waits for.
  Failure failureAt(const std::string& message, const std::string& code) const {
    for (size_t i = 0; i < program_->instructions.size(); i++) {
      if (events_.reached(i)) continue;
      const Instruction& it = program_->instructions[i];
      Failure::Context context = {{"rank", std::to_string(options_.rank)},
                                  {"instruction", std::to_string(i)},
                                  {"op", opName(it.op)},
                                  {"stream", streamName(it.stream)},
                                  {"label", it.label}};
      std::string peers;
      if (it.peer >= 0) {
        peers = std::to_string(it.peer);
        context["peer"] = peers;
      } else if (it.group >= 0) {
        for (const int rank : program_->groups[static_cast<size_t>(it.group)]) {
          if (rank != options_.rank) peers += (peers.empty() ? "" : ", ") + std::to_string(rank);
        }
        context["peers"] = peers;
      }
      return Failure(code,
                     message + "; instruction " + std::to_string(i) + " (" + opName(it.op) + ", " + it.label +
                         ", stream " + streamName(it.stream) + ") had not ended" +
                         (peers.empty() ? "" : ", which waits for rank " + peers),
                     context);
    }
    return Failure(code, message);
  }

  // Warm-ups write activations and gradients only, so that states which are kept stay.
  void clearArena() {
    check(cudaMemset(static_cast<char*>(arena_) + keptBytes_, 0, std::max<size_t>(arenaBytes_, 256) - keptBytes_),
          "clearing the arena");
  }

  void unload() {
    if (executable_) cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
    if (graphs_) {
      graphs_->clear();
      graphs_->pool().release();
    }
    sessions_.clear();
    warmups_.clear();
    (void)cudaDeviceSynchronize();
    gv_release_scratch();
    groups_.close();
    events_.clear();
  }

  void freeArena() {
    if (arena_) cudaFree(arena_);
    arena_ = nullptr;
    arenaBytes_ = 0;
  }

  const DeviceOptions options_;
  Meeting& meeting_;
  NcclGroups groups_;
  PeerMemory peers_;
  LoadTrace trace_;
  std::unique_ptr<CudaGraphs> graphs_;
  cudaStream_t streams_[kStreams] = {};
  cudaEvent_t fork_ = nullptr;
  cudaEvent_t joins_[kStreams] = {};
  StepEvents events_;

  const Program* program_ = nullptr;
  void* arena_ = nullptr;
  size_t arenaBytes_ = 0;
  // Of states that outlive a program.
  size_t keptBytes_ = 0;
  std::vector<int> sessions_;
  // One binding of every graph.
  std::map<int, int> warmups_;
  std::vector<bool> used_;

  // What is being enqueued.
  int instruction_ = -1;
  bool captures_ = true;
  bool capturing_ = false;
  static constexpr int kStepsThatAllocate = 3;
  static constexpr int kLetGoMs = 2000;
  int steps_ = 0;
  // Whether nothing waits any more after a failure; null where there was none.
  std::shared_ptr<std::atomic<bool>> letGo_;
  mutable size_t deviceBytes_ = 0;
  cudaGraphExec_t executable_ = nullptr;

  std::atomic<bool> cancelled_{false};
  std::mutex reasonMutex_;
  std::string reason_;
};

void refuseOtherAbi(uint32_t abi) {
  if (abi == kDeviceAbi) return;
  throw deviceUnavailable("libgalvatron_cuda.so speaks device interface " + std::to_string(kDeviceAbi) +
                          ", the addon " + std::to_string(abi) + ". Build both again: npm run build:native, npm run build:cuda.");
}

}  // namespace
}  // namespace galvatron::cuda

#define GALVATRON_EXPORT extern "C" __attribute__((visibility("default")))

GALVATRON_EXPORT galvatron::Device* galvatronOpenDevice(uint32_t abi, const galvatron::DeviceOptions* options,
                                                        galvatron::Meeting* meeting) {
  galvatron::cuda::refuseOtherAbi(abi);
  return new galvatron::cuda::CudaDevice(*options, *meeting);
}

GALVATRON_EXPORT void galvatronProbe(uint32_t abi, galvatron::DeviceProbe* probe) {
  using namespace galvatron::cuda;
  refuseOtherAbi(abi);
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) {
    (void)cudaGetLastError();
    return;
  }
  for (int i = 0; i < devices; i++) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess)
      probe->devices.push_back({properties.name, properties.totalGlobalMem});
  }
}
