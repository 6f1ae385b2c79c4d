#pragma once

#include <memory>

#include "device.h"

namespace galvatron {

// libgalvatron_cuda.so, which stands beside the addon where it was built (npm run build:cuda).

// @throws Failure DEVICE_UNAVAILABLE: not built, or built for another version of the addon.
std::unique_ptr<Device> openCudaDevice(const DeviceOptions& options, Meeting& meeting);

// Adds what the library finds; says where it was looked for when it is not there.
void probeCuda(DeviceProbe& probe);

}  // namespace galvatron
