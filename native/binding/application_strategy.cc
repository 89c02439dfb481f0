#include "binding/application_strategy.h"

namespace shale {

Status ApplicationStrategy::Choose(const Ref<SuperVersion>& tree, const StrategyContext& context,
                                   const std::function<Status()>& may_wait,
                                   std::optional<CompactionPlan>* plan) {
  auto question = std::make_shared<Question>();
  question->source = given_.number;
  question->tree = tree;
  question->context = context;
  SHALE_RETURN_IF_ERROR(
      desk_->Ask(question, {given_.patience_ms, [this] { return alive(); }, may_wait,
                            "the compaction strategy '" + given_.name + "'"}));
  *plan = std::move(question->plan);
  return Status::Ok();
}

void ApplicationStrategy::Drop() {
  UserStrategy::Drop();
  desk_->Drop(given_.number);
}

}  // namespace shale
