#include "host-collectives.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace galvatron {

namespace {

// Below this an all-reduce takes one meeting instead of two: everybody reads everything.
constexpr size_t kSmallBytes = 16384;

// Pieces of a chunk start at whole cache lines.
constexpr size_t kLineElements = 64;

void copyBytes(char* to, const char* from, size_t bytes) {
  if (to != from && bytes != 0) std::memmove(to, from, bytes);
}

}  // namespace

HostCollectives::HostCollectives(MeetingPlace& place, std::vector<int> group, int channel)
    : place_(place), group_(std::move(group)), channel_(channel) {
  self_ = static_cast<int>(std::find(group_.begin(), group_.end(), place_.rank()) - group_.begin());
}

// Receives this rank's piece from everybody, reduces in the order of the group, behind what the output holds where it
// accumulates, and lets the pieces go.
void HostCollectives::reducePiece(Reduction reduction, bool accumulates, const char* own, Dtype dtype, char* output,
                                  size_t elements) {
  const size_t bytes = elements * dtypeBytes(dtype);
  const void* sources[4097];
  int count = 0;
  if (accumulates) sources[count++] = output;
  for (int member = 0; member < members(); member++) {
    sources[count++] = member == self_ ? own : place_.receive(channel_, group_[member], bytes);
  }
  kernels().reduce(dtype, reduction, sources, count, output, elements);
  for (int member = 0; member < members(); member++) {
    if (member != self_) place_.release(channel_, group_[member]);
  }
}

void HostCollectives::allReduceSmall(Reduction reduction, const HostSpan& input, const HostSpan& output) {
  char* room = place_.room(channel_);
  copyBytes(room, input.bytes, input.sizeBytes());
  for (int member = 0; member < members(); member++) {
    if (member != self_) place_.publish(channel_, group_[member], room, input.sizeBytes());
  }
  place_.closeRoom(channel_);
  reducePiece(reduction, false, input.bytes, input.dtype, output.bytes, input.elements);
}

void HostCollectives::allReduce(Reduction reduction, const HostSpan& input, const HostSpan& output) {
  const size_t width = dtypeBytes(input.dtype);
  const size_t count = static_cast<size_t>(members());
  if (count == 1) return copyBytes(output.bytes, input.bytes, input.sizeBytes());
  if (input.sizeBytes() <= std::min(kSmallBytes, place_.roomBytes())) {
    if (input.elements != 0) allReduceSmall(reduction, input, output);
    return;
  }
  // Two meetings a chunk: everybody reduces his piece of it, then everybody collects the pieces.
  const size_t roomElements = place_.roomBytes() / width / (count - 1);
  const size_t largestPiece = std::max<size_t>(roomElements / kLineElements * kLineElements, 1);
  for (size_t start = 0; start < input.elements; start += largestPiece * count) {
    const size_t chunk = std::min(input.elements - start, largestPiece * count);
    const size_t even = (chunk + count - 1) / count;
    const size_t piece = std::min(largestPiece, (even + kLineElements - 1) / kLineElements * kLineElements);
    const auto pieceStart = [&](int member) { return std::min(chunk, piece * member); };
    const auto pieceElements = [&](int member) { return pieceStart(member + 1) - pieceStart(member); };
    const auto pieceOffset = [&](int member) { return (start + pieceStart(member)) * width; };
    const size_t own = pieceElements(self_);

    char* room = place_.room(channel_);
    for (int step = 1; step < members(); step++) {
      const int member = (self_ + step) % members();
      const size_t bytes = pieceElements(member) * width;
      if (bytes == 0) continue;
      copyBytes(room, input.bytes + pieceOffset(member), bytes);
      place_.publish(channel_, group_[member], room, bytes);
      room += bytes;
    }
    place_.closeRoom(channel_);

    room = place_.room(channel_);
    if (own != 0) {
      char* reduced = output.bytes + pieceOffset(self_);
      reducePiece(reduction, false, input.bytes + pieceOffset(self_), input.dtype, reduced, own);
      copyBytes(room, reduced, own * width);
      for (int step = 1; step < members(); step++) {
        place_.publish(channel_, group_[(self_ + step) % members()], room, own * width);
      }
    }
    place_.closeRoom(channel_);
    for (int step = 1; step < members(); step++) {
      const int member = (self_ + step) % members();
      const size_t bytes = pieceElements(member) * width;
      if (bytes == 0) continue;
      copyBytes(output.bytes + pieceOffset(member), place_.receive(channel_, group_[member], bytes), bytes);
      place_.release(channel_, group_[member]);
    }
  }
}

void HostCollectives::allGather(const HostSpan& input, const HostSpan& output) {
  const size_t bytes = input.sizeBytes();
  if (members() > 1) {
    for (size_t start = 0; start < bytes; start += place_.roomBytes()) {
      const size_t length = std::min(place_.roomBytes(), bytes - start);
      char* room = place_.room(channel_);
      copyBytes(room, input.bytes + start, length);
      for (int step = 1; step < members(); step++) {
        place_.publish(channel_, group_[(self_ + step) % members()], room, length);
      }
      place_.closeRoom(channel_);
      for (int step = 1; step < members(); step++) {
        const int member = (self_ + step) % members();
        copyBytes(output.bytes + member * bytes + start, place_.receive(channel_, group_[member], length), length);
        place_.release(channel_, group_[member]);
      }
    }
  }
  copyBytes(output.bytes + self_ * bytes, input.bytes, bytes);
}

void HostCollectives::reduceScatter(Reduction reduction, bool accumulates, const HostSpan& input,
                                    const HostSpan& output) {
  const size_t width = dtypeBytes(input.dtype);
  if (members() == 1) {
    if (accumulates) return kernels().accumulate(input.dtype, input.bytes, output.dtype, output.bytes, input.elements);
    return copyBytes(output.bytes, input.bytes, input.sizeBytes());
  }
  const size_t chunk = std::max<size_t>(place_.roomBytes() / (members() - 1) / width, 1);
  for (size_t start = 0; start < output.elements; start += chunk) {
    const size_t elements = std::min(chunk, output.elements - start);
    const auto offset = [&](int member) { return (member * output.elements + start) * width; };
    char* room = place_.room(channel_);
    for (int step = 1; step < members(); step++) {
      const int member = (self_ + step) % members();
      copyBytes(room, input.bytes + offset(member), elements * width);
      place_.publish(channel_, group_[member], room, elements * width);
      room += elements * width;
    }
    place_.closeRoom(channel_);
    reducePiece(reduction, accumulates, input.bytes + offset(self_), input.dtype, output.bytes + start * width,
                elements);
  }
}

void HostCollectives::allToAll(const HostSpan& input, const HostSpan& output) {
  const size_t piece = input.sizeBytes() / members();
  if (members() == 1) return copyBytes(output.bytes, input.bytes, input.sizeBytes());
  const size_t chunk = place_.roomBytes() / (members() - 1);
  for (size_t start = 0; start < piece; start += chunk) {
    const size_t length = std::min(chunk, piece - start);
    char* room = place_.room(channel_);
    for (int step = 1; step < members(); step++) {
      const int member = (self_ + step) % members();
      copyBytes(room, input.bytes + member * piece + start, length);
      place_.publish(channel_, group_[member], room, length);
      room += length;
    }
    place_.closeRoom(channel_);
    copyBytes(output.bytes + self_ * piece + start, input.bytes + self_ * piece + start, length);
    for (int step = 1; step < members(); step++) {
      const int member = (self_ + step) % members();
      copyBytes(output.bytes + member * piece + start, place_.receive(channel_, group_[member], length), length);
      place_.release(channel_, group_[member]);
    }
  }
}

void HostCollectives::broadcast(const HostSpan& input, const HostSpan& output) {
  const size_t bytes = output.sizeBytes();
  for (size_t start = 0; start < bytes && members() > 1; start += place_.roomBytes()) {
    const size_t length = std::min(place_.roomBytes(), bytes - start);
    if (self_ == 0) {
      char* room = place_.room(channel_);
      copyBytes(room, input.bytes + start, length);
      for (int member = 1; member < members(); member++) place_.publish(channel_, group_[member], room, length);
      place_.closeRoom(channel_);
    } else {
      copyBytes(output.bytes + start, place_.receive(channel_, group_[0], length), length);
      place_.release(channel_, group_[0]);
    }
  }
  if (self_ == 0) copyBytes(output.bytes, input.bytes, bytes);
}

namespace {

// A piece of an exchange on its way, in chunks of a room.
struct Moving {
  HostPiece piece;
  size_t done = 0;
  size_t left() const { return piece.span.sizeBytes() - done; }
};

}  // namespace

// Uneven pieces leave no common rhythm: whatever can move moves, and only when nothing can does this rank sleep.
void HostCollectives::exchange(const std::vector<HostPiece>& sends, const std::vector<HostPiece>& receives) {
  std::vector<Moving> outgoing;
  std::vector<std::vector<Moving>> incoming(group_.size());
  for (const HostPiece& piece : sends) {
    if (piece.span.elements != 0) outgoing.push_back({piece});
  }
  for (const HostPiece& piece : receives) {
    const auto member = std::find(group_.begin(), group_.end(), piece.peer) - group_.begin();
    if (piece.span.elements != 0) incoming[member].push_back({piece});
  }
  std::vector<size_t> next(group_.size(), 0);
  size_t sent = 0;

  const auto sendSome = [&] {
    char* room = place_.tryRoom(channel_);
    if (room == nullptr) return false;
    size_t space = place_.roomBytes();
    for (uint32_t messages = 0; messages < kMessagesPerRoom && sent < outgoing.size() && space != 0; messages++) {
      Moving& moving = outgoing[sent];
      // Both sides cut a piece at whole rooms, so that the reader knows what comes.
      const size_t length = std::min(place_.roomBytes(), moving.left());
      if (length > space) break;
      copyBytes(room, moving.piece.span.bytes + moving.done, length);
      place_.publish(channel_, moving.piece.peer, room, length);
      room += length;
      space -= length;
      moving.done += length;
      if (moving.left() == 0) sent++;
    }
    place_.closeRoom(channel_);
    return true;
  };
  const auto receiveSome = [&](size_t member) {
    if (next[member] == incoming[member].size()) return false;
    Moving& moving = incoming[member][next[member]];
    const size_t length = std::min(place_.roomBytes(), moving.left());
    const char* message = place_.tryReceive(channel_, group_[member], length);
    if (message == nullptr) return false;
    copyBytes(moving.piece.span.bytes + moving.done, message, length);
    place_.release(channel_, group_[member]);
    moving.done += length;
    if (moving.left() == 0) next[member]++;
    return true;
  };
  const auto moveAll = [&] {
    bool moved = false;
    while (sent < outgoing.size() && sendSome()) moved = true;
    for (size_t member = 0; member < group_.size(); member++) {
      while (receiveSome(member)) moved = true;
    }
    return moved;
  };

  while (true) {
    const bool moved = moveAll();
    int waitedFor = sent < outgoing.size() ? outgoing[sent].piece.peer : -1;
    bool complete = sent == outgoing.size();
    for (size_t member = 0; member < group_.size(); member++) {
      if (next[member] == incoming[member].size()) continue;
      complete = false;
      waitedFor = group_[member];
    }
    if (complete) return;
    if (!moved) place_.waitFor(channel_, waitedFor, moveAll);
  }
}

void sendTransfer(MeetingPlace& place, int channel, int peer, const HostSpan& span) {
  const size_t bytes = span.sizeBytes();
  for (size_t start = 0; start < bytes; start += place.roomBytes()) {
    const size_t length = std::min(place.roomBytes(), bytes - start);
    char* room = place.room(channel);
    copyBytes(room, span.bytes + start, length);
    place.publish(channel, peer, room, length);
    place.closeRoom(channel);
  }
}

void receiveTransfer(MeetingPlace& place, int channel, int peer, const HostSpan& span) {
  const size_t bytes = span.sizeBytes();
  for (size_t start = 0; start < bytes; start += place.roomBytes()) {
    const size_t length = std::min(place.roomBytes(), bytes - start);
    copyBytes(span.bytes + start, place.receive(channel, peer, length), length);
    place.release(channel, peer);
  }
}

}  // namespace galvatron
