// Manifest states for tests and fuzzers.
#pragma once

#include <cstdlib>
#include <string>

#include "tree/manifest_edit.h"
#include "tree/options.h"

namespace shale {

inline VersionEdit::Added SampleTable(uint64_t number, const std::string& first,
                                      const std::string& last, int level = 0, uint64_t order = 1) {
  VersionEdit::Added a;
  a.meta.number = number;
  a.meta.size = 1000 + number;
  a.meta.item_count = 10;
  a.meta.tombstone_count = 3;
  a.meta.weak_tombstone_count = 2;
  a.meta.block_count = 4;
  a.meta.first_key = first;
  a.meta.last_key = last;
  a.meta.lowest_seqno = 5;
  a.meta.highest_seqno = 77;
  a.meta.created_at_ms = 1700000000000;
  a.meta.codec = Codec::kLz4;
  a.place = {level, order};
  return a;
}

// A state with something of everything.
inline ManifestState RichState() {
  ManifestState s;
  s.next_file_number = 100;
  s.next_tree_id = 5;
  s.last_seqno = 1234;
  s.clean_shutdown = true;
  s.journals[20] = {20, 4096};
  s.journals[21] = {21, std::nullopt};
  TreeState& a = s.trees[1];
  a.id = 1;
  a.name = "places";
  a.options = TreeOptions().Encode();
  a.flushed_seqno = 900;
  a.cleared_seqno = 3;
  a.gc_seqno = 2;
  a.created_seqno = 1;
  a.tables[12] = SampleTable(12, "a", "f", 0, 7);
  a.tables[13] = SampleTable(13, "g", "k", 6, 2);
  a.tables[14] = SampleTable(14, "l", "p", 6, 2);
  a.tables[14].meta.last_key_bound = KeyBound::kExclusive;
  a.tables[14].meta.range_tombstone_count = 1;
  a.tables[14].meta.blobs = {{30, 4, 400}, {31, 1, 9}};
  a.tables[15] = SampleTable(15, "q", "", 6, 2);
  a.tables[15].meta.last_key_bound = KeyBound::kUnbounded;
  a.blob_files[30] = {5000, 50, 4000, 8000, 3, 300};
  a.blob_files[31] = {600, 5, 400, 800, 0, 0};
  TreeState& b = s.trees[4];
  b.id = 4;
  b.name = std::string("\xc3\xa9\0", 3);
  ManifestState applied;
  if (!ManifestEdit::SnapshotOf(s).ApplyTo(&applied).ok()) std::abort();
  return applied;
}

}  // namespace shale
