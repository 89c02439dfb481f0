#include "tree/manifest_edit.h"

#include "base/coding.h"
#include "tree/manifest_samples.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

// What the state remembers of names and file numbers is what it holds.
void ExpectIndexed(const ManifestState& state) {
  ManifestState told;
  for (const auto& [number, journal] : state.journals) told.file_numbers.insert(number);
  for (const auto& [id, tree] : state.trees) {
    told.names.insert(tree.name);
    for (const auto& [number, table] : tree.tables) told.file_numbers.insert(number);
    for (const auto& [number, blob] : tree.blob_files) told.file_numbers.insert(number);
  }
  EXPECT_EQ(state.names, told.names);
  EXPECT_EQ(state.file_numbers, told.file_numbers);
}

std::string Snapshot(const ManifestState& s) { return ManifestEdit::SnapshotOf(s).Encode(); }

TEST(ManifestEdit, ASnapshotMakesTheSameState) {
  const ManifestState state = RichState();
  ManifestEdit edit;
  ASSERT_OK(ManifestEdit::Decode(Snapshot(state), &edit));
  ManifestState back;
  ASSERT_OK(edit.ApplyTo(&back));
  EXPECT_EQ(Snapshot(back), Snapshot(state));
  EXPECT_EQ(back.trees.at(1).tables.at(14).meta.blobs[1].frame_bytes, 9u);
  EXPECT_EQ(back.trees.at(1).blob_files.at(30).stale_items, 3u);
  EXPECT_EQ(back.trees.at(1).tables.at(12).meta.codec, Codec::kLz4);
  EXPECT_EQ(back.journals.at(20).final_length, 4096u);
  EXPECT_EQ(back.journals.at(21).final_length, std::nullopt);
  // The same without the way over bytes.
  ManifestState direct;
  ASSERT_OK(ManifestEdit::SnapshotOf(state).Check(direct));
}

// The record of docs/format.md, section 6.1.
TEST(ManifestEdit, TheExampleOfTheFormat) {
  ManifestState s;
  s.next_file_number = 21;
  s.next_tree_id = 2;
  s.last_seqno = 9;
  s.journals[13] = {13, std::nullopt};
  TreeState& t = s.trees[1];
  t.id = 1;
  t.name = "places";
  t.created_seqno = 1;
  t.options = std::string("\x01\x04\x80\x80\x80\x20\x03\x02\x80\x20\x06\x03\x00\x00\x01", 15);
  t.flushed_seqno = 8;
  VersionEdit::Added& a = t.tables[12];
  a.place = {0, 1};
  a.meta.number = 12;
  a.meta.size = 358;
  a.meta.item_count = 4;
  a.meta.tombstone_count = 1;
  a.meta.range_tombstone_count = 1;
  a.meta.block_count = 1;
  a.meta.first_key = "apple";
  a.meta.last_key = "c";
  a.meta.last_key_bound = KeyBound::kExclusive;
  a.meta.lowest_seqno = 3;
  a.meta.highest_seqno = 7;
  a.meta.created_at_ms = 1700000000000;
  const std::string expected(
      "\x01\x01\x01\x02\x01\x15\x03\x01\x02\x04\x01\x09\x05\x01\x00\x06\x01\x0d"
      "\x09\x19\x01\x06places\x01\x0f\x01\x04\x80\x80\x80\x20\x03\x02\x80\x20\x06\x03\x00\x00\x01"
      "\x0b\x02\x01\x08\x10\x1f\x01\x0c\x00\x01\xe6\x02\x04\x01\x00\x01\x01\x05"
      "apple\x01"
      "c\x01\x03\x07\x00\x80\xd0\x95\xff\xbc\x31\x00\x00",
      82);
  EXPECT_EQ(Snapshot(s), expected);
}

TEST(ManifestEdit, EveryChangeComesBackAndIsApplied) {
  ManifestState state = RichState();
  ManifestEdit e;
  e.next_file_number = 110;
  e.last_seqno = 2000;
  e.clean_shutdown = false;
  e.journals = {{100, std::nullopt}, {21, 77}};
  e.removed_journals = {20};
  TreeState fresh;
  fresh.id = 3;
  fresh.name = "new";
  fresh.created_seqno = 1500;
  e.created_trees = {fresh};
  ManifestEdit::TreeChange c;
  c.tree_id = 1;
  c.flushed_seqno = 1000;
  c.cleared_seqno = 4;
  c.gc_seqno = 5;
  c.options = "";
  c.version.removed = {12, 14};
  c.version.moved = {{13, {5, 9}}};
  c.version.added = {SampleTable(101, "f", "j", 6, 2)};
  c.version.added[0].meta.blobs = {{30, 1, 100}, {102, 2, 3}};
  c.removed_blob_files = {31};
  c.added_blob_files = {{102, {1, 2, 3, 4, 0, 0}}};
  c.stale_blobs = {{30, 4, 350}};
  e.changes = {c};
  e.deleted_trees = {4};
  ManifestEdit decoded;
  ASSERT_OK(ManifestEdit::Decode(e.Encode(), &decoded));
  EXPECT_EQ(decoded.Encode(), e.Encode());
  ASSERT_OK(decoded.ApplyTo(&state));
  ExpectIndexed(state);
  EXPECT_EQ(state.trees.size(), 2u);
  const TreeState& t = state.trees.at(1);
  EXPECT_EQ(t.flushed_seqno, 1000u);
  EXPECT_EQ(t.gc_seqno, 5u);
  EXPECT_EQ(t.options, "");
  EXPECT_EQ(t.tables.count(12), 0u);
  EXPECT_EQ(t.tables.count(14), 0u);
  EXPECT_EQ(t.tables.at(13).place.level, 5);
  EXPECT_EQ(t.tables.at(101).place.run_order, 2u);
  EXPECT_EQ(t.blob_files.at(30).stale_frame_bytes, 350u);
  EXPECT_EQ(t.blob_files.count(31), 0u);
  EXPECT_EQ(t.blob_files.at(102).raw_bytes, 4u);
  EXPECT_EQ(state.journals.at(21).final_length, 77u);
  EXPECT_EQ(state.journals.count(20), 0u);
  EXPECT_FALSE(state.clean_shutdown);
}

// Each of these breaks one rule; none of them may change the state.
TEST(ManifestEdit, WhatDoesNotFitIsDamage) {
  using Edit = ManifestEdit;
  const auto change = [](Edit* e) -> Edit::TreeChange& {
    e->changes.emplace_back();
    e->changes.back().tree_id = 1;
    return e->changes.back();
  };
  const auto tree = [](uint32_t id, const char* name) {
    TreeState t;
    t.id = id;
    t.name = name;
    return t;
  };
  const std::vector<std::pair<const char*, std::function<void(Edit*)>>> cases = {
      {"number falls", [](Edit* e) { e->next_file_number = 99; }},
      {"tree id falls", [](Edit* e) { e->next_tree_id = 4; }},
      {"seqno falls", [](Edit* e) { e->last_seqno = 1233; }},
      {"flushed falls", [&](Edit* e) { change(e).flushed_seqno = 899; }},
      {"cleared falls", [&](Edit* e) { change(e).cleared_seqno = 2; }},
      {"gc falls", [&](Edit* e) { change(e).gc_seqno = 1; }},
      {"journal twice",
       [](Edit* e) {
         e->journals = {{21, std::nullopt}};
       }},
      {"sealed, unknown",
       [](Edit* e) {
         e->journals = {{22, 5}};
       }},
      {"removed, unknown", [](Edit* e) { e->removed_journals = {22}; }},
      {"removed twice",
       [](Edit* e) {
         e->removed_journals = {20, 20};
       }},
      {"number beyond",
       [](Edit* e) {
         e->journals = {{100, std::nullopt}};
       }},
      {"number of a table",
       [](Edit* e) {
         e->journals = {{13, std::nullopt}};
       }},
      {"tree exists", [&](Edit* e) { e->created_trees = {tree(1, "x")}; }},
      {"tree id beyond", [&](Edit* e) { e->created_trees = {tree(5, "x")}; }},
      {"tree id zero", [&](Edit* e) { e->created_trees = {tree(0, "x")}; }},
      {"name taken", [&](Edit* e) { e->created_trees = {tree(2, "places")}; }},
      {"names alike",
       [&](Edit* e) {
         e->created_trees = {tree(2, "x"), tree(3, "x")};
       }},
      {"no such tree", [&](Edit* e) { change(e).tree_id = 2; }},
      {"deleted, unknown", [](Edit* e) { e->deleted_trees = {2}; }},
      {"deleted twice",
       [](Edit* e) {
         e->deleted_trees = {1, 1};
       }},
      {"table unknown", [&](Edit* e) { change(e).version.removed = {40}; }},
      {"table removed twice",
       [&](Edit* e) {
         change(e).version.removed = {12, 12};
       }},
      {"table of another", [&](Edit* e) { change(e).version.removed = {30}; }},
      {"moved, unknown",
       [&](Edit* e) {
         change(e).version.moved = {{40, {1, 1}}};
       }},
      {"moved, removed",
       [&](Edit* e) {
         auto& v = change(e).version;
         v.removed = {12};
         v.moved = {{12, {1, 1}}};
       }},
      {"moved onto others",
       [&](Edit* e) {
         change(e).version.moved = {{12, {6, 2}}, {13, {0, 7}}};
         change(e).tree_id = 2;
       }},
      {"level beyond",
       [&](Edit* e) {
         change(e).version.moved = {{12, {7, 1}}};
       }},
      {"added twice", [&](Edit* e) { change(e).version.added = {SampleTable(12, "x", "y")}; }},
      {"added beyond", [&](Edit* e) { change(e).version.added = {SampleTable(100, "x", "y")}; }},
      {"added overlaps",
       [&](Edit* e) { change(e).version.added = {SampleTable(50, "f", "g", 0, 7)}; }},
      {"overlap behind an unbounded one",
       [&](Edit* e) { change(e).version.added = {SampleTable(50, "x", "y", 6, 2)}; }},
      {"two that overlap",
       [&](Edit* e) {
         change(e).version.added = {SampleTable(50, "a", "c", 3, 9),
                                    SampleTable(51, "c", "d", 3, 9)};
       }},
      {"blob unknown", [&](Edit* e) { change(e).removed_blob_files = {32}; }},
      {"blob stale, unknown",
       [&](Edit* e) {
         change(e).stale_blobs = {{32, 1, 1}};
       }},
      {"more stale items than items",
       [&](Edit* e) {
         change(e).stale_blobs = {{30, 51, 300}};
       }},
      {"more stale bytes than bytes",
       [&](Edit* e) {
         change(e).stale_blobs = {{30, 3, 4001}};
       }},
      {"more stale than what is added",
       [&](Edit* e) {
         change(e).added_blob_files = {{90, {1, 2, 3, 4, 0, 0}}};
         e->changes[0].stale_blobs = {{90, 3, 1}};
       }},
      {"blob twice",
       [&](Edit* e) {
         change(e).added_blob_files = {{30, {1, 2, 3, 4, 0, 0}}};
       }},
      {"blob of another tree",
       [&](Edit* e) {
         change(e).removed_blob_files = {30};
         e->changes[0].tree_id = 4;
       }},
      {"a table points to no file",
       [&](Edit* e) {
         change(e).version.added = {SampleTable(50, "x", "y")};
         e->changes[0].version.added[0].meta.blobs = {{30, 1, 1}, {32, 1, 1}};
       }},
      {"a table points to what goes",
       [&](Edit* e) {
         change(e).version.added = {SampleTable(50, "x", "y")};
         e->changes[0].version.added[0].meta.blobs = {{30, 1, 1}};
         e->changes[0].version.removed = {14};
         e->changes[0].removed_blob_files = {30};
       }},
      {"a table points to the file of another tree",
       [&](Edit* e) {
         change(e).version.added = {SampleTable(50, "x", "y")};
         e->changes[0].version.added[0].meta.blobs = {{30, 1, 1}};
         e->changes[0].tree_id = 4;
       }},
      {"a file goes that a table points to", [&](Edit* e) { change(e).removed_blob_files = {31}; }},
      {"blob is a table",
       [&](Edit* e) {
         change(e).added_blob_files = {{12, {}}};
       }},
  };
  for (const auto& [name, build] : cases) {
    Edit e;
    build(&e);
    ManifestState state = RichState();
    EXPECT_EQ(e.ApplyTo(&state).code(), Code::kCorruption) << name;
    EXPECT_EQ(Snapshot(state), Snapshot(RichState())) << name;
  }
  // Where a range tombstone ends, the next table may begin.
  Edit e;
  e.next_file_number = 101;
  change(&e).version = {{SampleTable(100, "p", "p5", 6, 2)}, {}, {}};
  EXPECT_OK(e.Check(RichState()));
  // A blob file goes with the last table that points to it, and may be garbage as a whole.
  Edit last;
  change(&last).version.removed = {14};
  last.changes[0].removed_blob_files = {30, 31};
  EXPECT_OK(last.Check(RichState()));
  Edit stale;
  change(&stale).stale_blobs = {{30, 50, 4000}};
  EXPECT_OK(stale.Check(RichState()));
}

// A look at every tree for each edit took 20,000 trees more than a minute.
TEST(ManifestEdit, AnEditCostsNoLookAtEveryTree) {
  constexpr uint32_t kTrees = 20000;
  ManifestState state;
  const std::clock_t begin = std::clock();
  for (uint32_t id = 1; id <= kTrees; id++) {
    ManifestEdit e;
    e.next_tree_id = id + 1;
    e.next_file_number = id + 1;
    TreeState tree;
    tree.id = id;
    tree.name = std::to_string(id);
    e.created_trees.push_back(tree);
    e.changes.resize(1);
    e.changes[0].tree_id = id;
    e.changes[0].version.added = {SampleTable(id, "a", "b", 0, 1)};
    ASSERT_OK(e.ApplyTo(&state));
  }
  EXPECT_LT(std::clock() - begin, 10 * CLOCKS_PER_SEC);
}

TEST(ManifestEdit, BadBytesAreDamage) {
  const auto edit = [](uint64_t id, const std::string& body) {
    std::string bytes;
    PutVarint(&bytes, id);
    PutBytes(&bytes, body);
    return bytes;
  };
  const std::string zero(1, '\0');
  const std::vector<std::string> bad = {"",
                                        "\x01",
                                        edit(0, ""),
                                        edit(22, ""),
                                        edit(1, ""),
                                        edit(1, zero),
                                        edit(1, "\x03"),
                                        edit(1, "\x01\x01"),
                                        edit(2, ""),
                                        edit(5, "\x02"),
                                        edit(6, zero),
                                        edit(9, zero),
                                        edit(9, "\x01"),
                                        edit(12, "\x01"),
                                        edit(14, "\x01"),
                                        edit(15, "\x01\x01\x07\x01"),
                                        edit(16, "\x01\x01"),
                                        edit(3, "\x02") + edit(2, "\x02"),
                                        edit(1, "\x01") + edit(1, "\x01")};
  for (size_t i = 0; i < bad.size(); i++) {
    ManifestEdit e;
    EXPECT_EQ(ManifestEdit::Decode(bad[i], &e).code(), Code::kCorruption) << i;
  }
}

TEST(ManifestEdit, AnyBytesAreRefusedOrUnderstood) {
  TestRandom random(1);
  const std::string valid = Snapshot(RichState());
  for (uint64_t i = 0; i < Scaled(20000); i++) {
    std::string bytes =
        valid.substr(0, random.OneIn(2) ? valid.size() : random.Below(valid.size()));
    for (uint64_t n = 1 + random.Below(3); n > 0 && !bytes.empty(); n--) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    }
    ManifestEdit e;
    if (!ManifestEdit::Decode(bytes, &e).ok()) continue;
    ManifestEdit back;
    ASSERT_OK(ManifestEdit::Decode(e.Encode(), &back));
    ASSERT_EQ(back.Encode(), e.Encode());
    ManifestState state;
    if (e.ApplyTo(&state).ok()) {
      ExpectIndexed(state);
      ManifestState again;
      ASSERT_OK(back.ApplyTo(&again));
      ASSERT_EQ(Snapshot(again), Snapshot(state));
    }
  }
}

}  // namespace
}  // namespace shale
