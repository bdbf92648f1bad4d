#include "environments/environment.h"

namespace waggle {

std::optional<double> Score::Total() const {
  double total = 0;
  for (const RewardComponent& component : components) {
    if (component.weight == 0) continue;
    if (!component.value) return std::nullopt;
    const double part = component.weight * *component.value;
    total += part;
  }
  return total;
}

std::vector<Message> Environment::Respond(const Task&, const std::vector<Message>&) const {
  return {};
}

std::optional<std::string> Environment::Demonstrate(const Task&) const { return std::nullopt; }

}  // namespace waggle
