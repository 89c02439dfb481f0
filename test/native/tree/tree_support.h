// What the tests of the tree share: sources made of plain entries, and a whole tree in memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/cache.h"
#include "base/epoch.h"
#include "support/seed.h"
#include "tree/tree.h"
#include "vfs/file_cache.h"
#include "vfs/file_name.h"
#include "vfs/mem_vfs.h"

namespace shale {

#define ASSERT_OK(expr)                                            \
  do {                                                             \
    const ::shale::Status status_of_expr = (expr);                 \
    ASSERT_TRUE(status_of_expr.ok()) << status_of_expr.ToString(); \
  } while (0)
#define EXPECT_OK(expr)                                            \
  do {                                                             \
    const ::shale::Status status_of_expr = (expr);                 \
    EXPECT_TRUE(status_of_expr.ok()) << status_of_expr.ToString(); \
  } while (0)

struct OwnedEntry {
  OwnedEntry() = default;
  OwnedEntry(std::string k, Seqno s, Kind kd = Kind::kValue, std::string v = {})
      : key(std::move(k)), seqno(s), kind(kd), value(std::move(v)) {}

  std::string key;
  Seqno seqno = 0;
  Kind kind = Kind::kValue;
  std::string value;

  Entry view() const { return {key, value, MakeTag(seqno, kind)}; }
  bool operator==(const OwnedEntry& o) const {
    return key == o.key && seqno == o.seqno && kind == o.kind && value == o.value;
  }
};

inline OwnedEntry Own(const Entry& e) {
  return {e.key.ToString(), e.seqno(), e.kind(), e.value.ToString()};
}

inline bool InternalLess(const OwnedEntry& a, const OwnedEntry& b) {
  return a.key != b.key ? a.key < b.key : a.seqno > b.seqno;
}

inline std::ostream& operator<<(std::ostream& out, const OwnedEntry& e) {
  return out << e.key << '@' << e.seqno << '/' << int(e.kind) << '=' << e.value;
}

// Over entries in internal order. Slices die with the next call, as the interface allows.
class VectorIterator final : public Iterator {
 public:
  explicit VectorIterator(std::vector<OwnedEntry> entries) : entries_(std::move(entries)) {}

  // From the call with this number on, calls fail.
  void FailAt(int call, Status status) {
    fail_at_ = call;
    failure_ = std::move(status);
  }
  void Heal() { fail_at_ = -1; }

  void SeekToFirst() override { MoveTo(0); }
  void SeekToLast() override { MoveTo(static_cast<ptrdiff_t>(entries_.size()) - 1); }
  void Seek(Slice key, uint64_t tag) override { MoveTo(LowerBound(key, tag)); }
  void SeekBefore(Slice key, uint64_t tag) override { MoveTo(LowerBound(key, tag) - 1); }
  void Next() override { MoveTo(Position() + 1); }
  void Prev() override { MoveTo(Position() - 1); }

 private:
  ptrdiff_t Position() const {
    EXPECT_TRUE(valid_) << "a step from nowhere";
    return position_;
  }
  ptrdiff_t LowerBound(Slice key, uint64_t tag) const {
    size_t i = 0;
    while (i < entries_.size() &&
           CompareInternal(entries_[i].key, entries_[i].view().tag, key, tag) < 0) {
      i++;
    }
    return static_cast<ptrdiff_t>(i);
  }
  void MoveTo(ptrdiff_t position) {
    current_.reset();
    valid_ = false;
    status_ = Status();
    if (calls_++ >= fail_at_ && fail_at_ >= 0) {
      status_ = failure_;
      return;
    }
    position_ = position;
    if (position < 0 || position >= static_cast<ptrdiff_t>(entries_.size())) return;
    current_ = std::make_unique<OwnedEntry>(entries_[static_cast<size_t>(position)]);
    // Not in the string object itself: short strings would outlive their owner's move.
    entry_ = current_->view();
    valid_ = true;
  }

  std::vector<OwnedEntry> entries_;
  std::unique_ptr<OwnedEntry> current_;
  ptrdiff_t position_ = 0;
  int calls_ = 0;
  int fail_at_ = -1;
  Status failure_;
};

// A tree with everything it needs, in a directory of a machine in memory.
class TreeHarness {
 public:
  static constexpr const char* kDirectory = "/db";

  explicit TreeHarness(TreeOptions options = SmallOptions(), uint64_t cache_bytes = 1 << 20)
      : vfs_(std::make_unique<MemVfs>(TestSeed())), cache_bytes_(cache_bytes) {
    EXPECT_OK(vfs_->MakeDir(kDirectory));
    EXPECT_OK(vfs_->SyncDir("/"));
    EXPECT_OK(Manifest::Create(vfs_.get(), kDirectory, DirectoryKind::kTree, &manifest_));
    ManifestEdit edit;
    TreeState state;
    state.id = manifest_->NewTreeId();
    state.options = options.Encode();
    edit.created_trees.push_back(state);
    EXPECT_OK(manifest_->Commit(edit));
    EXPECT_OK(OpenTree());
  }
  ~TreeHarness() { CloseTree(); }

  // Blocks of a few entries, tables of a few blocks.
  static TreeOptions SmallOptions() {
    TreeOptions o;
    o.data_block_size = {64};
    o.strategy.target_size = 2048;
    o.filter = {{8, 0}};
    return o;
  }

  Status OpenTree() {
    cache_ = std::make_shared<Cache>(cache_bytes_);
    files_ = std::make_shared<FileCache>(vfs_.get(), 64);
    TreeContext context;
    context.vfs = vfs_.get();
    context.directory = kDirectory;
    context.manifest = manifest_.get();
    context.cache = cache_;
    context.files = files_;
    context.retention = [this] { return retention_source_ ? retention_source_() : retention; };
    context.at_a_seqno = [this](uint32_t, const std::function<void(Seqno)>& install) {
      tree_->Rotate();
      install(tree_->highest_seqno());
    };
    const ManifestState state = manifest_->state();
    return Tree::Open(context, state.trees.begin()->second, &tree_);
  }
  void CloseTree() {
    tree_.reset();
    while (!EpochCollect()) {
    }
    files_.reset();
    cache_.reset();
  }
  // What is not flushed is lost.
  Status Reopen() {
    CloseTree();
    manifest_.reset();
    SHALE_RETURN_IF_ERROR(Manifest::Load(vfs_.get(), kDirectory, false, &manifest_));
    return OpenTree();
  }
  // The same after a crash of the machine.
  Status Crash(const CrashPolicy& policy, uint64_t seed) {
    std::unique_ptr<MemVfs> after = vfs_->CrashClone(policy, seed);
    CloseTree();
    manifest_.reset();
    vfs_ = std::move(after);
    SHALE_RETURN_IF_ERROR(Manifest::Load(vfs_.get(), kDirectory, false, &manifest_));
    return OpenTree();
  }

  void Put(const std::string& key, const std::string& value, Seqno seqno) {
    tree_->Add(key, value, seqno, Kind::kValue);
  }
  void Remove(const std::string& key, Seqno seqno) {
    tree_->Add(key, Slice(), seqno, Kind::kTombstone);
  }
  Status RotateAndFlush() {
    tree_->Rotate();
    return tree_->Flush(nullptr, nullptr, nullptr);
  }
  // Puts `rows`, which ascend, on top of the tree; their own seqnos do not count.
  Status Ingest(const std::vector<OwnedEntry>& rows, Seqno seqno) {
    const auto run = tree_->StartIngestion();
    for (const OwnedEntry& row : rows) {
      SHALE_RETURN_IF_ERROR(run->Add(row.kind, row.key, row.value));
    }
    SHALE_RETURN_IF_ERROR(run->Complete());
    return IngestRun(run.get(), seqno);
  }
  Status IngestRun(IngestedRun* run, Seqno seqno) {
    const auto take_seqno = [&](Seqno* taken) {
      *taken = seqno;
      tree_->Rotate();
      return Status::Ok();
    };
    return tree_->Ingest(run, take_seqno, nullptr, nullptr);
  }
  // Runs what the strategy wants until it wants nothing; *jobs counts.
  Status CompactAll(int* jobs = nullptr) {
    while (auto plan = tree_->ChooseAndClaim(0)) {
      SHALE_RETURN_IF_ERROR(tree_->Compact(*plan, nullptr, nullptr));
      if (jobs != nullptr) ++*jobs;
    }
    return Status::Ok();
  }
  Status Major() {
    auto plan = tree_->MajorPlan(2048);
    if (!plan) return Status::Ok();
    SHALE_RETURN_IF_ERROR(tree_->Claim(*plan));
    return tree_->Compact(*plan, nullptr, nullptr);
  }

  // "absent" or the value; reads from memory first, as the door does.
  std::string Get(const std::string& key, Seqno read_seqno) {
    {
      EpochGuard guard;
      TreeHit hit;
      const Status s = tree_->Get(tree_->current(), key, read_seqno, ReadMode::kMemoryOnly, &hit);
      if (s.ok()) return hit.value.ToString();
      if (s.Is(Code::kNotFound)) return "absent";
      if (!s.Is(Code::kWouldBlock)) return s.ToString();
    }
    const Ref<SuperVersion> sv = tree_->Pin();
    TreeHit hit;
    const Status s = tree_->Get(sv.get(), key, read_seqno, ReadMode::kMayBlock, &hit);
    if (s.ok()) return hit.value.ToString();
    return s.Is(Code::kNotFound) ? "absent" : s.ToString();
  }

  using Pairs = std::vector<std::pair<std::string, std::string>>;
  Pairs Scan(Seqno read_seqno, Bounds bounds = {},
             Cursor::Direction direction = Cursor::Direction::kForward) {
    Cursor cursor(tree_->PinFor(read_seqno), read_seqno, std::move(bounds), direction);
    Pairs result;
    for (;;) {
      Code code = cursor.Next(ReadMode::kMemoryOnly);
      if (code == Code::kWouldBlock) code = cursor.Next(ReadMode::kMayBlock);
      if (code == Code::kOk) {
        code = cursor.LoadValue(ReadMode::kMemoryOnly);
        if (code == Code::kWouldBlock) code = cursor.LoadValue(ReadMode::kMayBlock);
      }
      if (code != Code::kOk) {
        EXPECT_EQ(code, Code::kNotFound) << cursor.status().ToString();
        return result;
      }
      EXPECT_EQ(cursor.value().size(), cursor.value_size());
      result.emplace_back(cursor.key().ToString(), cursor.value().ToString());
    }
  }

  // Length of the value, or nothing.
  std::optional<uint64_t> SizeOf(const std::string& key, Seqno read_seqno) {
    const Ref<SuperVersion> sv = tree_->Pin();
    uint64_t size = 0;
    const Status s = Tree::SizeOf(sv.get(), key, read_seqno, ReadMode::kMayBlock, &size);
    EXPECT_TRUE(s.ok() || s.Is(Code::kNotFound)) << s.ToString();
    return s.ok() ? std::optional(size) : std::nullopt;
  }

  std::vector<std::string> Files(FileKind kind) {
    std::vector<std::string> names;
    std::vector<std::string> result;
    EXPECT_OK(vfs_->List(kDirectory, &names));
    for (const auto& name : names) {
      if (ParseFileName(name).kind == kind) result.push_back(name);
    }
    return result;
  }

  Tree* tree() { return tree_.get(); }
  Manifest* manifest() { return manifest_.get(); }
  MemVfs* vfs() { return vfs_.get(); }

  // Instead of `retention`; call it before any other thread uses the tree.
  void UseRetention(std::function<RetentionView()> source) {
    retention_source_ = std::move(source);
  }

  RetentionView retention;

 private:
  std::function<RetentionView()> retention_source_;
  std::unique_ptr<MemVfs> vfs_;
  const uint64_t cache_bytes_;
  std::unique_ptr<Manifest> manifest_;
  std::shared_ptr<Cache> cache_;
  std::shared_ptr<FileCache> files_;
  Ref<Tree> tree_;
};

// What a tree should answer: every version ever written, by key and seqno.
class HistoryModel {
 public:
  void Add(const OwnedEntry& e) { versions_[e.key][e.seqno] = e; }
  // A range tombstone; an empty `end` is unbounded.
  void AddRange(const std::string& start, const std::string& end, Seqno seqno) {
    ranges_.push_back({start, end, seqno});
  }

  std::string Get(const std::string& key, Seqno read_seqno) const {
    const auto it = versions_.find(key);
    if (it == versions_.end()) return "absent";
    const OwnedEntry* newest = NewestLiving(it->second, read_seqno);
    return newest == nullptr || IsTombstone(newest->kind) ? "absent" : newest->value;
  }
  TreeHarness::Pairs Scan(Seqno read_seqno, const Bounds& bounds = {}) const {
    TreeHarness::Pairs result;
    for (const auto& [key, versions] : versions_) {
      if (bounds.lower && key < *bounds.lower) continue;
      if (bounds.upper && key >= *bounds.upper) continue;
      const OwnedEntry* newest = NewestLiving(versions, read_seqno);
      if (newest == nullptr || IsTombstone(newest->kind)) continue;
      result.emplace_back(key, newest->value);
    }
    return result;
  }
  // The kind of the newest version, or nothing.
  std::optional<Kind> NewestKind(const std::string& key) const {
    const auto it = versions_.find(key);
    if (it == versions_.end()) return std::nullopt;
    return it->second.rbegin()->second.kind;
  }

 private:
  struct Range {
    std::string start;
    std::string end;
    Seqno seqno;
  };

  const OwnedEntry* NewestLiving(const std::map<Seqno, OwnedEntry>& versions,
                                 Seqno read_seqno) const {
    const OwnedEntry* newest = Newest(versions, read_seqno);
    if (newest == nullptr) return nullptr;
    for (const Range& r : ranges_) {
      const bool covers = r.start <= newest->key && (r.end.empty() || newest->key < r.end);
      if (covers && newest->seqno < r.seqno && r.seqno < read_seqno) return nullptr;
    }
    return newest;
  }
  static const OwnedEntry* Newest(const std::map<Seqno, OwnedEntry>& versions, Seqno read_seqno) {
    auto it = versions.lower_bound(read_seqno);
    return it == versions.begin() ? nullptr : &std::prev(it)->second;
  }
  std::map<std::string, std::map<Seqno, OwnedEntry>> versions_;
  std::vector<Range> ranges_;
};

}  // namespace shale
