#include "worker.h"

#include <malloc.h>

#include <cstring>
#include <utility>

#include "cuda-library.h"
#include "job-thread.h"
#include "js-error.h"
#include "js-field.h"
#include "meeting-place.h"
#include "program-from-js.h"

namespace galvatron {

namespace {

// Up to here `write` copies at once; above, it reads the caller's array on the worker's thread.
constexpr size_t kCopiedBytes = 65536;

// Larger blocks of the heap are mapped each by itself, and go back to the system when they are freed.
constexpr int kMappedBytes = 131072;

struct WorkerOptions {
  DeviceOptions device;
  bool cuda = false;
  std::string sharedName;
};

WorkerOptions optionsOf(const Napi::Value& value) {
  const JsField field(value, "openWorker options", "ARGUMENT_INVALID");
  static constexpr const char* kDevices[] = {"host", "cuda"};
  WorkerOptions options;
  options.cuda = field.at("device").oneOf(kDevices) == 1;
  options.device.deviceIndex = static_cast<int>(field.at("deviceIndex").integer(0, 1024));
  options.device.ranks = static_cast<int>(field.at("ranks").integer(1, 4096));
  options.device.rank = static_cast<int>(field.at("rank").integer(0, options.device.ranks - 1));
  options.device.onnxRuntimePath = field.at("onnxRuntimePath").text();
  options.device.threads = static_cast<int>(field.at("threads").integer(1, 1024));
  options.device.deadlineMs = field.at("deadlineMs").number();
  if (!(options.device.deadlineMs > 0)) field.at("deadlineMs").refuse("a positive number of milliseconds was expected");
  options.sharedName = field.at("sharedName").text();
  if (options.sharedName.empty() && options.device.ranks > 1) {
    field.at("sharedName").refuse("several ranks need shared memory to meet in (createShared)");
  }
  return options;
}

std::unique_ptr<Executor> executorOf(const WorkerOptions& options) {
  const DeviceOptions& device = options.device;
  auto place = std::make_shared<MeetingPlace>(options.sharedName, device.rank, device.ranks, device.deadlineMs);
  std::unique_ptr<Device> opened =
      options.cuda ? openCudaDevice(device, *place) : openHostDevice(device, *place);
  return std::make_unique<Executor>(std::move(opened), std::move(place), device);
}

GraphStore graphsOf(const Napi::Value& value) {
  if (!value.IsObject()) throw argumentInvalid("load: graphs must be an object of Uint8Arrays by graph id.");
  GraphStore graphs;
  const Napi::Object object = value.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string id = names.Get(i).As<Napi::String>().Utf8Value();
    const Napi::Value bytes = object.Get(id);
    if (!bytes.IsTypedArray()) throw argumentInvalid("load: graphs[\"" + id + "\"] must be a Uint8Array.");
    const auto array = bytes.As<Napi::TypedArray>();
    const auto* data = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    graphs.emplace(id, std::vector<uint8_t>(data, data + array.ByteLength()));
  }
  return graphs;
}

}  // namespace

Napi::Value Worker::open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Function constructor = DefineClass(
      env, "NativeWorker",
      {InstanceMethod<&Worker::load>("load"), InstanceMethod<&Worker::write>("write"),
       InstanceMethod<&Worker::writeRepeated>("writeRepeated"),
       InstanceMethod<&Worker::read>("read"), InstanceMethod<&Worker::step>("step"),
       InstanceMethod<&Worker::abort>("abort"), InstanceMethod<&Worker::close>("close")});
  return constructor.New({info[0]});
}

Worker::Worker(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Worker>(info) {
#ifdef __GLIBC__
  // Fixed at its start: by itself it grows with what is freed, and large blocks then stay in the heap for good.
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
#endif
  atTheDoor(info.Env(), [&] { jobs_ = JobThread::start(info.Env(), executorOf(optionsOf(info[0]))); });
}

Worker::~Worker() = default;

Napi::Value Worker::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    auto program = std::make_shared<Program>(programFromJs(info[0]));
    auto graphs = std::make_shared<GraphStore>(graphsOf(info[1]));
    const size_t kept = info[2].IsUndefined() ? 0 : JsField(info[2], "load keptBytes", "ARGUMENT_INVALID").size();
    return jobs_->submit(env, info.This().As<Napi::Object>(), [program, graphs, kept](Executor& executor) {
      executor.load(program, *graphs, kept);
      return JobThread::Settle();
    });
  });
}

Napi::Value Worker::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    const int tensor = JsField(info[0], "write tensor", "ARGUMENT_INVALID").index();
    if (!info[1].IsTypedArray()) throw argumentInvalid("write: the bytes must be a Uint8Array.");
    const auto array = info[1].As<Napi::TypedArray>();
    const auto* data = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    const size_t size = array.ByteLength();
    if (size > kCopiedBytes) {
      return jobs_->submit(env, array, [tensor, data, size](Executor& executor) {
        executor.write(tensor, data, size);
        return JobThread::Settle();
      });
    }
    auto bytes = std::make_shared<std::vector<uint8_t>>(data, data + size);
    return jobs_->submit(env, array, [tensor, bytes](Executor& executor) {
      executor.write(tensor, bytes->data(), bytes->size());
      return JobThread::Settle();
    });
  });
}

Napi::Value Worker::writeRepeated(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    const int tensor = JsField(info[0], "writeRepeated tensor", "ARGUMENT_INVALID").index();
    const size_t from = JsField(info[1], "writeRepeated from", "ARGUMENT_INVALID").size();
    const size_t until = JsField(info[2], "writeRepeated until", "ARGUMENT_INVALID").size();
    if (!info[3].IsTypedArray()) throw argumentInvalid("writeRepeated: the bytes must be a Uint8Array.");
    const auto array = info[3].As<Napi::TypedArray>();
    const auto* data = static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    const size_t size = array.ByteLength();
    return jobs_->submit(env, array, [tensor, from, until, data, size](Executor& executor) {
      executor.writeRepeated(tensor, from, until, data, size);
      return JobThread::Settle();
    });
  });
}

Napi::Value Worker::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    const int tensor = JsField(info[0], "read tensor", "ARGUMENT_INVALID").index();
    return jobs_->submit(env, info.This().As<Napi::Object>(), [tensor](Executor& executor) {
      const size_t size = executor.sizeOf(tensor);
      std::shared_ptr<uint8_t[]> bytes(new uint8_t[size]);
      executor.read(tensor, bytes.get());
      return JobThread::Settle([bytes, size](Napi::Env settling) -> Napi::Value {
        // The array keeps the bytes; nothing is copied on JavaScript's thread.
        auto* held = new std::shared_ptr<uint8_t[]>(bytes);
        const auto buffer = Napi::ArrayBuffer::New(
            settling, held->get(), size, [](Napi::Env, void*, std::shared_ptr<uint8_t[]>* done) { delete done; }, held);
        return Napi::Uint8Array::New(settling, size, buffer, 0);
      });
    });
  });
}

Napi::Value Worker::step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return atTheDoor(env, [&]() -> Napi::Value {
    return jobs_->submit(env, info.This().As<Napi::Object>(), [](Executor& executor) {
      auto times = std::make_shared<StepTimes>(executor.step());
      const DeviceMemory memory = executor.memory();
      return JobThread::Settle([times, memory](Napi::Env settling) -> Napi::Value {
        const Napi::Object result = Napi::Object::New(settling);
        auto instructions = Napi::Float64Array::New(settling, times->instructionsMs.size());
        std::memcpy(instructions.Data(), times->instructionsMs.data(), times->instructionsMs.size() * sizeof(double));
        result.Set("stepMs", Napi::Number::New(settling, times->stepMs));
        result.Set("instructionsMs", instructions);
        result.Set("arenaBytes", Napi::Number::New(settling, static_cast<double>(memory.arenaBytes)));
        result.Set("onnxRuntimeBytes", Napi::Number::New(settling, static_cast<double>(memory.onnxRuntimePeakBytes)));
        auto sent = Napi::Float64Array::New(settling, times->sentBytes.size());
        if (!times->sentBytes.empty()) {
          std::memcpy(sent.Data(), times->sentBytes.data(), times->sentBytes.size() * sizeof(double));
        }
        result.Set("sentBytes", sent);
        auto graphs = Napi::Float64Array::New(settling, 3 * memory.graphBytes.size());
        for (size_t i = 0; i < memory.graphBytes.size(); i++) {
          const auto& [run, constants, session] = memory.graphBytes[i];
          graphs[3 * i] = static_cast<double>(run);
          graphs[3 * i + 1] = static_cast<double>(constants);
          graphs[3 * i + 2] = static_cast<double>(session);
        }
        result.Set("graphBytes", graphs);
        result.Set("deviceBytes", Napi::Number::New(settling, static_cast<double>(memory.deviceBytes)));
        return result;
      });
    });
  });
}

Napi::Value Worker::abort(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    jobs_->abort(JsField(info[0], "abort reason", "ARGUMENT_INVALID").text());
    return info.Env().Undefined();
  });
}

Napi::Value Worker::close(const Napi::CallbackInfo& info) {
  return jobs_->close(info.Env(), info.This().As<Napi::Object>());
}

}  // namespace galvatron
