// UTF-8: whether bytes are text.
#pragma once

#include "base/slice.h"

namespace shale {

// Well-formed as the Unicode standard says: shortest forms, no surrogates, up to U+10FFFF.
bool IsUtf8(Slice bytes);

}  // namespace shale
