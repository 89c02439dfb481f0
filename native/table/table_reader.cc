#include "table/table_reader.h"

#include <atomic>
#include <utility>

#include "base/seeded_bug.h"
#include "table/key_heads.h"
#include "table/table_iterator.h"
#include "table/table_parts.h"

namespace shale {

class TableReader::Impl {
 public:
  Impl(const TableContext& context, const TableMeta& meta, std::shared_ptr<TableCounters> counters)
      : parts(context, meta, std::move(counters)) {}
  ~Impl() {
    if (obsolete.load(std::memory_order_acquire)) parts.file.Remove();
  }

  Status Get(Slice key, uint64_t key_hash, Seqno read_seqno, const ReadContext& context,
             TableHit* hit) const;
  bool InRange(Slice key) const {
    return !(key < Slice(parts.meta.first_key)) && !parts.meta.EndsBefore(key);
  }

  TableParts parts;
  std::atomic<bool> obsolete{false};
};

Status TableReader::Impl::Get(Slice key, uint64_t key_hash, Seqno read_seqno,
                              const ReadContext& context, TableHit* hit) const {
  const Seqno global = parts.meta.global_seqno;
  if (read_seqno <= global || parts.meta.item_count == 0) return Code::kNotFound;
  TableCounters& counters = parts.file.counters();
  const bool filtered = parts.filter.kind() != FilterKind::kNone;
  if (filtered) {
    bool may_contain = true;
    counters.Count(TableCount::kFilterQueries, context);
    SHALE_RETURN_IF_ERROR(parts.filter.MayContain(key, key_hash, context, &may_contain));
    if (!may_contain) {
      counters.Count(TableCount::kFilterNegatives, context);
      return Code::kNotFound;
    }
  }
  const Needle needle{key, static_cast<int64_t>(read_seqno - 1 - global)};
  BlockPlace place;
  BlockPin<DataBlock> block;
  Status status = parts.index.Find(needle, context, &place);
  if (status.ok()) {
    SHALE_RETURN_IF_ERROR(
        block.Acquire(parts.file, place.handle, BlockType::kData, context, place.slot));
    block->Prefetch();
    if (block->Get(needle, key_hash, &hit->entry)) {
      hit->entry.tag += global << 8;
      hit->pin = block.TakeRef();
      return Status::Ok();
    }
    status = Code::kNotFound;
  }
  if (filtered && status.Is(Code::kNotFound)) {
    counters.Count(TableCount::kFilterFalsePositives, context);
  }
  return status;
}

TableReader::TableReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TableReader::~TableReader() = default;

Status TableReader::Open(const TableContext& context, const TableMeta& meta,
                         const TableOpenOptions& options, std::shared_ptr<TableCounters> counters,
                         Ref<TableReader>* reader) {
  auto impl = std::make_unique<Impl>(context, meta, std::move(counters));
  SHALE_RETURN_IF_ERROR(impl->parts.Open(options));
  *reader = Ref<TableReader>::Adopt(new TableReader(std::move(impl)));
  return Status::Ok();
}

Status TableReader::Get(Slice key, uint64_t key_hash, Seqno read_seqno, const ReadContext& context,
                        TableHit* hit) const {
  return impl_->Get(key, key_hash, read_seqno, context, hit);
}

const RangeIndex* TableReader::ranges() const {
  const auto& ranges = impl_->parts.ranges;
  return ranges ? &ranges->index() : nullptr;
}

bool TableReader::RulesOut(Slice key, uint64_t key_hash) const {
  if (!impl_->InRange(key) || impl_->parts.meta.item_count == 0) return true;
  bool may_contain = true;
  const EpochGuard guard;
  const ReadContext context{ReadMode::kMemoryOnly, true, 0};
  const Status status = impl_->parts.filter.MayContain(key, key_hash, context, &may_contain);
  return status.ok() && !may_contain;
}

void TableReader::CountLookup(const LookupTally& tally) const {
  impl_->parts.file.counters().Count(tally);
}

std::unique_ptr<Iterator> TableReader::NewIterator(const ReadContext* context) const {
  if (impl_->parts.meta.item_count == 0) return std::make_unique<EmptyIterator>();
  return std::make_unique<TableIterator>(Ref<const TableReader>::Share(this), &impl_->parts.file,
                                         &impl_->parts.index, impl_->parts.meta.global_seqno,
                                         context);
}

Status TableReader::ApproximateBytes(Slice first, const Slice* last, const ReadContext& context,
                                     uint64_t* bytes) const {
  *bytes = 0;
  if (last != nullptr && !(first < *last)) return Status::Ok();
  if (impl_->parts.meta.item_count == 0) return Status::Ok();
  // The seqno before all versions of a key.
  constexpr auto kNewest = static_cast<int64_t>(kReadAll);
  IndexCursor cursor(&impl_->parts.index);
  SHALE_RETURN_IF_ERROR(cursor.Seek({first, kNewest}, context));
  if (!cursor.valid()) return Status::Ok();
  const uint64_t begin = cursor.handle().offset;
  if (last != nullptr) SHALE_RETURN_IF_ERROR(cursor.Seek({*last, kNewest}, context));
  if (last != nullptr && cursor.valid()) {
    *bytes = cursor.handle().offset - begin;
    return Status::Ok();
  }
  SHALE_RETURN_IF_ERROR(cursor.SeekToLast(context));
  *bytes = cursor.handle().end() - begin;
  return Status::Ok();
}

Status TableReader::Verify() const { return VerifyTable(impl_->parts.context, impl_->parts.meta); }

const TableMeta& TableReader::meta() const { return impl_->parts.meta; }

void TableReader::MarkObsolete() {
  impl_->obsolete.store(true, std::memory_order_release);
  if (BugIsOn(SeededBug::kIteratorNotPinned)) impl_->parts.file.Remove();
}

size_t TableReader::pinned_bytes() const {
  const TableParts& p = impl_->parts;
  return p.index.pinned_bytes() + p.filter.pinned_bytes() + (p.ranges ? p.ranges->bytes() : 0);
}

}  // namespace shale
