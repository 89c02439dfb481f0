// View: plain JavaScript objects of what the core tells about itself, as lib/engine.ts names them.
#pragma once

#include <node_api.h>

#include "binding/js_object.h"
#include "binding/open_core.h"
#include "tree/strategy.h"
#include "tree/super_version.h"

namespace shale {

napi_value VersionObject(napi_env env, const Version& version);            // VersionData
napi_value SuperVersionObject(napi_env env, const SuperVersion& version);  // SuperVersionData
napi_value TreeFiguresObject(napi_env env, const ReadTarget& target);      // TreeFigures
napi_value TreeSettingsObject(napi_env env, const TreeOptions& options);   // TreeSettings
napi_value PlanObject(napi_env env, const CompactionPlan& plan);           // PlanData
napi_value JobsArray(napi_env env, const std::vector<RunningJob>& jobs);   // JobData[]
napi_value DatabaseFiguresObject(napi_env env, const Database& database);  // DatabaseFigures
napi_value RecoveryObject(napi_env env, const RecoveryReport& report);     // RecoveryFigures

// Bounds given as a Uint8Array or undefined each.
Bounds ReadBounds(napi_env env, napi_value lower, napi_value upper);

}  // namespace shale
