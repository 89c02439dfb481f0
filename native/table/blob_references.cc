#include "table/blob_references.h"

#include "base/coding.h"

namespace shale {
namespace {

constexpr size_t kCountBytes = 4;
constexpr size_t kReferenceBytes = 24;

}  // namespace

void BlobReferenceCounter::Add(const BlobPointer& pointer, size_t key_size) {
  BlobReference& reference = by_file_[pointer.file_number];
  reference.number = pointer.file_number;
  reference.item_count++;
  reference.frame_bytes += pointer.FrameBytes(key_size);
}

BlobReferences BlobReferenceCounter::Sum() const {
  BlobReferences references;
  references.reserve(by_file_.size());
  for (const auto& [number, reference] : by_file_) references.push_back(reference);
  return references;
}

std::string EncodeBlobReferences(const BlobReferences& references) {
  std::string raw;
  raw.reserve(kCountBytes + references.size() * kReferenceBytes);
  PutU32(&raw, static_cast<uint32_t>(references.size()));
  for (const BlobReference& reference : references) {
    PutU64(&raw, reference.number);
    PutU64(&raw, reference.item_count);
    PutU64(&raw, reference.frame_bytes);
  }
  return raw;
}

Status DecodeBlobReferences(Slice raw, BlobReferences* references) {
  Reader reader(raw);
  const uint64_t count = reader.U32();
  if (count == 0 || raw.size() != kCountBytes + count * kReferenceBytes) {
    return Status::Corruption("the count of blob references is wrong");
  }
  references->clear();
  references->reserve(count);
  uint64_t last = 0;
  for (uint64_t i = 0; i < count; i++) {
    BlobReference reference;
    reference.number = reader.U64();
    reference.item_count = reader.U64();
    reference.frame_bytes = reader.U64();
    if (reference.number <= last || reference.number > kSeqnoMax || reference.item_count == 0) {
      return Status::Corruption("a blob reference is none");
    }
    last = reference.number;
    references->push_back(reference);
  }
  return Status::Ok();
}

}  // namespace shale
