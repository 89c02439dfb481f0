#include "support/corruption_runs.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "tree/manifest.h"
#include "vfs/file_name.h"

namespace shale {
namespace {

std::string ReadFile(Vfs* vfs, const std::string& path) {
  std::unique_ptr<File> file;
  uint64_t size = 0;
  size_t got = 0;
  if (!vfs->Open(path, OpenMode::kRead, &file).ok() || !file->Size(&size).ok()) return "";
  std::string bytes(static_cast<size_t>(size), '\0');
  if (!file->Read(0, bytes.size(), bytes.data(), &got).ok()) return "";
  return bytes;
}

bool IsDamage(const Status& status) {
  return status.Is(Code::kCorruption) || status.Is(Code::kNotADatabase) ||
         status.Is(Code::kFormatTooNew) || status.Is(Code::kNotSupported);
}

}  // namespace

Specimen::Specimen(uint64_t seed) {
  options_.seed = seed;
  options_.steps = 160;
  options_.reopen = false;
  options_.buffered = false;
  options_.memtable = 4096;
  auto memory = std::make_unique<MemVfs>(seed);
  {
    Workload workload(memory.get(), memory.get(), options_);
    workload.Run();
    EXPECT_EQ(workload.problem(), "");
    EXPECT_TRUE(workload.database()->Persist(Durability::kSync).ok());
    // Lets the sync be witnessed, so that damage before it can be told from a torn tail.
    memory->AdvanceClock(uint64_t{1'000'000'000});
    workload.RunIdle();
    history_ = workload.history();
    history_.acked_sync = history_.issued();
    history_.acked_os = history_.issued();
    vfs_ = memory->CrashClone(CrashPolicy::All(), seed);
  }
  FindFiles();
}

// Keys that differ in their last byte alone, and values that do not compress.
Specimen Specimen::WithEqualBlocks(uint64_t seed) {
  Specimen specimen;
  specimen.options_.seed = seed;
  std::mt19937_64 random(seed);
  MemVfs memory(seed);
  Ref<Database> database;
  DB_EXPECT_OK(OpenSmall(&memory, seed, SmallOptions(), &database));
  const Ref<Keyspace> keyspace = MustOpenKeyspace(database.get(), "a");
  Contents contents;
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::string("row") + static_cast<char>(i);
    std::string value(60, '\0');
    for (char& byte : value) byte = static_cast<char>(random());
    DB_EXPECT_OK(database->WriteOne(keyspace.get(), Kind::kValue, key, value, Durability::kSync));
    contents["a"][key] = value;
  }
  DB_EXPECT_OK(database->FlushKeyspace(keyspace.get()));
  specimen.history_.states.push_back(std::move(contents));
  specimen.vfs_ = memory.CrashClone(CrashPolicy::All(), seed);
  DB_EXPECT_OK(database->Close());
  specimen.FindFiles();
  return specimen;
}

std::unique_ptr<MemVfs> Specimen::Clone() const {
  return vfs_->CrashClone(CrashPolicy::All(), options_.seed);
}

// What the manifest names is needed: tables and blob files whole, sealed journals up to their final
// length, others up to the end of their records (zeros behind them are checked as well).
void Specimen::FindFiles() {
  std::unique_ptr<Manifest> manifest;
  const auto image = Clone();
  DB_EXPECT_OK(Manifest::Load(image.get(), "/db", true, &manifest));
  if (!manifest) return;
  const ManifestState state = manifest->state();
  std::vector<std::string> names;
  DB_EXPECT_OK(vfs_->List("/db", &names));
  for (const std::string& name : names) {
    const ParsedName parsed = ParseFileName(name);
    NamedFile file;
    file.path = "/db/" + name;
    file.size = ReadFile(vfs_.get(), file.path).size();
    if (parsed.kind == FileKind::kManifest) {
      file.needed = parsed.number == manifest->file_number() ? file.size : 0;
    } else if (parsed.kind == FileKind::kJournal) {
      const auto journal = state.journals.find(parsed.number);
      if (journal != state.journals.end()) {
        file.needed = journal->second.final_length.value_or(file.size);
      }
    } else if (state.Uses(parsed.number) &&
               (parsed.kind == FileKind::kTable || parsed.kind == FileKind::kBlob)) {
      file.needed = file.size;
    }
    files_.push_back(std::move(file));
  }
}

std::unique_ptr<MemVfs> Specimen::Damaged(const NamedFile& file, const Change& change) const {
  std::unique_ptr<MemVfs> image = Clone();
  std::string bytes = ReadFile(image.get(), file.path);
  const std::string before = bytes;
  change(&bytes);
  std::unique_ptr<File> out;
  DB_EXPECT_OK(image->Open(file.path, OpenMode::kReadWrite, &out));
  size_t first = 0;
  while (first < bytes.size() && bytes[first] == before[first]) first++;
  size_t last = bytes.size();
  while (last > first && bytes[last - 1] == before[last - 1]) last--;
  DB_EXPECT_OK(out->Write(first, Slice(bytes.data() + first, last - first)));
  return image;
}

// Scans, point reads of what is there and what is not, and a verification of all tables and blob
// files.
std::string Specimen::Compare(Database* database, bool* reported) const {
  const Contents& truth = history_.states.back();
  const bool cut = database->recovery().bytes_dropped > 0;
  *reported = cut;
  for (const auto& [name, rows] : truth) {
    const Ref<Keyspace> keyspace = database->FindKeyspace(name);
    if (!keyspace) return "no keyspace " + name;
    const Ref<SuperVersion> pin = keyspace->tree()->Pin();
    Rows actual;
    Status status = ReadRows(*keyspace, pin, database->visible(), &actual);
    if (!status.ok()) {
      if (!IsDamage(status)) return "a scan failed otherwise: " + status.ToString();
      *reported = true;
    } else if (actual != rows) {
      return "a scan gave something else: " + Difference({{name, rows}}, {{name, actual}});
    }
    std::set<std::string> keys;
    for (int i = 0; i < 60; ++i) keys.insert("k" + std::to_string(i));
    for (const auto& row : rows) keys.insert(row.first);
    for (const std::string& key : keys) {
      std::string value;
      status = ReadOne(*keyspace, key, database->visible(), &value);
      const auto row = rows.find(key);
      if (IsDamage(status)) {
        *reported = true;
      } else if (row == rows.end() ? !status.Is(Code::kNotFound)
                                   : !status.ok() || value != row->second) {
        return "a point read gave something else at " + key + ": " + status.ToString();
      }
    }
    std::vector<Status> verified;
    for (int level = 0; level < kLevelCount; ++level) {
      for (const Run& run : pin->version->level(level)) {
        for (const Ref<TableReader>& table : run.tables) verified.push_back(table->Verify());
      }
    }
    for (const BlobFileUse& use : pin->version->blob_files()) {
      verified.push_back(use.file->Verify());
    }
    for (const Status& s : verified) {
      if (!s.ok() && !IsDamage(s)) return "verify: " + s.ToString();
      *reported = *reported || !s.ok();
    }
  }
  return "";
}

std::string Specimen::Check(MemVfs* image, const NamedFile& file, bool needed) const {
  Ref<Database> database;
  DatabaseOptions options = Workload::MakeOptions(options_);
  options.read_only = true;  // nothing repairs or moves what is to be read
  const Status status = OpenSmall(image, options_.seed, options, &database);
  if (!status.ok()) {
    if (!IsDamage(status)) return "does not open: " + status.ToString();
    return needed ? "" : "does not open for bytes that nothing needs: " + status.ToString();
  }
  bool reported = false;
  std::string problem = Compare(database.get(), &reported);
  if (problem.empty() && needed && !reported) problem = "damage that nobody noticed";
  DB_EXPECT_OK(database->Close());
  static_cast<void>(file);
  return problem;
}

std::string HuntWithFlips(uint64_t tries) {
  constexpr uint64_t kFlips = 250;
  TestRandom random(77);
  for (uint64_t round = 0; round < tries; ++round) {
    const Specimen specimen(TestSeed() * 100 + round);
    for (uint64_t i = 0; i < kFlips; ++i) {
      const Specimen::NamedFile& file = specimen.files()[random.Below(specimen.files().size())];
      if (file.needed == 0) continue;
      const uint64_t offset = random.Below(file.needed);
      const auto image = specimen.Damaged(file, [&](std::string* bytes) {
        (*bytes)[offset] = static_cast<char>((*bytes)[offset] ^ (1 << random.Below(8)));
      });
      const std::string problem = specimen.Check(image.get(), file, true);
      if (problem.empty()) continue;
      return file.path + " at " + std::to_string(offset) + ": " + problem;
    }
  }
  return "";
}

std::string HuntWithSwaps(uint64_t tries) {
  for (uint64_t round = 0; round < tries; ++round) {
    const Specimen specimen = Specimen::WithEqualBlocks(TestSeed() * 100 + round);
    for (const Specimen::NamedFile& file : specimen.files()) {
      if (file.path.find(".table") == std::string::npos || file.needed == 0) continue;
      for (size_t length = 300; length <= 800 && 2 * length < file.size; ++length) {
        const auto image = specimen.Damaged(file, [&](std::string* bytes) {
          const auto middle = bytes->begin() + static_cast<std::ptrdiff_t>(length);
          std::swap_ranges(bytes->begin(), middle, middle);
        });
        const std::string problem = specimen.Check(image.get(), file, true);
        if (problem.empty()) continue;
        return file.path + ", " + std::to_string(length) + ": " + problem;
      }
    }
  }
  return "";
}

}  // namespace shale
