// ApplicationFilter: a compaction filter that is a function of the application.
//
// What it is asked is packed: of each entry the lengths of key and value (u32 each; the latter is
// kNoValue if there is none), then the bytes of all of them. So is the answer: a byte for each
// entry (Verdict), then the length (u32) and the bytes of each new value.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/question_desk.h"
#include "tree/compaction_filter.h"

namespace shale {

class ApplicationFilter final : public CompactionFilter {
 public:
  struct Given {
    uint32_t number = 0;
    std::string name;
    bool needs_blob_values = true;
    uint64_t patience_ms = 0;
  };
  ApplicationFilter(std::shared_ptr<QuestionDesk> desk, Given given)
      : desk_(std::move(desk)), given_(std::move(given)) {}

  bool needs_blob_values() const override { return given_.needs_blob_values; }
  Status Judge(const std::vector<FilterEntry>& entries, const FilterContext& context,
               std::vector<FilterVerdict>* verdicts) override;
  void Drop() override;

 private:
  const std::shared_ptr<QuestionDesk> desk_;
  const Given given_;
};

}  // namespace shale
