// What a worker needs of the machine that it runs on: the seams by which a simulator stands in for
// threads, time and the network.
#ifndef CLOSERANKS_ELASTIC_PLATFORM_H_
#define CLOSERANKS_ELASTIC_PLATFORM_H_

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/condition.h"
#include "base/files.h"
#include "base/random.h"
#include "collectives/engine/engine.h"
#include "collectives/engine/progress_thread.h"
#include "elastic/lifeline.h"
#include "net/background.h"
#include "net/loop_thread.h"
#include "net/network.h"
#include "telemetry/flight_recorder.h"

namespace closeranks::elastic {

// Outlives whatever it made.
class Platform {
 public:
  virtual ~Platform() = default;

  virtual const Clock& clock() const = 0;
  // Callable from any thread.
  virtual Random& random() = 0;
  // What is read again while the job runs: keys and certificates.
  virtual Files& files() = 0;
  virtual std::unique_ptr<Condition> MakeCondition() = 0;
  virtual std::unique_ptr<net::LoopThread> StartLoopThread(const std::string& name) = 0;
  virtual std::unique_ptr<collectives::DescriptorWatch> MakeDescriptorWatch() = 0;
  // Null where nothing but PollOnce drives an engine that nobody waits for.
  virtual std::unique_ptr<collectives::ProgressThread> StartProgressThread(
      collectives::Engine& engine) = 0;
  // How long a thread polls before it sleeps: see Engine::Options.
  virtual Duration spin() const = 0;
  // For what may have to wait for a disk: see net::BackgroundThread. Null where no disk lets wait.
  virtual std::unique_ptr<net::Background> StartBackground(const std::string& name,
                                                           Duration patience) = 0;
  // `loop` outlives it.
  virtual std::unique_ptr<net::Network> MakeNetwork(net::Loop& loop) = 0;
  // Processes with the same one can share memory.
  virtual std::string host() const = 0;
  // As many as an early notice of this process's death needs; fewer where the kernel refuses.
  virtual std::vector<std::unique_ptr<Lifeline>> MakeLifelines() = 0;
  virtual telemetry::FlightRecorder::Kind flight_kind() const = 0;
};

class SystemPlatform final : public Platform {
 public:
  // Both outlive it.
  SystemPlatform(const Clock& clock, Random& random) : clock_(clock), random_(random) {}

  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }
  Files& files() override { return files_; }
  std::unique_ptr<Condition> MakeCondition() override;
  std::unique_ptr<net::LoopThread> StartLoopThread(const std::string& name) override;
  std::unique_ptr<collectives::DescriptorWatch> MakeDescriptorWatch() override;
  std::unique_ptr<collectives::ProgressThread> StartProgressThread(
      collectives::Engine& engine) override;
  Duration spin() const override { return collectives::Engine::Options{}.spin; }
  std::unique_ptr<net::Background> StartBackground(const std::string& name,
                                                   Duration patience) override;
  std::unique_ptr<net::Network> MakeNetwork(net::Loop& loop) override;
  std::string host() const override;
  std::vector<std::unique_ptr<Lifeline>> MakeLifelines() override;
  telemetry::FlightRecorder::Kind flight_kind() const override {
    return telemetry::FlightRecorder::Kind::kShared;
  }

 private:
  const Clock& clock_;
  Random& random_;
  SystemFiles files_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_PLATFORM_H_
