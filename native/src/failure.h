#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace galvatron {

// The one exception of the native side. `code` is one of the SDK's error codes (src/base/errors.ts); the door to
// JavaScript turns it into a GalvatronError with the same code, message and context.
class Failure : public std::runtime_error {
 public:
  using Context = std::map<std::string, std::string>;

  Failure(std::string code, const std::string& message, Context context = {})
      : std::runtime_error(message), code_(std::move(code)), context_(std::move(context)) {}

  const std::string& code() const { return code_; }
  const Context& context() const { return context_; }

 private:
  std::string code_;
  Context context_;
};

inline Failure argumentInvalid(const std::string& message) { return Failure("ARGUMENT_INVALID", message); }
inline Failure programInvalid(const std::string& message) { return Failure("PROGRAM_INVALID", message); }
inline Failure deviceUnavailable(const std::string& message) { return Failure("DEVICE_UNAVAILABLE", message); }
inline Failure deviceFailed(const std::string& message) { return Failure("DEVICE_FAILED", message); }
inline Failure workerLost(const std::string& message) { return Failure("WORKER_LOST", message); }

// A wait was cut short because something else failed first; that failure is the one to report.
class Cancelled : public Failure {
 public:
  explicit Cancelled(const std::string& message) : Failure("RUN_STOPPED", message) {}
};

}  // namespace galvatron
