#include "tree/manifest_edit.h"

#include <algorithm>
#include <functional>

#include "base/coding.h"
#include "base/utf8.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

// docs/format.md, enum edit.
enum EditId : uint64_t {
  kSnapshot = 1,
  kNextFileNumber = 2,
  kNextTreeId = 3,
  kLastSeqno = 4,
  kCleanShutdown = 5,
  kJournalAdded = 6,
  kJournalSealed = 7,
  kJournalRemoved = 8,
  kTreeCreated = 9,
  kTreeOptions = 10,
  kFlushedSeqno = 11,
  kClearedSeqno = 12,
  kGcSeqno = 13,
  kTableRemoved = 14,
  kTableMoved = 15,
  kTableAdded = 16,
  kBlobFileRemoved = 17,
  kBlobFileAdded = 18,
  kBlobFileStale = 19,
  kTreeDeleted = 20,
  kSuccessor = 21,
};

// ---- encoding ----

// Bodies by edit id; edits with the same id keep their order.
class EditWriter {
 public:
  void Add(EditId id, std::initializer_list<uint64_t> varints) {
    std::string body;
    for (uint64_t v : varints) PutVarint(&body, v);
    Add(id, std::move(body));
  }
  void Add(EditId id, std::string body) { edits_.emplace_back(id, std::move(body)); }

  std::string Finish() {
    std::stable_sort(edits_.begin(), edits_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string out;
    for (const auto& [id, body] : edits_) {
      PutVarint(&out, id);
      PutBytes(&out, body);
    }
    return out;
  }

 private:
  std::vector<std::pair<EditId, std::string>> edits_;
};

std::string EncodeAdded(uint32_t tree, const VersionEdit::Added& added) {
  const TableMeta& m = added.meta;
  std::string out;
  PutVarint(&out, tree);
  PutVarint(&out, m.number);
  PutU8(&out, static_cast<uint8_t>(added.place.level));
  for (uint64_t v : {added.place.run_order, m.size, m.item_count, m.tombstone_count,
                     m.weak_tombstone_count, m.range_tombstone_count, m.block_count}) {
    PutVarint(&out, v);
  }
  PutBytes(&out, m.first_key);
  PutBytes(&out, m.last_key);
  PutU8(&out, static_cast<uint8_t>(m.last_key_bound));
  for (uint64_t v : {m.lowest_seqno, m.highest_seqno, m.global_seqno, m.created_at_ms}) {
    PutVarint(&out, v);
  }
  PutU8(&out, static_cast<uint8_t>(m.codec));
  PutVarint(&out, m.blobs.size());
  for (const BlobReference& b : m.blobs) {
    PutVarint(&out, b.number);
    PutVarint(&out, b.item_count);
    PutVarint(&out, b.frame_bytes);
  }
  return out;
}

void EncodeBlobFile(uint32_t tree, uint64_t number, const BlobFileState& b, EditWriter* w) {
  w->Add(kBlobFileAdded, {tree, number, b.size, b.item_count, b.frame_bytes, b.raw_bytes});
  if (b.stale_items != 0 || b.stale_frame_bytes != 0) {
    w->Add(kBlobFileStale, {tree, number, b.stale_items, b.stale_frame_bytes});
  }
}

void EncodeCreated(const TreeState& tree, EditWriter* w) {
  std::string body;
  PutVarint(&body, tree.id);
  PutBytes(&body, tree.name);
  PutVarint(&body, tree.created_seqno);
  PutBytes(&body, tree.options);
  w->Add(kTreeCreated, std::move(body));
  if (tree.flushed_seqno != 0) w->Add(kFlushedSeqno, {tree.id, tree.flushed_seqno});
  if (tree.cleared_seqno != 0) w->Add(kClearedSeqno, {tree.id, tree.cleared_seqno});
  if (tree.gc_seqno != 0) w->Add(kGcSeqno, {tree.id, tree.gc_seqno});
  for (const auto& [number, added] : tree.tables) w->Add(kTableAdded, EncodeAdded(tree.id, added));
  for (const auto& [number, blob] : tree.blob_files) EncodeBlobFile(tree.id, number, blob, w);
}

void EncodeChange(const ManifestEdit::TreeChange& change, EditWriter* w) {
  const uint32_t id = change.tree_id;
  if (change.options) {
    std::string body;
    PutVarint(&body, id);
    PutBytes(&body, *change.options);
    w->Add(kTreeOptions, std::move(body));
  }
  if (change.flushed_seqno) w->Add(kFlushedSeqno, {id, *change.flushed_seqno});
  if (change.cleared_seqno) w->Add(kClearedSeqno, {id, *change.cleared_seqno});
  if (change.gc_seqno) w->Add(kGcSeqno, {id, *change.gc_seqno});
  for (uint64_t number : change.version.removed) w->Add(kTableRemoved, {id, number});
  for (const auto& m : change.version.moved) {
    std::string body;
    PutVarint(&body, id);
    PutVarint(&body, m.number);
    PutU8(&body, static_cast<uint8_t>(m.place.level));
    PutVarint(&body, m.place.run_order);
    w->Add(kTableMoved, std::move(body));
  }
  for (const auto& added : change.version.added) w->Add(kTableAdded, EncodeAdded(id, added));
  for (uint64_t number : change.removed_blob_files) w->Add(kBlobFileRemoved, {id, number});
  for (const auto& [number, blob] : change.added_blob_files) EncodeBlobFile(id, number, blob, w);
  for (const auto& s : change.stale_blobs) {
    w->Add(kBlobFileStale, {id, s.number, s.items, s.frame_bytes});
  }
}

// ---- decoding ----

Status BadEdit(const std::string& what) { return Status::Corruption("manifest edit: " + what); }

// Reads the fields of one edit and remembers whether one of them broke its bounds.
class BodyReader {
 public:
  explicit BodyReader(Slice body) : reader_(body) {}

  uint64_t Varint() { return reader_.Varint(); }
  uint64_t UpTo(uint64_t max) {
    const uint64_t v = reader_.Varint();
    sound_ &= v <= max;
    return v;
  }
  uint32_t TreeId() {
    const uint64_t v = UpTo(UINT32_MAX);
    sound_ &= v != 0;
    return static_cast<uint32_t>(v);
  }
  uint64_t File() {
    const uint64_t v = UpTo(kFileNumberMax);
    sound_ &= v != 0;
    return v;
  }
  Seqno Bound() { return UpTo(kReadAll); }  // exclusive seqnos
  uint8_t U8UpTo(uint8_t max) {
    const uint8_t v = reader_.U8();
    sound_ &= v <= max;
    return v;
  }
  std::string Bytes() { return reader_.Bytes().ToString(); }
  std::string Key() {
    const Slice key = reader_.Bytes();
    sound_ &= key.size() <= kKeyBytesMax;
    return key.ToString();
  }
  TablePlace Place() {
    TablePlace place;
    place.level = U8UpTo(kLevelCount - 1);
    place.run_order = Varint();
    return place;
  }
  void Require(bool condition) { sound_ &= condition; }
  size_t remaining() const { return reader_.remaining(); }
  bool Finished() const { return sound_ && reader_.ok() && reader_.AtEnd(); }

 private:
  Reader reader_;
  bool sound_ = true;
};

VersionEdit::Added DecodeAdded(BodyReader* r) {
  VersionEdit::Added added;
  TableMeta& m = added.meta;
  m.number = r->File();
  added.place = r->Place();
  m.size = r->Varint();
  m.item_count = r->Varint();
  m.tombstone_count = r->Varint();
  m.weak_tombstone_count = r->Varint();
  m.range_tombstone_count = r->Varint();
  m.block_count = r->Varint();
  m.first_key = r->Key();
  m.last_key = r->Key();
  m.last_key_bound = static_cast<KeyBound>(r->U8UpTo(2));
  m.lowest_seqno = r->UpTo(kSeqnoMax);
  m.highest_seqno = r->UpTo(kSeqnoMax);
  m.global_seqno = r->UpTo(kSeqnoMax);
  m.created_at_ms = r->Varint();
  m.codec = static_cast<Codec>(r->U8UpTo(kCodecMax));
  r->Require(!m.first_key.empty() && m.lowest_seqno <= m.highest_seqno);
  if (m.last_key_bound == KeyBound::kUnbounded) r->Require(m.last_key.empty());
  r->Require(!m.EndsBefore(m.first_key));
  const uint64_t count = r->Varint();
  r->Require(count <= r->remaining() / 3);
  for (uint64_t i = 0; i < count && r->remaining() != 0; i++) {
    BlobReference b;
    b.number = r->File();
    b.item_count = r->Varint();
    b.frame_bytes = r->Varint();
    r->Require(b.item_count != 0 && (m.blobs.empty() || m.blobs.back().number < b.number));
    m.blobs.push_back(b);
  }
  return added;
}

BlobFileState DecodeBlobFile(BodyReader* r) {
  BlobFileState b;
  b.size = r->Varint();
  b.item_count = r->Varint();
  b.frame_bytes = r->Varint();
  b.raw_bytes = r->Varint();
  return b;
}

class EditDecoder {
 public:
  explicit EditDecoder(ManifestEdit* edit) : edit_(edit) {}

  Status Decode(Slice bytes) {
    Reader reader(bytes);
    uint64_t last = 0;
    while (!reader.AtEnd()) {
      const uint64_t id = reader.Varint();
      const Slice body = reader.Bytes();
      if (!reader.ok()) return BadEdit("cut off");
      if (id < last) return BadEdit("ids do not ascend");
      last = id;
      BodyReader r(body);
      if (!DecodeOne(id, &r)) return BadEdit("unknown id " + std::to_string(id));
      if (!r.Finished()) return BadEdit("bad fields under id " + std::to_string(id));
    }
    if (last == 0) return BadEdit("an empty record");
    return Status::Ok();
  }

 private:
  // False if the id is unknown.
  bool DecodeOne(uint64_t id, BodyReader* r) {
    if (id >= kTreeOptions && id <= kBlobFileStale) {
      DecodeChange(id, &ChangeOf(r->TreeId()), r);
      return true;
    }
    switch (id) {
      case kSnapshot:
        r->Require(!edit_->snapshot);
        edit_->snapshot = static_cast<DirectoryKind>(r->U8UpTo(2));
        r->Require(*edit_->snapshot != static_cast<DirectoryKind>(0));
        return true;
      case kNextFileNumber:
        edit_->next_file_number = r->UpTo(kFileNumberMax + 1);
        return true;
      case kNextTreeId:
        edit_->next_tree_id = static_cast<uint32_t>(r->UpTo(UINT32_MAX));
        return true;
      case kLastSeqno:
        edit_->last_seqno = r->UpTo(kSeqnoMax);
        return true;
      case kCleanShutdown:
        edit_->clean_shutdown = r->U8UpTo(1) == 1;
        return true;
      case kJournalAdded:
        edit_->journals.push_back({r->File(), std::nullopt});
        return true;
      case kJournalSealed: {
        const uint64_t number = r->File();
        edit_->journals.push_back({number, r->Varint()});
        return true;
      }
      case kJournalRemoved:
        edit_->removed_journals.push_back(r->File());
        return true;
      case kTreeCreated:
        edit_->created_trees.push_back(DecodeCreated(r));
        return true;
      case kTreeDeleted:
        edit_->deleted_trees.push_back(r->TreeId());
        return true;
      case kSuccessor:
        edit_->successor = r->File();
        return true;
      default:
        return false;
    }
  }

  static TreeState DecodeCreated(BodyReader* r) {
    TreeState tree;
    tree.id = r->TreeId();
    tree.name = r->Bytes();
    tree.created_seqno = r->UpTo(kSeqnoMax);
    tree.options = r->Bytes();
    r->Require(tree.name.size() <= kNameBytesMax && IsUtf8(tree.name));
    return tree;
  }

  static void DecodeChange(uint64_t id, ManifestEdit::TreeChange* change, BodyReader* r) {
    switch (id) {
      case kTreeOptions:
        change->options = r->Bytes();
        break;
      case kFlushedSeqno:
        change->flushed_seqno = r->Bound();
        break;
      case kClearedSeqno:
        change->cleared_seqno = r->Bound();
        break;
      case kGcSeqno:
        change->gc_seqno = r->Bound();
        break;
      case kTableRemoved:
        change->version.removed.push_back(r->File());
        break;
      case kTableMoved: {
        const uint64_t number = r->File();
        change->version.moved.push_back({number, r->Place()});
        break;
      }
      case kTableAdded:
        change->version.added.push_back(DecodeAdded(r));
        break;
      case kBlobFileRemoved:
        change->removed_blob_files.push_back(r->File());
        break;
      case kBlobFileAdded: {
        const uint64_t number = r->File();
        change->added_blob_files.emplace_back(number, DecodeBlobFile(r));
        break;
      }
      case kBlobFileStale: {
        const uint64_t number = r->File();
        const uint64_t items = r->Varint();
        change->stale_blobs.push_back({number, items, r->Varint()});
        break;
      }
    }
  }

  ManifestEdit::TreeChange& ChangeOf(uint32_t tree_id) {
    const auto [it, added] = index_.emplace(tree_id, edit_->changes.size());
    if (added) {
      edit_->changes.emplace_back();
      edit_->changes.back().tree_id = tree_id;
    }
    return edit_->changes[it->second];
  }

  ManifestEdit* edit_;
  std::map<uint32_t, size_t> index_;  // of a tree in edit_->changes
};

}  // namespace

ManifestEdit ManifestEdit::SnapshotOf(const ManifestState& state) {
  ManifestEdit edit;
  edit.snapshot = state.kind;
  edit.next_file_number = state.next_file_number;
  edit.next_tree_id = state.next_tree_id;
  edit.last_seqno = state.last_seqno;
  edit.clean_shutdown = state.clean_shutdown;
  for (const auto& [number, journal] : state.journals) {
    edit.journals.push_back({number, std::nullopt});
    if (journal.final_length) edit.journals.push_back(journal);
  }
  for (const auto& [id, tree] : state.trees) edit.created_trees.push_back(tree);
  return edit;
}

std::string ManifestEdit::Encode() const {
  EditWriter w;
  if (snapshot) w.Add(kSnapshot, std::string(1, static_cast<char>(*snapshot)));
  if (next_file_number) w.Add(kNextFileNumber, {*next_file_number});
  if (next_tree_id) w.Add(kNextTreeId, {*next_tree_id});
  if (last_seqno) w.Add(kLastSeqno, {*last_seqno});
  if (clean_shutdown) w.Add(kCleanShutdown, std::string(1, *clean_shutdown ? 1 : 0));
  for (const JournalState& j : journals) {
    if (j.final_length) {
      w.Add(kJournalSealed, {j.number, *j.final_length});
    } else {
      w.Add(kJournalAdded, {j.number});
    }
  }
  for (uint64_t number : removed_journals) w.Add(kJournalRemoved, {number});
  for (const TreeState& tree : created_trees) EncodeCreated(tree, &w);
  for (const TreeChange& change : changes) EncodeChange(change, &w);
  for (uint32_t id : deleted_trees) w.Add(kTreeDeleted, {id});
  if (successor) w.Add(kSuccessor, {*successor});
  return w.Finish();
}

Status ManifestEdit::Decode(Slice bytes, ManifestEdit* edit) {
  ManifestEdit decoded;
  SHALE_RETURN_IF_ERROR(EditDecoder(&decoded).Decode(bytes));
  *edit = std::move(decoded);
  return Status::Ok();
}

}  // namespace shale
