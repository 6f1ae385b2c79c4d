#pragma once

// The part of ONNX Runtime's C interface that we use, declared by us. `OrtGetApiBase()->GetApi(version)` gives a table
// of function pointers that is only ever appended to, so the place of an entry never changes; GetApi answers null
// where the library is older than the version asked for. Places and signatures are facts of version 1.29.

#include <cstddef>
#include <cstdint>
#include <string>

namespace galvatron {

constexpr uint32_t kOrtApiVersion = 29;

struct OrtEnv;
struct OrtStatus;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtMemoryInfo;
struct OrtValue;
struct OrtIoBinding;
struct OrtThreadingOptions;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;
struct OrtCUDAProviderOptionsV2;
struct OrtCustomOpDomain;
struct OrtCustomOp;
struct OrtKernelContext;
struct OrtKernelInfo;
struct OrtKeyValuePairs;
struct OrtSyncStream;
struct OrtApi;

enum OrtLoggingLevel : int { kOrtVerbose, kOrtInfo, kOrtWarning, kOrtError, kOrtFatal };
enum OrtOptimizationLevel : int {
  kOrtDisableAll = 0,
  kOrtEnableBasic = 1,
  kOrtEnableExtended = 2,
  kOrtEnableLayout = 3,
  kOrtEnableAll = 99
};
enum OrtAllocatorType : int { kOrtInvalidAllocator = -1, kOrtDeviceAllocator = 0, kOrtArenaAllocator = 1 };
enum OrtMemoryType : int { kOrtMemoryCpuInput = -2, kOrtMemoryCpuOutput = -1, kOrtMemoryDefault = 0 };

// ONNX's TensorProto.DataType, which ONNX Runtime shares.
enum OrtElementType : int {
  kOrtFloat = 1,
  kOrtUint8 = 2,
  kOrtInt32 = 6,
  kOrtInt64 = 7,
  kOrtBool = 9,
  kOrtFloat16 = 10,
  kOrtDouble = 11,
  kOrtBfloat16 = 16
};

// An allocator that we give to ONNX Runtime. `version` says how far it reads.
struct OrtAllocator {
  uint32_t version;
  void* (*Alloc)(OrtAllocator* self, size_t size);
  void (*Free)(OrtAllocator* self, void* pointer);
  const OrtMemoryInfo* (*Info)(const OrtAllocator* self);
  void* (*Reserve)(OrtAllocator* self, size_t size);
  OrtStatus* (*GetStats)(const OrtAllocator* self, OrtKeyValuePairs** out);
  void* (*AllocOnStream)(OrtAllocator* self, size_t size, OrtSyncStream* stream);
  OrtStatus* (*Shrink)(OrtAllocator* self);
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// X(place in the table, name, result, parameters)
#define GALVATRON_ORT_FUNCTIONS(X)                                                                                     \
  X(0, CreateStatus, OrtStatus*, (int code, const char* message))                                                      \
  X(1, GetErrorCode, int, (const OrtStatus* status))                                                                   \
  X(2, GetErrorMessage, const char*, (const OrtStatus* status))                                                        \
  X(3, CreateEnv, OrtStatus*, (int level, const char* id, OrtEnv** out))                                               \
  X(6, DisableTelemetryEvents, OrtStatus*, (const OrtEnv* env))                                                        \
  X(8, CreateSessionFromArray, OrtStatus*,                                                                             \
    (const OrtEnv* env, const void* model, size_t bytes, const OrtSessionOptions* options, OrtSession** out))          \
  X(9, Run, OrtStatus*,                                                                                                \
    (OrtSession * session, const OrtRunOptions* options, const char* const* inputNames, const OrtValue* const* inputs, \
     size_t inputCount, const char* const* outputNames, size_t outputCount, OrtValue** outputs))                       \
  X(10, CreateSessionOptions, OrtStatus*, (OrtSessionOptions * *out))                                                  \
  X(13, SetSessionExecutionMode, OrtStatus*, (OrtSessionOptions * options, int mode))                                  \
  X(16, EnableMemPattern, OrtStatus*, (OrtSessionOptions * options))                                                   \
  X(17, DisableMemPattern, OrtStatus*, (OrtSessionOptions * options))                                                  \
  X(18, EnableCpuMemArena, OrtStatus*, (OrtSessionOptions * options))                                                  \
  X(19, DisableCpuMemArena, OrtStatus*, (OrtSessionOptions * options))                                                 \
  X(22, SetSessionLogSeverityLevel, OrtStatus*, (OrtSessionOptions * options, int level))                              \
  X(23, SetSessionGraphOptimizationLevel, OrtStatus*, (OrtSessionOptions * options, int level))                        \
  X(24, SetIntraOpNumThreads, OrtStatus*, (OrtSessionOptions * options, int threads))                                  \
  X(25, SetInterOpNumThreads, OrtStatus*, (OrtSessionOptions * options, int threads))                                  \
  X(26, CreateCustomOpDomain, OrtStatus*, (const char* domain, OrtCustomOpDomain** out))                               \
  X(27, CustomOpDomain_Add, OrtStatus*, (OrtCustomOpDomain * domain, const OrtCustomOp* op))                           \
  X(28, AddCustomOpDomain, OrtStatus*, (OrtSessionOptions * options, OrtCustomOpDomain * domain))                      \
  X(30, SessionGetInputCount, OrtStatus*, (const OrtSession* session, size_t* out))                                    \
  X(31, SessionGetOutputCount, OrtStatus*, (const OrtSession* session, size_t* out))                                   \
  X(33, SessionGetInputTypeInfo, OrtStatus*, (const OrtSession* session, size_t index, OrtTypeInfo** out))             \
  X(34, SessionGetOutputTypeInfo, OrtStatus*, (const OrtSession* session, size_t index, OrtTypeInfo** out))            \
  X(36, SessionGetInputName, OrtStatus*,                                                                               \
    (const OrtSession* session, size_t index, OrtAllocator* allocator, char** out))                                    \
  X(37, SessionGetOutputName, OrtStatus*,                                                                              \
    (const OrtSession* session, size_t index, OrtAllocator* allocator, char** out))                                    \
  X(39, CreateRunOptions, OrtStatus*, (OrtRunOptions * *out))                                                          \
  X(46, RunOptionsSetTerminate, OrtStatus*, (OrtRunOptions * options))                                                 \
  X(47, RunOptionsUnsetTerminate, OrtStatus*, (OrtRunOptions * options))                                               \
  X(49, CreateTensorWithDataAsOrtValue, OrtStatus*,                                                                    \
    (const OrtMemoryInfo* info, void* data, size_t bytes, const int64_t* shape, size_t axes, int type,                 \
     OrtValue** out))                                                                                                  \
  X(51, GetTensorMutableData, OrtStatus*, (OrtValue * value, void** out))                                              \
  X(55, CastTypeInfoToTensorInfo, OrtStatus*, (const OrtTypeInfo* info, const OrtTensorTypeAndShapeInfo** out))        \
  X(60, GetTensorElementType, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, int* out))                           \
  X(61, GetDimensionsCount, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, size_t* out))                          \
  X(62, GetDimensions, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t axes))                 \
  X(64, GetTensorShapeElementCount, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, size_t* out))                  \
  X(65, GetTensorTypeAndShape, OrtStatus*, (const OrtValue* value, OrtTensorTypeAndShapeInfo** out))                   \
  X(68, CreateMemoryInfo, OrtStatus*, (const char* name, int allocator, int id, int memory, OrtMemoryInfo** out))      \
  X(69, CreateCpuMemoryInfo, OrtStatus*, (int allocator, int memory, OrtMemoryInfo** out))                             \
  X(76, AllocatorFree, OrtStatus*, (OrtAllocator * allocator, void* pointer))                                          \
  X(78, GetAllocatorWithDefaultOptions, OrtStatus*, (OrtAllocator * *out))                                             \
  X(85, KernelInfoGetAttribute_float, OrtStatus*, (const OrtKernelInfo* info, const char* name, float* out))           \
  X(86, KernelInfoGetAttribute_int64, OrtStatus*, (const OrtKernelInfo* info, const char* name, int64_t* out))         \
  X(87, KernelInfoGetAttribute_string, OrtStatus*,                                                                     \
    (const OrtKernelInfo* info, const char* name, char* out, size_t* size))                                            \
  X(90, KernelContext_GetInput, OrtStatus*, (const OrtKernelContext* context, size_t index, const OrtValue** out))     \
  X(91, KernelContext_GetOutput, OrtStatus*,                                                                           \
    (OrtKernelContext * context, size_t index, const int64_t* shape, size_t axes, OrtValue** out))                     \
  X(92, ReleaseEnv, void, (OrtEnv * env))                                                                              \
  X(93, ReleaseStatus, void, (OrtStatus * status))                                                                     \
  X(94, ReleaseMemoryInfo, void, (OrtMemoryInfo * info))                                                               \
  X(95, ReleaseSession, void, (OrtSession * session))                                                                  \
  X(96, ReleaseValue, void, (OrtValue * value))                                                                        \
  X(97, ReleaseRunOptions, void, (OrtRunOptions * options))                                                            \
  X(98, ReleaseTypeInfo, void, (OrtTypeInfo * info))                                                                   \
  X(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo * info))                                       \
  X(100, ReleaseSessionOptions, void, (OrtSessionOptions * options))                                                   \
  X(101, ReleaseCustomOpDomain, void, (OrtCustomOpDomain * domain))                                                    \
  X(119, CreateEnvWithGlobalThreadPools, OrtStatus*,                                                                   \
    (int level, const char* id, const OrtThreadingOptions* options, OrtEnv** out))                                     \
  X(120, DisablePerSessionThreads, OrtStatus*, (OrtSessionOptions * options))                                          \
  X(121, CreateThreadingOptions, OrtStatus*, (OrtThreadingOptions * *out))                                             \
  X(122, ReleaseThreadingOptions, void, (OrtThreadingOptions * options))                                               \
  X(125, GetAvailableProviders, OrtStatus*, (char*** out, int* count))                                                 \
  X(126, ReleaseAvailableProviders, OrtStatus*, (char** providers, int count))                                         \
  X(130, AddSessionConfigEntry, OrtStatus*, (OrtSessionOptions * options, const char* key, const char* value))         \
  X(133, RunWithBinding, OrtStatus*,                                                                                   \
    (OrtSession * session, const OrtRunOptions* options, const OrtIoBinding* binding))                                 \
  X(134, CreateIoBinding, OrtStatus*, (OrtSession * session, OrtIoBinding * *out))                                     \
  X(135, ReleaseIoBinding, void, (OrtIoBinding * binding))                                                             \
  X(136, BindInput, OrtStatus*, (OrtIoBinding * binding, const char* name, const OrtValue* value))                     \
  X(137, BindOutput, OrtStatus*, (OrtIoBinding * binding, const char* name, const OrtValue* value))                    \
  X(147, SetGlobalIntraOpNumThreads, OrtStatus*, (OrtThreadingOptions * options, int threads))                         \
  X(148, SetGlobalInterOpNumThreads, OrtStatus*, (OrtThreadingOptions * options, int threads))                         \
  X(149, SetGlobalSpinControl, OrtStatus*, (OrtThreadingOptions * options, int allow))                                 \
  X(155, SetGlobalDenormalAsZero, OrtStatus*, (OrtThreadingOptions * options))                                         \
  X(165, AddRunConfigEntry, OrtStatus*, (OrtRunOptions * options, const char* key, const char* value))                 \
  X(176, RegisterAllocator, OrtStatus*, (OrtEnv * env, OrtAllocator * allocator))                                      \
  X(177, UnregisterAllocator, OrtStatus*, (OrtEnv * env, const OrtMemoryInfo* info))                                   \
  X(193, KernelContext_GetGPUComputeStream, OrtStatus*, (const OrtKernelContext* context, void** out))                 \
  X(202, SynchronizeBoundInputs, OrtStatus*, (OrtIoBinding * binding))                                                 \
  X(203, SynchronizeBoundOutputs, OrtStatus*, (OrtIoBinding * binding))                                                \
  X(204, SessionOptionsAppendExecutionProvider_CUDA_V2, OrtStatus*,                                                    \
    (OrtSessionOptions * options, const OrtCUDAProviderOptionsV2* cuda))                                               \
  X(205, CreateCUDAProviderOptions, OrtStatus*, (OrtCUDAProviderOptionsV2 * *out))                                     \
  X(206, UpdateCUDAProviderOptions, OrtStatus*,                                                                        \
    (OrtCUDAProviderOptionsV2 * options, const char* const* keys, const char* const* values, size_t count))            \
  X(208, ReleaseCUDAProviderOptions, void, (OrtCUDAProviderOptionsV2 * options))                                       \
  X(263, UpdateCUDAProviderOptionsWithValue, OrtStatus*,                                                               \
    (OrtCUDAProviderOptionsV2 * options, const char* key, void* value))                                                \
  X(273, SetDeterministicCompute, OrtStatus*, (OrtSessionOptions * options, bool value))

// The library, opened: `ort.CreateEnv(…)` (ort.cc, which a device library may compile in too). Opened once per path and
// never unloaded, for ONNX
// Runtime's threads and statics do not survive dlclose.
struct Ort {
#define GALVATRON_ORT_MEMBER(place, name, result, parameters) result(*name) parameters = nullptr;
  GALVATRON_ORT_FUNCTIONS(GALVATRON_ORT_MEMBER)
#undef GALVATRON_ORT_MEMBER

  std::string path;
  std::string version;
  // The table itself, as custom ops receive it.
  const OrtApi* table = nullptr;

  // Throws Failure(DEVICE_FAILED) with `doing` and the library's text, and releases the status.
  void check(OrtStatus* status, const std::string& doing) const;
};

// @throws Failure DEVICE_UNAVAILABLE: no such library, or older than kOrtApiVersion.
const Ort& openOrt(const std::string& path);

}  // namespace galvatron
