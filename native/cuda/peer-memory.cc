#include "peer-memory.h"

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include "cuda-check.h"

namespace galvatron::cuda {
namespace {

void eachWritten(const Instruction& it, const std::function<void(int)>& visit) {
  for (const int tensor : it.outputs) visit(tensor);
  for (const ExchangePiece& piece : it.receives) visit(piece.tensor);
  for (const int tensor : {it.output, it.op == Op::receive ? it.tensor : -1, it.parameter, it.moment1, it.moment2,
                           it.computeCopy}) {
    if (tensor >= 0) visit(tensor);
  }
}

bool wanted() {
  const char* value = getenv("GALVATRON_GATHER_COPIES");
  return !(value && *value == '0');
}

}  // namespace

size_t PeerMemory::placeIn(const std::vector<int>& ranks) const {
  return static_cast<size_t>(std::find(ranks.begin(), ranks.end(), rank_) - ranks.begin());
}

void PeerMemory::find(const Program& program) {
  std::vector<bool> written(program.buffers.size(), false);
  std::set<std::pair<int, Stream>> began;
  for (size_t i = 0; i < program.instructions.size(); i++) {
    const Instruction& it = program.instructions[i];
    if (it.group >= 0) {
      const std::vector<int>& ranks = program.groups[static_cast<size_t>(it.group)];
      const bool met = began.count({it.group, it.stream}) > 0;
      if (it.op == Op::allGather && it.stream == Stream::gather && met && ranks.size() > 1) {
        const int buffer = program.tensors[static_cast<size_t>(it.input)].buffer;
        if (program.buffers[static_cast<size_t>(buffer)].persistent && !written[static_cast<size_t>(buffer)]) {
          groups_[ranks].instructions.push_back(static_cast<int>(i));
        }
      }
      // Ends for nobody before all have come.
      if (it.op == Op::allReduce || it.op == Op::allGather || it.op == Op::reduceScatter) {
        began.insert({it.group, it.stream});
      }
    }
    eachWritten(it, [&](int tensor) {
      written[static_cast<size_t>(program.tensors[static_cast<size_t>(tensor)].buffer)] = true;
    });
  }
}

template <typename T>
std::vector<T> PeerMemory::tell(const std::vector<int>& ranks, const T& mine) {
  std::vector<T> all(ranks.size(), mine);
  for (size_t sender = 0; sender < ranks.size(); sender++) {
    std::vector<int> order = ranks;
    std::swap(order[0], order[sender]);
    meeting_.broadcast(order, &all[sender], sizeof(T));
  }
  return all;
}

bool PeerMemory::agree(const std::vector<int>& ranks, bool mine) {
  const std::vector<char> all = tell(ranks, static_cast<char>(mine));
  return std::all_of(all.begin(), all.end(), [](char one) { return one != 0; });
}

void PeerMemory::open(const Program& program, void* arena) {
  find(program);
  for (auto& [ranks, group] : groups_) {
    const bool mapped = agree(ranks, map(ranks, group, arena));
    if (mapped) locate(ranks, group, program);
  }
}

bool PeerMemory::map(const std::vector<int>& ranks, Group& group, void* arena) {
  struct Offer {
    cudaIpcMemHandle_t handle;
    size_t gathers;
    bool usable;
  };
  Offer mine{};
  mine.gathers = group.instructions.size();
  mine.usable = wanted() && cudaIpcGetMemHandle(&mine.handle, arena) == cudaSuccess;
  const std::vector<Offer> offers = tell(ranks, mine);
  (void)cudaGetLastError();
  group.arenas.assign(ranks.size(), nullptr);
  for (const Offer& offer : offers) {
    if (!offer.usable || offer.gathers != mine.gathers) return false;
  }
  for (size_t place = 0; place < ranks.size(); place++) {
    if (ranks[place] == rank_) continue;
    void* opened = nullptr;
    if (cudaIpcOpenMemHandle(&opened, offers[place].handle, cudaIpcMemLazyEnablePeerAccess) != cudaSuccess) {
      (void)cudaGetLastError();
      return false;
    }
    group.arenas[place] = static_cast<char*>(opened);
  }
  return true;
}

void PeerMemory::locate(const std::vector<int>& ranks, const Group& group, const Program& program) {
  // Arenas of ranks may be laid out differently, so each says where its pieces lie: as many at once as a broadcast carries.
  constexpr size_t kAtOnce = 256;
  using Offsets = std::array<size_t, kAtOnce>;
  const size_t place = placeIn(ranks);
  for (size_t from = 0; from < group.instructions.size(); from += kAtOnce) {
    const size_t count = std::min(kAtOnce, group.instructions.size() - from);
    const auto input = [&](size_t i) {
      const Instruction& it = program.instructions[static_cast<size_t>(group.instructions[from + i])];
      return program.tensors[static_cast<size_t>(it.input)].arenaOffset;
    };
    Offsets mine{};
    for (size_t i = 0; i < count; i++) mine[i] = input(i);
    const std::vector<Offsets> all = tell(ranks, mine);
    for (size_t i = 0; i < count; i++) {
      Pull pull{place, {}};
      for (size_t other = 0; other < ranks.size(); other++) {
        pull.sources.push_back(other == place ? nullptr : group.arenas[other] + all[other][i]);
      }
      pulls_.emplace(group.instructions[from + i], std::move(pull));
    }
  }
}

void PeerMemory::pull(int instruction, const Tensor& input, const Tensor& output, cudaStream_t stream) const {
  const Pull& it = pulls_.at(instruction);
  const size_t bytes = input.sizeBytes(), ranks = it.sources.size();
  char* to = reinterpret_cast<char*>(output.address);
  // Each begins with its neighbour, so that no rank is read by all at once; its own piece comes last.
  for (size_t step = 1; step <= ranks; step++) {
    const size_t place = (it.place + step) % ranks;
    const void* from = place == it.place ? reinterpret_cast<const void*>(input.address) : it.sources[place];
    check(cudaMemcpyAsync(to + place * bytes, from, bytes, cudaMemcpyDefault, stream), "copying a gathered piece");
  }
}

void PeerMemory::unmap() {
  for (auto& [ranks, group] : groups_) {
    for (char*& arena : group.arenas) {
      if (arena) (void)cudaIpcCloseMemHandle(arena);
      arena = nullptr;
    }
  }
  pulls_.clear();
}

void PeerMemory::close() {
  unmap();
  for (const auto& [ranks, group] : groups_) (void)agree(ranks, true);
  groups_.clear();
}

}  // namespace galvatron::cuda
