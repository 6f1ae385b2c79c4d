#include "shared-memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "failure.h"

namespace galvatron {

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

void SharedMemory::open(const std::string& name, int rank, int ranks) {
  const std::string path = pathOf(name);
  const Descriptor file(shm_open(path.c_str(), O_RDWR | O_CLOEXEC, 0600));
  if (file.get() < 0) throw deviceUnavailable("Shared memory " + name + " cannot be opened: " + systemError() + ".");
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || static_cast<size_t>(status.st_size) < sizeof(Header)) {
    throw deviceUnavailable("Shared memory " + name + " is too small to be ours.");
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) {
    throw deviceUnavailable("Shared memory " + name + " cannot be mapped: " + systemError() + ".");
  }
  start_ = static_cast<char*>(memory);
  bytes_ = bytes;
  touched_ = std::vector<std::atomic<bool>>((bytes + kPage - 1) / kPage);
  touch(0, sizeof(Header));
  const Header& found = header();
  const bool ours = found.magic == kMagic && found.channels == kChannels;
  if (!ours || found.ranks != static_cast<uint32_t>(ranks) || found.totalBytes != bytes) {
    const std::string made = ours ? std::to_string(found.ranks) + " ranks" : "something else";
    throw argumentInvalid("Shared memory " + name + " was made for " + made + ", this worker is one of " +
                          std::to_string(ranks) + ".");
  }
  places_ = placesOf(ranks, found.bytesPerRank);
  touch(0, places_.lanes);
  constexpr size_t kLanes = kChannels * sizeof(Lane);
  touch(places_.lanes + rank * ranks * kLanes, ranks * kLanes);
  for (int writer = 0; writer < ranks; writer++) touch(places_.lanes + (writer * ranks + rank) * kLanes, kLanes);
}

SharedMemory::~SharedMemory() {
  if (start_ != nullptr) munmap(start_, bytes_);
}

void SharedMemory::touch(size_t offset, size_t bytes) {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE; before Linux 5.14 pages come as they are read
  const size_t end = (offset + bytes + kPage - 1) / kPage;
  for (size_t page = offset / kPage; page < end; page++) {
    if (touched_[page].load(std::memory_order_relaxed)) continue;
    const size_t first = page;
    while (page < end && !touched_[page].exchange(true, std::memory_order_relaxed)) page++;
    madvise(at(first * kPage), (page - first) * kPage, kPopulateWrite);
  }
}

}  // namespace galvatron
