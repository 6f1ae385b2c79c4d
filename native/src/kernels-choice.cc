#include "kernels.h"

namespace galvatron {

namespace {

const Kernels& choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return kernelsAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return kernelsAvx2;
#endif
  return kernelsBaseline;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace galvatron
