#include "binding/options_binding.h"

#include "binding/js_object.h"

namespace shale {
namespace {

constexpr std::initializer_list<const char*> kCodecNames = {"none", "lz4", "zstd"};
constexpr std::initializer_list<const char*> kDurabilityNames = {"buffered", "os", "sync"};

Status OutcomeOf(const JsReader& reader) {
  if (reader.ok()) return Status::Ok();
  return {Code::kInvalidOption, "an option has an unexpected type"};
}

enum Given : uint32_t {
  kMaxMemtableSize = 1 << 0,
  kMemtable = 1 << 1,
  kDataBlockSize = 1 << 2,
  kRestartInterval = 1 << 3,
  kHashIndexRatio = 1 << 4,
  kCompression = 1 << 5,
  kIndexCompression = 1 << 6,
  kFilter = 1 << 7,
  kPinIndex = 1 << 8,
  kPinFilter = 1 << 9,
  kPartitionIndex = 1 << 10,
  kPartitionFilter = 1 << 11,
  kExpectPointReadHits = 1 << 12,
  kCompaction = 1 << 13,
  kDurability = 1 << 14,
  kKvSeparation = 1 << 15,
};

void ReadStrategyFields(JsReader* reader, StrategyOptions* strategy) {
  reader->Enum("type", {"leveled", "size-tiered", "fifo", "user"}, &strategy->kind);
  reader->Text("name", &strategy->name);
  reader->Number("l0Threshold", &strategy->l0_threshold);
  reader->Number("targetSize", &strategy->target_size);
  reader->List("levelRatio", &strategy->level_ratio,
               [reader](napi_value item) { return reader->ToNumber<double>(item); });
  reader->Number("baseSize", &strategy->base_size);
  reader->Number("ratio", &strategy->ratio);
  reader->Number("minRuns", &strategy->min_runs);
  reader->Number("tombstoneShare", &strategy->tombstone_share);
  if (reader->Has("maxAgeSeconds")) {
    reader->Number("maxAgeSeconds", &strategy->max_age_seconds.emplace());
  }
  reader->Number("limit", &strategy->limit);
  if (reader->Has("ttlSeconds")) reader->Number("ttlSeconds", &strategy->ttl_seconds.emplace());
}

Status ReadKvSeparation(napi_env env, napi_value setting, KvSeparation* separation) {
  JsReader reader(env, setting);
  reader.Number("threshold", &separation->threshold);
  reader.Number("fileSize", &separation->file_size);
  reader.Enum("compression", kCodecNames, &separation->compression);
  reader.Number("stalenessThreshold", &separation->staleness_threshold);
  reader.Number("ageCutoff", &separation->age_cutoff);
  return OutcomeOf(reader);
}

FilterPolicy ReadFilter(napi_env env, napi_value value, JsReader* outer) {
  FilterPolicy policy;
  napi_valuetype type = napi_undefined;
  (void)napi_typeof(env, value, &type);
  if (type != napi_object) {
    (void)outer->ToIndex(value, {"none"});
    return policy;
  }
  JsReader reader(env, value);
  reader.Number("bitsPerKey", &policy.bits_per_key);
  reader.Number("falsePositiveRate", &policy.false_positive_rate);
  return policy;
}

}  // namespace

Status ReadDatabaseOptions(napi_env env, napi_value settings, DatabaseOptions* options) {
  JsReader reader(env, settings);
  reader.Bool("createIfMissing", &options->create_if_missing);
  reader.Bool("errorIfExists", &options->error_if_exists);
  reader.Bool("readOnly", &options->read_only);
  reader.Enum("durability", kDurabilityNames, &options->durability);
  reader.Number("syncInterval", &options->sync_interval_ms);
  reader.Number("cacheSize", &options->cache_size);
  reader.Number("maxOpenFiles", &options->max_open_files);
  reader.Number("workerThreads", &options->worker_threads);
  reader.Number("maxWriteBufferSize", &options->max_write_buffer_size);
  reader.Number("maxStall", &options->max_stall_ms);
  reader.Number("maxValueSize", &options->max_value_size);
  reader.Number("compactionRateLimit", &options->compaction_rate_limit);
  reader.Number("maxJournalSize", &options->max_journal_size);
  reader.Enum("journalCompression", kCodecNames, &options->journal_compression);
  reader.Enum("recovery", {"tail", "strict", "salvage"}, &options->recovery);
  // Not before they all are there.
  options->hold_compactions = reader.Has("filterOf");
  return OutcomeOf(reader);
}

Status GivenTreeOptions::Read(napi_env env, napi_value given, GivenTreeOptions* options) {
  JsReader r(env, given);
  TreeOptions* v = &options->values_;
  uint32_t* bits = &options->given_;
  const auto present = [&r, bits](const char* name, uint32_t bit) {
    const bool has = r.Has(name);
    if (has) *bits |= bit;
    return has;
  };
  const auto size = [&r](napi_value item) { return r.ToNumber<uint32_t>(item); };
  const auto ratio = [&r](napi_value item) { return r.ToNumber<double>(item); };
  const auto flag = [&r](napi_value item) { return r.ToBool(item); };
  const auto codec = [&r](napi_value item) {
    return static_cast<Codec>(r.ToIndex(item, kCodecNames));
  };
  if (present("maxMemtableSize", kMaxMemtableSize))
    r.Number("maxMemtableSize", &v->max_memtable_size);
  if (present("memtable", kMemtable)) {
    size_t kind = 0;
    r.Enum("memtable", {"auto", "skiplist", "radix"}, &kind);
    v->memtable_auto = kind == 0;
    v->memtable = kind == 1 ? MemtableKind::kSkiplist : MemtableKind::kRadix;
  }
  if (present("dataBlockSize", kDataBlockSize)) r.List("dataBlockSize", &v->data_block_size, size);
  if (present("restartInterval", kRestartInterval)) {
    r.List("restartInterval", &v->restart_interval, size);
  }
  if (present("hashIndexRatio", kHashIndexRatio)) {
    r.List("hashIndexRatio", &v->hash_index_ratio, ratio);
  }
  if (present("compression", kCompression)) r.List("compression", &v->compression, codec);
  if (present("indexCompression", kIndexCompression)) {
    r.List("indexCompression", &v->index_compression, codec);
  }
  if (present("filter", kFilter)) {
    r.List("filter", &v->filter, [env, &r](napi_value item) { return ReadFilter(env, item, &r); });
  }
  if (present("pinIndex", kPinIndex)) r.List("pinIndex", &v->pin_index, flag);
  if (present("pinFilter", kPinFilter)) r.List("pinFilter", &v->pin_filter, flag);
  if (present("partitionIndex", kPartitionIndex)) {
    r.List("partitionIndex", &v->partition_index, flag);
  }
  if (present("partitionFilter", kPartitionFilter)) {
    r.List("partitionFilter", &v->partition_filter, flag);
  }
  if (present("expectPointReadHits", kExpectPointReadHits)) {
    r.Bool("expectPointReadHits", &v->expect_point_read_hits);
  }
  if (present("compaction", kCompaction)) {
    napi_value setting;
    if (r.Get("compaction", &setting)) {
      SHALE_RETURN_IF_ERROR(ReadStrategy(env, setting, &v->strategy));
    }
  }
  if (present("kvSeparation", kKvSeparation)) {
    napi_value setting;
    if (r.Get("kvSeparation", &setting)) {
      SHALE_RETURN_IF_ERROR(ReadKvSeparation(env, setting, &v->kv_separation.emplace()));
    }
  }
  if (present("durability", kDurability)) {
    r.Enum("durability", kDurabilityNames, &v->durability);
    v->durability_inherited = false;
  }
  return OutcomeOf(r);
}

void GivenTreeOptions::ApplyTo(TreeOptions* options) const {
  const TreeOptions& v = values_;
  const auto given = [this](uint32_t bit) { return (given_ & bit) != 0; };
  if (given(kMaxMemtableSize)) options->max_memtable_size = v.max_memtable_size;
  if (given(kMemtable)) {
    options->memtable = v.memtable;
    options->memtable_auto = v.memtable_auto;
  }
  if (given(kDataBlockSize)) options->data_block_size = v.data_block_size;
  if (given(kRestartInterval)) options->restart_interval = v.restart_interval;
  if (given(kHashIndexRatio)) options->hash_index_ratio = v.hash_index_ratio;
  if (given(kCompression)) options->compression = v.compression;
  if (given(kIndexCompression)) options->index_compression = v.index_compression;
  if (given(kFilter)) options->filter = v.filter;
  if (given(kPinIndex)) options->pin_index = v.pin_index;
  if (given(kPinFilter)) options->pin_filter = v.pin_filter;
  if (given(kPartitionIndex)) options->partition_index = v.partition_index;
  if (given(kPartitionFilter)) options->partition_filter = v.partition_filter;
  if (given(kExpectPointReadHits)) options->expect_point_read_hits = v.expect_point_read_hits;
  if (given(kCompaction)) options->strategy = v.strategy;
  if (given(kKvSeparation)) {
    // What this version does not know of it stays.
    KvSeparation next = *v.kv_separation;
    if (options->kv_separation) next.unknown_fields = options->kv_separation->unknown_fields;
    options->kv_separation = std::move(next);
  }
  if (given(kDurability)) {
    options->durability = v.durability;
    options->durability_inherited = false;
  }
}

std::function<Status(bool, TreeOptions*)> GivenTreeOptions::Merge() const {
  return [given = *this](bool exists, TreeOptions* options) {
    if (exists && given.values_.kv_separation && !options->kv_separation) {
      return Status(Code::kInvalidOption,
                    "option kvSeparation cannot be switched on: it was off at the creation");
    }
    given.ApplyTo(options);
    return Status::Ok();
  };
}

Status ReadStandaloneOptions(napi_env env, napi_value settings, StandaloneOptions* options,
                             GivenTreeOptions* tree) {
  JsReader reader(env, settings);
  reader.Number("cacheSize", &options->cache_size);
  reader.Number("maxOpenFiles", &options->max_open_files);
  reader.Bool("backgroundCompaction", &options->background);
  napi_value given;
  if (reader.Get("tree", &given)) SHALE_RETURN_IF_ERROR(GivenTreeOptions::Read(env, given, tree));
  tree->ApplyTo(&options->tree);
  return OutcomeOf(reader);
}

Status ReadStrategy(napi_env env, napi_value setting, StrategyOptions* strategy) {
  JsReader reader(env, setting);
  ReadStrategyFields(&reader, strategy);
  return OutcomeOf(reader);
}

Status ReadPlan(napi_env env, napi_value data, CompactionPlan* plan) {
  JsReader reader(env, data);
  reader.Enum("kind", {"merge", "move", "drop"}, &plan->type);
  reader.List("tables", &plan->tables,
              [&reader](napi_value item) { return reader.ToNumber<uint64_t>(item); });
  reader.Number("destinationLevel", &plan->destination_level);
  reader.Number("targetSize", &plan->target_size);
  return OutcomeOf(reader);
}

}  // namespace shale
