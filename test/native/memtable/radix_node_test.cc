// Radix nodes: search, growth and prefixes of each node type against a plain map.
#include "memtable/radix_node.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "support/seed.h"

namespace shale::radix {
namespace {

TEST(RadixNodeTest, BothFormsOfTheByteSearchAgree) {
  TestRandom random;
  for (int i = 0; i < 100'000; ++i) {
    uint64_t words[2] = {random.Next(), random.Next()};
    const uint8_t byte = static_cast<uint8_t>(random.OneIn(2) ? words[0] >> 24 : random.Next());
    if (random.OneIn(4)) words[1] = uint64_t{0x0101010101010101} * byte;
    uint64_t due = 0;
    for (unsigned at = 0; at < 16; ++at) {
      if (static_cast<uint8_t>(words[at / 8] >> (at % 8 * 8)) == byte) due |= uint64_t{1} << at;
    }
    ASSERT_EQ(MatchBytesPortable(words[0], words[1], byte), due);
    ASSERT_EQ(MatchBytes(words[0], words[1], byte), due);
  }
}

// Children are never looked into here, so any word without a type will do for one.
NodeRef FakeChild(size_t i) { return (i + 1) * 8; }

TEST(RadixNodeTest, GrowsThroughEveryTypeAndFindsWhatItHolds) {
  TestRandom random;
  for (int round = 0; round < 20; ++round) {
    NodeFactory factory;
    NodeRef node = factory.New(kNode2, "prefix", 3, 6);
    std::vector<uint8_t> bytes(256);
    for (size_t i = 0; i < 256; ++i) bytes[i] = static_cast<uint8_t>(i);
    std::shuffle(bytes.begin(), bytes.end(), random.engine());
    std::map<uint8_t, NodeRef> model;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (!AddChild(node, bytes[i], FakeChild(i))) {
        const NodeRef old = node;
        node = factory.Grow(old);
        ASSERT_EQ(TypeOf(node), TypeOf(old) + 1);
        ASSERT_EQ(DepthOf(node), 6u);
        for (const auto& [byte, child] : model) ASSERT_EQ(FindChild(old, byte), child);
        ASSERT_EQ(FindChild(old, bytes[i]), 0u);
        ASSERT_TRUE(AddChild(node, bytes[i], FakeChild(i)));
      }
      model[bytes[i]] = FakeChild(i);
      const ByteSet set = ChildBytes(node);
      for (size_t b = 0; b < 256; ++b) {
        const auto at = model.find(static_cast<uint8_t>(b));
        ASSERT_EQ(FindChild(node, static_cast<uint8_t>(b)), at == model.end() ? 0 : at->second);
        ASSERT_EQ(set.Has(static_cast<uint8_t>(b)), at != model.end());
      }
      ASSERT_EQ(MatchPrefix(node, "prefix", 3), 6u);
      ASSERT_EQ(PrefixByte(node, 4), 'i');
    }
    ASSERT_EQ(TypeOf(node), kNode256);
  }
}

TEST(RadixNodeTest, NodesAreWholeCacheLines) {
  NodeFactory factory;
  size_t bytes = 0;
  for (int i = 0; i < 100; ++i) {
    const NodeType type = i % 3 == 0 ? kNode2 : kNode5;
    const NodeRef node = factory.New(type, "k", 0, 1);
    const size_t unit = type == kNode2 ? 32 : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(NodeOf(node)) % unit, 0u);
    bytes += kLayouts[type].bytes;
  }
  EXPECT_EQ(factory.arena().used(), bytes);
}

// A prefix is compared where it differs, where the key ends and beyond; long ones and short ones.
TEST(RadixNodeTest, PrefixesMatchUpToTheFirstDifference) {
  TestRandom random;
  NodeFactory factory;
  for (int i = 0; i < 20'000; ++i) {
    std::string prefix(1 + random.Below(24), 'a');
    for (char& c : prefix) c = static_cast<char>('a' + random.Below(2));
    const size_t depth = prefix.size();
    const size_t from = random.Below(depth + 1);
    const NodeRef node = factory.New(kNode2, prefix, from, depth);
    std::string key = prefix + "tail";
    if (random.OneIn(2)) key[random.Below(key.size())] = 'x';
    if (random.OneIn(2)) key.resize(random.Below(key.size()) + 1);
    if (key.size() < from || key.compare(0, from, prefix, 0, from) != 0) continue;
    size_t due = from;
    while (due < depth && due < key.size() && key[due] == prefix[due]) ++due;
    ASSERT_EQ(MatchPrefix(node, key, from), due);
    for (size_t at = from; at < depth; ++at) {
      ASSERT_EQ(PrefixByte(node, at), static_cast<uint8_t>(prefix[at]));
    }
  }
}

TEST(RadixNodeTest, ByteSetsGiveUpTheirBytesInOrder) {
  TestRandom random;
  for (int round = 0; round < 500; ++round) {
    std::map<uint8_t, bool> model;
    ByteSet set;
    for (uint64_t n = random.Below(30); n > 0; --n) {
      const uint8_t byte = static_cast<uint8_t>(random.Below(256));
      set.Add(byte);
      model[byte] = true;
    }
    const uint8_t cut = static_cast<uint8_t>(random.Below(256));
    if (random.OneIn(2)) {
      set.RemoveUpTo(cut);
      model.erase(model.begin(), model.upper_bound(cut));
    } else {
      set.RemoveFrom(cut);
      model.erase(model.lower_bound(cut), model.end());
    }
    while (!model.empty()) {
      ASSERT_FALSE(set.empty());
      const bool first = random.OneIn(2);
      const auto at = first ? model.begin() : std::prev(model.end());
      ASSERT_EQ(first ? set.First() : set.Last(), at->first);
      set.Remove(at->first);
      model.erase(at);
    }
    ASSERT_TRUE(set.empty());
  }
}

}  // namespace
}  // namespace shale::radix
