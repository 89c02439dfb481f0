#include "tree/version.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "table/key_heads.h"

namespace shale {

void Run::Index() {
  heads_.clear();
  shared_ = 0;
  has_ranges_ = std::any_of(tables.begin(), tables.end(),
                            [](const auto& t) { return t->ranges() != nullptr; });
  if (tables.size() < 2) return;
  // The last keys ascend, so what the first and the last of them share, all of them do. One without
  // an upper bound has an empty last key: nothing is shared.
  shared_ = SharedPrefix(tables.front()->meta().last_key, tables.back()->meta().last_key);
  heads_.reserve(tables.size());
  for (const auto& t : tables) {
    const TableMeta& m = t->meta();
    const bool open = m.last_key_bound == KeyBound::kUnbounded;
    heads_.push_back(open ? ~uint64_t{0} : MakeKeyHead(m.last_key, shared_));
  }
}

size_t Run::LowerBound(Slice key) const {
  const size_t n = tables.size();
  if (n < 2) return n == 1 && tables[0]->meta().EndsBefore(key) ? 1 : 0;
  const int c = key.Prefix(shared_).Compare(Slice(tables[0]->meta().last_key).Prefix(shared_));
  if (c != 0) return c < 0 ? 0 : n;
  const uint64_t head = MakeKeyHead(key, shared_);
  size_t i = LowerBoundHead(heads_.data(), n, head);
  while (i < n && heads_[i] == head && tables[i]->meta().EndsBefore(key)) i++;
  return i;
}

TableReader* Run::Find(Slice key) const {
  const size_t i = LowerBound(key);
  if (i == tables.size() || key < Slice(tables[i]->meta().first_key)) return nullptr;
  return tables[i].get();
}

size_t Run::FirstStartingAt(Slice key) const {
  const auto it = std::lower_bound(
      tables.begin(), tables.end(), key,
      [](const Ref<TableReader>& t, Slice k) { return Slice(t->meta().first_key) < k; });
  return static_cast<size_t>(it - tables.begin());
}

const RangeTombstone* Run::FindCover(Slice key, Seqno read_seqno, Seqno above) const {
  if (!has_ranges_) return nullptr;
  const TableReader* table = Find(key);
  if (table == nullptr || table->ranges() == nullptr) return nullptr;
  return table->ranges()->FindNewest(key, read_seqno, above);
}

uint64_t Run::bytes() const {
  uint64_t sum = 0;
  for (const auto& t : tables) sum += t->meta().size;
  return sum;
}

Version::Version(uint64_t id, std::vector<std::vector<Run>> levels,
                 std::vector<Ref<BlobFile>> blob_files)
    : id_(id), levels_(std::move(levels)) {
  levels_.resize(kLevelCount);
  blob_files_.reserve(blob_files.size());
  for (Ref<BlobFile>& file : blob_files) blob_files_.push_back({std::move(file), 0, 0});
  std::sort(blob_files_.begin(), blob_files_.end(),
            [](const BlobFileUse& a, const BlobFileUse& b) { return a.number() < b.number(); });
  for (auto& level : levels_) {
    for (Run& run : level) {
      run.Index();
      has_ranges_ = has_ranges_ || run.has_ranges();
      table_count_ += run.tables.size();
      for (const auto& t : run.tables) {
        item_count_ += t->meta().item_count;
        bytes_ += t->meta().size;
        CountReferences(t->meta().blobs);
      }
    }
  }
}

void Version::CountReferences(const BlobReferences& references) {
  for (const BlobReference& reference : references) {
    auto* use = const_cast<BlobFileUse*>(FindBlobFile(reference.number));
    if (use == nullptr) continue;  // CheckInvariants finds it
    use->live_items += reference.item_count;
    use->live_bytes += reference.frame_bytes;
  }
}

const BlobFileUse* Version::FindBlobFile(uint64_t number) const {
  const auto it =
      std::lower_bound(blob_files_.begin(), blob_files_.end(), number,
                       [](const BlobFileUse& use, uint64_t n) { return use.number() < n; });
  return it == blob_files_.end() || it->number() != number ? nullptr : &*it;
}

Status Version::ReadBlob(Slice key, Slice pointer, const ReadContext& context, bool keep,
                         BlobHit* hit) const {
  const BlobPointer to = BlobPointer::Decode(pointer.data());
  const BlobFileUse* use = FindBlobFile(to.file_number);
  if (use == nullptr) return Status::Corruption("a blob pointer names a file that does not exist");
  return use->file->Get(key, to, context, hit, keep);
}

uint64_t Version::blob_bytes() const {
  uint64_t sum = 0;
  for (const BlobFileUse& use : blob_files_) sum += use.file->meta().size;
  return sum;
}

uint64_t Version::stale_blob_bytes() const {
  uint64_t sum = 0;
  for (const BlobFileUse& use : blob_files_) sum += use.stale_bytes();
  return sum;
}

uint64_t Version::LevelBytes(int i) const {
  uint64_t sum = 0;
  for (const Run& run : level(i)) sum += run.bytes();
  return sum;
}

int Version::PolicyLevel(int level) const {
  for (int first = 1; first < level; first++) {
    if (!this->level(first).empty()) return level - first + 1;
  }
  return level == 0 ? 0 : 1;
}

TableReader* Version::FindTable(uint64_t number, TablePlace* place) const {
  for (int i = 0; i < kLevelCount; i++) {
    for (const Run& run : level(i)) {
      for (const auto& t : run.tables) {
        if (t->meta().number != number) continue;
        if (place != nullptr) *place = {i, run.order};
        return t.get();
      }
    }
  }
  return nullptr;
}

namespace {

// The runs of the version under construction: per level by order number, newest first.
using Draft = std::vector<std::map<uint64_t, std::vector<Ref<TableReader>>, std::greater<>>>;

Status Place(Draft* draft, const TablePlace& place, Ref<TableReader> table) {
  if (place.level < 0 || place.level >= kLevelCount) {
    return Status::Corruption("table placed in a level that does not exist");
  }
  (*draft)[static_cast<size_t>(place.level)][place.run_order].push_back(std::move(table));
  return Status::Ok();
}

Status FinishDraft(Draft draft, std::vector<std::vector<Run>>* levels) {
  levels->resize(kLevelCount);
  for (size_t i = 0; i < draft.size(); i++) {
    for (auto& [order, tables] : draft[i]) {
      std::sort(tables.begin(), tables.end(), [](const auto& a, const auto& b) {
        return Slice(a->meta().first_key) < Slice(b->meta().first_key);
      });
      for (size_t k = 1; k < tables.size(); k++) {
        if (tables[k - 1]->meta().EndsBefore(tables[k]->meta().first_key)) continue;
        return Status(Code::kPlanStale, "tables of one run overlap");
      }
      Run run;
      run.order = order;
      run.tables = std::move(tables);
      (*levels)[i].push_back(std::move(run));
    }
  }
  return Status::Ok();
}

// Of both lists, those that a table points into.
std::vector<Ref<BlobFile>> Referenced(const std::vector<std::vector<Run>>& levels,
                                      const std::vector<BlobFileUse>& files,
                                      const std::vector<Ref<BlobFile>>& new_files) {
  std::vector<Ref<BlobFile>> referenced;
  if (files.empty() && new_files.empty()) return referenced;
  std::unordered_set<uint64_t> numbers;
  for (const auto& level : levels) {
    for (const Run& run : level) {
      for (const auto& table : run.tables) {
        for (const BlobReference& reference : table->meta().blobs) numbers.insert(reference.number);
      }
    }
  }
  for (const BlobFileUse& use : files) {
    if (numbers.count(use.number()) != 0) referenced.push_back(use.file);
  }
  for (const Ref<BlobFile>& file : new_files) {
    if (numbers.count(file->meta().number) != 0) referenced.push_back(file);
  }
  return referenced;
}

}  // namespace

Status Version::Apply(const VersionEdit& edit, uint64_t new_id,
                      const std::function<Ref<TableReader>(uint64_t number)>& open,
                      Ref<Version>* result,
                      const std::vector<Ref<BlobFile>>& new_blob_files) const {
  std::unordered_set<uint64_t> removed(edit.removed.begin(), edit.removed.end());
  std::unordered_map<uint64_t, TablePlace> moved;
  for (const auto& m : edit.moved) moved.emplace(m.number, m.place);
  if (removed.size() != edit.removed.size() || moved.size() != edit.moved.size()) {
    return Status::Corruption("an edit names a table twice");
  }

  Draft draft(kLevelCount);
  std::unordered_set<uint64_t> present;
  for (int i = 0; i < kLevelCount; i++) {
    for (const Run& run : level(i)) {
      for (const auto& t : run.tables) {
        const uint64_t number = t->meta().number;
        if (removed.erase(number) != 0) continue;
        TablePlace place{i, run.order};
        if (auto it = moved.find(number); it != moved.end()) {
          place = it->second;
          moved.erase(it);
        }
        present.insert(number);
        SHALE_RETURN_IF_ERROR(Place(&draft, place, t));
      }
    }
  }
  if (!removed.empty() || !moved.empty()) {
    return Status(Code::kPlanStale, "an edit names a table that is not in the version");
  }
  for (const auto& added : edit.added) {
    Ref<TableReader> table = open(added.meta.number);
    if (!table) return Status::Corruption("an added table was not opened");
    if (!present.insert(added.meta.number).second) {
      return Status::Corruption("an added table is in the version already");
    }
    SHALE_RETURN_IF_ERROR(Place(&draft, added.place, std::move(table)));
  }

  std::vector<std::vector<Run>> levels;
  SHALE_RETURN_IF_ERROR(FinishDraft(std::move(draft), &levels));
  *result = MakeRef<Version>(new_id, levels, Referenced(levels, blob_files_, new_blob_files));
  return Status::Ok();
}

Status Version::CheckInvariants() const {
  std::unordered_set<uint64_t> numbers;
  for (const auto& level : levels_) {
    for (size_t r = 0; r < level.size(); r++) {
      const Run& run = level[r];
      if (run.tables.empty()) return Status::Corruption("a run is empty");
      if (r > 0 && level[r - 1].order <= run.order) {
        return Status::Corruption("runs are not in descending order");
      }
      for (size_t i = 0; i < run.tables.size(); i++) {
        const TableMeta& m = run.tables[i]->meta();
        if (!numbers.insert(m.number).second) return Status::Corruption("a table is listed twice");
        for (const BlobReference& reference : m.blobs) {
          if (FindBlobFile(reference.number) != nullptr) continue;
          return Status::Corruption("a table points into a blob file that does not exist");
        }
        if (m.EndsBefore(m.first_key)) {
          return Status::Corruption("a table ends before it starts");
        }
        if (i > 0 && !run.tables[i - 1]->meta().EndsBefore(m.first_key)) {
          return Status::Corruption("tables of one run overlap");
        }
      }
    }
  }
  for (const BlobFileUse& use : blob_files_) {
    const BlobFileMeta& m = use.file->meta();
    if (use.live_items <= m.item_count && use.live_bytes <= m.frame_bytes) continue;
    return use.file->Located(Status::Corruption("tables point to more of a blob file than it has"),
                             use.file->footer_offset());
  }
  return Status::Ok();
}

}  // namespace shale
