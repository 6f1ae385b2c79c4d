#pragma once

#include <cuda_runtime.h>

#include <map>
#include <vector>

#include "device.h"
#include "stream-flags.h"

namespace galvatron::cuda {

// Collectives of ZeRO's states without kernels that wait: every rank copies pieces out of the arenas of the others, opened
// through CUDA IPC. Copy engines do that, so no multiprocessor is taken from the computing beside it, as NCCL's kernels take
// one for every block of theirs, the longer the more they wait for another rank.
//
// Gathers of what no instruction of the step has written yet (ZeRO's parameters) need no word between the ranks. Why a
// rank may read: its first collective of the step over the same ranks and stream only ends when
// all others have begun the step, so what they wrote in the step before is done. That one is NCCL's where nothing hides it;
// where a layer computes meanwhile, and behind an update in the same step, it is copied between flags by which all say that
// they have come so far, and later that they have read. Pieces of a vector that is gathered in
// place are read where their owner keeps them, which nobody else writes. Why nobody overwrites too early: what a
// rank gathered it uses in backward before it gives its part of the same parameters' gradients to the reduction that
// the owner's update waits for. Both hold of the Programs as they are lowered
// (test/program/copied-collectives.test.ts). Nothing else writes states but loading them, when all ranks have ended their steps.
//
// Reductions tell by flags when a rank's gradients are there to be read, and when they have been; a kernel adds the copied
// pieces up, in the order of the ranks, in float32. Those behind which at most an embedding's backward comes stay NCCL's:
// nothing computes beside them, and alone NCCL is faster than one copy engine.
class PeerMemory {
 public:
  PeerMemory(int rank, Meeting& meeting) : rank_(rank), meeting_(meeting) {}
  ~PeerMemory() { unmap(); }
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // Together with all ranks: opens the arenas of those that the program shares states with. Where one of them cannot, NCCL
  // does it all.
  void open(const Program& program, void* arena);
  // Together with the same ranks, before any of them frees its arena: freed memory that another still has open would not
  // come back.
  void close();

  bool copies(int instruction) const { return pulls_.count(instruction) > 0; }
  void gather(int instruction, const Tensor& input, const Tensor& output, cudaStream_t stream) const;
  // `type` as kernels name it.
  void reduceScatter(int instruction, int type, const Tensor& input, const Tensor& output, cudaStream_t stream) const;
  // Lets waits end that no rank will answer any more; from the host, again and again until the streams have drained.
  void release() const;

 private:
  struct Group {
    // In the order of the program.
    std::vector<int> gathers;
    std::vector<int> toldGathers;
    std::vector<int> reductions;
    // Arenas by place in the group; null for this rank's own.
    std::vector<char*> arenas;
    // Words of a rank for every other by its place, as `Word` counts them.
    StreamFlags flags;
  };
  // What another rank says: its gradients are there, it has read this rank's; the same of parameters.
  enum Word : size_t { gradientsThere, gradientsRead, parametersThere, parametersRead, kWords };
  struct Pull {
    const Group* group;
    size_t place;
    bool told;
    // Where the others' pieces lie, by place in the group.
    std::vector<const char*> sources;
  };

  void find(const Program& program);
  bool map(const std::vector<int>& ranks, Group& group, void* arena);
  void locate(const std::vector<int>& ranks, const Group& group, const std::vector<int>& instructions, bool told,
              const Program& program);
  // For each other rank of a pull in turn, the neighbour first: raises its word, or waits for its word to this rank.
  void raise(const Pull& it, Word word, cudaStream_t stream) const;
  void await(const Pull& it, Word word, cudaStream_t stream) const;
  void stage(const Program& program);
  size_t placeIn(const std::vector<int>& ranks) const;
  static void closeArenas(Group& group);
  void unmap();

  const int rank_;
  Meeting& meeting_;
  // All ranks walk the groups that they share in the order of this map, so none waits for another in a circle.
  std::map<std::vector<int>, Group> groups_;
  std::map<int, Pull> pulls_;
  char* staging_ = nullptr;
  size_t stagingBytes_ = 0;
};

}  // namespace galvatron::cuda
