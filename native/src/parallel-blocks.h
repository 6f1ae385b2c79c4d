#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace galvatron {

// Elements of a block: large enough that starting a thread does not show beside it.
constexpr size_t kBlockElements = size_t{1} << 19;

inline size_t blocksOf(size_t elements) { return (elements + kBlockElements - 1) / kBlockElements; }

// Calls `body(block, start, length)` for every block of `elements`, by up to `threads` threads. Blocks do not depend on
// the number of threads, so what is summed per block is the same with any of them.
template <typename Body>
void inBlocks(size_t elements, int threads, const Body& body) {
  const size_t blocks = blocksOf(elements);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t block = next.fetch_add(1); block < blocks; block = next.fetch_add(1)) {
      const size_t start = block * kBlockElements;
      body(block, start, std::min(kBlockElements, elements - start));
    }
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min<size_t>(static_cast<size_t>(threads), blocks); i++) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace galvatron
