#pragma once

#include <vector>

#include "kernels.h"
#include "meeting-place.h"

namespace galvatron {

// A tensor that the CPU can read.
struct HostSpan {
  char* bytes;
  Dtype dtype;
  size_t elements;

  size_t sizeBytes() const { return elements * dtypeBytes(dtype); }
};

struct HostPiece {
  int peer;
  HostSpan span;
};

// The collectives of one group on one channel, through the rooms of the meeting place, in chunks of a room. Sums are
// taken in the order of the group, so every member gets the same bits however the ranks happen to be scheduled, and
// chunking does not show. Input and output may be the same memory, or the output a piece of the input (reduceScatter),
// or the input the own piece of the output (allGather).
class HostCollectives {
 public:
  HostCollectives(MeetingPlace& place, std::vector<int> group, int channel);

  void allReduce(Reduction reduction, const HostSpan& input, const HostSpan& output);
  void allGather(const HostSpan& input, const HostSpan& output);
  // `accumulates`: output = ((output + first of the group) + second) + …; then output and input lie apart.
  void reduceScatter(Reduction reduction, bool accumulates, const HostSpan& input, const HostSpan& output);
  void allToAll(const HostSpan& input, const HostSpan& output);
  void broadcast(const HostSpan& input, const HostSpan& output);
  void exchange(const std::vector<HostPiece>& sends, const std::vector<HostPiece>& receives);

 private:
  int members() const { return static_cast<int>(group_.size()); }
  void allReduceSmall(Reduction reduction, const HostSpan& input, const HostSpan& output);
  void reducePiece(Reduction reduction, bool accumulates, const char* own, Dtype dtype, char* output, size_t elements);

  MeetingPlace& place_;
  const std::vector<int> group_;
  const int channel_;
  // Place in the group.
  int self_ = 0;
};

void sendTransfer(MeetingPlace& place, int channel, int peer, const HostSpan& span);
void receiveTransfer(MeetingPlace& place, int channel, int peer, const HostSpan& span);

}  // namespace galvatron
