#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "program.h"

namespace galvatron {

// Shared memory in which the ranks of one host meet.
//
//   header | process ids | bells [rank][channel] | lanes [writer][reader][channel] | rooms [rank][channel][2]
//
// A channel is one conversation of a rank: the collectives of one stream, or the transfers that leave on one stream.
// On each channel a rank owns two rooms, which it fills in turn. A message is a span of a room that one reader may
// read; its lane counts messages made ready and messages taken, and a room is filled again when all messages in it
// were taken. Who waits sleeps on the bell of his rank and channel, which is rung after every change that concerns him
// and by an abort. So nothing is ever mixed between streams, nobody spins, and nobody needs the other's address.

// The most messages that one reader finds in one room.
constexpr uint32_t kMessagesPerRoom = 4;

constexpr int kTransferChannels = kStreams;
constexpr int kMeetingChannel = 2 * kStreams;
constexpr int kChannels = 2 * kStreams + 1;

inline int collectiveChannel(Stream stream) { return static_cast<int>(stream); }
// Named after the stream of the sender.
inline int transferChannel(Stream sender) { return kTransferChannels + static_cast<int>(sender); }

void createShared(const std::string& name, int ranks, size_t bytesPerRank);
void unlinkShared(const std::string& name);

namespace shared_layout {
struct Header;
struct Process;
struct Bell;
struct Lane;
}  // namespace shared_layout

// A rank's door to the shared memory. With one rank there is none to share, and `name` may be empty.
class MeetingPlace : public Meeting {
 public:
  MeetingPlace(const std::string& name, int rank, int ranks, double deadlineMs);
  ~MeetingPlace() override;
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;

  int rank() const { return rank_; }

  // Bytes of one room of a channel other than kMeetingChannel.
  size_t roomBytes() const { return roomBytes_; }

  void broadcast(const std::vector<int>& group, void* bytes, size_t count) override;

  // Final, and seen by all ranks: the first reason stays.
  void abort(int rank, const std::string& reason);
  bool aborted() const override;
  std::string abortReason() const override;

  // --- Writing, by the one thread that speaks on this channel ---

  // The next room, when all its messages were taken; null when they were not.
  char* tryRoom(int channel);
  // The same, sleeping. @throws Failure WORKER_LOST on the deadline or a lost peer, Cancelled on an abort.
  char* room(int channel);
  // Hands `bytes` of the room got last to a reader.
  void publish(int channel, int reader, const char* from, size_t bytes);
  // Bytes handed to readers on the channels of one stream since the start, for that stream's thread.
  size_t publishedBytes(Stream stream) const;
  // Ends the filling of a room: the next call of room gives the other one.
  void closeRoom(int channel);

  // --- Reading ---

  // The next message of a writer on this channel, or null while there is none. It must have `bytes` bytes.
  const char* tryReceive(int channel, int writer, size_t bytes);
  const char* receive(int channel, int writer, size_t bytes);
  // The message got last from this writer may be overwritten.
  void release(int channel, int writer);

  // Sleeps until `ready` says true. `peer` is who is waited for (-1: several), for the error.
  void waitFor(int channel, int peer, const std::function<bool()>& ready);

 private:
  struct Outbox {
    uint32_t next = 0;
    size_t publishedBytes = 0;
    // Messages in each of the two rooms: reader, and the count its lane must have taken.
    struct Pending {
      int reader;
      uint32_t count;
    };
    std::vector<Pending> pending[2];
  };

  shared_layout::Bell& bell(int rank, int channel) const;
  shared_layout::Lane& lane(int writer, int reader, int channel) const;
  char* roomAt(int rank, int channel, int half) const;
  void ring(int rank, int channel) const;
  void throwIfAborted() const;
  std::string howLost(int peer) const;
  void requireShared() const;
  void touch(size_t offset, size_t bytes);

  const int rank_;
  const int ranks_;
  const double deadlineMs_;
  size_t roomBytes_ = 0;
  void* memory_ = nullptr;
  size_t memoryBytes_ = 0;
  shared_layout::Header* header_ = nullptr;
  shared_layout::Process* processes_ = nullptr;
  shared_layout::Bell* bells_ = nullptr;
  shared_layout::Lane* lanes_ = nullptr;
  char* meeting_ = nullptr;
  char* rooms_ = nullptr;
  // By page of the shared memory, whether this process has touched it.
  std::vector<std::atomic<bool>> touched_;
  Outbox outboxes_[kChannels];
  // With one rank there is no shared memory to keep these in.
  std::atomic<bool> abortedAlone_{false};
};

std::unique_ptr<Device> openHostDevice(const DeviceOptions& options, MeetingPlace& place);

}  // namespace galvatron
