// The backend of our own: schedules over transports.
#ifndef CLOSERANKS_COLLECTIVES_BACKENDS_NATIVE_H_
#define CLOSERANKS_COLLECTIVES_BACKENDS_NATIVE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "collectives/algorithms/select.h"
#include "collectives/algorithms/shape.h"
#include "collectives/backends/backend.h"
#include "collectives/engine/engine.h"

namespace closeranks::collectives {

struct NativeOptions {
  // Instead of the algorithm that is selected by size; the same on all ranks. An all-reduce's.
  std::optional<Algorithm> all_reduce;
};

class NativeBackend final : public Backend {
 public:
  // The engine and the transports in `spec`, attached to it, outlive the backend. For the errors
  // see Engine::OpenGroup.
  static Result<std::unique_ptr<NativeBackend>> Make(Engine& engine, const GroupSpec& spec,
                                                     const NativeOptions& options = {});
  ~NativeBackend() override;

  std::string_view name() const override { return "native"; }
  Work AllReduce(const Ticket& ticket, const void* input, void* output, size_t count, DataType type,
                 Reduction reduction) override;
  Work AllReduceShards(const Ticket& ticket, std::span<const ShardContribution> contributions,
                       std::span<const int> owners, void* output, size_t count,
                       DataType type) override;
  Work Broadcast(const Ticket& ticket, void* buffer, size_t count, DataType type,
                 int root) override;
  Work AllGather(const Ticket& ticket, const void* input, void* output, size_t count,
                 DataType type) override;
  Work Gather(const Ticket& ticket, const void* input, void* output, size_t count, DataType type,
              std::span<const int> senders, std::span<const int> receivers) override;
  Work Barrier(const Ticket& ticket) override;
  void Abort(Status why) override { engine_.Abort(group_, std::move(why)); }
  Status health() const override { return engine_.HealthOf(group_); }

 private:
  // What a schedule depends on besides rank and size.
  using ScheduleKey = std::vector<uint64_t>;

  NativeBackend(Engine& engine, std::shared_ptr<Group> group, const NativeOptions& options)
      : engine_(engine), group_(std::move(group)), options_(options) {}

  Shape ShapeFor(size_t count, DataType type, size_t part_bytes, bool in_place) const;
  // The kept schedule of this key, or what `make` makes.
  template <typename MakeSchedule>
  std::shared_ptr<const Schedule> FindSchedule(ScheduleKey key, MakeSchedule make);
  Work Submit(const Ticket& ticket, const Call& call, std::shared_ptr<const Schedule> schedule,
              std::vector<const void*> inputs, void* output);

  Engine& engine_;
  const std::shared_ptr<Group> group_;
  const NativeOptions options_;
  std::map<ScheduleKey, std::shared_ptr<const Schedule>> schedules_;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_BACKENDS_NATIVE_H_
