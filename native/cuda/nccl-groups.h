#pragma once

#include <cuda_runtime.h>
#include <nccl.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "device.h"

namespace galvatron::cuda {

// NCCL's functions, from the library found at run time.
struct Nccl {
#define GALVATRON_NCCL_FUNCTIONS(X)                                                                             \
  X(ncclGetVersion) X(ncclGetUniqueId) X(ncclCommInitRankConfig) X(ncclCommAbort) X(ncclCommDestroy)            \
  X(ncclCommGetAsyncError) X(ncclGetErrorString) X(ncclGetLastError) X(ncclAllReduce) X(ncclAllGather)          \
  X(ncclReduceScatter) X(ncclBroadcast) X(ncclSend) X(ncclRecv) X(ncclGroupStart) X(ncclGroupEnd)
#define GALVATRON_NCCL_MEMBER(name) decltype(&::name) name = nullptr;
  GALVATRON_NCCL_FUNCTIONS(GALVATRON_NCCL_MEMBER)
#undef GALVATRON_NCCL_MEMBER
  // @throws Failure DEVICE_FAILED
  void check(ncclResult_t result, const std::string& doing) const;
};
// @throws Failure DEVICE_UNAVAILABLE where NCCL is not found.
const Nccl& nccl();

// The communicators of a program: one for each conversation, that is each (group, stream) pair and each direction of
// transfers between two ranks, so that nothing on one stream ever waits for something on another. Conversations are
// first named, then opened all at once in an order that all ranks share, which cannot deadlock.
class NcclGroups {
 public:
  NcclGroups(int rank, Meeting& meeting) : rank_(rank), meeting_(meeting) {}
  ~NcclGroups() { close(); }
  NcclGroups(const NcclGroups&) = delete;
  NcclGroups& operator=(const NcclGroups&) = delete;

  int nameGroup(const std::vector<int>& ranks, Stream stream);
  // The stream is the sender's.
  int nameTransfer(int sender, int receiver, Stream senderStream);
  // Tells of each communicator that it opened.
  void openAll(const std::function<void(const std::string&)>& opened);

  ncclComm_t at(int handle) const { return conversations_[static_cast<size_t>(handle)].communicator; }
  const std::vector<int>& ranksOf(int handle) const { return conversations_[static_cast<size_t>(handle)].ranks; }
  // Place of a rank in the conversation.
  int placeOf(int handle, int rank) const;

  // "" or what NCCL reports on any conversation.
  std::string asyncError() const;
  void abortAll(int device);
  void close();

 private:
  struct Conversation {
    // All ranks in the order of the group; the first names the communicator.
    std::vector<int> ranks;
    // Group: the stream; transfer: kStreams + the sender's stream. Together with the ranks, the same on every member.
    int channel;
    ncclComm_t communicator = nullptr;
  };
  int named(const std::vector<int>& ranks, int channel);

  const int rank_;
  Meeting& meeting_;
  std::vector<Conversation> conversations_;
};

}  // namespace galvatron::cuda
