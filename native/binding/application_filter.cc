#include "binding/application_filter.h"

#include "base/coding.h"
#include "binding/protocol.h"

namespace shale {
namespace {

std::string Pack(const std::vector<FilterEntry>& entries) {
  std::string packed;
  size_t size = 0;
  for (const FilterEntry& entry : entries) {
    size += 8 + entry.key.size() + (entry.value ? entry.value->size() : 0);
  }
  packed.reserve(size);
  for (const FilterEntry& entry : entries) {
    PutU32(&packed, static_cast<uint32_t>(entry.key.size()));
    PutU32(&packed, entry.value ? static_cast<uint32_t>(entry.value->size()) : kNoValue);
  }
  for (const FilterEntry& entry : entries) {
    packed.append(entry.key.data(), entry.key.size());
    if (entry.value) packed.append(entry.value->data(), entry.value->size());
  }
  return packed;
}

bool Unpack(Slice answer, size_t count, std::vector<FilterVerdict>* verdicts) {
  Reader reader(answer);
  const Slice kinds = reader.Raw(count);
  for (size_t i = 0; i < kinds.size(); i++) {
    if (kinds[i] > static_cast<uint8_t>(Verdict::kReplace)) return false;
    FilterVerdict& verdict = verdicts->emplace_back();
    verdict.verdict = static_cast<Verdict>(kinds[i]);
    if (verdict.verdict == Verdict::kReplace) verdict.value = reader.Raw(reader.U32()).ToString();
  }
  return reader.ok() && reader.AtEnd();
}

}  // namespace

Status ApplicationFilter::Judge(const std::vector<FilterEntry>& entries,
                                const FilterContext& context,
                                std::vector<FilterVerdict>* verdicts) {
  auto question = std::make_shared<Question>();
  question->source = given_.number;
  question->count = static_cast<uint32_t>(entries.size());
  question->is_last_level = context.is_last_level;
  question->entries = Pack(entries);
  question->control = context.control;
  SHALE_RETURN_IF_ERROR(
      desk_->Ask(question, {given_.patience_ms, [this] { return alive(); }, context.may_wait,
                            "the compaction filter '" + given_.name + "'"}));
  if (Unpack(question->answer, entries.size(), verdicts)) return Status::Ok();
  return ApplicationFailure("the verdicts of a compaction filter are not packed as they should be",
                            question->number);
}

void ApplicationFilter::Drop() {
  CompactionFilter::Drop();
  desk_->Drop(given_.number);
}

}  // namespace shale
