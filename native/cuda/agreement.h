#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "device.h"

namespace galvatron::cuda {

// By place in the group, what each of its ranks says.
template <typename T>
std::vector<T> tell(Meeting& meeting, const std::vector<int>& ranks, const T& mine) {
  std::vector<T> all(ranks.size(), mine);
  for (size_t sender = 0; sender < ranks.size(); sender++) {
    std::vector<int> order = ranks;
    std::swap(order[0], order[sender]);
    meeting.broadcast(order, &all[sender], sizeof(T));
  }
  return all;
}

// Whether all ranks of a group say yes; when it returns, all have spoken.
inline bool agree(Meeting& meeting, const std::vector<int>& ranks, bool mine) {
  const std::vector<char> all = tell(meeting, ranks, static_cast<char>(mine));
  return std::all_of(all.begin(), all.end(), [](char one) { return one != 0; });
}

}  // namespace galvatron::cuda
