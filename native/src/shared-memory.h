#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "shared-layout.h"

namespace galvatron {

// Made by the coordinator, reserved at once; the name may go when all ranks have opened it.
void createShared(const std::string& name, int ranks, size_t bytesPerRank);
void unlinkShared(const std::string& name);

// A rank's mapping of the shared memory, and which of its pages this process has taken.
class SharedMemory {
 public:
  SharedMemory() = default;
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Once. Everything but the rooms is taken as far as `rank` needs it.
  // @throws Failure DEVICE_UNAVAILABLE where there is none, ARGUMENT_INVALID where it was made for others.
  void open(const std::string& name, int rank, int ranks);
  bool isOpen() const { return start_ != nullptr; }

  char* at(size_t offset) const { return start_ + offset; }
  size_t offsetOf(const char* byte) const { return static_cast<size_t>(byte - start_); }
  size_t bytes() const { return bytes_; }
  const shared_layout::Places& places() const { return places_; }
  shared_layout::Header& header() const { return *reinterpret_cast<shared_layout::Header*>(start_); }

  // Takes pages as writing them would. Where the first touch is a read, the system maps pages around it as well, as far
  // as other ranks have filled them, and counts for this process what it never reads.
  void touch(size_t offset, size_t bytes);

 private:
  char* start_ = nullptr;
  size_t bytes_ = 0;
  shared_layout::Places places_{};
  // By page.
  std::vector<std::atomic<bool>> touched_;
};

}  // namespace galvatron
