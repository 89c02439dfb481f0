#include "tree/options.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/coding.h"

namespace shale {
namespace {

constexpr size_t kLevelListMax = 8;
constexpr uint64_t kBlockSizeMax = uint64_t{32} << 20;
constexpr double kBitsPerKeyMax = 100;

enum Option : uint64_t {
  kMaxMemtableSize = 1,
  kMemtable = 2,
  kDataBlockSize = 3,
  kRestartInterval = 4,
  kHashIndexRatio = 5,
  kCompression = 6,
  kIndexCompression = 7,
  kFilter = 8,
  kPinIndex = 9,
  kPinFilter = 10,
  kPartitionIndex = 11,
  kPartitionFilter = 12,
  kExpectPointReadHits = 13,
  kCompaction = 14,
  kKvSeparation = 15,
  kDurability = 16,
};

enum CompactionField : uint64_t {
  kStrategyKind = 1,
  kStrategyName = 2,
  kL0Threshold = 3,
  kTargetSize = 4,
  kLevelRatio = 5,
  kBaseSize = 6,
  kRatio = 7,
  kMinRuns = 8,
  kLimit = 9,
  kTtl = 10,
  kTombstoneShare = 11,
  kMaxAge = 12,
};

enum KvSeparationField : uint64_t {
  kThreshold = 1,
  kFileSize = 2,
  kBlobCompression = 3,
  kStalenessThreshold = 4,
  kAgeCutoff = 5,
};

constexpr uint64_t kThresholdMax = uint64_t{1} << 30;
constexpr uint64_t kFileSizeMin = 4096;
constexpr uint64_t kFileSizeMax = uint64_t{1} << 40;

// Below it tiers would not grow.
constexpr double kRatioMin = 1.01;
constexpr double kAboveZero = std::numeric_limits<double>::denorm_min();
// Bytes of an output table of strategies that have no size of their own.
constexpr uint64_t kOutputSize = uint64_t{64} << 20;

// ---- fields, in the order of their ids ----

using Fields = std::map<uint64_t, std::string>;

Status BadOptions(const char* what) {
  return Status::Corruption(std::string("options of a keyspace: ") + what);
}

Status SplitFields(Slice bytes, Fields* fields) {
  Reader reader(bytes);
  uint64_t last = 0;
  while (!reader.AtEnd()) {
    const uint64_t id = reader.Varint();
    const Slice content = reader.Bytes();
    if (!reader.ok()) return BadOptions("a field is cut off");
    if (!fields->empty() && id <= last) return BadOptions("fields are not in ascending order");
    last = id;
    fields->emplace(id, content.ToString());
  }
  return Status::Ok();
}

std::string JoinFields(const Fields& fields) {
  std::string out;
  for (const auto& [id, content] : fields) {
    PutVarint(&out, id);
    PutBytes(&out, content);
  }
  return out;
}

// Adds what an earlier Decode did not know; it was checked then.
void AddUnknown(const std::string& unknown, Fields* fields) {
  Reader reader{Slice(unknown)};
  while (!reader.AtEnd()) {
    const uint64_t id = reader.Varint();
    const Slice content = reader.Bytes();
    if (reader.ok()) fields->emplace(id, content.ToString());
  }
}

// ---- items ----

void PutF64(std::string* out, double v) { PutU64(out, std::bit_cast<uint64_t>(v)); }

double GetF64(Reader* reader) { return std::bit_cast<double>(reader->U64()); }

std::string VarintField(uint64_t v) {
  std::string out;
  PutVarint(&out, v);
  return out;
}
std::string ByteField(uint8_t v) { return std::string(1, static_cast<char>(v)); }

template <typename T, typename Put>
std::string ListField(const std::vector<T>& list, Put put) {
  std::string out;
  for (const auto& v : list) put(&out, v);
  return out;
}

std::string FlagsField(const PerLevel<bool>& list) {
  std::string out;
  for (bool v : list) PutU8(&out, v ? 1 : 0);
  return out;
}

// Takes fields out of a map and decodes them; the first failure is kept.
class FieldReader {
 public:
  explicit FieldReader(Fields* fields) : fields_(fields) {}

  const Status& status() const { return status_; }

  // Nothing if the field is absent.
  std::optional<std::string> Take(uint64_t id) {
    auto it = fields_->find(id);
    if (it == fields_->end()) return std::nullopt;
    std::optional<std::string> content = std::move(it->second);
    fields_->erase(it);
    return content;
  }

  void Varint(uint64_t id, uint64_t min, uint64_t max, uint64_t* value) {
    const auto content = Take(id);
    if (!content) return;
    Reader reader{Slice(*content)};
    const uint64_t v = reader.Varint();
    if (!reader.ok() || !reader.AtEnd() || v < min || v > max) return Fail("a number");
    *value = v;
  }

  void Require(uint64_t id) {
    if (fields_->count(id) == 0) Fail("a strategy: a number is missing");
  }

  // Stays as it is if the field is absent.
  void Real(uint64_t id, double min, double* value) {
    const auto content = Take(id);
    if (!content) return;
    Reader reader{Slice(*content)};
    const double v = GetF64(&reader);
    if (!reader.ok() || !reader.AtEnd() || !std::isfinite(v) || v < min) return Fail("a number");
    *value = v;
  }

  std::optional<uint8_t> Byte(uint64_t id) {
    const auto content = Take(id);
    if (!content) return std::nullopt;
    if (content->size() == 1) return static_cast<uint8_t>((*content)[0]);
    Fail("a byte");
    return std::nullopt;
  }

  // `get` reads one item and says whether it is in range.
  template <typename T, typename Get>
  void List(uint64_t id, std::vector<T>* list, Get get, size_t max_items = kLevelListMax) {
    const auto content = Take(id);
    if (!content) return;
    Reader reader{Slice(*content)};
    std::vector<T> items;
    while (!reader.AtEnd()) {
      T item{};
      if (items.size() == max_items || !get(&reader, &item) || !reader.ok()) return Fail("a list");
      items.push_back(item);
    }
    if (items.empty()) return Fail("an empty list");
    *list = std::move(items);
  }

  void Varints(uint64_t id, uint64_t min, uint64_t max, PerLevel<uint32_t>* list) {
    List(id, list, [=](Reader* r, uint32_t* v) {
      const uint64_t wide = r->Varint();
      *v = static_cast<uint32_t>(wide);
      return wide >= min && wide <= max;
    });
  }
  void Codecs(uint64_t id, PerLevel<Codec>* list) {
    List(id, list, [](Reader* r, Codec* v) {
      const uint8_t byte = r->U8();
      *v = static_cast<Codec>(byte);
      return byte <= kCodecMax;
    });
  }
  void Flags(uint64_t id, PerLevel<bool>* list) {
    List(id, list, [](Reader* r, bool* v) {
      const uint8_t byte = r->U8();
      *v = byte == 1;
      return byte <= 1;
    });
  }
  void Fail(const char* what) {
    if (status_.ok()) status_ = BadOptions((std::string("bad value of ") + what).c_str());
  }

 private:
  Fields* fields_;
  Status status_;
};

std::string EncodeFilter(const PerLevel<FilterPolicy>& list) {
  std::string out;
  for (const FilterPolicy& f : list) {
    const bool bits = f.bits_per_key > 0;
    const bool rate = !bits && f.false_positive_rate > 0;
    PutU8(&out, bits ? 1 : (rate ? 2 : 0));
    PutF64(&out, bits ? f.bits_per_key : (rate ? f.false_positive_rate : 0));
  }
  return out;
}

bool GetFilter(Reader* reader, FilterPolicy* policy) {
  const uint8_t kind = reader->U8();
  const double v = GetF64(reader);
  switch (kind) {
    case 0:
      return v == 0;
    case 1:
      policy->bits_per_key = v;
      return v >= 0 && v <= kBitsPerKeyMax;
    case 2:
      policy->false_positive_rate = v;
      return v > 0 && v < 1;
    default:
      return false;
  }
}

std::string RealField(double v) {
  std::string out;
  PutF64(&out, v);
  return out;
}

const char* NameOf(StrategyKind kind) {
  switch (kind) {
    case StrategyKind::kLeveled:
      return "leveled";
    case StrategyKind::kSizeTiered:
      return "size-tiered";
    case StrategyKind::kFifo:
      return "fifo";
    default:
      return "user";
  }
}

std::string EncodeStrategy(const StrategyOptions& strategy) {
  Fields fields;
  AddUnknown(strategy.unknown_fields, &fields);
  fields[kStrategyKind] = ByteField(static_cast<uint8_t>(strategy.kind));
  fields[kStrategyName] = strategy.name;
  if (strategy.kind == StrategyKind::kLeveled) {
    fields[kL0Threshold] = VarintField(strategy.l0_threshold);
    fields[kTargetSize] = VarintField(strategy.target_size);
    fields[kLevelRatio] = ListField(strategy.level_ratio, PutF64);
  } else if (strategy.kind == StrategyKind::kSizeTiered) {
    fields[kBaseSize] = VarintField(strategy.base_size);
    fields[kRatio] = RealField(strategy.ratio);
    fields[kMinRuns] = VarintField(strategy.min_runs);
  } else if (strategy.kind == StrategyKind::kFifo) {
    fields[kLimit] = VarintField(strategy.limit);
    if (strategy.ttl_seconds.has_value()) fields[kTtl] = RealField(*strategy.ttl_seconds);
  }
  if (strategy.HasUpkeep()) {
    fields[kTombstoneShare] = RealField(strategy.tombstone_share);
    if (strategy.max_age_seconds) fields[kMaxAge] = RealField(*strategy.max_age_seconds);
  }
  return JoinFields(fields);
}

Status DecodeStrategy(Slice bytes, StrategyOptions* strategy) {
  Fields fields;
  SHALE_RETURN_IF_ERROR(SplitFields(bytes, &fields));
  FieldReader reader(&fields);
  if (const auto kind = reader.Byte(kStrategyKind)) {
    strategy->kind = static_cast<StrategyKind>(*kind);
  } else {
    reader.Fail("a strategy without its kind");
  }
  if (auto name = reader.Take(kStrategyName)) {
    strategy->name = std::move(*name);
  } else {
    strategy->name = NameOf(strategy->kind);
  }
  if (strategy->kind == StrategyKind::kLeveled) {
    uint64_t threshold = strategy->l0_threshold;
    reader.Varint(kL0Threshold, 1, UINT32_MAX, &threshold);
    strategy->l0_threshold = static_cast<uint32_t>(threshold);
    reader.Varint(kTargetSize, 1, UINT64_MAX, &strategy->target_size);
    reader.List(kLevelRatio, &strategy->level_ratio, [](Reader* r, double* v) {
      *v = GetF64(r);
      return std::isfinite(*v) && *v >= 1;
    });
  } else if (strategy->kind == StrategyKind::kSizeTiered) {
    for (const CompactionField id : {kBaseSize, kRatio, kMinRuns}) reader.Require(id);
    reader.Varint(kBaseSize, 1, UINT64_MAX, &strategy->base_size);
    reader.Real(kRatio, kRatioMin, &strategy->ratio);
    reader.Varint(kMinRuns, 2, UINT64_MAX, &strategy->min_runs);
  } else if (strategy->kind == StrategyKind::kFifo) {
    reader.Require(kLimit);
    reader.Varint(kLimit, 1, UINT64_MAX, &strategy->limit);
    double ttl = -1;
    reader.Real(kTtl, 0, &ttl);
    if (ttl >= 0) strategy->ttl_seconds = ttl;
  }
  if (strategy->HasUpkeep()) {
    reader.Real(kTombstoneShare, kAboveZero, &strategy->tombstone_share);
    if (strategy->tombstone_share > 1) reader.Fail("a share");
    double age = -1;
    reader.Real(kMaxAge, kAboveZero, &age);
    if (age > 0) strategy->max_age_seconds = age;
  }
  strategy->unknown_fields = JoinFields(fields);
  return reader.status();
}

std::string EncodeKvSeparation(const KvSeparation& separation) {
  Fields fields;
  AddUnknown(separation.unknown_fields, &fields);
  fields[kThreshold] = VarintField(separation.threshold);
  fields[kFileSize] = VarintField(separation.file_size);
  fields[kBlobCompression] = ByteField(static_cast<uint8_t>(separation.compression));
  fields[kStalenessThreshold] = RealField(separation.staleness_threshold);
  fields[kAgeCutoff] = RealField(separation.age_cutoff);
  return JoinFields(fields);
}

Status DecodeKvSeparation(Slice bytes, KvSeparation* separation) {
  Fields fields;
  SHALE_RETURN_IF_ERROR(SplitFields(bytes, &fields));
  FieldReader reader(&fields);
  reader.Varint(kThreshold, 1, kThresholdMax, &separation->threshold);
  reader.Varint(kFileSize, kFileSizeMin, kFileSizeMax, &separation->file_size);
  if (const auto codec = reader.Byte(kBlobCompression)) {
    if (*codec > kCodecMax) reader.Fail("a codec");
    separation->compression = static_cast<Codec>(*codec);
  }
  reader.Real(kStalenessThreshold, 0, &separation->staleness_threshold);
  reader.Real(kAgeCutoff, 0, &separation->age_cutoff);
  if (separation->staleness_threshold > 1 || separation->age_cutoff > 1) reader.Fail("a share");
  separation->unknown_fields = JoinFields(fields);
  return reader.status();
}

// ---- filters ----

// Rate of false positives of a filter of 512-bit lines: a line holds a Poisson-distributed number
// of keys, and the fuller lines cost more than the emptier ones save.
double BlockedRate(double bits_per_key) {
  const double probes = std::clamp(std::floor(bits_per_key * 0.69 + 0.5), 1.0, 24.0);
  const double mean = 512 / bits_per_key;
  const int limit = static_cast<int>(mean + 12 * std::sqrt(mean) + 16);
  double log_weight = -mean;  // of a line without keys
  double rate = 0;
  for (int keys = 1; keys <= limit; keys++) {
    log_weight += std::log(mean / keys);
    rate += std::exp(log_weight) * std::pow(1 - std::pow(1 - 1.0 / 512, probes * keys), probes);
  }
  return rate;
}

}  // namespace

double FilterPolicy::BitsPerKey() const {
  if (bits_per_key > 0) return std::min(bits_per_key, kBitsPerKeyMax);
  if (!(false_positive_rate > 0)) return 0;
  // The rate falls with the bits but for small steps where the number of probes changes.
  double low = 0.25;
  double high = kBitsPerKeyMax;
  if (BlockedRate(high) > false_positive_rate) return high;
  while (high - low > 0.01) {
    const double middle = (low + high) / 2;
    (BlockedRate(middle) > false_positive_rate ? low : high) = middle;
  }
  return high;
}

TableWriteOptions TreeOptions::WriteOptions(int policy_level, bool last_level) const {
  TableWriteOptions w;
  w.block_size = AtLevel(data_block_size, policy_level);
  w.restart_interval = AtLevel(restart_interval, policy_level);
  w.hash_index_ratio = AtLevel(hash_index_ratio, policy_level);
  w.codec = AtLevel(compression, policy_level);
  w.index_codec = AtLevel(index_compression, policy_level);
  const bool filtered = !(last_level && expect_point_read_hits);
  w.filter_bits_per_key = filtered ? AtLevel(filter, policy_level).BitsPerKey() : 0;
  w.partition_index = AtLevel(partition_index, policy_level);
  w.partition_filter = AtLevel(partition_filter, policy_level);
  return w;
}

TableOpenOptions TreeOptions::OpenOptions(int policy_level) const {
  TableOpenOptions o;
  o.pin_index = AtLevel(pin_index, policy_level);
  o.pin_filter = AtLevel(pin_filter, policy_level);
  return o;
}

uint64_t StrategyOptions::OutputSize() const {
  if (kind == StrategyKind::kLeveled) return target_size;
  return kind == StrategyKind::kSizeTiered ? base_size : kOutputSize;
}

std::optional<double> StrategyOptions::MaxAge() const {
  if (HasUpkeep()) return max_age_seconds;
  return kind == StrategyKind::kFifo ? ttl_seconds : std::nullopt;
}

Status TreeOptions::Check() const {
  TreeOptions decoded;
  const Status status = Decode(Encode(), &decoded);
  return status.ok() ? status : Status(Code::kInvalidOption, status.message());
}

std::string TreeOptions::Encode() const {
  Fields fields;
  AddUnknown(unknown_fields, &fields);
  const auto put_varint = [](std::string* out, uint32_t v) { PutVarint(out, v); };
  const auto put_codec = [](std::string* out, Codec c) { PutU8(out, static_cast<uint8_t>(c)); };
  fields[kMaxMemtableSize] = VarintField(max_memtable_size);
  fields[kMemtable] = ByteField(memtable_auto ? memtable_stated : static_cast<uint8_t>(memtable));
  fields[kDataBlockSize] = ListField(data_block_size, put_varint);
  fields[kRestartInterval] = ListField(restart_interval, put_varint);
  fields[kHashIndexRatio] = ListField(hash_index_ratio, PutF64);
  fields[kCompression] = ListField(compression, put_codec);
  fields[kIndexCompression] = ListField(index_compression, put_codec);
  fields[kFilter] = EncodeFilter(filter);
  fields[kPinIndex] = FlagsField(pin_index);
  fields[kPinFilter] = FlagsField(pin_filter);
  fields[kPartitionIndex] = FlagsField(partition_index);
  fields[kPartitionFilter] = FlagsField(partition_filter);
  fields[kExpectPointReadHits] = ByteField(expect_point_read_hits ? 1 : 0);
  fields[kCompaction] = EncodeStrategy(strategy);
  if (kv_separation) fields[kKvSeparation] = EncodeKvSeparation(*kv_separation);
  if (!durability_inherited) fields[kDurability] = ByteField(durability);
  return JoinFields(fields);
}

Status TreeOptions::Decode(Slice bytes, TreeOptions* options) {
  Fields fields;
  SHALE_RETURN_IF_ERROR(SplitFields(bytes, &fields));
  TreeOptions o;
  FieldReader reader(&fields);
  reader.Varint(kMaxMemtableSize, 1, UINT64_MAX, &o.max_memtable_size);
  if (const auto stated = reader.Byte(kMemtable)) {
    o.memtable_auto = *stated > static_cast<uint8_t>(MemtableKind::kSkiplist);
    if (o.memtable_auto) {
      o.memtable_stated = *stated;
    } else {
      o.memtable = static_cast<MemtableKind>(*stated);
    }
  }
  reader.Varints(kDataBlockSize, 1, kBlockSizeMax, &o.data_block_size);
  reader.Varints(kRestartInterval, 1, 255, &o.restart_interval);
  reader.List(kHashIndexRatio, &o.hash_index_ratio, [](Reader* r, double* v) {
    *v = GetF64(r);
    return *v >= 0 && *v <= 8;
  });
  reader.Codecs(kCompression, &o.compression);
  reader.Codecs(kIndexCompression, &o.index_compression);
  reader.List(kFilter, &o.filter, GetFilter);
  reader.Flags(kPinIndex, &o.pin_index);
  reader.Flags(kPinFilter, &o.pin_filter);
  reader.Flags(kPartitionIndex, &o.partition_index);
  reader.Flags(kPartitionFilter, &o.partition_filter);
  if (const auto flag = reader.Byte(kExpectPointReadHits)) {
    if (*flag > 1) reader.Fail("a flag");
    o.expect_point_read_hits = *flag == 1;
  }
  if (const auto strategy = reader.Take(kCompaction)) {
    SHALE_RETURN_IF_ERROR(DecodeStrategy(*strategy, &o.strategy));
  }
  if (const auto separation = reader.Take(kKvSeparation)) {
    SHALE_RETURN_IF_ERROR(DecodeKvSeparation(*separation, &o.kv_separation.emplace()));
  }
  if (const auto durability = reader.Byte(kDurability)) {
    if (*durability > 2) reader.Fail("durability");
    o.durability = *durability;
    o.durability_inherited = false;
  }
  SHALE_RETURN_IF_ERROR(reader.status());
  o.unknown_fields = JoinFields(fields);
  *options = std::move(o);
  return Status::Ok();
}

}  // namespace shale
