// Short scenarios that notice what the crash, fault and corruption runs do not look at.
#pragma once

#include <cstdint>
#include <string>

namespace shale {

// Each makes up to `tries` tries and returns the first thing it noticed; empty if everything is as
// it should be.
std::string HuntWithSnapshots(uint64_t tries);
std::string HuntWithCursors(uint64_t tries);
std::string HuntWithPrefixes(uint64_t tries);
std::string HuntWithLocks(uint64_t tries);

}  // namespace shale
