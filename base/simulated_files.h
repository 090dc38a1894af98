// A disk in memory for tests and simulation: it fills up, fails, and loses what wasn't synced.
#ifndef CLOSERANKS_BASE_SIMULATED_FILES_H_
#define CLOSERANKS_BASE_SIMULATED_FILES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/random.h"

namespace closeranks {

// As forgetful as a disk may be: bytes are safe once their file was synced, names once their folder
// was, each independently of all others. Paths are compared as they are written. Outlives its open
// files.
//
// Whatever changes or syncs something is an operation, and operations are counted; a Replace
// is five (make, write, sync, rename, sync the folder). Reading fails only as OnRead says.
class SimulatedFiles final : public Files {
 public:
  // Operations so far.
  int64_t operations() const;
  // The operation with this number, counted from 1, isn't done and returns `why`, and neither are
  // the `times` - 1 after it.
  void FailAt(int64_t operation, Status why, int64_t times = 1);
  // The machine goes down in the operation with this number: of a write, a part may be done.
  // Everything fails from then on, until Restart.
  void GoDownAt(int64_t operation);
  // The machine comes up again, with what of the unsynced was lucky. Files that were open stay
  // useless.
  void Restart(Random& random);
  // No more than so many bytes fit in all files together; of a write that doesn't fit, a part does.
  void SetRoom(size_t bytes);
  // Is asked before `path` is looked for, listed or read: an error is the answer. It may use the
  // disk itself.
  void OnRead(std::function<Status(const std::string& path)> on_read);
  // Flips a bit of the file, on the disk too. There must be such a byte.
  void FlipBit(const std::string& path, size_t byte);

  Result<bool> Exists(const std::string& path) override;
  Result<std::string> Read(const std::string& path) override;
  Result<std::string> ReadPart(const std::string& path, uint64_t offset, size_t bytes) override;
  Result<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path) override;
  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override;
  Status Replace(const std::string& path, std::string_view bytes) override;
  Status CreateExclusively(const std::string& path, std::string_view bytes) override;
  Status MakeFolder(const std::string& path) override;
  Status SyncFolder(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& folder) override;
  // Not simulated: always kUnavailable.
  Result<UniqueFd> Lock(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status RemoveFolder(const std::string& path) override;

 private:
  struct Node {
    bool is_folder = false;
    std::string bytes;
    size_t synced = 0;  // so many of the bytes are safe
  };
  using NodeRef = std::shared_ptr<Node>;
  class File;

  // All with the lock held. Counts an operation; an error when it isn't to be done.
  Status Begin(size_t* goes_down_after = nullptr, size_t bytes = 0);
  Result<NodeRef> Make(const std::string& path);
  Status Write(Node& node, std::string_view bytes);
  Status Sync(Node& node);
  Status SyncNames(const std::string& folder);
  Status NeedsFolderOf(const std::string& path) const;
  Result<std::string> WriteBeside(const std::string& path, std::string_view bytes);

  // Without the lock.
  Status BeginReading(const std::string& path);

  mutable std::mutex mutex_;
  std::map<std::string, NodeRef> names_;
  std::map<std::string, NodeRef> safe_names_;
  int64_t operations_ = 0;
  int64_t fail_from_ = 0;
  int64_t fail_until_ = 0;
  Status failure_;
  int64_t down_at_ = 0;
  bool is_down_ = false;
  int starts_ = 0;  // an open file of an earlier one is useless
  std::optional<size_t> room_;
  std::function<Status(const std::string&)> on_read_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_SIMULATED_FILES_H_
