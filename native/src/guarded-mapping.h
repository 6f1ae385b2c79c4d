#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace galvatron {

// Memory of the system's in large pages, zeroed, between pages that nobody may touch: the system never joins it with a
// neighbour, so that its map of the process shows this one as a line of its own, and who writes past an end is stopped.
class GuardedMapping {
 public:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kLargePage = size_t{2} << 20;

  static size_t roundToPages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

  GuardedMapping() = default;
  ~GuardedMapping() {
    if (reserved_ != nullptr) munmap(reserved_, reservedBytes_);
  }
  GuardedMapping(const GuardedMapping&) = delete;
  GuardedMapping& operator=(const GuardedMapping&) = delete;

  // Once. False where the system has no such range of addresses.
  bool open(size_t bytes) {
    const size_t whole = roundToPages(bytes);
    const size_t reservedBytes = whole + kLargePage + 2 * kPage;
    void* reserved = mmap(nullptr, reservedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) return false;
    const auto first = reinterpret_cast<uintptr_t>(reserved) + kPage;
    auto* start = reinterpret_cast<char*>((first + kLargePage - 1) / kLargePage * kLargePage);
    if (mprotect(start, whole, PROT_READ | PROT_WRITE) != 0) {
      munmap(reserved, reservedBytes);
      return false;
    }
    madvise(start, whole, MADV_HUGEPAGE);
    reserved_ = reserved;
    reservedBytes_ = reservedBytes;
    start_ = start;
    bytes_ = whole;
    return true;
  }

  // Takes the pages from `from` to `to` now. What is in them stays.
  void fill(size_t from, size_t to) const {
    constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, from Linux 5.14 on
    if (from >= to || madvise(start_ + from, to - from, kPopulateWrite) == 0) return;
    for (size_t at = from; at < to; at += kPage) {
      auto* byte = reinterpret_cast<volatile char*>(start_ + at);
      *byte = *byte;
    }
  }

  // Zero again, and gone until they are touched.
  void giveBack(size_t from, size_t to) const {
    if (from < to) madvise(start_ + from, to - from, MADV_DONTNEED);
  }

  char* start() const { return start_; }
  // Whole pages.
  size_t bytes() const { return bytes_; }

 private:
  void* reserved_ = nullptr;
  size_t reservedBytes_ = 0;
  char* start_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace galvatron
