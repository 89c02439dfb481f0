// TableParts: what there is of an open table: file, footer, properties, index and filter.
#pragma once

#include <memory>

#include "base/status.h"
#include "table/range_block.h"
#include "table/table_counters.h"
#include "table/table_file.h"
#include "table/table_format.h"
#include "table/table_index.h"
#include "table/table_reader.h"
#include "table/table_writer.h"

namespace shale {

// For what is read once: it takes no place in the cache.
inline constexpr ReadContext kPastCache{ReadMode::kMayBlock, /*fill_cache=*/false, 0};

struct TableParts {
  TableParts(const TableContext& table_context, const TableMeta& table_meta,
             std::shared_ptr<TableCounters> counters)
      : context(table_context),
        meta(table_meta),
        file(table_context, table_meta.number, table_meta.size, std::move(counters)),
        index(&file),
        filter(&file) {}
  TableParts(const TableParts&) = delete;
  TableParts& operator=(const TableParts&) = delete;

  // Reads and checks everything but the data blocks, and what is not pinned.
  Status Open(const TableOpenOptions& options);

  const TableContext context;
  const TableMeta meta;
  const TableFile file;
  TableFooter footer;
  TableProperties properties;
  TableIndex index;
  TableFilter filter;
  std::unique_ptr<RangeBlock> ranges;  // null if the table has no range tombstones

 private:
  Status OpenFooter();
  Status OpenProperties();
  Status OpenIndex(bool pin);
  Status OpenRanges();
  Status CheckRanges() const;
  Status OpenBlobReferences();
  Status CompareWithMeta() const;
};

// Reads every byte of the table that `parts` describes, past every cache, and checks it.
Status VerifyTable(const TableContext& context, const TableMeta& meta);

}  // namespace shale
