// BlobReferences: which blob files the pointers of a table point into, and with how much of each.
// docs/format.md, section 8.6.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/blob_pointer.h"
#include "base/status.h"

namespace shale {

struct BlobReference {
  uint64_t number = 0;       // of the blob file
  uint64_t item_count = 0;   // pointers into it
  uint64_t frame_bytes = 0;  // whole frames that they name
};
inline bool operator==(const BlobReference& a, const BlobReference& b) {
  return a.number == b.number && a.item_count == b.item_count && a.frame_bytes == b.frame_bytes;
}

// By file number, strictly ascending.
using BlobReferences = std::vector<BlobReference>;

// Adds up the references of a table from its entries.
class BlobReferenceCounter {
 public:
  // An entry whose value is a sound pointer.
  void Add(const BlobPointer& pointer, size_t key_size);
  BlobReferences Sum() const;

 private:
  std::map<uint64_t, BlobReference> by_file_;
};

// The raw content of the block; requires at least one reference.
std::string EncodeBlobReferences(const BlobReferences& references);
Status DecodeBlobReferences(Slice raw, BlobReferences* references);

}  // namespace shale
