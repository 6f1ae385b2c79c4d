#include "meeting-place.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "failure.h"
#include "futex.h"

namespace galvatron {

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

Places placesOf(size_t ranks, size_t bytesPerRank) {
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

using namespace shared_layout;

namespace {

constexpr size_t kSmallestRoom = kPage;

std::string systemError() { return std::strerror(errno); }

std::string pathOf(const std::string& name) {
  if (name.empty() || name.size() > 200 || name.find('/', name[0] == '/' ? 1 : 0) != std::string::npos) {
    throw argumentInvalid("\"" + name + "\" is no name for shared memory: one word of at most 200 characters is.");
  }
  return name[0] == '/' ? name : "/" + name;
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

double nowMs() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void createShared(const std::string& name, int ranks, size_t bytesPerRank) {
  if (ranks < 1 || ranks > 4096) {
    throw argumentInvalid("createShared: ranks must be between 1 and 4096, not " + std::to_string(ranks) + ".");
  }
  const Places at = placesOf(ranks, bytesPerRank);
  if (at.roomBytes < kSmallestRoom) {
    throw argumentInvalid("createShared: bytesPerRank must be at least " +
                          std::to_string(kSmallestRoom * 2 * kMeetingChannel) + ", not " +
                          std::to_string(bytesPerRank) + ".");
  }
  const std::string path = pathOf(name);
  const Descriptor file(shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) throw deviceUnavailable("Shared memory " + name + " cannot be created: " + systemError() + ".");
  // Reserved now: writing to a full file system later would kill the process.
  const int error = posix_fallocate(file.get(), 0, static_cast<off_t>(at.total));
  if (error != 0) {
    shm_unlink(path.c_str());
    throw deviceUnavailable("Shared memory " + name + " of " + std::to_string(at.total) +
                            " bytes cannot be had: " + std::strerror(error) +
                            ". Use fewer ranks, or give /dev/shm more room (in a container: --shm-size).");
  }
  void* memory = mmap(nullptr, sizeof(Header), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) {
    const std::string why = systemError();
    shm_unlink(path.c_str());
    throw deviceUnavailable("Shared memory " + name + " cannot be mapped: " + why + ".");
  }
  auto* header = static_cast<Header*>(memory);
  header->ranks = static_cast<uint32_t>(ranks);
  header->channels = kChannels;
  header->bytesPerRank = bytesPerRank;
  header->totalBytes = at.total;
  header->magic = kMagic;
  munmap(memory, sizeof(Header));
}

void unlinkShared(const std::string& name) {
  // Gone already is fine: both sides of an error may clean up.
  if (shm_unlink(pathOf(name).c_str()) != 0 && errno != ENOENT) {
    throw deviceUnavailable("Shared memory " + name + " cannot be removed: " + systemError() + ".");
  }
}

MeetingPlace::MeetingPlace(const std::string& name, int rank, int ranks, double deadlineMs)
    : rank_(rank), ranks_(ranks), deadlineMs_(deadlineMs) {
  if (ranks == 1 && name.empty()) return;
  const std::string path = pathOf(name);
  const Descriptor file(shm_open(path.c_str(), O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) throw deviceUnavailable("Shared memory " + name + " cannot be opened: " + systemError() + ".");
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || static_cast<size_t>(status.st_size) < sizeof(Header)) {
    throw deviceUnavailable("Shared memory " + name + " is too small to be ours.");
  }
  memoryBytes_ = static_cast<size_t>(status.st_size);
  memory_ = mmap(nullptr, memoryBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory_ == MAP_FAILED) {
    memory_ = nullptr;
    throw deviceUnavailable("Shared memory " + name + " cannot be mapped: " + systemError() + ".");
  }
  touched_ = std::vector<std::atomic<bool>>((memoryBytes_ + kPage - 1) / kPage);
  touch(0, sizeof(Header));
  header_ = static_cast<Header*>(memory_);
  const bool ours = header_->magic == kMagic && header_->channels == kChannels;
  if (!ours || header_->ranks != static_cast<uint32_t>(ranks) || header_->totalBytes != memoryBytes_) {
    const std::string found = ours ? std::to_string(header_->ranks) + " ranks" : "something else";
    munmap(memory_, memoryBytes_);
    throw argumentInvalid("Shared memory " + name + " was made for " + found + ", this worker is one of " +
                          std::to_string(ranks) + ".");
  }
  const Places at = placesOf(ranks, header_->bytesPerRank);
  char* base = static_cast<char*>(memory_);
  roomBytes_ = at.roomBytes;
  processes_ = reinterpret_cast<Process*>(base + at.processes);
  bells_ = reinterpret_cast<Bell*>(base + at.bells);
  lanes_ = reinterpret_cast<Lane*>(base + at.lanes);
  meeting_ = base + at.meeting;
  rooms_ = base + at.rooms;
  touch(0, at.lanes);
  constexpr size_t kLanes = kChannels * sizeof(Lane);
  touch(at.lanes + rank * ranks * kLanes, ranks * kLanes);
  for (int writer = 0; writer < ranks; writer++) touch(at.lanes + (writer * ranks + rank) * kLanes, kLanes);
  processes_[rank].id.store(static_cast<uint32_t>(getpid()));
}

MeetingPlace::~MeetingPlace() {
  if (memory_ == nullptr) return;
  processes_[rank_].id.store(kLeft);
  for (int peer = 0; peer < ranks_; peer++) {
    for (int channel = 0; channel < kChannels; channel++) ring(peer, channel);
  }
  munmap(memory_, memoryBytes_);
}

Bell& MeetingPlace::bell(int rank, int channel) const {
  return bells_[rank * kChannels + channel];
}

Lane& MeetingPlace::lane(int writer, int reader, int channel) const {
  return lanes_[(static_cast<size_t>(writer) * ranks_ + reader) * kChannels + channel];
}

char* MeetingPlace::roomAt(int rank, int channel, int half) const {
  if (channel == kMeetingChannel) return meeting_ + (static_cast<size_t>(rank) * 2 + half) * kMeetingBytes;
  return rooms_ + ((static_cast<size_t>(rank) * kMeetingChannel + channel) * 2 + half) * roomBytes_;
}

// Takes pages as writing them would. Where the first touch is a read, the system maps pages around it as well, as far as
// other ranks have filled them, and counts for this process what it never reads.
void MeetingPlace::touch(size_t offset, size_t bytes) {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE; before Linux 5.14 pages come as they are read
  const size_t end = (offset + bytes + kPage - 1) / kPage;
  for (size_t page = offset / kPage; page < end; page++) {
    if (touched_[page].load(std::memory_order_relaxed)) continue;
    const size_t first = page;
    while (page < end && !touched_[page].exchange(true, std::memory_order_relaxed)) page++;
    madvise(static_cast<char*>(memory_) + first * kPage, (page - first) * kPage, kPopulateWrite);
  }
}

void MeetingPlace::ring(int rank, int channel) const {
  Bell& of = bell(rank, channel);
  of.rings.fetch_add(1);
  if (of.sleepers.load() != 0) futexWakeAll(of.rings, true);
}

void MeetingPlace::requireShared() const {
  if (memory_ == nullptr) throw argumentInvalid("A worker that was opened without shared memory has no other ranks.");
}

bool MeetingPlace::aborted() const {
  return memory_ == nullptr ? abortedAlone_.load() : header_->abort.load() == 2;
}

std::string MeetingPlace::abortReason() const {
  if (memory_ == nullptr || header_->abort.load() != 2) return "";
  return std::string(header_->reason, strnlen(header_->reason, kReasonBytes));
}

void MeetingPlace::abort(int rank, const std::string& reason) {
  abortedAlone_.store(true);
  if (memory_ == nullptr) return;
  uint32_t none = 0;
  if (header_->abort.compare_exchange_strong(none, 1)) {
    const size_t length = std::min(reason.size(), kReasonBytes - 1);
    std::memcpy(header_->reason, reason.data(), length);
    header_->reason[length] = '\0';
    header_->abortRank = static_cast<uint32_t>(rank);
    header_->abort.store(2);
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
  const uint32_t id = processes_[peer].id.load();
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
  message.offset = static_cast<uint64_t>(from - static_cast<const char*>(memory_));
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
  if (message.bytes != bytes || message.offset + bytes > memoryBytes_) {
    throw deviceFailed("rank " + std::to_string(writer) + " sent " + std::to_string(message.bytes) + " bytes where " +
                       std::to_string(bytes) + " were expected: the programs of the two ranks do not fit together");
  }
  touch(message.offset, bytes);
  return static_cast<const char*>(memory_) + message.offset;
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
