#include "cuda-libraries.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <array>
#include <mutex>

namespace galvatron::cuda {
namespace {

struct Wanted {
  const char* name;
  const char* soname;
  const char* expected;
};
constexpr std::array<Wanted, 9> kWanted = {{{"CUDA runtime", "libcudart.so.13", "13.0"},
                                            {"NVRTC", "libnvrtc.so.13", "13.0"},
                                            {"cuBLASLt", "libcublasLt.so.13", "13.1"},
                                            {"cuBLAS", "libcublas.so.13", "13.1"},
                                            {"cuRAND", "libcurand.so.10", "10.4"},
                                            {"cuFFT", "libcufft.so.12", "12.0"},
                                            {"nvJitLink", "libnvJitLink.so.13", "13.0"},
                                            {"cuDNN", "libcudnn.so.9", "9.19"},
                                            {"NCCL", "libnccl.so.2", "2.28"}}};

std::vector<std::string> split(const char* list) {
  std::vector<std::string> parts;
  for (const char* at = list; at && *at;) {
    const char* end = strchr(at, ':');
    const std::string part = end ? std::string(at, end) : std::string(at);
    if (!part.empty()) parts.push_back(part);
    at = end ? end + 1 : nullptr;
  }
  return parts;
}

// Library folders of Python's nvidia packages: <site-packages>/nvidia/*/lib. Asked once.
const std::vector<std::string>& python_folders() {
  static const std::vector<std::string> folders = [] {
    std::vector<std::string> found;
    FILE* answer = popen(
        "python3 -c \"import nvidia,glob;print(chr(10).join(d for p in nvidia.__path__ for d in "
        "sorted(glob.glob(p+'/*/lib'))))\" 2>/dev/null",
        "r");
    if (!answer) return found;
    char line[4096];
    while (fgets(line, sizeof line, answer)) {
      line[strcspn(line, "\n")] = 0;
      if (*line) found.push_back(line);
    }
    pclose(answer);
    return found;
  }();
  return folders;
}

bool exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

OpenedLibrary open(const Wanted& wanted) {
  OpenedLibrary result;
  result.name = wanted.name;
  result.soname = wanted.soname;
  result.expected = wanted.expected;
  const auto try_path = [&](const std::string& path) {
    result.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    return result.handle != nullptr;
  };
  const auto try_folder = [&](const std::string& folder) {
    result.searched.push_back(folder);
    const std::string path = folder + "/" + wanted.soname;
    return exists(path) && try_path(path);
  };
  bool found = false;
  for (const std::string& folder : split(getenv("GALVATRON_CUDA_LIBRARIES"))) {
    if ((found = try_folder(folder))) break;
  }
  if (!found) {
    const char* paths = getenv("LD_LIBRARY_PATH");
    result.searched.push_back(std::string("system (LD_LIBRARY_PATH=") + (paths ? paths : "") + ")");
    found = try_path(wanted.soname);
  }
  if (!found) {
    for (const std::string& folder : python_folders()) {
      if ((found = try_folder(folder))) break;
    }
  }
  if (!found) found = try_folder("/usr/local/cuda/lib64");
  if (found) {
    struct link_map* map = nullptr;
    if (dlinfo(result.handle, RTLD_DI_LINKMAP, &map) == 0 && map) result.path = map->l_name;
  }
  return result;
}

std::string versionOf(Library which) {
  const auto numbers = [](int version, int major, int minor) {
    return std::to_string(version / major) + "." + std::to_string(version % major / minor);
  };
  switch (which) {
    case Library::cudart: {
      using Get = int (*)(int*);
      const auto get = reinterpret_cast<Get>(symbol(which, "cudaRuntimeGetVersion"));
      int version = 0;
      return get && get(&version) == 0 ? numbers(version, 1000, 10) : "";
    }
    case Library::nccl: {
      using Get = int (*)(int*);
      const auto get = reinterpret_cast<Get>(symbol(which, "ncclGetVersion"));
      int version = 0;
      return get && get(&version) == 0 ? numbers(version, 10000, 100) + "." + std::to_string(version % 100) : "";
    }
    case Library::cudnn: {
      using Get = size_t (*)();
      const auto get = reinterpret_cast<Get>(symbol(which, "cudnnGetVersion"));
      const int version = get ? static_cast<int>(get()) : 0;
      return version ? numbers(version, 10000, 100) + "." + std::to_string(version % 100) : "";
    }
    case Library::cublasLt: {
      using Get = size_t (*)();
      const auto get = reinterpret_cast<Get>(symbol(which, "cublasLtGetVersion"));
      const int version = get ? static_cast<int>(get()) : 0;
      return version ? numbers(version, 10000, 100) : "";
    }
    default:
      return "";
  }
}

}  // namespace

const OpenedLibrary& library(Library which) {
  static std::mutex mutex;
  static std::array<OpenedLibrary*, kWanted.size()> opened{};
  const std::lock_guard<std::mutex> lock(mutex);
  OpenedLibrary*& slot = opened[static_cast<size_t>(which)];
  if (!slot) slot = new OpenedLibrary(open(kWanted[static_cast<size_t>(which)]));
  return *slot;
}

void* symbol(Library which, const char* name) {
  void* handle = library(which).handle;
  return handle ? dlsym(handle, name) : nullptr;
}

std::vector<LibraryFound> findLibraries() {
  std::vector<LibraryFound> all;
  for (size_t i = 0; i < kWanted.size(); i++) {
    const auto which = static_cast<Library>(i);
    const OpenedLibrary& opened = library(which);
    all.push_back({std::string(opened.name) + " (" + opened.soname + ", " + opened.expected + " expected)",
                   opened.handle != nullptr, versionOf(which),
                   opened.handle ? std::vector<std::string>{opened.path} : opened.searched});
  }
  return all;
}

void openProviderDependencies() {
  for (const Library which : {Library::cudart, Library::nvrtc, Library::nvjitlink, Library::cublasLt, Library::cublas,
                              Library::curand, Library::cufft, Library::cudnn})
    library(which);
}

}  // namespace galvatron::cuda
