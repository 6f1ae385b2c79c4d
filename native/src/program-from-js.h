#pragma once

#include <napi.h>

#include <string>

#include "program.h"

namespace galvatron {

// Copies a Program of src/program/program.ts at the door. Wrong types and names are refused here; what the indices
// and sizes mean is checked by checkProgram.
// @throws Failure PROGRAM_INVALID, naming the place.
Program programFromJs(const Napi::Value& value);

}  // namespace galvatron
