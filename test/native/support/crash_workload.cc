#include "support/crash_workload.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/hash.h"

namespace shale {
namespace {

constexpr uint64_t kKeys = 40;

}  // namespace

DatabaseOptions Workload::MakeOptions(const WorkloadOptions& options) {
  DatabaseOptions database = SmallOptions();
  database.max_journal_size = options.max_journal_size;
  database.sync_interval_ms = 50;
  return database;
}

Workload::Workload(Vfs* vfs, MemVfs* clock, const WorkloadOptions& options)
    : vfs_(vfs), clock_(clock), options_(options), random_(options.seed) {}

Workload::~Workload() { static_cast<void>(Close()); }

bool Workload::Open() {
  auto executor = MakeManualExecutor(vfs_, random_());
  executor_ = executor.get();
  const Status status =
      Database::Open(vfs_, std::move(executor), "/db", MakeOptions(options_), &database_);
  if (!status.ok()) {
    executor_ = nullptr;
    GiveUp("does not open", status);
  }
  return status.ok();
}

Status Workload::Close() {
  if (!database_) return Status::Ok();
  open_ingestion_.reset();  // or the database rolls it back
  Status status = database_->Close();
  if (status.ok()) NoteAcked(history_.issued(), Durability::kSync);
  database_ = Ref<Database>();
  executor_ = nullptr;
  return status;
}

void Workload::Run() {
  if (!Open()) return;
  for (uint64_t i = 0; i < options_.steps && !gone_ && problem_.empty(); ++i) {
    if (Failed()) break;
    Step();
  }
}

bool Workload::Failed() const {
  return database_ && database_->status() == DatabaseStatus::kFailed;
}

void Workload::Step() {
  const uint64_t what = Below(100);
  if (database_->keyspace_count() == 0 || what < 3) {
    OpenKeyspace();
  } else if (what < 45) {
    WriteSingle(false);
  } else if (what < 62) {
    WriteSeveral(false);
  } else if (what < 67) {
    OneIn(2) ? WriteSingle(true) : WriteSeveral(true);
  } else if (what < 70) {
    Persist();
  } else if (what < 87) {
    RunBackground();
  } else if (what < 90) {
    if (!options_.ingests) return RunBackground();
    open_ingestion_ ? EndIngestion() : Ingest();
  } else if (what < 94) {
    const Ref<Keyspace> keyspace = AnyKeyspace();
    if (keyspace) database_->RotateMemtable(keyspace.get());
  } else if (what < 97) {
    Flush();
  } else if (what < 98) {
    Compact();
  } else if (options_.reopen) {
    Reopen();
  }
}

// ---- commits ----

void Workload::Apply(const Change& c, Contents* contents) {
  Rows& rows = (*contents)[c.keyspace];
  if (c.range_end.has_value()) {
    const auto end = c.range_end->empty() ? rows.end() : rows.lower_bound(*c.range_end);
    rows.erase(rows.lower_bound(c.key), end);
  } else if (c.value.has_value()) {
    rows[c.key] = *c.value;
  } else {
    rows.erase(c.key);
  }
}

Workload::Ticket Workload::Issue(Changes changes) {
  Contents next = history_.states.back();
  for (const Change& c : changes) Apply(c, &next);
  history_.states.push_back(std::move(next));
  commits_.push_back({next_ticket_, std::move(changes)});
  return next_ticket_++;
}

// Of what was refused no trace may remain, whatever was issued behind it.
void Workload::Withdraw(Ticket ticket) {
  const size_t number = NumberOf(ticket);
  commits_.erase(commits_.begin() + static_cast<std::ptrdiff_t>(number) - 1);
  history_.states.pop_back();
  for (size_t i = number; i <= commits_.size(); ++i) {
    history_.states[i] = history_.states[i - 1];
    for (const Change& c : commits_[i - 1].changes) Apply(c, &history_.states[i]);
  }
  for (size_t* acked : {&history_.acked_os, &history_.acked_sync}) {
    if (*acked >= number) --*acked;
  }
}

// How many commits there are up to this one.
size_t Workload::NumberOf(Ticket ticket) const {
  const auto behind = std::upper_bound(commits_.begin(), commits_.end(), ticket,
                                       [](Ticket t, const Commit& c) { return t < c.ticket; });
  return static_cast<size_t>(behind - commits_.begin());
}

void Workload::NoteAcked(size_t number, Durability durability) {
  if (durability != Durability::kBuffered) {
    history_.acked_os = std::max(history_.acked_os, number);
  }
  if (durability == Durability::kSync) {
    history_.acked_sync = std::max(history_.acked_sync, number);
  }
}

void Workload::Settle(const Status& status, Ticket ticket, Durability durability) {
  const size_t number = NumberOf(ticket);
  if (status.ok()) {
    NoteAcked(number, durability);
    for (const Change& c : commits_[number - 1].changes) {
      Ticket& last = last_commit_[c.keyspace];
      last = std::max(last, ticket);
    }
    return;
  }
  if (!IsFaulty() && problem_.empty()) problem_ = "a write was refused: " + status.ToString();
  const bool unknown = status.details() != nullptr && status.details()->indeterminate;
  if (!unknown) Withdraw(ticket);
}

// With faults that is what may happen; without, nothing explains it.
void Workload::GiveUp(const std::string& what, const Status& status) {
  gone_ = true;
  if (!IsFaulty() && problem_.empty()) problem_ = what + ": " + status.ToString();
}

Durability Workload::AnyDurability() {
  return options_.buffered ? static_cast<Durability>(Below(3))
                           : static_cast<Durability>(1 + Below(2));
}

Ref<Keyspace> Workload::AnyKeyspace() {
  const auto names = database_->KeyspaceNames();
  if (names.empty()) return Ref<Keyspace>();
  return database_->FindKeyspace(names[Below(names.size())]);
}

void Workload::WriteSingle(bool async) {
  const Ref<Keyspace> keyspace = AnyKeyspace();
  Change change = {keyspace->name(), "k" + std::to_string(Below(kKeys)), std::nullopt};
  if (!OneIn(4)) {
    change.value = std::to_string(next_value_++) + std::string(Below(60), 'v');
  }
  const Durability durability = AnyDurability();
  const Kind kind = change.value.has_value() ? Kind::kValue : Kind::kTombstone;
  const std::string key = change.key;
  const std::string value = change.value.value_or("");
  const Ticket ticket = Issue({std::move(change)});
  if (!async) {
    const Status status = database_->WriteOne(keyspace.get(), kind, key, value, durability);
    return Settle(status, ticket, durability);
  }
  const Status status = database_->WriteOneAsync(
      keyspace.get(), kind, key, value, durability,
      [this, ticket, durability](const Status& s) { Settle(s, ticket, durability); });
  if (!status.Is(Code::kWouldBlock)) Settle(status, ticket, durability);
}

Workload::Changes Workload::Fill(WriteBatch* batch) {
  Changes changes;
  const uint64_t count = 1 + Below(8);
  for (uint64_t i = 0; i < count; ++i) {
    const Ref<Keyspace> keyspace = AnyKeyspace();
    if (OneIn(24)) {
      changes.push_back(FillRange(*keyspace, batch));
      continue;
    }
    Change change = {keyspace->name(), "k" + std::to_string(Below(kKeys)), std::nullopt};
    if (OneIn(4)) {
      batch->Add(Kind::kTombstone, keyspace->id(), change.key, "");
    } else {
      change.value = std::to_string(next_value_++);
      change.value->append(OneIn(20) ? 5000 : Below(60), 'w');
      batch->Add(Kind::kValue, keyspace->id(), change.key, *change.value);
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

// Some keys, or now and then all of them.
Workload::Change Workload::FillRange(const Keyspace& keyspace, WriteBatch* batch) {
  const std::string start = OneIn(8) ? "k" : "k" + std::to_string(Below(kKeys));
  const std::string end = start == "k" ? "" : start + "~";
  batch->Add(Kind::kRangeTombstone, keyspace.id(), start,
             end.empty() ? std::string(1, '\1') : std::string(1, '\0') + end);
  return {keyspace.name(), start, std::nullopt, end};
}

void Workload::WriteSeveral(bool async) {
  WriteBatch batch;
  Changes changes = Fill(&batch);
  const Durability durability = AnyDurability();
  const Ticket ticket = Issue(std::move(changes));
  if (!async) return Settle(database_->Write(batch.bytes(), durability), ticket, durability);
  const Status status = database_->WriteAsync(
      batch.bytes(), durability,
      [this, ticket, durability](const Status& s) { Settle(s, ticket, durability); });
  if (!status.Is(Code::kWouldBlock)) Settle(status, ticket, durability);
}

void Workload::OpenKeyspace() {
  const std::string name(1, static_cast<char>('a' + Below(4)));
  const uint64_t memtable = options_.memtable;
  // Every other keyspace.
  const bool separated = name[0] % 2 == 0;
  const auto merge = [memtable, separated](bool exists, TreeOptions* options) {
    if (exists) return Status::Ok();
    *options = SmallTreeOptions();
    options->max_memtable_size = memtable;
    options->strategy.l0_threshold = 2;
    if (separated) {
      options->kv_separation.emplace();
      options->kv_separation->threshold = 20;
      options->kv_separation->file_size = 4096;
    }
    return Status::Ok();
  };
  Ref<Keyspace> keyspace;
  if (database_->FindKeyspace(name)) {
    if (!database_->OpenKeyspace(name, merge, &keyspace).ok()) problem_ = "reopening a keyspace";
    return;
  }
  const Ticket ticket = Issue({{name, "", std::nullopt}});
  const Status status = database_->OpenKeyspace(name, merge, &keyspace);
  // What failed after its journal record is taken back by another one; if that fails as well, the
  // next open decides.
  if (!status.ok() && Failed()) return;
  Settle(status, ticket, Durability::kSync);
}

// ---- ingestion ----

// It may stay open for some steps.
void Workload::Ingest() {
  const Ref<Keyspace> keyspace = AnyKeyspace();
  OpenIngestion open;
  if (!database_->StartIngestion(keyspace.get(), &open.ingestion).ok()) return;
  std::set<std::string> keys;
  for (uint64_t n = Below(20); n > 0; --n) keys.insert("k" + std::to_string(Below(kKeys)));
  std::string rows;
  Status status;
  for (const std::string& key : keys) {
    Change change = {keyspace->name(), key, std::nullopt};
    if (!OneIn(4)) {
      change.value = std::to_string(next_value_++);
      change.value->append(OneIn(10) ? 3000 : Below(60), 'i');
    }
    AppendRow(&rows, change.value.has_value() ? Kind::kValue : Kind::kTombstone, key,
              change.value.value_or(""));
    open.changes.push_back(std::move(change));
    if (OneIn(5) && status.ok()) {
      status = open.ingestion->Write(rows);
      rows.clear();
    }
  }
  if (status.ok() && !rows.empty()) status = open.ingestion->Write(rows);
  if (!status.ok()) return;  // it goes
  open_ingestion_ = std::move(open);
  if (OneIn(2)) EndIngestion();
}

void Workload::EndIngestion() {
  OpenIngestion open = std::move(*open_ingestion_);
  open_ingestion_.reset();
  if (OneIn(5)) return open.ingestion->Abort();
  const size_t rows = open.changes.size();
  if (rows == 0) return;
  const Ticket ticket = Issue(std::move(open.changes));
  uint64_t count = 0;
  const Status status = open.ingestion->Finish(&count);
  if (status.ok() && count != rows && problem_.empty())
    problem_ = "rows of an ingestion are missing";
  // Of what the manifest may have or not the next open decides.
  if (!status.ok() && Failed()) return;
  Settle(status, ticket, Durability::kSync);
}

// ---- everything else ----

void Workload::Persist() {
  // A ticket, not a number: commits before it may be refused and withdrawn meanwhile.
  const Ticket last = next_ticket_ - 1;
  const auto durability = static_cast<Durability>(Below(3));
  if (database_->Persist(durability).ok()) NoteAcked(NumberOf(last), durability);
}

void Workload::Flush() {
  const Ref<Keyspace> keyspace = AnyKeyspace();
  const auto last = last_commit_.find(keyspace->name());
  const size_t number = last == last_commit_.end() ? 0 : NumberOf(last->second);
  if (database_->FlushKeyspace(keyspace.get()).ok()) NoteAcked(number, Durability::kSync);
}

void Workload::Compact() {
  const Ref<Keyspace> keyspace = AnyKeyspace();
  static_cast<void>(database_->MajorCompaction(keyspace.get(), 8192, nullptr));
}

void Workload::Reopen() {
  const Status closed = Close();
  if (Open()) FindPlace(closed.Is(Code::kSyncFailed));
}

// A close that failed may have lost commits at the end, though none that were acknowledged: the
// history goes on where the directory does.
void Workload::FindPlace(bool sync_failed) {
  Contents contents;
  const Status read = ReadAll(database_.get(), &contents);
  if (!read.ok()) return GiveUp("cannot be read", read);
  const size_t at_least = sync_failed ? history_.acked_sync : history_.acked_os;
  size_t n = history_.issued();
  while (n > at_least && history_.states[n] != contents) --n;
  if (history_.states[n] != contents) {
    problem_ = "reopened to no prefix of " + std::to_string(history_.issued()) +
               " commits, at least " + std::to_string(at_least) +
               "; against the least: " + Difference(history_.states[n], contents);
    return;
  }
  history_.states.resize(n + 1);
  commits_.resize(n);
  history_.acked_os = n;
  history_.acked_sync = n;
}

void Workload::RunIdle() {
  constexpr int kStepsMax = 10000;  // of jobs that schedule others without end
  int steps = 0;
  while (executor_ != nullptr && executor_->RunOne()) {
    if (++steps == kStepsMax) {
      problem_ = "the background does not come to rest";
      return;
    }
  }
}

void Workload::RunBackground() {
  clock_->AdvanceClock(Below(30) * 1'000'000);
  const uint64_t count = Below(6);
  for (uint64_t i = 0; i < count && executor_ != nullptr; ++i) executor_->RunOne();
}

std::string Workload::CheckLive() {
  if (!database_ || gone_) return "";
  Contents contents;
  const Status status = ReadAll(database_.get(), &contents);
  if (!status.ok()) return "";  // a typed error; the caller knows whether faults are on
  for (const Contents& state : history_.states) {
    if (state == contents) return "";
  }
  return "live contents are no state: " + Difference(history_.states.back(), contents);
}

// ---- oracles ----

namespace {

std::string Liveness(Database* database, uint64_t writes, const Contents& found) {
  Contents expected = found;
  Ref<Keyspace> keyspace;
  Status status = database->OpenKeyspace("liveness", SmallTree, &keyspace);
  if (!status.ok()) return "no keyspace after recovery: " + status.ToString();
  for (uint64_t i = 0; i < writes; ++i) {
    const std::string key = "k" + std::to_string(i % 300);
    const std::string value = std::to_string(i);
    status = database->WriteOne(keyspace.get(), Kind::kValue, key, value, Durability::kOs);
    if (!status.ok()) return "no write after recovery: " + status.ToString();
    expected["liveness"][key] = value;
  }
  // Also over what was recovered: new commits must be newer than old ones.
  for (auto& [name, rows] : expected) {
    const Ref<Keyspace> old = database->FindKeyspace(name);
    if (!old) return "lost keyspace " + name;
    if (name == "liveness" || rows.empty()) continue;
    const std::string key = rows.begin()->first;
    status = database->WriteOne(old.get(), Kind::kValue, key, "newer", Durability::kSync);
    if (!status.ok()) return "no sync write after recovery: " + status.ToString();
    rows[key] = "newer";
  }
  status = database->FlushKeyspace(keyspace.get());
  if (!status.ok()) return "no flush after recovery: " + status.ToString();
  Contents contents;
  status = ReadAll(database, &contents);
  if (!status.ok()) return "unreadable after recovery: " + status.ToString();
  if (contents != expected) return "after recovery: " + Difference(expected, contents);
  return "";
}

}  // namespace

namespace {

std::string NeverWritten(const History& history, const Contents& contents) {
  for (const auto& [name, rows] : contents) {
    for (const auto& [key, value] : rows) {
      const bool known = std::any_of(history.states.begin(), history.states.end(),
                                     [&, ks = name, k = key, v = value](const auto& state) {
                                       const auto keyspace = state.find(ks);
                                       if (keyspace == state.end()) return false;
                                       const auto row = keyspace->second.find(k);
                                       return row != keyspace->second.end() && row->second == v;
                                     });
      if (!known) return "a value that nobody wrote, in " + name + " at " + key;
    }
  }
  return "";
}

}  // namespace

std::string CheckImage(MemVfs* image, const History& history, size_t at_least, uint64_t seed,
                       const ImageCheck& check, const WorkloadOptions& options, size_t* opened_to) {
  DatabaseOptions database_options = Workload::MakeOptions(options);
  database_options.recovery = check.mode;
  Ref<Database> database;
  Status status = OpenSmall(image, seed, database_options, &database);
  if (!status.ok()) {
    const bool damage = status.Is(Code::kCorruption) || status.Is(Code::kNotADatabase) ||
                        status.Is(Code::kFormatTooNew);
    return check.damage_allowed && damage ? "" : "does not open: " + status.ToString();
  }
  Contents contents;
  status = ReadAll(database.get(), &contents);
  std::string problem;
  if (!status.ok()) {
    if (!check.damage_allowed || !status.Is(Code::kCorruption)) {
      problem = "unreadable: " + status.ToString();
    }
    static_cast<void>(database->Close());
    return problem;
  }
  const bool cut = database->recovery().bytes_dropped > 0;
  size_t n = history.issued();
  while (n > at_least && history.states[n] != contents) --n;
  if (history.states[n] != contents) {
    problem = "no prefix of " + std::to_string(history.issued()) + " commits, at least " +
              std::to_string(at_least) +
              "; against the least: " + Difference(history.states[at_least], contents);
  }
  // A disk that lied may have lost what was synced. That is told, and nothing is made up.
  if (!problem.empty() && check.damage_allowed && cut) problem = NeverWritten(history, contents);
  if (problem.empty() && cut && !check.torn_allowed) {
    problem = "a torn tail of " + std::to_string(database->recovery().bytes_dropped) + " bytes";
  }
  if (opened_to != nullptr) *opened_to = n;
  if (problem.empty() && check.rule_r) {
    const auto again = image->CrashClone(CrashPolicy::None(), seed);
    Ref<Database> second;
    status = OpenSmall(again.get(), seed + 1, database_options, &second);
    Contents recovered;
    if (status.ok()) status = ReadAll(second.get(), &recovered);
    if (!status.ok()) {
      problem = "after the second power cut: " + status.ToString();
    } else if (recovered != contents) {
      problem = "what was recovered was lost again: " + Difference(contents, recovered);
    }
    if (second) static_cast<void>(second->Close());
  }
  if (problem.empty() && check.liveness_writes > 0) {
    problem = Liveness(database.get(), check.liveness_writes, contents);
  }
  status = database->Close();
  if (problem.empty() && !status.ok()) problem = "does not close: " + status.ToString();
  return problem;
}

CrashPolicy DrawPolicy(const MemVfs& vfs, uint64_t draw) {
  const std::vector<PendingChange> pending = vfs.Pending();
  const uint64_t index = pending.empty() ? 0 : MixBits(draw) % pending.size();
  switch (draw % 10) {
    case 0:
      return CrashPolicy::Random(10);
    case 1:
      return CrashPolicy::Random(50);
    case 2:
      return CrashPolicy::Random(90);
    case 3:
      return CrashPolicy::Prefix(MixBits(draw) % 4);
    case 4:
      return CrashPolicy::DropOne(index);
    case 5:
    case 6: {
      if (pending.empty()) return CrashPolicy::None();
      const std::vector<uint64_t> cuts = pending[index].Cuts(512);
      const uint64_t cut = cuts.empty() ? 0 : cuts[MixBits(draw + 1) % cuts.size()];
      return CrashPolicy::Torn(index, cut, static_cast<CrashPolicy::Fill>(MixBits(draw + 2) % 3));
    }
    case 7:
      return CrashPolicy::SizeFirst();
    case 8:
      return CrashPolicy::MetaFirst();
    default:
      return CrashPolicy::DataFirst();
  }
}

size_t Survivors(const History& history, const CrashPolicy& policy) {
  const bool all =
      policy.kind == CrashPolicy::Kind::kAll || policy.kind == CrashPolicy::Kind::kKill;
  return all ? history.acked_os : history.acked_sync;
}

CrashRun RunCrashImages(const WorkloadOptions& options, uint64_t images_per_operation,
                        uint64_t every, const ImageCheck& check) {
  CrashRun run;
  MemVfs vfs(options.seed);
  Workload workload(&vfs, &vfs, options);
  vfs.SetHook([&](const MemVfs::Operation& operation) {
    if (!run.problem.empty() || operation.index % every != 0) return;
    for (uint64_t i = 0; i < images_per_operation && run.problem.empty(); ++i) {
      const uint64_t draw = MixBits(options.seed * 1000003 + operation.index * 31 + i);
      const CrashPolicy policy = i == 0   ? CrashPolicy::None()
                                 : i == 1 ? CrashPolicy::Kill()
                                          : DrawPolicy(vfs, draw);
      const std::unique_ptr<MemVfs> image = vfs.CrashClone(policy, draw);
      const std::string problem =
          CheckImage(image.get(), workload.history(), Survivors(workload.history(), policy), draw,
                     check, options);
      run.images++;
      if (problem.empty()) continue;
      run.problem = "seed " + std::to_string(options.seed) + ", operation " +
                    std::to_string(operation.index) + " (" + operation.path + "), " +
                    policy.ToString() + ": " + problem;
    }
  });
  workload.Run();
  vfs.SetHook(nullptr);
  if (run.problem.empty()) run.problem = workload.problem();
  if (run.problem.empty()) run.problem = workload.CheckLive();
  return run;
}

}  // namespace shale
