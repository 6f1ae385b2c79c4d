#include "program-from-js.h"

#include "js-field.h"

namespace galvatron {

namespace {

constexpr const char* kDtypes[] = {"float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool"};
constexpr const char* kStreamNames[] = {"compute",        "gather",      "reduce",      "activationsIn",
                                        "activationsOut", "gradientsIn", "gradientsOut"};
constexpr const char* kOps[] = {"run",      "allReduce", "allGather", "reduceScatter", "allToAll", "broadcast",
                                "send",     "receive",   "exchange",  "copyBlock",     "copy",     "accumulate",
                                "fill",     "sumSquares", "clip",     "adamw"};
constexpr const char* kReductions[] = {"sum", "max"};

Dtype dtypeOf(const JsField& field) { return static_cast<Dtype>(field.oneOf(kDtypes)); }

std::vector<GraphPort> portsOf(const JsField& field) {
  std::vector<GraphPort> ports(field.length());
  for (uint32_t i = 0; i < ports.size(); i++) {
    const JsField port = field.at(i);
    ports[i] = {port.at("name").text(), dtypeOf(port.at("dtype")), port.at("shape").sizes()};
  }
  return ports;
}

std::string labelOf(const JsField& label) {
  std::string text = label.at("phase").text();
  if (label.has("layer")) text += " layer " + std::to_string(label.at("layer").integer(-1, INT32_MAX));
  if (label.has("microBatch")) text += " micro-batch " + std::to_string(label.at("microBatch").index());
  return text;
}

std::vector<ExchangePiece> piecesOf(const JsField& field) {
  std::vector<ExchangePiece> pieces(field.length());
  for (uint32_t i = 0; i < pieces.size(); i++) {
    pieces[i] = {field.at(i).at("peer").index(), field.at(i).at("tensor").index()};
  }
  return pieces;
}

Instruction instructionOf(const JsField& field) {
  Instruction it;
  it.op = static_cast<Op>(field.at("op").oneOf(kOps));
  it.stream = static_cast<Stream>(field.at("stream").oneOf(kStreamNames));
  it.waits = field.at("waits").indices();
  const JsField label = field.at("label");
  it.label = labelOf(label);
  if (label.has("layer")) it.layer = static_cast<int>(label.at("layer").integer(-1, INT32_MAX));
  switch (it.op) {
    case Op::run:
      it.graph = field.at("graph").index();
      it.inputs = field.at("inputs").indices();
      it.outputs = field.at("outputs").indices();
      break;
    case Op::allReduce:
    case Op::allGather:
    case Op::reduceScatter:
    case Op::allToAll:
    case Op::broadcast:
      it.group = field.at("group").index();
      it.reduction = static_cast<Reduction>(field.at("reduction").oneOf(kReductions));
      it.input = field.at("input").index();
      it.output = field.at("output").index();
      it.accumulates = field.has("accumulates") && field.at("accumulates").boolean();
      break;
    case Op::send:
    case Op::receive:
      it.peer = field.at("peer").index();
      it.tensor = field.at("tensor").index();
      break;
    case Op::exchange:
      it.group = field.at("group").index();
      it.sends = piecesOf(field.at("sends"));
      it.receives = piecesOf(field.at("receives"));
      break;
    case Op::copyBlock:
      it.input = field.at("input").index();
      it.output = field.at("output").index();
      it.inputStart = field.at("inputStart").sizes();
      it.outputStart = field.at("outputStart").sizes();
      it.extent = field.at("extent").sizes();
      break;
    case Op::copy:
    case Op::accumulate:
      it.input = field.at("input").index();
      it.output = field.at("output").index();
      break;
    case Op::fill:
      it.value = field.at("value").number();
      it.output = field.at("output").index();
      break;
    case Op::sumSquares:
      it.inputs = field.at("inputs").indices();
      it.output = field.at("output").index();
      it.accumulates = field.has("accumulates") && field.at("accumulates").boolean();
      break;
    case Op::clip:
      it.sumSquares = field.at("sumSquares").index();
      it.hyper = field.at("hyper").index();
      it.output = field.at("output").index();
      break;
    case Op::adamw:
      it.parameter = field.at("parameter").index();
      it.gradient = field.at("gradient").index();
      it.moment1 = field.at("moment1").index();
      it.moment2 = field.at("moment2").index();
      it.decayElements = static_cast<int64_t>(field.at("decayElements").size());
      it.hyper = field.at("hyper").index();
      it.clip = field.at("clip").index();
      it.computeCopy = field.at("computeCopy").index();
      break;
  }
  return it;
}

}  // namespace

Program programFromJs(const Napi::Value& value) {
  const JsField root(value, "program", "PROGRAM_INVALID");
  Program program;
  program.rank = root.at("rank").index();
  program.arenaBytes = root.at("arenaBytes").size();

  const JsField graphs = root.at("graphs");
  for (uint32_t i = 0; i < graphs.length(); i++) {
    const JsField graph = graphs.at(i);
    program.graphs.push_back({graph.at("id").text(), graph.at("name").text(), portsOf(graph.at("inputs")),
                              portsOf(graph.at("outputs"))});
  }
  const JsField groups = root.at("groups");
  for (uint32_t i = 0; i < groups.length(); i++) program.groups.push_back(groups.at(i).indices());

  const JsField buffers = root.at("buffers");
  for (uint32_t i = 0; i < buffers.length(); i++) {
    const JsField buffer = buffers.at(i);
    program.buffers.push_back({buffer.at("name").text(), buffer.at("category").text(),
                               buffer.at("sizeBytes").size(), buffer.at("offsetBytes").size(),
                               buffer.at("persistent").boolean()});
  }
  const JsField tensors = root.at("tensors");
  for (uint32_t i = 0; i < tensors.length(); i++) {
    const JsField tensor = tensors.at(i);
    TensorView view;
    view.name = tensor.at("name").text();
    view.buffer = tensor.at("buffer").index();
    if (view.buffer < 0 || view.buffer >= static_cast<int>(program.buffers.size())) {
      tensor.at("buffer").refuse("there is no buffer " + std::to_string(view.buffer));
    }
    view.dtype = dtypeOf(tensor.at("dtype"));
    view.shape = tensor.at("shape").sizes();
    view.elements = 1;
    for (const int64_t extent : view.shape) {
      if (__builtin_mul_overflow(view.elements, static_cast<size_t>(extent), &view.elements)) {
        tensor.at("shape").refuse("too many elements");
      }
    }
    if (__builtin_mul_overflow(view.elements, dtypeBytes(view.dtype), &view.sizeBytes)) {
      tensor.at("shape").refuse("too many elements");
    }
    view.arenaOffset = program.buffers[view.buffer].offsetBytes + tensor.at("offsetBytes").size();
    program.tensors.push_back(std::move(view));
  }
  const JsField instructions = root.at("instructions");
  const uint32_t count = instructions.length();
  program.instructions.reserve(count);
  for (uint32_t i = 0; i < count; i++) program.instructions.push_back(instructionOf(instructions.at(i)));
  return program;
}

}  // namespace galvatron
