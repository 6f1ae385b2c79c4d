#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "guarded-mapping.h"

namespace galvatron {

// Memory for ONNX Runtime's intermediates, shared by all sessions of the process: best fit with merging, from the low
// end of one range of addresses that no machine fills. What is resident is the range up to the highest block that ever
// was in use, in whole large pages. Sessions run one after another, so that is what the largest of them needs, whichever
// ran before it: a graph that was measured alone needs the same in any Program.
class BytePool {
 public:
  BytePool() = default;
  ~BytePool();
  BytePool(const BytePool&) = delete;
  BytePool& operator=(const BytePool&) = delete;

  // Aligned to 64 bytes. Null when the system has no more.
  void* allocate(size_t bytes);
  // Outside the range, for what a session keeps for its life (initialisers).
  void* reserve(size_t bytes);
  void free(void* pointer);

  // The most of the range that was taken since the last `resetPeak`, gaps between blocks included, and what is reserved.
  size_t peakBytes() const;
  void resetPeak();
  // The most of the range that was taken since the last `beginRun`: what one graph needs.
  size_t runPeakBytes() const;
  void beginRun();
  // What sessions keep for their lives.
  size_t reservedBytes() const;
  // Gives all pages back if nothing is in use.
  void trim();

 private:
  using FreeBlock = std::pair<size_t, char*>;

  bool open();
  size_t endOf(const char* block, size_t bytes) const { return static_cast<size_t>(block - range_.start()) + bytes; }
  void insertFree(char* start, size_t bytes);
  // End of the highest block in use.
  size_t taken() const;

  mutable std::mutex mutex_;
  GuardedMapping range_;
  // Of the range, taken from the system so far.
  size_t filledBytes_ = 0;
  // Free blocks by size, and by address for merging.
  std::set<FreeBlock> bySize_;
  std::map<char*, size_t> byAddress_;
  std::map<char*, size_t> used_;
  std::unordered_map<char*, size_t> reserved_;
  size_t reservedBytes_ = 0;
  size_t peak_ = 0;
  size_t runPeak_ = 0;
};

}  // namespace galvatron
