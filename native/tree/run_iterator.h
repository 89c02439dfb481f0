// RunIterator: the tables of a run, one behind the other, seen as one source.
//
// Only the tables that a seek or a step reaches get an iterator, so a short range over a run of a
// thousand tables touches one or two of them.
// Threads: one at a time.
// Lifetime: `run` and `context` outlive the iterator; whoever makes it pins the version.
#pragma once

#include <cstddef>
#include <memory>

#include "base/iterator.h"
#include "tree/version.h"

namespace shale {

// Over the tables [first, last) of `run`; a single table's iterator is returned as it is. Null if
// the interval is empty.
std::unique_ptr<Iterator> MakeRunIterator(const Run& run, size_t first, size_t last,
                                          const ReadContext* context);

}  // namespace shale
