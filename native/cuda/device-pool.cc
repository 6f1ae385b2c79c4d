#include "device-pool.h"

#include <algorithm>

namespace galvatron::cuda {
namespace {
constexpr size_t kAlign = 512;
size_t rounded(size_t bytes) { return (bytes + kAlign - 1) & ~(kAlign - 1); }
}  // namespace

DevicePool::~DevicePool() {
  for (const Region& region : regions_) cudaFree(region.start);
  for (const auto& entry : reserved_) cudaFree(entry.first);
}

void DevicePool::insertFree(char* start, size_t bytes) {
  auto next = byAddress_.lower_bound(start);
  // Neighbours may belong to another region that happens to touch this one: a block must not span regions, for each
  // is freed by itself.
  const auto region_start = [this](char* at) {
    return std::any_of(regions_.begin(), regions_.end(), [at](const Region& r) { return r.start == at; });
  };
  if (next != byAddress_.end() && start + bytes == next->first && !region_start(next->first)) {
    bytes += next->second;
    bySize_.erase({next->second, next->first});
    next = byAddress_.erase(next);
  }
  if (next != byAddress_.begin() && !region_start(start)) {
    const auto before = std::prev(next);
    if (before->first + before->second == start) {
      start = before->first;
      bytes += before->second;
      bySize_.erase({before->second, before->first});
      byAddress_.erase(before);
    }
  }
  byAddress_[start] = bytes;
  bySize_.insert({bytes, start});
}

bool DevicePool::grow(size_t bytes) {
  constexpr size_t kLeast = size_t{32} << 20;
  void* memory = nullptr;
  size_t size = std::max(bytes, kLeast);
  cudaSetDevice(device_);
  if (cudaMalloc(&memory, size) != cudaSuccess) {
    (void)cudaGetLastError();
    size = bytes;
    if (cudaMalloc(&memory, size) != cudaSuccess) {
      (void)cudaGetLastError();
      return false;
    }
  }
  regions_.push_back({static_cast<char*>(memory), size});
  insertFree(static_cast<char*>(memory), size);
  return true;
}

void* DevicePool::allocate(size_t bytes) {
  if (making_) return reserve(bytes);
  const std::lock_guard lock(mutex_);
  bytes = rounded(std::max<size_t>(bytes, 1));
  auto found = bySize_.lower_bound({bytes, nullptr});
  if (found == bySize_.end()) {
    if (!grow(bytes)) return nullptr;
    found = bySize_.lower_bound({bytes, nullptr});
  }
  const auto [size, start] = *found;
  bySize_.erase(found);
  byAddress_.erase(start);
  if (size > bytes) insertFree(start + bytes, size - bytes);
  used_[start] = bytes;
  inUse_ += bytes;
  peak_ = std::max(peak_, inUse_);
  return start;
}

void* DevicePool::reserve(size_t bytes) {
  const std::lock_guard lock(mutex_);
  void* memory = nullptr;
  cudaSetDevice(device_);
  if (cudaMalloc(&memory, rounded(std::max<size_t>(bytes, 1))) != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  reserved_[static_cast<char*>(memory)] = rounded(bytes);
  reservedBytes_ += rounded(bytes);
  return memory;
}

void DevicePool::free(void* pointer) {
  if (!pointer) return;
  const std::lock_guard lock(mutex_);
  char* start = static_cast<char*>(pointer);
  if (const auto found = used_.find(start); found != used_.end()) {
    inUse_ -= found->second;
    insertFree(start, found->second);
    used_.erase(found);
  } else if (const auto kept = reserved_.find(start); kept != reserved_.end()) {
    reservedBytes_ -= kept->second;
    reserved_.erase(kept);
    cudaFree(pointer);
  }
}

bool DevicePool::measure() {
  const std::lock_guard lock(mutex_);
  if (inUse_ > 0) return false;
  size_t total = 0;
  for (const Region& region : regions_) total += region.bytes;
  // Best fit in one region needs at most what the regions had together; the peak plus an eighth serves in practice,
  // and a request that does not fit grows it again.
  needed_ = std::max(needed_, std::min(total, rounded(peak_ + peak_ / 8)));
  clear();
  peak_ = 0;
  return true;
}

bool DevicePool::consolidate() {
  const std::lock_guard lock(mutex_);
  if (inUse_ > 0 || needed_ == 0) return false;
  clear();
  return grow(needed_);
}

void DevicePool::release() {
  const std::lock_guard lock(mutex_);
  peak_ = inUse_;
  needed_ = 0;
  if (inUse_ == 0) clear();
}

void DevicePool::clear() {
  for (const Region& region : regions_) cudaFree(region.start);
  regions_.clear();
  bySize_.clear();
  byAddress_.clear();
}

size_t DevicePool::bytesHeld() const {
  const std::lock_guard lock(mutex_);
  size_t total = reservedBytes_;
  for (const Region& region : regions_) total += region.bytes;
  return total;
}

size_t DevicePool::peakBytes() const {
  const std::lock_guard lock(mutex_);
  return peak_ + reservedBytes_;
}

}  // namespace galvatron::cuda
