// Tables against a sorted list of versions, over random options: what goes in comes out, in both
// directions, at every seqno, and every search ends where the list says.
#include <string>

#include "table/table_support.h"

namespace shale {
namespace {

struct Choices {
  TableWriteOptions write;
  TableOpenOptions open;
  ReadContext read;
  uint64_t cache_bytes = 0;
  Seqno global_seqno = 0;
};

Choices RandomChoices(TestRandom* random) {
  static const uint32_t kBlockSizes[] = {64, 150, 512, 4096, 16384, 65536};
  static const uint32_t kIntervals[] = {1, 2, 3, 8, 16, 255};
  static const double kHashRatios[] = {0, 0, 0.5, 1.3, 8};
  static const double kBits[] = {0, 1, 4.5, 10, 16};
  Choices s;
  s.write.block_size = kBlockSizes[random->Below(6)];
  s.write.restart_interval = kIntervals[random->Below(6)];
  s.write.hash_index_ratio = kHashRatios[random->Below(5)];
  s.write.codec = static_cast<Codec>(random->Below(3));
  s.write.index_codec = static_cast<Codec>(random->Below(3));
  s.write.filter_bits_per_key = kBits[random->Below(5)];
  s.write.partition_index = random->OneIn(2);
  s.write.partition_filter = random->OneIn(2);
  s.write.write_chunk = random->OneIn(2) ? 1 : 256 * 1024;
  s.open.pin_index = random->OneIn(2);
  s.open.pin_filter = random->OneIn(2);
  s.read.fill_cache = !random->OneIn(4);
  s.read.read_ahead_bytes = random->OneIn(3) ? 10000 + random->Below(100000) : 0;
  s.cache_bytes = random->OneIn(3) ? 0 : 1 << 20;
  s.global_seqno = random->OneIn(4) ? 1 + random->Below(1000) : 0;
  return s;
}

std::string Describe(const Choices& s, size_t count) {
  return (testing::Message() << "block " << s.write.block_size << ", interval "
                             << s.write.restart_interval << ", hash " << s.write.hash_index_ratio
                             << ", codecs " << static_cast<int>(s.write.codec) << "/"
                             << static_cast<int>(s.write.index_codec) << ", bits "
                             << s.write.filter_bits_per_key << ", partitioned "
                             << s.write.partition_index << "/" << s.write.partition_filter
                             << ", pinned " << s.open.pin_index << "/" << s.open.pin_filter
                             << ", fill " << s.read.fill_cache << ", ahead "
                             << s.read.read_ahead_bytes << ", cache " << s.cache_bytes
                             << ", global " << s.global_seqno << ", " << count << " records")
      .GetString();
}

class Subject {
 public:
  Subject(const Choices& choices, Records records) : choices_(choices), env_(choices.cache_bytes) {
    TableMeta meta = env_.Write(7, records, choices.write);
    EXPECT_EQ(meta.item_count, records.size());
    EXPECT_EQ(meta.size, env_.ReadFile(7).size());
    meta.global_seqno = choices.global_seqno;
    meta.lowest_seqno += choices.global_seqno;
    meta.highest_seqno += choices.global_seqno;
    table_ = env_.MustOpen(meta, choices.open);
    for (Record& v : records) v.seqno += choices.global_seqno;
    records_ = std::move(records);
  }

  void CheckGets(TestRandom* random) {
    for (int i = 0; i < 400; i++) {
      const Record& near = records_[random->Below(records_.size())];
      const std::string key = random->OneIn(3) ? RandomKey(random, 2000) : near.key;
      const Seqno read_seqno = random->OneIn(2) ? near.seqno + random->Below(2)
                               : random->OneIn(2)
                                   ? kReadAll
                                   : random->Below(choices_.global_seqno + 3 * records_.size());
      TableHit hit;
      const Status status = table_->Get(key, Hash64(key), read_seqno, choices_.read, &hit);
      const Record* expected = Visible(records_, key, read_seqno);
      if (expected == nullptr) {
        ASSERT_TRUE(status.Is(Code::kNotFound)) << status.ToString();
      } else {
        ASSERT_TRUE(status.ok()) << status.ToString();
        ASSERT_EQ(ToRecord(hit.entry), *expected);
        ASSERT_TRUE(hit.pin);
        ASSERT_FALSE(table_->RulesOut(key, Hash64(key)));
      }
    }
  }

  void CheckScans() {
    const auto it = table_->NewIterator(&choices_.read);
    Records seen;
    for (const bool backward : {false, true}) {
      ASSERT_TRUE(Collect(it.get(), backward, &seen).ok());
      ASSERT_EQ(seen.size(), records_.size());
      ASSERT_TRUE(seen == records_);
    }
  }

  // Seeks and single steps in both directions, in any order.
  void CheckWalk(TestRandom* random) {
    const auto it = table_->NewIterator(&choices_.read);
    size_t at = records_.size();  // not valid
    for (int i = 0; i < 1500; i++) {
      const uint64_t move = random->Below(12);
      if (move >= 4 && at < records_.size()) {
        if (move < 8) {
          at++;
          it->Next();
        } else {
          at = at == 0 ? records_.size() : at - 1;
          it->Prev();
        }
      } else {
        at = Jump(it.get(), move, random);
      }
      ASSERT_TRUE(it->status().ok()) << it->status().ToString();
      ASSERT_EQ(it->valid(), at < records_.size());
      if (it->valid()) {
        ASSERT_EQ(ToRecord(it->entry()), records_[at]);
      }
    }
  }

  // A cursor from each end: every version exactly once.
  void CheckPingPong(TestRandom* random) {
    const auto front = table_->NewIterator(&choices_.read);
    const auto back = table_->NewIterator(&choices_.read);
    front->SeekToFirst();
    back->SeekToLast();
    size_t low = 0;
    size_t high = records_.size();
    while (low < high) {
      if (random->OneIn(2)) {
        ASSERT_EQ(ToRecord(front->entry()), records_[low]);
        front->Next();
        low++;
      } else {
        ASSERT_EQ(ToRecord(back->entry()), records_[--high]);
        back->Prev();
      }
    }
  }

  void CheckEstimates() {
    uint64_t all = 0;
    ASSERT_TRUE(table_->ApproximateBytes("", nullptr, choices_.read, &all).ok());
    EXPECT_GT(all, 0u);
    EXPECT_LE(all, table_->meta().size);
    // Adjacent ranges add up to the whole.
    const Slice middle = records_[records_.size() / 2].key;
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t none = 0;
    ASSERT_TRUE(table_->ApproximateBytes("", &middle, choices_.read, &low).ok());
    ASSERT_TRUE(table_->ApproximateBytes(middle, nullptr, choices_.read, &high).ok());
    ASSERT_TRUE(table_->ApproximateBytes(middle, &middle, choices_.read, &none).ok());
    EXPECT_EQ(low + high, all);
    EXPECT_EQ(none, 0u);
  }

  void CheckVerify() {
    const Status status = table_->Verify();
    EXPECT_TRUE(status.ok()) << status.ToString();
  }

 private:
  size_t Jump(Iterator* it, uint64_t move, TestRandom* random) {
    if (move == 0) {
      it->SeekToFirst();
      return 0;
    }
    if (move == 1) {
      it->SeekToLast();
      return records_.size() - 1;
    }
    const Record& near = records_[random->Below(records_.size())];
    std::string key = random->OneIn(3) ? RandomKey(random, 2000) : near.key;
    const uint64_t tag = random->OneIn(3)   ? kTagNewest
                         : random->OneIn(2) ? SeekTag(near.seqno + 1)
                                            : MakeTag(random->Below(2000), Kind::kValue);
    const size_t bound = LowerBound(records_, key, TagSeqno(tag));
    if (move == 2) {
      it->Seek(key, tag);
      return bound;
    }
    it->SeekBefore(key, tag);
    return bound == 0 ? records_.size() : bound - 1;
  }

  const Choices choices_;
  TableEnv env_;
  Records records_;
  Ref<TableReader> table_;
};

TEST(TableProperty, RandomOptions) {
  TestRandom random;
  for (uint64_t round = 0; round < Scaled(80); round++) {
    const Choices choices = RandomChoices(&random);
    const size_t count = 1 + random.Below(round % 4 == 0 ? 3000 : 300);
    const uint64_t space = 1 + random.Below(2 * count);
    Records records = RandomRecords(&random, count, space, round % 3 == 0 ? 1000 : 60);
    SCOPED_TRACE(Describe(choices, records.size()));
    Subject subject(choices, std::move(records));
    subject.CheckGets(&random);
    subject.CheckScans();
    subject.CheckWalk(&random);
    subject.CheckPingPong(&random);
    subject.CheckEstimates();
    subject.CheckVerify();
    if (HasFatalFailure()) return;
  }
}

// Edge case 4: hundreds of versions of one key.
// Records of one key over many data blocks and index partitions: every old seqno is found, from one
// block each.
TEST(TableProperty, OneKeyOverManyBlocksAndPartitions) {
  TestRandom random;
  for (const bool pinned : {true, false}) {
    Choices choices;
    choices.write.block_size = 64;
    choices.write.partition_index = true;
    choices.write.partition_filter = true;
    choices.write.hash_index_ratio = pinned ? 1 : 0;
    choices.open = {pinned, pinned};
    choices.cache_bytes = 4 << 20;
    Records records = {{"a", 5, Kind::kValue, "first"}, {"z", 6, Kind::kValue, "last"}};
    for (Seqno s = 1; s <= 900; s++) {
      records.push_back({"key", 2 * s, Kind::kValue, std::to_string(s)});
    }
    Sort(&records);
    TableEnv env(choices.cache_bytes);
    const TableMeta meta = env.Write(3, records, choices.write);
    ASSERT_GT(meta.block_count, 100u);
    const Ref<TableReader> table = env.MustOpen(meta, choices.open);
    const auto it = table->NewIterator(&kReadAny);
    for (Seqno read_seqno = 1; read_seqno <= 1802; read_seqno++) {
      TableHit hit;
      const Status status = table->Get("key", Hash64("key"), read_seqno, kReadAny, &hit);
      const Record* expected = Visible(records, "key", read_seqno);
      ASSERT_EQ(status.ok(), expected != nullptr) << read_seqno;
      it->Seek("key", SeekTag(read_seqno));
      ASSERT_TRUE(it->valid());
      if (expected != nullptr) {
        ASSERT_EQ(ToRecord(hit.entry), *expected);
        ASSERT_EQ(ToRecord(it->entry()), *expected);
      } else {
        ASSERT_EQ(it->entry().key, Slice("z"));
      }
      it->SeekBefore("key", SeekTag(read_seqno));
      ASSERT_TRUE(it->valid());
      ASSERT_TRUE(it->entry().key == Slice("a") || it->entry().seqno() >= read_seqno);
    }
    EXPECT_TRUE(table->Verify().ok());
  }
}

// The needle of a seek may be the key of the iterator's own entry.
TEST(TableProperty, SeekToTheOwnKey) {
  TestRandom random;
  TableEnv env(0);
  TableWriteOptions options;
  options.block_size = 64;
  const Records records = RandomRecords(&random, 500, 500, 30);
  const Ref<TableReader> table = env.MustOpen(env.Write(3, records, options));
  const auto it = table->NewIterator(&kReadAny);
  it->SeekToLast();
  for (size_t i = records.size() - 1; i != 0; i--) {
    ASSERT_TRUE(it->valid());
    ASSERT_EQ(ToRecord(it->entry()), records[i]);
    it->SeekBefore(it->entry().key, it->entry().tag);
  }
  for (size_t i = 0; i + 1 < records.size(); i++) {
    ASSERT_TRUE(it->valid());
    ASSERT_EQ(ToRecord(it->entry()), records[i]);
    if (it->entry().seqno() == 0) {
      it->Next();
    } else {
      it->Seek(it->entry().key, MakeTag(it->entry().seqno() - 1, Kind::kValue));
    }
  }
}

}  // namespace
}  // namespace shale
