#include "elastic/platform.h"

#include <utility>

#include "elastic/contact_card.h"
#include "glog/logging.h"
#include "net/socket_network.h"

namespace closeranks::elastic {
namespace {

// Two, so that at least one isn't the last thread to end.
constexpr int kLifelines = 2;

}  // namespace

std::unique_ptr<Condition> SystemPlatform::MakeCondition() {
  return std::make_unique<SystemCondition>();
}

std::unique_ptr<net::LoopThread> SystemPlatform::StartLoopThread(const std::string& name) {
  return std::make_unique<net::SystemLoopThread>(clock_, name);
}

std::unique_ptr<collectives::DescriptorWatch> SystemPlatform::MakeDescriptorWatch() {
  return collectives::MakeEpollWatch(clock_);
}

std::unique_ptr<collectives::ProgressThread> SystemPlatform::StartProgressThread(
    collectives::Engine& engine) {
  return std::make_unique<collectives::ProgressThread>(engine);
}

std::unique_ptr<net::Background> SystemPlatform::StartBackground(const std::string& name,
                                                                 Duration patience) {
  return std::make_unique<net::BackgroundThread>(clock_, name, patience);
}

std::unique_ptr<net::Network> SystemPlatform::MakeNetwork(net::Loop& loop) {
  return std::make_unique<net::SocketNetwork>(loop);
}

std::string SystemPlatform::host() const { return ThisHost(); }

std::vector<std::unique_ptr<Lifeline>> SystemPlatform::MakeLifelines() {
  std::vector<std::unique_ptr<Lifeline>> lifelines;
  for (int i = 0; i < kLifelines; ++i) {
    auto lifeline = Lifeline::Make();
    if (lifeline.ok()) {
      lifelines.push_back(*std::move(lifeline));
    } else {
      LOG(INFO) << "this worker's death would be noticed later than it could: "
                << lifeline.status();
    }
  }
  return lifelines;
}

}  // namespace closeranks::elastic
