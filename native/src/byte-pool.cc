#include "byte-pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace galvatron {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kPage = 4096;

size_t roundUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

BytePool::~BytePool() {
  releaseRegions();
  for (const auto& [pointer, bytes] : reserved_) std::free(pointer);
}

void* BytePool::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  auto found = bySize_.lower_bound({size, nullptr});
  if (found == bySize_.end()) {
    if (!grow(size)) return nullptr;
    found = bySize_.lower_bound({size, nullptr});
  }
  const auto [blockBytes, start] = *found;
  bySize_.erase(found);
  byAddress_.erase(start);
  if (blockBytes > size) insertFree(start + size, blockBytes - size);
  used_[start] = size;
  inUse_ += size;
  peak_ = std::max(peak_, inUse_ + reservedBytes_);
  regionPeak_ = std::max(regionPeak_, inUse_);
  runPeak_ = std::max(runPeak_, inUse_);
  return start;
}

void* BytePool::reserve(size_t bytes) {
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  auto* pointer = static_cast<char*>(std::aligned_alloc(kAlignment, size));
  if (pointer == nullptr) return nullptr;
  const std::lock_guard lock(mutex_);
  reserved_[pointer] = size;
  reservedBytes_ += size;
  peak_ = std::max(peak_, inUse_ + reservedBytes_);
  return pointer;
}

void BytePool::free(void* pointer) {
  if (pointer == nullptr) return;
  const std::lock_guard lock(mutex_);
  auto* start = static_cast<char*>(pointer);
  if (const auto kept = reserved_.find(start); kept != reserved_.end()) {
    reservedBytes_ -= kept->second;
    reserved_.erase(kept);
    std::free(start);
    return;
  }
  const auto used = used_.find(start);
  if (used == used_.end()) return;
  size_t bytes = used->second;
  used_.erase(used);
  inUse_ -= bytes;

  // Regions may lie side by side; a block never joins two of them, because only whole regions are given back.
  auto after = byAddress_.lower_bound(start);
  const auto sameRegion = [&](char* first, char* second) {
    return std::any_of(regions_.begin(), regions_.end(), [&](const Region& region) {
      return first >= region.start && second >= region.start && first < region.start + region.bytes &&
             second < region.start + region.bytes;
    });
  };
  if (after != byAddress_.end() && start + bytes == after->first && sameRegion(start, after->first)) {
    bytes += after->second;
    bySize_.erase({after->second, after->first});
    after = byAddress_.erase(after);
  }
  if (after != byAddress_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == start && sameRegion(before->first, start)) {
      start = before->first;
      bytes += before->second;
      bySize_.erase({before->second, before->first});
      byAddress_.erase(before);
    }
  }
  insertFree(start, bytes);
  if (inUse_ == 0 && regions_.size() > 1) {
    size_t total = 0;
    for (const Region& region : regions_) total += region.bytes;
    const bool startedWhole = wanted_ != 0 && regions_.front().bytes == wanted_;
    wanted_ = startedWhole && wanted_ >= regionPeak_ ? total : std::max(wanted_, roundUp(regionPeak_, kPage));
    releaseRegions();
  }
}

bool BytePool::grow(size_t bytes) {
  size_t size = roundUp(bytes, kPage);
  if (regions_.empty()) size = std::max(size, wanted_);
  void* start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return false;
  madvise(start, size, MADV_HUGEPAGE);
  regions_.push_back({static_cast<char*>(start), size});
  insertFree(static_cast<char*>(start), size);
  return true;
}

void BytePool::releaseRegions() {
  for (const Region& region : regions_) munmap(region.start, region.bytes);
  regions_.clear();
  bySize_.clear();
  byAddress_.clear();
}

void BytePool::insertFree(char* start, size_t bytes) {
  bySize_.insert({bytes, start});
  byAddress_[start] = bytes;
}

size_t BytePool::bytesInUse() const {
  const std::lock_guard lock(mutex_);
  return inUse_ + reservedBytes_;
}

size_t BytePool::peakBytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

void BytePool::resetPeak() {
  const std::lock_guard lock(mutex_);
  peak_ = inUse_ + reservedBytes_;
}

size_t BytePool::runPeakBytes() const {
  const std::lock_guard lock(mutex_);
  return runPeak_;
}

size_t BytePool::reservedBytes() const {
  const std::lock_guard lock(mutex_);
  return reservedBytes_;
}

void BytePool::beginRun() {
  const std::lock_guard lock(mutex_);
  runPeak_ = inUse_;
}

void BytePool::trim() {
  const std::lock_guard lock(mutex_);
  if (inUse_ != 0) return;
  releaseRegions();
  wanted_ = 0;
  regionPeak_ = 0;
}

}  // namespace galvatron
