#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace galvatron::cuda {

// Device memory of ONNX Runtime's sessions. Their intermediates share regions, for they run one after another on one stream:
// what one frees, the next may take without waiting. Best fit with merging, in regions from cudaMalloc that stay until
// `consolidate` or destruction, for captured graphs hold their addresses.
class DevicePool {
 public:
  explicit DevicePool(int device) : device_(device) {}
  ~DevicePool();
  DevicePool(const DevicePool&) = delete;
  DevicePool& operator=(const DevicePool&) = delete;

  // Aligned to 512 bytes. Null when the device has no more.
  void* allocate(size_t bytes);
  // What a session asks for while it is made (constants) lives as long as it does: outside the regions, which could not be
  // drawn together as long as some of them is in use.
  void sessionBegins() { making_ = true; }
  void sessionIsMade() { making_ = false; }
  // Lives as long as its session (initialisers): outside the regions.
  void* reserve(size_t bytes);
  void free(void* pointer);

  // After one session's warm-up, when nothing is in use: notes what it needed and starts anew, so that what all need
  // together does not depend on their order. False when something is in use.
  bool measure();
  // After the warm-ups: one region of what the session needed that needed most.
  bool consolidate();

  // Gives everything back where nothing is in use: the next program starts as the first one did.
  void release();

  size_t bytesHeld() const;
  size_t peakBytes() const;

 private:
  void insertFree(char* start, size_t bytes);
  bool grow(size_t bytes);
  void clear();

  const int device_;
  std::atomic<bool> making_ = false;
  mutable std::mutex mutex_;
  struct Region {
    char* start;
    size_t bytes;
  };
  std::vector<Region> regions_;
  std::set<std::pair<size_t, char*>> bySize_;
  std::map<char*, size_t> byAddress_;
  std::unordered_map<char*, size_t> used_;
  std::unordered_map<char*, size_t> reserved_;
  size_t inUse_ = 0;
  size_t reservedBytes_ = 0;
  size_t peak_ = 0;
  size_t needed_ = 0;
};

}  // namespace galvatron::cuda
