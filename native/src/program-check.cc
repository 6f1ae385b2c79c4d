#include "program-check.h"

#include <algorithm>
#include <set>

#include "exact-squares.h"
#include "failure.h"

namespace galvatron {

namespace {

class Checker {
 public:
  Checker(const Program& program, int rank, int ranks) : program_(program), rank_(rank), ranks_(ranks) {}

  void check() {
    if (program_.rank != rank_) {
      throw programInvalid("program.rank: this worker is rank " + std::to_string(rank_) + ", the program is for rank " +
                           std::to_string(program_.rank) + ".");
    }
    for (size_t i = 0; i < program_.groups.size(); i++) checkGroup(i);
    for (size_t i = 0; i < program_.buffers.size(); i++) checkBuffer(i);
    for (size_t i = 0; i < program_.tensors.size(); i++) checkTensor(i);
    for (size_t i = 0; i < program_.instructions.size(); i++) checkInstruction(i);
  }

 private:
  [[noreturn]] static void refuse(const std::string& where, const std::string& what) {
    throw programInvalid(where + ": " + what);
  }

  void checkGroup(size_t index) {
    const auto& group = program_.groups[index];
    const std::string where = "program.groups[" + std::to_string(index) + "]";
    if (group.empty()) refuse(where, "an empty group.");
    const std::set<int> members(group.begin(), group.end());
    if (members.size() != group.size()) refuse(where, "a rank stands in it twice.");
    if (*members.begin() < 0 || *members.rbegin() >= ranks_) {
      refuse(where, "ranks go from 0 to " + std::to_string(ranks_ - 1) + ".");
    }
  }

  void checkBuffer(size_t index) {
    const BufferPlan& buffer = program_.buffers[index];
    if (buffer.offsetBytes > program_.arenaBytes || buffer.sizeBytes > program_.arenaBytes - buffer.offsetBytes) {
      refuse("program.buffers[" + std::to_string(index) + "] (" + buffer.name + ")",
             "bytes " + std::to_string(buffer.offsetBytes) + " to " +
                 std::to_string(buffer.offsetBytes + buffer.sizeBytes) + " lie outside the arena of " +
                 std::to_string(program_.arenaBytes) + " bytes.");
    }
  }

  void checkTensor(size_t index) {
    const TensorView& tensor = program_.tensors[index];
    const BufferPlan& buffer = program_.buffers[tensor.buffer];
    const size_t offset = tensor.arenaOffset - buffer.offsetBytes;
    const std::string where = "program.tensors[" + std::to_string(index) + "] (" + tensor.name + ")";
    if (offset > buffer.sizeBytes || tensor.sizeBytes > buffer.sizeBytes - offset) {
      refuse(where, "bytes " + std::to_string(offset) + " to " + std::to_string(offset + tensor.sizeBytes) +
                        " lie outside buffer " + buffer.name + " of " + std::to_string(buffer.sizeBytes) + " bytes.");
    }
    if (tensor.arenaOffset % dtypeBytes(tensor.dtype) != 0) {
      refuse(where, "it starts at byte " + std::to_string(tensor.arenaOffset) + " of the arena, which is no multiple of its " +
                        std::to_string(dtypeBytes(tensor.dtype)) + "-byte elements.");
    }
  }

  const TensorView& tensor(const std::string& where, int index) {
    if (index < 0 || index >= static_cast<int>(program_.tensors.size())) {
      refuse(where, std::to_string(index) + " is no tensor (0 to " +
                        std::to_string(static_cast<int>(program_.tensors.size()) - 1) + ").");
    }
    return program_.tensors[index];
  }

  static std::string told(const TensorView& view) {
    return view.name + " (" + dtypeName(view.dtype) + ", " + std::to_string(view.elements) + " elements)";
  }

  static void requireDtype(const std::string& where, const TensorView& view, Dtype dtype) {
    if (view.dtype != dtype) refuse(where, told(view) + " must be " + dtypeName(dtype) + ".");
  }

  static void requireElements(const std::string& where, const TensorView& view, size_t elements) {
    if (view.elements != elements) {
      refuse(where, told(view) + " must have " + std::to_string(elements) + " elements.");
    }
  }

  static void requireAtLeast(const std::string& where, const TensorView& view, size_t elements) {
    if (view.elements < elements) {
      refuse(where, told(view) + " must have at least " + std::to_string(elements) + " elements.");
    }
  }

  void requireReducible(const std::string& where, const TensorView& view) {
    if (view.dtype != Dtype::float32 && view.dtype != Dtype::float64 && view.dtype != Dtype::bfloat16) {
      refuse(where, "reductions are over float32, float64 or bfloat16, not " + told(view) + ".");
    }
  }

  void checkInstruction(size_t index) {
    const Instruction& it = program_.instructions[index];
    const std::string where = "program.instructions[" + std::to_string(index) + "] (" + opName(it.op) + ")";
    for (const int wait : it.waits) {
      if (wait < 0 || wait >= static_cast<int>(index)) {
        refuse(where, "waits for instruction " + std::to_string(wait) + ", which is not an earlier one.");
      }
    }
    switch (it.op) {
      case Op::run:
        return checkRun(where, it);
      case Op::allReduce:
      case Op::allGather:
      case Op::reduceScatter:
      case Op::allToAll:
      case Op::broadcast:
        return checkCollective(where, it);
      case Op::send:
      case Op::receive:
        tensor(where + ".tensor", it.tensor);
        if (it.peer < 0 || it.peer >= ranks_ || it.peer == rank_) {
          refuse(where, "peer " + std::to_string(it.peer) + " is no other rank of " + std::to_string(ranks_) + ".");
        }
        return;
      case Op::exchange:
        checkGroupIndex(where, it.group);
        checkPieces(where + ".sends", it.sends, program_.groups[it.group]);
        return checkPieces(where + ".receives", it.receives, program_.groups[it.group]);
      case Op::copyBlock:
        return checkBlock(where, it);
      case Op::copy:
      case Op::accumulate: {
        const TensorView& input = tensor(where + ".input", it.input);
        requireElements(where + ".output", tensor(where + ".output", it.output), input.elements);
        return;
      }
      case Op::fill:
        tensor(where + ".output", it.output);
        return;
      case Op::sumSquares:
        for (const int input : it.inputs) {
          const TensorView& view = tensor(where + ".inputs", input);
          if (view.dtype != Dtype::float32 && view.dtype != Dtype::bfloat16 && view.dtype != Dtype::float64) {
            refuse(where + ".inputs", told(view) + " must be float32, float64 or bfloat16.");
          }
        }
        requireDtype(where + ".output", tensor(where + ".output", it.output), Dtype::float64);
        requireAtLeast(where + ".output", tensor(where + ".output", it.output), 1);
        if (tensor(where + ".output", it.output).elements == kExactLimbs) {
          for (const int input : it.inputs) requireDtype(where + ".inputs", tensor(where, input), Dtype::float32);
        }
        return;
      case Op::clip:
        requireDtype(where + ".sumSquares", tensor(where + ".sumSquares", it.sumSquares), Dtype::float64);
        requireAtLeast(where + ".sumSquares", tensor(where + ".sumSquares", it.sumSquares), 1);
        checkHyper(where, it.hyper);
        checkClipFactor(where + ".output", it.output);
        return;
      case Op::adamw:
        return checkAdamw(where, it);
    }
  }

  void checkHyper(const std::string& where, int index) {
    const TensorView& hyper = tensor(where + ".hyper", index);
    requireDtype(where + ".hyper", hyper, Dtype::float32);
    requireAtLeast(where + ".hyper", hyper, kHyperFields);
  }

  void checkClipFactor(const std::string& where, int index) {
    const TensorView& clip = tensor(where, index);
    requireDtype(where, clip, Dtype::float32);
    requireAtLeast(where, clip, 2);
  }

  void checkRun(const std::string& where, const Instruction& it) {
    if (it.graph < 0 || it.graph >= static_cast<int>(program_.graphs.size())) {
      refuse(where + ".graph", std::to_string(it.graph) + " is no graph (0 to " +
                                   std::to_string(static_cast<int>(program_.graphs.size()) - 1) + ").");
    }
    const GraphRef& graph = program_.graphs[it.graph];
    checkPorts(where + ".inputs", graph, graph.inputs, it.inputs);
    checkPorts(where + ".outputs", graph, graph.outputs, it.outputs);
  }

  void checkPorts(const std::string& where, const GraphRef& graph, const std::vector<GraphPort>& ports,
                  const std::vector<int>& tensors) {
    if (ports.size() != tensors.size()) {
      refuse(where, "graph " + graph.name + " has " + std::to_string(ports.size()) + " ports here, " +
                        std::to_string(tensors.size()) + " tensors were given.");
    }
    for (size_t i = 0; i < ports.size(); i++) {
      const std::string place = where + "[" + std::to_string(i) + "] (" + ports[i].name + ")";
      const TensorView& view = tensor(place, tensors[i]);
      size_t elements = 1;
      for (const int64_t extent : ports[i].shape) elements *= static_cast<size_t>(extent);
      requireDtype(place, view, ports[i].dtype);
      requireElements(place, view, elements);
    }
  }

  void checkPieces(const std::string& where, const std::vector<ExchangePiece>& pieces, const std::vector<int>& group) {
    for (size_t i = 0; i < pieces.size(); i++) {
      const std::string place = where + "[" + std::to_string(i) + "]";
      tensor(place + ".tensor", pieces[i].tensor);
      if (pieces[i].peer == rank_ || std::find(group.begin(), group.end(), pieces[i].peer) == group.end()) {
        refuse(place, "peer " + std::to_string(pieces[i].peer) + " is no other rank of the group.");
      }
    }
  }

  void checkBlock(const std::string& where, const Instruction& it) {
    const TensorView& input = tensor(where + ".input", it.input);
    const TensorView& output = tensor(where + ".output", it.output);
    requireDtype(where + ".output", output, input.dtype);
    const size_t axes = it.extent.size();
    if (axes > kMaxBlockAxes || input.shape.size() != axes || output.shape.size() != axes ||
        it.inputStart.size() != axes || it.outputStart.size() != axes) {
      refuse(where, "tensors, starts and extent must have the same number of axes, at most " +
                        std::to_string(kMaxBlockAxes) + ".");
    }
    for (size_t axis = 0; axis < axes; axis++) {
      const auto inside = [&](int64_t start, int64_t length) {
        return start >= 0 && it.extent[axis] >= 0 && start <= length && it.extent[axis] <= length - start;
      };
      if (!inside(it.inputStart[axis], input.shape[axis]) || !inside(it.outputStart[axis], output.shape[axis])) {
        refuse(where, "the block reaches outside a tensor in axis " + std::to_string(axis) + ".");
      }
    }
  }

  void checkGroupIndex(const std::string& where, int index) {
    if (index < 0 || index >= static_cast<int>(program_.groups.size())) {
      refuse(where + ".group", std::to_string(index) + " is no group (0 to " +
                                   std::to_string(static_cast<int>(program_.groups.size()) - 1) + ").");
    }
    const auto& group = program_.groups[index];
    if (std::find(group.begin(), group.end(), rank_) == group.end()) {
      refuse(where + ".group", "rank " + std::to_string(rank_) + " does not belong to group " + std::to_string(index) +
                                   ".");
    }
  }

  void checkCollective(const std::string& where, const Instruction& it) {
    checkGroupIndex(where, it.group);
    const size_t members = program_.groups[it.group].size();
    const TensorView& input = tensor(where + ".input", it.input);
    const TensorView& output = tensor(where + ".output", it.output);
    requireDtype(where + ".output", output, input.dtype);
    if (it.accumulates) checkAccumulates(where, it, input, output);
    switch (it.op) {
      case Op::allReduce:
        requireReducible(where + ".input", input);
        requireElements(where + ".output", output, input.elements);
        return;
      case Op::allGather:
        requireElements(where + ".output", output, input.elements * members);
        return;
      case Op::reduceScatter:
        requireReducible(where + ".input", input);
        requireElements(where + ".input", input, output.elements * members);
        return;
      case Op::allToAll:
        requireElements(where + ".output", output, input.elements);
        if (input.elements % members != 0) {
          refuse(where + ".input", told(input) + " cannot be cut into " + std::to_string(members) + " equal pieces.");
        }
        return;
      default:
        requireElements(where + ".output", output, input.elements);
    }
  }

  void checkAccumulates(const std::string& where, const Instruction& it, const TensorView& input,
                        const TensorView& output) {
    if (it.op != Op::reduceScatter || it.reduction != Reduction::sum) {
      refuse(where + ".accumulates", "only a reduceScatter of sums adds to its output.");
    }
    // Its pieces leave one after another, while the first are being added.
    const size_t inputEnd = input.arenaOffset + input.sizeBytes;
    if (output.arenaOffset < inputEnd && input.arenaOffset < output.arenaOffset + output.sizeBytes) {
      refuse(where + ".accumulates", told(output) + " lies in the bytes of " + told(input) + ", which it would be added to.");
    }
  }

  void checkAdamw(const std::string& where, const Instruction& it) {
    const TensorView& parameter = tensor(where + ".parameter", it.parameter);
    requireDtype(where + ".parameter", parameter, Dtype::float32);
    const TensorView& gradient = tensor(where + ".gradient", it.gradient);
    if (gradient.dtype != Dtype::bfloat16) requireDtype(where + ".gradient", gradient, Dtype::float32);
    requireElements(where + ".gradient", gradient, parameter.elements);
    for (const auto& [name, index] : {std::pair{".moment1", it.moment1}, std::pair{".moment2", it.moment2}}) {
      requireDtype(where + name, tensor(where + name, index), Dtype::float32);
      requireElements(where + name, tensor(where + name, index), parameter.elements);
    }
    if (it.decayElements < 0 || it.decayElements > static_cast<int64_t>(parameter.elements)) {
      refuse(where + ".decayElements", std::to_string(it.decayElements) + " is not between 0 and " +
                                           std::to_string(parameter.elements) + ".");
    }
    checkHyper(where, it.hyper);
    checkClipFactor(where + ".clip", it.clip);
    if (it.computeCopy != -1) {
      const TensorView& copy = tensor(where + ".computeCopy", it.computeCopy);
      requireDtype(where + ".computeCopy", copy, Dtype::bfloat16);
      requireElements(where + ".computeCopy", copy, parameter.elements);
    }
  }

  const Program& program_;
  const int rank_;
  const int ranks_;
};

}  // namespace

void checkProgram(const Program& program, int rank, int ranks) { Checker(program, rank, ranks).check(); }

}  // namespace galvatron
