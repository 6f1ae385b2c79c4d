#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "device.h"
#include "exact-squares.h"
#include "futex.h"
#include "host-arena.h"
#include "host-collectives.h"
#include "host-graphs.h"
#include "kernels.h"
#include "meeting-place.h"
#include "parallel-blocks.h"

namespace galvatron {

namespace {

using Clock = std::chrono::steady_clock;

// Instructions done, for the waits between streams. `round` counts steps, so nothing is cleared between them.
class Milestones {
 public:
  void resize(size_t count) {
    done_ = std::vector<std::atomic<uint32_t>>(count);
    round_ = 0;
  }

  void nextRound() { round_++; }

  void reach(int instruction) {
    done_[instruction].store(round_);
    if (sleepers_.load() != 0) futexWakeAll(done_[instruction], false);
  }

  template <typename Check>
  void await(int instruction, Check check) {
    std::atomic<uint32_t>& word = done_[instruction];
    while (true) {
      const uint32_t seen = word.load();
      if (seen == round_) return;
      check();
      sleepers_.fetch_add(1);
      if (word.load() == seen) futexWait(word, seen, kLongestSleepMs, false);
      sleepers_.fetch_sub(1);
    }
  }

  void wakeAll() {
    for (auto& word : done_) futexWakeAll(word, false);
  }

 private:
  std::vector<std::atomic<uint32_t>> done_;
  std::atomic<uint32_t> sleepers_{0};
  uint32_t round_ = 0;
};

class HostDevice final : public Device {
 public:
  HostDevice(const DeviceOptions& options, MeetingPlace& place)
      : place_(place), threads_(options.threads), graphs_(options.onnxRuntimePath, options.threads) {}

  Drive drive() const override { return Drive::threadPerStream; }

  Address open(const Program& program, size_t keptBytes) override {
    graphs_.clear();
    collectives_.clear();
    transfers_.clear();
    if (keptBytes > 0) {
      arena_->clearFrom(keptBytes);
    } else {
      arena_.reset();
      arena_ = std::make_unique<HostArena>(program.arenaBytes);
    }
    milestones_.resize(program.instructions.size());
    startMs_.assign(program.instructions.size(), 0);
    endMs_.assign(program.instructions.size(), 0);
    sentBytes_.assign(program.instructions.size(), 0);
    return reinterpret_cast<Address>(arena_->start());
  }

  void compile(int index, const GraphRef& graph, const std::vector<uint8_t>& onnx) override {
    graphs_.compile(index, graph, onnx);
  }

  int bind(int graph, const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) override {
    return graphs_.bind(graph, inputs, outputs);
  }

  int openGroup(const std::vector<int>& group, Stream stream) override {
    const int channel = collectiveChannel(stream);
    for (size_t i = 0; i < collectives_.size(); i++) {
      if (collectives_[i].channel == channel && collectives_[i].group == group) return static_cast<int>(i);
    }
    collectives_.push_back({group, channel, std::make_unique<HostCollectives>(place_, group, channel)});
    return static_cast<int>(collectives_.size()) - 1;
  }

  int openTransfer(int peer, Stream stream, bool sends) override {
    transfers_.push_back({peer, transferChannel(sends ? stream : partnerStream(stream))});
    return static_cast<int>(transfers_.size()) - 1;
  }

  void ready() override {}

  void upload(Address to, const void* from, size_t bytes) override { std::memcpy(pointer(to), from, bytes); }
  void download(void* to, Address from, size_t bytes) override { std::memcpy(to, pointer(from), bytes); }
  void copy(Address to, Address from, size_t bytes) override { std::memcpy(pointer(to), pointer(from), bytes); }

  DeviceMemory memory() const override {
    return {arena_ == nullptr ? 0 : arena_->bytes(), graphs_.peakBytes(), 0, graphs_.graphBytes()};
  }

  bool beginStep() override {
    // Not at `open`: then what loading needs for a while would come on top.
    arena_->fill();
    milestones_.nextRound();
    stepStart_ = Clock::now();
    return false;
  }

  void finishStep(StepTimes& times) override {
    times.stepMs = elapsedMs();
    for (size_t i = 0; i < startMs_.size(); i++) {
      times.instructionsMs[2 * i] = startMs_[i];
      times.instructionsMs[2 * i + 1] = endMs_[i];
    }
    times.sentBytes = sentBytes_;
  }

  void wait(Stream, int earlier) override {
    milestones_.await(earlier, [this] { throwIfCancelled(); });
  }

  void begin(Stream stream, int instruction) override {
    throwIfCancelled();
    sentBytes_[instruction] = -static_cast<double>(place_.publishedBytes(stream));
    startMs_[instruction] = elapsedMs();
  }

  void end(Stream stream, int instruction) override {
    endMs_[instruction] = elapsedMs();
    sentBytes_[instruction] += static_cast<double>(place_.publishedBytes(stream));
    milestones_.reach(instruction);
  }

  void cancel(const std::string& reason) override {
    {
      const std::lock_guard lock(reasonMutex_);
      if (reason_.empty()) reason_ = reason;
    }
    cancelled_.store(true);
    graphs_.cancel();
    milestones_.wakeAll();
  }

  void run(Stream, int binding) override {
    try {
      graphs_.run(binding);
    } catch (const Failure&) {
      // A run that was told to end reports it as an error of its own.
      throwIfCancelled();
      throw;
    }
  }

  void allReduce(Stream, int group, Reduction reduction, const Tensor& input, const Tensor& output) override {
    collectives_[group].on->allReduce(reduction, span(input), span(output));
  }
  void allGather(Stream, int group, const Tensor& input, const Tensor& output) override {
    collectives_[group].on->allGather(span(input), span(output));
  }
  void reduceScatter(Stream, int group, Reduction reduction, bool accumulates, const Tensor& input,
                     const Tensor& output) override {
    collectives_[group].on->reduceScatter(reduction, accumulates, span(input), span(output));
  }
  void allToAll(Stream, int group, const Tensor& input, const Tensor& output) override {
    collectives_[group].on->allToAll(span(input), span(output));
  }
  void broadcast(Stream, int group, const Tensor& input, const Tensor& output) override {
    collectives_[group].on->broadcast(span(input), span(output));
  }

  void exchange(Stream, int group, const std::vector<Piece>& sends, const std::vector<Piece>& receives) override {
    std::vector<HostPiece> outgoing, incoming;
    for (const Piece& piece : sends) outgoing.push_back({piece.peer, span(piece.tensor)});
    for (const Piece& piece : receives) incoming.push_back({piece.peer, span(piece.tensor)});
    collectives_[group].on->exchange(outgoing, incoming);
  }

  void send(Stream, int transfer, const Tensor& tensor) override {
    sendTransfer(place_, transfers_[transfer].channel, transfers_[transfer].peer, span(tensor));
  }
  void receive(Stream, int transfer, const Tensor& tensor) override {
    receiveTransfer(place_, transfers_[transfer].channel, transfers_[transfer].peer, span(tensor));
  }

  void copyBlock(Stream, const BlockCopy& block) override;

  void copy(Stream, const Tensor& input, const Tensor& output) override {
    // Overlapping tensors are moved in one piece, in the right direction.
    const bool overlap = input.address < output.address + output.sizeBytes() &&
                         output.address < input.address + input.sizeBytes();
    inBlocks(overlap ? 0 : input.elements(), threads_, [&](size_t, size_t start, size_t length) {
      kernels().convert(input.dtype(), at(input, start), output.dtype(), at(output, start), length);
    });
    if (overlap) {
      kernels().convert(input.dtype(), at(input, 0), output.dtype(), at(output, 0), input.elements());
    }
  }
  void accumulate(Stream, const Tensor& input, const Tensor& output) override {
    inBlocks(input.elements(), threads_, [&](size_t, size_t start, size_t length) {
      kernels().accumulate(input.dtype(), at(input, start), output.dtype(), at(output, start), length);
    });
  }
  void fill(Stream, double value, const Tensor& output) override {
    inBlocks(output.elements(), threads_, [&](size_t, size_t start, size_t length) {
      kernels().fill(output.dtype(), value, at(output, start), length);
    });
  }

  void sumSquares(Stream, const std::vector<Tensor>& inputs, bool accumulates, const Tensor& output) override {
    auto* to = static_cast<double*>(at(output, 0));
    if (!accumulates) std::fill(to, to + output.elements(), 0.0);
    if (output.elements() == kExactLimbs) return addSquaresExactly(inputs, to);
    double sum = 0;
    for (const Tensor& input : inputs) {
      std::vector<double> parts(blocksOf(input.elements()));
      inBlocks(input.elements(), threads_, [&](size_t block, size_t start, size_t length) {
        parts[block] = kernels().sumSquares(input.dtype(), at(input, start), length);
      });
      for (const double part : parts) sum += part;
    }
    *to += sum;
  }

  void clip(Stream, const Tensor& sumSquares, const Tensor& hyper, const Tensor& output) override {
    const auto* squares = static_cast<const double*>(pointer(sumSquares.address));
    const double norm = std::sqrt(sumSquares.elements() == kExactLimbs ? exactValue(squares) : *squares);
    const double maxNorm = static_cast<const float*>(pointer(hyper.address))[kMaxNorm];
    auto* to = static_cast<float*>(pointer(output.address));
    to[0] = maxNorm == 0 ? 1.0f : static_cast<float>(std::min(1.0, maxNorm / (norm + 1e-6)));
    to[1] = static_cast<float>(norm);
  }

  void adamw(Stream, const AdamwTensors& tensors) override {
    const auto decayed = static_cast<size_t>(tensors.decayElements);
    inBlocks(tensors.parameter.elements(), threads_, [&](size_t, size_t start, size_t length) {
      AdamwSpan span;
      span.parameter = static_cast<float*>(at(tensors.parameter, start));
      span.gradient = at(tensors.gradient, start);
      span.gradientDtype = tensors.gradient.dtype();
      span.moment1 = static_cast<float*>(at(tensors.moment1, start));
      span.moment2 = static_cast<float*>(at(tensors.moment2, start));
      span.computeCopy =
          tensors.computeCopy.index < 0 ? nullptr : static_cast<uint16_t*>(at(tensors.computeCopy, start));
      span.count = length;
      span.decayElements = decayed <= start ? 0 : std::min(length, decayed - start);
      span.hyper = static_cast<const float*>(at(tensors.hyper, 0));
      span.clipFactor = static_cast<const float*>(at(tensors.clip, 0))[0];
      kernels().adamw(span);
    });
  }

 private:
  void addSquaresExactly(const std::vector<Tensor>& inputs, double* output) {
    for (const Tensor& input : inputs) {
      std::vector<double> parts(kExactLimbs * blocksOf(input.elements()));
      inBlocks(input.elements(), threads_, [&](size_t block, size_t start, size_t length) {
        exactSquares(static_cast<const float*>(at(input, start)), length, &parts[kExactLimbs * block]);
      });
      for (size_t i = 0; i < parts.size(); i++) output[i % kExactLimbs] += parts[i];
    }
  }

  struct OpenGroup {
    std::vector<int> group;
    int channel;
    std::unique_ptr<HostCollectives> on;
  };
  struct OpenTransfer {
    int peer;
    int channel;
  };

  static void* pointer(Address address) { return reinterpret_cast<void*>(address); }
  static void* at(const Tensor& tensor, size_t element) {
    return pointer(tensor.address + element * dtypeBytes(tensor.dtype()));
  }
  static HostSpan span(const Tensor& tensor) {
    return {static_cast<char*>(pointer(tensor.address)), tensor.dtype(), tensor.elements()};
  }

  double elapsedMs() const { return std::chrono::duration<double, std::milli>(Clock::now() - stepStart_).count(); }

  void throwIfCancelled() {
    if (cancelled_.load(std::memory_order_relaxed)) {
      const std::lock_guard lock(reasonMutex_);
      throw Cancelled("stopped, because " + reason_);
    }
    if (place_.aborted()) throw Cancelled("stopped, because " + place_.abortReason());
  }

  MeetingPlace& place_;
  const int threads_;
  // Bound tensors point into the arena, so graphs go first.
  std::unique_ptr<HostArena> arena_;
  HostGraphs graphs_;
  std::vector<OpenGroup> collectives_;
  std::vector<OpenTransfer> transfers_;

  Milestones milestones_;
  // One writer each: the thread that runs the instruction.
  std::vector<double> startMs_, endMs_, sentBytes_;
  Clock::time_point stepStart_;

  std::atomic<bool> cancelled_{false};
  std::mutex reasonMutex_;
  std::string reason_;
};

void HostDevice::copyBlock(Stream, const BlockCopy& block) {
  // Padded in front to four axes: [1, 1, rows, columns] and so on.
  const size_t axes = block.extent.size();
  const size_t width = dtypeBytes(block.input.dtype());
  int64_t extent[kMaxBlockAxes] = {1, 1, 1, 1};
  int64_t inputStride[kMaxBlockAxes] = {}, outputStride[kMaxBlockAxes] = {};
  const auto* from = static_cast<const char*>(pointer(block.input.address));
  auto* to = static_cast<char*>(pointer(block.output.address));
  int64_t inputStep = static_cast<int64_t>(width), outputStep = inputStep;
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
  const size_t rowBytes = static_cast<size_t>(extent[3]) * width;
  for (int64_t a = 0; a < extent[0]; a++) {
    for (int64_t b = 0; b < extent[1]; b++) {
      for (int64_t c = 0; c < extent[2]; c++) {
        std::memmove(to + a * outputStride[0] + b * outputStride[1] + c * outputStride[2],
                     from + a * inputStride[0] + b * inputStride[1] + c * inputStride[2], rowBytes);
      }
    }
  }
}

}  // namespace

std::unique_ptr<Device> openHostDevice(const DeviceOptions& options, MeetingPlace& place) {
  return std::make_unique<HostDevice>(options, place);
}

}  // namespace galvatron
