#pragma once

#include "program.h"

namespace galvatron {

// Refuses a program that would read or write outside its tensors: indices, sizes and element types, per op.
// Whether ranks fit together is verifyProgram's question, not this one's.
// @throws Failure PROGRAM_INVALID, naming the place.
void checkProgram(const Program& program, int rank, int ranks);

}  // namespace galvatron
