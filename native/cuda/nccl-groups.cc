#include "nccl-groups.h"

#include <stdlib.h>

#include <algorithm>
#include <numeric>
#include <thread>
#include <tuple>

#include "cuda-libraries.h"

namespace galvatron::cuda {

void Nccl::check(ncclResult_t result, const std::string& doing) const {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* last = ncclGetLastError ? ncclGetLastError(nullptr) : "";
  throw deviceFailed("NCCL: " + doing + ": " + ncclGetErrorString(result) + (last && *last ? std::string("; ") + last : ""));
}

const Nccl& nccl() {
  static const Nccl* loaded = [] {
    auto* table = new Nccl();
#define GALVATRON_NCCL_LOAD(name) table->name = reinterpret_cast<decltype(table->name)>(symbol(Library::nccl, #name));
    GALVATRON_NCCL_FUNCTIONS(GALVATRON_NCCL_LOAD)
#undef GALVATRON_NCCL_LOAD
    return table;
  }();
  if (!loaded->ncclCommInitRankConfig) {
    std::string places;
    for (const std::string& place : library(Library::nccl).searched) places += (places.empty() ? "" : ", ") + place;
    throw deviceUnavailable("NCCL (libnccl.so.2) was not found in: " + places + ". See docs/gpu.md.");
  }
  return *loaded;
}

int NcclGroups::named(const std::vector<int>& ranks, int channel) {
  for (size_t i = 0; i < conversations_.size(); i++) {
    if (conversations_[i].ranks == ranks && conversations_[i].channel == channel) return static_cast<int>(i);
  }
  conversations_.push_back({ranks, channel, nullptr});
  return static_cast<int>(conversations_.size()) - 1;
}

int NcclGroups::nameGroup(const std::vector<int>& ranks, Stream stream) {
  return named(ranks, static_cast<int>(stream));
}

int NcclGroups::nameTransfer(int sender, int receiver, Stream senderStream) {
  return named({sender, receiver}, kStreams + static_cast<int>(senderStream));
}

int NcclGroups::placeOf(int handle, int rank) const {
  const std::vector<int>& ranks = ranksOf(handle);
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

namespace {
// A transfer waits on its multiprocessors for the other side. With NCCL's own choice of blocks the computing beside it
// is a fifth slower (two H100, 1F1B of four micro-batches: 119.6 ms a step, 114.7 with four).
constexpr int kTransferBlocks = 4;
// Blocks of a conversation, or 0 where NCCL chooses.
int blocksOf(int channel) {
  const auto setting = [](const char* name, int otherwise) {
    const char* value = getenv(name);
    return value && *value ? atoi(value) : otherwise;
  };
  if (channel >= kStreams) return setting("GALVATRON_NCCL_TRANSFER_BLOCKS", kTransferBlocks);
  if (channel == static_cast<int>(Stream::reduce)) return setting("GALVATRON_NCCL_REDUCE_BLOCKS", 0);
  if (channel == static_cast<int>(Stream::gather)) return setting("GALVATRON_NCCL_GATHER_BLOCKS", 0);
  return 0;
}
}  // namespace

void NcclGroups::openAll(const std::function<void(const std::string&)>& opened) {
  std::vector<size_t> order(conversations_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // A total order that does not depend on the rank: two ranks meet their common conversations in the same sequence.
  std::sort(order.begin(), order.end(), [this](size_t a, size_t b) {
    return std::tie(conversations_[a].ranks, conversations_[a].channel) <
           std::tie(conversations_[b].ranks, conversations_[b].channel);
  });
  for (const size_t index : order) {
    Conversation& c = conversations_[index];
    if (c.communicator || c.ranks.size() < 2) continue;
    ncclUniqueId id{};
    if (c.ranks.front() == rank_) nccl().check(nccl().ncclGetUniqueId(&id), "unique id");
    meeting_.broadcast(c.ranks, &id, sizeof id);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    if (const int blocks = blocksOf(c.channel); blocks > 0) config.minCTAs = config.maxCTAs = blocks;
    nccl().check(nccl().ncclCommInitRankConfig(&c.communicator, static_cast<int>(c.ranks.size()), id,
                                               placeOf(static_cast<int>(index), rank_), &config),
                 "communicator of " + std::to_string(c.ranks.size()) + " ranks");
    opened("communicator of " + std::to_string(c.ranks.size()) + " ranks, channel " + std::to_string(c.channel));
  }
}

std::string NcclGroups::asyncError() const {
  for (const Conversation& c : conversations_) {
    if (!c.communicator) continue;
    ncclResult_t error = ncclSuccess;
    if (nccl().ncclCommGetAsyncError(c.communicator, &error) == ncclSuccess && error != ncclSuccess &&
        error != ncclInProgress) {
      std::string ranks;
      for (const int rank : c.ranks) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
      return std::string(nccl().ncclGetErrorString(error)) + " among ranks " + ranks;
    }
  }
  return "";
}

void NcclGroups::abortAll(int device) {
  // All at once: each waits for the device, on which the kernels of the others wait for ranks that will not come.
  std::vector<std::thread> aborting;
  for (Conversation& c : conversations_) {
    if (!c.communicator) continue;
    aborting.emplace_back([communicator = c.communicator, device] {
      (void)cudaSetDevice(device);
      nccl().ncclCommAbort(communicator);
    });
    c.communicator = nullptr;
  }
  for (std::thread& thread : aborting) thread.join();
}

void NcclGroups::close() {
  for (Conversation& c : conversations_) {
    if (c.communicator) nccl().ncclCommDestroy(c.communicator);
  }
  conversations_.clear();
}

}  // namespace galvatron::cuda
