#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "failure.h"

namespace galvatron {

// The rank's memory on the host: zeroed, and taken from the system page by page as it is first touched.
class HostArena {
 public:
  HostArena() = default;
  explicit HostArena(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    start_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start_ == MAP_FAILED) {
      start_ = nullptr;
      throw Failure("DEVICE_FAILED", "The system has no " + std::to_string(bytes) + " bytes of memory for the arena.");
    }
    madvise(start_, bytes, MADV_HUGEPAGE);
  }
  ~HostArena() {
    if (start_ != nullptr) munmap(start_, bytes_);
  }
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  // Zeroes all from `kept` on, and gives whole pages of it back until they are touched again.
  void clearFrom(size_t kept) {
    constexpr size_t kPage = 4096;
    const size_t whole = std::min((kept + kPage - 1) / kPage * kPage, bytes_);
    auto* bytes = static_cast<char*>(start_);
    std::memset(bytes + kept, 0, whole - kept);
    if (whole < bytes_) madvise(bytes + whole, bytes_ - whole, MADV_DONTNEED);
  }

  void* start() const { return start_; }
  size_t bytes() const { return bytes_; }

 private:
  void* start_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace galvatron
