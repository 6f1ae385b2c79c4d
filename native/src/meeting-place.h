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
#include "shared-memory.h"

namespace galvatron {

// The shared memory in which the ranks of one host meet (shared-layout.h), as one of them speaks in it.
//
// On each channel a rank owns two rooms, which it fills in turn. A message is a span of a room that one reader may
// read; its lane counts messages made ready and messages taken, and a room is filled again when all messages in it
// were taken. Who waits sleeps on the bell of his rank and channel, which is rung after every change that concerns him
// and by an abort. So nothing is ever mixed between streams, nobody spins, and nobody needs the other's address.
// With one rank there is no memory to share, and `name` may be empty.
class MeetingPlace : public Meeting {
 public:
  MeetingPlace(const std::string& name, int rank, int ranks, double deadlineMs);
  ~MeetingPlace() override;
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;

  int rank() const { return rank_; }

  // Bytes of one room of a channel other than kMeetingChannel.
  size_t roomBytes() const { return memory_.places().roomBytes; }

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

  shared_layout::Process& process(int rank) const;
  shared_layout::Bell& bell(int rank, int channel) const;
  shared_layout::Lane& lane(int writer, int reader, int channel) const;
  char* roomAt(int rank, int channel, int half) const;
  void ring(int rank, int channel) const;
  void throwIfAborted() const;
  std::string howLost(int peer) const;
  void requireShared() const;

  const int rank_;
  const int ranks_;
  const double deadlineMs_;
  SharedMemory memory_;
  Outbox outboxes_[kChannels];
  // With one rank there is no shared memory to keep these in.
  std::atomic<bool> abortedAlone_{false};
};

std::unique_ptr<Device> openHostDevice(const DeviceOptions& options, MeetingPlace& place);

}  // namespace galvatron
