// ApplicationStrategy: a compaction strategy that is an object of the application.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "binding/question_desk.h"
#include "tree/user_strategy.h"

namespace shale {

class ApplicationStrategy final : public UserStrategy {
 public:
  struct Given {
    uint32_t number = 0;
    std::string name;
    uint64_t patience_ms = 0;
  };
  ApplicationStrategy(std::shared_ptr<QuestionDesk> desk, Given given)
      : UserStrategy(given.name), desk_(std::move(desk)), given_(std::move(given)) {}

  Status Choose(const Ref<SuperVersion>& tree, const StrategyContext& context,
                const std::function<Status()>& may_wait,
                std::optional<CompactionPlan>* plan) override;
  void Drop() override;

 private:
  const std::shared_ptr<QuestionDesk> desk_;
  const Given given_;
};

}  // namespace shale
