#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "failure.h"
#include "guarded-mapping.h"

namespace galvatron {

// The rank's memory on the host, zeroed. `fill` takes all of it from the system: until then pages come one by one.
class HostArena {
 public:
  explicit HostArena(size_t bytes) : bytes_(bytes) {
    if (bytes != 0 && !mapping_.open(bytes)) {
      throw Failure("DEVICE_FAILED", "The system has no " + std::to_string(bytes) + " bytes of memory for the arena.");
    }
  }
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  // Once: pages that `clearFrom` gave back come when they are touched.
  void fill() {
    if (!filled_) mapping_.fill(0, mapping_.bytes());
    filled_ = true;
  }

  // Zeroes all from `kept` on, and gives whole pages of it back until they are touched again.
  void clearFrom(size_t kept) {
    const size_t whole = std::min(GuardedMapping::roundToPages(kept), bytes_);
    std::memset(mapping_.start() + kept, 0, whole - kept);
    mapping_.giveBack(whole, mapping_.bytes());
  }

  void* start() const { return mapping_.start(); }
  size_t bytes() const { return bytes_; }

 private:
  GuardedMapping mapping_;
  const size_t bytes_;
  bool filled_ = false;
};

}  // namespace galvatron
