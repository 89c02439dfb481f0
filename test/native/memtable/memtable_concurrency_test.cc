// One writer and three readers on one memtable. Every value names its key, its seqno and the
// position of its Add in the writer's list, so that a reader can tell a wrong entry and a missing
// one.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "memtable/memtable_model.h"

namespace shale {
namespace {

struct Write {
  std::string key;
  Seqno seqno;
};

struct Stamp {
  uint64_t position;
  uint64_t seqno;
  uint64_t checksum;
};

uint64_t Checksum(Slice key, uint64_t position, Seqno seqno) {
  uint64_t sum = position * 0x9e3779b97f4a7c15 + seqno;
  for (size_t i = 0; i < key.size(); ++i) sum = (sum ^ key[i]) * 0x100000001b3;
  return sum;
}

std::string StampOf(const Write& write, uint64_t position) {
  const Stamp stamp{position, write.seqno, Checksum(write.key, position, write.seqno)};
  return {reinterpret_cast<const char*>(&stamp), sizeof stamp};
}

class MemtableConcurrencyTest : public MemtableSuite {
 protected:
  // Few hot keys with long chains, many others, seqnos in order but for some.
  void MakeWrites(uint64_t count) {
    TestRandom random;
    KeyMaker keys(&random);
    for (uint64_t i = 0; i < count; ++i) {
      std::string key = keys.Make();
      if (random.OneIn(3)) key = "hot" + std::to_string(random.Below(4));
      if (random.OneIn(3)) key = "key" + std::to_string(1'000'000 + random.Below(count));
      if (key.size() > 1000) key.resize(1000);
      // Distinct seqnos; about a tenth come late.
      const Seqno seqno = random.OneIn(10) ? (count - i) * 2 + 1 : (count + i) * 2;
      writes_.push_back({std::move(key), seqno});
    }
  }

  bool IsSound(const Entry& entry, Stamp* stamp) const {
    if (entry.value.size() != sizeof(Stamp)) return false;
    std::memcpy(stamp, entry.value.data(), sizeof *stamp);
    return stamp->seqno == entry.seqno() && stamp->position < writes_.size() &&
           stamp->checksum == Checksum(entry.key, stamp->position, entry.seqno());
  }

  void Scan(bool forward) {
    const uint64_t due = published_.load(std::memory_order_acquire);
    std::vector<bool> seen(due);
    const auto it = table_->NewIterator();
    std::string last_key;
    uint64_t last_tag = 0;
    bool first = true;
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->valid();
         forward ? it->Next() : it->Prev()) {
      const Entry& entry = it->entry();
      Stamp stamp;
      ASSERT_TRUE(IsSound(entry, &stamp));
      if (!first) {
        const int order = CompareInternal(last_key, last_tag, entry.key, entry.tag);
        ASSERT_TRUE(forward ? order < 0 : order > 0);
      }
      first = false;
      last_key = entry.key.ToString();
      last_tag = entry.tag;
      if (stamp.position < due) seen[stamp.position] = true;
    }
    for (uint64_t i = 0; i < due; ++i) ASSERT_TRUE(seen[i]) << "entry " << i << " of " << due;
  }

  void GetSome(TestRandom* random) {
    for (int i = 0; i < 200; ++i) {
      const uint64_t due = published_.load(std::memory_order_acquire);
      if (due == 0) continue;
      const Write& write = writes_[random->Below(due)];
      Entry entry;
      Stamp stamp;
      ASSERT_TRUE(table_->Get(write.key, write.seqno + 1, &entry));
      ASSERT_TRUE(IsSound(entry, &stamp));
      ASSERT_EQ(entry.key, Slice(write.key));
      ASSERT_EQ(entry.seqno(), write.seqno);
      ASSERT_TRUE(table_->Get(write.key, kReadAll, &entry));
      ASSERT_TRUE(IsSound(entry, &stamp));
      ASSERT_GE(entry.seqno(), write.seqno);
    }
  }

  void SeekSome(TestRandom* random) {
    const auto it = table_->NewIterator();
    for (int i = 0; i < 50; ++i) {
      const uint64_t due = published_.load(std::memory_order_acquire);
      if (due == 0) continue;
      const Write& write = writes_[random->Below(due)];
      it->Seek(write.key, MakeTag(write.seqno, Kind::kValue));
      ASSERT_TRUE(it->valid());
      ASSERT_EQ(it->entry().key, Slice(write.key));
      ASSERT_EQ(it->entry().seqno(), write.seqno);
      // Away from it and back: both ways must come to it again.
      int steps = static_cast<int>(random->Below(20));
      for (int n = 0; n < steps && it->valid(); ++n) random->OneIn(2) ? it->Next() : it->Prev();
      it->SeekBefore(write.key, MakeTag(write.seqno, Kind::kValue));
      Entry before;
      if (it->valid()) before = it->entry();
      if (it->valid()) {
        ASSERT_LT(
            CompareInternal(before.key, before.tag, write.key, MakeTag(write.seqno, Kind::kValue)),
            0);
        it->Next();
        while (it->valid() && CompareInternal(it->entry().key, it->entry().tag, write.key,
                                              MakeTag(write.seqno, Kind::kValue)) < 0) {
          it->Next();
        }
        ASSERT_TRUE(it->valid());
        ASSERT_EQ(it->entry().seqno(), write.seqno);
      }
    }
  }

  std::vector<Write> writes_;
  std::atomic<uint64_t> published_{0};
};

INSTANTIATE_TEST_SUITE_P(Both, MemtableConcurrencyTest, BothKinds(), KindName);

TEST_P(MemtableConcurrencyTest, ReadersSeeEverythingPublished) {
  MakeWrites(Scaled(20'000));
  const uint64_t seed_streams = 3;
  std::vector<std::thread> readers;
  for (uint64_t stream = 1; stream <= seed_streams; ++stream) {
    readers.emplace_back([this, stream] {
      TestRandom random(stream);
      do {
        GetSome(&random);
        SeekSome(&random);
        Scan(random.OneIn(2));
      } while (!HasFatalFailure() && published_.load(std::memory_order_acquire) < writes_.size());
      Scan(true);
      Scan(false);
    });
  }
  for (uint64_t i = 0; i < writes_.size(); ++i) {
    table_->Add(writes_[i].key, StampOf(writes_[i], i), writes_[i].seqno, Kind::kValue);
    published_.store(i + 1, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(table_->item_count(), writes_.size());
}

// Sealing is no more than no longer writing: what another thread then reads is complete.
TEST_P(MemtableConcurrencyTest, CountersCanBeReadWhileWriting) {
  MakeWrites(Scaled(5'000));
  std::atomic<bool> done{false};
  std::thread reader([&] {
    uint64_t last_count = 0;
    size_t last_used = 0;
    while (!done.load(std::memory_order_acquire)) {
      const uint64_t count = table_->item_count();
      const size_t used = table_->used_bytes();
      ASSERT_GE(count, last_count);
      ASSERT_GE(used, last_used);
      ASSERT_TRUE(count == 0 || table_->lowest_seqno() <= table_->highest_seqno());
      last_count = count;
      last_used = used;
    }
  });
  for (uint64_t i = 0; i < writes_.size(); ++i) {
    table_->Add(writes_[i].key, StampOf(writes_[i], i), writes_[i].seqno, Kind::kValue);
  }
  done.store(true, std::memory_order_release);
  reader.join();
  EXPECT_EQ(table_->item_count(), writes_.size());
}

}  // namespace
}  // namespace shale
