#pragma once

#include <cuda_runtime.h>

#include <map>
#include <vector>

#include "device.h"

namespace galvatron::cuda {

// Gathers of what no instruction of the step has written yet (ZeRO-3's parameters) without kernels: every rank copies the
// pieces from the arenas of the others, opened through CUDA IPC. Copy engines do that, so no multiprocessor is taken from
// the computing beside it, and no rank waits for another. Beside NCCL's kernels, which do both, GPT's forward takes 76.2 ms
// instead of 72.5 (1.42 B, four H100).
//
// Why a rank may read: its first collective of the step over the same ranks and stream stays NCCL's and only ends when
// all others have begun the step, so what they wrote in the step before is done. Why nobody overwrites too early: what a
// rank gathered it uses in backward before it gives its part of the same parameters' gradients to the reduction that
// the owner's update waits for. Both hold of the Programs as they are lowered
// (test/program/copied-gathers.test.ts). Nothing else writes states but loading them, when all ranks have ended their steps.
class PeerMemory {
 public:
  PeerMemory(int rank, Meeting& meeting) : rank_(rank), meeting_(meeting) {}
  ~PeerMemory() { unmap(); }
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // Together with all ranks: opens the arenas of those that the program gathers from. Where one of them cannot, NCCL
  // gathers among them as before.
  void open(const Program& program, void* arena);
  // Together with the same ranks, before any of them frees its arena: freed memory that another still has open would not
  // come back.
  void close();

  bool pulls(int instruction) const { return pulls_.count(instruction) > 0; }
  void pull(int instruction, const Tensor& input, const Tensor& output, cudaStream_t stream) const;

 private:
  struct Group {
    // Gathers, in the order of the program.
    std::vector<int> instructions;
    // Arenas by place in the group; null for this rank's own.
    std::vector<char*> arenas;
  };
  struct Pull {
    size_t place;
    // Where the others' pieces lie, by place in the group.
    std::vector<const char*> sources;
  };

  void find(const Program& program);
  bool map(const std::vector<int>& ranks, Group& group, void* arena);
  bool agree(const std::vector<int>& ranks, bool mine);
  void locate(const std::vector<int>& ranks, const Group& group, const Program& program);
  // By place in the group, what each of its ranks says.
  template <typename T>
  std::vector<T> tell(const std::vector<int>& ranks, const T& mine);
  size_t placeIn(const std::vector<int>& ranks) const;
  void unmap();

  const int rank_;
  Meeting& meeting_;
  // All ranks walk the groups that they share in the order of this map, so none waits for another in a circle.
  std::map<std::vector<int>, Group> groups_;
  std::map<int, Pull> pulls_;
};

}  // namespace galvatron::cuda
