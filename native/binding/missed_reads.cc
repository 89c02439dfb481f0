#include "binding/missed_reads.h"

#include <algorithm>
#include <new>
#include <utility>

namespace shale {
namespace {

// Reads that a reader thread does in one go.
struct ReadWork {
  Ref<RefCounted> core;  // outlives the pins
  std::vector<MissedRead> reads;

  void Run() {
    for (MissedRead& read : reads) {
      Status status;
      try {
        status = RunOne(&read);
      } catch (const std::bad_alloc&) {
        status = Code::kOutOfMemory;
      }
      read.super_version.reset();
      if (read.latencies != nullptr && (status.ok() || status.Is(Code::kNotFound))) {
        read.latencies->get.Record(read.latencies->Now() - read.begun);
      }
      read.reply->Send(std::move(status));
    }
  }

  static Status RunOne(MissedRead* read) {
    const SuperVersion* sv = read->super_version.get();
    Answer& answer = read->reply->answer();
    if (read->size_only) {
      uint64_t size = 0;
      Status status = Tree::SizeOf(sv, read->key, read->read_seqno, ReadMode::kMayBlock, &size);
      answer.number = static_cast<double>(size);
      return status;
    }
    TreeHit hit;
    Status status = Tree::Get(sv, read->key, read->read_seqno, ReadMode::kMayBlock, &hit);
    if (status.ok()) answer.bytes.assign(hit.value.data(), hit.value.size());
    return status;
  }
};

// Few enough to share a hop, many enough pieces to use both reader threads.
constexpr size_t kReadsPerHop = 8;
constexpr size_t kHopsMax = 4;

}  // namespace

void MissedReads::Add(const std::shared_ptr<OpenCore>& open, Ref<RefCounted> core,
                      MissedRead read) {
  auto group = std::find_if(groups_.begin(), groups_.end(),
                            [&open](const Group& g) { return g.open == open; });
  if (group == groups_.end()) {
    groups_.push_back({open, std::move(core), {}});
    group = groups_.end() - 1;
  }
  group->reads.push_back(std::move(read));
}

void MissedReads::Submit() {
  for (Group& group : groups_) {
    const size_t total = group.reads.size();
    const size_t hops = std::clamp<size_t>(total / kReadsPerHop, 1, kHopsMax);
    for (size_t i = 0; i < hops; ++i) {
      auto work = std::make_shared<ReadWork>();
      work->core = group.core;
      const auto begin = group.reads.begin();
      work->reads.assign(
          std::make_move_iterator(begin + static_cast<ptrdiff_t>(total * i / hops)),
          std::make_move_iterator(begin + static_cast<ptrdiff_t>(total * (i + 1) / hops)));
      // Not taken: it goes here and now, and its replies say so.
      (void)group.open->SubmitRead([work] { work->Run(); });
    }
  }
  groups_.clear();
}

}  // namespace shale
