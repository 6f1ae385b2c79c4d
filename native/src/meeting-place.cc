#include "meeting-place.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "failure.h"
#include "futex.h"

namespace galvatron {

using namespace shared_layout;

namespace {

double nowMs() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

MeetingPlace::MeetingPlace(const std::string& name, int rank, int ranks, double deadlineMs)
    : rank_(rank), ranks_(ranks), deadlineMs_(deadlineMs) {
  if (ranks == 1 && name.empty()) return;
  memory_.open(name, rank, ranks);
  process(rank).id.store(static_cast<uint32_t>(getpid()));
}

MeetingPlace::~MeetingPlace() {
  if (!memory_.isOpen()) return;
  process(rank_).id.store(kLeft);
  for (int peer = 0; peer < ranks_; peer++) {
    for (int channel = 0; channel < kChannels; channel++) ring(peer, channel);
  }
}

Process& MeetingPlace::process(int rank) const {
  return reinterpret_cast<Process*>(memory_.at(memory_.places().processes))[rank];
}

Bell& MeetingPlace::bell(int rank, int channel) const {
  return reinterpret_cast<Bell*>(memory_.at(memory_.places().bells))[rank * kChannels + channel];
}

Lane& MeetingPlace::lane(int writer, int reader, int channel) const {
  const size_t index = (static_cast<size_t>(writer) * ranks_ + reader) * kChannels + channel;
  return reinterpret_cast<Lane*>(memory_.at(memory_.places().lanes))[index];
}

char* MeetingPlace::roomAt(int rank, int channel, int half) const {
  const Places& places = memory_.places();
  if (channel == kMeetingChannel) {
    return memory_.at(places.meeting) + (static_cast<size_t>(rank) * 2 + half) * kMeetingBytes;
  }
  const size_t index = (static_cast<size_t>(rank) * kMeetingChannel + channel) * 2 + half;
  return memory_.at(places.rooms) + index * places.roomBytes;
}

void MeetingPlace::ring(int rank, int channel) const {
  Bell& of = bell(rank, channel);
  of.rings.fetch_add(1);
  if (of.sleepers.load() != 0) futexWakeAll(of.rings, true);
}

void MeetingPlace::requireShared() const {
  if (!memory_.isOpen()) throw argumentInvalid("A worker that was opened without shared memory has no other ranks.");
}

bool MeetingPlace::aborted() const {
  return memory_.isOpen() ? memory_.header().abort.load() == 2 : abortedAlone_.load();
}

std::string MeetingPlace::abortReason() const {
  if (!memory_.isOpen() || memory_.header().abort.load() != 2) return "";
  const char* reason = memory_.header().reason;
  return std::string(reason, strnlen(reason, kReasonBytes));
}

void MeetingPlace::abort(int rank, const std::string& reason) {
  abortedAlone_.store(true);
  if (!memory_.isOpen()) return;
  Header& header = memory_.header();
  uint32_t none = 0;
  if (header.abort.compare_exchange_strong(none, 1)) {
    const size_t length = std::min(reason.size(), kReasonBytes - 1);
    std::memcpy(header.reason, reason.data(), length);
    header.reason[length] = '\0';
    header.abortRank = static_cast<uint32_t>(rank);
    header.abort.store(2);
  }
  for (int peer = 0; peer < ranks_; peer++) {
    for (int channel = 0; channel < kChannels; channel++) ring(peer, channel);
  }
}

void MeetingPlace::throwIfAborted() const {
  if (!aborted()) return;
  const std::string reason = abortReason();
  throw Cancelled("stopped, because " + (reason.empty() ? std::string("the run was stopped") : reason));
}

// How a peer that will not answer any more was lost; empty while it may still answer.
std::string MeetingPlace::howLost(int peer) const {
  if (peer < 0) return "";
  const uint32_t id = process(peer).id.load();
  if (id == kLeft) return "waits for rank " + std::to_string(peer) + ", which has closed";
  if (id != 0 && kill(static_cast<pid_t>(id), 0) != 0 && errno == ESRCH) {
    return "waits for rank " + std::to_string(peer) + ", whose process " + std::to_string(id) + " is gone";
  }
  return "";
}

void MeetingPlace::waitFor(int channel, int peer, const std::function<bool()>& ready) {
  Bell& mine = bell(rank_, channel);
  const double start = nowMs();
  while (true) {
    const uint32_t seen = mine.rings.load();
    if (ready()) return;
    throwIfAborted();
    const double waited = nowMs() - start;
    if (deadlineMs_ > 0 && waited >= deadlineMs_) {
      throw Failure("WORKER_LOST",
                    "waited " + std::to_string(std::lround(waited)) + " ms for " +
                        (peer < 0 ? std::string("other ranks") : "rank " + std::to_string(peer)) +
                        ", longer than the deadline of " + std::to_string(std::lround(deadlineMs_)) + " ms",
                    peer < 0 ? Failure::Context{} : Failure::Context{{"peer", std::to_string(peer)}});
    }
    if (const std::string lost = waited > 1 ? howLost(peer) : ""; !lost.empty()) {
      // What it said before it left still counts.
      if (ready()) return;
      throw Failure("WORKER_LOST", lost, {{"peer", std::to_string(peer)}});
    }
    const double sleep = deadlineMs_ > 0 ? std::min(kLongestSleepMs, deadlineMs_ - waited) : kLongestSleepMs;
    mine.sleepers.fetch_add(1);
    futexWait(mine.rings, seen, std::max(sleep, 0.05), true);
    mine.sleepers.fetch_sub(1);
  }
}

char* MeetingPlace::tryRoom(int channel) {
  requireShared();
  Outbox& out = outboxes_[channel];
  const int half = out.next & 1;
  auto& pending = out.pending[half];
  while (!pending.empty()) {
    const auto [reader, count] = pending.back();
    if (static_cast<int32_t>(lane(rank_, reader, channel).taken.load(std::memory_order_acquire) - count) < 0) {
      return nullptr;
    }
    pending.pop_back();
  }
  return roomAt(rank_, channel, half);
}

char* MeetingPlace::room(int channel) {
  if (char* free = tryRoom(channel)) return free;
  const auto& pending = outboxes_[channel].pending[outboxes_[channel].next & 1];
  char* free = nullptr;
  while (free == nullptr) {
    const int reader = pending.back().reader;
    waitFor(channel, reader, [&] {
      free = tryRoom(channel);
      return free != nullptr || pending.back().reader != reader;
    });
  }
  return free;
}

void MeetingPlace::publish(int channel, int reader, const char* from, size_t bytes) {
  Outbox& out = outboxes_[channel];
  Lane& to = lane(rank_, reader, channel);
  const uint32_t count = to.ready.load(std::memory_order_relaxed) + 1;
  Message& message = to.messages[(count - 1) % kMessages];
  message.offset = memory_.offsetOf(from);
  message.bytes = bytes;
  out.pending[out.next & 1].push_back({reader, count});
  out.publishedBytes += bytes;
  to.ready.store(count, std::memory_order_release);
  ring(reader, channel);
}

size_t MeetingPlace::publishedBytes(Stream stream) const {
  return outboxes_[collectiveChannel(stream)].publishedBytes + outboxes_[transferChannel(stream)].publishedBytes;
}

void MeetingPlace::closeRoom(int channel) { outboxes_[channel].next++; }

const char* MeetingPlace::tryReceive(int channel, int writer, size_t bytes) {
  requireShared();
  Lane& from = lane(writer, rank_, channel);
  const uint32_t taken = from.taken.load(std::memory_order_relaxed);
  if (from.ready.load(std::memory_order_acquire) == taken) return nullptr;
  const Message& message = from.messages[taken % kMessages];
  if (message.bytes != bytes || message.offset + bytes > memory_.bytes()) {
    throw deviceFailed("rank " + std::to_string(writer) + " sent " + std::to_string(message.bytes) + " bytes where " +
                       std::to_string(bytes) + " were expected: the programs of the two ranks do not fit together");
  }
  memory_.touch(message.offset, bytes);
  return memory_.at(message.offset);
}

const char* MeetingPlace::receive(int channel, int writer, size_t bytes) {
  if (const char* message = tryReceive(channel, writer, bytes)) return message;
  const char* message = nullptr;
  waitFor(channel, writer, [&] {
    message = tryReceive(channel, writer, bytes);
    return message != nullptr;
  });
  return message;
}

void MeetingPlace::release(int channel, int writer) {
  lane(writer, rank_, channel).taken.fetch_add(1, std::memory_order_release);
  ring(writer, channel);
}

void MeetingPlace::broadcast(const std::vector<int>& group, void* bytes, size_t count) {
  if (count > kMeetingBytes) throw argumentInvalid("Meeting::broadcast carries at most 4096 bytes.");
  if (group.size() < 2) return;
  if (group[0] == rank_) {
    char* to = room(kMeetingChannel);
    std::memcpy(to, bytes, count);
    for (const int member : group) {
      if (member != rank_) publish(kMeetingChannel, member, to, count);
    }
    closeRoom(kMeetingChannel);
  } else {
    std::memcpy(bytes, receive(kMeetingChannel, group[0], count), count);
    release(kMeetingChannel, group[0]);
  }
}

}  // namespace galvatron
