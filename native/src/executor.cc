#include "executor.h"

#include <algorithm>
#include <map>
#include <utility>

#include "flush-denormals.h"
#include "program-check.h"

namespace galvatron {

Executor::Executor(std::unique_ptr<Device> device, std::shared_ptr<MeetingPlace> place, const DeviceOptions& options)
    : options_(options), place_(std::move(place)), device_(std::move(device)) {}

Executor::~Executor() { stopThreads(); }

Tensor Executor::tensorAt(int index) const {
  if (index < 0) return {};
  const TensorView& view = program_->tensors[index];
  return {index, &view, arena_ + view.arenaOffset};
}

void Executor::load(std::shared_ptr<const Program> program, const GraphStore& graphs, size_t keptBytes) {
  checkProgram(*program, options_.rank, options_.ranks);
  if (keptBytes > 0 && (program_ == nullptr || program_->arenaBytes != program->arenaBytes ||
                        keptBytes > program->arenaBytes)) {
    throw argumentInvalid("load: " + std::to_string(keptBytes) +
                          " bytes were to be kept, but no program with an arena of " +
                          std::to_string(program->arenaBytes) + " bytes is loaded.");
  }
  stopThreads();
  resolved_.clear();
  lists_.clear();
  inOrder_.clear();
  program_ = nullptr;
  {
    const std::lock_guard lock(failureMutex_);
    if (failure_) throw *failure_;
  }

  arena_ = device_->open(*program, keptBytes);
  program_ = std::move(program);
  try {
    for (size_t i = 0; i < program_->graphs.size(); i++) {
      const GraphRef& graph = program_->graphs[i];
      const auto bytes = graphs.find(graph.id);
      if (bytes == graphs.end()) {
        throw argumentInvalid("The program names graph " + graph.name + " (" + graph.id +
                              "), whose bytes were not given.");
      }
      device_->compile(static_cast<int>(i), graph, bytes->second);
    }
    resolved_.resize(program_->instructions.size());
    for (size_t i = 0; i < resolved_.size(); i++) resolve(i);
    device_->ready();
  } catch (...) {
    // A half-loaded program must not run.
    resolved_.clear();
    program_ = nullptr;
    throw;
  }

  std::vector<std::vector<int>> byStream(kStreams);
  for (size_t i = 0; i < resolved_.size(); i++) {
    byStream[static_cast<int>(resolved_[i].source->stream)].push_back(static_cast<int>(i));
    inOrder_.push_back(static_cast<int>(i));
  }
  for (auto& list : byStream) {
    if (!list.empty()) lists_.push_back(std::move(list));
  }
  std::stable_sort(lists_.begin(), lists_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  if (device_->drive() == Device::Drive::threadPerStream) startThreads();
}

void Executor::resolve(size_t index) {
  const Instruction& it = program_->instructions[index];
  Resolved& to = resolved_[index];
  to.source = &it;
  for (const int wait : it.waits) {
    if (program_->instructions[wait].stream != it.stream) to.waits.push_back(wait);
  }
  to.input = tensorAt(it.input);
  to.output = tensorAt(it.output);
  to.tensor = tensorAt(it.tensor);
  to.sumSquares = tensorAt(it.sumSquares);
  to.hyper = tensorAt(it.hyper);
  for (const int input : it.inputs) to.inputs.push_back(tensorAt(input));

  switch (it.op) {
    case Op::run: {
      std::vector<Tensor> outputs;
      for (const int output : it.outputs) outputs.push_back(tensorAt(output));
      to.handle = device_->bind(it.graph, to.inputs, outputs);
      break;
    }
    case Op::allReduce:
    case Op::allGather:
    case Op::reduceScatter:
    case Op::allToAll:
    case Op::broadcast:
    case Op::exchange:
      to.handle = device_->openGroup(program_->groups[it.group], it.stream);
      for (const ExchangePiece& piece : it.sends) to.sends.push_back({piece.peer, tensorAt(piece.tensor)});
      for (const ExchangePiece& piece : it.receives) to.receives.push_back({piece.peer, tensorAt(piece.tensor)});
      break;
    case Op::send:
    case Op::receive:
      to.handle = device_->openTransfer(it.peer, it.stream, it.op == Op::send);
      break;
    case Op::copyBlock:
      to.block = {to.input, to.output, it.inputStart, it.outputStart, it.extent};
      break;
    case Op::adamw:
      to.adamw = {tensorAt(it.parameter), tensorAt(it.gradient), tensorAt(it.moment1),     tensorAt(it.moment2),
                  to.hyper,               tensorAt(it.clip),     tensorAt(it.computeCopy), it.decayElements};
      break;
    default:
      break;
  }
}

void Executor::runInstruction(int index) {
  const Resolved& it = resolved_[index];
  const Instruction& source = *it.source;
  const Stream stream = source.stream;
  for (const int wait : it.waits) device_->wait(stream, wait);
  device_->begin(stream, index);
  switch (source.op) {
    case Op::run:
      device_->run(stream, it.handle);
      break;
    case Op::allReduce:
      device_->allReduce(stream, it.handle, source.reduction, it.input, it.output);
      break;
    case Op::allGather:
      device_->allGather(stream, it.handle, it.input, it.output);
      break;
    case Op::reduceScatter:
      device_->reduceScatter(stream, it.handle, source.reduction, source.accumulates, it.input, it.output);
      break;
    case Op::allToAll:
      device_->allToAll(stream, it.handle, it.input, it.output);
      break;
    case Op::broadcast:
      device_->broadcast(stream, it.handle, it.input, it.output);
      break;
    case Op::send:
      device_->send(stream, it.handle, it.tensor);
      break;
    case Op::receive:
      device_->receive(stream, it.handle, it.tensor);
      break;
    case Op::exchange:
      device_->exchange(stream, it.handle, it.sends, it.receives);
      break;
    case Op::copyBlock:
      device_->copyBlock(stream, it.block);
      break;
    case Op::copy:
      device_->copy(stream, it.input, it.output);
      break;
    case Op::accumulate:
      device_->accumulate(stream, it.input, it.output);
      break;
    case Op::fill:
      device_->fill(stream, source.value, it.output);
      break;
    case Op::sumSquares:
      device_->sumSquares(stream, it.inputs, source.accumulates, it.output);
      break;
    case Op::clip:
      device_->clip(stream, it.sumSquares, it.hyper, it.output);
      break;
    case Op::adamw:
      device_->adamw(stream, it.adamw);
      break;
  }
  device_->end(stream, index);
}

void Executor::runList(const std::vector<int>& list) {
  const FlushDenormals flush;
  for (const int index : list) {
    try {
      runInstruction(index);
    } catch (const Failure& failure) {
      fail(index, failure);
      return;
    } catch (const std::exception& error) {
      fail(index, deviceFailed(error.what()));
      return;
    }
  }
}

void Executor::fail(int index, const Failure& failure) {
  const bool cancelled = dynamic_cast<const Cancelled*>(&failure) != nullptr;
  std::string told;
  {
    const std::lock_guard lock(failureMutex_);
    // What went wrong counts, before what was cut short because of it; of those, what the others waited for.
    const bool earlier = index >= 0 && (failureInstruction_ < 0 || index < failureInstruction_);
    if (!failure_ || (failureIsCancelled_ && (!cancelled || earlier))) {
      Failure::Context context = failure.context();
      context["rank"] = std::to_string(options_.rank);
      std::string where = "rank " + std::to_string(options_.rank);
      if (index >= 0) {
        const Instruction& it = program_->instructions[index];
        context["instruction"] = std::to_string(index);
        context["op"] = opName(it.op);
        context["stream"] = streamName(it.stream);
        context["label"] = it.label;
        if (it.peer >= 0) context["peer"] = std::to_string(it.peer);
        where += ", instruction " + std::to_string(index) + " (" + opName(it.op) + ", " + it.label + ", stream " +
                 streamName(it.stream) + (it.peer >= 0 ? ", peer " + std::to_string(it.peer) : "") + ")";
      }
      failure_ = Failure(failure.code(), where + ": " + failure.what(), context);
      failureIsCancelled_ = cancelled;
      failureInstruction_ = index;
    }
    told = failure_->what();
  }
  // The other streams of this rank, and the other ranks, wait for what will not come.
  place_->abort(options_.rank, told);
  device_->cancel(told);
}

StepTimes Executor::step() {
  requireLoaded("step");
  {
    const std::lock_guard lock(failureMutex_);
    if (failure_) throw *failure_;
  }
  StepTimes times;
  times.instructionsMs.resize(resolved_.size() * 2);
  try {
    if (!device_->beginStep()) {
      if (device_->drive() == Device::Drive::oneThread) {
        runList(inOrder_);
      } else if (!lists_.empty()) {
        {
          const std::lock_guard lock(mutex_);
          running_ = threads_.size();
          round_++;
        }
        wake_.notify_all();
        runList(lists_[0]);
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] { return running_ == 0; });
      }
    }
    device_->finishStep(times);
  } catch (const Failure& failure) {
    fail(-1, failure);
  }
  const std::lock_guard lock(failureMutex_);
  if (failure_) throw *failure_;
  return times;
}

void Executor::startThreads() {
  stopping_ = false;
  for (size_t i = 1; i < lists_.size(); i++) {
    threads_.emplace_back([this, i, seen = round_]() mutable {
      while (true) {
        {
          std::unique_lock lock(mutex_);
          wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
          if (stopping_) return;
          seen = round_;
        }
        runList(lists_[i]);
        const std::lock_guard lock(mutex_);
        if (--running_ == 0) done_.notify_one();
      }
    });
  }
}

void Executor::stopThreads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Executor::requireLoaded(const char* what) const {
  if (program_ == nullptr) throw argumentInvalid(std::string(what) + ": no program is loaded; call load first.");
}

void Executor::requireTensor(int index) const {
  if (index < 0 || index >= static_cast<int>(program_->tensors.size())) {
    throw argumentInvalid("tensor " + std::to_string(index) + " is none of the program's (0 to " +
                          std::to_string(static_cast<int>(program_->tensors.size()) - 1) + ").");
  }
}

void Executor::write(int index, const void* bytes, size_t count) {
  requireLoaded("write");
  requireTensor(index);
  const Tensor tensor = tensorAt(index);
  if (count != tensor.sizeBytes()) {
    throw argumentInvalid("write: tensor " + tensor.view->name + " has " + std::to_string(tensor.sizeBytes()) +
                          " bytes, " + std::to_string(count) + " were given.");
  }
  device_->upload(tensor.address, bytes, count);
}

void Executor::writeRepeated(int index, size_t from, size_t until, const void* bytes, size_t count) {
  requireLoaded("writeRepeated");
  requireTensor(index);
  const Tensor tensor = tensorAt(index);
  if (until > tensor.sizeBytes() || from >= until || count == 0) {
    throw argumentInvalid("writeRepeated: bytes " + std::to_string(from) + " to " + std::to_string(until) + " of tensor " +
                          tensor.view->name + ", which has " + std::to_string(tensor.sizeBytes()) + ", by " +
                          std::to_string(count) + " were given; expected a part that is not empty, inside the tensor.");
  }
  const size_t size = until - from;
  const Address start = tensor.address + from;
  size_t written = std::min(count, size);
  device_->upload(start, bytes, written);
  // What is there doubles: the bytes cross over once.
  while (written < size) {
    const size_t more = std::min(written, size - written);
    device_->copy(start + written, start, more);
    written += more;
  }
}

size_t Executor::sizeOf(int index) const {
  requireLoaded("read");
  requireTensor(index);
  return program_->tensors[index].sizeBytes;
}

void Executor::read(int index, void* bytes) {
  const Tensor tensor = tensorAt(index);
  device_->download(bytes, tensor.address, tensor.sizeBytes());
}

void Executor::cancel(const std::string& reason) {
  {
    const std::lock_guard lock(failureMutex_);
    if (!failure_) {
      failure_ = Failure("RUN_STOPPED", "rank " + std::to_string(options_.rank) + " was stopped: " + reason,
                         {{"rank", std::to_string(options_.rank)}});
      failureIsCancelled_ = true;
    }
  }
  place_->abort(options_.rank, reason);
  device_->cancel(reason);
}

}  // namespace galvatron
