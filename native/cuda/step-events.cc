#include "step-events.h"

#include "cuda-check.h"

namespace galvatron::cuda {
namespace {
void record(cudaEvent_t event, cudaStream_t stream, bool capturing) {
  check(capturing ? cudaEventRecordWithFlags(event, stream, cudaEventRecordExternal) : cudaEventRecord(event, stream),
        "recording an event");
}
}  // namespace

void StepEvents::open(size_t instructions, bool timed) {
  clear();
  timed_ = timed;
  check(cudaEventCreate(&stepBegin_), "event");
  check(cudaEventCreate(&stepEnd_), "event");
  order_.resize(instructions);
  for (cudaEvent_t& event : order_) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  if (!timed) return;
  starts_.resize(instructions);
  ends_.resize(instructions);
  for (auto* list : {&starts_, &ends_})
    for (cudaEvent_t& event : *list) check(cudaEventCreate(&event), "event");
}

void StepEvents::clear() {
  for (auto* list : {&starts_, &ends_, &order_}) {
    for (cudaEvent_t event : *list)
      if (event) cudaEventDestroy(event);
    list->clear();
  }
  for (cudaEvent_t* event : {&stepBegin_, &stepEnd_}) {
    if (*event) cudaEventDestroy(*event);
    *event = nullptr;
  }
}

void StepEvents::recordStart(size_t instruction, cudaStream_t stream, bool capturing) {
  if (timed_) record(starts_[instruction], stream, capturing);
}

void StepEvents::recordEnd(size_t instruction, cudaStream_t stream, bool capturing) {
  if (timed_) record(ends_[instruction], stream, capturing);
  check(cudaEventRecord(order_[instruction], stream), "recording an event");
}

void StepEvents::wait(size_t instruction, cudaStream_t stream) const {
  check(cudaStreamWaitEvent(stream, order_[instruction], 0), "waiting for an event");
}

void StepEvents::stepBegins(cudaStream_t stream, bool capturing) { record(stepBegin_, stream, capturing); }
void StepEvents::stepEnds(cudaStream_t stream, bool capturing) { record(stepEnd_, stream, capturing); }

double StepEvents::stepMs() const {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, stepBegin_, stepEnd_), "time of the step");
  return ms;
}

void StepEvents::read(std::vector<double>& times) const {
  if (!timed_) return;
  for (size_t i = 0; i < starts_.size(); i++) {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, stepBegin_, starts_[i]), "time of an instruction");
    times[2 * i] = ms;
    check(cudaEventElapsedTime(&ms, stepBegin_, ends_[i]), "time of an instruction");
    times[2 * i + 1] = ms;
  }
}

bool StepEvents::reached(size_t instruction) const {
  const cudaError_t state = cudaEventQuery(timed_ ? ends_[instruction] : order_[instruction]);
  if (state != cudaSuccess) (void)cudaGetLastError();
  return state != cudaErrorNotReady;
}

}  // namespace galvatron::cuda
