#pragma once

#include <napi.h>

#include <cstddef>
#include <string>

namespace galvatron {

// NativeMappedFile of src/device/addon.ts: a file mapped for reading. Its bytes reach JavaScript only as copies, so
// that no array can outlive the mapping, and only after the file's size was looked at again: a page beyond the end of
// a file that became shorter would end the process (SIGBUS).
class MappedFile : public Napi::ObjectWrap<MappedFile> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit MappedFile(const Napi::CallbackInfo& info);
  ~MappedFile() override;

 private:
  Napi::Value sizeBytes(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  void unmap();

  std::string path_;
  int file_ = -1;
  void* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace galvatron
