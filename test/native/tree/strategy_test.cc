#include "tree/strategy.h"

#include "support/case_file.h"
#include "tree/tree_support.h"

namespace shale {
namespace {

struct StrategyCase {
  VersionSummary version;
  StrategyOptions options;
  StrategyContext context;
  std::string expected;
};

// Of seconds.
uint64_t Millis(const std::string& text) {
  return static_cast<uint64_t>(std::stod(text) * 1000 + 0.5);
}

TableSummary ParseTable(const std::string& text) {
  const auto seqnos = SplitAt(text, '^');
  const auto places = SplitAt(seqnos.at(0), '@');
  const auto parts = SplitAt(places.at(0), ':');
  TableSummary t;
  t.number = std::stoull(parts.at(0));
  const auto keys = SplitAt(parts.at(1), '-');
  t.first_key = keys.at(0);
  t.last_key = keys.at(1);
  t.size = std::stoull(parts.at(2));
  if (places.size() > 1) t.created_at_ms = Millis(places[1]);
  if (seqnos.size() > 1) t.highest_seqno = std::stoull(seqnos[1]);
  t.item_count = 100;
  if (parts.size() > 3) {
    const auto counts = SplitAt(parts[3], '/');
    const auto tombstones = SplitAt(counts.at(0), '+');
    t.tombstone_count = std::stoull(tombstones.at(0));
    if (tombstones.size() > 1) t.range_tombstone_count = std::stoull(tombstones[1]);
    t.item_count = std::stoull(counts.at(1));
  }
  return t;
}

std::string Describe(const char* verb, std::vector<uint64_t> numbers, int level) {
  std::sort(numbers.begin(), numbers.end());
  std::string text = verb;
  for (uint64_t n : numbers) text += " " + std::to_string(n);
  return level < 0 ? text : text + " to " + std::to_string(level);
}

void SetOption(const std::string& name, const std::string& value, StrategyCase* c) {
  StrategyOptions& o = c->options;
  const bool leveled = o.kind == StrategyKind::kLeveled;
  if (name == "l0") {
    o.l0_threshold = static_cast<uint32_t>(std::stoul(value));
  } else if (name == "target") {
    o.target_size = std::stoull(value);
  } else if (name == "ratio" && leveled) {
    o.level_ratio.clear();
    for (const auto& r : SplitAt(value, ',')) o.level_ratio.push_back(std::stod(r));
  } else if (name == "base") {
    o.base_size = std::stoull(value);
  } else if (name == "ratio") {
    o.ratio = std::stod(value);
  } else if (name == "runs") {
    o.min_runs = std::stoull(value);
  } else if (name == "limit") {
    o.limit = std::stoull(value);
  } else if (name == "ttl") {
    o.ttl_seconds = std::stod(value);
  } else if (name == "now") {
    c->context.now_ms = Millis(value);
  } else if (name == "seen") {
    c->context.seen_below = std::stoull(value);
  } else if (name == "share") {
    o.tombstone_share = std::stod(value);
  } else if (name == "age") {
    o.max_age_seconds = std::stod(value);
  } else if (name == "size") {
    o.target_size = std::stoull(value);
    o.base_size = o.target_size;
  } else {
    ADD_FAILURE() << "an unknown option: " << name;
  }
}

StrategyCase ParseCase(const TextCase& text, StrategyKind kind) {
  StrategyCase c;
  c.version.levels.resize(kLevelCount);
  c.options.kind = kind;
  c.options.target_size = 10;
  c.options.base_size = 10;
  c.options.limit = 100;
  c.context.now_ms = 1000000;
  c.context.seen_below = 1;
  for (const auto& words : text.lines) {
    if (words[0] == "options") {
      for (size_t i = 1; i < words.size(); i++) {
        const auto parts = SplitAt(words[i], '=');
        SetOption(parts.at(0), parts.at(1), &c);
      }
    } else if (words[0] == "busy") {
      for (size_t i = 1; i < words.size(); i++) {
        c.context.busy_tables.insert(std::stoull(words[i]));
      }
    } else if (words[0] == "->") {
      const bool placed = words.size() > 3 && words[words.size() - 2] == "to";
      const size_t end = placed ? words.size() - 2 : words.size();
      std::vector<uint64_t> numbers;
      for (size_t i = 2; i < end; i++) numbers.push_back(std::stoull(words[i]));
      c.expected = words[1] == "nothing"
                       ? "nothing"
                       : Describe(words[1].c_str(), numbers, placed ? std::stoi(words.back()) : -1);
    } else {
      RunSummary run;
      for (size_t i = 1; i < words.size(); i++) run.tables.push_back(ParseTable(words[i]));
      c.version.levels.at(size_t(words[0].at(1) - '0')).push_back(std::move(run));
    }
  }
  return c;
}

std::string Describe(const std::optional<CompactionPlan>& plan) {
  if (!plan) return "nothing";
  const char* const verbs[] = {"merge", "move", "drop"};
  const bool placed = plan->type != CompactionPlan::Type::kDrop;
  return Describe(verbs[static_cast<int>(plan->type)], plan->tables,
                  placed ? plan->destination_level : -1);
}

using Chooser = decltype(&Choose);

void RunCases(const std::string& file, StrategyKind kind, Chooser choose = Choose) {
  const auto cases = ReadCases(file);
  EXPECT_GT(cases.size(), 15u);
  for (const TextCase& text : cases) {
    const StrategyCase c = ParseCase(text, kind);
    ASSERT_FALSE(c.expected.empty()) << text.name;
    const auto plan = choose(c.version, c.options, c.context);
    EXPECT_EQ(Describe(plan), c.expected) << file << ":" << text.line << ": " << text.name;
    if (plan && plan->type == CompactionPlan::Type::kMerge) {
      EXPECT_EQ(plan->target_size, c.options.OutputSize());
    }
  }
}

TEST(LeveledCompaction, Cases) { RunCases("leveled.cases.txt", StrategyKind::kLeveled); }

TEST(SizeTieredCompaction, Cases) { RunCases("size-tiered.cases.txt", StrategyKind::kSizeTiered); }

TEST(FifoCompaction, Cases) { RunCases("fifo.cases.txt", StrategyKind::kFifo); }

TEST(Upkeep, Cases) {
  RunCases("upkeep.cases.txt", StrategyKind::kLeveled, ChooseUpkeep);
  RunCases("upkeep.cases.txt", StrategyKind::kSizeTiered, ChooseUpkeep);
}

TEST(Upkeep, OtherStrategiesHaveNone) {
  VersionSummary version;
  version.levels.resize(kLevelCount);
  version.levels[0] = {RunSummary{{ParseTable("1:a-z:10:100/100")}}};
  StrategyOptions options;
  options.max_age_seconds = 1;
  const StrategyContext context{{}, 1000000, 1};
  EXPECT_TRUE(ChooseUpkeep(version, options, context).has_value());
  for (const StrategyKind kind : {StrategyKind::kFifo, StrategyKind::kUser}) {
    options.kind = kind;
    EXPECT_FALSE(ChooseUpkeep(version, options, context).has_value());
  }
}

// ---- a simulation: what the strategy does to a tree under load, in numbers ----

// Tables as ranges of a keyspace of `kSpace` keys, spread evenly; only sizes are computed.
class Simulation {
 public:
  explicit Simulation(StrategyOptions options) : options_(std::move(options)) {
    version_.levels.resize(kLevelCount);
  }

  // One run over the whole keyspace.
  void Flush(uint64_t bytes) {
    RunSummary run;
    run.tables.push_back(MakeTable(0, kSpace, bytes));
    version_.levels[0].insert(version_.levels[0].begin(), std::move(run));
    flushed += bytes;
    level0_max = std::max(level0_max, version_.levels[0].size());
  }
  // Starts jobs on `threads` threads and lets all of them write `bytes` in sum.
  void Work(size_t threads, uint64_t bytes) {
    for (;;) {
      while (jobs_.size() < threads && Start()) {
      }
      if (jobs_.empty() || bytes == 0) return;
      const uint64_t share = std::max<uint64_t>(bytes / jobs_.size(), 1);
      for (size_t i = 0; i < jobs_.size();) {
        const uint64_t step = std::min({share, jobs_[i].left, bytes});
        jobs_[i].left -= step;
        bytes -= step;
        if (jobs_[i].left != 0) {
          i++;
          continue;
        }
        Finish(jobs_[i].plan);
        jobs_.erase(jobs_.begin() + ptrdiff_t(i));
      }
    }
  }
  size_t runs(int level) const { return version_.levels[size_t(level)].size(); }

  uint64_t flushed = 0;
  uint64_t written = 0;
  size_t level0_max = 0;
  int jobs_started = 0;

 private:
  static constexpr uint64_t kSpace = 1000000;
  struct Job {
    CompactionPlan plan;
    uint64_t left = 0;
  };

  static std::string Key(uint64_t n) {
    std::string key = std::to_string(n);
    return std::string(8 - key.size(), '0') + key;
  }
  TableSummary MakeTable(uint64_t first, uint64_t end, uint64_t bytes) {
    TableSummary t;
    t.number = next_number_++;
    t.first_key = Key(first);
    t.last_key = Key(end - 1);
    t.size = bytes;
    t.item_count = 1;
    return t;
  }

  bool Start() {
    const auto plan = ChooseLeveled(version_, options_, context_);
    if (!plan) return false;
    jobs_started++;
    uint64_t bytes = 0;
    for (uint64_t number : plan->tables) {
      EXPECT_TRUE(context_.busy_tables.insert(number).second) << "a busy table was chosen";
    }
    for (const auto& level : version_.levels) {
      for (const auto& run : level) {
        for (const auto& t : run.tables) {
          if (std::count(plan->tables.begin(), plan->tables.end(), t.number)) bytes += t.size;
        }
      }
    }
    if (plan->type == CompactionPlan::Type::kMove) bytes = 0;
    written += bytes;
    jobs_.push_back({*plan, bytes});
    if (bytes == 0) {
      Finish(*plan);
      jobs_.pop_back();
    }
    return true;
  }

  void Finish(const CompactionPlan& plan) {
    std::vector<TableSummary> inputs;
    uint64_t bytes = 0;
    size_t place = version_.levels[size_t(plan.destination_level)].size();
    for (size_t level = 0; level < version_.levels.size(); level++) {
      auto& runs = version_.levels[level];
      for (size_t r = 0; r < runs.size(); r++) {
        auto& tables = runs[r].tables;
        const size_t before = tables.size();
        for (const auto& t : tables) {
          if (!IsInput(plan, t)) continue;
          inputs.push_back(t);
          bytes += t.size;
        }
        std::erase_if(tables, [&](const TableSummary& t) { return IsInput(plan, t); });
        if (tables.size() != before && int(level) == plan.destination_level) {
          place = std::min(place, r);
        }
      }
    }
    for (const auto& t : inputs) context_.busy_tables.erase(t.number);
    auto& runs = version_.levels[size_t(plan.destination_level)];
    if (plan.destination_level > 0) place = 0;
    if (place == runs.size()) runs.push_back({});
    for (TableSummary& t : Outputs(plan, inputs, bytes)) runs[place].tables.push_back(std::move(t));
    std::sort(runs[place].tables.begin(), runs[place].tables.end(),
              [](const auto& a, const auto& b) { return a.first_key < b.first_key; });
    for (auto& level : version_.levels) {
      std::erase_if(level, [](const RunSummary& run) { return run.tables.empty(); });
    }
  }
  static bool IsInput(const CompactionPlan& plan, const TableSummary& t) {
    return std::count(plan.tables.begin(), plan.tables.end(), t.number) != 0;
  }
  std::vector<TableSummary> Outputs(const CompactionPlan& plan,
                                    const std::vector<TableSummary>& inputs, uint64_t bytes) {
    if (plan.type == CompactionPlan::Type::kMove) return inputs;
    uint64_t first = kSpace;
    uint64_t end = 0;
    for (const auto& t : inputs) {
      first = std::min<uint64_t>(first, std::stoull(t.first_key));
      end = std::max<uint64_t>(end, std::stoull(t.last_key) + 1);
    }
    const uint64_t count = (bytes + plan.target_size - 1) / plan.target_size;
    std::vector<TableSummary> tables;
    for (uint64_t i = 0; i < count; i++) {
      const uint64_t a = first + (end - first) * i / count;
      const uint64_t b = first + (end - first) * (i + 1) / count;
      tables.push_back(MakeTable(a, b, bytes * (i + 1) / count - bytes * i / count));
    }
    return tables;
  }

  const StrategyOptions options_;
  VersionSummary version_;
  StrategyContext context_;
  std::vector<Job> jobs_;
  uint64_t next_number_ = 1;
};

// Memtables of 45 MB of random keys; compactions write `speed` times as fast as these come.
TEST(LeveledCompaction, BoundsRunsAndWritesUnderSustainedLoad) {
  struct Load {
    int flushes;
    uint64_t speed;
    double amplification_max;
  };
  constexpr uint64_t kFlushBytes = 45 << 20;
  for (const Load& load : {Load{14, 4, 3}, Load{60, 6, 6.5}, Load{300, 14, 11}}) {
    for (const size_t threads : {1, 2, 4}) {
      Simulation s{StrategyOptions()};
      for (int i = 0; i < load.flushes; i++) {
        s.Flush(kFlushBytes);
        s.Work(threads, load.speed * kFlushBytes);
      }
      s.Work(threads, UINT64_MAX);
      const double amplification = 1 + double(s.written) / double(s.flushed);
      std::printf("%d flushes, %zu threads: %d jobs, amplification %.2f, level 0 at most %zu\n",
                  load.flushes, threads, s.jobs_started, amplification, s.level0_max);
      EXPECT_LT(s.runs(0), 4u);
      EXPECT_LE(s.level0_max, 12u);
      EXPECT_LT(amplification, load.amplification_max);
    }
  }
}

TEST(LeveledCompaction, SequentialLoadIsNeverRewritten) {
  VersionSummary version;
  version.levels.resize(kLevelCount);
  for (uint64_t i = 1; i <= 100; i++) {
    TableSummary t;
    t.number = i;
    t.size = 64 << 20;
    t.item_count = 100;
    t.first_key = std::string(1, char(i));
    t.last_key = t.first_key;
    version.levels[0] = {RunSummary{{t}}};
    const auto plan = ChooseLeveled(version, StrategyOptions(), {});
    ASSERT_TRUE(plan);
    ASSERT_EQ(plan->type, CompactionPlan::Type::kMove);
    ASSERT_EQ(plan->destination_level, 6);
    version.levels[0].clear();
    if (version.levels[6].empty()) version.levels[6].resize(1);
    version.levels[6][0].tables.push_back(t);
  }
}

}  // namespace
}  // namespace shale
