// What a crash leaves: MemVfs::CrashClone and the policies.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/hash.h"
#include "vfs/mem_node.h"
#include "vfs/mem_vfs.h"

namespace shale {

namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kNothing = UINT64_MAX;

std::string FillName(CrashPolicy::Fill fill) {
  switch (fill) {
    case CrashPolicy::Fill::kZero:
      return "zero";
    case CrashPolicy::Fill::kGarbage:
      return "garbage";
    case CrashPolicy::Fill::kOld:
      break;
  }
  return "old";
}

// Every file and directory that a crash could leave a name of, and what is pending on each.
void CollectPending(const MemNode& node, std::vector<const MemNode*>* seen,
                    std::vector<PendingChange>* pending) {
  if (std::find(seen->begin(), seen->end(), &node) != seen->end()) return;
  seen->push_back(&node);
  for (const FileChange& c : node.changes) {
    if (c.lost) continue;
    if (c.kind == FileChange::Kind::kWrite) {
      pending->push_back({PendingChange::Kind::kWrite, c.sequence, c.offset, c.data.size()});
    } else {
      pending->push_back({PendingChange::Kind::kResize, c.sequence, 0, c.size});
    }
  }
  for (const DirChange& c : node.dir_changes) {
    pending->push_back({PendingChange::Kind::kDirectory, c.sequence, 0, 0});
    if (c.node) CollectPending(*c.node, seen, pending);
  }
  for (const auto& entry : node.durable_entries) CollectPending(*entry.second, seen, pending);
}

std::vector<PendingChange> PendingBelow(const MemNode& root) {
  std::vector<const MemNode*> seen;
  std::vector<PendingChange> pending;
  CollectPending(root, &seen, &pending);
  const auto earlier = [](const PendingChange& a, const PendingChange& b) {
    return a.sequence < b.sequence;
  };
  std::sort(pending.begin(), pending.end(), earlier);
  return pending;
}

}  // namespace

std::string CrashPolicy::ToString() const {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kAll:
      return "all";
    case Kind::kKill:
      return "kill";
    case Kind::kPrefix:
      return "prefix " + std::to_string(index);
    case Kind::kRandom:
      return "random " + std::to_string(percent) + " %";
    case Kind::kDropOne:
      return "drop " + std::to_string(index);
    case Kind::kTorn:
      return "torn " + std::to_string(index) + " at " + std::to_string(cut) + ", " + FillName(fill);
    case Kind::kSizeFirst:
      return "size first";
    case Kind::kMetaFirst:
      return "meta first";
    case Kind::kDataFirst:
      break;
  }
  return "data first";
}

std::vector<uint64_t> PendingChange::Cuts(uint64_t unit) const {
  std::vector<uint64_t> cuts;
  if (kind != Kind::kWrite) return cuts;
  cuts.push_back(0);
  for (uint64_t at = offset / unit * unit + unit; at < offset + length; at += unit) {
    cuts.push_back(at - offset);
  }
  return cuts;
}

// Builds the nodes of a clone; every node once, however many names it has.
class MemVfs::Cloner {
 public:
  Cloner(const CrashPolicy& policy, uint64_t seed, uint64_t target)
      : policy_(policy), target_(target), random_(MixBits(seed)) {}

  Ref<MemNode> Clone(const MemNode& node) {
    Ref<MemNode>& made = made_[&node];
    if (made) return made;
    made = MakeRef<MemNode>(node.inode, node.is_directory);
    const Ref<MemNode> clone = made;
    if (policy_.kind == Kind::kKill) {
      CopyWhole(node, clone.get());
      return clone;
    }
    if (!node.is_directory) {
      clone->durable = FileContent(node);
      clone->current = clone->durable;
      clone->charged_bytes = (clone->current.size() + kPageBytes - 1) / kPageBytes * kPageBytes;
      used_bytes_ += clone->charged_bytes;
      return clone;
    }
    for (const auto& [name, child] : Entries(node)) {
      Ref<MemNode> copy = Clone(*child);
      ++copy->links;
      clone->durable_entries.emplace(name, std::move(copy));
    }
    clone->entries = clone->durable_entries;
    return clone;
  }
  uint64_t used_bytes() const { return used_bytes_; }

 private:
  using Kind = CrashPolicy::Kind;

  // Current and durable state, and what lies between them.
  void CopyWhole(const MemNode& node, MemNode* clone) {
    clone->current = node.current;
    clone->durable = node.durable;
    clone->changes = node.changes;
    clone->diverged = node.diverged;
    clone->charged_bytes = node.charged_bytes;
    used_bytes_ += node.charged_bytes;
    for (const auto& [name, child] : node.entries) {
      Ref<MemNode> copy = Clone(*child);
      ++copy->links;
      clone->entries.emplace(name, std::move(copy));
    }
    for (const auto& [name, child] : node.durable_entries) {
      clone->durable_entries.emplace(name, Clone(*child));
    }
    for (const DirChange& c : node.dir_changes) {
      DirChange copy = c;
      if (c.node) copy.node = Clone(*c.node);
      clone->dir_changes.push_back(std::move(copy));
    }
  }

  uint64_t Random() { return MixBits(random_ += 0x9e3779b97f4a7c15u); }
  bool Chance() { return Random() % 100 < policy_.percent; }

  // `nth`: how many changes of the same file or directory come before it.
  bool Survives(uint64_t sequence, size_t nth, bool is_directory) {
    switch (policy_.kind) {
      case Kind::kNone:
        return false;
      case Kind::kAll:
      case Kind::kKill:
        return true;
      case Kind::kPrefix:
        return nth < policy_.index;
      case Kind::kRandom:
        return Chance();
      case Kind::kDropOne:
        return sequence != target_;
      case Kind::kTorn:
        return sequence < target_;
      case Kind::kSizeFirst:
      case Kind::kMetaFirst:
        return is_directory;
      case Kind::kDataFirst:
        break;
    }
    return !is_directory;
  }

  MemEntries Entries(const MemNode& node) {
    MemEntries entries = node.durable_entries;
    for (size_t i = 0; i < node.dir_changes.size(); ++i) {
      const DirChange& c = node.dir_changes[i];
      if (Survives(c.sequence, i, true)) c.ApplyTo(&entries);
    }
    return entries;
  }

  MemContent FileContent(const MemNode& node) {
    if (policy_.kind == Kind::kAll && !node.diverged) return node.current;
    MemContent content = node.durable;
    if (policy_.kind == Kind::kSizeFirst) {
      if (!node.changes.empty()) content.Resize(node.current.size());
      return content;
    }
    size_t nth = 0;
    for (const FileChange& c : node.changes) {
      const bool is_write = c.kind == FileChange::Kind::kWrite;
      if (is_write && policy_.kind == Kind::kRandom) {
        ApplyPages(c, &content);
      } else if (is_write && policy_.kind == Kind::kTorn && c.sequence == target_) {
        ApplyTorn(c, &content);
      } else if (!c.lost && Survives(c.sequence, nth++, false)) {
        c.ApplyTo(&content);
      }
    }
    return content;
  }

  // Each page of the write for itself. What a failed sync has lost may yet have reached the disk.
  void ApplyPages(const FileChange& c, MemContent* content) {
    const Slice data = c.data;
    for (size_t done = 0; done < data.size();) {
      const uint64_t at = c.offset + done;
      const size_t part =
          static_cast<size_t>(std::min<uint64_t>(data.size() - done, kPageBytes - at % kPageBytes));
      if (Chance()) content->Write(at, data.Skip(done).Prefix(part));
      done += part;
    }
  }

  void ApplyTorn(const FileChange& c, MemContent* content) {
    const Slice data = c.data;
    const size_t cut = static_cast<size_t>(std::min<uint64_t>(policy_.cut, data.size()));
    content->Write(c.offset, data.Prefix(cut));
    if (policy_.fill == CrashPolicy::Fill::kOld) return;
    std::string rest(data.size() - cut, '\0');
    if (policy_.fill == CrashPolicy::Fill::kGarbage) {
      for (char& byte : rest) byte = static_cast<char>(Random());
    }
    content->Write(c.offset + cut, rest);
  }

  const CrashPolicy policy_;
  const uint64_t target_;  // sequence of the change that the policy names
  uint64_t random_;
  uint64_t used_bytes_ = 0;
  std::unordered_map<const MemNode*, Ref<MemNode>> made_;
};

std::vector<PendingChange> MemVfs::Pending() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return PendingBelow(*root_);
}

std::unique_ptr<MemVfs> MemVfs::CrashClone(const CrashPolicy& policy, uint64_t seed) const {
  auto clone = std::make_unique<MemVfs>(seed);
  const std::lock_guard<std::mutex> lock(mutex_);
  uint64_t target = kNothing;
  if (policy.kind == CrashPolicy::Kind::kDropOne || policy.kind == CrashPolicy::Kind::kTorn) {
    const std::vector<PendingChange> pending = PendingBelow(*root_);
    if (policy.index < pending.size()) target = pending[policy.index].sequence;
  }
  Cloner cloner(policy, seed, target);
  clone->root_ = cloner.Clone(*root_);
  clone->root_->links = 1;
  clone->used_bytes_ = cloner.used_bytes();
  clone->next_inode_ = next_inode_;
  clone->capacity_ = capacity_;
  clone->next_sequence_ = next_sequence_;
  clone->boot_ = policy.kind == CrashPolicy::Kind::kKill ? boot_ : boot_ + 1;
  clone->processes_.clear();
  clone->process_id_ = process_id_ + 1;
  clone->processes_[clone->process_id_] = 1;
  clone->clock_nanos_.store(clock_nanos_.load(std::memory_order_relaxed),
                            std::memory_order_relaxed);
  return clone;
}

}  // namespace shale
