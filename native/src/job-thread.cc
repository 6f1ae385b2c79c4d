#include "job-thread.h"

#include <optional>
#include <utility>

#include "js-error.h"

namespace galvatron {

struct JobThread::Job {
  Job(Napi::Env env, std::shared_ptr<JobThread> on, const Napi::Object& owner, Work work)
      : deferred(env), thread(std::move(on)), owner(Napi::Persistent(owner)), work(std::move(work)) {}

  Napi::Promise::Deferred deferred;
  std::shared_ptr<JobThread> thread;
  Napi::ObjectReference owner;
  Work work;
  bool closes = false;
  Settle settle;
  std::optional<Failure> failure;
};

std::shared_ptr<JobThread> JobThread::start(Napi::Env env, std::unique_ptr<Executor> executor) {
  std::shared_ptr<JobThread> created(new JobThread(env, std::move(executor)));
  napi_add_env_cleanup_hook(env, onEnvironmentExit, created.get());
  created->hooked_ = true;
  created->thread_ = std::thread([self = created.get()] { self->loop(); });
  return created;
}

JobThread::JobThread(Napi::Env env, std::unique_ptr<Executor> executor) : env_(env), executor_(std::move(executor)) {
  settle_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                          "galvatron worker", 0, 1);
  // Only jobs on their way keep the process alive.
  settle_.Unref(env);
}

JobThread::~JobThread() {
  stop("the worker was let go");
}

void JobThread::onEnvironmentExit(void* self) {
  auto* thread = static_cast<JobThread*>(self);
  thread->hooked_ = false;
  thread->stop("the process ends");
}

void JobThread::stop(const std::string& reason) {
  if (hooked_) napi_remove_env_cleanup_hook(env_, onEnvironmentExit, this);
  hooked_ = false;
  if (!thread_.joinable()) return;
  abort(reason);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  settle_.Release();
}

void JobThread::abort(const std::string& reason) {
  const std::lock_guard lock(executorMutex_);
  if (executor_ != nullptr) executor_->cancel(reason);
}

Napi::Promise JobThread::submit(Napi::Env env, const Napi::Object& owner, Work work) {
  if (closed_) throw argumentInvalid("This worker is closed; open another one.");
  auto job = std::make_unique<Job>(env, shared_from_this(), owner, std::move(work));
  const Napi::Promise promise = job->deferred.Promise();
  enqueue(env, std::move(job));
  return promise;
}

Napi::Promise JobThread::close(Napi::Env env, const Napi::Object& owner) {
  if (closed_) {
    const Napi::Promise::Deferred done(env);
    done.Resolve(env.Undefined());
    return done.Promise();
  }
  closed_ = true;
  auto job = std::make_unique<Job>(env, shared_from_this(), owner, Work());
  job->closes = true;
  const Napi::Promise promise = job->deferred.Promise();
  enqueue(env, std::move(job));
  return promise;
}

void JobThread::enqueue(Napi::Env env, std::unique_ptr<Job> job) {
  if (pending_++ == 0) settle_.Ref(env);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_all();
}

void JobThread::loop() {
  while (true) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) break;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    try {
      if (job->closes) {
        std::unique_ptr<Executor> gone;
        {
          const std::lock_guard lock(executorMutex_);
          gone = std::move(executor_);
        }
      } else {
        job->settle = job->work(*executor_);
      }
    } catch (const Failure& failure) {
      job->failure = failure;
    } catch (const std::exception& error) {
      job->failure = deviceFailed(error.what());
    }
    Job* settled = job.release();
    const napi_status status = settle_.BlockingCall(settled, [](Napi::Env env, Napi::Function, Job* done) {
      const std::unique_ptr<Job> owned(done);
      JobThread& thread = *owned->thread;
      // An environment on its way down gives no place to settle in.
      if (static_cast<napi_env>(env) == nullptr) return;
      const Napi::HandleScope scope(env);
      if (--thread.pending_ == 0) thread.settle_.Unref(env);
      if (owned->failure) {
        owned->deferred.Reject(errorToJs(env, *owned->failure));
      } else {
        owned->deferred.Resolve(owned->settle ? owned->settle(env) : env.Undefined());
      }
      if (owned->closes) thread.stop("closed");
    });
    // Refused only when the environment goes down; its references may not be touched from this thread then.
    (void)status;
  }
  const std::lock_guard lock(executorMutex_);
  executor_.reset();
}

}  // namespace galvatron
