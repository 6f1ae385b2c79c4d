#pragma once

// How the shared memory of one host's ranks is laid out.
//
//   header | process ids | bells [rank][channel] | lanes [writer][reader][channel] | rooms [rank][channel][2]
//
// A channel is one conversation of a rank: the collectives of one stream, or the transfers that leave on one stream.
// src/program/message-memory.ts counts the pages of it that a Program touches.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "program.h"

namespace galvatron {

// The most messages that one reader finds in one room.
constexpr uint32_t kMessagesPerRoom = 4;

constexpr int kTransferChannels = kStreams;
constexpr int kMeetingChannel = 2 * kStreams;
constexpr int kChannels = 2 * kStreams + 1;

inline int collectiveChannel(Stream stream) { return static_cast<int>(stream); }
// Named after the stream of the sender.
inline int transferChannel(Stream sender) { return kTransferChannels + static_cast<int>(sender); }

namespace shared_layout {

constexpr uint64_t kMagic = 0x314e5254564c4147;  // "GALVTRN1"
constexpr size_t kReasonBytes = 2048;
constexpr size_t kPage = 4096;
constexpr size_t kMeetingBytes = kPage;
constexpr uint32_t kLeft = 0xffffffffu;

struct alignas(64) Header {
  uint64_t magic;
  uint32_t ranks;
  uint32_t channels;
  uint64_t bytesPerRank;
  uint64_t totalBytes;
  // 0 no, 1 the reason is being written, 2 aborted
  std::atomic<uint32_t> abort;
  uint32_t abortRank;
  char reason[kReasonBytes];
};

struct alignas(64) Process {
  std::atomic<uint32_t> id;
};

struct alignas(64) Bell {
  std::atomic<uint32_t> rings;
  std::atomic<uint32_t> sleepers;
};

struct Message {
  uint64_t offset;
  uint64_t bytes;
};

// A writer has at most two rooms in use, each with at most kMessagesPerRoom messages for one reader.
constexpr uint32_t kMessages = 2 * kMessagesPerRoom;

struct alignas(64) Lane {
  std::atomic<uint32_t> ready;
  // On a line of its own: the other side writes it.
  alignas(64) std::atomic<uint32_t> taken;
  alignas(64) Message messages[kMessages];
};

static_assert(std::atomic<uint32_t>::is_always_lock_free);

struct Places {
  size_t processes, bells, lanes, meeting, rooms, total, roomBytes;
};

inline Places placesOf(size_t ranks, size_t bytesPerRank) {
  Places at;
  at.processes = sizeof(Header);
  at.bells = at.processes + ranks * sizeof(Process);
  at.lanes = at.bells + ranks * kChannels * sizeof(Bell);
  at.meeting = (at.lanes + ranks * ranks * kChannels * sizeof(Lane) + kPage - 1) / kPage * kPage;
  at.rooms = at.meeting + ranks * 2 * kMeetingBytes;
  at.roomBytes = bytesPerRank / (2 * kMeetingChannel) / kPage * kPage;
  at.total = at.rooms + ranks * kMeetingChannel * 2 * at.roomBytes;
  return at;
}

}  // namespace shared_layout

}  // namespace galvatron
