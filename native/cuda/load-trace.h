#pragma once

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include <chrono>
#include <string>
#include <vector>

namespace galvatron::cuda {

// What each part of a load took, in ms and in bytes of the device by the driver's count: a JSON line for every load,
// appended to $GALVATRON_CUDA_TRACE.<rank>. Nothing is asked or kept where the variable is not set.
class LoadTrace {
 public:
  explicit LoadTrace(int rank) {
    const char* path = getenv("GALVATRON_CUDA_TRACE");
    if (path && *path) path_ = std::string(path) + "." + std::to_string(rank);
  }

  void begin() {
    parts_.clear();
    mark("begin");
  }

  void mark(const std::string& part) {
    if (path_.empty()) return;
    size_t free = 0, total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess) (void)cudaGetLastError();
    const Clock::time_point now = Clock::now();
    const double ms = parts_.empty() ? 0 : std::chrono::duration<double, std::milli>(now - last_).count();
    parts_.push_back({part, ms, total - free});
    last_ = now;
  }

  void write() {
    if (path_.empty() || parts_.empty()) return;
    FILE* file = fopen(path_.c_str(), "a");
    if (!file) return;
    for (size_t i = 0; i < parts_.size(); i++) {
      fprintf(file, "%s{\"part\":\"%s\",\"ms\":%.3f,\"bytes\":%zu}", i == 0 ? "[" : ",", parts_[i].name.c_str(),
              parts_[i].ms, parts_[i].bytes);
    }
    fprintf(file, "]\n");
    fclose(file);
    parts_.clear();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Part {
    std::string name;
    double ms;
    size_t bytes;
  };
  std::string path_;
  std::vector<Part> parts_;
  Clock::time_point last_;
};

}  // namespace galvatron::cuda
