// Options as lib/engine.ts gives them (DatabaseSettings, TreeSettingsGiven, PlanData), read from
// own properties. Ranges and words were checked in TypeScript.
#pragma once

#include <node_api.h>

#include <functional>
#include <optional>

#include "db/options.h"
#include "db/standalone_tree.h"
#include "tree/options.h"
#include "tree/strategy.h"

namespace shale {

// kInvalidOption if the object is not what lib/native makes.
Status ReadDatabaseOptions(napi_env env, napi_value settings, DatabaseOptions* options);

// What a caller gave of a tree's options; the rest stays as it is stored, or at its default.
class GivenTreeOptions {
 public:
  static Status Read(napi_env env, napi_value given, GivenTreeOptions* options);
  void ApplyTo(TreeOptions* options) const;
  // As Database::OpenKeyspace wants it.
  std::function<Status(bool exists, TreeOptions* options)> Merge() const;

 private:
  TreeOptions values_;
  uint32_t given_ = 0;  // one bit per option
};

// {tree, cacheSize, maxOpenFiles, backgroundCompaction}
Status ReadStandaloneOptions(napi_env env, napi_value settings, StandaloneOptions* options,
                             GivenTreeOptions* tree);

Status ReadStrategy(napi_env env, napi_value setting, StrategyOptions* strategy);
Status ReadPlan(napi_env env, napi_value data, CompactionPlan* plan);

}  // namespace shale
