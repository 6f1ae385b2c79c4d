#include "byte-pool.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace galvatron {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLeastRange = size_t{256} << 20;

size_t roundUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

BytePool::~BytePool() {
  for (const auto& [pointer, bytes] : reserved_) std::free(pointer);
}

bool BytePool::open() {
  // All memory of the machine, or as much as the process may address.
  size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  constexpr size_t kWhole = GuardedMapping::kLargePage;
  for (bytes = roundUp(bytes, kWhole); bytes >= kLeastRange; bytes = roundUp(bytes / 2, kWhole)) {
    if (!range_.open(bytes)) continue;
    insertFree(range_.start(), bytes);
    return true;
  }
  return false;
}

void* BytePool::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (range_.start() == nullptr && !open()) return nullptr;
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  const auto found = bySize_.lower_bound({size, nullptr});
  if (found == bySize_.end()) return nullptr;
  const auto [blockBytes, start] = *found;
  bySize_.erase(found);
  byAddress_.erase(start);
  if (blockBytes > size) insertFree(start + size, blockBytes - size);
  used_[start] = size;
  const size_t end = endOf(start, size);
  if (end > filledBytes_) {
    const size_t filled = roundUp(end, GuardedMapping::kLargePage);
    range_.fill(filledBytes_, filled);
    filledBytes_ = filled;
  }
  peak_ = std::max(peak_, end + reservedBytes_);
  runPeak_ = std::max(runPeak_, end);
  return start;
}

void* BytePool::reserve(size_t bytes) {
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  auto* pointer = static_cast<char*>(std::aligned_alloc(kAlignment, size));
  if (pointer == nullptr) return nullptr;
  const std::lock_guard lock(mutex_);
  reserved_[pointer] = size;
  reservedBytes_ += size;
  peak_ = std::max(peak_, taken() + reservedBytes_);
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

  auto after = byAddress_.lower_bound(start);
  if (after != byAddress_.end() && start + bytes == after->first) {
    bytes += after->second;
    bySize_.erase({after->second, after->first});
    after = byAddress_.erase(after);
  }
  if (after != byAddress_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == start) {
      start = before->first;
      bytes += before->second;
      bySize_.erase({before->second, before->first});
      byAddress_.erase(before);
    }
  }
  insertFree(start, bytes);
}

void BytePool::insertFree(char* start, size_t bytes) {
  bySize_.insert({bytes, start});
  byAddress_[start] = bytes;
}

size_t BytePool::taken() const {
  if (used_.empty()) return 0;
  const auto& [start, bytes] = *used_.rbegin();
  return endOf(start, bytes);
}

size_t BytePool::peakBytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

void BytePool::resetPeak() {
  const std::lock_guard lock(mutex_);
  peak_ = taken() + reservedBytes_;
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
  runPeak_ = taken();
}

void BytePool::trim() {
  const std::lock_guard lock(mutex_);
  if (!used_.empty()) return;
  range_.giveBack(0, filledBytes_);
  filledBytes_ = 0;
}

}  // namespace galvatron
