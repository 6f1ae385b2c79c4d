#include "peer-memory.h"

#include <stdlib.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <utility>

#include "agreement.h"
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

bool wanted(const char* name) {
  const char* value = getenv(name);
  return !(value && *value == '0');
}

// Smaller pieces are not worth the flags; larger ones are copied and added in parts. As in src/program/copied-collectives.ts.
constexpr size_t kLeastPieceBytes = 64 << 10;
constexpr size_t kMostPieceBytes = 32 << 20;

}  // namespace

size_t PeerMemory::placeIn(const std::vector<int>& ranks) const {
  return static_cast<size_t>(std::find(ranks.begin(), ranks.end(), rank_) - ranks.begin());
}

void PeerMemory::find(const Program& program) {
  std::vector<bool> written(program.buffers.size(), false);
  size_t lastLayer = 0;
  int firstLayer = -1;
  for (size_t i = 0; i < program.instructions.size(); i++) {
    const Instruction& it = program.instructions[i];
    if (it.op != Op::run || it.layer < 0) continue;
    lastLayer = i;
    if (firstLayer < 0) firstLayer = it.layer;
  }
  std::set<std::pair<int, Stream>> began;
  for (size_t i = 0; i < program.instructions.size(); i++) {
    const Instruction& it = program.instructions[i];
    if (it.group >= 0) {
      const std::vector<int>& ranks = program.groups[static_cast<size_t>(it.group)];
      const bool met = began.count({it.group, it.stream}) > 0;
      if (it.op == Op::allGather && it.stream == Stream::gather && ranks.size() > 1) {
        const size_t buffer = static_cast<size_t>(program.tensors[static_cast<size_t>(it.input)].buffer);
        const bool lasts = program.buffers[buffer].persistent, rests = lasts && !written[buffer];
        if (rests && met)
          groups_[ranks].gathers.push_back(static_cast<int>(i));
        else if (lasts && (!rests || it.layer > firstLayer))
          groups_[ranks].toldGathers.push_back(static_cast<int>(i));
      }
      if (it.op == Op::reduceScatter && it.stream == Stream::reduce && ranks.size() > 1 && i < lastLayer) {
        const TensorView& piece = program.tensors[static_cast<size_t>(it.output)];
        const bool adds = piece.dtype == Dtype::float32 || piece.dtype == Dtype::bfloat16;
        if (adds && piece.sizeBytes >= kLeastPieceBytes && it.reduction == Reduction::sum && !it.accumulates &&
            ranks.size() <= GV_MOST_PIECES) {
          groups_[ranks].reductions.push_back(static_cast<int>(i));
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

void PeerMemory::open(const Program& program, void* arena) {
  find(program);
  for (auto& [ranks, group] : groups_) {
    if (!agree(meeting_, ranks, map(ranks, group, arena))) {
      closeArenas(group);
      continue;
    }
    locate(ranks, group, group.gathers, false, program);
    const bool tells = !group.reductions.empty() || !group.toldGathers.empty();
    if (!tells || !group.flags.open(ranks, placeIn(ranks), kWords * ranks.size(), meeting_)) continue;
    locate(ranks, group, group.toldGathers, true, program);
    locate(ranks, group, group.reductions, true, program);
  }
  stage(program);
}

bool PeerMemory::map(const std::vector<int>& ranks, Group& group, void* arena) {
  struct Offer {
    cudaIpcMemHandle_t arena;
    size_t gathers, toldGathers, reductions;
    bool usable, gathering, reducing;
  };
  Offer mine{};
  mine.gathers = group.gathers.size();
  mine.toldGathers = group.toldGathers.size();
  mine.reductions = group.reductions.size();
  mine.usable = cudaIpcGetMemHandle(&mine.arena, arena) == cudaSuccess;
  mine.gathering = wanted("GALVATRON_GATHER_COPIES");
  mine.reducing = wanted("GALVATRON_REDUCE_COPIES");
  const std::vector<Offer> offers = tell(meeting_, ranks, mine);
  (void)cudaGetLastError();
  group.arenas.assign(ranks.size(), nullptr);
  for (const Offer& offer : offers) {
    if (!offer.usable) return false;
    if (!offer.gathering || offer.gathers != mine.gathers) group.gathers.clear();
    if (!offer.gathering || offer.toldGathers != mine.toldGathers) group.toldGathers.clear();
    if (!offer.reducing || offer.reductions != mine.reductions) group.reductions.clear();
  }
  if (group.gathers.empty() && group.toldGathers.empty() && group.reductions.empty()) return true;
  for (size_t place = 0; place < ranks.size(); place++) {
    if (ranks[place] == rank_) continue;
    void* opened = nullptr;
    if (cudaIpcOpenMemHandle(&opened, offers[place].arena, cudaIpcMemLazyEnablePeerAccess) != cudaSuccess) {
      (void)cudaGetLastError();
      return false;
    }
    group.arenas[place] = static_cast<char*>(opened);
  }
  return true;
}

void PeerMemory::stage(const Program& program) {
  for (const auto& [instruction, pull] : pulls_) {
    const Instruction& it = program.instructions[static_cast<size_t>(instruction)];
    if (it.op != Op::reduceScatter) continue;
    const size_t piece = program.tensors[static_cast<size_t>(it.output)].sizeBytes;
    stagingBytes_ = std::max(stagingBytes_, (pull.sources.size() - 1) * std::min(piece, kMostPieceBytes));
  }
  if (stagingBytes_ > 0) check(cudaMalloc(&staging_, stagingBytes_), "memory for the pieces of reductions");
}

void PeerMemory::locate(const std::vector<int>& ranks, const Group& group, const std::vector<int>& instructions,
                        bool told, const Program& program) {
  // Arenas of ranks may be laid out differently, so each says where its pieces lie: as many at once as a broadcast carries.
  constexpr size_t kAtOnce = 256;
  using Offsets = std::array<size_t, kAtOnce>;
  const size_t place = placeIn(ranks);
  for (size_t from = 0; from < instructions.size(); from += kAtOnce) {
    const size_t count = std::min(kAtOnce, instructions.size() - from);
    Offsets mine{};
    for (size_t i = 0; i < count; i++) {
      const Instruction& it = program.instructions[static_cast<size_t>(instructions[from + i])];
      mine[i] = program.tensors[static_cast<size_t>(it.input)].arenaOffset;
    }
    const std::vector<Offsets> all = tell(meeting_, ranks, mine);
    for (size_t i = 0; i < count; i++) {
      Pull pull{&group, place, told, {}};
      for (size_t other = 0; other < ranks.size(); other++) {
        pull.sources.push_back(other == place ? nullptr : group.arenas[other] + all[other][i]);
      }
      pulls_.emplace(instructions[from + i], std::move(pull));
    }
  }
}

void PeerMemory::gather(int instruction, const Tensor& input, const Tensor& output, cudaStream_t stream) const {
  const Pull& it = pulls_.at(instruction);
  const size_t bytes = input.sizeBytes(), ranks = it.sources.size();
  char* to = reinterpret_cast<char*>(output.address);
  if (it.told) raise(it, parametersThere, stream);
  if (it.told) await(it, parametersThere, stream);
  // Each begins with its neighbour, so that no rank is read by all at once; its own piece comes last.
  for (size_t step = 1; step <= ranks; step++) {
    const size_t place = (it.place + step) % ranks;
    const void* from = place == it.place ? reinterpret_cast<const void*>(input.address) : it.sources[place];
    if (from == to + place * bytes) continue;
    check(cudaMemcpyAsync(to + place * bytes, from, bytes, cudaMemcpyDefault, stream), "copying a gathered piece");
  }
  // A word may only be raised again when the other has lowered it.
  if (it.told) raise(it, parametersRead, stream);
  if (it.told) await(it, parametersRead, stream);
}

void PeerMemory::raise(const Pull& it, Word word, cudaStream_t stream) const {
  const size_t ranks = it.sources.size();
  for (size_t step = 1; step < ranks; step++)
    it.group->flags.raise(stream, (it.place + step) % ranks, word * ranks + it.place);
}

void PeerMemory::await(const Pull& it, Word word, cudaStream_t stream) const {
  const size_t ranks = it.sources.size();
  for (size_t step = 1; step < ranks; step++)
    it.group->flags.await(stream, word * ranks + (it.place + step) % ranks);
}

void PeerMemory::reduceScatter(int instruction, int type, const Tensor& input, const Tensor& output,
                               cudaStream_t stream) const {
  const Pull& it = pulls_.at(instruction);
  const size_t bytes = output.sizeBytes(), ranks = it.sources.size(), width = bytes / output.elements();
  const StreamFlags& flags = it.group->flags;
  const auto each = [&](auto visit) {
    for (size_t step = 1; step < ranks; step++) visit((it.place + step) % ranks, step - 1);
  };
  raise(it, gradientsThere, stream);
  for (size_t from = 0; from < bytes; from += kMostPieceBytes) {
    const size_t part = std::min(kMostPieceBytes, bytes - from), at = it.place * bytes + from;
    std::vector<const void*> pieces(ranks);
    pieces[it.place] = reinterpret_cast<const char*>(input.address) + at;
    each([&](size_t place, size_t slot) {
      if (from == 0) flags.await(stream, gradientsThere * ranks + place);
      char* to = staging_ + slot * part;
      pieces[place] = to;
      check(cudaMemcpyAsync(to, it.sources[place] + at, part, cudaMemcpyDefault, stream), "copying a piece to reduce");
      if (from + part == bytes) flags.raise(stream, place, gradientsRead * ranks + it.place);
    });
    checkKernel(gv_sum_pieces(stream, type, pieces.data(), static_cast<int>(ranks),
                              reinterpret_cast<char*>(output.address) + from, static_cast<int64_t>(part / width)),
                "sum of pieces");
  }
  // The caller may write where others still read until they have said so.
  await(it, gradientsRead, stream);
}

void PeerMemory::release() const {
  for (const auto& [ranks, group] : groups_) group.flags.raiseAll();
}

void PeerMemory::closeArenas(Group& group) {
  for (char*& arena : group.arenas) {
    if (arena) (void)cudaIpcCloseMemHandle(arena);
    arena = nullptr;
  }
}

void PeerMemory::unmap() {
  for (auto& [ranks, group] : groups_) {
    closeArenas(group);
    group.flags.close();
  }
  pulls_.clear();
  if (staging_) cudaFree(staging_);
  staging_ = nullptr;
  stagingBytes_ = 0;
}

void PeerMemory::close() {
  unmap();
  for (const auto& [ranks, group] : groups_) (void)agree(meeting_, ranks, true);
  groups_.clear();
}

}  // namespace galvatron::cuda
