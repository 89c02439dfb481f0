#include "base/compression.h"

#include <lz4.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cstring>
#include <memory>
#include <new>

namespace shale {

namespace {

constexpr int kZstdLevel = 3;

struct FreeContext {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
};

ZSTD_CCtx* CompressContext() {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeContext> context;
  if (context == nullptr) context.reset(ZSTD_createCCtx());
  if (context == nullptr) throw std::bad_alloc();
  return context.get();
}

ZSTD_DCtx* DecompressContext() {
  thread_local std::unique_ptr<ZSTD_DCtx, FreeContext> context;
  if (context == nullptr) context.reset(ZSTD_createDCtx());
  if (context == nullptr) throw std::bad_alloc();
  return context.get();
}

// Both return the number of bytes written, 0 if they do not fit.
size_t CompressLz4(Slice input, char* dst, size_t room) {
  if (input.size() > LZ4_MAX_INPUT_SIZE) return 0;
  const int n = LZ4_compress_default(input.data(), dst, static_cast<int>(input.size()),
                                     static_cast<int>(room));
  return n > 0 ? static_cast<size_t>(n) : 0;
}

size_t CompressZstd(Slice input, char* dst, size_t room) {
  const size_t n =
      ZSTD_compressCCtx(CompressContext(), dst, room, input.data(), input.size(), kZstdLevel);
  if (ZSTD_isError(n) == 0) return n;
  if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation) throw std::bad_alloc();
  return 0;
}

bool DecompressLz4(Slice input, char* dst, size_t raw_size) {
  if (input.size() > LZ4_MAX_INPUT_SIZE || raw_size > LZ4_MAX_INPUT_SIZE) return false;
  const int n = LZ4_decompress_safe(input.data(), dst, static_cast<int>(input.size()),
                                    static_cast<int>(raw_size));
  return n >= 0 && static_cast<size_t>(n) == raw_size;
}

bool DecompressZstd(Slice input, char* dst, size_t raw_size) {
  // Straight into `dst`: the window size that a frame claims is never allocated.
  const size_t n =
      ZSTD_decompressDCtx(DecompressContext(), dst, raw_size, input.data(), input.size());
  if (ZSTD_isError(n) == 0) return n == raw_size;
  if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation) throw std::bad_alloc();
  return false;
}

}  // namespace

bool Compress(Codec codec, Slice input, std::string* out) {
  const size_t room = input.size() - (input.size() + 7) / 8;
  if (codec == Codec::kNone || room == 0) return false;
  // With no more room than what pays, the codecs give up early on what does not compress.
  out->resize(room);
  const size_t n = codec == Codec::kLz4 ? CompressLz4(input, out->data(), room)
                                        : CompressZstd(input, out->data(), room);
  out->resize(n);
  return n != 0;
}

Status Decompress(Codec codec, Slice input, char* dst, size_t raw_size) {
  char nothing = 0;
  if (raw_size == 0) dst = &nothing;
  bool ok = false;
  switch (codec) {
    case Codec::kNone:
      ok = input.size() == raw_size;
      if (ok && raw_size != 0) std::memcpy(dst, input.data(), raw_size);
      break;
    case Codec::kLz4:
      ok = DecompressLz4(input, dst, raw_size);
      break;
    case Codec::kZstd:
      ok = DecompressZstd(input, dst, raw_size);
      break;
  }
  if (ok) return {};
  return Status::Corruption("a compressed block does not decode to its stated size");
}

}  // namespace shale
