// Metrics and events: what databases and trees count, and what happens in them.

#include <utility>

#include "binding/environment.h"
#include "binding/open_core.h"
#include "binding/view.h"

namespace shale {
namespace {

// --- metrics -----------------------------------------------------------------------------------

napi_value LoadsObject(napi_env env, const TreeMetrics::Loads& loads) {
  return JsObject(env).Number("cached", loads.cached).Number("io", loads.io).value();
}

// KeyspaceMetricsData
napi_value TreeMetricsObject(napi_env env, const TreeMetrics& m) {
  return JsObject(env)
      .Number("memtableBytes", m.memtable_bytes)
      .Number("tableBytes", m.table_bytes)
      .Number("blobBytes", m.blob_bytes)
      .Number("staleBlobBytes", m.stale_blob_bytes)
      .Set("levels", JsArray(env, m.levels,
                             [env](const TreeMetrics::Level& level) {
                               return JsObject(env)
                                   .Number("tables", level.tables)
                                   .Number("runs", level.runs)
                                   .Number("bytes", level.bytes)
                                   .value();
                             }))
      .Set("filter", JsObject(env)
                         .Number("queries", m.filter_queries)
                         .Number("negatives", m.filter_negatives)
                         .Number("falsePositives", m.filter_false_positives)
                         .value())
      .Set("blockLoads", LoadsObject(env, m.block_loads))
      .Set("blobLoads", LoadsObject(env, m.blob_loads))
      .Real("writeAmplification", m.write_amplification)
      .Real("spaceAmplification", m.space_amplification)
      .Real("readAmplification", m.read_amplification)
      .value();
}

napi_value LatencyObject(napi_env env, const LatencySummary& summary) {
  return JsObject(env)
      .Number("count", summary.count)
      .Real("p50", summary.p50)
      .Real("p99", summary.p99)
      .Real("p999", summary.p999)
      .Real("max", summary.max)
      .value();
}

JsObject JobsObject(napi_env env, const DatabaseMetrics::Jobs& jobs) {
  return JsObject(env)
      .Number("active", jobs.active)
      .Number("completed", jobs.completed)
      .Real("ms", jobs.ms)
      .Number("bytesWritten", jobs.bytes_written);
}

JsObject HandlesObject(napi_env env, const DatabaseMetrics::Handles& handles) {
  return JsObject(env).Number("open", handles.open).Number("abandoned", handles.abandoned);
}

napi_value KeyspacesArray(napi_env env, const DatabaseMetrics& m) {
  return JsArray(env, m.keyspaces, [env](const std::pair<std::string, TreeMetrics>& keyspace) {
    napi_value pair = nullptr;
    (void)napi_create_array_with_length(env, 2, &pair);
    (void)napi_set_element(env, pair, 0, JsText(env, keyspace.first));
    (void)napi_set_element(env, pair, 1, TreeMetricsObject(env, keyspace.second));
    return pair;
  });
}

// DatabaseMetricsData
napi_value DatabaseMetricsObject(napi_env env, const DatabaseMetrics& m) {
  const napi_value oldest =
      m.oldest_snapshot ? JsNumber(env, static_cast<double>(*m.oldest_snapshot)) : JsUndefined(env);
  return JsObject(env)
      .Set("cache", JsObject(env)
                        .Number("capacity", m.cache.capacity)
                        .Number("size", m.cache.size)
                        .Number("hits", m.cache.hits)
                        .Number("misses", m.cache.misses)
                        .value())
      .Set("journal", JsObject(env)
                          .Number("count", m.journal.count)
                          .Number("bytes", m.journal.bytes)
                          .Number("appends", m.journal.appends)
                          .Number("syncs", m.journal.syncs)
                          .Number("bytesWritten", m.journal.bytes_written)
                          .value())
      .Set("writes", JsObject(env)
                         .Number("inserts", m.writes.inserts)
                         .Number("removes", m.writes.removes)
                         .Number("batches", m.writes.batches)
                         .Number("bytes", m.writes.bytes)
                         .Number("stalls", m.writes.stalls)
                         .Real("stallMs", m.writes.stall_ms)
                         .value())
      .Set("compactions",
           JobsObject(env, m.compactions).Number("bytesRead", m.compactions.bytes_read).value())
      .Set("flushes", JobsObject(env, m.flushes).value())
      .Set("snapshots", HandlesObject(env, m.snapshots).Set("oldestSeqno", oldest).value())
      .Set("iterators", HandlesObject(env, m.iterators).value())
      .Set("events", JsObject(env).Number("dropped", m.events_dropped).value())
      .Set("latency", JsObject(env)
                          .Set("get", LatencyObject(env, m.get))
                          .Set("insert", LatencyObject(env, m.insert))
                          .Set("sync", LatencyObject(env, m.sync))
                          .Set("flush", LatencyObject(env, m.flush))
                          .Set("compaction", LatencyObject(env, m.compaction))
                          .value())
      .Set("keyspaces", KeyspacesArray(env, m))
      .value();
}

// The open database in kMetaHandle; null, and the status says why, if there is none.
OpenCore* FindOpenDatabase(const Call<0>& call) {
  auto* core = call.Find<CoreHandle>();
  if (core == nullptr) return nullptr;
  if (core->open->closed()) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(core->open->database() != nullptr ? 0 : kStatusBadHandle);
  return core->open->database() != nullptr ? core->open.get() : nullptr;
}

napi_value MetricsOfDatabase(Call<0>& call) {
  const OpenCore* open = FindOpenDatabase(call);
  return open == nullptr ? nullptr : DatabaseMetricsObject(call.env, open->database()->metrics());
}

napi_value MetricsOfTree(Call<0>& call) {
  const auto* target = call.Find<ReadTarget>();
  if (target == nullptr) return nullptr;
  if (target->tree() == nullptr) {
    call.environment->Fail(Code::kDbClosed);
    return nullptr;
  }
  call.SetStatus(0);
  return TreeMetricsObject(call.env, target->tree()->metrics());
}

// --- events ------------------------------------------------------------------------------------

// EngineEvent; an error is as ErrorObject has it.
napi_value EventObject(napi_env env, const Event& event) {
  static constexpr const char* kStatuses[] = {"open", "degraded", "failed", "closing", "closed"};
  static constexpr const char* kDuring[] = {"flush",   "compaction", "sync",
                                            "journal", "filter",     "strategy"};
  JsObject object(env);
  switch (event.type) {
    case Event::Type::kFlush:
      return object.Text("type", "flush")
          .Text("keyspace", event.keyspace)
          .Number("tables", event.tables)
          .Number("bytes", event.bytes_written)
          .Real("ms", event.ms)
          .value();
    case Event::Type::kCompaction:
      return object.Text("type", "compaction")
          .Text("keyspace", event.keyspace)
          .Set("plan", PlanObject(env, event.plan))
          .Number("bytesRead", event.bytes_read)
          .Number("bytesWritten", event.bytes_written)
          .Real("ms", event.ms)
          .value();
    case Event::Type::kStall:
      return object.Text("type", "stall")
          .Text("reason", event.reason == Event::Reason::kMemory ? "memory" : "level0")
          .Bool("active", event.active)
          .Real("ms", event.ms)
          .value();
    case Event::Type::kStatus:
      object.Text("type", "status").Text("status", kStatuses[static_cast<size_t>(event.status)]);
      if (!event.cause.ok()) object.Set("cause", ErrorObject(env, event.cause));
      return object.value();
    case Event::Type::kError:
      break;
  }
  return object.Text("type", "error")
      .Set("error", ErrorObject(env, event.cause))
      .Text("during", kDuring[static_cast<size_t>(event.during)])
      .value();
}

// kMetaHandle: out, what takeEvents takes.
napi_value Listen(Call<0>& call) {
  OpenCore* open = FindOpenDatabase(call);
  if (open == nullptr) return nullptr;
  Environment* e = call.environment;
  const uint32_t handle =
      e->handles().Add(open->Listen([channel = e->channel()] { channel->Wake(); }));
  call.meta[kMetaHandle] = handle;
  e->Report(handle == 0 ? Status(Code::kOutOfMemory, "a million handles are open") : Status());
  return nullptr;
}

// The events that have come since the last call, or undefined.
napi_value TakeEvents(Call<0>& call) {
  const auto* events = call.Find<EventsHandle>();
  if (events == nullptr) return nullptr;
  call.SetStatus(0);
  const std::deque<SharedEvent> taken = events->queue().Take();
  if (taken.empty()) return nullptr;
  return JsArray(call.env, taken,
                 [&call](const SharedEvent& event) { return EventObject(call.env, *event); });
}

constexpr Export kExports[] = {
    {"databaseMetrics", Enter<0, MetricsOfDatabase>},
    {"treeMetrics", Enter<0, MetricsOfTree>},
    {"listen", Enter<0, Listen>},
    {"takeEvents", Enter<0, TakeEvents>},
};

}  // namespace

Exports MetricsExports() { return kExports; }

}  // namespace shale
