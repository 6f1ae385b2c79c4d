#pragma once

#include <napi.h>

#include <functional>
#include <memory>

namespace galvatron {

class JobThread;

// NativeWorker of src/device/addon.ts: one rank's executor behind a thread of its own.
class Worker : public Napi::ObjectWrap<Worker> {
 public:
  static Napi::Value open(const Napi::CallbackInfo& info);
  explicit Worker(const Napi::CallbackInfo& info);
  ~Worker() override;

 private:
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value writeRepeated(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<JobThread> jobs_;
};

}  // namespace galvatron
