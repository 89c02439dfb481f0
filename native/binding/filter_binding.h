// Compaction filters and strategies as lib/native gives them.
#pragma once

#include <node_api.h>

#include <memory>

#include "binding/environment.h"
#include "tree/compaction_filter.h"
#include "tree/user_strategy.h"

namespace shale {

// From {type: 'ttl', in, offset, ttl}, {type: 'prefixes', prefixes} or
// {type: 'application', number, name, needsBlobValues, patience}; kInvalidOption if it is none.
Status ReadFilter(Environment* environment, napi_value given,
                  std::shared_ptr<CompactionFilter>* filter);

// From TreeSettingsGiven; null where no strategy of the application is given with it.
Status ReadUserStrategy(Environment* environment, napi_value given,
                        std::shared_ptr<UserStrategy>* strategy);

}  // namespace shale
