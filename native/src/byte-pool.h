#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace galvatron {

// Memory for ONNX Runtime's intermediates, shared by all sessions of the process: best fit with merging, in regions
// from the operating system. Sessions run one after another, so the pool is as large as the largest of them, and its
// counts are exact. Whenever nothing is in use and more than one region exists, the regions are given back and the
// next request gets a single one, as large as the peak: fragments of a warm-up do not stay. Where best fit needs more
// than the peak, the next single region is as large as all regions were.
class BytePool {
 public:
  BytePool() = default;
  ~BytePool();
  BytePool(const BytePool&) = delete;
  BytePool& operator=(const BytePool&) = delete;

  // Aligned to 64 bytes. Null when the system has no more.
  void* allocate(size_t bytes);
  // Outside the regions, for what a session keeps for its life (initialisers).
  void* reserve(size_t bytes);
  void free(void* pointer);

  size_t bytesInUse() const;
  // The most that was in use since the last `resetPeak`.
  size_t peakBytes() const;
  void resetPeak();
  // The most that was in use in regions since the last `beginRun`: what one graph needs.
  size_t runPeakBytes() const;
  void beginRun();
  // What sessions keep for their lives.
  size_t reservedBytes() const;
  // Gives all regions back if nothing is in use.
  void trim();

 private:
  struct Region {
    char* start;
    size_t bytes;
  };
  using FreeBlock = std::pair<size_t, char*>;

  bool grow(size_t bytes);
  void releaseRegions();
  void insertFree(char* start, size_t bytes);

  mutable std::mutex mutex_;
  std::vector<Region> regions_;
  // Free blocks by size, and by address for merging.
  std::set<FreeBlock> bySize_;
  std::map<char*, size_t> byAddress_;
  std::unordered_map<char*, size_t> used_;
  std::unordered_map<char*, size_t> reserved_;
  size_t inUse_ = 0;
  size_t reservedBytes_ = 0;
  size_t peak_ = 0;
  size_t runPeak_ = 0;
  size_t regionPeak_ = 0;
  // Size of the single region that replaces several.
  size_t wanted_ = 0;
};

}  // namespace galvatron
