#include "mapped-file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "js-error.h"
#include "js-field.h"

namespace galvatron {

namespace {

Failure unreadable(const std::string& path, const std::string& why) {
  return Failure("FILE_UNREADABLE", "Cannot read " + path + ": " + why + ".", {{"path", path}});
}

}  // namespace

Napi::Function MappedFile::define(Napi::Env env) {
  return DefineClass(env, "MappedFile",
                     {InstanceAccessor<&MappedFile::sizeBytes>("sizeBytes"), InstanceMethod<&MappedFile::read>("read"),
                      InstanceMethod<&MappedFile::release>("release"), InstanceMethod<&MappedFile::close>("close")});
}

// new MappedFile(path)
MappedFile::MappedFile(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MappedFile>(info) {
  atTheDoor(info.Env(), [&]() {
    path_ = JsField(info[0], "MappedFile path", "ARGUMENT_INVALID").text();
    file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) throw unreadable(path_, std::strerror(errno));
    std::string failed;
    struct stat status {};
    if (fstat(file_, &status) != 0) {
      failed = std::strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
      failed = "it is no regular file";
    } else if (status.st_size > 0) {
      size_ = static_cast<size_t>(status.st_size);
      // No MAP_POPULATE, no reading ahead: a rank touches only the pages of its own samples.
      void* mapped = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
      if (mapped == MAP_FAILED) {
        failed = std::strerror(errno);
      } else {
        bytes_ = mapped;
        madvise(bytes_, size_, MADV_RANDOM);
      }
    }
    if (!failed.empty()) {
      unmap();
      throw unreadable(path_, failed);
    }
  });
}

MappedFile::~MappedFile() { unmap(); }

Napi::Value MappedFile::sizeBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(size_));
}

// read(start, target): copies target.length bytes from `start` on.
Napi::Value MappedFile::read(const Napi::CallbackInfo& info) {
  return atTheDoor(info.Env(), [&]() -> Napi::Value {
    const size_t start = JsField(info[0], "read start", "ARGUMENT_INVALID").size();
    if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
      throw argumentInvalid("read expected a Uint8Array.");
    }
    Napi::Uint8Array target = info[1].As<Napi::Uint8Array>();
    const size_t length = target.ByteLength();
    if (file_ < 0) throw unreadable(path_, "its mapping is closed");
    struct stat status {};
    if (fstat(file_, &status) != 0) throw unreadable(path_, std::strerror(errno));
    const size_t end = std::min(size_, static_cast<size_t>(status.st_size));
    if (length > end || start > end - length) {
      throw Failure("DATA_INVALID",
                    path_ + " became shorter while training read it: " + std::to_string(start + length) +
                        " bytes were expected, " + std::to_string(end) + " are there.",
                    {{"path", path_}});
    }
    if (length > 0) std::memcpy(target.Data(), static_cast<const char*>(bytes_) + start, length);
    return info.Env().Undefined();
  });
}

// Pages that were read leave this process again (the system keeps them cached): a rank's memory stays what its plan says.
Napi::Value MappedFile::release(const Napi::CallbackInfo& info) {
  if (bytes_ != nullptr) madvise(bytes_, size_, MADV_DONTNEED);
  return info.Env().Undefined();
}

Napi::Value MappedFile::close(const Napi::CallbackInfo& info) {
  unmap();
  return info.Env().Undefined();
}

void MappedFile::unmap() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
  if (file_ >= 0) ::close(file_);
  bytes_ = nullptr;
  file_ = -1;
}

}  // namespace galvatron
