// Records of manifests: arbitrary bytes, and good edits that were edited. One that decodes says the
// same when it is written again; what does not fit a state leaves it as it is, and a state that it
// made can be stated and made again. The options of trees lie in them as well.
#include <string>

#include "../native/tree/manifest_samples.h"
#include "edits.h"
#include "tree/manifest_edit.h"
#include "tree/options.h"

namespace shale {
namespace {

std::string Snapshot(const ManifestState& state) {
  return ManifestEdit::SnapshotOf(state).Encode();
}

std::string GoodEdit(uint8_t choice) {
  if (choice % 3 == 0) return Snapshot(RichState());
  ManifestEdit edit;
  ManifestEdit::TreeChange change;
  change.tree_id = 1;
  if (choice % 3 == 1) {
    change.version.added = {SampleTable(101, "f", "j", 6, 2)};
    change.version.removed = {13};
    change.version.moved = {{12, {3, 1}}};
    change.flushed_seqno = 1000;
    change.added_blob_files = {{102, {700, 5, 500, 900, 1, 90}}};
    change.stale_blobs = {{30, 40, 3600}};
    edit.last_seqno = 1300;
    edit.next_file_number = 110;
  } else {
    change.cleared_seqno = 1200;
    change.gc_seqno = 1100;
    change.options = TreeOptions().Encode();
    TreeState created;
    created.id = 5;
    created.name = "later";
    created.options = TreeOptions().Encode();
    created.created_seqno = 1250;
    edit.created_trees = {created};
    edit.deleted_trees = {4};
    edit.journals = {{103, std::nullopt}, {21, 8192}};
    edit.removed_journals = {20};
    edit.clean_shutdown = false;
    edit.next_file_number = 110;
    edit.next_tree_id = 6;
  }
  edit.changes = {change};
  return edit.Encode();
}

void CheckOptions(Slice bytes) {
  TreeOptions options;
  const Status status = TreeOptions::Decode(bytes, &options);
  if (!status.ok()) return FuzzRequireCorruption(status);
  const std::string encoded = options.Encode();
  TreeOptions again;
  FuzzRequire(TreeOptions::Decode(encoded, &again).ok());
  FuzzRequire(again.Encode() == encoded);
}

void CheckApplied(const ManifestEdit& edit, ManifestState state) {
  const std::string before = Snapshot(state);
  const Status applied = edit.ApplyTo(&state);
  const std::string after = Snapshot(state);
  if (!applied.ok()) {
    FuzzRequireCorruption(applied);
    FuzzRequire(after == before);
    return;
  }
  ManifestEdit snapshot;
  ManifestState again;
  FuzzRequire(ManifestEdit::Decode(after, &snapshot).ok());
  FuzzRequire(snapshot.ApplyTo(&again).ok());
  FuzzRequire(Snapshot(again) == after);
  FuzzRequire(again.names == state.names && again.file_numbers == state.file_numbers);
  for (const auto& [id, tree] : state.trees) CheckOptions(tree.options);
}

void Check(Slice bytes) {
  CheckOptions(bytes);
  ManifestEdit edit;
  const Status status = ManifestEdit::Decode(bytes, &edit);
  if (!status.ok()) return FuzzRequireCorruption(status);
  const std::string encoded = edit.Encode();
  ManifestEdit again;
  FuzzRequire(ManifestEdit::Decode(encoded, &again).ok());
  FuzzRequire(again.Encode() == encoded);
  CheckApplied(edit, ManifestState());
  CheckApplied(edit, RichState());
}

}  // namespace
}  // namespace shale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shale::FuzzInput input(data, size);
  const uint8_t choice = input.U8();
  if (choice % 4 == 0) {
    shale::Check(input.Rest());
    return 0;
  }
  std::string bytes = choice % 4 == 1 ? shale::TreeOptions().Encode() : shale::GoodEdit(input.U8());
  shale::ApplyEdits(&input, &bytes);
  shale::Check(bytes);
  return 0;
}
