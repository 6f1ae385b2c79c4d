#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "executor.h"

namespace galvatron {

// A worker's own thread. Jobs run on it one after another; their promises are settled on JavaScript's thread. It lives
// until `close` has run or the environment goes down, whichever is first: then what runs is cancelled and joined
// before anything it uses is freed.
class JobThread : public std::enable_shared_from_this<JobThread> {
 public:
  // Makes the resolved value on JavaScript's thread.
  using Settle = std::function<Napi::Value(Napi::Env)>;
  using Work = std::function<Settle(Executor&)>;

  static std::shared_ptr<JobThread> start(Napi::Env env, std::unique_ptr<Executor> executor);
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  // `owner` is held until the promise settles.
  Napi::Promise submit(Napi::Env env, const Napi::Object& owner, Work work);
  Napi::Promise close(Napi::Env env, const Napi::Object& owner);
  void abort(const std::string& reason);

 private:
  struct Job;

  JobThread(Napi::Env env, std::unique_ptr<Executor> executor);
  void loop();
  void enqueue(Napi::Env env, std::unique_ptr<Job> job);
  // Cancels, lets the thread end and joins it. JavaScript's thread only.
  void stop(const std::string& reason);
  static void onEnvironmentExit(void* self);

  const napi_env env_;
  std::unique_ptr<Executor> executor_;
  std::mutex executorMutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  bool stopping_ = false;
  // JavaScript's thread only:
  bool closed_ = false;
  size_t pending_ = 0;
  bool hooked_ = false;
  Napi::ThreadSafeFunction settle_;
  std::thread thread_;
};

}  // namespace galvatron
