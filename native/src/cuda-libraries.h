#pragma once

#include <string>
#include <vector>

#include "device.h"

// The CUDA libraries that we open at run time. Search order for each: the folders of GALVATRON_CUDA_LIBRARIES (colon
// separated), the system's own search (LD_LIBRARY_PATH, ld.so.cache), the `nvidia` packages of the Python on PATH,
// /usr/local/cuda/lib64. Nothing here needs a GPU.
namespace galvatron::cuda {

enum class Library { cudart, nvrtc, cublasLt, cublas, curand, cufft, nvjitlink, cudnn, nccl };

struct OpenedLibrary {
  const char* name = "";
  const char* soname = "";
  // Release this was built and measured with; others of the same soname usually work.
  const char* expected = "";
  void* handle = nullptr;
  std::string path;
  std::vector<std::string> searched;
};

// Opened on first use, never closed. A null handle: not found, `searched` says where it was looked for.
const OpenedLibrary& library(Library which);

// Address of a function, or null where the library or the function is missing.
void* symbol(Library which, const char* name);

// Every library with its version and place, or where it was looked for. Starts a Python once: some 50 ms.
std::vector<LibraryFound> findLibraries();

// Opens all that ONNX Runtime's CUDA provider is linked to, so that the loader finds them by soname.
void openProviderDependencies();

}  // namespace galvatron::cuda
