#pragma once

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace galvatron {

// Sleeping on a 32-bit word. `shared`: the word lies in memory of several processes.

inline void futexWait(std::atomic<uint32_t>& word, uint32_t seen, double milliseconds, bool shared) {
  const auto nanoseconds = static_cast<int64_t>(milliseconds * 1e6);
  timespec time{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE, seen, &time,
          nullptr, 0);
}

inline void futexWakeAll(std::atomic<uint32_t>& word, bool shared) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
          nullptr, 0);
}

// No sleep lasts longer without looking around for an abort: the bound on waking late when a wake-up is missed.
constexpr double kLongestSleepMs = 50;

}  // namespace galvatron
