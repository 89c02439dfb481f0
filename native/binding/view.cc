#include "binding/view.h"

#include "binding/convert.h"

namespace shale {
namespace {

const char* CodecName(Codec codec) {
  switch (codec) {
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
    case Codec::kNone:
      break;
  }
  return "none";
}

// A seqno that may not exist.
napi_value OptionalSeqno(napi_env env, bool exists, Seqno seqno) {
  return exists ? JsNumber(env, static_cast<double>(seqno)) : JsUndefined(env);
}

napi_value TableObject(napi_env env, int level, const TableMeta& meta) {
  return JsObject(env)
      .Number("id", meta.number)
      .Number("level", static_cast<uint64_t>(level))
      .Number("size", meta.size)
      .Number("itemCount", meta.item_count)
      .Number("tombstoneCount", meta.tombstone_count)
      .Number("weakTombstoneCount", meta.weak_tombstone_count)
      .Number("rangeTombstoneCount", meta.range_tombstone_count)
      .Set("firstKey", JsBytes(env, meta.first_key))
      .Set("lastKey", JsBytes(env, meta.last_key))
      .Number("lowestSeqno", meta.lowest_seqno)
      .Number("highestSeqno", meta.highest_seqno)
      .Number("createdAt", meta.created_at_ms)
      .Text("compression", CodecName(meta.codec))
      .Number("blockCount", meta.block_count)
      .Set("blobs", JsArray(env, meta.blobs,
                            [env](const BlobReference& blob) {
                              return JsObject(env)
                                  .Number("id", blob.number)
                                  .Number("bytes", blob.frame_bytes)
                                  .value();
                            }))
      .value();
}

napi_value BlobFileObject(napi_env env, const BlobFileUse& use) {
  return JsObject(env)
      .Number("id", use.number())
      .Number("size", use.file->meta().size)
      .Number("itemCount", use.file->meta().item_count)
      .Number("staleBytes", use.stale_bytes())
      .value();
}

napi_value MemtableObject(napi_env env, const Memtable& memtable) {
  return JsObject(env)
      .Number("id", memtable.id())
      .Number("size", memtable.used_bytes())
      .Number("itemCount", memtable.item_count())
      .Set("highestSeqno", OptionalSeqno(env, !memtable.empty(), memtable.highest_seqno()))
      .value();
}

napi_value FilterValue(napi_env env, const FilterPolicy& policy) {
  if (policy.bits_per_key > 0) {
    return JsObject(env).Real("bitsPerKey", policy.bits_per_key).value();
  }
  if (policy.false_positive_rate > 0) {
    return JsObject(env).Real("falsePositiveRate", policy.false_positive_rate).value();
  }
  return JsText(env, "none");
}

napi_value OptionalNumber(napi_env env, const std::optional<double>& number) {
  return number.has_value() ? JsNumber(env, *number) : JsUndefined(env);
}

napi_value StrategyObject(napi_env env, const StrategyOptions& strategy) {
  JsObject object(env);
  object.Text("name", strategy.name);
  switch (strategy.kind) {
    case StrategyKind::kLeveled:
      return object.Text("type", "leveled")
          .Number("l0Threshold", strategy.l0_threshold)
          .Number("targetSize", strategy.target_size)
          .Set("levelRatio", JsArray(env, strategy.level_ratio,
                                     [env](double ratio) { return JsNumber(env, ratio); }))
          .Real("tombstoneShare", strategy.tombstone_share)
          .Set("maxAgeSeconds", OptionalNumber(env, strategy.max_age_seconds))
          .value();
    case StrategyKind::kSizeTiered:
      return object.Text("type", "size-tiered")
          .Number("baseSize", strategy.base_size)
          .Real("ratio", strategy.ratio)
          .Number("minRuns", strategy.min_runs)
          .Real("tombstoneShare", strategy.tombstone_share)
          .Set("maxAgeSeconds", OptionalNumber(env, strategy.max_age_seconds))
          .value();
    case StrategyKind::kFifo:
      return object.Text("type", "fifo")
          .Number("limit", strategy.limit)
          .Set("ttlSeconds", OptionalNumber(env, strategy.ttl_seconds))
          .value();
    default:
      return object.Text("type", "user").value();
  }
}

napi_value KvSeparationValue(napi_env env, const std::optional<KvSeparation>& separation) {
  if (!separation.has_value()) return JsUndefined(env);
  return JsObject(env)
      .Number("threshold", separation->threshold)
      .Number("fileSize", separation->file_size)
      .Text("compression", CodecName(separation->compression))
      .Real("stalenessThreshold", separation->staleness_threshold)
      .Real("ageCutoff", separation->age_cutoff)
      .value();
}

}  // namespace

napi_value VersionObject(napi_env env, const Version& version) {
  napi_value levels = nullptr;
  (void)napi_create_array_with_length(env, kLevelCount, &levels);
  for (int i = 0; i < kLevelCount; ++i) {
    const napi_value runs = JsArray(env, version.level(i), [env, i](const Run& run) {
      return JsArray(env, run.tables, [env, i](const Ref<TableReader>& table) {
        return TableObject(env, i, table->meta());
      });
    });
    (void)napi_set_element(env, levels, static_cast<uint32_t>(i), runs);
  }
  return JsObject(env)
      .Number("id", version.id())
      .Set("levels", levels)
      .Set("blobFiles", JsArray(env, version.blob_files(),
                                [env](const BlobFileUse& use) { return BlobFileObject(env, use); }))
      .value();
}

napi_value SuperVersionObject(napi_env env, const SuperVersion& version) {
  return JsObject(env)
      .Set("version", VersionObject(env, *version.version))
      .Number("seqno", version.seqno)
      .Set("activeMemtable", MemtableObject(env, *version.active))
      .Set("sealedMemtables",
           JsArray(env, version.sealed,
                   [env](const Ref<Memtable>& memtable) { return MemtableObject(env, *memtable); }))
      .value();
}

napi_value TreeFiguresObject(napi_env env, const ReadTarget& target) {
  const Tree& tree = *target.tree();
  const Ref<SuperVersion> pin = tree.Pin();
  const uint64_t items = tree.approximate_len();
  const Seqno highest = tree.highest_seqno();
  const Seqno flushed = tree.flushed_seqno();  // exclusive
  uint64_t l0_tables = 0;
  for (const Run& run : pin->version->level(0)) l0_tables += run.tables.size();
  return JsObject(env)
      .Number("approximateLen", items)
      .Number("memtableSize", tree.memtable_bytes())
      .Number("tableCount", pin->version->table_count())
      .Number("l0TableCount", l0_tables)
      .Number("diskSpace", pin->version->bytes() + pin->version->blob_bytes())
      .Number("blobFileCount", pin->version->blob_files().size())
      .Number("fragmentedBlobBytes", pin->version->stale_blob_bytes())
      .Set("highestSeqno", OptionalSeqno(env, highest != 0 || items != 0, highest))
      .Set("highestPersistedSeqno", OptionalSeqno(env, flushed != 0, flushed - 1))
      .value();
}

napi_value TreeSettingsObject(napi_env env, const TreeOptions& options) {
  static constexpr const char* kDurabilities[] = {"buffered", "os", "sync"};
  const auto number = [env](double value) { return JsNumber(env, value); };
  const auto codec = [env](Codec value) { return JsText(env, CodecName(value)); };
  const auto flag = [env](bool value) {
    napi_value result = nullptr;
    (void)napi_get_boolean(env, value, &result);
    return result;
  };
  const char* memtable = options.memtable == MemtableKind::kSkiplist ? "skiplist" : "radix";
  return JsObject(env)
      .Number("maxMemtableSize", options.max_memtable_size)
      .Text("memtable", options.memtable_auto ? "auto" : memtable)
      .Set("dataBlockSize", JsArray(env, options.data_block_size, number))
      .Set("restartInterval", JsArray(env, options.restart_interval, number))
      .Set("hashIndexRatio", JsArray(env, options.hash_index_ratio, number))
      .Set("compression", JsArray(env, options.compression, codec))
      .Set("indexCompression", JsArray(env, options.index_compression, codec))
      .Set("filter", JsArray(env, options.filter,
                             [env](const FilterPolicy& f) { return FilterValue(env, f); }))
      .Set("pinIndex", JsArray(env, options.pin_index, flag))
      .Set("pinFilter", JsArray(env, options.pin_filter, flag))
      .Set("partitionIndex", JsArray(env, options.partition_index, flag))
      .Set("partitionFilter", JsArray(env, options.partition_filter, flag))
      .Bool("expectPointReadHits", options.expect_point_read_hits)
      .Set("compaction", StrategyObject(env, options.strategy))
      .Set("kvSeparation", KvSeparationValue(env, options.kv_separation))
      .Set("durability", options.durability_inherited
                             ? JsUndefined(env)
                             : JsText(env, kDurabilities[options.durability % 3]))
      .value();
}

napi_value PlanObject(napi_env env, const CompactionPlan& plan) {
  using Type = CompactionPlan::Type;
  JsObject object(env);
  object.Set("tables", JsArray(env, plan.tables, [env](uint64_t number) {
               return JsNumber(env, static_cast<double>(number));
             }));
  if (plan.type == Type::kDrop) return object.Text("kind", "drop").value();
  object.Number("destinationLevel", static_cast<uint64_t>(plan.destination_level));
  if (plan.type == Type::kMove) return object.Text("kind", "move").value();
  return object.Text("kind", "merge").Number("targetSize", plan.target_size).value();
}

napi_value JobsArray(napi_env env, const std::vector<RunningJob>& jobs) {
  return JsArray(env, jobs, [env](const RunningJob& job) {
    return JsObject(env)
        .Set("keyspace", job.keyspace.empty() ? JsUndefined(env) : JsText(env, job.keyspace))
        .Set("plan", PlanObject(env, job.plan))
        .Number("done", job.done_bytes)
        .Number("total", job.total_bytes)
        .value();
  });
}

napi_value DatabaseFiguresObject(napi_env env, const Database& database) {
  const DatabaseFigures figures = database.figures();
  return JsObject(env)
      .Number("writeBufferSize", figures.write_buffer_bytes)
      .Number("outstandingFlushes", figures.outstanding_flushes)
      .Number("activeCompactions", figures.active_compactions)
      .Number("compactionsCompleted", figures.compactions_completed)
      .Real("timeCompacting", figures.compacting_ms)
      .Number("journalCount", figures.journal_count)
      .Number("journalDiskSpace", figures.journal_bytes)
      .Number("diskSpace", figures.disk_bytes)
      .Number("cacheCapacity", database.cache_stats().capacity)
      .Number("seqno", database.next_seqno())
      .Number("visibleSeqno", database.visible())
      .value();
}

napi_value RecoveryObject(napi_env env, const RecoveryReport& report) {
  return JsObject(env)
      .Number("commitsReplayed", report.commits_replayed)
      .Number("bytesDropped", report.bytes_dropped)
      .Set("commitsDropped", report.commits_dropped
                                 ? JsNumber(env, static_cast<double>(*report.commits_dropped))
                                 : JsUndefined(env))
      .Set("files",
           JsArray(env, report.files, [env](const std::string& file) { return JsText(env, file); }))
      .value();
}

Bounds ReadBounds(napi_env env, napi_value lower, napi_value upper) {
  Bounds bounds;
  Slice bytes;
  if (BorrowBytes(env, lower, &bytes)) bounds.lower = bytes.ToString();
  if (BorrowBytes(env, upper, &bytes)) bounds.upper = bytes.ToString();
  return bounds;
}

}  // namespace shale
