// TableIterator: the entries of one table, in both directions.
//
// Threads: one. Lifetime: keeps its table alive; the context outlives it. The block at the position
// is held by Ref.
// Cost: a step inside a block decodes one entry; a step to another block is one cache lookup.
#pragma once

#include "base/iterator.h"
#include "base/ref.h"
#include "table/data_block.h"
#include "table/table_index.h"
#include "table/table_reader.h"

namespace shale {

class TableIterator final : public Iterator {
 public:
  // `global_seqno` is added to every seqno on the way out.
  TableIterator(Ref<const TableReader> table, const TableFile* file, const TableIndex* index,
                Seqno global_seqno, const ReadContext* context);

  void SeekToFirst() override;
  void SeekToLast() override;
  void Seek(Slice key, uint64_t tag) override;
  void SeekBefore(Slice key, uint64_t tag) override;
  void Next() override;
  void Prev() override;
  void SkipForward(Slice end, Seqno seqno) override;
  void SkipBack(Slice start, Seqno seqno) override;

 private:
  Needle MakeNeedle(Slice key, uint64_t tag) const;
  bool Check(Status status);
  bool LoadBlock();
  void MoveTo(uint32_t ordinal);
  void EnterNextBlock();
  void EnterPrevBlock();
  void Publish();

  const Ref<const TableReader> table_;
  const TableFile* const file_;
  const uint64_t tag_base_;
  const ReadContext* const context_;
  IndexCursor index_;
  Ref<DataBlock> block_;
  uint64_t block_offset_ = 0;
  // Follows block_ with the first move in it only: until then a needle may lie in the cursor's key.
  DataBlockCursor cursor_;
  bool attached_ = false;
  ReadAhead ahead_;
};

}  // namespace shale
