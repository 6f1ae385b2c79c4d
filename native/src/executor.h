#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "device.h"
#include "meeting-place.h"

namespace galvatron {

// Walks a rank's Program. Not thread-safe except for `cancel`: the worker's job thread calls the rest.
class Executor {
 public:
  Executor(std::unique_ptr<Device> device, std::shared_ptr<MeetingPlace> place, const DeviceOptions& options);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // `keptBytes` above 0: so many bytes from the start of the arena outlive the program before.
  void load(std::shared_ptr<const Program> program, const GraphStore& graphs, size_t keptBytes);
  void write(int tensor, const void* bytes, size_t count);
  // Bytes `from` to `until` of the tensor become the given ones again and again.
  void writeRepeated(int tensor, size_t from, size_t until, const void* bytes, size_t count);
  // Bytes of a tensor, for the caller to make room.
  size_t sizeOf(int tensor) const;
  void read(int tensor, void* bytes);
  StepTimes step();
  DeviceMemory memory() const { return device_->memory(); }

  // From any thread. Final: the step in flight and all later calls fail with this reason.
  void cancel(const std::string& reason);

 private:
  // An instruction with its tensors looked up.
  struct Resolved {
    const Instruction* source = nullptr;
    // Waits for instructions of other streams; those of the same stream are in order anyway.
    std::vector<int> waits;
    int handle = -1;
    Tensor input, output, tensor, sumSquares, hyper;
    std::vector<Tensor> inputs;
    std::vector<Piece> sends, receives;
    BlockCopy block;
    AdamwTensors adamw;
  };

  Tensor tensorAt(int index) const;
  void requireLoaded(const char* what) const;
  void requireTensor(int index) const;
  void resolve(size_t index);
  void runInstruction(int index);
  void runList(const std::vector<int>& list);
  void runStream(const std::vector<int>& list);
  void fail(int instruction, const Failure& failure);
  void startThreads();
  void stopThreads();

  // Destroyed last to first: threads stop before what they use goes away.
  const DeviceOptions options_;
  std::shared_ptr<MeetingPlace> place_;
  std::unique_ptr<Device> device_;
  std::shared_ptr<const Program> program_;
  Address arena_ = 0;
  std::vector<Resolved> resolved_;
  // Instructions of each used stream, the longest first: it runs on the caller's thread.
  std::vector<std::vector<int>> lists_;
  std::vector<int> inOrder_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  uint64_t round_ = 0;
  size_t running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;

  std::mutex failureMutex_;
  std::optional<Failure> failure_;
  bool failureIsCancelled_ = false;
  int failureInstruction_ = -1;
};

}  // namespace galvatron
